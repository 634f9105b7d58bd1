//! Real processes at one repository: four writers, prunes one after the other, a forgetter, and a
//! reader that compares every byte with its file's hash. No read may be corrupt, no chunk of a
//! snapshot that nobody forgot may be missing, and no ingest may fail.
//!
//! `ICECORE_THRASH` is how many seconds it goes on: 20 unless given, 120 in CI, hours by hand.

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::Sandbox;
use common::torture::{random_bytes, text_bytes};
use icecore::format::{Body, Forgotten, FrameKind, ObjectKey, Seal, SnapshotId, Time, frame};
use icecore::repo::{NodeRef, OpenOptions, RepoError, Repository};
use icecore::storage::{LocalStorage, Storage};

const WRITERS: u64 = 4;
/// Snapshots that nobody forgets yet.
const KEPT: usize = 6;
/// Of sessions; a prune waits for longer.
const TIMEOUT: &str = "4s";
const PRUNER_TIMEOUT: &str = "5s";

struct Thrash {
    sandbox: Sandbox,
    repository: PathBuf,
    stop: AtomicBool,
    ingests: AtomicU64,
    prunes: AtomicU64,
    killed: AtomicU64,
    files_read: AtomicU64,
}

fn duration() -> Duration {
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let secs = std::env::var("ICECORE_THRASH").ok().map(|text| text.parse().expect("seconds"));
    Duration::from_secs(secs.unwrap_or(if ci { 120 } else { 20 }))
}

impl Thrash {
    fn new() -> Self {
        let sandbox = Sandbox::plain();
        let repository = sandbox.path().join("repository");
        let mut init = sandbox.icecore();
        init.arg("init").arg("--plain").arg(&repository).assert().success();
        let zero = || AtomicU64::new(0);
        Self {
            sandbox,
            repository,
            stop: AtomicBool::new(false),
            ingests: zero(),
            prunes: zero(),
            killed: zero(),
            files_read: zero(),
        }
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    fn storage(&self) -> LocalStorage {
        LocalStorage::open(&self.repository).unwrap()
    }

    fn open(&self) -> Repository {
        let options = OpenOptions { block_cache_bytes: 1 << 20, ..OpenOptions::default() };
        Repository::open(Arc::new(self.storage()), None, &options).unwrap()
    }

    /// Changes a tree and ingests it, again and again; content comes back, so that old packs are
    /// wanted again.
    fn write(&self, writer: u64) {
        let source = self.sandbox.folder(&format!("source-{writer}"));
        let mut round = 0;
        while self.goes_on() {
            for n in 0..6 {
                let seed = (round * 7 + n * 3 + writer) % 20;
                let bytes = match n % 2 {
                    0 => random_bytes(seed, 150_000),
                    _ => text_bytes(seed, 60_000),
                };
                fs::write(source.join(format!("file-{n}")), bytes).unwrap();
            }
            let mut command = self.sandbox.icecore_std();
            command.arg("-r").arg(&self.repository).args(["ingest", "--quiet", "--threads", "1"]);
            command.args(["--session-timeout", TIMEOUT, "--host", &format!("w{writer}"), "-C"]);
            let mut child = command.arg(&source).arg(".").spawn().unwrap();
            if round % 5 == 4 {
                std::thread::sleep(Duration::from_millis(20 * (round % 7)));
                let _ = child.kill();
                child.wait().unwrap();
                self.killed.fetch_add(1, Ordering::SeqCst);
            } else {
                let status = child.wait().unwrap();
                assert!(status.success(), "writer {writer}, round {round}: {status}");
                self.ingests.fetch_add(1, Ordering::SeqCst);
            }
            round += 1;
        }
    }

    fn prune(&self) {
        while self.goes_on() {
            let mut command = self.sandbox.icecore_std();
            command.arg("-r").arg(&self.repository).args(["prune", "--yes", "--quiet"]);
            command.args(["--grace", "1s", "--max-unused", "0", "--session-timeout"]);
            let mut child = command.arg(PRUNER_TIMEOUT).spawn().unwrap();
            let kill = self.prunes.load(Ordering::SeqCst) % 4 == 3;
            if kill {
                std::thread::sleep(Duration::from_millis(700));
                let _ = child.kill();
            }
            let status = child.wait().unwrap();
            assert!(kill || status.success(), "prune: {status}");
            self.prunes.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Marks all but the newest snapshots.
    fn forget(&self) {
        let (repo, storage) = (self.open(), self.storage());
        while self.goes_on() {
            let mut list = repo.snapshots().unwrap().snapshots;
            list.truncate(list.len().saturating_sub(KEPT));
            for snapshot in list {
                forget(&repo, &storage, snapshot.id);
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Reads snapshots that nobody forgot, by one repository that stays open.
    fn read(&self) {
        let repo = self.open();
        let mut turn = 0;
        while self.goes_on() {
            let forgotten = repo.forgotten().unwrap();
            let mut list = repo.snapshots().unwrap();
            assert!(list.damaged.is_empty(), "{:?}", list.damaged);
            list.snapshots.retain(|snapshot| !forgotten.contains(&snapshot.id));
            if list.snapshots.is_empty() {
                continue;
            }
            turn += 1;
            let snapshot = &list.snapshots[turn % list.snapshots.len()];
            if let Err(err) = self.read_all(&repo, &Repository::root(snapshot)) {
                let forgotten = repo.forgotten().unwrap().contains(&snapshot.id)
                    || !repo.snapshot_ids().unwrap().contains(&snapshot.id);
                assert!(forgotten, "snapshot {} lost something: {err}", snapshot.id);
            }
        }
    }

    fn read_all(&self, repo: &Repository, node: &NodeRef) -> Result<(), RepoError> {
        match &node.body {
            Body::Directory { page, .. } => {
                for entry in repo.entries(*page) {
                    self.read_all(repo, &entry?)?;
                }
            }
            Body::File(file) => {
                let mut bytes = vec![0; file.size as usize];
                assert_eq!(repo.read_at(file, 0, &mut bytes)?, bytes.len());
                let hash = blake3::hash(&bytes);
                assert_eq!(Some(*hash.as_bytes()), file.hash, "wrong bytes came out");
                self.files_read.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
        Ok(())
    }
}

fn forget(repo: &Repository, storage: &dyn Storage, id: SnapshotId) {
    let repository = repo.config().repository;
    let mark = Forgotten { repository, snapshot: id, at: Time::default(), host: "h".into() };
    let bytes = frame::encode(FrameKind::Forgotten, Seal::Plain, &mark.encode());
    if let Err(err) = storage.put_new(&ObjectKey::Forgotten(id), &bytes) {
        assert!(err.is_already_exists(), "{err}");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "how much it did")]
fn nothing_is_lost_while_all_write_read_forget_and_prune() {
    let thrash = Thrash::new();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for writer in 0..WRITERS {
            let thrash = &thrash;
            threads.push(scope.spawn(move || thrash.write(writer)));
        }
        threads.push(scope.spawn(|| thrash.prune()));
        threads.push(scope.spawn(|| thrash.forget()));
        threads.push(scope.spawn(|| thrash.read()));
        while started.elapsed() < duration() && threads.iter().all(|thread| !thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(50));
        }
        thrash.stop.store(true, Ordering::SeqCst);
    });
    let counts = [&thrash.ingests, &thrash.prunes, &thrash.killed, &thrash.files_read];
    let [ingests, prunes, killed, files] = counts.map(|count| count.load(Ordering::SeqCst));
    println!("{ingests} ingests, {killed} killed, {prunes} prunes, {files} files read");
    assert!(ingests >= WRITERS && prunes >= 2 && files >= 10);
    for _ in 0..2 {
        let mut prune = thrash.sandbox.icecore();
        prune.arg("-r").arg(&thrash.repository).args(["prune", "--yes", "--grace", "0"]);
        prune.args(["--session-timeout", PRUNER_TIMEOUT]).assert().success();
    }
    let mut verify = thrash.sandbox.icecore();
    verify.arg("-r").arg(&thrash.repository).args(["verify", "--read-data"]).assert().success();
    let repo = thrash.open();
    let list = repo.snapshots().unwrap().snapshots;
    assert!(list.len() <= KEPT + 8 * WRITERS as usize, "{} snapshots", list.len());
    for snapshot in &list {
        thrash.read_all(&repo, &Repository::root(snapshot)).unwrap();
    }
    let (open, ended) = repo.sessions().unwrap();
    assert_eq!((open.len(), ended.len()), (0, 0), "no dead session is left");
}
