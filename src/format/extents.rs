//! Extent lists: which chunk holds which bytes of a file.
//!
//! A hole is an extent whose id is [`ChunkId::HOLE`]; it has a length and no chunk. A long list is
//! cut into pages where a chunk's own id says so, so an insertion in a large file rewrites the
//! pages around it and no others; the node then lists pages instead of chunks.

use serde::{Deserialize, Serialize};

use super::{ChunkId, FrameKind, Malformed, Seal, frame, limits, wire};

/// A run of a file's logical bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Extent {
    /// A chunk, an extent page (one level up), or [`ChunkId::HOLE`].
    pub id: ChunkId,
    /// Logical bytes, at least 1.
    pub len: u64,
}

impl Extent {
    /// A hole of `len` bytes.
    #[must_use]
    pub const fn hole(len: u64) -> Self {
        Self { id: ChunkId::HOLE, len }
    }

    /// Whether these bytes are a hole.
    #[must_use]
    pub fn is_hole(&self) -> bool {
        self.id == ChunkId::HOLE
    }
}

/// One page of a file's extent list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtentPage {
    /// Levels of pages below: 0 when the extents name chunks.
    pub level: u8,
    /// In file order.
    pub extents: Vec<Extent>,
}

/// Whether a page of extents ends after this one: one id in 1024 on average.
#[must_use]
pub fn cut_after(extent: &Extent) -> bool {
    let [.., a, b] = extent.id.0;
    !extent.is_hole() && u16::from_le_bytes([a, b]) & 0x3ff == 0
}

impl ExtentPage {
    /// The page as stored in a chunk.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        frame::encode(FrameKind::ExtentPage, Seal::Plain, &wire::encode(self))
    }

    /// Decodes a page that must be of `level` and cover exactly `len` logical bytes.
    pub fn decode(bytes: &[u8], level: u8, len: u64) -> Result<Self, Malformed> {
        let frame = frame::decode(FrameKind::ExtentPage, bytes)?;
        let page: Self =
            wire::decode(frame.payload).map_err(|err| err.shifted(frame::HEADER_LEN))?;
        if page.level != level || page.extents.len() > limits::EXTENTS_MAX {
            return Err(Malformed::at(frame::HEADER_LEN, "extent page of another level or size"));
        }
        check_sum(&page.extents, level, len)
            .map_err(|what| Malformed::at(frame::HEADER_LEN, what))?;
        Ok(page)
    }
}

/// Lengths are positive, chunks within their cap, holes at level 0 only, and the sum is `len`.
pub(crate) fn check_sum(extents: &[Extent], level: u8, len: u64) -> Result<(), String> {
    let mut sum = 0_u64;
    for extent in extents {
        if level > 0 && extent.is_hole() {
            return Err("has a hole where a page should be".into());
        }
        let oversized = level == 0 && !extent.is_hole() && extent.len > limits::CHUNK_MAX as u64;
        if extent.len == 0 || oversized {
            return Err(format!("has an extent of {} bytes", extent.len));
        }
        sum = sum.checked_add(extent.len).ok_or("has extents beyond any file's length")?;
    }
    if sum == len { Ok(()) } else { Err(format!("has extents of {sum} bytes instead of {len}")) }
}
