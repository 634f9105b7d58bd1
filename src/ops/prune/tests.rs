//! What a prune deletes, what it spares, and that what stays can be read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::testing::*;
use super::*;
use crate::format::{Folder, FrameKind, ObjectKey, Pin, PinId};
use crate::progress::Silent;
use crate::repo::RepoError;
use crate::storage::{Listed, MemoryStorage, Storage, StorageError, Temporary};

fn count(storage: &MemoryStorage, folder: Folder) -> usize {
    storage.list(folder).unwrap().len()
}

fn packs(storage: &MemoryStorage) -> usize {
    count(storage, Folder::Data) + count(storage, Folder::Meta)
}

const OLD: Files<'static> = &[("a", &[1, 2]), ("b", &[3])];
const NEW: Files<'static> = &[("b", &[3]), ("c", &[4])];

#[test]
fn what_nothing_needs_goes_and_all_else_stays() {
    let storage = new_storage();
    let repo = open(storage.clone());
    assert_eq!(prune(&repo, &options()).unwrap().generations, 0, "nothing to do");
    let old = ingest(&repo, OLD, 1).unwrap();
    let new = ingest(&repo, NEW, 2).unwrap();
    let (before, reader) = (packs(&storage), open(storage.clone()));
    let done = prune(&repo, &options()).unwrap();
    assert_eq!((done.generations, packs(&storage)), (0, before), "nothing was forgotten");

    forget(&repo, old.id);
    let done = prune(&repo, &options()).unwrap();
    assert_eq!((done.generations, done.swept.snapshots), (1, 1), "{done:?}");
    assert_eq!(packs(&storage), before - 2, "the file a, and the page of the old tree");
    assert!(done.swept.bytes > 2 * CHUNK as u64 && done.rewritten.chunks == 0, "{done:?}");
    for folder in [Folder::Forgotten, Folder::Sessions] {
        assert_eq!(count(&storage, folder), 0, "{folder:?}");
    }
    let gc = storage.list(Folder::Gc).unwrap();
    assert_eq!(gc.len(), 1, "the decision stays: {gc:?}");
    read(&repo, &new, NEW).unwrap();
    read(&reader, &new, NEW).unwrap();
    assert!(read(&open(storage.clone()), &old, OLD).unwrap_err().is_damage());
    assert_clean(storage.clone(), "pruned");
    assert_eq!(prune(&repo, &options()).unwrap().generations, 0, "nothing is left to do");
    // What was deleted is written again, and the index never says that it is there.
    let again = ingest(&open(storage.clone()), OLD, 3).unwrap();
    read(&open(storage.clone()), &again, OLD).unwrap();
    assert_clean(storage, "written again");
}

#[test]
fn sparse_packs_are_written_anew_and_open_readers_find_them() {
    let storage = new_storage();
    let repo = open(storage.clone());
    let all: Vec<u64> = (0..20).collect();
    let old: Files<'_> = &[("file", &all)];
    let few: Files<'_> = &[("file", &[3, 4, 11])];
    let first = ingest(&repo, old, 1).unwrap();
    let second = ingest(&repo, few, 2).unwrap();
    let reader = open(storage.clone());
    read(&reader, &second, few).unwrap();
    forget(&repo, first.id);
    let lazy = PruneOptions { max_unused: 0.99, ..options() };
    let plan = plan(&repo, &lazy, &AtomicBool::new(false)).unwrap();
    assert_eq!(plan.sum(Fate::Sparse).packs, 0);
    let plan = super::plan(&repo, &options(), &AtomicBool::new(false)).unwrap();
    assert_eq!(plan.sum(Fate::Sparse).packs, 1);
    assert!(plan.freed() > 15 * CHUNK as u64, "{}", plan.freed());
    let none = PruneOptions { max_repack: 10, ..options() };
    assert_eq!(
        super::plan(&repo, &none, &AtomicBool::new(false)).unwrap().sum(Fate::Sparse).packs,
        0
    );
    let done = prune(&repo, &options()).unwrap();
    assert_eq!(done.rewritten.chunks, 3, "{done:?}");
    for repo in [&repo, &reader, &open(storage.clone())] {
        read(repo, &second, few).unwrap();
    }
    assert_clean(storage, "rewritten");
}

#[test]
fn many_small_packs_are_joined() {
    let storage = new_storage();
    let repo = open(storage.clone());
    let names: Vec<String> = (0..9).map(|n| format!("file-{n}")).collect();
    let numbers: Vec<[u64; 1]> = (0..9).map(|n| [n]).collect();
    let files: Vec<(&str, &[u64])> =
        names.iter().zip(&numbers).map(|(name, numbers)| (name.as_str(), &numbers[..])).collect();
    let snapshot = ingest(&repo, &files, 1).unwrap();
    assert_eq!(count(&storage, Folder::Data), 9);
    let done = prune(&repo, &options()).unwrap();
    assert_eq!((count(&storage, Folder::Data), done.swept.packs), (1, 9), "{done:?}");
    read(&repo, &snapshot, &files).unwrap();
    assert_clean(storage, "joined");
}

#[test]
fn protected_and_pinned_snapshots_stay() {
    let storage = new_storage();
    let repo = open(storage.clone());
    let one = ingest(&repo, OLD, 1).unwrap();
    let two = ingest(&repo, NEW, 2).unwrap();
    forget(&repo, one.id);
    forget(&repo, two.id);
    protect(&repo, one.id);
    let id = PinId([1; 16]);
    let pin = Pin {
        repository: repo.config().repository,
        id,
        beat: 0,
        snapshots: vec![two.id],
        at: crate::clock::now(),
        host: "h".into(),
        pid: 1,
    };
    put(&repo, ObjectKey::Pin(id, 0), FrameKind::Pin, pin.encode());
    let swept = prune(&repo, &options()).unwrap().swept;
    assert_eq!((swept.packs, swept.snapshots), (0, 0));
    // Its reader was killed on another machine: no beat since, for the time-out and an hour.
    storage.delete(&ObjectKey::Pin(id, 0)).unwrap();
    let (beat, at) = (1, Time { secs: crate::clock::now().secs - 3700, nanos: 0 });
    put(&repo, ObjectKey::Pin(id, 1), FrameKind::Pin, Pin { beat, at, ..pin }.encode());
    assert_eq!(prune(&repo, &options()).unwrap().swept.snapshots, 1);
    assert_eq!(count(&storage, Folder::Pins), 0);
    read(&repo, &one, OLD).unwrap();
    assert_clean(storage, "pruned");
}

#[test]
fn a_session_that_lives_is_evicted_and_cannot_commit() {
    let storage = new_storage();
    let repo = open(storage.clone());
    let old = ingest(&repo, OLD, 1).unwrap();
    let writer = open(storage.clone());
    let session = begin(&writer).unwrap();
    forget(&repo, old.id);
    assert_eq!(living_sessions(&repo, &options()).unwrap(), [session.id()]);
    let done = prune(&repo, &options()).unwrap();
    assert_eq!((done.evicted, done.generations), (1, 1));
    let id = session.id();
    assert!(matches!(write(session, OLD, 2), Err(RepoError::Evicted { session }) if session == id));
    // What it wrote by then relied on packs that are gone; a new session does not.
    let again = ingest(&open(storage.clone()), OLD, 3).unwrap();
    read(&open(storage.clone()), &again, OLD).unwrap();
    assert_eq!(prune(&repo, &options()).unwrap().evicted, 0, "a tombstone is no session");
    assert_clean(storage, "evicted");
}

#[test]
fn a_session_whose_process_is_gone_is_not_waited_for() {
    let storage = new_storage();
    let repo = open(storage.clone());
    let old = ingest(&repo, OLD, 1).unwrap();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let writer = crate::repo::Writer { host: "here".into(), pid: child.id() };
    drop(crate::repo::Session::begin(&repo, writer, Time::default()).unwrap());
    forget(&repo, old.id);
    let patient = PruneOptions { session_timeout: Duration::from_secs(1 << 20), ..options() };
    assert!(living_sessions(&repo, &patient).unwrap().is_empty());
    assert_eq!(prune(&repo, &patient).unwrap().evicted, 1);
    assert_clean(storage, "evicted");
}

#[test]
fn candidates_that_a_new_snapshot_needs_are_spared() {
    let storage = new_storage();
    let repo = open(storage.clone());
    let old = ingest(&repo, OLD, 1).unwrap();
    forget(&repo, old.id);
    let plan = plan(&repo, &options(), &AtomicBool::new(false)).unwrap();
    // Another session uses them before they are candidates.
    let new = ingest(&open(storage.clone()), NEW, 2).unwrap();
    let done = run(&repo, plan, &options(), &Silent, &AtomicBool::new(false)).unwrap();
    assert_eq!((done.generations, done.swept.snapshots), (1, 1), "{done:?}");
    read(&repo, &new, NEW).unwrap();
    assert_clean(storage, "spared");
}

#[test]
fn a_grace_ends_the_first_prune_and_a_later_one_goes_on() {
    let storage = new_storage();
    let repo = open(storage.clone());
    let old = ingest(&repo, OLD, 1).unwrap();
    forget(&repo, old.id);
    let before = packs(&storage);
    let day = PruneOptions { grace: GRACE, ..options() };
    assert_eq!(unfinished(&repo, &day).unwrap(), None);
    let waits = prune(&repo, &day).unwrap();
    let found = unfinished(&repo, &day).unwrap().unwrap();
    assert_eq!((found.decided, found.waits_until), (true, waits.waits_until));
    assert_eq!(unfinished(&repo, &options()).unwrap(), None, "without grace it is due");
    assert!(waits.waits_until.unwrap() > crate::clock::now(), "{waits:?}");
    assert_eq!(
        (waits.generations, waits.waiting_packs, packs(&storage)),
        (0, before as u64, before)
    );
    assert!(prune(&repo, &day).unwrap().waits_until.is_some(), "not yet");
    // Who writes now relies on nothing that will go, though all of it is there.
    let again = ingest(&open(storage.clone()), OLD, 2).unwrap();
    assert_eq!(packs(&storage), 2 * before);
    let done = prune(&repo, &options()).unwrap();
    assert_eq!((done.generations, packs(&storage)), (1, before));
    read(&open(storage.clone()), &again, OLD).unwrap();
    assert_clean(storage, "gone on with");
}

/// Whoever decided has a clock that is an hour off: readers have their grace all the same, and what
/// is forgotten is deleted once all clocks agree that it is over.
#[test]
fn clocks_an_hour_off_shorten_no_grace() {
    let hour = 3600;
    for (off, earliest) in [(-hour, 0), (0, hour), (hour, 2 * hour)] {
        let storage = new_storage();
        let repo = open(storage.clone());
        let old = ingest(&repo, OLD, 1).unwrap();
        let new = ingest(&repo, NEW, 2).unwrap();
        forget(&repo, old.id);
        let day = PruneOptions { grace: GRACE, ..options() };
        let planned = plan(&repo, &day, &AtomicBool::new(false)).unwrap();
        let packs: Vec<_> = planned.leaving().map(|(kind, id, ..)| (kind, id)).collect();
        let mut record = repo.generation(planned.number, "there", packs, vec![old.id]);
        let now = record.at.secs;
        record.at.secs += off;
        assert!(repo.put_candidates(&record).unwrap());
        repo.put_decision(&record).unwrap();
        let waits = prune(&repo, &day).unwrap();
        let until = waits.waits_until.expect("the grace has not passed").secs;
        assert_eq!(until, now + GRACE.as_secs() as i64 + earliest);
        read(&open(storage.clone()), &old, OLD).unwrap();
        // The grace and three hours later, by the clock of whoever decided.
        storage.delete(&ObjectKey::Decision(record.number)).unwrap();
        record.at.secs -= GRACE.as_secs() as i64 + 3 * hour;
        repo.put_decision(&record).unwrap();
        let done = prune(&repo, &day).unwrap();
        assert_eq!((done.generations, done.swept.snapshots), (1, 1), "{off}: {done:?}");
        read(&open(storage.clone()), &new, NEW).unwrap();
        assert_clean(storage, "clocks");
    }
}

type Hook = Box<dyn FnOnce() + Send>;

/// Calls a hook once, before the so-manyth listing.
struct Meanwhile {
    below: Arc<MemoryStorage>,
    listings: AtomicUsize,
    at: usize,
    hook: Mutex<Option<Hook>>,
}

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl Storage for Meanwhile {
    fn location(&self) -> String {
        self.below.location()
    }
    fn put_new(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        self.below.put_new(key, bytes)
    }
    fn replace_damaged(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        self.below.replace_damaged(key, bytes)
    }
    fn get(&self, key: &ObjectKey, max: u64) -> Result<Vec<u8>, StorageError> {
        self.below.get(key, max)
    }
    fn read_at(&self, key: &ObjectKey, at: u64, len: usize) -> Result<Vec<u8>, StorageError> {
        self.below.read_at(key, at, len)
    }
    fn len(&self, key: &ObjectKey) -> Result<u64, StorageError> {
        self.below.len(key)
    }
    fn list(&self, folder: Folder) -> Result<Vec<Listed>, StorageError> {
        if self.listings.fetch_add(1, Ordering::SeqCst) == self.at {
            let hook = self.hook.lock().unwrap().take();
            hook.into_iter().for_each(|hook| hook());
        }
        self.below.list(folder)
    }
    fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.below.delete(key)
    }
}

/// Somebody forgets another snapshot, and a second prune deletes it, between any two steps of the
/// first one. What the first one misses then is no damage, and it does not say so.
#[test]
fn what_another_prune_deletes_meanwhile_is_no_damage() {
    const OTHER: Files<'static> = &[("d", &[5, 6]), ("e", &[7])];
    let storage = new_storage();
    let repo = open(storage.clone());
    let [old, other, new] = [OLD, OTHER, NEW].map(|files| ingest(&repo, files, 1).unwrap());
    forget(&repo, old.id);
    let image = storage.snapshot();
    for at in 0.. {
        let below = Arc::new(MemoryStorage::from(image.clone()));
        let hook: Hook = Box::new({
            let (below, id) = (below.clone(), other.id);
            move || {
                let theirs = open(below);
                forget(&theirs, id);
                prune(&theirs, &options()).unwrap();
            }
        });
        let (listings, hook) = (AtomicUsize::new(0), Mutex::new(Some(hook)));
        let ours = Arc::new(Meanwhile { below: below.clone(), listings, at, hook });
        let done = prune(&open(ours.clone()), &options());
        assert!(done.is_ok(), "at listing {at}: {done:?}");
        read(&open(below.clone()), &new, NEW).unwrap();
        assert_clean(below, "two prunes");
        if ours.hook.lock().unwrap().is_some() {
            assert!(at > 10, "{at} listings only");
            break;
        }
    }
}

#[test]
fn of_damage_nothing_is_deleted() {
    let storage = new_storage();
    let repo = open(storage.clone());
    let old = ingest(&repo, OLD, 1).unwrap();
    let new = ingest(&repo, NEW, 2).unwrap();
    forget(&repo, old.id);
    let image = storage.snapshot();
    let mut refused = 0;
    for folder in [Folder::Index, Folder::Meta, Folder::Snapshots] {
        for listed in storage.list(folder).unwrap() {
            let damaged = std::sync::Arc::new(MemoryStorage::from(image.clone()));
            damaged.corrupt(&listed.key.unwrap(), |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            });
            let keys = |storage: &MemoryStorage| storage.snapshot().into_keys().collect::<Vec<_>>();
            let before = keys(&damaged);
            let repo = open(damaged.clone());
            match prune(&repo, &options()) {
                // What is replaced, or the forgotten snapshot's alone, is not looked at.
                Ok(_) => read(&open(damaged.clone()), &new, NEW).unwrap(),
                Err(_) => {
                    assert_eq!(keys(&damaged), before, "{}", listed.name);
                    refused += 1;
                }
            }
        }
    }
    assert!(refused >= 3, "a segment, a page, a snapshot: {refused}");
}

#[test]
fn records_that_a_late_merge_brings_back_are_swept_by_the_next_prune() {
    let storage = new_storage();
    let repo = open(storage.clone());
    let old = ingest(&repo, OLD, 1).unwrap();
    let new = ingest(&repo, NEW, 2).unwrap();
    let segments: Vec<_> = storage.list(Folder::Index).unwrap();
    let bytes: Vec<_> =
        segments.iter().map(|listed| storage.get(&listed.key.unwrap(), 1 << 20).unwrap()).collect();
    forget(&repo, old.id);
    prune(&repo, &options()).unwrap();
    for (listed, bytes) in segments.iter().zip(&bytes) {
        if storage.len(&listed.key.unwrap()).is_err() {
            storage.put_new(&listed.key.unwrap(), bytes).unwrap();
        }
    }
    read(&open(storage.clone()), &new, NEW).unwrap();
    let again = ingest(&open(storage.clone()), OLD, 3).unwrap();
    read(&open(storage.clone()), &again, OLD).unwrap();
    let repo = open(storage.clone());
    prune(&repo, &options()).unwrap();
    assert!(!plan(&repo, &options(), &AtomicBool::new(false)).unwrap().index_is_stale);
    read(&open(storage.clone()), &again, OLD).unwrap();
    assert_clean(storage, "swept");
}

/// What a prune has to do with a rewritten pack, a dead one, a snapshot and an old segment.
fn worn() -> (std::sync::Arc<MemoryStorage>, crate::format::Snapshot) {
    let storage = new_storage();
    let repo = open(storage.clone());
    let all: Vec<u64> = (0..10).collect();
    let old = ingest(&repo, &[("dead", &[50, 51]), ("file", &all)], 1).unwrap();
    let new = ingest(&repo, FEW, 2).unwrap();
    forget(&repo, old.id);
    // Left by an ingest that was killed.
    drop(begin(&repo).unwrap());
    (storage, new)
}

const FEW: Files<'static> = &[("file", &[3, 7])];

#[test]
fn a_prune_that_is_cut_anywhere_loses_nothing_and_the_next_one_goes_on() {
    use crate::storage::{CutPoint, FaultStorage, When};
    let (storage, new) = worn();
    let image = storage.snapshot();
    let fresh = || std::sync::Arc::new(MemoryStorage::from(image.clone()));
    let counted = std::sync::Arc::new(FaultStorage::new(fresh()));
    let whole = prune(&open(counted.clone()), &options()).unwrap();
    assert!(whole.rewritten.chunks > 0 && whole.evicted == 1 && whole.swept.packs > 2, "{whole:?}");
    let steps = counted.steps();
    assert!(steps >= 15, "{steps}");
    let left = packs(counted.inner());
    for step in 0..steps {
        for when in [When::Before, When::After] {
            let context = format!("{when:?} step {step} of {steps}");
            let storage = fresh();
            let cut = FaultStorage::cut_at(storage.clone(), CutPoint { step, when });
            let repo = open(std::sync::Arc::new(cut));
            let failed = prune(&repo, &options());
            assert!(failed.is_err() || step + 3 > steps, "{context}");
            read(&open(storage.clone()), &new, FEW).expect(&context);
            assert_clean(storage.clone(), &context);
            // A writer comes before the next prune does.
            let again = ingest(&open(storage.clone()), OLD, 3).expect(&context);
            prune(&open(storage.clone()), &options()).expect(&context);
            prune(&open(storage.clone()), &options()).expect(&context);
            let repo = open(storage.clone());
            read(&repo, &new, FEW).expect(&context);
            read(&repo, &again, OLD).expect(&context);
            assert_eq!(repo.snapshots().unwrap().snapshots.len(), 2, "{context}");
            assert_clean(storage.clone(), &context);
            assert!(packs(&storage) <= left + 4, "{context}: nothing is left behind");
            assert_eq!(count(&storage, Folder::Sessions), 0, "{context}");
        }
    }
}

/// A storage with an old temporary file that nobody can delete.
#[derive(Debug)]
struct Stuck(Arc<MemoryStorage>);

impl Storage for Stuck {
    fn location(&self) -> String {
        self.0.location()
    }
    fn put_new(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        self.0.put_new(key, bytes)
    }
    fn replace_damaged(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        self.0.replace_damaged(key, bytes)
    }
    fn get(&self, key: &ObjectKey, max: u64) -> Result<Vec<u8>, StorageError> {
        self.0.get(key, max)
    }
    fn read_at(&self, key: &ObjectKey, at: u64, len: usize) -> Result<Vec<u8>, StorageError> {
        self.0.read_at(key, at, len)
    }
    fn len(&self, key: &ObjectKey) -> Result<u64, StorageError> {
        self.0.len(key)
    }
    fn list(&self, folder: Folder) -> Result<Vec<Listed>, StorageError> {
        self.0.list(folder)
    }
    fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.0.delete(key)
    }
    fn temporaries(&self) -> Result<Vec<Temporary>, StorageError> {
        let name = "data/.tmp-0123456789abcdef".into();
        Ok(vec![Temporary { name, len: 100, written: Some(0) }])
    }
    fn delete_temporary(&self, name: &str) -> Result<bool, StorageError> {
        let source = std::io::ErrorKind::PermissionDenied.into();
        Err(StorageError::Io { action: "delete", what: name.into(), location: "r".into(), source })
    }
}

#[test]
fn a_temporary_file_that_cannot_be_deleted_stops_no_prune() {
    let storage = new_storage();
    let repo = open(Arc::new(Stuck(storage.clone())));
    let [old, new] = [OLD, NEW].map(|files| ingest(&repo, files, 1).unwrap());
    forget(&repo, old.id);
    let report = prune(&repo, &options()).unwrap();
    assert_eq!((report.swept.snapshots, report.temporaries), (1, Temporaries::default()));
    read(&repo, &new, NEW).unwrap();
    assert_eq!(prune(&repo, &options()).unwrap().generations, 0, "nothing else is left to do");
}
