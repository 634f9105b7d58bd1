//! Cuts: a session is stopped at every step that storage takes, and between the system calls of
//! every durable write. Whatever is left must be a good repository: earlier snapshots whole, the
//! cut one absent or complete, and the next ingest as if nothing had happened.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use icecore::format::SnapshotId;
use icecore::ops::verify::{VerifyOptions, VerifyReport, run};
use icecore::progress::Silent;
use icecore::repo::Repository;
use icecore::storage::{
    CutPoint, CutSteps, FaultStorage, LocalStorage, MemoryStorage, Storage, When,
};

mod restore_support;
use restore_support::*;

/// Steps that come after the commit: one merged segment, and the beat is removed.
const AFTER_COMMIT: u64 = 2;

fn first() -> Entry {
    dir([("kept", file(noise(1, 200_000))), ("same", file(noise(2, 100_000)))])
}

/// What the cut session ingests: several packs and segments, since each file ends some.
fn second() -> Entry {
    dir([
        ("new", file(noise(3, 300_000))),
        ("same", file(noise(2, 100_000))),
        ("sub", dir([("more", file(noise(4, 50_000))), ("tiny", file("tiny"))])),
    ])
}

fn verify(repo: &Repository) -> VerifyReport {
    let options = VerifyOptions { read_data: true, threads: 1, ..VerifyOptions::default() };
    run(repo, options, &Silent, &AtomicBool::new(false)).unwrap()
}

/// Opens what a cut has left, checks it, and ingests again.
fn assert_good(storage: Arc<dyn Storage>, encrypted: bool, before: SnapshotId, context: &str) {
    let repo = open(storage.clone(), encrypted).unwrap();
    let report = verify(&repo);
    assert!(report.is_clean(), "{context}: {report:?}");
    let list = repo.snapshots().unwrap();
    assert!(list.damaged.is_empty(), "{context}");
    assert!(list.snapshots.iter().any(|snapshot| snapshot.id == before), "{context}");
    for snapshot in &list.snapshots {
        let wanted = if snapshot.id == before { first() } else { second() };
        let errors = read_everything(&repo, Repository::root(snapshot), &wanted);
        assert!(errors.is_empty(), "{context}: {errors:?}");
    }
    // A snapshot that was committed although the answer was lost is there once more; fine.
    let known = report.chunks - report.unindexed_chunks;
    let next = ingest(&repo, &second(), 3, true).expect(context);
    let errors = read_everything(&repo, Repository::root(&next), &second());
    assert!(errors.is_empty(), "{context}: {errors:?}");
    let repo = open(storage, encrypted).unwrap();
    let after = verify(&repo);
    assert!(after.is_clean() && after.chunks >= known, "{context}: {after:?}");
    assert_eq!(after.snapshots, list.snapshots.len() as u64 + 1, "{context}");
}

#[test]
fn cut_at_every_operation_leaves_a_good_repository() {
    for encrypted in [false, true] {
        let base = Arc::new(MemoryStorage::new());
        let before = ingest(&init(base.clone(), encrypted), &first(), 1, true).unwrap().id;
        let image = base.snapshot();
        let fresh = || Arc::new(MemoryStorage::from(image.clone()));

        let counted = Arc::new(FaultStorage::new(fresh()));
        ingest(&open(counted.clone(), encrypted).unwrap(), &second(), 2, true).unwrap();
        let steps = counted.steps();
        assert!(steps >= 9, "beat, three packs, three segments, snapshot, beat: {steps}");
        for step in 0..steps {
            for when in [When::Before, When::After] {
                let storage = fresh();
                let fault = FaultStorage::cut_at(storage.clone(), CutPoint { step, when });
                let repo = open(Arc::new(fault), encrypted).unwrap();
                let cut = ingest(&repo, &second(), 2, true);
                // After the commit segments are merged and beats go, and neither can fail it.
                assert_eq!(cut.is_ok(), step >= steps - AFTER_COMMIT, "{when:?} {step}");
                let context = format!("encrypted {encrypted}, {when:?} step {step}");
                assert_good(storage, encrypted, before, &context);
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn cut_inside_every_durable_write_leaves_a_good_repository() {
    let temp = tempfile::tempdir().unwrap();
    let base = temp.path().join("base");
    let repo = init(Arc::new(LocalStorage::create(&base).unwrap()), false);
    let before = ingest(&repo, &first(), 1, true).unwrap().id;
    let cut_at = |step: u64| {
        let root = temp.path().join(format!("cut-{step}"));
        copy(&base, &root);
        let steps = Arc::new(CutSteps::new(step));
        let storage = LocalStorage::open(&root).unwrap().with_steps(steps.clone());
        let cut = ingest(&open(Arc::new(storage), false).unwrap(), &second(), 2, true);
        (root, cut, steps.taken())
    };
    let (_, whole, steps) = cut_at(u64::MAX);
    whole.unwrap();
    assert!(steps > 50, "{steps}");
    let mut outcomes = BTreeSet::new();
    for step in 0..steps {
        let (root, cut, _) = cut_at(step);
        let context = format!("step {step} of {steps}: {:?}", cut.as_ref().err());
        let storage = Arc::new(LocalStorage::open(&root).unwrap());
        let list = open(storage.clone(), false).unwrap().snapshots().unwrap();
        outcomes.insert((cut.is_ok(), list.snapshots.len()));
        assert_good(storage, false, before, &context);
        std::fs::remove_dir_all(&root).unwrap();
    }
    // Absent, complete without an answer (the last sync of the folder), complete.
    assert_eq!(outcomes, BTreeSet::from([(false, 1), (false, 2), (true, 2)]));
}

#[test]
fn object_torn_by_a_storage_that_is_not_atomic_is_named_and_costs_no_earlier_snapshot() {
    let base = Arc::new(MemoryStorage::new());
    let before = ingest(&init(base.clone(), false), &first(), 1, true).unwrap().id;
    let image = base.snapshot();
    let counted = Arc::new(FaultStorage::new(Arc::new(MemoryStorage::from(image.clone()))));
    ingest(&open(counted.clone(), false).unwrap(), &second(), 2, true).unwrap();
    for step in 0..counted.steps() - 1 {
        let storage = Arc::new(MemoryStorage::from(image.clone()));
        let cut = CutPoint { step, when: When::Torn };
        let repo = open(Arc::new(FaultStorage::cut_at(storage.clone(), cut)), false).unwrap();
        let cut = ingest(&repo, &second(), 2, true);
        assert_eq!(cut.is_ok(), step >= counted.steps() - AFTER_COMMIT, "step {step}");
        let repo = open(storage.clone(), false).unwrap();
        let new = storage.snapshot().into_keys().filter(|key| !image.contains_key(key));
        let new: BTreeSet<String> = new.map(|key| key.to_string()).collect();
        let report = verify(&repo);
        let named: BTreeSet<String> =
            report.damaged.iter().map(|damaged| damaged.object.clone()).collect();
        assert!(named.len() == 1 && named.is_subset(&new), "step {step}: {report:?}");
        assert_eq!(report.affected_count, 0, "step {step}");
        let snapshot = repo.read_snapshot(before).unwrap().unwrap();
        assert!(read_everything(&repo, Repository::root(&snapshot), &first()).is_empty());
    }
}

#[test]
fn packs_of_a_cut_session_serve_the_next() {
    let storage = Arc::new(MemoryStorage::new());
    init(storage.clone(), false);
    let counted = Arc::new(FaultStorage::new(Arc::new(MemoryStorage::from(storage.snapshot()))));
    ingest(&open(counted.clone(), false).unwrap(), &second(), 2, true).unwrap();
    // The snapshot itself: everything before it is there.
    let cut = CutPoint { step: counted.steps() - AFTER_COMMIT - 1, when: When::Before };
    let repo = open(Arc::new(FaultStorage::cut_at(storage.clone(), cut)), false).unwrap();
    ingest(&repo, &second(), 2, true).unwrap_err();
    let next = ingest(&open(storage, false).unwrap(), &second(), 3, true).unwrap();
    assert_eq!(next.added.chunks, 0, "{:?}", next.added);
}
