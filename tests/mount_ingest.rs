//! An ingest that meets a mount of the repository that it writes to: snapshots in snapshots would
//! never end.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use common::{Mounted, Sandbox};

fn ingest(sandbox: &Sandbox, repository: &str, args: &[&str]) -> (Option<i32>, String) {
    let mut command = sandbox.icecore();
    let output = command.args(["-r", repository, "ingest", "-q"]).args(args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// `source/{file,mnt}`, where a repository with a snapshot of `file` is mounted on `mnt`.
fn mounted(sandbox: &Sandbox) -> Mounted {
    fs::write(sandbox.folder("source").join("file"), "content").unwrap();
    for repository in ["repository", "other"] {
        sandbox.icecore().args(["init", "-q", repository]).assert().success();
    }
    assert_eq!(ingest(sandbox, "repository", &["-C", "source", "."]), (Some(0), String::new()));
    let point = sandbox.folder("source/mnt");
    // By another way, so that the names differ.
    symlink("repository", sandbox.path().join("alias")).unwrap();
    sandbox.icecore().args(["-r", "alias", "mount", "-q", "source/mnt"]).assert().success();
    Mounted::adopt(point)
}

fn listed(sandbox: &Sandbox, repository: &str) -> String {
    let mut ls = sandbox.icecore();
    let output = ls.args(["-r", repository, "ls", "-R", "latest:/"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_mount_of_itself_is_an_empty_directory() {
    let sandbox = Sandbox::new();
    let mount = mounted(&sandbox);
    let (code, said) = ingest(&sandbox, "repository", &["-C", "source", "."]);
    assert_eq!(code, Some(0), "{said}");
    let mut verbose = sandbox.icecore();
    let args = ["-r", "repository", "ingest", "-C", "source", "."];
    let output = verbose.args(args).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("/mnt is taken as empty: this very repository is mounted there"),
        "{said}"
    );
    let names = listed(&sandbox, "repository");
    assert!(names.contains("mnt") && !names.contains("snapshots"), "{names}");
    mount.unmount();
}

#[test]
fn its_snapshots_are_no_source_of_it_but_of_others() {
    let sandbox = Sandbox::new();
    let mount = mounted(&sandbox);
    let latest = mount.latest();
    for path in [mount.path(), &latest, &latest.join("file")] {
        let path = path.to_str().unwrap();
        let (code, said) = ingest(&sandbox, "repository", &["file", path]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(" is stored already: it is on a mount of this very "), "{said}");
    }
    let below = ["-C", latest.to_str().unwrap(), "."];
    assert_eq!(ingest(&sandbox, "repository", &below).0, Some(1));
    assert_eq!(ingest(&sandbox, "other", &below), (Some(0), String::new()));
    assert!(listed(&sandbox, "other").contains("file"));
    assert!(Path::new(&latest).exists());
    mount.unmount();
}
