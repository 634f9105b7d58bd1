//! `icecore mount` and `umount` as commands: what they say, and with which exit code.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

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
