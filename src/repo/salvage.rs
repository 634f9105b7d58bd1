//! Packs that are lost: finding them, putting right bytes back, and doing without them.
//!
//! What must stay true: bytes get under a pack's name only where their BLAKE3 is that name; a pack
//! is set aside only once everything that could be read of it is in packs that the index names, so
//! that no reader and no writer, whatever it knows of the index, ever has less than before.

use std::collections::{HashMap, HashSet};

use crate::format::index::Place;
use crate::format::{ChunkId, ObjectKey, PackId, PackKind, SnapshotId, limits};

use super::blocks::{Chunk, Wanted};
use super::error::{RepoError, Result};
use super::pack::{read_footer, records};
use super::{Repository, Session, StoredPack};

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
            found.extend(records(&footer, 0).map(|record| {
                let place = Place {
                    pack: info,
                    block_offset: record.block_offset,
                    block_len: record.block_len,
                    chunk_offset: record.chunk_offset,
                    chunk_len: record.chunk_len,
                    base: record.base,
                };
                (record.id, place)
            }));
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

    /// Does without packs: publishes segments that name none of them, removes those that did, then
    /// the packs, but for those that are whole by then; says how many that were. The caller has
    /// written anew what could be read, in `session`, and flushed it. Stopped anywhere, it can be
    /// run again.
    pub fn set_aside(
        &self,
        packs: &HashMap<PackId, PackKind>,
        session: &Session<'_>,
    ) -> Result<u64> {
        let going = self.not_whole(packs, session)?;
        self.refuse_evicted(session.id())?;
        self.index().reload()?;
        self.index().sweep(&going.keys().copied().collect())?;
        // Sweeping takes its time: somebody may have healed one, or taken the session for dead.
        let gone = self.not_whole(&going, session)?;
        self.refuse_evicted(session.id())?;
        for (&id, &kind) in &gone {
            self.delete_if_there(&ObjectKey::Pack(kind, id))?;
            self.delete_if_there(&ObjectKey::Parity(id))?;
        }
        self.index().reload()?;
        Ok(gone.len() as u64)
    }

    fn not_whole(
        &self,
        packs: &HashMap<PackId, PackKind>,
        session: &Session<'_>,
    ) -> Result<HashMap<PackId, PackKind>> {
        let mut found = HashMap::new();
        for (&id, &kind) in packs {
            session.beat_when_due()?;
            if self.is_pack_whole(kind, id)? {
                tracing::warn!("{} is whole now and stays", ObjectKey::Pack(kind, id));
            } else {
                found.insert(id, kind);
            }
        }
        Ok(found)
    }

    /// Nobody waits for a session that was taken for dead: what it relies on may go.
    fn refuse_evicted(&self, session: SnapshotId) -> Result<()> {
        match self.storage().len(&ObjectKey::Snapshot(session)) {
            Err(err) if err.is_not_found() => Ok(()),
            found => found.map_err(RepoError::from).and(Err(RepoError::Evicted { session })),
        }
    }
}
