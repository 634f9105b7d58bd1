//! Repairs of the index and of snapshots, and verifications that go on where the last one ended.
//!
//! Guards the promise that a repair never makes anything worse: whatever is damaged, and wherever
//! it is killed, what could be read before can be read after.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use icecore::format::{
    Folder, Forgotten, FrameKind, LedgerEvent, ObjectKey, Origin, PackKind, Seal, Snapshot,
    SnapshotId, Tagging, Time, frame,
};
use icecore::ops::repair::index;
use icecore::ops::repair::snapshots::{self, Replica, SnapshotsPlan, Step};
use icecore::ops::verify::{self, VerifyOptions, VerifyReport};
use icecore::ops::{self, stats};
use icecore::progress::Silent;
use icecore::repo::{Rebuilt, Repository, Session, Stage, Writer};
use icecore::storage::{CutPoint, FaultStorage, MemoryStorage, Objects, Storage, When};

mod common;
mod restore_support;
use common::Sandbox;
use restore_support::*;

static GO: AtomicBool = AtomicBool::new(false);

fn trees() -> [Entry; 2] {
    let one = dir([("kept", file(noise(1, 200_000))), ("same", file(noise(2, 100_000)))]);
    let two = dir([
        ("new", file(noise(3, 300_000))),
        ("same", file(noise(2, 100_000))),
        ("sub", dir([("more", file(noise(4, 50_000))), ("tiny", file("tiny"))])),
    ]);
    [one, two]
}

/// A repository with two snapshots, in several packs and segments.
fn sample(encrypted: bool) -> Objects {
    let storage = Arc::new(MemoryStorage::new());
    let repo = init(storage.clone(), encrypted);
    for (tree, time) in trees().iter().zip(1..) {
        ingest(&repo, tree, time, true).unwrap();
    }
    storage.snapshot()
}

fn of(objects: &Objects) -> Arc<MemoryStorage> {
    Arc::new(MemoryStorage::from(objects.clone()))
}

fn writer() -> Writer {
    Writer { host: "host".into(), pid: 1 }
}

fn check(repo: &Repository, read_data: bool) -> VerifyReport {
    let options = VerifyOptions { read_data, threads: 1, ..VerifyOptions::default() };
    verify::run(repo, options, &Silent, &GO).unwrap()
}

/// All that both snapshots hold can be read.
fn assert_readable(storage: Arc<dyn Storage>, encrypted: bool, context: &str) {
    let repo = open(storage, encrypted).unwrap();
    let list = repo.snapshots().unwrap();
    assert_eq!(list.snapshots.len(), 2, "{context}");
    for (snapshot, tree) in list.snapshots.iter().zip(trees()) {
        let errors = read_everything(&repo, Repository::root(snapshot), &tree);
        assert!(errors.is_empty(), "{context}: {errors:?}");
    }
}

fn repair(storage: Arc<dyn Storage>, encrypted: bool) -> Option<Rebuilt> {
    let repo = open(storage, encrypted).unwrap();
    let plan = index::plan(&repo, &GO).unwrap();
    if plan.is_idle() {
        return None;
    }
    Some(index::run(&repo, &plan, writer(), Time::default(), &GO).unwrap())
}

fn keys(objects: &Objects, folder: Folder) -> Vec<ObjectKey> {
    let prefix = format!("{}/", folder.name());
    objects.keys().filter(|key| key.to_string().starts_with(&prefix)).copied().collect()
}

#[test]
fn a_sound_index_is_left_alone() {
    let good = sample(false);
    let storage = of(&good);
    assert_eq!(repair(storage.clone(), false), None);
    assert!(storage.snapshot() == good);
}

#[test]
fn whatever_becomes_of_the_segments_the_packs_tell_it_again() {
    for encrypted in [false, true] {
        let good = sample(encrypted);
        let segments = keys(&good, Folder::Index);
        assert!(segments.len() > 1);
        let mut cases: Vec<(String, Objects)> = Vec::new();
        let mut none = good.clone();
        none.retain(|key, _| !matches!(key, ObjectKey::Segment(_)));
        cases.push(("all gone".into(), none));
        for key in &segments {
            let mut gone = good.clone();
            gone.remove(key);
            cases.push((format!("{key} gone"), gone));
            for at in [0, 70, 200] {
                let mut bad = good.clone();
                let mut bytes = good[key].to_vec();
                bytes[at] ^= 0x10;
                bad.insert(*key, Arc::new(bytes));
                cases.push((format!("{key} byte {at}"), bad));
            }
            let mut cut = good.clone();
            cut.insert(*key, Arc::new(good[key][..good[key].len() / 2].to_vec()));
            cases.push((format!("{key} cut"), cut));
        }
        for (what, objects) in cases {
            let context = format!("{what}, encrypted {encrypted}");
            let storage = of(&objects);
            let done = repair(storage.clone(), encrypted);
            // One that others replace may be gone without a trace.
            if done.is_none() {
                assert!(check(&open(storage.clone(), encrypted).unwrap(), true).is_clean());
            }
            assert_readable(storage.clone(), encrypted, &context);
            let repo = open(storage.clone(), encrypted).unwrap();
            let report = check(&repo, true);
            assert!(report.is_clean() && report.unindexed_chunks == 0, "{context}: {report:?}");
            assert_eq!(repair(storage.clone(), encrypted), None, "{context}");
            assert!(keys(&storage.snapshot(), Folder::Sessions).is_empty(), "{context}");
        }
    }
}

#[test]
fn killed_at_any_step_it_leaves_what_was_there_or_more() {
    let good = sample(false);
    let segment = keys(&good, Folder::Index)[0];
    let mut bytes = good[&segment].to_vec();
    bytes[80] ^= 1;
    let counted = Arc::new(FaultStorage::new(of(&with(&good, segment, &bytes))));
    repair(counted.clone(), false).unwrap();
    let steps = counted.steps();
    assert!(steps >= 5, "beat, segment, deletions, beat: {steps}");
    // The sound state too: --force rebuilds it, and nothing is lost on the way.
    for objects in [good.clone(), with(&good, segment, &bytes)] {
        for step in 0..steps {
            for when in When::ALL {
                let storage = of(&objects);
                let before = unreadable(&storage);
                let cut = FaultStorage::cut_at(storage.clone(), CutPoint { step, when });
                let repo = open(Arc::new(cut), false).unwrap();
                let plan = index::plan(&repo, &GO).unwrap();
                let _ = index::run(&repo, &plan, writer(), Time::default(), &GO);
                let context = format!("{when:?} step {step}");
                assert!(unreadable(&storage) <= before, "{context}");
                repair(storage.clone(), false);
                assert_readable(storage.clone(), false, &context);
                let report = check(&open(storage, false).unwrap(), true);
                let named = |damaged: &verify::Damaged| damaged.object.starts_with("sessions/");
                assert!(report.damaged.iter().all(named), "{context}: {report:?}");
            }
        }
    }
}

fn with(objects: &Objects, key: ObjectKey, bytes: &[u8]) -> Objects {
    let mut objects = objects.clone();
    objects.insert(key, Arc::new(bytes.to_vec()));
    objects
}

/// How much of both snapshots cannot be read.
fn unreadable(storage: &Arc<MemoryStorage>) -> usize {
    let repo = open(storage.clone(), false).unwrap();
    let list = repo.snapshots().unwrap();
    let errors =
        list.snapshots.iter().zip(trees()).map(|(snapshot, tree)| {
            read_everything(&repo, Repository::root(snapshot), &tree).len()
        });
    errors.sum()
}

#[test]
fn a_pack_without_its_footer_keeps_the_places_that_the_old_index_knows() {
    for encrypted in [false, true] {
        let good = sample(encrypted);
        for pack in keys(&good, Folder::Data) {
            let mut bytes = good[&pack].to_vec();
            let len = bytes.len();
            bytes[len - 70] ^= 1; // the end of the footer
            let storage = of(&with(&good, pack, &bytes));
            let repo = open(storage.clone(), encrypted).unwrap();
            let plan = index::plan(&repo, &GO).unwrap();
            assert_eq!(plan.unreadable.len(), 1, "{pack}");
            let done = index::run(&repo, &plan, writer(), Time::default(), &GO).unwrap();
            assert!(done.kept > 0);
            assert_readable(storage, encrypted, &pack.to_string());
        }
    }
}

#[test]
fn packs_that_are_gone_are_no_longer_named_and_their_content_is_stored_again() {
    let good = sample(false);
    let pack = keys(&good, Folder::Data)[0];
    let mut objects = good.clone();
    objects.remove(&pack);
    let storage = of(&objects);
    let repo = open(storage.clone(), false).unwrap();
    assert_eq!(index::plan(&repo, &GO).unwrap().wrong.len(), 1);
    repair(storage.clone(), false).unwrap();
    let report = check(&open(storage.clone(), false).unwrap(), true);
    assert!(report.damaged.iter().all(|it| it.object.starts_with("chunk ")), "{report:?}");
    for (tree, time) in trees().iter().zip(3..) {
        ingest(&open(storage.clone(), false).unwrap(), tree, time, true).unwrap();
    }
    let report = check(&open(storage, false).unwrap(), true);
    assert!(report.is_clean(), "{report:?}");
}

#[test]
fn what_a_later_icecore_wrote_is_refused() {
    let good = sample(false);
    let pack = keys(&good, Folder::Data)[0];
    let mut bytes = good[&pack].to_vec();
    bytes[8] = 2;
    let sum = icecore::format::checksum16(&bytes[..48]);
    bytes[48..64].copy_from_slice(&sum);
    let mut objects = with(&good, pack, &bytes);
    objects.retain(|key, _| !matches!(key, ObjectKey::Segment(_)));
    let storage = of(&objects);
    let repo = open(storage.clone(), false).unwrap();
    let err = index::plan(&repo, &GO).unwrap_err().to_string();
    assert!(err.contains("has format 2"), "{err}");
    assert!(storage.snapshot() == objects);

    let snapshot = keys(&good, Folder::Snapshots)[0];
    let mut bytes = good[&snapshot].to_vec();
    bytes[5] = 9;
    let payload = bytes[32..].to_vec();
    let sum = blake3::Hasher::new().update(&bytes[..16]).update(&payload).finalize();
    bytes[16..32].copy_from_slice(&sum.as_bytes()[..16]);
    let repo = open(of(&with(&good, snapshot, &bytes)), false).unwrap();
    let err = snapshots::plan(&repo, None, &GO).unwrap_err().to_string();
    assert!(err.contains("has format 9"), "{err}");
}

fn mend(repo: &Repository, plan: &SnapshotsPlan, replica: Option<&Replica<'_>>) -> (u64, u64) {
    snapshots::run(repo, plan, replica, &writer(), &GO).unwrap()
}

/// A snapshot's object is gone altogether: it comes back with the first repair that has a replica,
/// unless a prune removed it, or some of its content is gone too.
#[test]
fn a_missing_snapshot_comes_back_from_a_copy_unless_it_was_pruned() {
    for encrypted in [false, true] {
        let good = sample(encrypted);
        let replica = of(&good);
        let key = keys(&good, Folder::Snapshots)[0];
        let ObjectKey::Snapshot(id) = key else { panic!() };
        let without = |keep: &dyn Fn(&ObjectKey) -> bool| {
            let mut objects = good.clone();
            objects.retain(|other, _| *other != key && keep(other));
            of(&objects)
        };
        let storage = without(&|_| true);
        let repo = open(storage.clone(), encrypted).unwrap();
        assert!(snapshots::plan(&repo, None, &GO).unwrap().findings.is_empty());
        let plan = snapshots::plan(&repo, Some(&Replica::files(&*replica)), &GO).unwrap();
        assert_eq!((plan.findings.len(), plan.findings[0].step), (1, Step::Return));
        assert_eq!(mend(&repo, &plan, Some(&Replica::files(&*replica))), (1, 0));
        assert!(storage.snapshot() == good);
        assert_readable(storage, encrypted, "brought back");

        // What only its pages tell: content that is gone is met when it is brought back.
        let storage = without(&|other| !matches!(other, ObjectKey::Pack(PackKind::Data, _)));
        let repo = open(storage.clone(), encrypted).unwrap();
        let plan = snapshots::plan(&repo, Some(&Replica::files(&*replica)), &GO).unwrap();
        assert_eq!(mend(&repo, &plan, Some(&Replica::files(&*replica))), (0, 0));
        assert!(storage.len(&key).is_err());

        let storage = without(&|_| true);
        let repo = open(storage.clone(), encrypted).unwrap();
        let decision = repo.generation(0, "h", Vec::new(), vec![id]);
        repo.put_decision(&decision).unwrap();
        assert!(
            snapshots::plan(&repo, Some(&Replica::files(&*replica)), &GO)
                .unwrap()
                .findings
                .is_empty()
        );
    }
}

/// A repository of its own, into which the snapshot was copied: its id there is another.
#[test]
fn a_missing_snapshot_comes_back_from_a_repository_that_it_was_copied_into() {
    let good = sample(false);
    let key = keys(&good, Folder::Snapshots)[0];
    let ObjectKey::Snapshot(id) = key else { panic!() };
    let here = open(of(&good), false).unwrap();
    let lost = here.read_snapshot(id).unwrap().unwrap();
    let files = Arc::new(MemoryStorage::new());
    let other = init(files.clone(), false);
    // Its tree does not matter here, only that it has the same ids.
    let session = Session::begin(&other, writer(), Time::default()).unwrap();
    let origin = Some(Origin { repository: here.config().repository, snapshot: id });
    let copy = session.commit(|id, _| Snapshot { id, origin, ..lost.clone() }).unwrap();
    assert_ne!(copy.id, id);
    let mut objects = good.clone();
    objects.remove(&key);
    let storage = of(&objects);
    let repo = open(storage.clone(), false).unwrap();
    let replica = Replica::repository(&*files, &other, &repo).unwrap();
    let plan = snapshots::plan(&repo, Some(&replica), &GO).unwrap();
    assert_eq!((plan.findings.len(), plan.findings[0].step), (1, Step::Return));
    assert_eq!(mend(&repo, &plan, Some(&replica)), (1, 0));
    let back = repo.read_snapshot(id).unwrap().unwrap();
    assert_eq!(back, Snapshot { parent: None, ..lost });
    assert_readable(storage, false, "brought back");
}

/// Verify is good again once a repair has said what is lost.
#[test]
fn damaged_settings_and_records_of_the_ledger_do_not_stay_for_ever() {
    let storage = of(&sample(false));
    let repo = open(storage.clone(), false).unwrap();
    let spoil = |key: &ObjectKey| {
        assert!(storage.corrupt(key, |bytes| *bytes.last_mut().unwrap() ^= 1));
    };
    for permille in [50, 100] {
        repo.set_parity(permille, "h").unwrap();
    }
    spoil(&ObjectKey::Settings(1));
    assert_eq!(repo.parity_permille().unwrap(), 50, "the last one that can be read");
    let record = |at| {
        let event = LedgerEvent::Verified(Default::default());
        repo.append_ledger(Time { secs: at, nanos: 0 }, "h", "test", event).unwrap()
    };
    let records = [1000, 2000, 3000].map(record);
    spoil(&records[0]);
    storage.delete(&records[1]).unwrap();
    assert_eq!(check(&repo, false).damaged_count, 3);
    let plan = snapshots::plan(&repo, None, &GO).unwrap();
    let steps: Vec<_> = plan.findings.iter().map(|finding| finding.step).collect();
    assert_eq!(steps, [Step::Renew, Step::Record, Step::Record]);
    mend(&repo, &plan, None);
    let after = check(&repo, false);
    assert!(after.is_clean(), "{after:?}");
    assert_eq!((repo.parity_permille().unwrap(), repo.settings_numbers().unwrap()[0]), (50, 2));
    assert!(storage.len(&records[0]).is_err() && storage.len(&records[2]).is_ok());

    for number in repo.settings_numbers().unwrap() {
        spoil(&ObjectKey::Settings(number));
    }
    let plan = snapshots::plan(&repo, None, &GO).unwrap();
    assert!(plan.findings.iter().all(|finding| finding.step == Step::Leave), "{plan:?}");
    assert!(ops::parity::build(&repo, &Silent, &GO).unwrap_err().to_string().contains("set it"));
    repo.set_parity(70, "h").unwrap();
    mend(&repo, &snapshots::plan(&repo, None, &GO).unwrap(), None);
    assert!(check(&repo, false).is_clean());
}

/// Records, marks and settings are damaged, and with a replica snapshots too.
fn worn(with_replica: bool) -> (Objects, Objects) {
    let storage = of(&sample(false));
    let repo = open(storage.clone(), false).unwrap();
    for permille in [50, 100] {
        repo.set_parity(permille, "h").unwrap();
    }
    let event = || LedgerEvent::Verified(Default::default());
    let record = |secs| repo.append_ledger(Time { secs, nanos: 0 }, "h", "test", event()).unwrap();
    let records = [1000, 2000, 3000].map(record);
    let [missing, damaged] = keys(&storage.snapshot(), Folder::Snapshots)[..] else { panic!() };
    let ObjectKey::Snapshot(snapshot) = damaged else { panic!() };
    let (repository, at) = (repo.config().repository, Time::default());
    let mark = Forgotten { repository, snapshot, at, host: "h".into() };
    let mark = frame::encode(FrameKind::Forgotten, Seal::Plain, &mark.encode());
    let forgotten = ObjectKey::Forgotten(snapshot);
    storage.put_new(&forgotten, &mark).unwrap();
    let good = storage.snapshot();
    let mut spoilt = vec![ObjectKey::Settings(1), records[0], forgotten];
    spoilt.extend(with_replica.then_some(damaged));
    for key in spoilt {
        assert!(storage.corrupt(&key, |bytes| *bytes.last_mut().unwrap() ^= 1));
    }
    storage.delete(&records[1]).unwrap();
    if with_replica {
        storage.delete(&missing).unwrap();
    }
    (storage.snapshot(), good)
}

#[test]
fn a_repair_of_snapshots_killed_at_any_step_is_done_by_the_next_one() {
    for with_replica in [false, true] {
        let (image, good) = worn(with_replica);
        let copy = of(&good);
        let replica = with_replica.then(|| Replica::files(&*copy));
        let mend = |repo: &Repository| {
            let plan = snapshots::plan(repo, replica.as_ref(), &GO)?;
            snapshots::run(repo, &plan, replica.as_ref(), &writer(), &GO)
        };
        let counted = Arc::new(FaultStorage::new(of(&image)));
        let (written, removed) = mend(&open(counted.clone(), false).unwrap()).unwrap();
        assert!(written + removed >= 3, "{written} {removed}");
        for step in 0..counted.steps() {
            for when in When::ALL {
                let context = format!("replica {with_replica}, {when:?} step {step}");
                let storage = of(&image);
                let cut = CutPoint { step, when };
                let cut = Arc::new(FaultStorage::cut_at(storage.clone(), cut));
                drop(mend(&open(cut.clone(), false).unwrap()));
                assert!(cut.is_down(), "{context}");
                let repo = open(storage.clone(), false).unwrap();
                mend(&repo).expect(&context);
                mend(&repo).expect(&context);
                // Half a beat says that somebody may live; prunes wait for that one, not repairs.
                let report = check(&open(storage.clone(), false).unwrap(), false);
                let objects = report.damaged.iter().map(|damaged| damaged.object.as_str());
                let left: Vec<_> = objects.filter(|it| !it.starts_with("sessions/")).collect();
                assert_eq!(left, [""; 0], "{context}");
                // The mark that says "forgotten" came back with the replica.
                assert_eq!(repo.forgotten().unwrap().len(), usize::from(with_replica), "{context}");
                assert_eq!(repo.parity_permille().unwrap(), if with_replica { 100 } else { 50 });
                let ids = repo.snapshot_ids().unwrap().into_iter();
                let all = ids.filter_map(|id| repo.read_snapshot(id).unwrap());
                let mut all: Vec<_> = all.collect();
                all.sort_by_key(|snapshot| snapshot.time);
                assert_eq!(all.len(), 2, "{context}");
                for (snapshot, tree) in all.iter().zip(trees()) {
                    let errors = read_everything(&repo, Repository::root(snapshot), &tree);
                    assert!(errors.is_empty(), "{context}: {errors:?}");
                }
            }
        }
    }
}

/// The generation is undecided again: nobody can write to a repository with a record that nobody
/// can read.
#[test]
fn a_damaged_decision_is_made_anew() {
    let storage = of(&sample(false));
    let repo = open(storage.clone(), false).unwrap();
    let ObjectKey::Pack(kind, id) = keys(&storage.snapshot(), Folder::Data)[0] else { panic!() };
    let record = repo.generation(0, "h", vec![(kind, id)], Vec::new());
    assert!(repo.put_candidates(&record).unwrap());
    repo.put_decision(&record).unwrap();
    assert!(storage.corrupt(&ObjectKey::Decision(0), |bytes| *bytes.last_mut().unwrap() ^= 1));
    assert!(Session::begin(&repo, writer(), Time::default()).is_err());
    let plan = snapshots::plan(&repo, None, &GO).unwrap();
    assert_eq!(mend(&repo, &plan, None), (0, 1));
    assert_eq!(repo.generations().unwrap().open(), Some(&Stage::Undecided(record)));
}

/// The replica is older than the prune: it cannot say what the record did.
#[test]
fn a_damaged_decision_is_put_right_also_where_a_replica_is_named() {
    let spoil: [fn(&mut Vec<u8>); 3] =
        [|bytes| bytes[60] ^= 1, |bytes| bytes.truncate(50), Vec::clear];
    for spoil in spoil {
        let good = sample(false);
        let replica = of(&good);
        let storage = of(&good);
        let repo = open(storage.clone(), false).unwrap();
        let record = repo.generation(0, "h", Vec::new(), Vec::new());
        repo.put_decision(&record).unwrap();
        assert!(storage.corrupt(&ObjectKey::Decision(0), spoil));
        let missing = keys(&good, Folder::Snapshots)[0];
        storage.delete(&missing).unwrap();
        let replica = Replica::files(&*replica);
        let plan = snapshots::plan(&repo, Some(&replica), &GO).unwrap();
        assert!(plan.is_postponed && plan.findings.len() == 1, "{plan:?}");
        assert_eq!(mend(&repo, &plan, Some(&replica)), (1, 0));
        let plan = snapshots::plan(&repo, Some(&replica), &GO).unwrap();
        assert!(!plan.is_postponed, "{plan:?}");
        assert_eq!((plan.findings.len(), plan.findings[0].step), (1, Step::Return));
        assert_eq!(mend(&repo, &plan, Some(&replica)), (1, 0));
        assert!(storage.len(&missing).is_ok());
    }
}

#[test]
fn a_damaged_snapshot_comes_back_from_a_copy_only() {
    for encrypted in [false, true] {
        let good = sample(encrypted);
        let key = keys(&good, Folder::Snapshots)[0];
        let mut bytes = good[&key].to_vec();
        bytes[40] ^= 1;
        let storage = of(&with(&good, key, &bytes));
        let repo = open(storage.clone(), encrypted).unwrap();
        let plan = snapshots::plan(&repo, None, &GO).unwrap();
        assert_eq!((plan.findings.len(), plan.snapshots), (1, 1));
        assert_eq!(plan.findings[0].step, Step::Leave);
        assert_eq!(mend(&repo, &plan, None), (0, 0));

        // Another repository's objects, and a damaged copy, are no help.
        let other = of(&sample(encrypted));
        for replica in [other, of(&with(&good, key, &bytes[..9]))] {
            let plan = snapshots::plan(&repo, Some(&Replica::files(&*replica)), &GO).unwrap();
            assert_eq!(plan.findings[0].step, Step::Leave);
        }
        let replica = of(&good);
        let plan = snapshots::plan(&repo, Some(&Replica::files(&*replica)), &GO).unwrap();
        assert_eq!(plan.findings[0].step, Step::Replace);
        assert_eq!(mend(&repo, &plan, Some(&Replica::files(&*replica))), (1, 0));
        assert!(storage.snapshot() == good);
        assert_readable(storage, encrypted, "replaced");
    }
}

#[test]
fn damaged_marks_go_where_nobody_can_be_hurt_by_that() {
    let good = sample(false);
    let storage = of(&good);
    let repo = open(storage.clone(), false).unwrap();
    let ObjectKey::Snapshot(snapshot) = keys(&good, Folder::Snapshots)[0] else { panic!() };
    let repository = repo.config().repository;
    let put = |key: ObjectKey, kind, payload: &[u8]| {
        storage.put_new(&key, &frame::encode(kind, Seal::Plain, payload)).unwrap();
        key
    };
    let (at, host) = (Time::default(), String::new());
    let mark = Forgotten { repository, snapshot, at, host: host.clone() };
    let forgotten = put(ObjectKey::Forgotten(snapshot), FrameKind::Forgotten, &mark.encode());
    let tags = |number| {
        let host = host.clone();
        let tagging =
            Tagging { repository, snapshot, number, at, host, tags: Vec::new(), protected: true };
        put(ObjectKey::Tags(snapshot, number), FrameKind::Tagging, &tagging.encode())
    };
    let (_, second) = (tags(0), tags(1));
    let live = Session::begin(&repo, writer(), Time::default()).unwrap();
    let beat = ObjectKey::Beat(live.id(), 0);
    drop(live);
    let ended = ObjectKey::Beat(snapshot, 4);
    storage.put_new(&ended, b"no frame").unwrap();
    assert_eq!(snapshots::plan(&repo, None, &GO).unwrap().findings.len(), 1);
    for key in [forgotten, second, beat] {
        storage.corrupt(&key, |bytes| *bytes.last_mut().unwrap() ^= 1);
    }
    assert_eq!(check(&repo, false).damaged_count, 4, "verify names them");
    let plan = snapshots::plan(&repo, None, &GO).unwrap();
    let step = |key| plan.findings.iter().find(|it| it.object == key).unwrap().step;
    let steps = [forgotten, second, beat, ended].map(step);
    assert_eq!(steps, [Step::Remove, Step::Leave, Step::Leave, Step::Remove]);
    assert_eq!(mend(&repo, &plan, None), (0, 2));
    let left = storage.snapshot();
    assert!(left.contains_key(&beat) && left.contains_key(&second));
    assert_eq!(left.len(), good.len() + 3, "what says \"protected\" stays");
    tags(2);
    let plan = snapshots::plan(&repo, None, &GO).unwrap();
    assert_eq!(mend(&repo, &plan, None), (0, 1), "a later record holds now");
    assert!(!storage.snapshot().contains_key(&second));
}

#[test]
fn a_snapshot_with_missing_pages_is_named() {
    let good = sample(false);
    let mut objects = good.clone();
    objects.retain(|key, _| !matches!(key, ObjectKey::Pack(PackKind::Meta, _)));
    let repo = open(of(&objects), false).unwrap();
    let plan = snapshots::plan(&repo, None, &GO).unwrap();
    assert_eq!((plan.incomplete.len(), plan.findings.len()), (2, 0));
    assert_ne!(plan.incomplete[0].snapshot, SnapshotId([0; 16]));
}

#[test]
fn verifications_with_a_budget_get_round_to_every_pack() {
    let storage = of(&sample(true));
    let repo = open(storage.clone(), true).unwrap();
    let packs = keys(&storage.snapshot(), Folder::Data).len()
        + keys(&storage.snapshot(), Folder::Meta).len();
    let run = |options: VerifyOptions, secs: i64| {
        let mut report = VerifyReport::default();
        verify::run_into(&repo, options, &mut report, &Silent, &GO).unwrap();
        let at = Time { secs, nanos: 0 };
        verify::record(&repo, &mut report, at, "host", "test").unwrap();
        report
    };
    let now = icecore::clock::now().secs;
    let structure = run(VerifyOptions::default(), now);
    assert_eq!((structure.packs_read, structure.bytes_read), (0, 0));
    assert_eq!(structure.coverage.unwrap().recent_share(), 0.0);
    assert_eq!(structure.packs, packs as u64);

    // Half of the bytes, then what that left over, then nothing is due.
    let due = VerifyOptions {
        older_than: Some(Duration::from_secs(3600)),
        threads: 1,
        ..VerifyOptions::default()
    };
    let half = VerifyOptions { sample: Some(verify::Sample { share: 0.5, seed: 1 }), ..due };
    let first = run(half, now);
    assert!(first.packs_read > 0 && (first.packs_read as usize) < packs, "{first:?}");
    assert_eq!(first.packs, packs as u64, "the structure of all is checked");
    let share = first.coverage.unwrap().recent_share();
    assert!((0.5..1.0).contains(&share), "{share}");
    let second = run(due, now);
    assert_eq!(first.packs_read + second.packs_read, packs as u64);
    assert_eq!(second.coverage.unwrap().recent_share(), 1.0);
    assert_eq!(second.coverage.unwrap().never_bytes, 0);
    assert_eq!(run(due, now).packs_read, 0);

    // No time at all: nothing is read, and that is no damage.
    let none = VerifyOptions { max_duration: Some(Duration::ZERO), ..VerifyOptions::default() };
    let report = run(none, now);
    assert!(report.is_clean() && report.packs_read == 0 && report.packs == packs as u64);

    // Interrupted: what was read counts.
    let mut report = VerifyReport::default();
    let all = VerifyOptions { read_data: true, ..VerifyOptions::default() };
    let stop = AtomicBool::new(true);
    verify::run_into(&repo, all, &mut report, &Silent, &stop).unwrap_err();
    assert!(!report.complete && report.read_data);
    let ledger = repo.check_ledger().unwrap();
    assert_eq!((ledger.records, ledger.heads, ledger.errors.len()), (5, 1, 0));
    let object = keys(&storage.snapshot(), Folder::Ledger)[1];
    storage.corrupt(&object, |bytes| bytes[50] ^= 1);
    let report = check(&repo, false);
    assert_eq!(report.damaged[0].object, object.to_string());
}

#[test]
fn a_damaged_pack_does_not_count_as_verified() {
    let good = sample(false);
    let pack = keys(&good, Folder::Data)[0];
    let mut bytes = good[&pack].to_vec();
    bytes[80] ^= 1;
    let repo = open(of(&with(&good, pack, &bytes)), false).unwrap();
    let mut report = check(&repo, true);
    assert!(!report.is_clean());
    let coverage = report.coverage.unwrap();
    assert_eq!(coverage.bytes - coverage.recent_bytes, bytes.len() as u64);
    verify::record(&repo, &mut report, Time { secs: 5, nanos: 0 }, "host", "test").unwrap();
    let entry = repo.ledger().unwrap().next().unwrap().unwrap();
    let icecore::format::LedgerEvent::Verified(verified) = entry.record.event else { panic!() };
    assert!(verified.complete && verified.damaged_count > 0);
    assert!(verified.damaged.iter().any(|object| object.starts_with(&pack.to_string())));
    assert_eq!(verified.packs.len() as u64, report.packs_read - 1);
}

#[test]
fn what_a_snapshot_alone_holds_is_what_no_other_does() {
    let storage = of(&sample(false));
    let repo = open(storage.clone(), false).unwrap();
    let alone = |repo: &Repository| {
        let list = repo.snapshots().unwrap();
        let (alone, damaged) = stats::alone(repo, &list.snapshots, &GO).unwrap();
        assert!(damaged.is_empty());
        alone
    };
    let both = alone(&repo);
    // Content that the other has not, and a few pages.
    assert!((200_000..202_000).contains(&both[0].plain), "{both:?}");
    assert!((350_000..353_000).contains(&both[1].plain), "{both:?}");
    for one in &both {
        let (least, most) = (one.plain / 2, one.plain + 10_000);
        assert!((least..most).contains(&one.stored), "noise takes what it takes: {one:?}");
    }
    // Once more the second tree: neither of the two holds anything alone.
    ingest(&repo, &trees()[1], 3, true).unwrap();
    let three = alone(&open(storage, false).unwrap());
    assert_eq!(three[0], both[0]);
    assert_eq!([three[1], three[2]], [stats::Alone::default(); 2]);
}

/// The command line over all of it, on a repository in a folder.
#[test]
fn commands_show_a_plan_ask_and_record() {
    let sandbox = Sandbox::plain();
    let icecore = |arguments: &[&str]| {
        let mut command = sandbox.icecore();
        command.env("ICECORE_REPOSITORY", sandbox.path().join("repo")).args(arguments);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), said)
    };
    assert_eq!(icecore(&["-q", "init", "--plain"]).0, 0);
    let source = sandbox.folder("source");
    for time in 1..=2 {
        std::fs::write(source.join("file"), noise(time, 300_000)).unwrap();
        assert_eq!(icecore(&["-q", "ingest", "-C", "source", "."]).0, 0);
    }
    let json = |arguments: &[&str]| -> serde_json::Value {
        let (_, out, said) = icecore(arguments);
        serde_json::from_str(&out).unwrap_or_else(|err| panic!("{arguments:?}: {err}: {said}"))
    };
    let verified = json(&["verify", "--sample", "30%", "--seed", "1", "--json"]);
    assert_eq!((&verified["clean"], &verified["read_data"]), (&true.into(), &true.into()));
    assert!(verified["recorded"].as_str().unwrap().starts_with("ledger/"));
    assert!(verified["coverage"]["recent_bytes"].as_u64().unwrap() > 0);
    assert!(json(&["verify", "--no-record", "--json"])["recorded"].is_null());
    let rated = json(&["verify", "--max-rate", "1G", "--no-record", "--json"]);
    assert_eq!(rated["read_data"], true, "who says how fast wants it read");
    let (code, _, said) = icecore(&["diff", "latest~1:/file", "latest:/file"]);
    assert!(code == 2 && said.contains("icecore diff latest~1 latest /file"), "{said}");
    let text = icecore(&["verify", "--read-data"]).1;
    assert!(text.contains("100.0 % of bytes within 30 days"), "{text}");
    assert_eq!(json(&["ledger", "verify", "--json"])["records"], 2);
    assert!(icecore(&["ledger"]).1.contains("2 records"));
    let coverage = json(&["stats", "--json"])["coverage"].clone();
    assert_eq!(coverage["bytes"], coverage["recent_bytes"]);
    let growth = json(&["stats", "--snapshots", "--json"]);
    let alone = growth["snapshots"][0]["alone"]["plain"].as_u64().unwrap();
    assert!((300_000..310_000).contains(&alone), "{growth}");
    let lines = growth["snapshots"].as_array().unwrap();
    let sum: u64 = lines.iter().map(|line| line["stored"].as_u64().unwrap()).sum();
    assert_eq!(lines[1]["sum"].as_u64().unwrap(), sum, "the second grew it by its own: {growth}");
    assert!((600_000..640_000).contains(&sum), "all that is stored: {growth}");
    let several = icecore(&["stats", "latest", "latest~1"]).1;
    assert_eq!(several.matches("alone").count(), 2, "{several}");

    let index = sandbox.path().join("repo/index");
    for entry in std::fs::read_dir(&index).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(icecore(&["verify"]).0, 4);
    assert_eq!(icecore(&["repair", "index", "--dry-run"]).0, 4);
    let (code, _, said) = icecore(&["repair", "index"]);
    assert_eq!(code, 2, "there is nobody to ask");
    assert!(said.contains("--yes"), "{said}");
    assert_eq!(std::fs::read_dir(&index).unwrap().count(), 0);
    assert_eq!(icecore(&["repair", "index", "--yes"]).0, 0);
    assert_eq!(icecore(&["repair", "index"]).0, 0, "nothing to do, nobody to ask");
    assert_eq!(icecore(&["verify", "--read-data", "-q"]).0, 0);
    assert_eq!(icecore(&["repair", "snapshots"]).0, 0);

    // What is damaged among the records is told with the way out, which works.
    let record = sandbox.path().join("repo").join(verified["recorded"].as_str().unwrap());
    std::fs::write(record, b"no record").unwrap();
    let (code, _, said) = icecore(&["verify"]);
    assert!(code == 4 && said.contains("icecore repair snapshots"), "{said}");
    assert_eq!(icecore(&["repair", "snapshots", "--yes"]).0, 0);
    assert_eq!(icecore(&["verify"]).0, 0);
}
