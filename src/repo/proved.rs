//! Blocks of stored packs as they lie there, proved before anybody writes them once more.
//!
//! Each chunk of a block is decoded and compared with its id, and the bases that the block names
//! with those that the pack's footer lists.

use std::collections::HashMap;

use crate::format::index::Place;
use crate::format::pack::{BlockEntry, Footer};
use crate::format::{Contents, OBJECT_HEADER_LEN, ObjectKey, PackId};

use super::Repository;
use super::error::{RepoError, Result};
use super::pack::{OpenedBlock, footer_of};

/// Footers that are kept at hand: those of packs that what is near in a tree lies in.
const FOOTERS_MAX: usize = 64;

/// Reads blocks of one repository; one per thread.
pub(super) struct BlockProver<'r> {
    repo: &'r Repository,
    footers: HashMap<PackId, Footer>,
}

impl<'r> BlockProver<'r> {
    pub(super) fn new(repo: &'r Repository) -> Self {
        Self { repo, footers: HashMap::new() }
    }

    /// What the pack's footer says of the block.
    pub(super) fn entry(&mut self, place: &Place) -> Result<BlockEntry> {
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
    pub(super) fn read(&self, place: &Place, entry: &BlockEntry) -> Result<(Vec<u8>, Vec<u8>)> {
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
