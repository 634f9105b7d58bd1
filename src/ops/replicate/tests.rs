//! Copies are whole and known again, whatever the keys, whoever else is there, wherever it stops.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::testing::*;
use super::*;
use crate::format::{Folder, LedgerEvent, ObjectKey, Origin, PackKind};
use crate::ops::prune::{self, PruneOptions};
use crate::progress::Silent;
use crate::repo::Marker;
use crate::storage::{CutPoint, FaultStorage, Storage, When};

/// Source and destination by their keys; the last two have other ids on both sides.
const PAIRS: [(Option<u8>, Option<u8>); 3] = [(None, None), (None, Some(2)), (Some(1), Some(2))];

fn marker() -> Marker {
    Marker { host: "here".into(), now: crate::clock::now() }
}

/// How many index entries of data say that they are told from others.
fn told_chunks(repo: &Repository) -> usize {
    let mut told = 0;
    repo.index_records()
        .unwrap()
        .for_each(|_, _, places| -> std::result::Result<(), RepoError> {
            let is_told = |it: &&crate::format::index::Place| {
                it.pack.kind == PackKind::Data && it.base.is_some()
            };
            told += places.iter().filter(is_told).count();
            Ok(())
        })
        .unwrap();
    told
}

#[test]
fn copies_hold_every_byte_and_all_metadata() {
    let folder = tree();
    for (here, there) in PAIRS {
        let (a, b) = (Place::new(here), Place::new(there));
        let from = a.open();
        ingest(&from, folder.path(), 100);
        fs::write(folder.path().join("a/b/base.db"), database(1)).unwrap();
        fs::write(folder.path().join("a/more"), noise(9, 200_000)).unwrap();
        ingest(&from, folder.path(), 200);
        assert!(told_chunks(&from) > 0);
        let to = b.open();
        let report = copied(&from, &to);
        assert_eq!((report.copied.len(), report.present), (2, 0));
        assert_eq!(report.same_ids, here == there);
        let copies = b.snapshots();
        for (original, copy) in a.snapshots().iter().zip(&copies) {
            assert_same(&from, original, &to, copy);
            let repository = from.config().repository;
            assert_eq!(copy.origin, Some(Origin { repository, snapshot: original.id }));
        }
        assert_eq!(copies[1].parent, Some(copies[0].id));
        assert!(told_chunks(&to) > 0, "what was told from others still is");
        b.assert_clean("copy");
        // What is there is not copied again.
        let again = copied(&from, &to);
        assert_eq!((again.copied.len(), again.present, again.bytes_stored), (0, 2, 0));
        assert_eq!((a.count(Folder::Pins), b.count(Folder::Sessions)), (0, 0));
        let _ = fs::remove_file(folder.path().join("a/more"));
        fs::write(folder.path().join("a/b/base.db"), database(0)).unwrap();
    }
}

#[test]
fn blocks_keep_their_coding_and_only_what_changed_is_written() {
    let folder = tree();
    for (here, there) in PAIRS {
        let (a, b) = (Place::new(here), Place::new(there));
        let (from, to) = (a.open(), b.open());
        ingest(&from, folder.path(), 100);
        let first = copied(&from, &to);
        let stored = from.snapshots().unwrap().snapshots[0].added.stored;
        let written = first.copied[0].added.stored;
        assert!(written.abs_diff(stored) * 10 < stored, "{written} for {stored}");
        fs::write(folder.path().join("a/b/small 3"), "changed").unwrap();
        ingest(&from, folder.path(), 200);
        let read = from.read_counts().chunks;
        let second = copied(&from, &to);
        assert!(second.bytes_stored * 4 < first.bytes_stored, "{}", second.bytes_stored);
        // Content that did not change is not read, whatever the ids.
        let read = from.read_counts().chunks - read;
        assert!(read < 40, "{read} chunks read");
    }
}

#[test]
fn bases_come_along_where_their_own_snapshot_does_not() {
    let folder = tree();
    for (here, there) in PAIRS {
        let (a, b) = (Place::new(here), Place::new(there));
        let (from, to) = (a.open(), b.open());
        fs::write(folder.path().join("a/b/base.db"), database(0)).unwrap();
        ingest(&from, folder.path(), 100);
        fs::write(folder.path().join("a/b/base.db"), database(1)).unwrap();
        let second = ingest(&from, folder.path(), 200);
        let only = ReplicateOptions { only: Some([second].into()), ..options() };
        let report = run(&from, &to, &only, &Silent, &AtomicBool::new(false)).unwrap();
        assert_eq!((report.copied.len(), report.failed.len()), (1, 0), "{:?}", report.failed);
        assert!(told_chunks(&to) > 0, "it is still told from others");
        assert_same(&from, &a.snapshots()[1], &to, &b.snapshots()[0]);
        b.assert_clean("copy of the second");
        // The first comes later, and is in order all the same.
        assert_eq!(copied(&from, &to).copied.len(), 1);
        assert_same(&from, &a.snapshots()[0], &to, &b.snapshots()[0]);
        b.assert_clean("copy of both");
    }
}

#[test]
fn a_copy_of_a_copy_goes_back_to_the_first_and_does_not_come_home() {
    let folder = tree();
    let places = [None, Some(1), Some(2)].map(Place::new);
    let [a, b, c] = &places;
    let first = ingest(&a.open(), folder.path(), 100);
    copied(&a.open(), &b.open());
    copied(&b.open(), &c.open());
    let repository = a.open().config().repository;
    assert_eq!(c.snapshots()[0].origin, Some(Origin { repository, snapshot: first }));
    for (from, to) in [(b, a), (c, a), (a, c), (c, b)] {
        let report = copied(&from.open(), &to.open());
        assert_eq!((report.copied.len(), report.present), (0, 1));
    }
    assert_same(&a.open(), &a.snapshots()[0], &c.open(), &c.snapshots()[0]);
    let err = replicate(&a.open(), &a.open()).unwrap_err();
    assert!(err.to_string().contains("one repository"), "{err}");
}

#[test]
fn tags_and_protection_of_now_are_copied_and_the_forgotten_is_not() {
    let folder = tree();
    let (a, b) = (Place::new(None), Place::new(Some(1)));
    let from = a.open();
    let ids = [100, 200, 300].map(|time| ingest(&from, folder.path(), time));
    let mut marks = from.marks().unwrap();
    let snapshot = from.read_snapshot(ids[1]).unwrap().unwrap();
    let edit = |state: &mut crate::repo::TagState| {
        state.tags = vec!["release".into()];
        state.protected = true;
    };
    from.retag(&mut marks, &snapshot, &marker(), edit).unwrap();
    from.forget(ids[0], &marker()).unwrap();
    let filter = SnapshotFilter { tags: vec!["release".into()], ..SnapshotFilter::default() };
    let tagged = ReplicateOptions { filter, ..options() };
    let report = run(&from, &b.open(), &tagged, &Silent, &AtomicBool::new(false)).unwrap();
    assert_eq!(report.copied.len(), 1);
    assert_eq!(copied(&from, &b.open()).copied.len(), 1);
    let list = b.open().snapshots().unwrap();
    assert_eq!(list.snapshots.len(), 2);
    assert_eq!(list.snapshots[0].tags, ["release"]);
    assert!(list.protected.contains(&list.snapshots[0].id) && list.protected.len() == 1);
    // What was forgotten there is not copied again, also once it is pruned.
    b.open().forget(list.snapshots[1].id, &marker()).unwrap();
    let report = copied(&from, &b.open());
    assert_eq!((report.copied.len(), report.present, report.forgotten), (0, 1, 1));
}

#[test]
fn what_the_destination_pruned_is_copied_again_only_by_name() {
    let folder = tree();
    let (a, b) = (Place::new(None), Place::new(Some(1)));
    let from = a.open();
    let old = ingest(&from, folder.path(), 100);
    ingest(&from, folder.path(), 200);
    copied(&from, &b.open());
    b.open().forget(b.snapshots()[0].id, &marker()).unwrap();
    prune_all(&b.open());
    let report = copied(&from, &b.open());
    assert_eq!((report.copied.len(), report.present, report.forgotten), (0, 1, 1));
    let only = ReplicateOptions { only: Some([old].into()), ..options() };
    let report = run(&from, &b.open(), &only, &Silent, &AtomicBool::new(false)).unwrap();
    assert_eq!(report.copied.len(), 1);
    assert_same(&from, &a.snapshots()[0], &b.open(), &b.snapshots()[0]);
    b.assert_clean("copied again");
}

fn prune_all(repo: &Repository) {
    let options = PruneOptions {
        host: "here".into(),
        grace: Duration::ZERO,
        session_timeout: Duration::from_secs(60),
        max_unused: 0.0,
        ..PruneOptions::default()
    };
    let go = AtomicBool::new(false);
    let plan = prune::plan(repo, &options, &go).unwrap();
    prune::run(repo, plan, &options, &Silent, &go).unwrap();
}

/// The ledger's records of copies.
fn records(repo: &Repository) -> Vec<crate::format::Replicated> {
    let entries = repo.ledger().unwrap().map(std::result::Result::unwrap);
    let told = |event| match event {
        LedgerEvent::Replicated(told) => Some(told),
        _ => None,
    };
    entries.filter_map(|entry| told(entry.record.event)).collect()
}

#[test]
fn wherever_it_stops_the_next_run_goes_on_and_ends_whole() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("base.db"), database(0)).unwrap();
    fs::write(folder.path().join("text"), "some text\n".repeat(9000)).unwrap();
    for (here, there) in [PAIRS[0], PAIRS[2]] {
        let a = Place::new(here);
        let from = a.open();
        ingest(&from, folder.path(), 100);
        fs::write(folder.path().join("base.db"), database(1)).unwrap();
        ingest(&from, folder.path(), 200);
        for when in When::ALL {
            for step in 0.. {
                let b = Place::new(there);
                let cut = CutPoint { step, when };
                let faulty = Arc::new(FaultStorage::cut_at(b.storage.clone(), cut));
                let cut_run = replicate(&from, &b.open_through(faulty.clone()));
                if !faulty.is_down() {
                    assert!(cut_run.is_ok());
                    break;
                }
                let context = format!("{here:?} {there:?} {step} {when:?}");
                for (at, copy) in b.snapshots().iter().enumerate() {
                    assert_same(&from, &a.snapshots()[at], &b.open(), copy);
                }
                let report = copied(&from, &b.open());
                assert_eq!(report.copied.len() as u64 + report.present, 2, "{context}");
                assert_eq!(b.snapshots().len(), 2, "{context}");
                for (original, copy) in a.snapshots().iter().zip(&b.snapshots()) {
                    assert_same(&from, original, &b.open(), copy);
                }
            }
        }
        fs::write(folder.path().join("base.db"), database(0)).unwrap();
    }
}

#[test]
fn what_a_stopped_run_stored_is_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..8 {
        fs::write(folder.path().join(number.to_string()), noise(number, 20 << 20)).unwrap();
    }
    let (a, b) = (Place::new(None), Place::new(None));
    let from = a.open();
    ingest(&from, folder.path(), 100);
    let stop = AtomicBool::new(false);
    let stopped = std::thread::scope(|scope| {
        scope.spawn(|| {
            while b.count(Folder::Data) < 2 {
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
        });
        run(&from, &b.open(), &options(), &Silent, &stop)
    });
    assert!(matches!(stopped, Err(OpError::Interrupted)));
    assert_eq!((b.snapshots().len(), b.count(Folder::Sessions)), (0, 0));
    assert_eq!(records(&b.open())[0].error, "interrupted");
    let report = copied(&from, &b.open());
    assert!(report.bytes_stored < 140 << 20, "{}", report.bytes_stored);
    b.assert_clean("after a stop");
}

#[test]
fn damage_at_the_source_is_named_and_costs_that_snapshot_only() {
    let folder = tempfile::tempdir().unwrap();
    let file =
        |name: &str, number| fs::write(folder.path().join(name), noise(number, 700_000)).unwrap();
    for (here, there) in PAIRS {
        let (a, b) = (Place::new(here), Place::new(there));
        file("whole", 1);
        let _ = fs::remove_file(folder.path().join("hit"));
        ingest(&a.open(), folder.path(), 100);
        let before: Vec<_> = a.storage.list(Folder::Data).unwrap();
        file("hit", 2);
        let hit = ingest(&a.open(), folder.path(), 200);
        let new = a.storage.list(Folder::Data).unwrap();
        let new = new.iter().find(|listed| !before.contains(listed)).unwrap().key.unwrap();
        fs::remove_file(folder.path().join("hit")).unwrap();
        file("whole", 3);
        ingest(&a.open(), folder.path(), 300);
        a.storage.corrupt(&new, |bytes| bytes[100_000] ^= 1);
        let report = replicate(&a.open(), &b.open()).unwrap();
        assert_eq!((report.copied.len(), report.failed.len()), (2, 1));
        let failed = &report.failed[0];
        assert_eq!(failed.snapshot, hit);
        assert!(failed.path.ends_with(b"/hit"), "{:?}", String::from_utf8_lossy(&failed.path));
        assert!(failed.what.contains(&new.to_string()), "{}", failed.what);
        assert_eq!(b.snapshots().len(), 2);
        let told = records(&b.open());
        assert_eq!((told.len(), told[0].snapshots.len()), (1, 2));
        assert!(told[0].error.contains(&hit.to_string()), "{}", told[0].error);
        b.assert_clean("without the damaged one");
    }
}

#[test]
fn the_ledger_tells_of_copies_and_of_what_stopped_them() {
    let folder = tree();
    let (a, b) = (Place::new(Some(1)), Place::new(None));
    let from = a.open();
    let id = ingest(&from, folder.path(), 100);
    let stop = AtomicBool::new(true);
    let err = run(&from, &b.open(), &options(), &Silent, &stop).unwrap_err();
    assert!(matches!(err, OpError::Interrupted));
    let report = copied(&from, &b.open());
    let mut told = records(&b.open());
    told.sort_by_key(|it| it.snapshots.len());
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].error.as_str(), told[0].snapshots.len()), ("interrupted", 0));
    assert_eq!((told[1].error.as_str(), told[1].from), ("", from.config().repository));
    assert_eq!(told[1].snapshots[0].origin, id);
    assert_eq!(Some(told[1].snapshots[0].copy), report.copied[0].copy);
    assert_eq!(told[1].bytes_stored, report.bytes_stored);
    assert!(report.bytes_stored > 0 && report.recorded.is_some());
    copied(&from, &b.open());
    assert_eq!(records(&b.open()).len(), 2, "nothing was done, and nothing is told");
}

#[test]
fn a_dry_run_writes_nothing() {
    let folder = tree();
    let (a, b) = (Place::new(None), Place::new(Some(1)));
    ingest(&a.open(), folder.path(), 100);
    let dry = ReplicateOptions { dry_run: true, ..options() };
    let faulty = Arc::new(FaultStorage::new(b.storage.clone()));
    let to = b.open_through(faulty.clone());
    let report = run(&a.open(), &to, &dry, &Silent, &AtomicBool::new(false)).unwrap();
    assert_eq!((report.copied.len(), report.copied[0].copy), (1, None));
    assert_eq!(faulty.steps(), 0);
}

/// Prunes rewrite and delete packs at both ends while copies run and older snapshots go.
#[test]
fn prunes_on_both_sides_cost_no_copy_a_byte() {
    let folder = tempfile::tempdir().unwrap();
    for (here, there) in [PAIRS[0], PAIRS[2]] {
        let (a, b) = (Place::new(here), Place::new(there));
        for time in 0..6 {
            for number in 0..6 {
                let bytes = noise(number * (1 + u64::from(time as u64 % 2 == number % 2)), 150_000);
                fs::write(folder.path().join(number.to_string()), bytes).unwrap();
            }
            fs::write(folder.path().join("db.sqlite"), database(time as u64)).unwrap();
            ingest(&a.open(), folder.path(), time);
        }
        let (over, ids) = (AtomicBool::new(false), a.snapshots());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let repo = a.open();
                for id in ids.iter().take(3).map(|snapshot| snapshot.id) {
                    repo.forget(id, &marker()).unwrap();
                    prune_all(&repo);
                }
            });
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    prune_all(&b.open());
                }
            });
            let from = a.open();
            for _ in 0..2 {
                // What is pruned under the reader's eyes may fail, and nothing else.
                let report = replicate(&from, &b.open()).unwrap();
                for failed in &report.failed {
                    assert!(ids.iter().take(3).any(|it| it.id == failed.snapshot), "{failed:?}");
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        copied(&a.open(), &b.open());
        b.assert_clean("copies among prunes");
        let (from, to) = (a.open(), b.open());
        let mut same = 0;
        for original in a.snapshots() {
            let origin = |copy: &Snapshot| copy.origin.map(|origin| origin.snapshot);
            let copies = b.snapshots();
            let copy = copies.iter().find(|copy| origin(copy) == Some(original.id)).unwrap();
            assert_same(&from, &original, &to, copy);
            same += 1;
        }
        assert_eq!(same, 3);
    }
}

/// Where the destination lost a pack, what an older copy refers to is not taken for granted.
#[test]
fn a_lost_pack_at_the_destination_is_made_good_for_the_next_copy() {
    let folder = tree();
    for (here, there) in PAIRS {
        let (a, b) = (Place::new(here), Place::new(there));
        let from = a.open();
        ingest(&from, folder.path(), 100);
        copied(&from, &b.open());
        let lost = b.storage.list(Folder::Data).unwrap()[0].key.unwrap();
        assert!(matches!(lost, ObjectKey::Pack(PackKind::Data, _)));
        b.storage.delete(&lost).unwrap();
        fs::write(folder.path().join("a/inline"), "changed").unwrap();
        ingest(&from, folder.path(), 200);
        copied(&from, &b.open());
        let (copies, to) = (b.snapshots(), b.open());
        assert_same(&from, &a.snapshots()[1], &to, &copies[1]);
        assert_same(&from, &a.snapshots()[0], &to, &copies[0]);
        fs::write(folder.path().join("a/inline"), b"a few bytes").unwrap();
    }
}

#[test]
fn files_of_thousands_of_extents_are_copied() {
    let folder = tempfile::tempdir().unwrap();
    let sparse = fs::File::create(folder.path().join("sparse")).unwrap();
    for at in 0..6000_u64 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, &at.to_le_bytes(), at * 16384).unwrap();
    }
    drop(sparse);
    for (here, there) in PAIRS {
        let (a, b) = (Place::new(here), Place::new(there));
        let (from, to) = (a.open(), b.open());
        ingest(&from, folder.path(), 100);
        copied(&from, &to);
        assert_same(&from, &a.snapshots()[0], &to, &b.snapshots()[0]);
    }
}
