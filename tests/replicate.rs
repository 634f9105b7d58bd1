//! `icecore replicate` as a user runs it: whole copies under any keys, killed and resumed, followed
//! as snapshots appear, and refused with a remedy where it makes no sense.

mod common;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::Sandbox;
use common::compare::{CompareOptions, assert_same};
use common::torture::{self, TortureOptions, random_bytes};
use serde_json::Value;

struct Two {
    sandbox: Sandbox,
    source: PathBuf,
    here: PathBuf,
    there: PathBuf,
}

impl Two {
    fn new(sandbox: Sandbox, init: &[&str]) -> Self {
        let source = sandbox.folder("source");
        let [here, there] = ["here", "there"].map(|name| sandbox.path().join(name));
        sandbox.icecore().arg("init").args(init).arg(&here).assert().success();
        Self { sandbox, source, here, there }
    }

    fn run(&self, repository: &Path, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = self.sandbox.icecore();
        command.arg("-r").arg(repository).args(arguments);
        command
    }

    fn ingest(&self) {
        let mut command = self.run(&self.here, &["ingest", "--quiet", "-C"]);
        command.arg(&self.source).arg(".").assert().success();
    }

    fn replicate(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = self.run(&self.here, &["replicate", "--json", "--to"]);
        command.arg(&self.there).args(arguments);
        command
    }

    fn copied(&self, arguments: &[&str]) -> Value {
        let output = self.replicate(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn snapshots(&self, repository: &Path) -> Vec<Value> {
        let output = self.run(repository, &["snapshots", "--json"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
        listed["snapshots"].as_array().unwrap().clone()
    }

    /// Restores the newest snapshot of the copy and holds it against the source.
    fn assert_restores(&self) {
        let out = tempfile::Builder::new().prefix("restored-").tempdir_in(self.sandbox.path());
        let out = out.unwrap();
        self.run(&self.there, &["restore", "--quiet", "latest", "--to"])
            .arg(out.path())
            .assert()
            .success();
        assert_same(&self.source, out.path(), &CompareOptions::default());
    }
}

fn count(folder: &Path) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        count += if entry.path().is_dir() { count_in(&entry.path()) } else { 1 };
    }
    count
}

fn count_in(folder: &Path) -> usize {
    fs::read_dir(folder).into_iter().flatten().flatten().count()
}

#[test]
fn a_tree_of_everything_is_copied_whole_and_serves_a_repair() {
    let two = Two::new(Sandbox::new(), &[]);
    torture::build(&two.source, &TortureOptions::small());
    two.ingest();
    let done = two.copied(&["--init", "--verify"]);
    assert_eq!(done["copied"].as_array().unwrap().len(), 1);
    assert_eq!((&done["same_ids"], &done["verified"]), (&true.into(), &true.into()));
    two.assert_restores();
    let (first, copy) = (&two.snapshots(&two.here)[0], &two.snapshots(&two.there)[0]);
    assert_eq!(copy["origin"]["snapshot"], first["id"]);
    assert_eq!(first["origin"], Value::Null);
    for field in ["time", "host", "user", "tags", "sources", "totals"] {
        assert_eq!(copy[field], first[field], "{field}");
    }
    two.run(&two.there, &["verify", "--read-data", "--quiet"]).assert().success();
    let again = two.copied(&[]);
    assert_eq!((&again["present"], &again["bytes_stored"]), (&1.into(), &0.into()));
    // One keeps what the other loses: the ids are the same under one master key.
    let pack = first_pack(&two.here);
    fs::remove_file(&pack).unwrap();
    let mut repair = two.run(&two.here, &["repair", "packs", "--yes", "--quiet", "--from"]);
    repair.arg(&two.there).assert().success();
    two.run(&two.here, &["verify", "--read-data", "--quiet"]).assert().success();
}

fn first_pack(repository: &Path) -> PathBuf {
    let folder = fs::read_dir(repository.join("data")).unwrap().flatten();
    let packs = folder.flat_map(|folder| fs::read_dir(folder.path()).unwrap().flatten());
    packs.map(|pack| pack.path()).min().unwrap()
}

#[test]
fn keys_of_its_own_open_the_copy_and_others_do_not() {
    let two = Two::new(Sandbox::plain(), &["--plain"]);
    fs::write(two.source.join("file"), random_bytes(1, 400_000)).unwrap();
    two.ingest();
    let key = two.sandbox.path().join("key");
    fs::write(&key, random_bytes(2, 32)).unwrap();
    let none = two.replicate(&[]).output().unwrap();
    let words = String::from_utf8_lossy(&none.stderr).into_owned();
    assert_eq!(none.status.code(), Some(10), "{words}");
    assert!(words.contains("--init"), "{words}");
    let key = key.to_str().unwrap();
    let done = two.copied(&["--init", "--to-key-file", key]);
    assert_eq!(done["same_ids"], false);
    let shut = two.replicate(&[]).output().unwrap();
    let words = String::from_utf8_lossy(&shut.stderr).into_owned();
    assert_eq!(shut.status.code(), Some(12), "{words}");
    assert!(words.contains("--to-key-file"), "{words}");
    let mut by_environment = two.replicate(&[]);
    by_environment.env("ICECORE_TO_KEY_FILE", key).assert().success();
    let mut restore = two.run(&two.there, &["--key-file", key, "cat", "latest:/file"]);
    assert!(restore.output().unwrap().stdout == random_bytes(1, 400_000));
}

#[test]
fn copies_into_itself_are_refused() {
    let two = Two::new(Sandbox::new(), &[]);
    fs::write(two.source.join("file"), b"content").unwrap();
    two.ingest();
    let moved = two.sandbox.path().join("moved");
    assert!(
        std::process::Command::new("cp")
            .arg("-a")
            .args([&two.here, &moved])
            .status()
            .unwrap()
            .success()
    );
    for (to, why) in [
        (two.here.clone(), "is the repository"),
        (two.here.join("data/inside"), "lies in the repository"),
        (two.sandbox.path().to_owned(), "holds the repository"),
        (moved, "are one repository"),
    ] {
        let mut command = two.run(&two.here, &["replicate", "--init", "--to"]);
        let output = command.arg(&to).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(words.contains(why), "{words}");
    }
    two.run(&two.here, &["verify", "--quiet"]).assert().success();
}

/// `kill -9` in the middle; the moment is chosen by what the destination holds.
#[test]
fn a_killed_copy_goes_on_where_it_was() {
    let two = Two::new(Sandbox::new(), &[]);
    for n in 0..10 {
        fs::write(two.source.join(n.to_string()), random_bytes(n, 40 << 20)).unwrap();
    }
    two.ingest();
    let mut command = two.sandbox.icecore_std();
    command.arg("-r").arg(&two.here).args(["replicate", "--quiet", "--init", "--to"]);
    let mut child = command.arg(&two.there).spawn().unwrap();
    // The first segment names what the first packs hold, once it has its name.
    let segments = || {
        let all = fs::read_dir(two.there.join("index")).into_iter().flatten().flatten();
        all.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count()
    };
    while segments() < 1 {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(two.snapshots(&two.there).len(), 0);
    assert_eq!(count(&two.there.join("snapshots")), 0);
    let done = two.copied(&[]);
    assert_eq!(done["copied"].as_array().unwrap().len(), 1);
    let stored = done["bytes_stored"].as_u64().unwrap();
    assert!(stored < 200 << 20, "{stored} bytes were written again");
    two.assert_restores();
    two.run(&two.there, &["verify", "--read-data", "--quiet"]).assert().success();
    // The reader's pin of the killed process is gone with the next one.
    assert_eq!(count(&two.here.join("pins")), 0);
}

#[test]
fn damage_is_named_by_path_and_the_exit_code_says_it() {
    let two = Two::new(Sandbox::new(), &[]);
    fs::write(two.source.join("hit file"), random_bytes(3, 500_000)).unwrap();
    two.ingest();
    let pack = first_pack(&two.here);
    let mut bytes = fs::read(&pack).unwrap();
    bytes[90_000] ^= 4;
    std::process::Command::new("chmod").arg("u+w").arg(&pack).status().unwrap();
    fs::write(&pack, bytes).unwrap();
    let mut command = two.run(&two.here, &["replicate", "--init", "--to"]);
    let output = command.arg(&two.there).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{words}");
    assert!(words.contains("/hit file") && words.contains("icecore verify"), "{words}");
    let ledger = two.run(&two.there, &["ledger", "--json"]).output().unwrap();
    let record: Value = serde_json::from_slice(&ledger.stdout).unwrap();
    assert_eq!(record["event"], "replicated");
    assert!(record["error"].as_str().unwrap().contains("is damaged"), "{record}");
}

/// A child that is killed however the test ends.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_stays_copies_what_appears_and_ends_at_a_signal() {
    let two = Two::new(Sandbox::new(), &[]);
    fs::write(two.source.join("file"), b"one").unwrap();
    two.ingest();
    let socket = two.sandbox.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut command = two.sandbox.icecore_std();
    command.arg("-r").arg(&two.here).args(["replicate", "--continuous", "--init", "--to"]);
    command.arg(&two.there).env("NOTIFY_SOCKET", &socket).stdout(Stdio::null());
    let mut child = Guard(command.spawn().unwrap());
    let mut said = [0; 1024];
    let len = manager.recv(&mut said).unwrap();
    assert!(said[..len].starts_with(b"READY=1"), "{}", String::from_utf8_lossy(&said[..len]));
    wait_for(&two.there, 1);
    fs::write(two.source.join("file"), b"two").unwrap();
    two.ingest();
    wait_for(&two.there, 2);
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child.0),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    let status = child.0.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(two.snapshots(&two.there).len(), 2);
    two.assert_restores();
    assert_eq!(count(&two.there.join("sessions")), 0);
}

/// Until a repository has so many snapshots.
fn wait_for(repository: &Path, snapshots: usize) {
    let until = Instant::now() + Duration::from_secs(60);
    while count(&repository.join("snapshots")) < snapshots {
        assert!(Instant::now() < until, "no snapshot {snapshots} in a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}
