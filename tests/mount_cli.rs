//! `icecore mount` and `umount` as commands: what they say, and with which exit code.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use common::torture::random_bytes;
use common::{Mounted, Sandbox, require_fuse};

fn prepared(sandbox: &Sandbox) -> PathBuf {
    require_fuse();
    fs::write(sandbox.folder("source").join("file"), "content").unwrap();
    sandbox.icecore().args(["init", "-q", "repository"]).assert().success();
    let ingest = ["-r", "repository", "ingest", "-q", "-C", "source", "."];
    sandbox.icecore().args(ingest).assert().success();
    sandbox.folder("point")
}

#[test]
fn mount_returns_when_ready_and_umount_takes_it_off() {
    let sandbox = Sandbox::new();
    let point = prepared(&sandbox);
    let mount = || {
        let mut command = sandbox.icecore();
        command.args(["-r", "repository", "mount", "point", "--json"]);
        command
    };
    let output = mount().output().unwrap();
    let guard = Mounted::adopt(point.clone());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["schema"], 1);
    assert_eq!(report["mountpoint"], point.to_str().unwrap());
    assert_eq!(fs::read_to_string(point.join("latest/file")).unwrap(), "content");
    mount().assert().code(11);

    let umount = || sandbox.icecore().args(["umount", "point"]).output().unwrap();
    assert!(umount().status.success());
    assert_eq!(umount().status.code(), Some(1), "nothing is mounted any more");
    drop(guard);
}

/// Who reads through a mount gets the right bytes, and the pack is right again.
#[test]
fn damage_heals_while_it_is_read_through_a_mount() {
    let sandbox = Sandbox::plain();
    let source = sandbox.folder("source");
    for n in 0..3 {
        fs::write(source.join(format!("f{n}")), random_bytes(n, 400_000)).unwrap();
    }
    let icecore = |arguments: &[&str]| {
        sandbox.icecore().args(["-r", "repository", "-q"]).args(arguments).assert().success();
    };
    icecore(&["init", "--plain", "--parity", "5%"]);
    icecore(&["ingest", "-C", "source", "."]);
    let mut pack = sandbox.path().join("repository/data");
    while pack.is_dir() {
        pack = fs::read_dir(&pack).unwrap().next().unwrap().unwrap().path();
    }
    let good = fs::read(&pack).unwrap();
    let mut bytes = good.clone();
    bytes[500_000] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let mounted = sandbox.mount(&sandbox.path().join("repository"), &[] as &[&str]);
    for n in 0..3 {
        let read = fs::read(mounted.latest().join(format!("f{n}"))).unwrap();
        assert!(read == random_bytes(n, 400_000), "f{n}");
    }
    assert!(fs::read(&pack).unwrap() == good, "the pack is written anew");
    drop(mounted);
    icecore(&["verify", "--read-data", "--no-heal"]);
}

#[test]
fn failures_of_the_background_process_are_those_of_the_command() {
    let sandbox = Sandbox::new();
    prepared(&sandbox);
    let mount = |point: &str| {
        let mut command = sandbox.icecore();
        command.args(["-r", "repository", "mount", point]);
        command
    };
    mount("point").env("ICECORE_PASSPHRASE", "wrong").assert().code(12).stdout("");
    mount("none").assert().code(1).stdout("");
    mount("repository").assert().code(1).stdout("");
    sandbox.icecore().args(["-r", "none", "mount", "point"]).assert().code(10).stdout("");
}

#[test]
fn signals_unmount_in_the_background() {
    let sandbox = Sandbox::new();
    let point = prepared(&sandbox);
    let mut mount = sandbox.icecore();
    let output = mount.args(["-r", "repository", "mount", "point", "--json"]).output().unwrap();
    let guard = Mounted::adopt(point.clone());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let pid = i32::try_from(report["pid"].as_i64().unwrap()).unwrap();
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(command.starts_with(b"icecore\0-r\0"), "{}", String::from_utf8_lossy(&command));
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let reader = fs::File::open(point.join("latest/file")).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(std::io::read_to_string(&reader).unwrap(), "content", "who reads is waited for");
    drop(reader);
    let start = std::time::Instant::now();
    while rustix::process::test_kill_process(pid).is_ok() {
        assert!(start.elapsed().as_secs() < 60, "it ends by itself");
        std::thread::yield_now();
    }
    assert!(!point.join("latest").exists());
    drop(guard);
}

#[test]
fn signals_unmount_in_the_foreground() {
    let sandbox = Sandbox::new();
    let point = prepared(&sandbox);
    let mut command = sandbox.icecore_std();
    let mount = ["-r", "repository", "mount", "--foreground", "point"];
    let mut child = command.args(mount).stdout(Stdio::piped()).spawn().unwrap();
    let guard = Mounted::adopt(point.clone());
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    assert_eq!(line, format!("mounted on {}\n", point.display()));
    assert!(point.join("latest/file").exists());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!point.join("latest").exists());
    drop(guard);
}

#[test]
fn a_lost_pack_is_one_line_in_the_log() {
    let sandbox = Sandbox::new();
    let point = prepared(&sandbox);
    for n in 0..20 {
        fs::write(sandbox.path().join(format!("source/{n}")), random_bytes(n, 100_000)).unwrap();
    }
    let ingest = ["-r", "repository", "ingest", "-q", "-C", "source", "."];
    sandbox.icecore().args(ingest).assert().success();
    let data = sandbox.path().join("repository/data");
    let folders = fs::read_dir(data).unwrap().map(|folder| folder.unwrap().path());
    let mut packs = folders.flat_map(|folder| fs::read_dir(folder).unwrap());
    let pack = packs.next().unwrap().unwrap();
    assert!(packs.next().is_none(), "one pack holds it all");
    fs::remove_file(pack.path()).unwrap();
    let mount = ["-r", "repository", "mount", "--log", "log", "point"];
    sandbox.icecore().args(mount).assert().success();
    let guard = Mounted::adopt(point.clone());
    for n in 0..20 {
        fs::read(point.join(format!("latest/{n}"))).unwrap_err();
    }
    guard.unmount();
    let log = fs::read_to_string(sandbox.path().join("log")).unwrap();
    let id = pack.file_name();
    assert_eq!(log.matches(id.to_str().unwrap()).count(), 1, "{log}");
}

#[test]
fn a_signal_ends_a_mount_that_is_still_opening_and_its_background_process() {
    let sandbox = Sandbox::new();
    let point = prepared(&sandbox);
    let mut command = sandbox.icecore_std();
    // At that rate the index alone takes a minute.
    command.args(["-r", "repository", "--no-cache", "--limit-download", "20", "mount", "point"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let background = loop {
        let list = fs::read_to_string(&children).unwrap_or_default();
        if let Some(pid) = list.split_whitespace().next() {
            break PathBuf::from(format!("/proc/{pid}"));
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended early");
        std::thread::yield_now();
    };
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.as_str()), (Some(130), "icecore: interrupted\n"));
    assert!(!background.exists(), "the background process goes on");
    assert_eq!(fs::read_dir(point).unwrap().count(), 0, "something is mounted");
}
