//! The torture tree, whole walk: ingest → mount → compared entry by entry, and copied out with the
//! tools that people use; and `icecore restore`, which must give the same.
//!
//! Guards fidelity: every kind of entry with all its metadata.

mod common;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use common::compare::{CompareOptions, assert_same};
use common::torture::{self, TortureOptions};
use common::{Mounted, Sandbox, require_root, run_ok};

/// A repository with one snapshot of a torture tree at the snapshot's root.
struct Subject {
    sandbox: Sandbox,
    source: PathBuf,
    repository: PathBuf,
}

fn subject(options: &TortureOptions, init: &[&str]) -> Subject {
    require_root();
    let plain = init.contains(&"--plain");
    let sandbox = if plain { Sandbox::plain() } else { Sandbox::new() };
    let source = sandbox.folder("source");
    let left_out = torture::build(&source, options);
    assert!(left_out.is_empty(), "the file system refused: {left_out:#?}");
    let repository = sandbox.path().join("repository");
    sandbox.icecore().arg("init").args(init).arg(&repository).assert().success();
    let subject = Subject { sandbox, source, repository };
    subject.ingest().assert().success();
    subject
}

impl Subject {
    fn ingest(&self) -> assert_cmd::Command {
        let mut command = self.sandbox.icecore();
        // Its databases are such by their first bytes only.
        let options = ["ingest", "--quiet", "--raw-sqlite", "-C"];
        command.arg("-r").arg(&self.repository).args(options);
        command.arg(&self.source).arg(".");
        command
    }

    fn mount(&self) -> Mounted {
        self.sandbox.mount(&self.repository, &[] as &[&str])
    }

    fn target(&self, name: &str) -> PathBuf {
        self.sandbox.path().join(name)
    }
}

/// What is compared between source and mount. The kernel hides `security.capability` and friends
/// of nobody from root, so attributes are compared in full.
fn exact() -> CompareOptions {
    CompareOptions::default()
}

#[test]
fn the_mount_shows_the_source_as_it_was() {
    for init in [&[][..], &["--plain"][..]] {
        let subject = subject(&TortureOptions::default(), init);
        let mount = subject.mount();
        assert_same(&subject.source, &mount.latest(), &exact());
        mount.unmount();
    }
}

#[test]
fn restore_gives_the_source_as_it_was_and_is_content_the_second_time() {
    let subject = subject(&TortureOptions::default(), &[]);
    let target = subject.target("restored");
    for _ in 0..2 {
        let mut command = subject.sandbox.icecore();
        command.arg("-r").arg(&subject.repository).args(["restore", "latest", "--to"]).arg(&target);
        command.arg("--verify").assert().success();
        assert_same(&subject.source, &target, &exact());
    }
}

#[test]
fn cp_and_rsync_and_tar_take_everything_off_the_mount() {
    let options = TortureOptions { huge_files: false, ..TortureOptions::default() };
    let subject = subject(&options.within_path_max(), &[]);
    let mount = subject.mount();
    let from = format!("{}/.", mount.latest().display());

    let copy = subject.sandbox.folder("cp");
    run_ok("cp", &[OsStr::new("-a"), from.as_ref(), copy.as_ref()]);
    // cp -a leaves out the attributes of symbolic links.
    let compare = CompareOptions { symlink_xattrs: false, ..exact() };
    assert_same(&subject.source, &copy, &compare);

    let copy = subject.sandbox.folder("rsync");
    let slash = format!("{}/", mount.latest().display());
    let flags = ["-aHAXS", "--numeric-ids", "--modify-window=-1", &slash];
    let arguments: Vec<&OsStr> = flags.iter().map(OsStr::new).chain([copy.as_os_str()]).collect();
    run_ok("rsync", &arguments);
    let compare = CompareOptions { symlink_xattrs: false, holes: false, ..exact() };
    assert_same(&subject.source, &copy, &compare);

    tar_round_trip(&subject, &mount.latest());
}

/// tar stores no sockets; all else must come through it.
fn tar_round_trip(subject: &Subject, from: &Path) {
    let copy = subject.sandbox.folder("tar");
    let script = format!(
        "set -o pipefail; tar -C '{}' -c -f - --format=posix --acls --xattrs \
         --xattrs-include='*' --sparse . 2>'{log}' | tar -C '{}' -x -f - -p --acls --xattrs \
         --xattrs-include='*' --numeric-owner --same-owner 2>>'{log}'",
        from.display(),
        copy.display(),
        log = subject.target("tar.log").display(),
    );
    run_ok("bash", &["-c", &script]);
    let differences = common::compare::compare(
        &subject.source,
        &copy,
        &CompareOptions { symlink_xattrs: false, holes: false, hard_links: false, ..exact() },
    );
    let unexpected: Vec<String> = differences
        .iter()
        .filter(|difference| !tar_cannot(&subject.source.join(&difference.path)))
        .map(ToString::to_string)
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

fn tar_cannot(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket())
}

#[test]
fn a_second_ingest_of_the_torture_tree_reads_nothing() {
    let subject = subject(&TortureOptions::small(), &[]);
    let output = subject.ingest().arg("--json").assert().success().get_output().stdout.clone();
    let report: serde_json::Value = serde_json::from_slice(&output).expect("a JSON report");
    assert_eq!(report["schema"], 1);
    assert_eq!(report["bytes_read"], 0, "{report:#}");
}

#[test]
fn diff_and_find_agree_with_the_source() {
    let options = TortureOptions { huge_files: false, ..TortureOptions::small() };
    let subject = subject(&options.within_path_max(), &[]);
    let mount = subject.mount();
    let shown = format!("{}/", mount.latest().display());
    // diff calls any two pipes, sockets or devices different; `find` below compares those.
    let script = format!(
        "diff -r --no-dereference '{}/' '{shown}' 2>&1 | grep -avE ' is a (fifo|socket|character \\
         special file|block special file) while ' | head -20",
        subject.source.display(),
    );
    assert_eq!(run_ok("bash", &["-c", &script]), "");
    let list = |root: &Path| {
        let script = format!(
            "cd '{}' && find . -printf '%P %y %m %U %G %s %T@ %l %n\\n' | sort",
            root.display()
        );
        run_ok("bash", &["-c", &script])
    };
    let without_links = |text: String| -> Vec<String> {
        // The size and link count of a directory are the file system's own affair.
        let kept = text.lines().filter(|line| !line.contains(" d "));
        kept.map(str::to_owned).collect()
    };
    assert_eq!(without_links(list(&subject.source)), without_links(list(Path::new(&shown))));
}
