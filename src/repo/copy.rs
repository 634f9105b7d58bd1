//! Blocks on their way from one pack into another: what a prune does with packs that hold little.
//!
//! A block of which every chunk is wanted keeps its coding: only its seal is made anew. Of others
//! the wanted chunks are coded again, with the bases that they had. Either way each chunk is decoded
//! and compared with its id before it is written.

use std::collections::HashMap;

use crate::codec::BlockEncoder;
use crate::format::index::Place;
use crate::format::pack::{BlockEntry, Footer};
use crate::format::{ChunkId, Contents, OBJECT_HEADER_LEN, ObjectKey, PackId, PackKind};

use super::Repository;
use super::error::{RepoError, Result};
use super::pack::{BlockDraft, CodedBlock, OpenedBlock, footer_of};
use super::session::Session;

/// Footers that are kept at hand: those of packs that what is near in a tree lies in.
const FOOTERS_MAX: usize = 64;

/// Writes blocks of stored packs once more.
pub struct BlockCopier<'s, 'r> {
    repo: &'r Repository,
    session: &'s Session<'r>,
    encoder: BlockEncoder,
    footers: HashMap<PackId, Footer>,
    /// Chunks of blocks of which some were not wanted, by kind: without a base, and with one.
    drafts: [[BlockDraft; 2]; 2],
}

impl<'s, 'r> BlockCopier<'s, 'r> {
    /// A copier with its own open blocks, which [`Self::finish`] writes.
    #[must_use]
    pub fn new(repo: &'r Repository, session: &'s Session<'r>, encoder: BlockEncoder) -> Self {
        Self { repo, session, encoder, footers: HashMap::new(), drafts: Default::default() }
    }

    /// Copies the chunks of a block that `wanted` names; returns their ids.
    pub fn copy(
        &mut self,
        place: &Place,
        mut wanted: impl FnMut(&ChunkId) -> bool,
    ) -> Result<Vec<ChunkId>> {
        let entry = self.entry(place)?;
        let ids: Vec<ChunkId> =
            entry.chunks.iter().map(|chunk| chunk.id).filter(|id| wanted(id)).collect();
        if ids.is_empty() {
            return Ok(ids);
        }
        let (payload, plain) = self.read(place, &entry)?;
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

    /// What the pack's footer says of the block.
    fn entry(&mut self, place: &Place) -> Result<BlockEntry> {
        if self.footers.len() >= FOOTERS_MAX && !self.footers.contains_key(&place.pack.id) {
            self.footers.clear();
        }
        let footer = match self.footers.entry(place.pack.id) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(footer_of(self.repo.storage(), self.repo.vault(), &place.pack)?)
            }
        };
        let mut offset = OBJECT_HEADER_LEN as u64;
        for block in &footer.blocks {
            if offset == u64::from(place.block_offset) {
                return Ok(block.clone());
            }
            offset += u64::from(block.stored_len);
        }
        let object = ObjectKey::Pack(place.pack.kind, place.pack.id);
        let what = format!("the index has a block at offset {} in it", place.block_offset);
        Err(RepoError::corrupt(object, what))
    }

    /// The payload of a block and its plain bytes, each chunk compared with its id.
    fn read(&self, place: &Place, entry: &BlockEntry) -> Result<(Vec<u8>, Vec<u8>)> {
        let (repo, pack) = (self.repo, &place.pack);
        let object = ObjectKey::Pack(pack.kind, pack.id);
        let offset = u64::from(place.block_offset);
        let stored = repo.storage().read_at(&object, offset, entry.stored_len as usize)?;
        let cipher = repo.vault().part_cipher(Contents::Pack(pack.kind), pack.salt);
        let block = OpenedBlock::open(&object, offset, &cipher, stored)?;
        let lens = entry.chunks.iter().map(|chunk| chunk.len);
        if !block.bases()?.into_iter().eq(entry.bases.iter().copied().zip(lens)) {
            return Err(block.corrupt("it is told from other chunks than the pack's footer lists"));
        }
        let plain = block.decode(|id| repo.chunks.base(id, Some((pack.id, place.block_offset))))?;
        let mut rest = plain.as_slice();
        for chunk in &entry.chunks {
            let found = rest.split_at_checked(chunk.len as usize);
            let same = |bytes| repo.vault().id(pack.kind, bytes) == chunk.id;
            let Some((_, after)) = found.filter(|(bytes, _)| same(bytes)) else {
                let what = format!("chunk {} does not have the content of its id", chunk.id);
                return Err(block.corrupt(what));
            };
            rest = after;
        }
        if !rest.is_empty() {
            return Err(block.corrupt("it holds more than the pack's footer lists"));
        }
        Ok((block.into_payload(), plain))
    }
}
