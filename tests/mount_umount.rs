//! `icecore umount`: who uses a mount is waited for, named, or outlived.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Mounted, Sandbox, require_root, run_ok};
use serde_json::Value;

/// A mounted snapshot of a folder with a file and a program.
fn mounted(sandbox: &Sandbox) -> Mounted {
    let source = sandbox.folder("source");
    fs::create_dir(source.join("folder")).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    fs::copy("/bin/sleep", source.join("sleep")).unwrap();
    fs::set_permissions(source.join("sleep"), PermissionsExt::from_mode(0o755)).unwrap();
    sandbox.icecore().args(["init", "-q", "repository"]).assert().success();
    let ingest = ["-r", "repository", "ingest", "-q", "-C", "source", "."];
    sandbox.icecore().args(ingest).assert().success();
    sandbox.mount(&sandbox.path().join("repository"), &[""; 0])
}

/// Ends with the test.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    fn end(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn umount(sandbox: &Sandbox, point: &Path, options: &[&str]) -> (Option<i32>, String) {
    let output = sandbox.icecore().arg("umount").args(options).arg(point).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Each use of a process: how, and the path below the mountpoint.
fn uses(error: &Value, point: &Path, pid: u32) -> Vec<(String, PathBuf)> {
    let users = error["users"].as_array().unwrap();
    let user = users.iter().find(|user| user["pid"] == pid).expect("it is named");
    assert_eq!(user["user"], "root");
    assert_eq!(user["command"], "sleep");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let found = user["uses"].as_array().unwrap().iter();
    let below = |path: &str| Path::new(path).strip_prefix(point).unwrap().to_owned();
    found.map(|use_| (text(&use_["how"]), below(&text(&use_["path"])))).collect()
}

#[test]
fn who_uses_it_is_named_with_what_it_holds() {
    require_root();
    let sandbox = Sandbox::new();
    let mount = mounted(&sandbox);
    let latest = mount.latest().canonicalize().unwrap();
    let inside =
        Process::start(Command::new("sleep").arg("600").current_dir(latest.join("folder")));
    let open = fs::File::open(latest.join("file")).unwrap();
    let reader = Process::start(Command::new("sleep").arg("600").stdin(open));
    let program = Process::start(Command::new(latest.join("sleep")).arg("600"));
    // It runs what it is to run once the kernel has replaced the program that started it.
    let comm = format!("/proc/{}/comm", program.0.id());
    while fs::read_to_string(&comm).unwrap() != "sleep\n" {
        std::thread::yield_now();
    }

    let (code, said) = umount(&sandbox, mount.path(), &["--wait", "0", "--json"]);
    assert_eq!(code, Some(11), "{said}");
    let error = &serde_json::from_str::<Value>(&said).unwrap()["error"];
    let below = latest.strip_prefix(mount.path()).unwrap();
    let one = |how: &str, name: &str| vec![(how.to_owned(), below.join(name))];
    assert_eq!(uses(error, mount.path(), inside.0.id()), one("directory", "folder"));
    assert_eq!(uses(error, mount.path(), reader.0.id()), one("open", "file"));
    assert_eq!(uses(error, mount.path(), program.0.id()), one("program", "sleep"));
    assert_eq!(error["users"].as_array().unwrap().len(), 3);
    assert_eq!(error["others_unseen"], false);

    let (code, said) = umount(&sandbox, mount.path(), &["--wait", "0"]);
    assert_eq!(code, Some(11));
    for (process, does) in [(&inside, "works in"), (&reader, "has"), (&program, "runs")] {
        let line = format!("  {} sleep of root: {does} ", process.0.id());
        assert!(said.contains(&line), "{line} in {said}");
    }
    assert!(said.contains(" is in use by process "), "{said}");
    assert!(said.contains("\n  hint: --wait gives them longer; --lazy "), "{said}");
    [inside, reader, program].into_iter().for_each(Process::end);
    assert_eq!(umount(&sandbox, mount.path(), &[]), (Some(0), String::new()));
}

#[test]
fn what_is_mounted_below_is_named() {
    require_root();
    let sandbox = Sandbox::new();
    let mount = mounted(&sandbox);
    let below = mount.latest().canonicalize().unwrap().join("folder");
    let point = below.to_str().unwrap();
    run_ok("mount", &["-t", "tmpfs", "tmpfs", point]);
    let (code, said) = umount(&sandbox, mount.path(), &["--wait", "0"]);
    run_ok("umount", &[point]);
    assert_eq!(code, Some(11));
    assert!(said.contains(&format!(" is in use by the mount on {point}\n")), "{said}");
}

#[test]
fn readers_are_waited_for() {
    let sandbox = Sandbox::new();
    let mount = mounted(&sandbox);
    let reader = Process::start(Command::new("sleep").arg("600").current_dir(mount.path()));
    let mut waits = sandbox.icecore_std();
    waits.args(["umount", "--wait", "10min"]).arg(mount.path()).stderr(Stdio::piped());
    let mut waits = waits.spawn().unwrap();
    let mut said = std::io::BufReader::new(waits.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    assert!(line.ends_with(" is in use, waiting up to 10 min 00 s\n"), "{line}");
    assert!(mount.latest().join("file").exists(), "it is still there");
    assert!(waits.try_wait().unwrap().is_none());
    reader.end();
    assert_eq!(waits.wait().unwrap().code(), Some(0));
    assert!(!mount.latest().exists());
}

#[test]
fn after_the_wait_lazy_takes_it_off() {
    let sandbox = Sandbox::new();
    let mount = mounted(&sandbox);
    let open = fs::File::open(mount.latest().join("file")).unwrap();
    let (code, said) = umount(&sandbox, mount.path(), &["--wait", "50ms", "--lazy", "-q"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(!mount.latest().exists());
    assert_eq!(std::io::read_to_string(open).unwrap(), "content", "and serves who has it open");
}

#[test]
fn force_fails_who_has_it_open() {
    let sandbox = Sandbox::new();
    let mount = mounted(&sandbox);
    let mut open = fs::File::open(mount.latest().join("sleep")).unwrap();
    assert_eq!(umount(&sandbox, mount.path(), &["--force"]), (Some(0), String::new()));
    assert!(!mount.latest().exists());
    let failed = std::io::copy(&mut open, &mut std::io::sink()).unwrap_err();
    assert!(matches!(failed.raw_os_error(), Some(libc::ENOTCONN | libc::ECONNABORTED)), "{failed}");
}

/// The process that serves a mount: its command line ends with the mountpoint.
fn serving(point: &Path) -> String {
    let end = format!("\0--\0{}\0", point.display());
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let serves = |process: &PathBuf| {
        fs::read(process.join("cmdline")).is_ok_and(|line| line.ends_with(end.as_bytes()))
    };
    let found = processes.into_iter().find(serves).expect("a process that serves");
    found.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_mount_whose_process_died_is_taken_off() {
    let sandbox = Sandbox::new();
    let mount = mounted(&sandbox);
    let reader = Process::start(Command::new("sleep").arg("600").current_dir(mount.path()));
    run_ok("kill", &["-KILL", &serving(mount.path())]);
    while fs::metadata(mount.path()).is_ok() {
        std::thread::yield_now();
    }
    let (code, said) = umount(&sandbox, mount.path(), &["--wait", "0", "--json"]);
    assert_eq!(code, Some(11), "{said}");
    let error = &serde_json::from_str::<Value>(&said).unwrap()["error"];
    assert_eq!(error["users"][0]["pid"], reader.0.id(), "nobody answers, and still it is told");
    reader.end();
    assert_eq!(umount(&sandbox, mount.path(), &[]), (Some(0), String::new()));
}

#[test]
fn the_next_mount_takes_off_what_a_killed_one_left() {
    let sandbox = Sandbox::new();
    let mount = mounted(&sandbox);
    let reader = Process::start(Command::new("sleep").arg("600").current_dir(mount.path()));
    run_ok("kill", &["-KILL", &serving(mount.path())]);
    while fs::metadata(mount.path()).is_ok() {
        std::thread::yield_now();
    }
    let again = sandbox.icecore().args(["-r", "repository", "mount"]).arg(mount.path()).output();
    let said = String::from_utf8(again.unwrap().stderr).unwrap();
    assert!(
        said.contains("held a mount whose process had been killed; it was taken off"),
        "{said}"
    );
    assert_eq!(fs::read(mount.latest().join("file")).unwrap(), b"content");
    reader.end();
    assert_eq!(umount(&sandbox, mount.path(), &[]), (Some(0), String::new()));
}

/// Small files, so that most of what is read is given to the kernel unasked, by a thread that the
/// kernel may hold when the process is killed.
#[test]
fn readers_end_when_a_mount_that_was_killed_is_taken_off() {
    let sandbox = Sandbox::new();
    let source = sandbox.folder("source");
    for file in 0..4000 {
        let folder = source.join((file / 200).to_string());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file.to_string()), vec![file as u8; 1500]).unwrap();
    }
    sandbox.icecore().args(["init", "-q", "repository"]).assert().success();
    let ingest = ["-r", "repository", "ingest", "-q", "-C", "source", "."];
    sandbox.icecore().args(ingest).assert().success();
    for round in 0..6 {
        let mount = sandbox.mount(&sandbox.path().join("repository"), &[""; 0]);
        let mut command = Command::new("sh");
        command.args(["-c", "cd \"$1\" && exec tar -cf - . | cat > /dev/null", "sh"]);
        command.arg(mount.latest()).stderr(Stdio::null());
        let mut readers: Vec<_> = (0..8).map(|_| Process::start(&mut command)).collect();
        std::thread::sleep(Duration::from_millis(60 + 30 * round));
        run_ok("kill", &["-KILL", &serving(mount.path())]);
        let (code, said) = umount(&sandbox, mount.path(), &["--lazy", "-q"]);
        assert_eq!((code, said.as_str()), (Some(0), ""));
        let end = Instant::now() + Duration::from_secs(20);
        for reader in &mut readers {
            while reader.0.try_wait().unwrap().is_none() {
                assert!(Instant::now() < end, "a reader waits for what nobody answers");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
