//! As a service of systemd: it is told what goes on, hands over the key, and gets a unit to read.

mod common;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use common::{Mounted, PASSPHRASE, Sandbox};

fn prepared(sandbox: &Sandbox) -> PathBuf {
    fs::write(sandbox.folder("source").join("file"), "content").unwrap();
    sandbox.icecore().args(["init", "-q", "repository"]).assert().success();
    let ingest = ["-r", "repository", "ingest", "-q", "-C", "source", "."];
    sandbox.icecore().args(ingest).assert().success();
    let credentials = sandbox.folder("credentials");
    fs::write(credentials.join("icecore.passphrase"), PASSPHRASE).unwrap();
    sandbox.folder("point")
}

/// `icecore` as systemd would run it: the key is a credential, and a socket takes messages.
fn service(sandbox: &Sandbox) -> Command {
    let mut command = sandbox.icecore_std();
    command.env_remove("ICECORE_PASSPHRASE").arg("-r").arg(sandbox.path().join("repository"));
    command.env("CREDENTIALS_DIRECTORY", sandbox.path().join("credentials"));
    command.env("NOTIFY_SOCKET", sandbox.path().join("notify"));
    command
}

/// What stands in for systemd. It fails where nothing comes for a minute.
fn manager(sandbox: &Sandbox) -> UnixDatagram {
    let socket = UnixDatagram::bind(sandbox.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket
}

fn told(manager: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let len = manager.recv(&mut bytes).expect("a message");
    String::from_utf8(bytes[..len].to_vec()).unwrap()
}

fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

#[test]
fn systemd_is_told_when_it_is_ready_and_what_it_waits_for() {
    let sandbox = Sandbox::new();
    let point = prepared(&sandbox);
    let manager = manager(&sandbox);
    let mut child = service(&sandbox).args(["mount", "-q", "-f", "point"]).spawn().unwrap();
    let guard = Mounted::adopt(point.clone());
    let ready = told(&manager);
    let serving = format!("serving {}/repository on {}", sandbox.path().display(), point.display());
    assert_eq!(ready, format!("READY=1\nSTATUS={serving}\n"));
    let reader = fs::File::open(point.join("latest/file")).unwrap();
    terminate(&child);
    assert_eq!(told(&manager), "STOPPING=1\nSTATUS=unmounting\n");
    let waits = told(&manager);
    let by = format!("STATUS={} is in use by process {} (", point.display(), std::process::id());
    assert!(waits.starts_with(&by), "{waits}");
    assert_eq!(std::io::read_to_string(&reader).unwrap(), "content");
    drop(reader);
    assert_eq!(told(&manager), "STOPPING=1\nSTATUS=unmounted\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!point.join("latest").exists());
    drop(guard);
}

#[test]
fn a_background_process_does_not_speak_for_the_service() {
    let sandbox = Sandbox::new();
    let point = prepared(&sandbox);
    let manager = manager(&sandbox);
    let status = service(&sandbox).args(["mount", "-q", "point"]).status().unwrap();
    let guard = Mounted::adopt(point.clone());
    assert!(status.success());
    assert_eq!(fs::read_to_string(point.join("latest/file")).unwrap(), "content");
    guard.unmount();
    manager.set_nonblocking(true).unwrap();
    let nothing = manager.recv(&mut [0; 16]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn credentials_are_keys_for_every_command() {
    let sandbox = Sandbox::new();
    prepared(&sandbox);
    let code = |command: &mut Command| command.output().unwrap().status.code();
    assert_eq!(code(service(&sandbox).arg("snapshots")), Some(0));
    let mut wrong = service(&sandbox);
    assert_eq!(code(wrong.arg("snapshots").env("ICECORE_PASSPHRASE", "wrong")), Some(12));

    let credentials = sandbox.path().join("credentials");
    fs::write(sandbox.path().join("key"), [b'k'; 32]).unwrap();
    let add = ["-r", "repository", "key", "add", "-q", "--new-key-file", "key"];
    sandbox.icecore().args(add).assert().success();
    fs::remove_file(credentials.join("icecore.passphrase")).unwrap();
    assert_eq!(code(service(&sandbox).arg("snapshots")), Some(12), "no key at all");
    fs::copy(sandbox.path().join("key"), credentials.join("icecore.key")).unwrap();
    assert_eq!(code(service(&sandbox).arg("snapshots")), Some(0));
}

/// The values of a key in a unit.
fn values<'u>(unit: &'u str, key: &str) -> Vec<&'u str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(name, _)| *name == key).map(|(_, value)| value).collect()
}

#[test]
fn the_unit_that_is_printed_does_what_it_says() {
    let sandbox = Sandbox::new();
    let point = prepared(&sandbox);
    let mut print = sandbox.icecore();
    let args = ["-r", "repository", "--passphrase-file", "pass word", "mount", "--print-unit"];
    let output = print.args(args).args(["--snapshot", "latest", "point"]).output().unwrap();
    let unit = String::from_utf8(output.stdout).unwrap();
    let here = |name: &str| sandbox.path().join(name).display().to_string();
    assert_eq!(values(&unit, "Type"), ["notify"]);
    let requires = format!("{} {}", here("repository"), here("point"));
    assert_eq!(values(&unit, "RequiresMountsFor"), [requires]);
    let credential = format!("icecore.passphrase:\"{}\"", here("pass word"));
    assert_eq!(values(&unit, "LoadCredential"), [credential]);
    assert!(!point.join("file").exists(), "nothing is mounted");

    let manager = manager(&sandbox);
    let [start] = values(&unit, "ExecStart")[..] else { panic!("{unit}") };
    let run = |line: &str| {
        let mut words = line.split(' ');
        let mut command = Command::new(words.next().unwrap());
        command.args(words).current_dir("/").env_clear();
        command.env("PATH", std::env::var("PATH").unwrap());
        command.env("CREDENTIALS_DIRECTORY", here("credentials"));
        command.env("NOTIFY_SOCKET", here("notify"));
        command
    };
    assert!(Path::new(start.split(' ').next().unwrap()).is_absolute());
    let mut child = run(start).spawn().unwrap();
    let guard = Mounted::adopt(point.clone());
    assert!(told(&manager).starts_with("READY=1\n"));
    assert_eq!(fs::read_to_string(point.join("file")).unwrap(), "content");
    let [stop] = values(&unit, "ExecStop")[..] else { panic!("{unit}") };
    assert!(run(stop).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let [after] = values(&unit, "ExecStopPost")[..] else { panic!("{unit}") };
    let after = run(after.strip_prefix('-').unwrap()).status().unwrap();
    assert_eq!(after.code(), Some(1), "nothing is left to take off");
    drop(guard);
}
