//! Writing: one session adds packs, then index segments, then commits one snapshot.
//!
//! The order is the safety (DESIGN section 5): an object is durable before the next one names it,
//! and creating `snapshots/<S>` is the commit. Whatever stops a session before that leaves the
//! repository as it was, plus finished packs and segments that the next session uses.
//!
//! A session is shared by threads: any of them may code a block and [`Session::write_block`] it;
//! the thread that fills a pack stores it, outside of all locks.

mod trust;
mod write;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::codec::random;
use crate::format::{
    Added, Beat, ChunkId, Commit, FrameKind, ObjectKey, PackId, PackKind, Snapshot, SnapshotId,
    Time, limits,
};
use crate::sync::{Permits, lock};

use super::Repository;
use super::beats::Beats;
use super::error::{RepoError, Result};
use super::pack::FinishedPack;

use trust::Unreliable;
use write::OpenPack;

/// A session that shows no new beat for this long counts as dead, unless its repository was opened
/// with another time-out.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
const CLAIM_SHARDS: usize = 16;
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
    beats: Beats,
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
        let mut session = Self::announce(repo, writer, now)?;
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

    /// Announces a writer that adds no chunks: one that puts packs right, or snapshots back. A prune
    /// waits for it like for any other.
    pub fn announce(repo: &'r Repository, writer: Writer, now: Time) -> Result<Self> {
        let session = Self {
            repo,
            id: SnapshotId(random()?),
            writer,
            claims: (0..CLAIM_SHARDS).map(|_| Mutex::default()).collect(),
            open: [Mutex::new(None), Mutex::new(None)],
            packs: Permits::new(PACKS_IN_MEMORY),
            unindexed: Mutex::default(),
            beats: Beats::begin(),
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
        Ok(session)
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
        self.repo.put_framed(&object, FrameKind::Beat, beat.encode())
    }

    /// Says that the session lives, when a quarter of the time-out has passed. Cheap otherwise.
    pub fn beat_when_due(&self) -> Result<()> {
        match self.beats.due(self.repo.session_timeout) {
            Some(number) => self.put_beat(number, crate::clock::now()),
            None => Ok(()),
        }
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
        let last = self.beats.last();
        for number in 0..=last {
            if let Err(err) = self.repo.delete_if_there(&ObjectKey::Beat(self.id, number)) {
                tracing::warn!("cannot remove a beat of session {}: {err}", self.id);
            }
        }
    }
}
