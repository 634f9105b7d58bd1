//! A file's content as it is put together: extents, sums, and the hash of the whole.

use crate::format::{ChunkClass, ChunkId, Extent, File};
use crate::localfs::Found;
use crate::repo::{ExtentsWriter, PageWriter, Result};

use super::cut::Cut;

/// Files with more holes than this get no hash of their whole content: hashing the zeroes of a
/// terabyte would take minutes.
const HASHED_HOLES_MAX: u64 = 4 << 30;
/// Zeroes for hashing holes.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// A file's content as it is put together.
pub(super) struct Assembly {
    extents: ExtentsWriter,
    hasher: blake3::Hasher,
    /// Where the next chunk or hole starts.
    pub(super) size: u64,
    data: u64,
    hashed: bool,
    /// The size that the file had when it was opened; a stream states none.
    pub(super) stated: Option<u64>,
    /// How it is cut; `None` until its first bytes were seen.
    pub(super) cut: Option<Cut>,
    /// Whether its first bytes are still to be looked at for a database.
    pub(super) is_sought: bool,
}

impl Assembly {
    /// Of a file.
    pub(super) fn new(found: &Found) -> Self {
        let holes = found.size.saturating_sub(found.blocks_512.saturating_mul(512));
        Self { stated: Some(found.size), hashed: holes <= HASHED_HOLES_MAX, ..Self::of_stream() }
    }

    /// Of content that states no size.
    pub(super) fn of_stream() -> Self {
        Self {
            extents: ExtentsWriter::default(),
            hasher: blake3::Hasher::new(),
            size: 0,
            data: 0,
            hashed: true,
            stated: None,
            cut: None,
            is_sought: false,
        }
    }

    /// Goes on to an offset with a hole, if that is not where it is.
    pub(super) fn hole_until(&mut self, until: u64, pages: &mut PageWriter<'_, '_>) -> Result<()> {
        let Some(len) = until.checked_sub(self.size).filter(|&len| len > 0) else {
            return Ok(());
        };
        self.extents.push(Extent::hole(len), pages)?;
        self.size = until;
        let mut left = if self.hashed { len } else { 0 };
        while left > 0 {
            let count = left.min(ZEROES.len() as u64);
            self.hasher.update(ZEROES.get(..count as usize).unwrap_or_default());
            left -= count;
        }
        Ok(())
    }

    /// Goes on with a chunk.
    pub(super) fn chunk(
        &mut self,
        id: ChunkId,
        chunk: &[u8],
        pages: &mut PageWriter<'_, '_>,
    ) -> Result<()> {
        let len = chunk.len() as u64;
        self.hasher.update(chunk);
        self.extents.push(Extent { id, len }, pages)?;
        self.size += len;
        self.data += len;
        Ok(())
    }

    /// The file, which ends here.
    pub(super) fn finish(self, pages: &mut PageWriter<'_, '_>) -> Result<File> {
        let Self { extents, hasher, size, data, hashed, cut, .. } = self;
        let content = extents.finish(pages)?;
        let hash = hashed.then(|| *hasher.finalize().as_bytes());
        let class = cut.map_or(ChunkClass::Default, |cut| cut.class);
        Ok(File { size, data, hash, class, content })
    }
}
