//! Packs that are lost: finding them, putting right bytes back, and doing without them.
//!
//! What must stay true: bytes get under a pack's name only where their BLAKE3 is that name; a pack
//! is set aside only once everything that could be read of it is in packs that the index names, so
//! that no reader and no writer, whatever it knows of the index, ever has less than before.

use std::collections::{HashMap, HashSet};

use crate::format::index::{PackInfo, Place, Record, Segment, SegmentBuilder};
use crate::format::{
    ChunkId, Forgotten, FrameKind, Malformed, ObjectKey, PackId, PackKind, SegmentId, SnapshotId,
    limits,
};

use super::blocks::{Chunk, Wanted};
use super::error::{RepoError, Result};
use super::pack::{read_footer, records};
use super::{Repository, StoredPack, index};

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

    /// Packs that the index names and that are not among the stored ones.
    #[must_use]
    pub fn lost_packs(&self, stored: &[StoredPack]) -> Vec<(PackKind, PackId)> {
        let stored: HashSet<_> = stored.iter().map(|pack| pack.id).collect();
        let named = self.index().packs().into_iter();
        let lost = named.filter(|pack| !stored.contains(&pack.id));
        lost.map(|pack| (pack.kind, pack.id)).collect()
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
    /// the packs. The caller has written anew what could be read. Stopped anywhere, it can be run
    /// again.
    pub fn set_aside(&self, packs: &HashMap<PackId, PackKind>) -> Result<()> {
        self.index().reload()?;
        let in_force: HashSet<_> =
            self.index().segments().iter().map(|open| open.object()).collect();
        for id in self.stored_segments()? {
            let body = match index::fetch(self.storage(), self.vault(), id) {
                // What it said was not used for anything here; repairing it is another matter.
                Err(err) if err.is_damage() => {
                    tracing::warn!("{err}; it is left as it is");
                    continue;
                }
                result => result?,
            };
            let malformed = |err| RepoError::malformed(ObjectKey::Segment(id), err);
            let segment = Segment::open(body).map_err(malformed)?;
            let Some(builder) = without(&segment, id, packs).map_err(malformed)? else { continue };
            // One that another replaces knows nothing which that one does not.
            if in_force.contains(&ObjectKey::Segment(id)) {
                let body = builder.encode();
                let (new, stored) = index::seal(self.vault(), &body)?;
                self.storage().put_new(&ObjectKey::Segment(new), &stored)?;
                self.index().add(new, body)?;
            }
            self.remove(ObjectKey::Segment(id))?;
        }
        for (&id, &kind) in packs {
            self.remove(ObjectKey::Pack(kind, id))?;
            self.remove(ObjectKey::Parity(id))?;
        }
        self.index().reload()
    }

    fn remove(&self, object: ObjectKey) -> Result<()> {
        match self.storage().delete(&object) {
            Err(err) if err.is_not_found() => Ok(()),
            result => Ok(result?),
        }
    }

    /// Marks a snapshot as one that may be pruned; fine where it is marked.
    pub fn mark_forgotten(&self, snapshot: SnapshotId, host: &str) -> Result<()> {
        let (repository, at) = (self.vault().repository(), crate::clock::now());
        let mark = Forgotten { repository, snapshot, at, host: host.into() };
        let object = ObjectKey::Forgotten(snapshot);
        let bytes = self.vault().encode_object(&object, FrameKind::Forgotten, mark.encode())?;
        match self.storage().put_new(&object, &bytes) {
            Err(err) if err.is_already_exists() => Ok(()),
            result => Ok(result?),
        }
    }
}

/// What a segment says without some packs, in its place; `None` where it names none of them.
fn without<B: AsRef<[u8]>>(
    segment: &Segment<B>,
    id: SegmentId,
    packs: &HashMap<PackId, PackKind>,
) -> Result<Option<SegmentBuilder>, Malformed> {
    let named = segment.packs().collect::<Result<Vec<PackInfo>, _>>()?;
    if !named.iter().any(|pack| packs.contains_key(&pack.id)) {
        return Ok(None);
    }
    let (mut builder, mut numbers) = (SegmentBuilder::default(), HashMap::new());
    for pack in named.iter().filter(|pack| !packs.contains_key(&pack.id)) {
        numbers.insert(pack.id, builder.add_pack(*pack));
    }
    for item in segment.iter() {
        let (id, Place { pack, block_offset, block_len, chunk_offset, chunk_len, base }) = item?;
        let Some(&pack) = numbers.get(&pack.id) else { continue };
        builder.add(Record { id, pack, block_offset, block_len, chunk_offset, chunk_len, base });
    }
    builder.replace(id);
    segment.replaces().for_each(|old| builder.replace(old));
    Ok(Some(builder))
}
