//! Writing: one session adds packs, then index segments, then commits one snapshot.
//!
//! The order is the safety (DESIGN section 5): an object is durable before the next one names it,
//! and creating `snapshots/<S>` is the commit. Whatever stops a session before that leaves the
//! repository as it was, plus finished packs and segments that the next session uses.
//!
//! A session is shared by threads: any of them may code a block and [`Session::write_block`] it;
//! the thread that fills a pack stores it, outside of all locks.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::codec::block::promises_gain;
use crate::codec::random;
use crate::codec::{BlockEncoder, Element};
use crate::format::index::{Place, SegmentBuilder};
use crate::format::pack::BlockEntry;
use crate::format::{
    Added, Beat, ChunkEntry, ChunkId, Commit, FrameKind, ObjectKey, PackId, PackKind, Snapshot,
    SnapshotId, Time, limits,
};
use crate::sync::{Permit, Permits, first_said, lock};
use crate::units::chain;

use super::Repository;
use super::chunks::BaseChunk;
use super::error::{RepoError, Result};
use super::index;
use super::pack::{BlockDraft, CodedBlock, FinishedPack, PackBuilder, records};

/// A session that shows no new beat for this long counts as dead, unless its repository was opened
/// with another time-out.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// Packs whose chunks go into one early segment, so that a killed ingest serves the next one.
const PACKS_PER_SEGMENT: usize = 8;
const CLAIM_SHARDS: usize = 16;
/// Shorter chunks and pages save too little for what reading them through a base costs.
const TOLD_MIN: usize = 1 << 10;
/// Packs that a session holds in memory at a time: an open one of each kind, and two that are being
/// stored.
const PACKS_IN_MEMORY: usize = 4;

/// Who writes, for beats and snapshots.
#[derive(Debug, Clone)]
pub struct Writer {
    /// Host name.
    pub host: String,
    /// Process id.
    pub pid: u32,
}

/// A pack that takes blocks, and the right to hold it in memory.
struct OpenPack {
    builder: PackBuilder,
    permit: Permit,
}

/// What a session may not use.
#[derive(Debug, Default)]
struct Unreliable {
    /// Packs that a prune may delete, and those that the index names and the storage does not have,
    /// or not whole.
    packs: HashSet<PackId>,
    /// Whether the index names any of them.
    is_named: bool,
    /// Whether there are packs that the index does not name: a segment may be lost.
    has_unindexed: bool,
}

/// A live writer of one repository.
pub struct Session<'r> {
    repo: &'r Repository,
    id: SnapshotId,
    writer: Writer,
    /// Chunks that somebody writes and that no segment names yet.
    claims: Vec<Mutex<HashSet<ChunkId>>>,
    open: [Mutex<Option<OpenPack>>; 2],
    packs: Arc<Permits>,
    unindexed: Mutex<Vec<FinishedPack>>,
    beats: Mutex<(u64, Instant)>,
    /// What it may not use.
    unreliable: Unreliable,
    /// Blocks that cannot be read since a base of theirs is gone.
    broken: HashSet<(PackId, u32)>,
    failed: AtomicBool,
    /// Parity of each pack, in thousandths of its bytes.
    parity_permille: u16,
    /// Whether a thread merges index segments.
    merging: AtomicBool,
    added_chunks: AtomicU64,
    added_plain: AtomicU64,
    added_stored: AtomicU64,
}

impl<'r> Session<'r> {
    /// Announces a writer, then looks at what may be relied on. `now` goes into the beat.
    pub fn begin(repo: &'r Repository, writer: Writer, now: Time) -> Result<Self> {
        let mut session = Self {
            repo,
            id: SnapshotId(random()?),
            writer,
            claims: (0..CLAIM_SHARDS).map(|_| Mutex::default()).collect(),
            open: [Mutex::new(None), Mutex::new(None)],
            packs: Permits::new(PACKS_IN_MEMORY),
            unindexed: Mutex::default(),
            beats: Mutex::new((0, Instant::now())),
            unreliable: Unreliable::default(),
            broken: HashSet::new(),
            failed: AtomicBool::new(false),
            parity_permille: repo.parity_permille()?,
            merging: AtomicBool::new(false),
            added_chunks: AtomicU64::new(0),
            added_plain: AtomicU64::new(0),
            added_stored: AtomicU64::new(0),
        };
        session.put_beat(0, now)?;
        match session.look() {
            Ok(unreliable) => {
                session.unreliable = unreliable;
                if session.is_degraded() {
                    session.broken = repo.index().broken_blocks(|place| session.is_there(place));
                }
                Ok(session)
            }
            Err(err) => {
                session.end();
                Err(err)
            }
        }
    }

    /// Holds at most so many packs in memory, at least 3.
    #[must_use]
    pub fn with_packs_in_memory(mut self, count: usize) -> Self {
        self.packs = Permits::new(count.max(3));
        self
    }

    /// Relies on nothing in these packs either, as if they were not there.
    #[must_use]
    pub fn without(mut self, packs: impl IntoIterator<Item = PackId>) -> Self {
        self.unreliable.packs.extend(packs);
        self.unreliable.is_named = true;
        self.broken = self.repo.index().broken_blocks(|place| self.is_there(place));
        self
    }

    /// Learns what may be relied on: prune's records first, the index after, never the other way
    /// round. What only a damaged segment knows counts as absent, and so does what lies in a pack
    /// that is not there whole, or that a prune may delete: it is written again.
    fn look(&self) -> Result<Unreliable> {
        let repo = self.repo;
        let gc_first = repo.rules().gc_first;
        let mut packs = if gc_first { repo.generations()?.banned() } else { HashSet::new() };
        repo.index().reload()?;
        let mut there = HashMap::new();
        for kind in [PackKind::Data, PackKind::Meta] {
            let (packs, _) = repo.stored_packs(kind)?;
            there.extend(packs.into_iter().map(|pack| (pack.id, pack.len)));
        }
        if !gc_first {
            packs = repo.generations()?.banned();
        }
        Ok(self.compare(Unreliable { packs, ..Unreliable::default() }, there))
    }

    /// Adds what the index names and the storage, which has packs of these lengths, does not. Packs
    /// that a prune named long ago, and that the index does not know, cost nothing.
    fn compare(&self, mut unreliable: Unreliable, mut there: HashMap<PackId, u64>) -> Unreliable {
        there.retain(|id, _| !unreliable.packs.contains(id));
        let indexed = self.repo.index().packs();
        let named = indexed.iter().filter(|pack| there.contains_key(&pack.id)).count();
        unreliable.has_unindexed = named < there.len();
        for pack in indexed {
            let banned = unreliable.packs.contains(&pack.id);
            let whole = there.get(&pack.id) == Some(&pack.stored_len);
            if !banned && (whole || self.repo.heals_to(&pack)) {
                continue;
            }
            let object = ObjectKey::Pack(pack.kind, pack.id).to_string();
            if unreliable.packs.insert(pack.id) && first_said(&object) {
                tracing::error!("{object} is not there whole; what it held is written again");
            }
            unreliable.is_named = true;
        }
        unreliable
    }

    /// The session's id, which the snapshot will have.
    #[must_use]
    pub const fn id(&self) -> SnapshotId {
        self.id
    }

    fn put_beat(&self, number: u64, now: Time) -> Result<()> {
        if !self.repo.rules().session {
            return Ok(());
        }
        let Writer { host, pid } = self.writer.clone();
        let repository = self.repo.vault().repository();
        let beat = Beat { repository, session: self.id, beat: number, at: now, host, pid };
        let object = ObjectKey::Beat(self.id, number);
        let bytes = self.repo.vault().encode_object(&object, FrameKind::Beat, beat.encode())?;
        Ok(self.repo.storage().put_new(&object, &bytes)?)
    }

    /// Says that the session lives, when a quarter of the time-out has passed. Cheap otherwise.
    pub fn beat_when_due(&self) -> Result<()> {
        let number = {
            let mut beats = lock(&self.beats);
            if beats.1.elapsed() < self.repo.session_timeout / 4 {
                return Ok(());
            }
            *beats = (beats.0 + 1, Instant::now());
            beats.0
        };
        self.put_beat(number, crate::clock::now())
    }

    /// The id of plain bytes that go into packs of that kind.
    #[must_use]
    pub fn id_of(&self, kind: PackKind, plain: &[u8]) -> ChunkId {
        self.repo.vault().id(kind, plain)
    }

    /// Whether the caller must write this chunk: true for exactly one caller of a chunk that the
    /// repository does not have. Who gets true must put it into a block.
    pub fn claim(&self, id: &ChunkId) -> Result<bool> {
        let Some(shard) = self.claims_of(id) else { return Ok(true) };
        // First the claim, then the look: a claim is dropped only once the index has the chunk, so
        // who gets a dropped one again sees that it is there.
        if !lock(shard).insert(*id) {
            return Ok(false);
        }
        if self.has_chunk(id) {
            lock(shard).remove(id);
            return Ok(false);
        }
        Ok(true)
    }

    fn claims_of(&self, id: &ChunkId) -> Option<&Mutex<HashSet<ChunkId>>> {
        let [a, ..] = id.0;
        self.claims.get(usize::from(a) % CLAIM_SHARDS)
    }

    /// Whether the repository has a chunk in a place that can be relied on.
    #[must_use]
    pub fn has_chunk(&self, id: &ChunkId) -> bool {
        self.repo.index().has_place(id, |place| {
            self.is_there(place)
                && place.base.is_none_or(|base| {
                    !self.broken.contains(&(place.pack.id, place.block_offset))
                        && self.has_whole_chunk(&base)
                })
        })
    }

    /// What the chunk or page `id`, which is about to be written, may be told from: `like`, or that
    /// one's own base, where a sample promises that it saves something. What the repository cannot
    /// give is no base, nor is what lies in no place that can be relied on: of a pack that is not
    /// there whole some chunks may still be read, `id` even, which is written again just for that.
    #[must_use]
    pub fn base_for(
        &self,
        id: &ChunkId,
        plain: &[u8],
        element: Option<Element>,
        like: &ChunkId,
    ) -> Option<BaseChunk> {
        if plain.len() < TOLD_MIN {
            return None;
        }
        let base = match self.repo.base_of(like) {
            Ok(base) => base?,
            Err(err) => {
                tracing::debug!("{err}; what follows it is stored whole");
                return None;
            }
        };
        let reliable = base.id != *id && self.has_whole_chunk(&base.id);
        (reliable && promises_gain(plain, &base.bytes, element)).then_some(base)
    }

    /// The same, in a place that needs no other chunk.
    pub(crate) fn has_whole_chunk(&self, id: &ChunkId) -> bool {
        let whole = |place: &Place| place.base.is_none() && self.is_there(place);
        self.repo.index().has_place(id, whole)
    }

    fn is_there(&self, place: &Place) -> bool {
        !self.unreliable.packs.contains(&place.pack.id)
    }

    /// Whether something that the index should know or have is not there, so that what a snapshot
    /// refers to must be looked at chunk by chunk.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.unreliable.is_named || self.unreliable.has_unindexed || self.repo.index().is_damaged()
    }

    /// Codes and appends a block; stores the pack when it is full. Empty drafts are ignored.
    pub fn write_block(
        &self,
        kind: PackKind,
        draft: &BlockDraft,
        encoder: &mut BlockEncoder,
    ) -> Result<()> {
        if draft.is_empty() {
            return Ok(());
        }
        let result = self.try_write_block(kind, draft, encoder);
        if result.is_err() {
            self.failed.store(true, Ordering::SeqCst);
        }
        result
    }

    fn try_write_block(
        &self,
        kind: PackKind,
        draft: &BlockDraft,
        encoder: &mut BlockEncoder,
    ) -> Result<()> {
        self.refuse_failed()?;
        let coded = draft.code(encoder);
        self.append(kind, &draft.chunks, draft.plain.len(), coded)
    }

    /// Appends a block that was coded before, as another pack's footer lists it.
    pub(crate) fn write_coded(
        &self,
        kind: PackKind,
        block: &BlockEntry,
        coded: CodedBlock,
    ) -> Result<()> {
        let appended = self
            .refuse_failed()
            .and_then(|()| self.append(kind, &block.chunks, block.plain_len as usize, coded));
        appended.inspect_err(|_| self.failed.store(true, Ordering::SeqCst))
    }

    fn append(
        &self,
        kind: PackKind,
        chunks: &[ChunkEntry],
        plain_len: usize,
        coded: CodedBlock,
    ) -> Result<()> {
        self.added_chunks.fetch_add(chunks.len() as u64, Ordering::Relaxed);
        self.added_plain.fetch_add(plain_len as u64, Ordering::Relaxed);
        let full = {
            let mut slot = lock(self.open_pack(kind));
            let mut pack = match slot.take() {
                Some(pack) => pack,
                // Waits for packs to be stored, which needs no slot: this is what slows coding down
                // to what the storage takes.
                None => self.new_pack(kind)?,
            };
            pack.builder.append(chunks, plain_len, coded);
            if pack.builder.is_full() {
                Some(pack)
            } else {
                *slot = Some(pack);
                None
            }
        };
        match full {
            Some(pack) => self.store_pack(pack),
            None => Ok(()),
        }
    }

    fn new_pack(&self, kind: PackKind) -> Result<OpenPack> {
        let permit = self.packs.take();
        Ok(OpenPack { builder: PackBuilder::new(self.repo.vault(), kind)?, permit })
    }

    const fn open_pack(&self, kind: PackKind) -> &Mutex<Option<OpenPack>> {
        let [data, meta] = &self.open;
        match kind {
            PackKind::Data => data,
            PackKind::Meta => meta,
        }
    }

    fn refuse_failed(&self) -> Result<()> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(RepoError::SessionFailed { session: self.id });
        }
        Ok(())
    }

    fn store_pack(&self, pack: OpenPack) -> Result<()> {
        let OpenPack { builder, permit } = pack;
        let mut pack = builder.finish();
        let object = ObjectKey::Pack(pack.info.kind, pack.info.id);
        self.repo.storage().put_new(&object, &pack.bytes)?;
        let mut added = pack.info.stored_len;
        if self.parity_permille > 0 {
            // Before any segment names the pack: who relies on it finds it protected.
            let (kind, id) = (pack.info.kind, pack.info.id);
            added += self.repo.put_parity(kind, id, &pack.bytes, self.parity_permille)?;
        }
        self.added_stored.fetch_add(added, Ordering::Relaxed);
        pack.bytes = Vec::new();
        drop(permit);
        let ready = {
            let mut unindexed = lock(&self.unindexed);
            unindexed.push(pack);
            if unindexed.len() < PACKS_PER_SEGMENT {
                Vec::new()
            } else {
                std::mem::take(&mut *unindexed)
            }
        };
        if !ready.is_empty() {
            self.write_segment(&ready)?;
            self.merge_index();
        }
        self.beat_when_due()
    }

    fn write_segment(&self, packs: &[FinishedPack]) -> Result<()> {
        if packs.is_empty() {
            return Ok(());
        }
        let mut builder = SegmentBuilder::default();
        for pack in packs {
            let number = builder.add_pack(pack.info);
            records(&pack.footer, number).for_each(|record| builder.add(record));
        }
        let body = builder.encode();
        let (id, stored) = index::seal(self.repo.vault(), &body)?;
        self.repo.storage().put_new(&ObjectKey::Segment(id), &stored)?;
        self.added_stored.fetch_add(stored.len() as u64, Ordering::Relaxed);
        self.repo.index().add(id, body)?;
        // They are found through the index now; the claims of a long session would fill the memory.
        for chunk in packs.iter().flat_map(|pack| pack.footer.blocks.iter()).flat_map(|b| &b.chunks)
        {
            if let Some(shard) = self.claims_of(&chunk.id) {
                lock(shard).remove(&chunk.id);
            }
        }
        Ok(())
    }

    /// Merges index segments where there are many of a size, unless another thread is at it. Takes
    /// the calling thread for that long: seconds for ten million chunks. A failure is logged, for
    /// nothing depends on it. What it writes does not count as added.
    pub fn merge_index(&self) {
        if self.merging.swap(true, Ordering::SeqCst) {
            return;
        }
        let doomed = self.repo.generations().map(|generations| generations.doomed());
        if let Err(err) = doomed.and_then(|doomed| self.repo.index().merge(&doomed)) {
            tracing::warn!("cannot merge index segments: {}", chain(&err));
        }
        self.merging.store(false, Ordering::SeqCst);
    }

    /// Stores what is still open: packs first, then their segment.
    pub fn flush(&self) -> Result<()> {
        self.refuse_failed()?;
        for kind in [PackKind::Data, PackKind::Meta] {
            let pack = lock(self.open_pack(kind)).take();
            if let Some(pack) = pack {
                self.store_pack(pack)?;
            }
        }
        let rest = std::mem::take(&mut *lock(&self.unindexed));
        self.write_segment(&rest)
    }

    /// What was written so far.
    #[must_use]
    pub fn added(&self) -> Added {
        Added {
            chunks: self.added_chunks.load(Ordering::Relaxed),
            plain: self.added_plain.load(Ordering::Relaxed),
            stored: self.added_stored.load(Ordering::Relaxed),
        }
    }

    /// Flushes and commits. `describe` gets the session's id and what was added.
    pub fn commit(self, describe: impl FnOnce(SnapshotId, Added) -> Snapshot) -> Result<Snapshot> {
        let result = self.try_commit(describe);
        match result {
            Ok(_) => {
                self.merge_index();
                self.end();
            }
            Err(_) => self.abandon(),
        }
        result
    }

    fn try_commit(&self, describe: impl FnOnce(SnapshotId, Added) -> Snapshot) -> Result<Snapshot> {
        self.flush()?;
        let snapshot = describe(self.id, self.added());
        let commit = Commit::Snapshot(Box::new(snapshot.clone()));
        let payload = commit.encode(self.repo.vault().repository());
        let object = ObjectKey::Snapshot(self.id);
        let bytes = self.repo.vault().encode_object(&object, FrameKind::Snapshot, payload)?;
        match self.repo.storage().put_new(&object, &bytes) {
            Err(err) if err.is_already_exists() => {
                // Ours after a lost answer, or the tombstone of an eviction.
                let there = self.repo.storage().get(&object, limits::SNAPSHOT_MAX as u64 + 4096)?;
                if there != bytes {
                    return Err(RepoError::Evicted { session: self.id });
                }
            }
            result => result?,
        }
        Ok(snapshot)
    }

    /// Ends without a commit. Finished packs are published in a segment where the storage still
    /// works, so that the next session uses them.
    pub fn abandon(self) {
        let rest = std::mem::take(&mut *lock(&self.unindexed));
        if let Err(err) = self.write_segment(&rest) {
            tracing::warn!("cannot publish what session {} wrote: {err}", self.id);
        }
        self.end();
    }

    /// Removes the beats. A beat that stays only delays prunes, so failures are logged.
    fn end(self) {
        let last = lock(&self.beats).0;
        for number in 0..=last {
            if let Err(err) = self.repo.delete_if_there(&ObjectKey::Beat(self.id, number)) {
                tracing::warn!("cannot remove a beat of session {}: {err}", self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::codec::Compression;
    use crate::repo::{InitOptions, OpenOptions};
    use crate::storage::MemoryStorage;

    fn repository() -> Repository {
        let storage = Arc::new(MemoryStorage::new());
        Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
        Repository::open(storage, None, &OpenOptions::default()).unwrap()
    }

    fn begin(repo: &Repository) -> Session<'_> {
        let writer = Writer { host: "host".into(), pid: 1 };
        Session::begin(repo, writer, Time { secs: 1, nanos: 0 }).unwrap()
    }

    fn write(session: &Session<'_>, id: ChunkId, plain: &[u8]) {
        let mut draft = BlockDraft::default();
        draft.push(id, plain);
        let mut encoder = BlockEncoder::new(Compression::Fast).unwrap();
        session.write_block(PackKind::Data, &draft, &mut encoder).unwrap();
    }

    #[test]
    fn claims_last_until_a_segment_has_the_chunk() {
        let repo = repository();
        let session = begin(&repo);
        let claims = || session.claims.iter().map(|shard| lock(shard).len()).sum::<usize>();
        for n in 0..50_u32 {
            let plain = n.to_le_bytes();
            let id = session.id_of(PackKind::Data, &plain);
            assert!(session.claim(&id).unwrap());
            assert!(!session.claim(&id).unwrap());
            write(&session, id, &plain);
        }
        assert_eq!(claims(), 50);
        session.flush().unwrap();
        assert_eq!(claims(), 0);
        for n in 0..50_u32 {
            assert!(!session.claim(&session.id_of(PackKind::Data, &n.to_le_bytes())).unwrap());
        }
        assert_eq!(claims(), 0, "asking leaves no claim");
    }

    /// Threads want the same chunks while segments come out and claims go.
    #[test]
    fn a_chunk_is_claimed_once_however_claims_and_segments_cross() {
        let repo = repository();
        let session = begin(&repo);
        let claimed: Vec<_> = (0..200).map(|_| AtomicUsize::new(0)).collect();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (session, claimed) = (&session, &claimed);
                scope.spawn(move || {
                    for (n, count) in claimed.iter().enumerate() {
                        let plain = n.to_le_bytes();
                        let id = session.id_of(PackKind::Data, &plain);
                        if session.claim(&id).unwrap() {
                            count.fetch_add(1, Ordering::SeqCst);
                            write(session, id, &plain);
                        }
                        if n % 5 == thread {
                            session.flush().unwrap();
                        }
                    }
                });
            }
        });
        let counts: Vec<_> = claimed.iter().map(|count| count.load(Ordering::SeqCst)).collect();
        assert!(counts.iter().all(|count| *count == 1), "{counts:?}");
    }
}
