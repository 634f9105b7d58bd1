//! Restore: the target becomes exactly what the snapshot was, whatever stands there before, and
//! however often the restore is stopped. Guards against writing outside the target, rewriting what
//! is right, and leaving anything that looks right and is not.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink as make_symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use icecore::format::{Body, ObjectKey, Snapshot};
use icecore::ops::OpError;
use icecore::ops::path::resolve;
use icecore::ops::restore::{RestoreOptions, RestoreReport, run};
use icecore::progress::{Progress, Silent};
use icecore::repo::{Repository, SnapshotFilter};
use icecore::storage::MemoryStorage;

mod restore_support;
use restore_support::*;

fn options(repo: &Repository, name: &str, to: &Path) -> RestoreOptions {
    RestoreOptions {
        resolved: resolve(repo, name.as_bytes(), &SnapshotFilter::default()).unwrap(),
        to: to.to_path_buf(),
        dry_run: false,
        verify: false,
        delete: false,
        threads: 3,
        owner_names: false,
        any_owner: false,
        sample: None,
    }
}

fn restore(repo: &Repository, change: RestoreOptions) -> RestoreReport {
    run(repo, change, &Silent, &AtomicBool::new(false)).unwrap()
}

fn clean(report: &RestoreReport) {
    assert_eq!(report.troubles, [], "{report:?}");
    assert_eq!((report.failed, report.damaged, report.differing), (0, 0, 0));
}

fn build(tree: &Entry) -> (Repository, Snapshot) {
    let repo = in_memory();
    let snapshot = ingest(&repo, tree, 1_700_000_000, false).unwrap();
    (repo, snapshot)
}

/// Some of everything.
fn sample() -> Entry {
    let acl = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x07\0\xe8\x03\0\0\x04\0\x04\0\xff\xff\xff\xff\x10\0\x07\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";
    let mut odd = dir([]);
    odd.tree_mut().insert(b"\xff\xfe\n".to_vec(), file("raw name"));
    odd.tree_mut().insert(vec![b'n'; 255], file(noise(1, 600)));
    dir([
        ("a-dir", dir([("first", file(noise(2, 300_000)).link(7, 3))]).mode(0o2770)),
        ("big", file(noise(3, 3 << 20)).owned(1000, u32::MAX - 1)),
        ("closed", dir([("inside", file("x"))]).mode(0o000).at(-5, 1)),
        ("empty", file("")),
        ("empty-dir", dir([]).at(5_000_000_000, 999_999_999)),
        ("fifo", special(Body::Fifo).link(9, 2)),
        ("acl", file("acl").mode(0o674).xattr("system.posix_acl_access", acl)),
        ("link", symlink(b"/no/where\xff").at(7, 7)),
        ("null", special(Body::CharDevice { major: 1, minor: 3 })),
        ("odd", odd),
        ("second", file(noise(2, 300_000)).link(7, 3)),
        ("small", file("small").xattr("user.empty", b"").xattr("user.x", b"\0\xff")),
        ("socket", special(Body::Socket)),
        ("sparse", entry(0o600, Item::Sparse(64 << 20, vec![(8 << 20, noise(4, 100_000))]))),
        ("suid", file("s").mode(0o4755).owned(1, 1)),
        (
            "z",
            dir([
                ("fifo", special(Body::Fifo).link(9, 2)),
                ("third", file(noise(2, 300_000)).link(7, 3)),
            ]),
        ),
    ])
    .mode(0o1777)
    .at(1, 2)
}

#[test]
fn everything_comes_back_and_a_second_run_touches_nothing() {
    let (tree, temp) = (sample(), tempfile::tempdir().unwrap());
    let (repo, _) = build(&tree);
    let to = temp.path().join("to");
    let report = restore(&repo, RestoreOptions { verify: true, ..options(&repo, "latest", &to) });
    clean(&report);
    assert_restored(&to, &tree);
    assert_eq!((report.links_made, report.directories_made), (3, 6));
    assert_eq!(report.files_verified, report.files_written);

    let stamps = |name: &str| {
        let meta = fs::symlink_metadata(to.join(name)).unwrap();
        (meta.ino(), meta.ctime(), meta.ctime_nsec())
    };
    let names = ["", "big", "a-dir", "a-dir/first", "null", "link", "closed/inside", "sparse"];
    let before: Vec<_> = names.iter().map(|name| stamps(name)).collect();
    for (verify, dry_run) in [(false, false), (true, false), (true, true), (false, true)] {
        let change = RestoreOptions { verify, dry_run, ..options(&repo, "latest", &to) };
        let report = restore(&repo, RestoreOptions { delete: true, ..change });
        clean(&report);
        assert_eq!((report.files_written, report.others_made, report.links_made), (0, 0, 0));
        assert_eq!((report.removed, report.metadata_set, report.directories_made), (0, 0, 0));
        let after: Vec<_> = names.iter().map(|name| stamps(name)).collect();
        assert_eq!(before, after, "verify {verify}, dry run {dry_run}");
    }
}

#[test]
fn single_entries_become_the_target_itself() {
    let (tree, temp) = (sample(), tempfile::tempdir().unwrap());
    let (repo, _) = build(&tree);
    for name in ["big", "link", "null", "empty", "sparse"] {
        let to = temp.path().join(format!("to-{name}"));
        clean(&restore(&repo, options(&repo, &format!("latest:/{name}"), &to)));
        assert_restored(&to, &tree.tree()[name.as_bytes()]);
    }
    let to = temp.path().join("sub");
    clean(&restore(&repo, options(&repo, "latest:/a-dir/", &to)));
    assert_eq!(fs::metadata(to.join("first")).unwrap().len(), 300_000);
    let over_directory = options(&repo, "latest:/big", &to);
    let err = run(&repo, over_directory, &Silent, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(&err, OpError::Input(text) if text.contains("is a directory")), "{err}");
    let err = resolve(&repo, b"latest:/a-dir/none/x", &SnapshotFilter::default()).unwrap_err();
    assert!(err.to_string().ends_with("holds no /a-dir/none"), "{err}");
    let err = resolve(&repo, b"latest:/big/x", &SnapshotFilter::default()).unwrap_err();
    assert!(err.to_string().contains("/big is not a directory"), "{err}");
}

/// Interrupts after a number of calls.
struct StopAfter<'a>(AtomicU64, &'a AtomicBool);

impl Progress for StopAfter<'_> {
    fn done(&self, _: u64, _: u64) {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.1.store(true, Ordering::SeqCst);
        }
    }
}

#[test]
fn stopped_restore_is_finished_by_the_next() {
    let mut tree = sample();
    for number in 0..30 {
        let name = format!("f{number:02}").into_bytes();
        tree.tree_mut().insert(name, file(noise(100 + number, 5000 * (number as usize % 7))));
    }
    tree.tree_mut().insert(b"huge".to_vec(), file(noise(5, 70 << 20)));
    let (repo, _) = build(&tree);
    for stop in [1, 2, 5, 20, 50, 300, 900] {
        let temp = tempfile::tempdir().unwrap();
        let to = temp.path().join("to");
        let interrupted = AtomicBool::new(false);
        let progress = StopAfter(AtomicU64::new(stop), &interrupted);
        let err = run(&repo, options(&repo, "latest", &to), &progress, &interrupted).unwrap_err();
        assert!(matches!(err, OpError::Interrupted), "{err}");
        let report = restore(&repo, options(&repo, "latest", &to));
        clean(&report);
        assert_restored(&to, &tree);
    }
}

#[test]
fn what_differs_is_made_right_and_extras_go_only_when_asked() {
    let (tree, temp) = (sample(), tempfile::tempdir().unwrap());
    let (repo, _) = build(&tree);
    let to = temp.path().join("to");
    clean(&restore(&repo, options(&repo, "latest", &to)));
    fs::write(to.join("small"), "other").unwrap();
    fs::remove_file(to.join("null")).unwrap();
    fs::remove_file(to.join("second")).unwrap();
    fs::write(to.join("second"), "no link").unwrap();
    fs::remove_file(to.join("link")).unwrap();
    fs::create_dir(to.join("link")).unwrap();
    fs::write(to.join("link/x"), "").unwrap();
    fs::remove_dir(to.join("empty-dir")).unwrap();
    fs::write(to.join("empty-dir"), "file").unwrap();
    fs::create_dir_all(to.join("z/extra/deep")).unwrap();
    let big = fs::File::options().write(true).open(to.join("big")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&big, b"changed", 1 << 20).unwrap();
    let sparse = fs::File::options().write(true).open(to.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"no hole", 30 << 20).unwrap();

    let report = restore(&repo, options(&repo, "latest", &to));
    assert_eq!((report.troubles_count, report.failed), (1, 1), "{report:?}");
    assert!(report.troubles[0].path.ends_with("/link"));
    assert!(to.join("z/extra").exists());
    assert!(report.bytes_written < 4 * CHUNK as u64 + 8192, "big files are mended: {report:?}");

    let delete = RestoreOptions { delete: true, ..options(&repo, "latest", &to) };
    let preview = restore(&repo, RestoreOptions { dry_run: true, ..delete.clone() });
    assert!(to.join("z/extra").exists() && to.join("link").is_dir());
    let report = restore(&repo, delete);
    clean(&report);
    assert_eq!((report.removed, preview.removed), (2, 2));
    assert_eq!(report.others_made, preview.others_made);
    assert_restored(&to, &tree);
}

#[test]
fn content_behind_right_metadata_is_found_by_verify() {
    let (tree, temp) = (sample(), tempfile::tempdir().unwrap());
    let (repo, _) = build(&tree);
    let to = temp.path().join("to");
    clean(&restore(&repo, options(&repo, "latest", &to)));
    for name in ["big", "a-dir/first", "small", "sparse"] {
        let path = to.join(name);
        let (mtime, size) =
            (fs::metadata(&path).unwrap().modified().unwrap(), fs::metadata(&path).unwrap().len());
        let opened = fs::File::options().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&opened, b"!", size / 3).unwrap();
        opened.set_modified(mtime).unwrap();
    }
    let change = options(&repo, "latest", &to);
    assert_eq!(restore(&repo, change.clone()).files_written, 0);
    let preview = RestoreOptions { verify: true, dry_run: true, ..change.clone() };
    assert_eq!(restore(&repo, preview).files_written, 4);
    let report = restore(&repo, RestoreOptions { verify: true, ..change });
    clean(&report);
    assert_eq!(report.files_written, 4);
    assert_restored(&to, &tree);
}

#[test]
fn links_planted_in_the_target_lead_nowhere() {
    let tree = dir([
        ("d", dir([("passwd", file("restored"))])),
        ("f", file("restored")),
        ("h", file("hard")),
    ]);
    let (repo, _) = build(&tree);
    let temp = tempfile::tempdir().unwrap();
    let (to, outside) = (temp.path().join("to"), temp.path().join("outside"));
    fs::create_dir(&to).unwrap();
    fs::create_dir(&outside).unwrap();
    for name in ["passwd", "victim", "other"] {
        fs::write(outside.join(name), "untouched").unwrap();
    }
    make_symlink(&outside, to.join("d")).unwrap();
    make_symlink(outside.join("victim"), to.join("f")).unwrap();
    fs::hard_link(outside.join("other"), to.join("h")).unwrap();
    clean(&restore(&repo, RestoreOptions { delete: true, ..options(&repo, "latest", &to) }));
    assert_restored(&to, &tree);
    for name in ["passwd", "victim", "other"] {
        assert_eq!(fs::read(outside.join(name)).unwrap(), b"untouched");
        assert_eq!(fs::metadata(outside.join(name)).unwrap().nlink(), 1);
    }
}

#[test]
fn directory_that_becomes_a_link_meanwhile_leads_nowhere() {
    let mut below = dir([]);
    for number in 0..40 {
        below.tree_mut().insert(format!("f{number}").into_bytes(), file("restored"));
    }
    let (repo, _) = build(&dir([("d", below), ("e", dir([("f", file("x"))]))]));
    // In memory: each restore ends with a sync of the file system.
    let temp = tempfile::tempdir_in("/dev/shm").unwrap();
    let (to, outside) = (temp.path().join("to"), temp.path().join("outside"));
    fs::create_dir(&to).unwrap();
    fs::create_dir(&outside).unwrap();
    make_symlink(&outside, to.join("evil")).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let (d, evil) = (to.join("d"), to.join("evil"));
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                let _ = rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    &d,
                    rustix::fs::CWD,
                    &evil,
                    exchange,
                );
            }
        });
        for _ in 0..100 {
            let _ = run(&repo, options(&repo, "latest", &to), &Silent, &AtomicBool::new(false));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn paths_past_path_max_and_huge_holes() {
    let mut deep = dir([("file", file(noise(9, 1000)).link(1, 2))]);
    let long = "x".repeat(250);
    for _ in 0..60 {
        deep = dir([(&long, deep)]);
    }
    deep.tree_mut().insert(b"zz".to_vec(), file(noise(9, 1000)).link(1, 2));
    let tib = 1 << 40;
    let hole = Item::Sparse(tib, vec![(tib / 2, noise(10, 4096))]);
    deep.tree_mut().insert(b"tib".to_vec(), entry(0o600, hole));
    let (repo, _) = build(&deep);
    let temp = tempfile::tempdir().unwrap();
    let to = temp.path().join("to");
    let verify = RestoreOptions { verify: true, ..options(&repo, "latest", &to) };
    for _ in 0..2 {
        clean(&restore(&repo, verify.clone()));
        assert_restored(&to, &deep);
    }
}

#[test]
fn directory_of_many_entries_comes_back() {
    let mut tree = dir([]);
    for number in 0..20_000_u32 {
        tree.tree_mut().insert(format!("entry {number}").into_bytes(), file(number.to_le_bytes()));
    }
    let (repo, _) = build(&tree);
    let temp = tempfile::tempdir().unwrap();
    let to = temp.path().join("to");
    clean(&restore(&repo, options(&repo, "latest", &to)));
    assert_restored(&to, &tree);
}

#[test]
fn damage_costs_the_entries_it_hits_and_leaves_nothing_that_looks_right() {
    let tree = dir([
        ("bad", file(noise(20, 1 << 20)).link(3, 2)),
        ("bad-too", file(noise(20, 1 << 20)).link(3, 2)),
        ("good", file(noise(21, 1000))),
        ("mended", file(noise(22, 2 << 20))),
    ]);
    let storage = Arc::new(MemoryStorage::new());
    let repo = init(storage.clone(), false);
    ingest(&repo, &tree, 1, true).unwrap();
    let temp = tempfile::tempdir().unwrap();
    let to = temp.path().join("to");
    clean(&restore(&repo, options(&repo, "latest", &to)));
    fs::remove_file(to.join("bad")).unwrap();
    fs::write(to.join("mended"), vec![1; 2 << 20]).unwrap();
    for (key, bytes) in storage.snapshot() {
        if matches!(key, ObjectKey::Pack(icecore::format::PackKind::Data, _))
            && bytes.len() > 10_000
        {
            storage.corrupt(&key, |bytes| bytes[700_000] ^= 1);
        }
    }
    let repo = open(storage, false).unwrap();
    let report = restore(&repo, RestoreOptions { verify: true, ..options(&repo, "latest", &to) });
    assert_eq!((report.failed, report.damaged, report.differing), (3, 2, 0), "{report:?}");
    assert!(report.troubles.iter().any(|trouble| trouble.what.contains("data/")), "{report:?}");
    assert!(!to.join("bad").exists());
    assert_eq!(fs::read(to.join("good")).unwrap(), noise(21, 1000));
    assert_ne!(fs::metadata(to.join("mended")).unwrap().mtime(), 1_000_000_000);
}

#[test]
fn full_disk_is_one_clear_error_and_the_rest_can_follow() {
    let tree = dir([("a", file(noise(30, 100_000))), ("big", file(noise(31, 8 << 20)))]);
    let (repo, _) = build(&tree);
    let temp = tempfile::tempdir().unwrap();
    let mount = temp.path().join("small");
    fs::create_dir(&mount).unwrap();
    let sh = |args: &[&str]| Command::new(args[0]).args(&args[1..]).status().unwrap().success();
    let at = mount.to_str().unwrap();
    if !sh(&["mount", "-t", "tmpfs", "-o", "size=4m", "none", at]) {
        assert!(!rustix::process::geteuid().is_root(), "root can mount a tmpfs");
        return;
    }
    let to = mount.join("to");
    let err = run(&repo, options(&repo, "latest", &to), &Silent, &AtomicBool::new(false));
    let text = format!("{:?}", err.as_ref().map_err(|err| err.to_string()));
    let full = matches!(&err, Err(OpError::Io { source, .. }) if source.raw_os_error() == Some(28));
    assert!(sh(&["mount", "-o", "remount,size=20m", at]));
    let again = run(&repo, options(&repo, "latest", &to), &Silent, &AtomicBool::new(false));
    let right = fs::read(to.join("big")).is_ok_and(|bytes| bytes == noise(31, 8 << 20));
    assert!(sh(&["umount", at]));
    assert!(full && text.contains("/to/big"), "{text}");
    clean(&again.unwrap());
    assert!(right);
}

#[test]
fn names_in_the_target_are_bytes() {
    let mut tree = dir([]);
    tree.tree_mut().insert(b"\xff".to_vec(), file("x"));
    let (repo, _) = build(&tree);
    let temp = tempfile::tempdir().unwrap();
    let to = temp.path().join(std::ffi::OsStr::from_bytes(b"t\xfe"));
    fs::create_dir_all(to.join(std::ffi::OsStr::from_bytes(b"\xff"))).unwrap();
    let report = restore(&repo, options(&repo, "latest", &to));
    assert!(report.troubles[0].path.ends_with("/t\\xfe/\\xff"), "{report:?}");
}
