//! Checks of stored objects, one at a time; `ops::verify` decides which, and adds up.

use std::collections::HashMap;

use crate::format::{
    ChunkId, Contents, Folder, OBJECT_HEADER_LEN, ObjectKey, PackId, PackKind, SegmentId,
};

use super::Repository;
use super::error::{RepoError, Result};
use super::index;
use super::pack::{open_block, read_footer};

/// A stored pack as the storage lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredPack {
    /// What it holds.
    pub kind: PackKind,
    /// Its id.
    pub id: PackId,
    /// Its length in bytes.
    pub len: u64,
}

/// What was found in one pack.
#[derive(Debug, Default)]
pub struct PackCheck {
    /// Blocks seen.
    pub blocks: u64,
    /// Chunks seen.
    pub chunks: u64,
    /// Stored bytes read.
    pub bytes: u64,
    /// Everything that is wrong with it.
    pub errors: Vec<RepoError>,
}

/// What was found in one index segment.
#[derive(Debug, Default)]
pub struct IndexCheck {
    /// Records seen.
    pub chunks: u64,
    /// Everything that is wrong with it.
    pub errors: Vec<RepoError>,
}

impl Repository {
    /// All packs of one kind, and the names in their folder that no icecore wrote.
    pub fn stored_packs(&self, kind: PackKind) -> Result<(Vec<StoredPack>, Vec<String>)> {
        let (mut packs, mut strangers) = (Vec::new(), Vec::new());
        for listed in self.storage().list(kind.folder())? {
            match listed.key {
                Some(ObjectKey::Pack(kind, id)) => {
                    packs.push(StoredPack { kind, id, len: listed.len });
                }
                _ => strangers.push(listed.name),
            }
        }
        Ok((packs, strangers))
    }

    /// All index segments.
    pub fn stored_segments(&self) -> Result<Vec<SegmentId>> {
        let listed = self.storage().list(Folder::Index)?;
        Ok(listed
            .into_iter()
            .filter_map(|entry| match entry.key {
                Some(ObjectKey::Segment(id)) => Some(id),
                _ => None,
            })
            .collect())
    }

    /// Checks one segment as stored: name, seals, order, and that each place lies in a pack that
    /// is there (`packs`: lengths by id).
    pub fn check_segment(&self, id: SegmentId, packs: &HashMap<PackId, u64>) -> IndexCheck {
        let mut check = IndexCheck::default();
        if let Err(err) = self.try_check_segment(id, packs, &mut check) {
            check.errors.push(err);
        }
        check
    }

    fn try_check_segment(
        &self,
        id: SegmentId,
        packs: &HashMap<PackId, u64>,
        check: &mut IndexCheck,
    ) -> Result<()> {
        let object = ObjectKey::Segment(id);
        let body = index::fetch(self.storage(), self.vault(), id)?;
        let malformed = |err| RepoError::malformed(object, err);
        let segment = crate::format::index::Segment::open(body).map_err(malformed)?;
        segment.check().map_err(malformed)?;
        check.chunks = segment.len() as u64;
        for pack in segment.packs() {
            let pack = pack.map_err(malformed)?;
            let pack_object = ObjectKey::Pack(pack.kind, pack.id);
            let what = match packs.get(&pack.id) {
                None => "is missing, and the index refers to it".to_owned(),
                Some(&len) if len != pack.stored_len => {
                    format!("has {len} bytes, the index says {}", pack.stored_len)
                }
                Some(_) => continue,
            };
            check.errors.push(RepoError::corrupt(pack_object, what));
        }
        Ok(())
    }

    /// Checks a pack's header, trailer and footer, and that the index knows each of its chunks.
    pub fn check_pack(&self, pack: &StoredPack) -> PackCheck {
        let mut check = PackCheck::default();
        let object = ObjectKey::Pack(pack.kind, pack.id);
        match read_footer(self.storage(), self.vault(), &object, pack.id, pack.kind) {
            Err(err) => check.errors.push(err),
            Ok((info, footer)) => {
                check.blocks = footer.blocks.len() as u64;
                check.chunks = footer.blocks.iter().map(|b| b.chunks.len() as u64).sum();
                check.bytes = info.stored_len;
            }
        }
        check
    }

    /// Reads a pack whole: its bytes against its name, each block's seal and coding, each chunk
    /// against its id.
    pub fn check_pack_data(&self, pack: &StoredPack) -> PackCheck {
        let mut check = self.check_pack(pack);
        if let Err(err) = self.try_check_data(pack, &mut check) {
            check.errors.push(err);
        }
        check
    }

    fn try_check_data(&self, pack: &StoredPack, check: &mut PackCheck) -> Result<()> {
        let object = ObjectKey::Pack(pack.kind, pack.id);
        let stored = self.storage().get(&object, crate::format::limits::PACK_MAX)?;
        if blake3::hash(&stored).as_bytes() != &pack.id.0 {
            check.errors.push(RepoError::corrupt(object, "its bytes are not what its name says"));
        }
        let (info, footer) =
            read_footer(self.storage(), self.vault(), &object, pack.id, pack.kind)?;
        let cipher = self.vault().part_cipher(Contents::Pack(pack.kind), info.salt);
        let mut offset = OBJECT_HEADER_LEN;
        for block in &footer.blocks {
            let end = offset + block.stored_len as usize;
            let bytes = stored.get(offset..end).unwrap_or_default().to_vec();
            match open_block(&object, offset as u64, &cipher, bytes) {
                Err(err) => check.errors.push(err),
                Ok(plain) => {
                    let listed = block.chunks.iter().map(|chunk| (chunk.id, chunk.len as usize));
                    if let Some(id) = self.first_wrong_chunk(&plain, listed) {
                        let what = format!("chunk {id} does not have the content its id states");
                        let name = super::pack::block_name(&object, offset as u64);
                        check.errors.push(RepoError::corrupt(name, what));
                    }
                }
            }
            offset = end;
        }
        Ok(())
    }

    fn first_wrong_chunk(
        &self,
        plain: &[u8],
        chunks: impl Iterator<Item = (ChunkId, usize)>,
    ) -> Option<ChunkId> {
        let mut rest = plain;
        for (id, len) in chunks {
            let Some((chunk, after)) = rest.split_at_checked(len) else { return Some(id) };
            if self.vault().chunk_id(chunk) != id {
                return Some(id);
            }
            rest = after;
        }
        None
    }

    /// Looks at the index again; a damaged segment is an error.
    pub fn reload_index(&self) -> Result<()> {
        self.index().reload(self.storage(), self.vault(), false)
    }

    /// Length of the pack that holds a chunk according to the index, with the pack's id.
    pub fn place_of(&self, id: &ChunkId) -> Result<Option<(PackKind, PackId)>> {
        let places = self.index().places(id)?;
        Ok(places.first().map(|place| (place.pack.kind, place.pack.id)))
    }
}
