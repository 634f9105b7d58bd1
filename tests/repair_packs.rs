//! `repair packs` stopped at any point, and as a user meets it.
//!
//! Guards against a repair that makes things worse: whatever could be read before can be read after
//! a cut at each of its steps, and running it again ends what it began.

mod common;
mod restore_support;

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::Sandbox;
use icecore::format::{Folder, ObjectKey, Snapshot, SnapshotId, Trouble};
use icecore::ops::OpError;
use icecore::ops::prune::{self, PruneOptions};
use icecore::ops::repair::packs::{self, PacksOptions, PacksReport};
use icecore::ops::repair::snapshots;
use icecore::ops::verify::{self, VerifyOptions};
use icecore::progress::Silent;
use icecore::repo::{Marker, RepoError, Repository, Session, Writer};
use icecore::storage::{
    CutPoint, FaultStorage, Listed, MemoryStorage, Objects, Storage, StorageError, When,
};
use restore_support::*;

/// A repository of two snapshots with a damaged pack of content, and what they hold.
fn sample() -> (Objects, Vec<(SnapshotId, Entry)>) {
    let (image, trees) = whole();
    let storage = MemoryStorage::from(image);
    let pack = storage.list(Folder::Data).unwrap()[0].key.unwrap();
    storage.corrupt(&pack, |bytes| bytes[1000] ^= 1);
    (storage.snapshot(), trees)
}

/// The same before the damage.
fn whole() -> (Objects, Vec<(SnapshotId, Entry)>) {
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

/// Others are taken for dead when they are looked at: whoever waits here waits for nobody.
fn options(forget: bool) -> PacksOptions {
    let writer = Writer { host: "h".into(), pid: 1 };
    PacksOptions { writer, forget, session_timeout: Duration::ZERO }
}

fn repair(repo: &Repository) -> Result<PacksReport, OpError> {
    repair_from(repo, None, true)
}

fn repair_from(
    repo: &Repository,
    from: Option<&Repository>,
    forget: bool,
) -> Result<PacksReport, OpError> {
    let going_on = AtomicBool::new(false);
    let plan = packs::plan(repo, from, &Silent, &going_on)?;
    packs::execute(repo, from, plan, &options(forget), &going_on)
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
            if repair(&repo).is_err() {
                // A record that was written in part stops everybody; another repair is for that.
                let plan = snapshots::plan(&repo, None, &AtomicBool::new(false)).unwrap();
                assert_eq!(plan.findings.len(), 1, "step {step} {when:?}");
                snapshots::run(&repo, &plan, None, &options(true).writer, &AtomicBool::new(false))
                    .unwrap();
                repair(&repo).unwrap_or_else(|err| panic!("step {step} {when:?}: {err}"));
            }
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

/// The same content in a repository of its own: the same chunks in other packs.
fn ingested_elsewhere(trees: &[(SnapshotId, Entry)]) -> Arc<MemoryStorage> {
    let storage = Arc::new(MemoryStorage::new());
    let repo = init(storage.clone(), false);
    for (time, (_, tree)) in trees.iter().rev().enumerate() {
        ingest(&repo, tree, 10 + time as i64, true).unwrap();
    }
    storage
}

#[test]
fn what_an_earlier_repair_gave_up_comes_back_from_a_replica_whatever_its_packs_are() {
    let (image, trees) = whole();
    let copy = Arc::new(MemoryStorage::from(image.clone()));
    for folder in [Folder::Data, Folder::Meta] {
        for replica in [copy.clone(), ingested_elsewhere(&trees)] {
            let storage = Arc::new(MemoryStorage::from(image.clone()));
            for listed in storage.list(folder).unwrap() {
                storage.corrupt(&listed.key.unwrap(), |bytes| bytes[200..].fill(0));
            }
            let given_up =
                repair_from(&open(storage.clone(), false).unwrap(), None, false).unwrap();
            assert!(given_up.set_aside > 0 && given_up.lost_paths > 0, "{given_up:?}");
            assert_ne!(lost(storage.clone(), &trees).len(), 0);
            let (repo, from) =
                (open(storage.clone(), false).unwrap(), open(replica, false).unwrap());
            let back = repair_from(&repo, Some(&from), false).unwrap();
            assert!(back.plan.bad.is_empty() && back.plan.returning_chunks > 0, "{back:?}");
            assert!(back.returned_chunks >= back.plan.returning_chunks, "{back:?}");
            assert_eq!((back.lost_paths, back.whole_again.len()), (0, 2), "{back:?}");
            assert_eq!(lost(storage.clone(), &trees), HashSet::new());
            let again = repair_from(&open(storage, false).unwrap(), Some(&from), false).unwrap();
            assert_eq!(again.returned_chunks, 0, "nothing is left to bring back");
        }
    }
}

type Hook = Box<dyn FnOnce() + Send>;

/// Calls a hook once, before the first write or deletion of an object of a folder.
struct Hooked {
    below: Arc<MemoryStorage>,
    folder: Folder,
    is_delete: bool,
    hook: Mutex<Option<Hook>>,
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooked")
    }
}

impl Hooked {
    fn step(&self, key: &ObjectKey, is_delete: bool) {
        let is_there = key.to_string().starts_with(&format!("{}/", self.folder.name()));
        if is_there && is_delete == self.is_delete {
            let hook = self.hook.lock().unwrap().take();
            hook.into_iter().for_each(|hook| hook());
        }
    }
}

impl Storage for Hooked {
    fn location(&self) -> String {
        self.below.location()
    }
    fn put_new(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        self.step(key, false);
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
        self.below.list(folder)
    }
    fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.step(key, true);
        self.below.delete(key)
    }
}

/// One that has no replica deletes a pack; another one, with a replica, puts it right, having
/// planned before. Whenever that is, nothing is lost in the end.
#[test]
fn a_pack_that_another_repair_puts_right_is_not_lost_by_this_one() {
    let (image, trees) = whole();
    let replica = Arc::new(MemoryStorage::from(image.clone()));
    let points = [
        (Folder::Sessions, false),
        (Folder::Gc, false),
        (Folder::Index, true),
        (Folder::Data, true),
        (Folder::Gc, true),
    ];
    for (folder, is_delete) in points {
        let below = Arc::new(MemoryStorage::from(image.clone()));
        let pack = below.list(Folder::Data).unwrap()[0].key.unwrap();
        below.corrupt(&pack, |bytes| bytes[1000] ^= 1);
        let other = open(below.clone(), false).unwrap();
        let from = open(replica.clone(), false).unwrap();
        let plan = packs::plan(&other, Some(&from), &Silent, &AtomicBool::new(false)).unwrap();
        assert_eq!(plan.bad.len(), 1);
        let ran = Arc::new(AtomicBool::new(false));
        let hook: Hook = Box::new({
            let ran = ran.clone();
            move || {
                ran.store(true, Ordering::SeqCst);
                let going_on = AtomicBool::new(false);
                packs::execute(&other, Some(&from), plan, &options(false), &going_on).unwrap();
            }
        });
        let hook = Mutex::new(Some(hook));
        let hooked = Arc::new(Hooked { below: below.clone(), folder, is_delete, hook });
        let repo = open(hooked, false).unwrap();
        // It may find that somebody was faster; it loses nothing by that.
        drop(repair_from(&repo, None, false));
        assert!(ran.load(Ordering::SeqCst), "{folder:?}");
        assert_eq!(lost(below, &trees), HashSet::new(), "{folder:?} {is_delete}");
    }
}

/// Another repair runs from beginning to end while this one is about to put a successor, or to forget
/// what has one: one successor of each snapshot is left, and both say which.
#[test]
fn two_repairs_at_once_leave_one_successor() {
    let (image, trees) = sample();
    for (folder, forget) in
        [(Folder::Snapshots, false), (Folder::Snapshots, true), (Folder::Forgotten, true)]
    {
        let below = Arc::new(MemoryStorage::from(image.clone()));
        let before = lost(below.clone(), &trees);
        let theirs = Arc::new(Mutex::new(None));
        let hook: Hook = Box::new({
            let (below, theirs) = (below.clone(), theirs.clone());
            move || {
                let other = open(below, false).unwrap();
                *theirs.lock().unwrap() = Some(repair_from(&other, None, forget).unwrap());
            }
        });
        let hook = Mutex::new(Some(hook));
        let hooked = Arc::new(Hooked { below: below.clone(), folder, is_delete: false, hook });
        let ours = repair_from(&open(hooked, false).unwrap(), None, forget).unwrap();
        let theirs = theirs.lock().unwrap().take().expect("the other one ran");
        let list = open(below.clone(), false).unwrap().snapshots().unwrap();
        for (id, _) in &trees {
            let is_hit = before.iter().any(|path| path.starts_with(&id.to_string()));
            let successors: Vec<_> =
                list.snapshots.iter().filter(|each| each.parent == Some(*id)).collect();
            let lossy = successors.iter().filter(|it| packs::is_lossy(it)).count();
            assert_eq!(lossy, usize::from(is_hit));
        }
        let here: HashSet<_> = list.snapshots.iter().map(|snapshot| snapshot.id).collect();
        assert!(ours.successors.iter().all(|(_, new)| here.contains(new)), "{ours:?}");
        assert!(!ours.successors.is_empty() || !theirs.successors.is_empty());
        assert_eq!(lost(below, &trees), before);
    }
}

/// The same with two processes that begin at once, several times.
#[test]
fn two_processes_that_repair_at_once_leave_one_successor() {
    for _ in 0..3 {
        let sandbox = world(&[]);
        damage(&pack(&sandbox, "data"));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| run(&sandbox, &["repair", "packs", "--yes"]));
            }
        });
        // One of them may have found what the other was about to do, and left it undone.
        let (code, out, err) = run(&sandbox, &["repair", "packs", "--yes"]);
        assert!(code == 0 || code == 4, "{code} {out}{err}");
        let (_, out, _) = run(&sandbox, &["snapshots", "--json"]);
        let list: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(list["snapshots"].as_array().unwrap().len(), 2, "{list}");
        let (code, out, err) = run(&sandbox, &["verify", "--read-data"]);
        assert!(code == 0 && out.contains("which successors name"), "{out}{err}");
    }
}

fn packs_of(sandbox: &Sandbox, folder: &str) -> Vec<PathBuf> {
    let folders = fs::read_dir(sandbox.path().join("repository").join(folder)).unwrap();
    let packs = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    packs.map(|pack| pack.unwrap().path()).collect()
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
    damage_at(path, 500_000);
}

fn damage_at(path: &PathBuf, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Damages content of a file that could be read. Which file has a place of a pack is up to the order in
/// which they were read.
fn damage_another(sandbox: &Sandbox) {
    let readable = || {
        let reads = (0..4).map(|n| run(sandbox, &["cat", &format!("latest:/f{n}")]).0 == 0);
        reads.filter(|readable| *readable).count()
    };
    let before = readable();
    for pack in packs_of(sandbox, "data") {
        let len = usize::try_from(fs::metadata(&pack).unwrap().len()).unwrap();
        for place in (100_000..len).step_by(100_000) {
            damage_at(&pack, place);
            if readable() < before {
                return;
            }
            damage_at(&pack, place); // Heals it.
        }
    }
    panic!("no place of a file that can be read");
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
    let (code, _, err) = run(&sandbox, &["restore", "latest", "--to", "out"]);
    assert!(code == 0 && err.contains("healed from its parity"), "{err}");
    assert!(fs::read(&data).unwrap() == good);
    for n in 0..4 {
        let restored = fs::read(sandbox.path().join(format!("out/f{n}"))).unwrap();
        assert!(restored == noise(n, 400_000), "f{n}");
    }
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
    // A higher share is built for what has less, and only once.
    let parsed = |json: &str| -> serde_json::Value { serde_json::from_str(json).unwrap() };
    let higher = parsed(&run(&sandbox, &["parity", "--set", "20%", "--build", "--json"]).1);
    assert_eq!(higher["built"], 1, "the other is so small that a shard is half of it: {higher}");
    let (before, after) = (report["parity_bytes"].as_u64(), higher["parity_bytes"].as_u64());
    assert!(after > before, "{report} {higher}");
    for share in ["20%", "10%"] {
        let again = parsed(&run(&sandbox, &["parity", "--set", share, "--build", "--json"]).1);
        assert_eq!(again["built"], 0, "{again}");
    }
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
    // A loss that a successor names is told by every verification, and fails none.
    let (code, out, err) = run(&sandbox, &["verify", "--read-data"]);
    assert!(code == 0 && out.contains("which successors name"), "{out}{err}");
    let (_, json, _) = run(&sandbox, &["verify", "--json"]);
    let known: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(known["known_count"].as_u64() > Some(0) && known["clean"] == true, "{known}");
    // What the sources still hold is stored again, and everything is whole.
    let (code, _, err) = run(&sandbox, &["ingest", "--force", "-C", "source", "."]);
    assert_eq!(code, 0, "{err}");
    let (code, out, err) = run(&sandbox, &["verify", "--read-data"]);
    assert_eq!(code, 0, "{out}{err}");
}

/// Pages that others are told from are lost for good: once successors say so it is no news, and each
/// command on the way tells the next one.
#[test]
fn a_lost_pack_of_pages_that_others_are_told_from_fails_no_verification_for_ever() {
    let sandbox = world(&[]);
    let mut ingest = 0;
    while ingest < 3 {
        fs::write(sandbox.path().join("source/more"), noise(50 + ingest, 100_000)).unwrap();
        assert_eq!(run(&sandbox, &["ingest", "-C", "source", "."]).0, 0);
        ingest += 1;
    }
    // The first ingest's pages: the later ones are told from them.
    let packs = packs_of(&sandbox, "meta");
    let largest = packs.iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    let mut bytes = fs::read(largest).unwrap();
    let len = bytes.len();
    bytes[70..len - 70].fill(0x55);
    fs::write(largest, bytes).unwrap();
    assert_eq!(run(&sandbox, &["verify", "--read-data"]).0, 4);
    let give_up = "hint: `icecore repair packs --forget` forgets the snapshots";
    let (code, out, err) = run(&sandbox, &["repair", "packs", "--yes"]);
    assert!(code == 4 && err.contains(give_up), "{out}{err}");
    let told = "what is stored is whole; 8 paths are lost, as successors say";
    assert!(err.contains(told), "{out}{err}");
    let (code, out, err) = run(&sandbox, &["verify", "--read-data"]);
    assert!(code == 0 && out.contains("told from losses") && err.contains(give_up), "{out}{err}");
    let (code, _, err) = run(&sandbox, &["prune", "--yes", "--grace", "0"]);
    assert!(code == 4 && err.contains(give_up), "{err}");
    assert_eq!(run(&sandbox, &["repair", "packs", "--yes", "--forget"]).0, 4);
    assert_eq!(run(&sandbox, &["prune", "--yes", "--grace", "0"]).0, 0);
    let (code, out, err) = run(&sandbox, &["verify", "--read-data"]);
    assert!(code == 0 && !err.contains(give_up), "{out}{err}");
}

/// What was not read is not said to be whole.
#[test]
fn a_repair_of_records_does_not_say_that_damaged_packs_are_whole() {
    let sandbox = world(&[]);
    damage(&pack(&sandbox, "data"));
    assert_eq!(run(&sandbox, &["verify", "--read-data"]).0, 4);
    for what in ["snapshots", "index"] {
        let (code, out, err) = run(&sandbox, &["repair", what, "--yes"]);
        assert_eq!(code, 0, "{out}{err}");
        let told = "verified: the structure is sound; data was not read; the ledger knows of 2 \
                    damaged objects: `icecore repair packs`";
        assert!(err.contains(told), "{out}{err}");
    }
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

/// Segments that are lost, with all packs there: all of them, and all but one.
fn without_segments() -> (Vec<Arc<MemoryStorage>>, Vec<(SnapshotId, Entry)>) {
    let (image, trees) = whole();
    let segments: Vec<_> =
        image.keys().filter(|key| matches!(key, ObjectKey::Segment(_))).copied().collect();
    assert!(segments.len() > 1, "{segments:?}");
    let only = |kept: Option<&ObjectKey>| {
        let mut objects = image.clone();
        objects.retain(|key, _| !segments.contains(key) || Some(key) == kept);
        Arc::new(MemoryStorage::from(objects))
    };
    (segments.iter().map(Some).chain([None]).map(only).collect(), trees)
}

#[test]
fn nothing_is_given_up_that_lies_in_packs_which_no_segment_lists() {
    let mut refused = 0;
    let (storages, trees) = without_segments();
    for storage in storages {
        let before = storage.snapshot();
        // One may know all that others do.
        if lost(storage.clone(), &trees).is_empty() {
            continue;
        }
        for forget in [false, true] {
            let err = repair_from(&open(storage.clone(), false).unwrap(), None, forget);
            let err = err.unwrap_err();
            let named = matches!(err, OpError::Repo(RepoError::Unindexed { packs: 1.., .. }));
            assert!(named, "{err}");
            assert!(storage.snapshot() == before, "nothing was written");
        }
        refused += 1;
    }
    assert!(refused > 0);
}

/// Also where the segment goes between the plan and what is done, or where a repair of before took all
/// for lost: what its successors name as lost is there.
#[test]
fn prune_deletes_nothing_where_what_successors_name_lies_in_packs_that_no_segment_lists() {
    let going_on = AtomicBool::new(false);
    let mut refused = 0;
    let (storages, trees) = without_segments();
    for storage in storages {
        if lost(storage.clone(), &trees).is_empty() {
            continue;
        }
        let repo = open(storage.clone(), false).unwrap();
        for (old, _) in &trees {
            let snapshot = repo.read_snapshot(*old).unwrap().unwrap();
            let writer = Writer { host: "h".into(), pid: 1 };
            let session = Session::begin(&repo, writer, snapshot.time).unwrap();
            let trouble = Trouble { path: b"/".to_vec(), what: packs::LOST.into() };
            let successor = |id, added| Snapshot {
                id,
                added,
                parent: Some(*old),
                troubles: vec![trouble],
                troubles_count: 1,
                ..snapshot.clone()
            };
            session.commit(successor).unwrap();
            let by = Marker { host: "h".into(), now: snapshot.time };
            assert!(repo.forget(*old, &by).unwrap());
        }
        let packs_before = repo.all_packs().unwrap();
        let options = PruneOptions { grace: Duration::ZERO, ..PruneOptions::default() };
        let err = prune::plan(&repo, &options, &going_on).unwrap_err();
        assert!(matches!(err, OpError::Repo(RepoError::Unindexed { .. })), "{err}");
        assert_eq!(repo.all_packs().unwrap(), packs_before);
        refused += 1;
    }
    assert!(refused > 0);
}

/// An ingest has stored again what a successor names as lost, and lives, or was killed: no segment
/// lists its packs.
#[test]
fn what_is_stored_again_and_not_listed_yet_is_no_damage_and_is_never_deleted() {
    let going_on = AtomicBool::new(false);
    let (image, trees) = sample();
    let storage = Arc::new(MemoryStorage::from(image));
    let repaired = repair(&open(storage.clone(), false).unwrap()).unwrap();
    assert!(repaired.lost_paths > 0 && repaired.forgotten > 0, "{repaired:?}");
    let before = storage.snapshot();
    ingest(&open(storage.clone(), false).unwrap(), &trees[0].1, 9, true).unwrap();
    ingest(&open(storage.clone(), false).unwrap(), &trees[1].1, 10, true).unwrap();
    let is_pack = |key: &ObjectKey| matches!(key, ObjectKey::Pack(..));
    let mut objects = storage.snapshot();
    objects.retain(|key, _| is_pack(key) || before.contains_key(key));
    assert!(objects.len() > before.len());
    let storage = Arc::new(MemoryStorage::from(objects));
    let repo = open(storage.clone(), false).unwrap();
    let stored_again: Vec<_> =
        repo.unindexed_packs().unwrap().into_iter().map(|pack| pack.id).collect();
    assert_ne!(stored_again, []);
    let verified = || verify::run(&repo, VerifyOptions::default(), &Silent, &going_on).unwrap();
    let pruning = PruneOptions { grace: Duration::ZERO, ..PruneOptions::default() };

    let writer = Writer { host: "elsewhere".into(), pid: 1 };
    let session = Session::begin(&repo, writer, icecore::format::Time { secs: 1, nanos: 0 });
    let report = verified();
    assert!(report.is_clean() && report.returning_chunks > 0, "{report:?}");
    assert_eq!(report.misplaced_chunks, 0);
    let plan = prune::plan(&repo, &pruning, &going_on).unwrap();
    assert!(plan.leaving().all(|(_, id, ..)| !stored_again.contains(&id)), "{plan:?}");
    session.unwrap().abandon();

    let report = verified();
    assert!(report.is_clean() && report.returning_chunks > 0, "{report:?}");
    let err = prune::plan(&repo, &pruning, &going_on).unwrap_err();
    assert!(matches!(err, OpError::Repo(RepoError::Unindexed { .. })), "{err}");
}

/// A snapshot that names a loss may lose more: that is damage until it is named too.
#[test]
fn what_a_successor_loses_later_is_named_before_prune_passes_over_it() {
    for folder in ["data", "meta"] {
        let sandbox = world(&[]);
        let prune = ["prune", "--grace", "0", "--yes"];
        let repair = ["repair", "packs", "--yes"];
        let forget = ["repair", "packs", "--yes", "--forget"];
        let named = || {
            let (_, out, _) = run(&sandbox, &["snapshots", "--json"]);
            let list: serde_json::Value = serde_json::from_str(&out).unwrap();
            let snapshots = list["snapshots"].as_array().unwrap().clone();
            let troubles = snapshots.iter().map(|it| it["troubles_count"].as_u64().unwrap());
            troubles.collect::<Vec<_>>()
        };
        damage(&pack(&sandbox, "data"));
        assert_eq!(run(&sandbox, &forget).0, 4);
        assert_eq!(run(&sandbox, &prune).0, 0);
        assert_eq!((run(&sandbox, &["verify"]).0, named()), (0, vec![1]));

        match folder {
            "data" => damage_another(&sandbox),
            _ => packs_of(&sandbox, "meta").iter().for_each(|lost| fs::remove_file(lost).unwrap()),
        }
        let before = packs_of(&sandbox, "data");
        assert_eq!(run(&sandbox, &["verify", "--read-data"]).0, 4);
        assert_eq!(run(&sandbox, &prune).0 == 0, folder == "data", "nobody read it yet");
        let (code, out, err) = run(&sandbox, &repair);
        assert_eq!((code, named()), (4, vec![1, 2]), "{out}{err}");
        let (code, out, err) = run(&sandbox, &prune);
        assert!(code == 4 && err.contains("repair packs --forget"), "{out}{err}");
        if folder == "meta" {
            assert_eq!(packs_of(&sandbox, "data"), before, "nothing was deleted");
        }
        let (code, out, err) = run(&sandbox, &["verify", "--read-data"]);
        assert_eq!(code, 0, "both losses are named: {out}{err}");
        assert_eq!(run(&sandbox, &forget).0, 4);
        assert_eq!(named(), [2], "the one that named less is forgotten");
        let (code, out, err) = run(&sandbox, &prune);
        assert_eq!(code, 0, "{out}{err}");
        assert_eq!(run(&sandbox, &["verify"]).0, 0);
        assert_eq!(named(), [2], "no repair names anything twice");
    }
}

#[test]
fn a_dry_run_heals_in_memory_and_changes_nothing() {
    let sandbox = world(&["--parity", "20%"]);
    let pages = pack(&sandbox, "meta");
    let mut bytes = fs::read(&pages).unwrap();
    bytes[200] ^= 1;
    let files = |sandbox: &Sandbox| {
        let folders = ["data", "meta", "parity"].map(|folder| packs_of(sandbox, folder));
        let mut all = folders.concat();
        all.sort();
        all.into_iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>()
    };
    fs::write(&pages, bytes).unwrap();
    let before = files(&sandbox);
    for command in [
        &["prune", "--dry-run"][..],
        &["repair", "snapshots", "--dry-run"],
        &["repair", "index", "--dry-run"],
        &["forget", "--keep-last", "1", "--prune", "--dry-run"],
        &["restore", "latest", "--to", "out", "--dry-run"],
        &["ingest", "-C", "source", ".", "--dry-run"],
        &["parity", "--build", "--dry-run"],
    ] {
        let (code, out, err) = run(&sandbox, command);
        assert_eq!(code, 0, "{command:?}: {out}{err}");
        assert!(files(&sandbox) == before, "{command:?} changed something");
    }
    assert_eq!(run(&sandbox, &["ls", "latest"]).0, 0);
    assert!(files(&sandbox) != before, "what is no dry run heals it");
}
