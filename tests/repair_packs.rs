//! `repair packs` stopped at any point, and as a user meets it.
//!
//! Guards against a repair that makes things worse: whatever could be read before can be read after
//! a cut at each of its steps, and running it again ends what it began.

mod common;
mod restore_support;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use common::Sandbox;
use icecore::format::{Folder, ObjectKey, SnapshotId, Time};
use icecore::ops::OpError;
use icecore::ops::repair::packs::{self, PacksOptions, PacksReport};
use icecore::progress::Silent;
use icecore::repo::{RepoError, Repository, Session, Writer};
use icecore::storage::{CutPoint, FaultStorage, MemoryStorage, Objects, Storage, When};
use restore_support::*;

/// A repository of two snapshots with a damaged pack of content, and what they hold.
fn sample() -> (Objects, Vec<(SnapshotId, Entry)>) {
    let storage = Arc::new(MemoryStorage::new());
    let repo = init(storage.clone(), false);
    let mut trees = Vec::new();
    for time in 1..=2 {
        let tree = dir([
            ("a", file(noise(time, 300_000))),
            ("b", dir([("c", file(noise(10 + time, 300_000)))])),
            ("both", file(noise(5, 700_000))),
        ]);
        trees.push((ingest(&repo, &tree, time as i64, true).unwrap().id, tree));
    }
    let pack = storage.list(Folder::Data).unwrap()[0].key.unwrap();
    storage.corrupt(&pack, |bytes| bytes[1000] ^= 1);
    (storage.snapshot(), trees)
}

/// Paths, as text, that cannot be read; everything else is right.
fn lost(storage: Arc<dyn Storage>, trees: &[(SnapshotId, Entry)]) -> HashSet<String> {
    let repo = open(storage, false).unwrap();
    let mut lost = HashSet::new();
    for snapshot in repo.snapshots().unwrap().snapshots {
        let of = |id: &SnapshotId| *id == snapshot.id || Some(*id) == snapshot.parent;
        let (id, tree) = trees.iter().find(|(id, _)| of(id)).unwrap();
        for (name, entry) in tree.tree() {
            let name = String::from_utf8_lossy(name);
            let node = repo.lookup(top(&snapshot.root_node().body), name.as_bytes());
            let errors = match node {
                Ok(node) => read_everything(&repo, node.unwrap(), entry).len(),
                Err(_) => 1,
            };
            if errors > 0 {
                lost.insert(format!("{id} {name}"));
            }
        }
    }
    lost
}

fn top(body: &icecore::format::Body) -> Option<icecore::format::ChunkId> {
    match body {
        icecore::format::Body::Directory { page, .. } => *page,
        _ => None,
    }
}

fn repair(repo: &Repository) -> Result<PacksReport, OpError> {
    let going_on = AtomicBool::new(false);
    let plan = packs::plan(repo, None, &Silent, &going_on)?;
    let options = PacksOptions { writer: Writer { host: "h".into(), pid: 1 }, forget: true };
    packs::execute(repo, None, plan, &options, &going_on)
}

#[test]
fn repair_that_is_stopped_anywhere_loses_nothing_and_can_be_run_again() {
    let (image, trees) = sample();
    let fresh = || Arc::new(MemoryStorage::from(image.clone()));
    let before = lost(fresh(), &trees);
    assert!(!before.is_empty() && before.len() < 6, "{before:?}");
    let counted = Arc::new(FaultStorage::new(fresh()));
    let done = repair(&open(counted.clone(), false).unwrap()).unwrap();
    assert!(done.set_aside == 1 && done.rewritten_chunks > 0 && done.lost_paths > 0, "{done:?}");
    assert_eq!(done.forgotten, done.successors.len() as u64);
    assert!(counted.steps() > 8, "{}", counted.steps());
    for step in 0..counted.steps() {
        for when in When::ALL {
            let below = fresh();
            let cut = Arc::new(FaultStorage::cut_at(below.clone(), CutPoint { step, when }));
            let repo = open(cut.clone(), false).unwrap();
            let first = repair(&repo);
            assert!(cut.is_down(), "step {step} {when:?}: {first:?}");
            assert_eq!(lost(below.clone(), &trees), before, "step {step} {when:?}");
            let repo = open(below.clone(), false).unwrap();
            repair(&repo).unwrap_or_else(|err| panic!("step {step} {when:?}: {err}"));
            assert_eq!(lost(below.clone(), &trees), before, "step {step} {when:?}, again");
            let again = repair(&open(below.clone(), false).unwrap()).unwrap();
            assert!(again.plan.bad.is_empty(), "step {step} {when:?}: {again:?}");
            for (id, _) in &trees {
                let lost = before.iter().any(|path| path.starts_with(&id.to_string()));
                let mark = below.len(&ObjectKey::Forgotten(*id));
                assert_eq!(mark.is_ok(), lost, "step {step} {when:?}: {id}");
            }
        }
    }
}

/// Damaged, but the session was taken for dead; and whole by now.
#[test]
fn a_pack_that_must_not_go_stays() {
    let (image, _) = sample();
    let storage = Arc::new(MemoryStorage::from(image));
    let repo = open(storage.clone(), false).unwrap();
    let now = Time { secs: 1, nanos: 0 };
    let begin = || Session::begin(&repo, Writer { host: "h".into(), pid: 1 }, now).unwrap();
    let damaged = storage.list(Folder::Data).unwrap()[0].key.unwrap();
    let whole = storage.list(Folder::Meta).unwrap()[0].key.unwrap();
    let set_aside = |object: ObjectKey, session: &Session<'_>| {
        let ObjectKey::Pack(kind, id) = object else { panic!("{object}") };
        repo.set_aside(&HashMap::from([(id, kind)]), session)
    };
    let session = begin();
    for open in repo.open_sessions().unwrap() {
        repo.evict(&open, now, "h").unwrap();
    }
    let segments = storage.list(Folder::Index).unwrap().len();
    let err = set_aside(damaged, &session).unwrap_err();
    assert!(matches!(err, RepoError::Evicted { .. }), "{err}");
    assert_eq!(storage.list(Folder::Index).unwrap().len(), segments);
    session.abandon();
    let session = begin();
    assert_eq!(set_aside(whole, &session).unwrap(), 0);
    assert!(storage.len(&damaged).is_ok() && storage.len(&whole).is_ok());
    assert_eq!(set_aside(damaged, &session).unwrap(), 1);
    assert!(storage.len(&damaged).is_err());
    session.abandon();
}

fn pack(sandbox: &Sandbox, folder: &str) -> PathBuf {
    let folders = fs::read_dir(sandbox.path().join("repository").join(folder)).unwrap();
    let folder = folders.map(|entry| entry.unwrap().path()).next().unwrap();
    fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
}

/// Exit code, standard output and standard error.
fn run(sandbox: &Sandbox, arguments: &[&str]) -> (i32, String, String) {
    let output = sandbox.icecore().args(["-r", "repository"]).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn world(options: &[&str]) -> Sandbox {
    let sandbox = Sandbox::plain();
    let source = sandbox.folder("source");
    for n in 0..4 {
        fs::write(source.join(format!("f{n}")), noise(n, 400_000)).unwrap();
    }
    let init = [&["init", "--plain", "repository"], options].concat();
    sandbox.icecore().args(init).assert().success();
    assert_eq!(run(&sandbox, &["ingest", "-C", "source", "."]).0, 0);
    sandbox
}

fn damage(path: &PathBuf) {
    let mut bytes = fs::read(path).unwrap();
    bytes[500_000] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn damage_heals_by_itself_in_a_repository_with_parity() {
    let sandbox = world(&["--parity", "5%"]);
    let data = pack(&sandbox, "data");
    let good = fs::read(&data).unwrap();
    damage(&data);
    // Which file has the place of the damage is up to the order in which they were read.
    let read =
        ["f0", "f1", "f2", "f3"].map(|name| run(&sandbox, &["cat", &format!("latest:/{name}")]));
    assert!(read.iter().all(|(code, ..)| *code == 0));
    let err: String = read.into_iter().map(|(.., err)| err).collect();
    assert!(err.contains("healed from its parity"), "{err}");
    assert!(fs::read(&data).unwrap() == good);
    damage(&data);
    let (code, _, err) = run(&sandbox, &["verify", "--read-data", "--no-heal"]);
    assert_eq!(code, 4, "{err}");
    let (code, out, _) = run(&sandbox, &["verify", "--read-data"]);
    assert_eq!(code, 0);
    assert!(out.contains("damage was healed"), "{out}");
    damage(&data);
    let (code, out, err) = run(&sandbox, &["repair", "packs", "--dry-run"]);
    assert_eq!(code, 4, "{out}");
    assert!(err.contains("to be healed from its parity"), "{err}");
    assert!(fs::read(&data).unwrap() != good, "a dry run changes nothing");
    let (code, out, err) = run(&sandbox, &["repair", "packs"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(fs::read(&data).unwrap() == good);
}

#[test]
fn parity_is_switched_on_later_and_built() {
    let sandbox = world(&[]);
    let (code, out, _) = run(&sandbox, &["parity"]);
    assert!(code == 0 && out.contains("off"), "{out}");
    assert_eq!(run(&sandbox, &["parity", "--build"]).0, 1, "there is no share to build");
    let (code, out, _) = run(&sandbox, &["parity", "--set", "10%", "--build", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0);
    assert_eq!((&report["built"], &report["protected"]), (&2.into(), &2.into()), "{report}");
    let data = pack(&sandbox, "data");
    damage(&data);
    assert_eq!(run(&sandbox, &["verify", "--read-data"]).0, 0);
    let (code, out, _) = run(&sandbox, &["parity", "--off", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(code == 0 && report["permille"] == 0 && report["protected"] == 2, "{report}");
}

#[test]
fn without_parity_the_pack_is_set_aside_only_when_one_says_so() {
    let sandbox = world(&[]);
    let data = pack(&sandbox, "data");
    damage(&data);
    let (code, _, err) = run(&sandbox, &["repair", "packs"]);
    assert_eq!(code, 2, "nobody to ask is a usage error: {err}");
    assert!(err.contains("set aside") && err.contains("--yes"), "{err}");
    assert!(data.exists());
    let (code, out, err) = run(&sandbox, &["repair", "packs", "--yes"]);
    assert_eq!(code, 4, "{out}");
    assert!(!data.exists() && err.contains("lost: "), "{err}");
    let (code, out, _) = run(&sandbox, &["snapshots", "--json"]);
    assert!(code == 0 && out.contains("troubles"), "{out}");
    // What the sources still hold is stored again, and everything is whole.
    let (code, _, err) = run(&sandbox, &["ingest", "--force", "-C", "source", "."]);
    assert_eq!(code, 0, "{err}");
    let (code, out, err) = run(&sandbox, &["verify", "--read-data"]);
    assert_eq!(code, 0, "{out}{err}");
}

/// Content is lost for good, and the repository lives on.
#[test]
fn prune_goes_on_after_a_loss_that_a_successor_names_and_not_before() {
    let sandbox = world(&[]);
    damage(&pack(&sandbox, "data"));
    let prune = ["prune", "--grace", "0", "--yes"];
    assert_eq!(run(&sandbox, &["repair", "packs", "--yes"]).0, 4);
    let (code, _, err) = run(&sandbox, &prune);
    assert!(code != 0 && err.contains("is in no index segment"), "it is not forgotten: {err}");
    assert_eq!(run(&sandbox, &["repair", "packs", "--yes", "--forget"]).0, 4);
    let (code, out, err) = run(&sandbox, &prune);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, _) = run(&sandbox, &["snapshots", "--json"]);
    assert!(code == 0 && out.contains("troubles"), "{out}");
    let read: Vec<_> =
        (0..4).map(|n| run(&sandbox, &["cat", &format!("latest:/f{n}")]).0).collect();
    assert!(read.contains(&0) && read.iter().any(|code| *code != 0), "{read:?}");
    let (code, _, err) = run(&sandbox, &["restore", "latest", "--to", "out"]);
    assert_ne!(code, 0, "{err}");
    for (n, _) in read.iter().enumerate().filter(|(_, code)| **code == 0) {
        let restored = fs::read(sandbox.path().join(format!("out/f{n}"))).unwrap();
        assert!(restored == noise(n as u64, 400_000), "f{n}");
    }
    // What the source still has is stored again, and a prune with more to do goes on as well.
    assert_eq!(run(&sandbox, &["ingest", "--force", "-C", "source", "."]).0, 0);
    let (code, out, err) = run(&sandbox, &prune);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(run(&sandbox, &["cat", "latest:/f0"]).0, 0);
}
