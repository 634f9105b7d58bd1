//! Damage × kind of object × plain or encrypted × parity on or off × repair: whatever is done to one
//! stored object, reading gives the right bytes or an error, `verify` names the object or heals it,
//! `repair packs` leaves no damaged pack and loses nothing that could be read, and nothing panics.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use icecore::format::{
    ChunkId, Folder, FrameKind, LedgerEvent, ObjectKey, Seal, Snapshot, SnapshotId, Time, Verified,
    checksum16, frame, pack,
};
use icecore::ops::repair::packs::{self, PacksOptions, PacksReport};
use icecore::ops::verify::{VerifyOptions, VerifyReport, run};
use icecore::progress::Silent;
use icecore::repo::{Marker, Repository, Session, TagState, Writer};
use icecore::storage::{LocalStorage, Storage};

mod restore_support;
use restore_support::*;

/// All that a user would be told, and what verify found.
#[derive(Default)]
struct Told {
    errors: Vec<String>,
    report: Option<VerifyReport>,
}

impl Told {
    fn names(&self, object: &str) -> bool {
        self.errors.iter().any(|text| text.contains(object))
            || self
                .report
                .as_ref()
                .is_some_and(|report| report.damaged.iter().any(|it| it.object.contains(object)))
    }
}

/// A repository in a folder, what it holds, and its objects' files by kind.
struct Sample {
    folder: tempfile::TempDir,
    encrypted: bool,
    trees: Vec<(SnapshotId, Entry)>,
}

const KINDS: [&str; 10] = [
    "config",
    "keys",
    "sessions",
    "snapshots",
    "forgotten",
    "tags",
    "index",
    "meta",
    "data",
    "ledger",
];

impl Sample {
    fn new(encrypted: bool, seed: u64) -> Self {
        Self::with_parity(encrypted, seed, 0)
    }

    fn with_parity(encrypted: bool, seed: u64, permille: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = LocalStorage::create(&folder.path().join("repo")).unwrap();
        let repo = init(Arc::new(storage), encrypted);
        if permille > 0 {
            repo.set_parity(permille, "host").unwrap();
        }
        let mut trees = Vec::new();
        for time in 1..=2 {
            let text = "compressible ".repeat(20_000).into_bytes();
            let tree = dir([
                ("a", file(noise(seed * 10 + time, 200_000))),
                ("b", dir([("text", file(text)), ("tiny", file("inline"))])),
                ("both", file(noise(seed, 100_000))),
                ("link", symlink(b"target")),
            ]);
            let snapshot = ingest(&repo, &tree, time as i64, true).unwrap();
            mark(&repo, &snapshot);
            trees.push((snapshot.id, tree));
        }
        // A writer that is alive, twice.
        for _ in 0..2 {
            let writer = Writer { host: "host".into(), pid: 7 };
            drop(Session::begin(&repo, writer, Time::default()).unwrap());
        }
        for secs in [5, 6] {
            let (at, event) = (Time { secs, nanos: 0 }, LedgerEvent::Verified(Verified::default()));
            repo.append_ledger(at, "host", "test", event).unwrap();
        }
        if encrypted {
            repo.add_key(&passphrase(), "second", INIT.cost).unwrap();
        }
        Self { folder, encrypted, trees }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    /// Objects of a kind, by name, in a stable order.
    fn objects(&self, kind: &str) -> Vec<String> {
        let storage = LocalStorage::open(&self.root()).unwrap();
        if kind == "config" {
            return vec!["config".into()];
        }
        let folder = Folder::ALL.into_iter().find(|folder| folder.name() == kind).unwrap();
        storage.list(folder).unwrap().into_iter().map(|listed| listed.name).collect()
    }

    fn open(&self) -> Result<Repository, String> {
        let storage = Arc::new(LocalStorage::open(&self.root()).unwrap());
        open(storage, self.encrypted).map_err(|err| err.to_string())
    }

    /// Opens, lists, reads all and verifies.
    fn look(&self) -> Told {
        let mut told = Told::default();
        let repo = match self.open() {
            Ok(repo) => repo,
            Err(err) => {
                told.errors.push(err);
                return told;
            }
        };
        let list = repo.snapshots().unwrap();
        told.errors.extend(list.damaged.iter().map(ToString::to_string));
        told.errors.extend(list.damaged_marks.iter().map(ToString::to_string));
        assert!(list.snapshots.len() + list.damaged.len() >= 2, "none is forgotten");
        for snapshot in &list.snapshots {
            let (_, tree) = self
                .trees
                .iter()
                .find(|(id, _)| *id == snapshot.id || Some(*id) == snapshot.parent)
                .expect("a stranger's snapshot");
            let errors = read_everything(&repo, Repository::root(snapshot), tree);
            told.errors.extend(errors.iter().map(ToString::to_string));
        }
        let options = VerifyOptions { read_data: true, threads: 1, ..VerifyOptions::default() };
        told.report = Some(run(&repo, options, &Silent, &AtomicBool::new(false)).unwrap());
        told
    }
}

/// Forgets it, and protects it: it is there whichever of the two marks is damaged.
fn mark(repo: &Repository, snapshot: &Snapshot) {
    let by = Marker { host: "host".into(), now: Time::default() };
    repo.forget(snapshot.id, &by).unwrap();
    let protect = |state: &mut TagState| state.protected = true;
    assert!(repo.retag(&mut repo.marks().unwrap(), snapshot, &by, protect).unwrap());
}

type Change = Box<dyn Fn(&mut Vec<u8>)>;

/// Everything that can happen to an object's own bytes.
fn changes(kind: &'static str, encrypted: bool, len: usize) -> Vec<(String, Change)> {
    let mut changes: Vec<(String, Change)> = Vec::new();
    let header = [0, 4, 5, 6, 8, 9, 10, 15, 16, 20, 31, 32, 40, 48, 63, 64, 70];
    let spread = [len / 4, len / 3, len / 2, 2 * len / 3, len - 65, len - 40, len - 16, len - 1];
    for at in header.into_iter().chain(spread).filter(|&at| at < len) {
        for bit in [0, 7] {
            changes.push((format!("bit {bit} of byte {at}"), Box::new(move |b| b[at] ^= 1 << bit)));
        }
    }
    for to in [0, 1, len / 2, len - 1] {
        changes.push((format!("cut to {to}"), Box::new(move |bytes| bytes.truncate(to))));
    }
    for count in [1, 4096] {
        let more = move |bytes: &mut Vec<u8>| bytes.resize(len + count, 0x55);
        changes.push((format!("{count} bytes more"), Box::new(more)));
    }
    changes.push(("zeroes".into(), Box::new(|bytes| bytes.fill(0))));
    changes.push(("half zeroes".into(), Box::new(move |bytes| bytes[len / 2..].fill(0))));
    changes.extend(absurd(kind, encrypted));
    changes
}

/// Lengths and counts that no honest writer states, under checksums that hold.
fn absurd(kind: &'static str, encrypted: bool) -> Vec<(String, Change)> {
    let mut changes: Vec<(String, Change)> = Vec::new();
    match kind {
        "config" | "keys" | "sessions" | "snapshots" | "forgotten" | "tags" | "ledger" => {
            for length in [u64::MAX, 1 << 40, 0] {
                let state = move |bytes: &mut Vec<u8>| {
                    bytes[8..16].copy_from_slice(&length.to_le_bytes());
                    let mut hasher = blake3::Hasher::new();
                    hasher.update(&bytes[..16]).update(&bytes[32..]);
                    bytes[16..32].copy_from_slice(&hasher.finalize().as_bytes()[..16]);
                };
                changes.push((format!("frame of {length} bytes"), Box::new(state)));
            }
            let frame_kind = match kind {
                "config" => FrameKind::Config,
                "keys" => FrameKind::Key,
                "sessions" => FrameKind::Beat,
                "forgotten" => FrameKind::Forgotten,
                "tags" => FrameKind::Tagging,
                "ledger" => FrameKind::Ledger,
                _ => FrameKind::Snapshot,
            };
            // Each 8 bytes of the payload in turn: some of them are lengths of lists.
            for at in (0..200).step_by(8) {
                let state = move |bytes: &mut Vec<u8>| {
                    let decoded = frame::decode(frame_kind, bytes).unwrap();
                    let (seal, mut payload) = (decoded.seal, decoded.payload.to_vec());
                    let Some(field) = payload.get_mut(at..at + 8) else {
                        return bytes.truncate(3);
                    };
                    // A changed salt or number would be another object, as good as this one.
                    if kind != "snapshots" && seal == Seal::Plain && kind != "config" {
                        return bytes.truncate(3);
                    }
                    field.copy_from_slice(&(u64::MAX >> 1).to_le_bytes());
                    *bytes = frame::encode(frame_kind, seal, &payload);
                };
                if kind == "snapshots" && !encrypted && at >= 24 {
                    continue; // a plain snapshot is not authenticated; see the test below
                }
                changes.push((format!("payload {at} absurd"), Box::new(state)));
            }
        }
        "meta" | "data" => {
            for (offset, footer_len) in [(64, u64::MAX), (u64::MAX, 64), (0, 1 << 40), (64, 100)] {
                let state = move |bytes: &mut Vec<u8>| {
                    let trailer = pack::Trailer { footer_offset: offset, footer_len }.encode();
                    let at = bytes.len() - trailer.len();
                    bytes[at..].copy_from_slice(&trailer);
                };
                changes.push((format!("footer of {footer_len} at {offset}"), Box::new(state)));
            }
            if !encrypted {
                let block = |bytes: &mut Vec<u8>| bytes[68..72].fill(0xff);
                changes.push(("block of 4 GiB".into(), Box::new(block)));
                for field in [0, 4] {
                    let state = move |bytes: &mut Vec<u8>| {
                        let at = bytes.len() - pack::TRAILER_LEN + 8;
                        let footer = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
                        let at = footer as usize + field;
                        bytes[at..at + 4].fill(0xff);
                    };
                    changes.push((format!("footer count {field}"), Box::new(state)));
                }
            }
        }
        "index" if !encrypted => {
            // Fan-out bits, records, packs, replaced: at 12, 16, 24 and 28 of the body.
            for (at, len) in [(12, 4), (16, 8), (24, 4), (28, 4)] {
                let state = move |bytes: &mut Vec<u8>| {
                    let body = &mut bytes[64..];
                    body[at..at + len].fill(0x7f);
                    let sum = checksum16(&body[..48]);
                    body[48..64].copy_from_slice(&sum);
                };
                changes.push((format!("segment field {at}"), Box::new(state)));
            }
        }
        _ => {}
    }
    changes
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

/// Every change to one object of a kind, each on the same repository, undone afterwards.
fn check(kind: &'static str, encrypted: bool) {
    let sample = Sample::new(encrypted, 1);
    let Some(object) = sample.objects(kind).into_iter().next() else {
        assert!(kind == "keys" && !encrypted, "no {kind}");
        return;
    };
    let path = sample.root().join(&object);
    let good = std::fs::read(&path).unwrap();
    for (what, change) in changes(kind, encrypted, good.len()) {
        let mut bad = good.clone();
        change(&mut bad);
        assert_ne!(bad, good, "{what} changes nothing");
        write(&path, &bad);
        let told = sample.look();
        let context = format!("{what} of {object}, encrypted {encrypted}");
        // A plain config is not authenticated: another valid one is believed, and then nothing
        // else fits it, or nothing depends on it. The bytes read were right or an error even so.
        let forged = kind == "config" && !encrypted && what.starts_with("payload");
        assert!(forged || told.names(&object), "{context}: {:?} {:?}", told.errors, told.report);
        write(&path, &good);
    }
    let told = sample.look();
    assert!(told.errors.is_empty() && told.report.unwrap().is_clean(), "{kind} was not undone");
}

#[test]
fn every_change_to_every_kind_of_object_is_named() {
    for encrypted in [false, true] {
        for kind in KINDS {
            check(kind, encrypted);
        }
    }
}

#[test]
fn with_parity_every_change_to_a_pack_heals_and_the_pack_is_written_anew() {
    for encrypted in [false, true] {
        let sample = Sample::with_parity(encrypted, 1, 1000);
        for kind in ["meta", "data"] {
            let object = sample.objects(kind).remove(0);
            let path = sample.root().join(&object);
            let good = std::fs::read(&path).unwrap();
            for (what, change) in changes(kind, encrypted, good.len()) {
                let mut bad = good.clone();
                change(&mut bad);
                write(&path, &bad);
                let told = sample.look();
                let context = format!("{what} of {object}, encrypted {encrypted}");
                let report = told.report.unwrap();
                assert!(told.errors.is_empty(), "{context}: {:?}", told.errors);
                assert!(report.is_clean() && report.unprotected == 0, "{context}: {report:?}");
                assert_eq!(report.healed.len(), 1, "{context}");
                assert!(report.healed[0].stored && report.healed[0].object == object, "{context}");
                assert!(std::fs::read(&path).unwrap() == good, "{context}");
            }
        }
    }
}

#[test]
fn every_change_to_parity_is_named_and_costs_nothing() {
    let sample = Sample::with_parity(true, 1, 50);
    let object = sample.objects("parity").remove(0);
    let path = sample.root().join(&object);
    let good = std::fs::read(&path).unwrap();
    for (what, change) in changes("parity", true, good.len()) {
        let mut bad = good.clone();
        change(&mut bad);
        write(&path, &bad);
        let told = sample.look();
        assert!(told.errors.is_empty() && told.names(&object), "{what}: {:?}", told.report);
        assert_eq!(told.report.unwrap().affected_count, 0, "{what}");
    }
    let repo = sample.open().unwrap();
    let done = icecore::ops::parity::build(&repo, &Silent, &AtomicBool::new(false)).unwrap();
    assert_eq!((done.built, done.failed.len()), (1, 0));
    assert!(std::fs::read(&path).unwrap() == good, "parity follows from pack and share");
    std::fs::remove_file(&path).unwrap();
    let report = sample.look().report.unwrap();
    assert!(report.is_clean() && report.unprotected == 1, "{report:?}");
}

/// Runs `repair packs`.
fn repair(sample: &Sample, from: Option<&Sample>) -> PacksReport {
    let (repo, going_on) = (sample.open().unwrap(), AtomicBool::new(false));
    let from = from.map(|from| from.open().unwrap());
    let plan = packs::plan(&repo, from.as_ref(), &Silent, &going_on).unwrap();
    let writer = Writer { host: "host".into(), pid: 1 };
    let options =
        PacksOptions { writer, forget: false, session_timeout: std::time::Duration::ZERO };
    packs::execute(&repo, from.as_ref(), plan, &options, &going_on).unwrap()
}

fn copy(sample: &Sample) -> Sample {
    let folder = tempfile::tempdir().unwrap();
    let status = std::process::Command::new("cp")
        .args(["-a", "--"])
        .args([sample.root(), folder.path().join("repo")])
        .status();
    assert!(status.unwrap().success());
    Sample { folder, encrypted: sample.encrypted, trees: sample.trees.clone() }
}

#[test]
fn repair_leaves_no_damaged_pack_and_loses_nothing_that_could_be_read() {
    for encrypted in [false, true] {
        let whole = Sample::new(encrypted, 1);
        for kind in ["meta", "data"] {
            let object = whole.objects(kind).remove(0);
            let good = std::fs::read(whole.root().join(&object)).unwrap();
            let changes = changes(kind, encrypted, good.len());
            let gone: Change = Box::new(|_| {});
            let changes = changes.into_iter().step_by(3).chain([("gone".into(), gone)]);
            for (what, change) in changes {
                let context = format!("{what} of {object}, encrypted {encrypted}");
                let sample = copy(&whole);
                let path = sample.root().join(&object);
                let mut bad = good.clone();
                change(&mut bad);
                match what == "gone" {
                    true => std::fs::remove_file(&path).unwrap(),
                    false => write(&path, &bad),
                }
                let from_replica = copy(&sample);
                let before = sample.look();
                let done = repair(&sample, None);
                assert_eq!((done.healed, done.set_aside), (0, 1), "{context}");
                let after = sample.look();
                assert!(!path.exists() && !after.names(&object), "{context}: {:?}", after.report);
                let lost = done.lost_paths > 0;
                assert_eq!(lost, !before.errors.is_empty(), "{context}: {done:?}");
                assert_eq!(lost, !done.successors.is_empty(), "{context}: {done:?}");
                assert_eq!(lost, !after.errors.is_empty(), "{context}: {:?}", after.errors);
                let again = repair(&sample, None);
                assert!(again.plan.bad.is_empty() && again.successors.is_empty(), "{context}");

                let done = repair(&from_replica, Some(&whole));
                assert_eq!((done.healed, done.set_aside, done.lost_paths), (1, 0, 0), "{context}");
                let told = from_replica.look();
                assert!(told.errors.is_empty() && told.report.unwrap().is_clean(), "{context}");
            }
        }
    }
}

#[test]
fn objects_that_stand_under_each_others_names_are_named() {
    for encrypted in [false, true] {
        for kind in KINDS {
            let sample = Sample::new(encrypted, 1);
            let objects = sample.objects(kind);
            let [first, .., last] = objects.as_slice() else { continue };
            let (a, b) = (sample.root().join(first), sample.root().join(last));
            let bytes = (std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
            write(&a, &bytes.1);
            write(&b, &bytes.0);
            let told = sample.look();
            // What opens the repository may come first; the other is then not looked at.
            let both = told.names(first) && told.names(last);
            let opened = told.report.is_some();
            let context = format!("{kind}, encrypted {encrypted}: {:?}", told.errors);
            assert!(if opened { both } else { told.names(first) || told.names(last) }, "{context}");
        }
    }
}

#[test]
fn objects_of_a_foreign_repository_are_named() {
    for encrypted in [false, true] {
        let foreign = Sample::new(encrypted, 2);
        for kind in KINDS {
            let sample = Sample::new(encrypted, 1);
            let (Some(ours), Some(theirs)) =
                (sample.objects(kind).into_iter().next(), foreign.objects(kind).into_iter().next())
            else {
                continue;
            };
            let bytes = std::fs::read(foreign.root().join(&theirs)).unwrap();
            write(&sample.root().join(&ours), &bytes);
            let told = sample.look();
            let context = format!("{kind}, encrypted {encrypted}");
            // A foreign config in a plain repository makes every object a foreign one.
            let named = told.names(&ours) || (kind == "config" && !told.errors.is_empty());
            assert!(named, "{context}: {:?} {:?}", told.errors, told.report);

            // Under its own name, beside ours: it may not be taken for ours.
            if kind != "config" {
                let sample = Sample::new(encrypted, 1);
                let path = sample.root().join(&theirs);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                write(&path, &bytes);
                let told = sample.look();
                assert!(told.names(&theirs), "{context}: {:?} {:?}", told.errors, told.report);
            }
        }
    }
}

#[test]
fn missing_objects_are_named_with_what_they_cost() {
    for encrypted in [false, true] {
        let sample = Sample::new(encrypted, 1);
        for object in ["meta", "data"].iter().flat_map(|kind| sample.objects(kind)) {
            let path = sample.root().join(&object);
            let good = std::fs::read(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            let told = sample.look();
            let report = told.report.as_ref().unwrap();
            let context = format!("{object}, encrypted {encrypted}: {report:?}");
            assert!(!told.errors.is_empty() && report.affected_count > 0, "{context}");
            assert!(told.names(&object), "{context}");
            write(&path, &good);
        }
        // Segments that were merged know the same as the merged one: each may go, not all. One
        // that is gone leaves no name; its chunks do.
        let mut costs = 0;
        for object in sample.objects("index") {
            std::fs::remove_file(sample.root().join(&object)).unwrap();
            let told = sample.look();
            let report = told.report.as_ref().unwrap();
            let context = format!("{object}, encrypted {encrypted}: {report:?}");
            let lost = report.unindexed_chunks > 0;
            assert_eq!(lost, !told.errors.is_empty(), "{context}");
            assert_eq!(lost, report.affected_count > 0, "{context}");
            costs += usize::from(lost);
        }
        assert!(costs > 0, "encrypted {encrypted}");
    }
}

#[test]
fn damage_is_listed_for_every_snapshot_that_it_hits() {
    let sample = Sample::new(false, 1);
    let repo = sample.open().unwrap();
    let mut paths: BTreeMap<String, usize> = BTreeMap::new();
    for object in sample.objects("data") {
        let path = sample.root().join(&object);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[80] ^= 1;
        write(&path, &bad);
        let report = sample.look().report.unwrap();
        for affected in &report.affected {
            *paths.entry(affected.path.clone()).or_default() += 1;
        }
        let structure = VerifyOptions { threads: 2, ..VerifyOptions::default() };
        let structure = run(&repo, structure, &Silent, &AtomicBool::new(false)).unwrap();
        assert!(structure.is_clean(), "structure is not data: {structure:?}");
        write(&path, &good);
    }
    let expected = [("/a", 2), ("/b/text", 2), ("/both", 2)];
    assert!(paths.iter().map(|(path, &count)| (path.as_str(), count)).eq(expected), "{paths:?}");
}

#[test]
fn a_plain_snapshot_of_absurd_contents_is_an_error_or_harmless() {
    let sample = Sample::new(false, 1);
    let object = sample.objects("snapshots").remove(0);
    let path = sample.root().join(&object);
    let good = std::fs::read(&path).unwrap();
    let payload = frame::decode(FrameKind::Snapshot, &good).unwrap().payload.to_vec();
    for at in 0..payload.len() - 8 {
        let mut payload = payload.clone();
        payload[at..at + 8].fill(0x7f);
        write(&path, &frame::encode(FrameKind::Snapshot, Seal::Plain, &payload));
        let repo = sample.open().unwrap();
        let list = repo.snapshots().unwrap();
        assert_eq!(list.snapshots.len() + list.damaged.len(), 2, "at {at}");
        for snapshot in &list.snapshots {
            for entry in icecore::ops::path::walk(&repo, b"/", Repository::root(snapshot)) {
                drop(entry);
            }
        }
    }
}

#[test]
fn index_that_points_elsewhere_gives_no_wrong_bytes() {
    // A segment that maps a chunk to another chunk's place, under a name that fits its bytes.
    let sample = Sample::new(false, 1);
    for object in sample.objects("index") {
        let path = sample.root().join(&object);
        let good = std::fs::read(&path).unwrap();
        for at in (64..good.len()).step_by(4) {
            let mut bad = good.clone();
            bad[at..at + 4].fill(0x01);
            if bad == good {
                continue;
            }
            let name = format!("index/{}", ChunkId(*blake3::hash(&bad).as_bytes()));
            std::fs::remove_file(&path).unwrap();
            write(&sample.root().join(&name), &bad);
            let told = sample.look();
            assert!(told.report.is_some() || !told.errors.is_empty());
            std::fs::remove_file(sample.root().join(&name)).unwrap();
            write(&path, &good);
        }
    }
}

#[test]
fn strangers_are_listed_and_harm_nothing() {
    let sample = Sample::new(false, 1);
    for name in ["data/README", "index/x", "snapshots/zz", "keys/k"] {
        write(&sample.root().join(name), b"?");
    }
    let told = sample.look();
    let report = told.report.unwrap();
    assert!(told.errors.is_empty() && report.is_clean(), "{report:?}");
    assert_eq!(report.strangers_count, 4, "{report:?}");
    assert!(report.strangers.iter().all(|name| ObjectKey::parse(name).is_none()));
}
