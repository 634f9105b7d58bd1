//! Which class a file is of, and with it where it is cut: a pure function of its first bytes, its
//! name and its size.
//!
//! | class | who | cuts |
//! |---|---|---|
//! | tensor | safetensors, GGUF, npy | at the header's end, at tensors, and each MiB inside |
//! | tensor | zips of stored members (torch, npz); ONNX and the like by name | each MiB |
//! | database | page files and disk images (`pages`) | each 64 KiB |
//! | large | compressed archives and media from 1 GiB on (`media`) | by content, 1 MiB on average |
//! | default | all else | by content, as the repository says |
//!
//! The decision bears the format as the cuts themselves do: another one still restores, but finds
//! nothing of what is stored. It is made in the order of the table. A header that is odd in any way
//! makes a file of the default class; nothing in it can do worse.
//!
//! What must stay true: the same bytes, name and size give the same cuts on every machine, however
//! many of the bytes a reader happened to have at hand; and a cut of a database or tensor file
//! depends on the header and the position alone, so that a page that changes in place changes one
//! chunk.

mod gguf;
mod media;
mod npy;
mod pages;
mod safetensors;
mod tensors;

pub use tensors::{TENSOR_CHUNK, TensorMap};

use crate::format::{ChunkClass, Chunking};

/// First bytes of a file that the signatures lie in; btrfs has its own 64 KiB from the start.
pub const SNIFF_LEN: usize = 68 << 10;
/// Longest header of a tensor file that is looked into. The longest met in practice, of models with
/// vocabularies of 256k words, take 6 to 8 MiB.
pub const HEADER_MAX: usize = 16 << 20;
/// The size that a stream counts as, which ends nobody knows where: enough for any class, and a
/// multiple of every page size.
pub const UNSIZED: u64 = 1 << 62;
/// Length of the chunks of database files; a multiple of every page size they have.
pub const DATABASE_CHUNK: usize = 64 << 10;

/// How a file is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// By content, as the repository says.
    Default,
    /// By content, in longer chunks.
    Large,
    /// Each [`DATABASE_CHUNK`] bytes from the file's start.
    Database,
    /// At these places, and each [`TENSOR_CHUNK`] bytes between them.
    Tensor(TensorMap),
}

impl Layout {
    /// The class that the file's node records.
    #[must_use]
    pub const fn class(&self) -> ChunkClass {
        match self {
            Self::Default => ChunkClass::Default,
            Self::Large => ChunkClass::Large,
            Self::Database => ChunkClass::Database,
            Self::Tensor(_) => ChunkClass::Tensor,
        }
    }
}

/// What the first bytes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sniffed {
    /// The decision.
    Layout(Layout),
    /// It takes so many of the file's first bytes: at most [`HEADER_MAX`], at most its size, and
    /// more than were given.
    More(usize),
}

/// What keeps a header from being understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// It goes on to this offset at least.
    Short(u64),
    /// It is longer than [`HEADER_MAX`], and otherwise as it should be.
    Long,
    /// It is none, or an odd one.
    Odd,
}

/// Decides by the first bytes of a file of this size, holes as zeroes, and its name. Of a stream
/// with [`SNIFF_LEN`] bytes or more the size is [`UNSIZED`].
///
/// At least [`SNIFF_LEN`] bytes, or all of a shorter file, must be given; more are looked at only
/// by the headers of tensor files.
#[must_use]
pub fn sniff(first: &[u8], name: &[u8], size: u64) -> Sniffed {
    let headers = [safetensors::map, gguf::map, npy::map];
    for header in headers {
        match header(first, size) {
            Ok(map) => return Sniffed::Layout(Layout::Tensor(map)),
            Err(Stop::Long) => return Sniffed::Layout(Layout::Tensor(TensorMap::default())),
            Err(Stop::Short(until)) => {
                if let Some(len) = wanted(first.len(), until, size) {
                    return Sniffed::More(len);
                }
            }
            Err(Stop::Odd) => {}
        }
    }
    let first = first.get(..SNIFF_LEN).unwrap_or(first);
    Sniffed::Layout(if media::is_weights(first, name, size) {
        Layout::Tensor(TensorMap::default())
    } else if pages::is_paged(first, name, size) {
        Layout::Database
    } else if media::is_large(first, size) {
        Layout::Large
    } else {
        Layout::Default
    })
}

/// How much to ask for when `have` bytes end before a header does; `None` where there is no more.
///
/// At least twice as much, so that a header is parsed a few times at most.
fn wanted(have: usize, until: u64, size: u64) -> Option<usize> {
    let most = size.min(HEADER_MAX as u64) as usize;
    let until = usize::try_from(until).unwrap_or(usize::MAX);
    Some(until.max(have.saturating_mul(2)).min(most)).filter(|&len| len > have)
}

/// Sizes of the chunks of class large in a repository with these for the default class.
#[must_use]
pub fn large(default: Chunking) -> Chunking {
    const LARGE: Chunking = Chunking { min: 256 << 10, average: 1 << 20, max: 2 << 20 };
    if default.average >= LARGE.average { default } else { LARGE }
}

/// Whether one of these stands at its offset.
fn has_any(first: &[u8], signatures: &[(usize, &[u8])]) -> bool {
    let has =
        |&(at, bytes): &(usize, &[u8])| first.get(at..).is_some_and(|rest| rest.starts_with(bytes));
    signatures.iter().any(has)
}

/// The `N` bytes at an offset.
fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests;
