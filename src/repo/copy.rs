//! Blocks on their way from one pack into another: what a prune does with packs that hold little.
//!
//! A block of which every chunk is wanted keeps its coding: only its seal is made anew. Of others
//! the wanted chunks are coded again, with the bases that they had. Either way each chunk is decoded
//! and compared with its id before it is written.

use crate::codec::BlockEncoder;
use crate::format::index::Place;
use crate::format::{ChunkId, PackKind};

use super::Repository;
use super::error::Result;
use super::pack::{BlockDraft, CodedBlock};
use super::proved::BlockProver;
use super::session::Session;

/// Writes blocks of stored packs once more.
pub struct BlockCopier<'s, 'r> {
    repo: &'r Repository,
    session: &'s Session<'r>,
    encoder: BlockEncoder,
    prover: BlockProver<'r>,
    /// Chunks of blocks of which some were not wanted, by kind: without a base, and with one.
    drafts: [[BlockDraft; 2]; 2],
}

impl<'s, 'r> BlockCopier<'s, 'r> {
    /// A copier with its own open blocks, which [`Self::finish`] writes.
    #[must_use]
    pub fn new(repo: &'r Repository, session: &'s Session<'r>, encoder: BlockEncoder) -> Self {
        Self { repo, session, encoder, prover: BlockProver::new(repo), drafts: Default::default() }
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
                self.push(place.pack.kind, chunk.id, bytes, entry.bases.get(number))?;
            }
        }
        Ok(ids)
    }

    /// Writes what is still open.
    pub fn finish(mut self) -> Result<()> {
        for (kind, drafts) in [PackKind::Data, PackKind::Meta].into_iter().zip(&self.drafts) {
            for draft in drafts {
                self.session.write_block(kind, draft, &mut self.encoder)?;
            }
        }
        Ok(())
    }

    fn push(
        &mut self,
        kind: PackKind,
        id: ChunkId,
        bytes: &[u8],
        base: Option<&ChunkId>,
    ) -> Result<()> {
        let [data, meta] = &mut self.drafts;
        let [whole, told] = if kind == PackKind::Data { data } else { meta };
        let draft = if base.is_some() { told } else { whole };
        if draft.is_full_for(bytes.len()) {
            let full = std::mem::take(draft);
            self.session.write_block(kind, &full, &mut self.encoder)?;
        }
        match base {
            None => draft.push(id, bytes),
            Some(base) => {
                let old = self.repo.chunks.base(base, None)?;
                draft.push_with_base((id, bytes), (*base, &old), false);
            }
        }
        Ok(())
    }
}
