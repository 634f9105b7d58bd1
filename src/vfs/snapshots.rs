//! Which snapshots there are, looked up again when someone looks.
//!
//! A new snapshot appears without a remount: when a virtual directory is looked at, the folder
//! `snapshots` of the storage is listed again, at most once per interval, and only objects not
//! seen before are read. One thread does that at a time; the others answer from the last picture
//! and never wait. A snapshot that cannot be read is logged once and hides no other.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;

use crate::clock;
use crate::format::{Snapshot, SnapshotId, Time};
use crate::repo::{Heads, Marks, NodeRef, RepoError, Repository};
use crate::sync::{about_to_block, first_said, lock};

use super::layout::{self, Layout};

/// A damaged snapshot is tried again after this long: a repair may have put it right.
const DAMAGED_RETRY: Duration = Duration::from_secs(60);

/// What the tree keeps of a snapshot.
#[derive(Debug, Clone)]
pub(super) struct SnapshotRoot {
    pub(super) id: SnapshotId,
    pub(super) time: Time,
    /// Its name below `/snapshots`.
    pub(super) name: String,
    pub(super) host: String,
    pub(super) tags: Vec<String>,
    /// Paths of what was ingested, as raw bytes.
    pub(super) sources: Vec<Vec<u8>>,
    /// Its root directory.
    pub(super) node: NodeRef,
    /// Entries below and including the root.
    pub(super) entries: u64,
}

/// What is known of one object in the folder.
#[derive(Debug)]
enum Known {
    Snapshot(Arc<SnapshotRoot>),
    Tombstone,
    Damaged { tried: Instant },
}

/// What was read of the storage so far.
#[derive(Debug, Default)]
struct Seen {
    /// What is not forgotten, as stored.
    known: BTreeMap<SnapshotId, Known>,
    marks: Marks,
    /// Whether the picture shows other marks than these.
    outdated: bool,
    /// Copies on this machine; used up by the first look.
    heads: Heads,
}

/// The snapshots as they were when last looked at.
#[derive(Debug)]
pub(super) struct Snapshots {
    repo: Arc<Repository>,
    /// `None`: they are never looked at again.
    interval: Option<Duration>,
    seen: Mutex<Seen>,
    listed: Mutex<Instant>,
    layout: RwLock<Arc<Layout>>,
    /// Snapshots that could not be read at the last look, and are not shown.
    unread: AtomicU64,
}

impl Snapshots {
    /// Lists the snapshots for the first time.
    pub(super) fn open(repo: Arc<Repository>, interval: Duration) -> Result<Self, RepoError> {
        let layout = Arc::new(Layout::empty(repo.config().created));
        let snapshots = Self {
            repo,
            interval: Some(interval),
            seen: Mutex::default(),
            listed: Mutex::new(Instant::now()),
            layout: RwLock::new(layout),
            unread: AtomicU64::new(0),
        };
        let mut seen = lock(&snapshots.seen);
        seen.heads = snapshots.repo.heads();
        snapshots.list(&mut seen)?;
        let ids: Vec<_> = seen.known.keys().copied().collect();
        std::mem::take(&mut seen.heads).keep(&ids);
        drop(seen);
        Ok(snapshots)
    }

    /// One snapshot and no other, whatever comes.
    pub(super) fn of_one(repo: Arc<Repository>, snapshot: &Snapshot) -> Self {
        let root = Known::Snapshot(Arc::new(SnapshotRoot::new(snapshot)));
        let layout = Arc::new(Layout::nothing(snapshot.time));
        Self {
            repo,
            interval: None,
            seen: Mutex::new(Seen {
                known: BTreeMap::from([(snapshot.id, root)]),
                ..Seen::default()
            }),
            listed: Mutex::new(Instant::now()),
            layout: RwLock::new(layout),
            unread: AtomicU64::new(0),
        }
    }

    /// The picture of now: the storage is asked when the last answer is older than the interval.
    pub(super) fn current(&self) -> Arc<Layout> {
        if self.is_due() {
            let mut seen = match self.seen.try_lock() {
                Ok(seen) => seen,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return self.last(),
            };
            self.look_again(&mut seen);
        }
        self.last()
    }

    /// Whether what comes and goes is shown.
    pub(super) const fn follow(&self) -> bool {
        self.interval.is_some()
    }

    /// Asks the storage whether it is due or not; waits for whoever does just that.
    pub(super) fn refresh(&self) {
        if !self.follow() {
            return;
        }
        self.look_again(&mut lock(&self.seen));
    }

    fn look_again(&self, seen: &mut Seen) {
        about_to_block();
        if let Err(err) = self.list(seen) {
            tracing::error!("cannot look for new snapshots: {err}");
        }
    }

    /// The picture of the last look.
    pub(super) fn last(&self) -> Arc<Layout> {
        Arc::clone(&self.layout.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many snapshots could not be read at the last look, and are not shown.
    pub(super) fn unread(&self) -> u64 {
        self.unread.load(Ordering::Relaxed)
    }

    /// Entries of all snapshots together.
    pub(super) fn entries(&self) -> u64 {
        let seen = lock(&self.seen);
        roots(&seen.known).map(|snapshot| snapshot.entries).fold(0, u64::saturating_add)
    }

    /// Whether the interval is over; whoever is told so starts the next.
    fn is_due(&self) -> bool {
        let Some(interval) = self.interval else { return false };
        let mut listed = lock(&self.listed);
        let due = listed.elapsed() >= interval;
        if due {
            *listed = Instant::now();
        }
        due
    }

    /// Lists marks and snapshots, reads what is new, and makes a new picture where anything changed.
    /// An error leaves what is shown as it is. The marks come first: what is seen there later than
    /// the snapshots could be gone with its mark in between, and be shown once more.
    fn list(&self, seen: &mut Seen) -> Result<(), RepoError> {
        seen.outdated |= seen.marks.refresh(&self.repo)?;
        let ids = self.repo.snapshot_ids()?;
        let shown = |known: &BTreeMap<_, _>| {
            roots(known).map(|snapshot| snapshot.id).collect::<HashSet<_>>()
        };
        let shown_before = shown(&seen.known);
        let mut before = std::mem::take(&mut seen.known);
        let mut unread = 0;
        for id in ids.into_iter().filter(|&id| !seen.marks.is_forgotten(id)) {
            let known = self.look(&mut seen.heads, id, before.remove(&id));
            unread += u64::from(matches!(known, None | Some(Known::Damaged { .. })));
            if let Some(known) = known {
                seen.known.insert(id, known);
            }
        }
        self.unread.store(unread, Ordering::Relaxed);
        if seen.outdated || shown(&seen.known) != shown_before {
            self.picture(seen);
            seen.outdated = false;
        }
        Ok(())
    }

    /// What stands under one id; `None` where that is not known now and must be asked again.
    fn look(&self, heads: &mut Heads, id: SnapshotId, before: Option<Known>) -> Option<Known> {
        let damaged_before = match before {
            Some(Known::Damaged { tried }) if tried.elapsed() >= DAMAGED_RETRY => true,
            Some(known) => return Some(known),
            None => false,
        };
        match self.repo.read_snapshot_with(heads, id) {
            Ok(None) => Some(Known::Tombstone),
            Ok(Some(snapshot)) => Some(Known::Snapshot(Arc::new(SnapshotRoot::new(&snapshot)))),
            Err(err) if err.is_not_found() => None,
            Err(err) if err.is_damage() || err.is_newer() => {
                if !damaged_before {
                    tracing::error!("snapshot {id} is not shown: {err}");
                }
                Some(Known::Damaged { tried: Instant::now() })
            }
            Err(err) => {
                if first_said(&format!("snapshot {id} that cannot be read")) {
                    tracing::error!("snapshot {id} is not shown for now: {err}");
                }
                None
            }
        }
    }

    fn picture(&self, seen: &Seen) {
        let tagged = |snapshot: &Arc<SnapshotRoot>| match seen.marks.tags(snapshot.id) {
            Some(tags) => Arc::new(SnapshotRoot { tags: tags.to_vec(), ..(**snapshot).clone() }),
            None => Arc::clone(snapshot),
        };
        let mut snapshots: Vec<_> = roots(&seen.known).map(tagged).collect();
        snapshots.sort_by_key(|snapshot| (snapshot.time, snapshot.id));
        let mut names = HashSet::new();
        for snapshot in &mut snapshots {
            if !names.insert(snapshot.name.clone()) {
                *snapshot = Arc::new(snapshot.with_full_name());
            }
        }
        let last = self.last();
        let next = Arc::new(last.build(&snapshots, layout::after(last.changed)));
        *self.layout.write().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

fn roots(known: &BTreeMap<SnapshotId, Known>) -> impl Iterator<Item = &Arc<SnapshotRoot>> {
    known.values().filter_map(|known| match known {
        Known::Snapshot(snapshot) => Some(snapshot),
        Known::Tombstone | Known::Damaged { .. } => None,
    })
}

impl SnapshotRoot {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let totals = snapshot.totals();
        let entries = [totals.files, totals.directories, totals.others];
        Self {
            id: snapshot.id,
            time: snapshot.time,
            name: format!("{}-{}", time_name(snapshot.time), snapshot.id.short()),
            host: snapshot.host.clone(),
            tags: snapshot.tags.clone(),
            sources: snapshot.sources.iter().map(|source| source.path.clone()).collect(),
            node: Repository::root(snapshot),
            entries: entries.into_iter().fold(1, u64::saturating_add),
        }
    }

    /// The same with all of its id in its name: two of one second had the same first digits.
    fn with_full_name(&self) -> Self {
        let name = format!("{}-{}", time_name(self.time), self.id);
        Self { name, ..self.clone() }
    }
}

/// UTC to the second without colons, which Windows and rsync take amiss: `2026-11-22T150405Z`.
fn time_name(time: Time) -> String {
    match clock::to_timestamp(time) {
        Some(stamp) => stamp.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H%M%SZ").to_string(),
        None => format!("@{}", time.secs),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::mount_tree::{Item, commit};
    use super::*;
    use crate::format::{Folder, ObjectKey};
    use crate::repo::{InitOptions, OpenOptions};
    use crate::storage::{MemoryStorage, RecordStorage, Storage};

    type Recorded = Arc<RecordStorage<Arc<MemoryStorage>>>;

    fn opened(storage: &Recorded, cache: &std::path::Path) -> (Snapshots, usize) {
        let options = OpenOptions { cache: Some(cache.to_owned()), ..OpenOptions::default() };
        let repo = Repository::open(storage.clone(), None, &options).unwrap();
        storage.take();
        let snapshots = Snapshots::open(Arc::new(repo), Duration::ZERO).unwrap();
        let is_snapshot = |key: Option<ObjectKey>| matches!(key, Some(ObjectKey::Snapshot(_)));
        (snapshots, storage.count(|op| op.is_read() && is_snapshot(op.key())))
    }

    #[test]
    fn snapshots_that_were_met_before_are_not_read_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let storage: Recorded = Arc::new(RecordStorage::new(Arc::new(MemoryStorage::new())));
        Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
        let repo = Repository::open(storage.clone(), None, &OpenOptions::default()).unwrap();
        let add = |secs| commit(&repo, &Item::directory(), secs, &[]).id;
        let ids: Vec<_> = (0..20).map(add).collect();
        let entries = |(snapshots, read): (Snapshots, usize)| (snapshots.entries(), read);
        assert_eq!(entries(opened(&storage, folder.path())), (20, 20));
        assert_eq!(entries(opened(&storage, folder.path())), (20, 0));
        // A new one is read, one that is gone is not shown though the copy has it.
        add(100);
        storage.delete(&ObjectKey::Snapshot(ids[3])).unwrap();
        assert_eq!(entries(opened(&storage, folder.path())), (20, 1));
        // A copy that is no longer what was stored is not believed.
        let copy = folder.path().join(repo.config().repository.to_string()).join("snapshots");
        let mut bytes = std::fs::read(&copy).unwrap();
        for at in (0..bytes.len()).step_by(61) {
            bytes[at] ^= 1;
        }
        std::fs::write(&copy, bytes).unwrap();
        let (shown, read) = entries(opened(&storage, folder.path()));
        assert_eq!((shown, read), (20, storage.list(Folder::Snapshots).unwrap().len()));
    }

    #[test]
    fn names_of_times_sort_and_hold_no_colon() {
        let name = |secs| time_name(Time { secs, nanos: 999 });
        assert_eq!(name(0), "1970-01-01T000000Z");
        assert_eq!(name(1_795_359_845), "2026-11-22T150405Z");
        assert_eq!(name(-1), "1969-12-31T235959Z");
        assert_eq!(name(i64::MAX), format!("@{}", i64::MAX));
    }
}
