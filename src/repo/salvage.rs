//! Packs that are lost: finding them, putting right bytes back, and doing without them.
//!
//! What must stay true: bytes get under a pack's name only where their BLAKE3 is that name.

use std::collections::{HashMap, HashSet};

use crate::format::index::Place;
use crate::format::{ChunkId, ObjectKey, PackId, PackKind, SnapshotId, limits};

use super::blocks::{Chunk, Wanted};
use super::error::{RepoError, Result};
use super::pack::{place, read_footer, records};
use super::{Repository, StoredPack};

impl Repository {
    /// Whether a stored pack's bytes are what its name says. Needs no key.
    pub fn is_pack_whole(&self, kind: PackKind, id: PackId) -> Result<bool> {
        Ok(self.pack_bytes(kind, id)?.is_some())
    }

    /// The bytes of a pack, where they are what its name says.
    pub fn pack_bytes(&self, kind: PackKind, id: PackId) -> Result<Option<Vec<u8>>> {
        match self.storage().get(&ObjectKey::Pack(kind, id), limits::PACK_MAX) {
            Ok(bytes) => Ok((*blake3::hash(&bytes).as_bytes() == id.0).then_some(bytes)),
            // Too long, or not there.
            Err(err) if err.is_damage() || err.is_not_found() => Ok(None),
            Err(err) => Err(err.into()),
        }
    }

    /// The bytes of a stored pack, which are what its name says.
    ///
    /// # Errors
    /// `Corrupt` where they are not.
    pub(super) fn proved_bytes(&self, pack: &StoredPack) -> Result<Vec<u8>> {
        let object = ObjectKey::Pack(pack.kind, pack.id);
        let stored = self.storage().get(&object, limits::PACK_MAX)?;
        if *blake3::hash(&stored).as_bytes() == pack.id.0 {
            return Ok(stored);
        }
        Err(RepoError::corrupt(object, "its bytes are not what its name says"))
    }

    /// Packs that the index names and that are not there, neither when `stored` was listed nor now;
    /// but for those that a prune deletes.
    pub fn lost_packs(&self, stored: &[StoredPack]) -> Result<Vec<(PackKind, PackId)>> {
        let stored: HashSet<_> = stored.iter().map(|pack| pack.id).collect();
        self.index().reload()?;
        let mut lost = Vec::new();
        for pack in self.index().packs() {
            if stored.contains(&pack.id) {
                continue;
            }
            match self.storage().len(&ObjectKey::Pack(pack.kind, pack.id)) {
                Err(err) if err.is_not_found() => lost.push((pack.kind, pack.id)),
                found => {
                    found?; // somebody has written it since
                }
            }
        }
        // Decided before it was deleted, so read after that.
        let doomed = self.generations()?.doomed();
        lost.retain(|(_, id)| !doomed.contains(id));
        Ok(lost)
    }

    /// Puts the right bytes of a damaged or lost pack under its name. `false`, and nothing is
    /// written, where they are not what the name says.
    pub fn put_right(&self, kind: PackKind, id: PackId, bytes: &[u8]) -> Result<bool> {
        if *blake3::hash(bytes).as_bytes() != id.0 {
            return Ok(false);
        }
        let object = ObjectKey::Pack(kind, id);
        match self.storage().replace_damaged(&object, bytes) {
            Err(err) if err.is_not_found() => self.storage().put_new(&object, bytes)?,
            result => result?,
        }
        Ok(true)
    }

    /// The right bytes of a pack out of its parity, nothing written; else why there are none.
    pub fn pack_by_parity(&self, kind: PackKind, id: PackId) -> Result<Vec<u8>, String> {
        let healed = self.chunks.healer.in_memory(kind, id).map_err(|why| why.to_string())?;
        Ok(healed.bytes.to_vec())
    }

    /// What is known to lie in these packs: by their footers, where those can be read, and by the
    /// index.
    pub fn chunks_in(&self, packs: &HashMap<PackId, PackKind>) -> Result<Vec<(ChunkId, Place)>> {
        let mut found = Vec::new();
        for open in self.index().segments().iter() {
            found.extend(open.iter().flatten().filter(|it| packs.contains_key(&it.1.pack.id)));
        }
        for (&id, &kind) in packs {
            let object = ObjectKey::Pack(kind, id);
            let Ok((info, footer)) = read_footer(self.storage(), self.vault(), &object, id, kind)
            else {
                continue;
            };
            found.extend(records(&footer, 0).map(|record| (record.id, place(info, &record))));
        }
        // In the order of the packs, so that each block is decoded once.
        let order =
            |(_, place): &(ChunkId, Place)| (place.pack.id, place.block_offset, place.chunk_offset);
        found.sort_unstable_by_key(|it| (order(it), it.0));
        found.dedup_by_key(|it| (order(it), it.0));
        Ok(found)
    }

    /// Whether a pack itself can still say what lies in it.
    #[must_use]
    pub fn has_footer(&self, kind: PackKind, id: PackId) -> bool {
        let object = ObjectKey::Pack(kind, id);
        read_footer(self.storage(), self.vault(), &object, id, kind).is_ok()
    }

    /// The verified bytes of a chunk out of one place.
    pub fn chunk_at(&self, id: &ChunkId, place: &Place) -> Result<Chunk> {
        self.chunks.read(id, place, Wanted::Whole)
    }

    /// Whether a chunk can be had from places that `stays` takes, its base too where it needs one.
    #[must_use]
    pub fn has_chunk_in(&self, id: &ChunkId, stays: impl Fn(&Place) -> bool) -> bool {
        let whole = |place: &Place| place.base.is_none() && stays(place);
        self.index().has_place(id, |place| {
            stays(place) && place.base.is_none_or(|base| self.index().has_place(&base, whole))
        })
    }

    /// An error where a session was taken for dead: nobody waits for it, and what it relies on may
    /// go.
    pub fn refuse_evicted(&self, session: SnapshotId) -> Result<()> {
        match self.storage().len(&ObjectKey::Snapshot(session)) {
            Err(err) if err.is_not_found() => Ok(()),
            found => found.map_err(RepoError::from).and(Err(RepoError::Evicted { session })),
        }
    }
}
