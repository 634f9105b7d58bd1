//! Where content is cut into chunks.
//!
//! FastCDC (Xia et al., 2020) by the crate `fastcdc`, normalization level 1, its gear table mixed
//! with the repository's seed. The cuts bear the format: other cuts still restore, but nothing
//! would deduplicate against what is stored, so the crate is pinned and its cuts are golden.
//! The seed makes chunk lengths harder to recognise from outside; it is no encryption.
//!
//! What must stay true: a cut depends on the chunk's own bytes alone (from its start to at most
//! `max` bytes on), or on its place in the file alone where the cutter is of that kind; never on
//! how a reader happened to deliver them.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use fastcdc::v2020::{self, Normalization};

use crate::format::Chunking;

use super::Element;
use super::classes::{TENSOR_CHUNK, TensorMap};

/// Content-defined cuts of one repository.
#[derive(Debug, Clone)]
pub struct Chunker {
    min: usize,
    average: usize,
    max: usize,
    mask_short: u64,
    mask_long: u64,
    gear: Cow<'static, [u64]>,
    gear_shifted: Cow<'static, [u64]>,
}

impl Chunker {
    /// Cuts of these sizes. FastCDC takes even sizes in certain ranges; others are brought to the
    /// nearest that it takes, rounding down.
    #[must_use]
    pub fn new(chunking: Chunking, seed: u64) -> Self {
        let even = |size: u32, min: usize, max: usize| (size as usize & !1).clamp(min, max);
        let min = even(chunking.min, v2020::MINIMUM_MIN, v2020::MINIMUM_MAX);
        let average = even(chunking.average, v2020::AVERAGE_MIN.max(min), v2020::AVERAGE_MAX);
        let max = even(chunking.max, v2020::MAXIMUM_MIN.max(average), v2020::MAXIMUM_MAX);
        let (mask_short, mask_long) = v2020::select_masks(average, Normalization::Level1);
        let (gear, gear_shifted) = v2020::get_gear_with_seed(seed);
        Self { min, average, max, mask_short, mask_long, gear, gear_shifted }
    }

    /// The longest chunk in bytes.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }

    /// The length of the chunk that starts where `window` starts; 0 only for an empty window.
    ///
    /// The window must hold at least [`Self::max`] bytes unless the content ends with it.
    #[must_use]
    pub fn next_cut(&self, window: &[u8], at_end: bool) -> usize {
        debug_assert!(at_end || window.len() >= self.max, "window of {} bytes", window.len());
        let (_, len) = v2020::cut_gear(
            window,
            self.min,
            self.average,
            self.max,
            self.mask_short,
            self.mask_long,
            self.mask_short << 1,
            self.mask_long << 1,
            &self.gear,
            &self.gear_shifted,
        );
        len
    }
}

/// How a file is cut.
#[derive(Debug, Clone)]
pub enum Cutter {
    /// Where the content says so.
    ContentDefined(Chunker),
    /// At the multiples of so many bytes, at least 1, of the file's offsets.
    Fixed(usize),
    /// Where the tensors lie.
    Tensors(TensorMap),
}

impl Cutter {
    /// The longest chunk in bytes, at least 1.
    #[must_use]
    pub fn max(&self) -> usize {
        match self {
            Self::ContentDefined(chunker) => chunker.max(),
            Self::Fixed(len) => (*len).max(1),
            Self::Tensors(_) => TENSOR_CHUNK as usize,
        }
    }

    /// As [`Chunker::next_cut`], for a window that starts at `offset` of the file.
    #[must_use]
    pub fn next_cut(&self, window: &[u8], at_end: bool, offset: u64) -> usize {
        match self {
            Self::ContentDefined(chunker) => chunker.next_cut(window, at_end),
            Self::Fixed(_) => {
                let len = self.max() as u64;
                window.len().min((len - offset % len) as usize)
            }
            Self::Tensors(map) => window.len().min(map.until_cut(offset) as usize),
        }
    }

    /// What numbers the chunk that starts at `offset` holds, where the file's header says.
    #[must_use]
    pub fn element_at(&self, offset: u64) -> Option<Element> {
        match self {
            Self::Tensors(map) => map.element_at(offset),
            Self::ContentDefined(_) | Self::Fixed(_) => None,
        }
    }
}

/// The chunks of a stream, one at a time, out of one buffer.
///
/// The buffer holds several times the longest chunk, so that what is left at its end is moved to
/// its front rarely, and reads are large.
#[derive(Debug)]
pub struct ReadChunks<R> {
    reader: R,
    /// Where the next chunk starts in the file.
    offset: u64,
    buffer: Vec<u8>,
    /// The buffer's length without what a peek took.
    usual: usize,
    /// Where the next chunk starts in the buffer.
    start: usize,
    /// Where the bytes read so far end in the buffer.
    end: usize,
    at_end: bool,
}

/// Bytes of a buffer, unless chunks are so long that it must hold more.
const BUFFER_LEN: usize = 4 << 20;

impl<R: Read> ReadChunks<R> {
    /// Of a file from its start, with a new buffer.
    pub fn new(reader: R) -> Self {
        Self::with_buffer(reader, 0, Vec::new())
    }

    /// Of what lies at `offset` of its file, with a buffer that an earlier stream gave back; it
    /// grows where it must, its content does not matter.
    pub fn with_buffer(reader: R, offset: u64, buffer: Vec<u8>) -> Self {
        let usual = BUFFER_LEN.max(buffer.len());
        Self { reader, offset, buffer, usual, start: 0, end: 0, at_end: false }
    }

    /// What comes next: at least `len` bytes, unless the stream ends before.
    pub fn peek(&mut self, len: usize) -> io::Result<&[u8]> {
        self.grow(len);
        self.fill(len)?;
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    /// The next chunk, never empty; `None` at the end of the stream.
    ///
    /// After an error of the reader the same chunk can be asked for again.
    pub fn next_chunk(&mut self, cutter: &Cutter) -> io::Result<Option<&[u8]>> {
        let max = cutter.max();
        self.usual = self.usual.max(max.saturating_mul(2));
        self.grow(self.usual);
        self.fill(max)?;
        let window = self.buffer.get(self.start..self.end).unwrap_or_default();
        let len = cutter.next_cut(window, self.at_end, self.offset);
        self.start += len;
        self.offset += len as u64;
        Ok(window.get(..len).filter(|chunk| !chunk.is_empty()))
    }

    /// Gives the buffer back for the next stream.
    #[must_use]
    pub fn into_buffer(mut self) -> Vec<u8> {
        if self.buffer.len() > self.usual {
            self.buffer.truncate(self.usual);
            self.buffer.shrink_to_fit();
        }
        self.buffer
    }

    fn grow(&mut self, len: usize) {
        if self.buffer.is_empty() {
            // Zeroed by the kernel as it is touched: short files never touch the most of it.
            self.buffer = vec![0; len.max(self.usual)];
        } else if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
    }

    /// Reads until `wanted` bytes are there, or the end.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.buffer.len() - self.start < wanted {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        while !self.at_end && self.end - self.start < wanted {
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            let room_len = room.len();
            match self.reader.read(room) {
                Ok(0) => self.at_end = true,
                Ok(len) => self.end += len.min(room_len),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: Chunking = Chunking { min: 64, average: 256, max: 1024 };

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(b"chunker").finalize_xof().fill(&mut bytes);
        bytes
    }

    fn lengths(cutter: &Cutter, content: &[u8]) -> Vec<usize> {
        let (mut lengths, mut at) = (Vec::new(), 0);
        while at < content.len() {
            let len = cutter.next_cut(&content[at..], true, at as u64);
            lengths.push(len);
            at += len;
        }
        lengths
    }

    #[test]
    fn golden_cuts() {
        let cuts = |seed| {
            let cutter = Cutter::ContentDefined(Chunker::new(Chunking::DEFAULT, seed));
            lengths(&cutter, &noise(1 << 20))
        };
        let golden = [
            55221, 73339, 161575, 67951, 51056, 22966, 96531, 28800, 133677, 35059, 23752, 79024,
            33661, 121259, 64705,
        ];
        assert_eq!(cuts(0), golden);
        let golden = [
            42889, 43483, 77181, 99578, 23852, 94969, 115188, 185948, 91689, 127973, 37362, 23692,
            81945, 2827,
        ];
        assert_eq!(cuts(0x0123_4567_89ab_cdef), golden);
    }

    #[test]
    fn chunks_keep_their_sizes() {
        let cutter = Cutter::ContentDefined(Chunker::new(SMALL, 5));
        let content = [noise(50_000), vec![0; 50_001]].concat();
        let lengths = lengths(&cutter, &content);
        let (_, all_but_last) = lengths.split_last().unwrap();
        assert!(all_but_last.iter().all(|len| (64..=1024).contains(len)), "{lengths:?}");
        assert_eq!(lengths.iter().sum::<usize>(), content.len());
    }

    #[test]
    fn an_insertion_changes_the_chunks_around_it_only() {
        let cutter = Cutter::ContentDefined(Chunker::new(SMALL, 0));
        let content = noise(100_000);
        let changed = [&content[..50_000], b"inserted", &content[50_000..]].concat();
        let (before, after) = (lengths(&cutter, &content), lengths(&cutter, &changed));
        let same = |a: &mut dyn Iterator<Item = &usize>, b: &mut dyn Iterator<Item = &usize>| {
            a.zip(b).take_while(|(a, b)| a == b).count()
        };
        let same = same(&mut before.iter(), &mut after.iter())
            + same(&mut before.iter().rev(), &mut after.iter().rev());
        assert!(before.len() - same < 10, "{same} of {}", before.len());
    }

    #[test]
    fn impossible_sizes_are_brought_to_possible_ones() {
        for (min, average, max) in [
            (0, 0, 0),
            (65, 257, 1025),
            (u32::MAX, 3, 5),
            (1, u32::MAX, 9),
            (u32::MAX, u32::MAX, u32::MAX),
        ] {
            let cutter = Cutter::ContentDefined(Chunker::new(Chunking { min, average, max }, 1));
            assert!(cutter.max() <= crate::format::limits::CHUNK_MAX);
            let content = noise(3000);
            assert_eq!(lengths(&cutter, &content).iter().sum::<usize>(), content.len());
        }
        assert_eq!(lengths(&Cutter::Fixed(0), b"abc"), [1, 1, 1]);
    }

    /// Delivers content in pieces of the given sizes, over and over, with interruptions.
    struct Piecemeal<'a>(&'a [u8], std::iter::Cycle<std::vec::IntoIter<usize>>);

    impl Read for Piecemeal<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.1.next() {
                Some(0) => Err(io::ErrorKind::Interrupted.into()),
                size => {
                    let len = size.unwrap_or(1).min(buf.len());
                    self.0.read(&mut buf[..len])
                }
            }
        }
    }

    fn read_lengths(
        content: &[u8],
        cutter: &Cutter,
        pieces: Vec<usize>,
        buffer: usize,
        peeked: usize,
    ) -> Vec<usize> {
        let reader = Piecemeal(content, pieces.into_iter().cycle());
        let mut chunks = ReadChunks::new(reader);
        // A small buffer, so that its end is met often.
        chunks.usual = buffer.max(1);
        let peeked = chunks.peek(peeked).unwrap().len();
        assert!(peeked <= content.len());
        let (mut whole, mut lengths) = (Vec::new(), Vec::new());
        while let Some(chunk) = chunks.next_chunk(cutter).unwrap() {
            whole.extend_from_slice(chunk);
            lengths.push(chunk.len());
        }
        assert!(chunks.next_chunk(cutter).unwrap().is_none());
        assert!(whole == content, "chunks do not add up to the content");
        lengths
    }

    proptest! {
        #[test]
        fn cuts_are_the_same_however_the_reader_delivers(
            len in 0_usize..20_000,
            zeros in 0_usize..3000,
            seed: u64,
            fixed in prop::option::of(1_usize..5000),
            mut pieces in prop::collection::vec(0_usize..6000, 0..9),
            buffer in 0_usize..5000,
            peeked in 0_usize..9000,
        ) {
            pieces.push(700);
            let content = [noise(len), vec![0; zeros]].concat();
            let cutter = fixed.map_or_else(
                || Cutter::ContentDefined(Chunker::new(SMALL, seed)),
                Cutter::Fixed,
            );
            let expected = lengths(&cutter, &content);
            prop_assert_eq!(read_lengths(&content, &cutter, pieces, buffer, peeked), expected);
        }
    }

    #[test]
    fn chunks_longer_than_the_usual_buffer_are_whole() {
        let cutter = Cutter::Fixed(3 << 20);
        let content = noise(10 << 20);
        let mut chunks = ReadChunks::new(content.as_slice());
        let mut lengths = Vec::new();
        while let Some(chunk) = chunks.next_chunk(&cutter).unwrap() {
            lengths.push(chunk.len());
        }
        assert_eq!(lengths, [3 << 20, 3 << 20, 3 << 20, 1 << 20]);
        assert_eq!(chunks.into_buffer().len(), 6 << 20);
    }

    #[test]
    fn a_peek_takes_nothing_away_and_its_buffer_is_not_kept() {
        let content = noise(20 << 20);
        let mut chunks = ReadChunks::new(content.as_slice());
        for len in [70_000, 15 << 20] {
            let seen = chunks.peek(len).unwrap();
            assert!(seen.len() >= len && content.starts_with(seen));
        }
        let cutter = Cutter::Fixed(1 << 20);
        for part in content.chunks(1 << 20) {
            assert!(chunks.next_chunk(&cutter).unwrap() == Some(part));
        }
        assert_eq!(chunks.peek(9).unwrap(), b"");
        assert_eq!(chunks.into_buffer().len(), BUFFER_LEN);
    }

    #[test]
    fn fixed_cuts_keep_to_the_grid_of_the_file() {
        let content = noise(10_000);
        let reader = &content[5000..];
        let mut chunks = ReadChunks::with_buffer(reader, 5000, Vec::new());
        let cutter = Cutter::Fixed(2048);
        let mut lengths = Vec::new();
        while let Some(chunk) = chunks.next_chunk(&cutter).unwrap() {
            lengths.push(chunk.len());
        }
        assert_eq!(lengths, [3 * 2048 - 5000, 2048, 10_000 - 4 * 2048]);
    }

    #[test]
    fn a_reader_that_recovers_loses_nothing() {
        struct Flaky(u32);
        impl Read for Flaky {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    2 => Err(io::Error::other("flaky")),
                    1 | 3 => {
                        buf[..2].copy_from_slice(b"ab");
                        Ok(2)
                    }
                    _ => Ok(0),
                }
            }
        }
        let cutter = Cutter::Fixed(9);
        let mut chunks = ReadChunks::new(Flaky(0));
        chunks.next_chunk(&cutter).unwrap_err();
        assert_eq!(chunks.next_chunk(&cutter).unwrap(), Some(b"abab".as_slice()));
        assert_eq!(chunks.next_chunk(&cutter).unwrap(), None);
    }
}
