//! What `icecore mount` shows: one snapshot or a directory of one at the root, and how.

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::{Mounted, Sandbox, run_ok};

/// A repository with two snapshots: /srv/models/{m,deep/er} with one content each.
fn prepared(sandbox: &Sandbox) -> std::path::PathBuf {
    let source = sandbox.folder("source");
    fs::create_dir_all(source.join("srv/models/deep/er")).unwrap();
    fs::write(source.join("srv/models/deep/er/f"), "below").unwrap();
    sandbox.icecore().args(["init", "-q", "repository"]).assert().success();
    for (content, tag) in [("first", "a"), ("second", "b")] {
        fs::write(source.join("srv/models/m"), content).unwrap();
        let ingest = ["-r", "repository", "ingest", "-q", "-C", "source", ".", "--tag", tag];
        sandbox.icecore().args(ingest).assert().success();
    }
    sandbox.path().join("repository")
}

fn mount(sandbox: &Sandbox, options: &[&str]) -> Mounted {
    sandbox.mount(&sandbox.path().join("repository"), options)
}

fn read(mount: &Mounted, path: &str) -> String {
    fs::read_to_string(mount.path().join(path)).unwrap()
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn one_snapshot_or_a_directory_of_one_is_the_root() {
    let sandbox = Sandbox::new();
    prepared(&sandbox);
    for (options, root, content) in [
        (&["--snapshot", "latest"][..], "srv/models/m", "second"),
        (&["--snapshot", "latest~1"], "srv/models/m", "first"),
        (&["--snapshot", "latest:/srv/models"], "m", "second"),
        (&["--snapshot", "latest:/srv/", "--tag", "a"], "models/m", "first"),
    ] {
        let mount = mount(&sandbox, options);
        assert_eq!(read(&mount, root), content, "{options:?}");
        for absent in ["latest", "snapshots", "versions", "diff", ".icecore"] {
            assert!(!mount.path().join(absent).exists(), "{options:?}: {absent}");
        }
        mount.unmount();
    }
}

#[test]
fn an_owner_is_shown_below_versions_and_differences_too() {
    let sandbox = Sandbox::new();
    prepared(&sandbox);
    let mount = mount(&sandbox, &["--uid", "1234", "--gid", "4321"]);
    let versions = mount.path().join("versions/srv/models/m");
    let version = names(&versions).remove(0);
    for path in [
        "versions",
        "versions/srv/models",
        &format!("versions/srv/models/m/{version}"),
        "diff/latest~1..latest/changed",
        "diff/latest~1..latest/changed/srv/models",
        "diff/latest~1..latest/changed/srv/models/m",
    ] {
        let meta = fs::metadata(mount.path().join(path)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (1234, 4321), "{path}");
    }
    mount.unmount();
}

#[test]
fn the_root_is_a_directory_like_others() {
    let sandbox = Sandbox::new();
    prepared(&sandbox);
    let first = mount(&sandbox, &["--snapshot", "latest:/srv/models"]);
    let root = fs::metadata(first.path()).unwrap();
    let source = fs::metadata(sandbox.path().join("source/srv/models")).unwrap();
    let identity = |meta: &fs::Metadata| (meta.mode(), meta.uid(), meta.mtime(), meta.mtime_nsec());
    assert_eq!(identity(&root), identity(&source), "its own metadata");
    let at = |path: &str| fs::metadata(first.path().join(path)).unwrap();
    assert_eq!((at(".").ino(), at("deep/..").ino()), (root.ino(), root.ino()));
    assert_eq!(at("deep/er/../..").ino(), root.ino());
    assert_eq!(root.nlink(), at("deep").nlink());
    assert_eq!(names(first.path()), ["deep", "m"]);
    let parent = fs::metadata(first.path().parent().unwrap()).unwrap();
    assert_eq!(at("..").ino(), parent.ino(), "above it is what holds the mountpoint");
    let find = |mount: &Mounted| {
        run_ok("find", &[mount.path().to_str().unwrap(), "-printf", "%P %i %s\n"])
    };
    let listed = find(&first);
    first.unmount();
    let second = mount(&sandbox, &["--snapshot", "latest:/srv/models"]);
    assert_eq!(find(&second), listed, "the same numbers after a remount");
    let all = mount(&sandbox, &[]);
    let number = |path: &Path| fs::metadata(path).unwrap().ino();
    let below = all.latest().join("srv/models");
    for path in ["m", "deep", "deep/er/f"] {
        assert_eq!(number(&second.path().join(path)), number(&below.join(path)), "{path}");
    }
    second.unmount();
    all.unmount();
}

#[test]
fn a_later_snapshot_does_not_change_what_was_mounted() {
    let sandbox = Sandbox::new();
    prepared(&sandbox);
    let mount = mount(&sandbox, &["--snapshot", "latest"]);
    fs::write(sandbox.path().join("source/new"), "third").unwrap();
    let ingest = ["-r", "repository", "ingest", "-q", "-C", "source", "."];
    sandbox.icecore().args(ingest).assert().success();
    assert_eq!(names(mount.path()), ["srv"]);
    assert_eq!(read(&mount, "srv/models/m"), "second");
    mount.unmount();
}

#[test]
fn what_cannot_be_the_root_is_refused() {
    let sandbox = Sandbox::new();
    prepared(&sandbox);
    sandbox.folder("point");
    for (options, code, what) in [
        (
            &["--snapshot", "latest:/srv/models/m"][..],
            1,
            "/srv/models/m is not a directory in snapshot ",
        ),
        (&["--snapshot", "latest:/none"], 1, " holds no /none"),
        (&["--snapshot", "latest~7"], 1, "latest~7"),
        (&["--tag", "a"], 2, "--host, --tag and --source choose what --snapshot names"),
        (&["--cache", "1K"], 2, "a mount needs 4M or more"),
        (&["--uid", "no such user"], 1, "no user \"no such user\""),
    ] {
        let mut mount = sandbox.icecore();
        mount.args(["-r", "repository", "mount", "point"]).args(options);
        let output = mount.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{options:?}: {said}");
        assert!(said.contains(what), "{options:?}: {said}");
    }
    assert!(names(&sandbox.path().join("point")).is_empty());
}

#[test]
fn programs_run_unless_they_must_not() {
    let sandbox = Sandbox::new();
    prepared(&sandbox);
    fs::copy("/bin/true", sandbox.path().join("source/true")).unwrap();
    let ingest = ["-r", "repository", "ingest", "-q", "-C", "source", "."];
    sandbox.icecore().args(ingest).assert().success();
    for (options, runs) in [(&["--cache", "16M"][..], true), (&["--noexec"], false)] {
        let mount = mount(&sandbox, options);
        let status = std::process::Command::new(mount.latest().join("true")).status();
        assert_eq!(status.is_ok_and(|status| status.success()), runs, "{options:?}");
        mount.unmount();
    }
}
