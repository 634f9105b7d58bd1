//! zstd frames: the one place that talks to zstd.
//!
//! What must stay true: each frame states its content's size and ends where its bytes end, and
//! decoding allocates no more than the size that the caller expects, after it was compared with
//! what so few bytes can hold.

use std::io;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{
    self, CCtx, CParameter, DCtx, InBuffer, OutBuffer, ParamSwitch, ResetDirective,
};

use crate::codec::CodecError;

/// zstd's best: a run of 128 KiB is coded in 4 bytes.
const ZSTD_RATIO_MAX: usize = (128 << 10) / 4;

/// A level that finds hardly any match: what remains is Huffman coding, at 2 GB/s and more.
const LITERALS_LEVEL: i32 = -100;
const FAST_LEVEL: i32 = 1;

/// zstd's own limits of a window, as powers of 2 of bytes. The upper one takes in the longest base
/// and block together.
const WINDOW_LOG: std::ops::RangeInclusive<u32> = 10..=26;

/// How a frame is coded. Its decoder need not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// The level that the user chose.
    Level,
    /// Level 1.
    Fast,
    /// Hardly any matches, Huffman-coded bytes: for what has skewed bytes and no repeats. On
    /// planes of weights it is smaller than any level with matches, and 2 to 3 times as fast.
    Literals,
}

/// Codes frames.
pub(super) struct FrameEncoder {
    level_number: i32,
    level: Compressor<'static>,
    fast: Compressor<'static>,
    literals: Compressor<'static>,
}

impl FrameEncoder {
    pub(super) fn new(level_number: i32) -> Result<Self, CodecError> {
        let start = |level| Compressor::new(level).map_err(CodecError::Compression);
        let mut literals = start(LITERALS_LEVEL)?;
        literals
            .set_parameter(CParameter::LiteralCompressionMode(ParamSwitch::Enable))
            .map_err(CodecError::Compression)?;
        let (level, fast) = (start(level_number)?, start(FAST_LEVEL)?);
        Ok(Self { level_number, level, fast, literals })
    }

    /// Replaces what is in `frame`. zstd fails for want of memory only.
    pub(super) fn encode(
        &mut self,
        effort: Effort,
        plain: &[u8],
        frame: &mut Vec<u8>,
    ) -> io::Result<()> {
        frame.clear();
        frame.reserve(zstd::compress_bound(plain.len()));
        let encoder = match effort {
            Effort::Level => &mut self.level,
            Effort::Fast => &mut self.fast,
            Effort::Literals => &mut self.literals,
        };
        encoder.compress_to_buffer(plain, frame).map(|_| ())
    }

    /// As [`Self::encode`] at the user's level, with matches in `base` too.
    ///
    /// The crate ties a context's lifetime to its prefix, so each frame has a new one.
    pub(super) fn encode_after(
        &self,
        base: &[u8],
        plain: &[u8],
        frame: &mut Vec<u8>,
    ) -> io::Result<()> {
        frame.clear();
        frame.reserve(zstd::compress_bound(plain.len()));
        let reach = (base.len() + plain.len()).next_power_of_two();
        let window_log = reach.ilog2().clamp(*WINDOW_LOG.start(), *WINDOW_LOG.end());
        let mut context = CCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        context.set_parameter(CParameter::CompressionLevel(self.level_number)).map_err(refusal)?;
        context.set_parameter(CParameter::WindowLog(window_log)).map_err(refusal)?;
        context.ref_prefix(base).map_err(refusal)?;
        context.compress2(frame, plain).map(|_| ()).map_err(refusal)
    }
}

fn refusal(code: usize) -> io::Error {
    io::Error::other(zstd_safe::get_error_name(code))
}

/// Decodes frames, keeping zstd's contexts between them.
#[derive(Default)]
pub(super) struct FrameDecoder {
    whole: Decompressor<'static>,
    /// For those that are not decoded to their end.
    begun: DCtx<'static>,
}

impl FrameDecoder {
    /// Fills `plain` with exactly `plain_len` bytes from one frame, or says why not.
    pub(super) fn decode(
        &mut self,
        frame: &[u8],
        plain_len: usize,
        plain: &mut Vec<u8>,
    ) -> Result<(), String> {
        check(frame, plain_len)?;
        plain.clear();
        plain.reserve_exact(plain_len);
        match self.whole.decompress_to_buffer(frame, plain) {
            Ok(len) if len == plain_len => Ok(()),
            Ok(len) => Err(wrong_length(len, plain_len)),
            Err(err) => Err(undecodable(&err)),
        }
    }

    /// The first `len` bytes of a frame that holds `plain_len`, for the work that these take. What
    /// comes after them is not looked at, so it may be damaged.
    pub(super) fn decode_start(
        &mut self,
        frame: &[u8],
        plain_len: usize,
        len: usize,
    ) -> Result<Vec<u8>, String> {
        check(frame, plain_len)?;
        let refused = |code| undecodable(&refusal(code));
        self.begun.reset(ResetDirective::SessionOnly).map_err(refused)?;
        let mut plain = Vec::with_capacity(len.min(plain_len));
        let mut input = InBuffer::around(frame);
        let mut output = OutBuffer::around(&mut plain);
        while output.pos() < output.capacity() {
            let before = (input.pos(), output.pos());
            self.begun.decompress_stream(&mut output, &mut input).map_err(refused)?;
            if (input.pos(), output.pos()) == before {
                return Err(wrong_length(output.pos(), len));
            }
        }
        // A vector may have got more than it asked for.
        plain.truncate(len);
        Ok(plain)
    }

    /// As [`Self::decode`], for a frame made by [`FrameEncoder::encode_after`] with this base.
    pub(super) fn decode_after(
        &self,
        base: &[u8],
        frame: &[u8],
        plain_len: usize,
        plain: &mut Vec<u8>,
    ) -> Result<(), String> {
        check(frame, plain_len)?;
        plain.clear();
        plain.reserve_exact(plain_len);
        let mut context = DCtx::try_create().ok_or("no memory for zstd")?;
        let decoded = context.ref_prefix(base).and_then(|_| context.decompress(plain, frame));
        match decoded {
            Ok(len) if len == plain_len => Ok(()),
            Ok(len) => Err(wrong_length(len, plain_len)),
            Err(code) => Err(undecodable(&refusal(code))),
        }
    }
}

/// Everything that can be said of a frame without decoding it.
fn check(frame: &[u8], plain_len: usize) -> Result<(), String> {
    if plain_len / ZSTD_RATIO_MAX > frame.len() {
        return Err(format!("zstd frame of {} bytes cannot hold {plain_len}", frame.len()));
    }
    let stated = zstd_safe::get_frame_content_size(frame).ok().flatten();
    if stated != Some(plain_len as u64) {
        return Err(format!("zstd frame states {stated:?} bytes instead of {plain_len}"));
    }
    if zstd_safe::find_frame_compressed_size(frame) != Ok(frame.len()) {
        return Err("zstd frame is cut short or followed by more".into());
    }
    Ok(())
}

fn wrong_length(len: usize, expected: usize) -> String {
    format!("zstd frame holds {len} bytes instead of {expected}")
}

fn undecodable(err: &io::Error) -> String {
    format!("zstd frame does not decode ({err})")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{noise, text};
    use super::*;

    fn encoder() -> FrameEncoder {
        FrameEncoder::new(3).unwrap()
    }

    #[test]
    fn frames_of_every_effort_decode_with_the_same_decoder() {
        let (mut encoder, mut decoder) = (encoder(), FrameDecoder::default());
        let (mut frame, mut plain) = (Vec::new(), Vec::new());
        for effort in [Effort::Level, Effort::Fast, Effort::Literals] {
            for content in [text(9000), noise(9000), Vec::new(), vec![7; 300 << 10]] {
                encoder.encode(effort, &content, &mut frame).unwrap();
                decoder.decode(&frame, content.len(), &mut plain).unwrap();
                assert!(plain == content, "{effort:?}");
            }
        }
    }

    #[test]
    fn start_of_a_frame_is_that_of_its_content() {
        let (mut encoder, mut decoder) = (encoder(), FrameDecoder::default());
        let (mut frame, mut plain) = (Vec::new(), Vec::new());
        for content in [text(700 << 10), noise(300 << 10)] {
            encoder.encode(Effort::Level, &content, &mut frame).unwrap();
            for len in [1, 4096, 128 << 10, (128 << 10) + 1, content.len() - 1, content.len()] {
                let start = decoder.decode_start(&frame, content.len(), len).unwrap();
                assert!(start == content[..len], "{len}");
            }
            decoder.decode(&frame, content.len(), &mut plain).unwrap();
            assert!(plain == content);
            assert!(decoder.decode_start(&frame, content.len() + 1, 1).is_err());
            assert!(decoder.decode_start(&frame[..frame.len() - 1], content.len(), 1).is_err());
        }
    }

    #[test]
    fn literals_alone_shrink_skewed_bytes_without_repeats() {
        let skewed: Vec<u8> = noise(64 << 10).iter().map(|byte| byte & 0x0f).collect();
        let mut frame = Vec::new();
        encoder().encode(Effort::Literals, &skewed, &mut frame).unwrap();
        assert!(frame.len() < skewed.len() * 51 / 100, "{}", frame.len());
    }

    #[test]
    fn frame_after_a_base_is_small_and_needs_that_base() {
        let (encoder, decoder) = (encoder(), FrameDecoder::default());
        let (base, mut frame, mut plain) = (noise(200 << 10), Vec::new(), Vec::new());
        let content = [b"inserted", &base[1000..]].concat();
        encoder.encode_after(&base, &content, &mut frame).unwrap();
        assert!(frame.len() < 1000, "{}", frame.len());
        decoder.decode_after(&base, &frame, content.len(), &mut plain).unwrap();
        assert!(plain == content);
        let other = vec![0; base.len()];
        let decoded = decoder.decode_after(&other, &frame, content.len(), &mut plain);
        assert!(decoded.is_err() || plain != content);
    }

    #[test]
    fn base_that_looks_like_a_zstd_dictionary_is_taken_as_plain_bytes() {
        let (encoder, decoder) = (encoder(), FrameDecoder::default());
        let base = [&[0x37, 0xa4, 0x30, 0xec][..], &noise(20_000)].concat();
        let (mut frame, mut plain) = (Vec::new(), Vec::new());
        // A copy: zstd takes no matches from a prefix that overlaps the content.
        let content = base[4..].to_vec();
        encoder.encode_after(&base, &content, &mut frame).unwrap();
        assert!(frame.len() < 100, "{}", frame.len());
        decoder.decode_after(&base, &frame, content.len(), &mut plain).unwrap();
        assert!(plain == content);
    }

    #[test]
    fn frames_that_are_cut_doubled_or_sizeless_are_refused() {
        let mut decoder = FrameDecoder::default();
        let (content, mut good, mut plain) = (text(9000), Vec::new(), Vec::new());
        encoder().encode(Effort::Level, &content, &mut good).unwrap();
        for len in 0..good.len() {
            assert!(decoder.decode(&good[..len], 9000, &mut plain).is_err(), "{len}");
        }
        let long = [good.as_slice(), &[0]].concat();
        assert!(decoder.decode(&long, 9000, &mut plain).is_err());
        let doubled = [good.as_slice(), &good].concat();
        assert!(decoder.decode(&doubled, 9000, &mut plain).is_err());
        assert!(decoder.decode(&good, 8999, &mut plain).is_err());
        let mut sizeless = Compressor::new(3).unwrap();
        sizeless.include_contentsize(false).unwrap();
        let frame = sizeless.compress(&content).unwrap();
        assert!(decoder.decode(&frame, 9000, &mut plain).is_err());
    }

    #[test]
    fn size_that_so_few_bytes_cannot_hold_is_refused_before_allocation() {
        let mut plain = Vec::new();
        assert!(FrameDecoder::default().decode(b"short", 32 << 20, &mut plain).is_err());
        assert_eq!(plain.capacity(), 0);
    }
}
