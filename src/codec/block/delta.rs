//! Blocks told by what they differ from: chunks of an earlier version of the same files.
//!
//! A base is a chunk that is stored itself, never a delta of another: opening a block opens at most
//! its bases' blocks. Layout: the table in [`crate::codec::block`].

use std::cell::RefCell;

use super::difference::Difference;
use super::payload::{Codec, PAYLOAD_HEADER_LEN, Payload};
use super::sample::{Choice, Sampler, Windows};
use super::transpose::Width;
use super::{Element, anchors};
use crate::format::{ChunkId, Malformed};

/// A base's id and the length of the chunk that has it.
const ENTRY_LEN: usize = 36;

/// What one chunk of a block is told from.
#[derive(Debug, Clone, Copy)]
pub struct Base<'b> {
    /// The base's id.
    pub id: ChunkId,
    /// All its bytes.
    pub bytes: &'b [u8],
    /// Length in bytes, at least 1, of the block's chunk that has this base.
    pub chunk_len: u32,
}

/// The coded bytes of a delta, taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delta<'p> {
    entries: &'p [[u8; ENTRY_LEN]],
    /// A payload or a frame.
    pub(super) inner: &'p [u8],
    /// Where that starts in the block's payload.
    pub(super) inner_at: usize,
}

impl<'p> Delta<'p> {
    /// Checks that there are chunks, and that their lengths add up to `plain_len`.
    pub(super) fn parse(coded: &'p [u8], plain_len: usize) -> Result<Self, Malformed> {
        let cut = || Malformed::at(PAYLOAD_HEADER_LEN + coded.len(), "delta is cut short");
        let (count, rest) = coded.split_first_chunk::<4>().ok_or_else(cut)?;
        let table_len = u32::from_le_bytes(*count) as usize * ENTRY_LEN;
        let (table, inner) = rest.split_at_checked(table_len).ok_or_else(cut)?;
        let (entries, _) = table.as_chunks();
        let inner_at = PAYLOAD_HEADER_LEN + count.len() + table_len;
        let delta = Self { entries, inner, inner_at };
        let lens = || delta.chunks().map(|(_, len)| u64::from(len));
        let add_up = lens().sum::<u64>() == plain_len as u64;
        if entries.is_empty() || lens().any(|len| len == 0) || !add_up {
            let what = format!("delta's chunks do not add up to {plain_len} bytes");
            return Err(Malformed::at(PAYLOAD_HEADER_LEN, what));
        }
        Ok(delta)
    }

    /// Bases and the lengths of the chunks that have them.
    pub(super) fn chunks(&self) -> impl Iterator<Item = (ChunkId, u32)> + 'p {
        self.entries.iter().filter_map(|entry| {
            let (id, len) = entry.split_first_chunk::<32>()?;
            Some((ChunkId(*id), u32::from_le_bytes(*len.first_chunk()?)))
        })
    }
}

/// Appends what stands before a delta's inner payload or frame.
pub(super) fn append_bases(bases: &[Base<'_>], coded: &mut Vec<u8>) {
    coded.extend_from_slice(&(bases.len() as u32).to_le_bytes());
    for base in bases {
        coded.extend_from_slice(&base.id.0);
        coded.extend_from_slice(&base.chunk_len.to_le_bytes());
    }
}

/// The bases that a payload needs, each with the length in bytes of the chunk that it is the base
/// of; none for all other codecs. Nothing is decoded.
pub fn bases_of(payload: &[u8]) -> Result<Vec<(ChunkId, u32)>, Malformed> {
    let Payload { codec, plain_len, coded } = Payload::parse(payload)?;
    match codec {
        Codec::Delta(_) => Ok(Delta::parse(coded, plain_len)?.chunks().collect()),
        Codec::Stored | Codec::Zstd | Codec::Planes(_) => Ok(Vec::new()),
    }
}

/// Names the bases of a delta by other ids, those of the same bytes in another repository. Nothing
/// is decoded.
///
/// # Errors
/// Where the payload is no delta of so many chunks.
pub fn rename_bases(payload: &mut [u8], ids: &[ChunkId]) -> Result<(), Malformed> {
    if bases_of(payload)?.len() != ids.len() {
        return Err(Malformed::at(PAYLOAD_HEADER_LEN, "delta has another count of bases"));
    }
    let table = payload.get_mut(PAYLOAD_HEADER_LEN + 4..).unwrap_or_default();
    for (entry, id) in table.chunks_exact_mut(ENTRY_LEN).zip(ids) {
        entry.iter_mut().zip(id.0).for_each(|(byte, new)| *byte = new);
    }
    Ok(())
}

/// The differences worth a look where `alone` was chosen for the bytes themselves: those of floats
/// only for what looks like such floats.
pub(super) fn differences(
    element: Option<Element>,
    alone: Choice,
) -> impl Iterator<Item = Difference> {
    let float = match (element, alone) {
        (Some(Element::F16), _) | (None, Choice::Planes(Width::Two, _)) => Some(Difference::Sub16),
        (Some(Element::F32), _) | (None, Choice::Planes(Width::Four, _)) => Some(Difference::Sub32),
        _ => None,
    };
    [Some(Difference::Xor), float].into_iter().flatten()
}

/// What a difference must leave of the part that coding alone leaves, in a sample, to promise gain.
const PROMISING_SHARE: f32 = 0.85;
/// The part of a chunk that its base must hold at other places to promise gain.
const PROMISING_SHARED: f32 = 0.2;

/// Whether coding `chunk` by what it differs from `base` by probably saves 10 % and more. It looks
/// at a sample, so it may be wrong either way; [`super::BlockEncoder::encode_delta`] decides.
#[must_use]
pub fn promises_gain(chunk: &[u8], base: &[u8], element: Option<Element>) -> bool {
    thread_local! {
        static LOOK: RefCell<Look> = RefCell::default();
    }
    LOOK.with_borrow_mut(|look| look.promises_gain(chunk, base, element))
}

/// What [`promises_gain`] uses again and again.
#[derive(Default)]
struct Look {
    sampler: Sampler,
    chunk: Windows,
    base: Windows,
    difference: Windows,
}

impl Look {
    fn promises_gain(&mut self, chunk: &[u8], base: &[u8], element: Option<Element>) -> bool {
        let Self { sampler, chunk: plain, base: old, difference } = self;
        plain.take(chunk, chunk.len());
        old.take(base, chunk.len());
        let alone = sampler.estimate(plain, element, None);
        let by_place = differences(element, alone.choice).any(|operation| {
            difference.replace(plain, |out| operation.take(&plain.bytes, &old.bytes, out));
            sampler.estimate(difference, element, None).share < alone.share * PROMISING_SHARE
        });
        by_place || anchors::shared(chunk, base) >= PROMISING_SHARED
    }
}
