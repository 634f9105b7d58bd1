//! Checks of stored objects, one at a time; `ops::verify` decides which, and adds up.

use std::collections::{HashMap, HashSet};

use crate::format::index::{PackInfo, Place};
use crate::format::pack::{BlockEntry, Footer};
use crate::format::{
    Beat, ChunkId, Commit, Contents, Folder, Forgotten, FrameKind, Generation, LedgerRecord,
    OBJECT_HEADER_LEN, ObjectKey, PackId, PackKind, Pin, SegmentId, Settings, SnapshotId, Tagging,
    frame,
};

use super::Repository;
use super::error::{InObject, RepoError, Result};
use super::index;
use super::pack::{OpenedBlock, read_footer, records};

/// What is said of a pack that is not there.
pub const PACK_MISSING: &str = "is missing, and the index refers to it";

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
    /// The pack's bytes.
    pub bytes: u64,
    /// Chunks that no index segment knows: of an ingest that was killed, and no damage.
    pub unindexed: u64,
    /// Chunks of blocks that cannot be read from this pack.
    pub unreadable: Vec<ChunkId>,
    /// Whether its blocks were not looked at, though they should have been: nothing says where they
    /// are. Any of them may be damaged.
    pub unseen: bool,
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

    /// All packs, those of pages first.
    pub fn all_packs(&self) -> Result<Vec<StoredPack>> {
        let mut packs = self.stored_packs(PackKind::Meta)?.0;
        packs.extend(self.stored_packs(PackKind::Data)?.0);
        Ok(packs)
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
        let mut missing = Vec::new();
        for pack in segment.packs() {
            let pack = pack.map_err(malformed)?;
            match packs.get(&pack.id) {
                None => missing.push((pack.kind, pack.id)),
                Some(&len) if len != pack.stored_len => {
                    let what = format!("has {len} bytes, the index says {}", pack.stored_len);
                    check
                        .errors
                        .push(RepoError::corrupt(ObjectKey::Pack(pack.kind, pack.id), what));
                }
                Some(_) => {}
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        // A merge that ran beside a prune may bring back what that one swept.
        let doomed = self.generations()?.doomed();
        missing.retain(|(_, id)| !doomed.contains(id));
        let error = |(kind, id)| RepoError::corrupt(ObjectKey::Pack(kind, id), PACK_MISSING);
        check.errors.extend(missing.into_iter().map(error));
        Ok(())
    }

    /// Checks a pack as stored, with `read_data` every byte of it. Where something is wrong it is
    /// healed, if it can be, and checked again.
    pub fn check_and_heal(&self, pack: &StoredPack, read_data: bool) -> PackCheck {
        let check = |pack: &StoredPack| match read_data {
            true => self.check_pack_data(pack),
            false => self.check_pack(pack),
        };
        let found = check(pack);
        if found.errors.is_empty() || self.heal_pack(pack.kind, pack.id) != Ok(true) {
            return found;
        }
        let len = self.storage().len(&ObjectKey::Pack(pack.kind, pack.id));
        check(&StoredPack { len: len.unwrap_or(pack.len), ..*pack })
    }

    /// Checks a pack's header, trailer and footer, and that what the index says of the pack is what
    /// its footer says.
    pub fn check_pack(&self, pack: &StoredPack) -> PackCheck {
        let mut check = PackCheck { bytes: pack.len, ..PackCheck::default() };
        if let Err(err) = self.try_check_footer(pack, &mut check) {
            check.errors.push(err);
        }
        check
    }

    fn try_check_footer(
        &self,
        pack: &StoredPack,
        check: &mut PackCheck,
    ) -> Result<(PackInfo, Footer)> {
        let object = ObjectKey::Pack(pack.kind, pack.id);
        let (info, footer) =
            read_footer(self.storage(), self.vault(), &object, pack.id, pack.kind)?;
        check.blocks = footer.blocks.len() as u64;
        check.chunks = footer.blocks.iter().map(|b| b.chunks.len() as u64).sum();
        for record in records(&footer, 0) {
            let places = match self.index().places(&record.id) {
                Ok(places) => places,
                // The segment's own check says what is wrong with it.
                Err(err) if err.is_damage() => continue,
                Err(err) => return Err(err),
            };
            check.unindexed += u64::from(places.is_empty());
            let mut here = places.iter().filter(|place| place.pack.id == pack.id).peekable();
            let same = |place: &Place| {
                (place.block_offset, place.block_len) == (record.block_offset, record.block_len)
                    && (place.chunk_len, place.base) == (record.chunk_len, record.base)
            };
            if here.peek().is_some() && !here.any(same) {
                let what = format!(
                    "the index has another place of chunk {} in it, or another base",
                    record.id
                );
                check.errors.push(RepoError::corrupt(object, what));
            }
        }
        Ok((info, footer))
    }

    /// Reads a pack whole: its bytes against its name, each block's seal and coding, each chunk
    /// against its id.
    pub fn check_pack_data(&self, pack: &StoredPack) -> PackCheck {
        let mut check = PackCheck { bytes: pack.len, ..PackCheck::default() };
        if let Err(err) = self.try_check_data(pack, &mut check) {
            check.errors.push(err);
            check.unseen = true;
        }
        check
    }

    fn try_check_data(&self, pack: &StoredPack, check: &mut PackCheck) -> Result<()> {
        let object = ObjectKey::Pack(pack.kind, pack.id);
        let stored = self.storage().get(&object, crate::format::limits::PACK_MAX)?;
        if blake3::hash(&stored).as_bytes() != &pack.id.0 {
            check.errors.push(RepoError::corrupt(object, "its bytes are not what its name says"));
        }
        let (info, footer) = self.try_check_footer(pack, check)?;
        let cipher = self.vault().part_cipher(Contents::Pack(pack.kind), info.salt);
        let mut offset = OBJECT_HEADER_LEN;
        for block in &footer.blocks {
            let end = offset + block.stored_len as usize;
            let bytes = stored.get(offset..end).unwrap_or_default().to_vec();
            let checked = OpenedBlock::open(&object, offset as u64, &cipher, bytes)
                .and_then(|opened| self.check_block(pack, offset as u32, block, &opened));
            if let Err(err) = checked {
                check.unreadable.extend(block.chunks.iter().map(|chunk| chunk.id));
                check.errors.push(err);
            }
            offset = end;
        }
        Ok(())
    }

    /// That a block at this offset is told from the chunks that the footer lists, and holds the
    /// chunks that it lists.
    fn check_block(
        &self,
        pack: &StoredPack,
        offset: u32,
        listed: &BlockEntry,
        opened: &OpenedBlock,
    ) -> Result<()> {
        let lens = listed.chunks.iter().map(|chunk| chunk.len);
        if !opened.bases()?.into_iter().eq(listed.bases.iter().copied().zip(lens)) {
            return Err(opened.corrupt("it is told from other chunks than the pack's footer lists"));
        }
        let plain = opened.decode(|id| self.chunks.base(id, Some((pack.id, offset))))?;
        let mut rest = plain.as_slice();
        for chunk in &listed.chunks {
            let found = rest.split_at_checked(chunk.len as usize);
            let Some((_, after)) =
                found.filter(|(bytes, _)| self.vault().id(pack.kind, bytes) == chunk.id)
            else {
                let id = chunk.id;
                let what = format!("chunk {id} does not have the content that its id states");
                return Err(opened.corrupt(what));
            };
            rest = after;
        }
        if rest.is_empty() {
            return Ok(());
        }
        Err(opened.corrupt(format!("it holds {} bytes that the footer does not list", rest.len())))
    }

    /// Checks one beat of a session.
    pub fn check_beat(&self, session: SnapshotId, number: u64) -> Result<()> {
        let object = ObjectKey::Beat(session, number);
        let payload = self.read_framed(&object, FrameKind::Beat)?;
        let beat = Beat::decode(&payload).in_object(&object)?;
        if beat.repository != self.vault().repository() {
            let what = format!("it belongs to repository {}", beat.repository);
            return Err(RepoError::corrupt(object, what));
        }
        if (beat.session, beat.beat) != (session, number) {
            return Err(RepoError::corrupt(object, "it states another session or number"));
        }
        Ok(())
    }

    /// Checks a mark, a beat of a pin, or a record of a prune: whatever has one frame and no checks
    /// of its own here. What it is not asked about holds.
    pub fn check_mark(&self, object: &ObjectKey) -> Result<()> {
        let Some(kind) = frame_of(object) else { return Ok(()) };
        let max = (kind.payload_max() + frame::HEADER_LEN) as u64;
        self.check_small(object, &self.storage().get(object, max)?)
    }

    /// Checks that these bytes could stand under the name of a snapshot, a mark, a beat of a pin or
    /// a record of a prune.
    pub fn check_small(&self, object: &ObjectKey, bytes: &[u8]) -> Result<()> {
        let kind = match object {
            ObjectKey::Snapshot(_) => FrameKind::Snapshot,
            ObjectKey::Settings(_) => FrameKind::Settings,
            ObjectKey::Ledger(..) => FrameKind::Ledger,
            object => match frame_of(object) {
                Some(kind) => kind,
                None => return Ok(()),
            },
        };
        let payload = self.vault().decode_object(object, kind, bytes)?;
        let here = self.vault().repository();
        let checked = match *object {
            ObjectKey::Snapshot(id) => Commit::decode(&payload, here, id).map(drop),
            ObjectKey::Forgotten(id) => Forgotten::decode(&payload, here, id).map(drop),
            ObjectKey::Tags(id, number) => Tagging::decode(&payload, here, id, number).map(drop),
            ObjectKey::Pin(id, beat) => Pin::decode(&payload, here, id, beat).map(drop),
            ObjectKey::Settings(number) => Settings::decode(&payload, here, number).map(drop),
            ObjectKey::Ledger(secs, id) => LedgerRecord::decode(&payload, here, secs, id).map(drop),
            ObjectKey::Candidates(number) | ObjectKey::Decision(number) => {
                Generation::decode(&payload, here, number).map(drop)
            }
            _ => Ok(()),
        };
        checked.in_object(object)
    }

    /// Reads the config again: it must still be the one that this repository was opened with.
    pub fn check_config(&self) -> Result<()> {
        let stored = Self::read_config(self.storage())?;
        if stored.config != *self.config() {
            return Err(RepoError::corrupt(ObjectKey::Config, "it changed since it was read"));
        }
        Ok(())
    }

    /// Blocks, as pack and offset, that nobody can read because a chunk that they are told from is
    /// not whole in any place that is `there`.
    pub fn broken_blocks(&self, there: impl Fn(&Place) -> bool) -> HashSet<(PackId, u32)> {
        self.index().broken_blocks(there)
    }

    /// Every place of a chunk that the index knows.
    pub fn chunk_places(&self, id: &ChunkId) -> Result<Vec<Place>> {
        self.index().places(id)
    }
}

/// The frame of what [`Repository::check_mark`] checks.
const fn frame_of(object: &ObjectKey) -> Option<FrameKind> {
    match object {
        ObjectKey::Forgotten(_) => Some(FrameKind::Forgotten),
        ObjectKey::Tags(..) => Some(FrameKind::Tagging),
        ObjectKey::Pin(..) => Some(FrameKind::Pin),
        ObjectKey::Candidates(_) => Some(FrameKind::Candidates),
        ObjectKey::Decision(_) => Some(FrameKind::Decision),
        _ => None,
    }
}
