//! Blocks on their way from one pack into another: what a prune does with packs that hold little.
//!
//! A block of which every chunk is wanted keeps its coding: only its seal is made anew. Of others
//! the wanted chunks are coded again, with the bases that they had. Either way each chunk is decoded
//! and compared with its id before it is written.

use crate::codec::BlockEncoder;
use crate::format::ChunkId;
use crate::format::index::Place;

use super::Repository;
use super::chunks::BaseChunk;
use super::error::Result;
use super::open_blocks::OpenBlocks;
use super::pack::CodedBlock;
use super::proved::BlockProver;
use super::session::Session;

/// Writes blocks of stored packs once more.
pub struct BlockCopier<'s, 'r> {
    repo: &'r Repository,
    session: &'s Session<'r>,
    prover: BlockProver<'r>,
    /// Chunks of blocks of which some were not wanted.
    anew: OpenBlocks<'s, 'r>,
}

impl<'s, 'r> BlockCopier<'s, 'r> {
    /// A copier with its own open blocks, which [`Self::finish`] writes.
    #[must_use]
    pub fn new(repo: &'r Repository, session: &'s Session<'r>, encoder: BlockEncoder) -> Self {
        let (prover, anew) = (BlockProver::new(repo), OpenBlocks::new(session, encoder));
        Self { repo, session, prover, anew }
    }

    /// Copies the chunks of a block that `wanted` names; returns their ids.
    pub fn copy(
        &mut self,
        place: &Place,
        mut wanted: impl FnMut(&ChunkId) -> bool,
    ) -> Result<Vec<ChunkId>> {
        let entry = self.prover.entry(place)?;
        let ids: Vec<ChunkId> =
            entry.chunks.iter().map(|chunk| chunk.id).filter(|id| wanted(id)).collect();
        if ids.is_empty() {
            return Ok(ids);
        }
        let (payload, plain) = self.prover.read(place, &entry)?;
        if ids.len() == entry.chunks.len() {
            let coded = CodedBlock::new(payload, entry.bases.clone());
            self.session.write_coded(place.pack.kind, &entry, coded)?;
            return Ok(ids);
        }
        let mut offset = 0;
        for (number, chunk) in entry.chunks.iter().enumerate() {
            let bytes = plain.get(offset..offset + chunk.len as usize).unwrap_or_default();
            offset += chunk.len as usize;
            if ids.contains(&chunk.id) {
                let base = entry.bases.get(number).map(|id| self.base(id)).transpose()?;
                self.anew.put(place.pack.kind, (chunk.id, bytes), base.as_ref())?;
            }
        }
        Ok(ids)
    }

    /// Writes what is still open.
    pub fn finish(mut self) -> Result<()> {
        self.anew.flush()
    }

    fn base(&self, id: &ChunkId) -> Result<BaseChunk> {
        Ok(BaseChunk { id: *id, bytes: self.repo.chunks.base(id, None)?, old: false })
    }
}
