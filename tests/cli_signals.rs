//! SIGINT and SIGTERM end every command with the same word and exit code, whatever it waits for.
//!
//! The moment is chosen by what the process shows (its threads' names, objects that appear), not by
//! the clock; each command waits for minutes unless it heeds the signal.

mod common;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::Sandbox;
use common::torture::random_bytes;
use rustix::process::{Pid, Signal, kill_process};

/// A slow machine needs a few seconds; a command that does not heed signals needs minutes.
const PATIENCE: Duration = Duration::from_secs(20);

fn prepared() -> Sandbox {
    let sandbox = Sandbox::plain();
    let source = sandbox.folder("source");
    for n in 0..40 {
        fs::create_dir(source.join(format!("d{n}"))).unwrap();
        fs::write(source.join(format!("d{n}/file")), random_bytes(n, 30_000)).unwrap();
    }
    sandbox.icecore().args(["init", "--plain", "repository"]).assert().success();
    sandbox
        .icecore()
        .args(["-r", "repository", "ingest", "-q", "-C", "source", "."])
        .assert()
        .success();
    sandbox
}

fn start(sandbox: &Sandbox, arguments: &[&str]) -> Child {
    let mut command = sandbox.icecore_std();
    command.args(["-r", "repository"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Whether the process takes both signals now, as the kernel tells.
fn takes_signals(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let bit = |signal: Signal| 1 << (signal.as_raw() - 1);
    mask & bit(Signal::INT) != 0 && mask & bit(Signal::TERM) != 0
}

#[track_caller]
fn ends_by(mut child: Child, signal: Signal, said: &str) {
    let started = Instant::now();
    while !takes_signals(&child) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it took signals");
        assert!(started.elapsed() < PATIENCE, "it takes no signals");
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), signal).unwrap();
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() >= PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it goes on");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(status.code(), Some(130), "{text}");
    assert_eq!(text, said);
}

const INTERRUPTED: &str = "icecore: interrupted\n";

#[test]
fn opening_and_reading_slowly_end_at_once() {
    let sandbox = prepared();
    // The index alone takes a minute at that rate.
    let slowly = |arguments: &[&str]| {
        start(&sandbox, &[&["--no-cache", "--limit-download", "20"], arguments].concat())
    };
    for arguments in [
        &["ls", "-R", "latest"][..],
        &["snapshots"],
        &["cat", "latest:/d1/file"],
        &["find", "*"],
        &["stats"],
        &["verify"],
        &["restore", "latest", "--to", "restored"],
        &["ingest", "-q", "source"],
        &["key", "list"],
        &["mount", "--foreground", "home"],
    ] {
        ends_by(slowly(arguments), Signal::TERM, INTERRUPTED);
    }
    ends_by(slowly(&["ls"]), Signal::INT, INTERRUPTED);
    let json = start(&sandbox, &["--no-cache", "--limit-download", "20", "--json", "ls"]);
    let said = r#"{"error":{"exit_code":130,"hint":null,"message":"interrupted"},"schema":1}"#;
    ends_by(json, Signal::TERM, &format!("{said}\n"));
}

#[test]
fn an_opened_repository_that_is_read_slowly_lets_go() {
    let sandbox = prepared();
    // With the cached index opening takes a few hundred bytes; the pages take minutes.
    for arguments in [
        &["ls", "-R", "latest"][..],
        &["find", "*"],
        &["stats"],
        &["verify", "--read-data"],
        &["restore", "latest", "--to", "restored"],
    ] {
        let child = start(&sandbox, &[&["--limit-download", "400"], arguments].concat());
        ends_by(child, Signal::TERM, INTERRUPTED);
    }
}

/// Nothing ever comes through the pipe, and the command ends when it is told to.
#[test]
fn a_silent_pipe_is_given_up() {
    let sandbox = prepared();
    let mut command = sandbox.icecore_std();
    command.args(["-r", "repository", "ingest", "-q", "--stdin", "stream"]);
    let child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let sessions = sandbox.path().join("repository/sessions");
    let began = || fs::read_dir(&sessions).is_ok_and(|mut beats| beats.next().is_some());
    ends_once(began, child);
    let pid = sandbox.path().join("pid");
    for script in ["echo $$ > pid; exec sleep 1000", "echo $$ > pid; exec sleep 1000 >&2"] {
        let ingest = ["ingest", "-q", "--command", "stream", "--", "sh", "-c", script];
        let written = || fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'));
        ends_once(|| began() && written(), start(&sandbox, &ingest));
        let number = fs::read_to_string(&pid).unwrap();
        let process = Path::new("/proc").join(number.trim());
        assert!(!process.exists(), "{script} goes on");
        fs::remove_file(&pid).unwrap();
    }
}

/// Sends the signal at a moment that the test knows.
fn ends_once(began: impl Fn() -> bool, mut child: Child) {
    while !began() {
        assert!(child.try_wait().unwrap().is_none(), "it ended early");
        std::thread::yield_now();
    }
    ends_by(child, Signal::TERM, INTERRUPTED);
}
