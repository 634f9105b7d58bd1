//! Trouble at the source while it is ingested: each is reported, none stops or spoils the rest.
//!
//! The moment is chosen by the progress that the ingest itself reports, so nothing here depends on
//! timing.

mod common;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use common::library::{content, find, latest_root, options, repository, try_ingest};
use common::torture::random_bytes;
use icecore::format::Body;
use icecore::ops::ingest::IngestReport;
use icecore::progress::Progress;
use icecore::repo::{NodeRef, Repository, SnapshotFilter};

/// Acts when a file was seen, or some of it was read.
struct Hook<S, R> {
    seen: S,
    read: R,
}

impl<S: Fn() + Send + Sync, R: Fn() + Send + Sync> Progress for Hook<S, R> {
    fn expect(&self, _files: u64, _bytes: u64) {
        (self.seen)();
    }

    fn done(&self, files: u64, bytes: u64) {
        if files == 0 && bytes > 0 {
            (self.read)();
        }
    }
}

fn on_seen(act: impl Fn() + Send + Sync) -> impl Progress {
    Hook { seen: act, read: || {} }
}

fn on_read(act: impl Fn() + Send + Sync) -> impl Progress {
    Hook { seen: || {}, read: act }
}

fn ingest(repo: &Repository, base: &Path, progress: &dyn Progress) -> IngestReport {
    let report = try_ingest(repo, base, &options(), progress).unwrap();
    let snapshot = repo.find_snapshot("latest", &SnapshotFilter::default()).unwrap();
    assert_eq!(snapshot.troubles_count, report.troubles_count);
    assert_eq!(snapshot.is_partial(), report.troubles_count > 0);
    report
}

fn only_trouble(report: &IngestReport) -> (String, &str) {
    assert_eq!(report.troubles_count, 1, "{:?}", report.troubles);
    let trouble = &report.troubles[0];
    (String::from_utf8_lossy(&trouble.path).into_owned(), &trouble.what)
}

fn source() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a-file"), random_bytes(1, 300_000)).unwrap();
    fs::write(dir.path().join("z-rest"), b"the rest").unwrap();
    dir
}

fn rest_is_there(repo: &Repository) {
    assert_eq!(content(repo, &find(repo, "z-rest").unwrap()), b"the rest");
}

#[test]
fn a_file_that_vanishes_is_reported() {
    let dir = source();
    let victim = dir.path().join("a-file");
    let repo = repository();
    let report = ingest(&repo, dir.path(), &on_seen(|| drop(fs::remove_file(&victim))));
    assert_eq!(only_trouble(&report), ("/a-file".into(), "vanished while it was ingested"));
    assert_eq!((report.files_new, report.files_failed), (1, 1));
    assert!(find(&repo, "a-file").is_none());
    rest_is_there(&repo);
}

#[test]
fn a_file_that_becomes_a_pipe_is_reported_and_not_waited_for() {
    let dir = source();
    let victim = dir.path().join("a-file");
    let repo = repository();
    let report = ingest(
        &repo,
        dir.path(),
        &on_seen(|| {
            let _ = fs::remove_file(&victim);
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            let kind = rustix::fs::FileType::Fifo;
            let _ = rustix::fs::mknodat(rustix::fs::CWD, &victim, kind, mode, 0);
        }),
    );
    let (path, what) = only_trouble(&report);
    assert_eq!(
        (path.as_str(), what),
        ("/a-file", "replaced by another kind while it was ingested")
    );
    rest_is_there(&repo);
}

#[test]
fn a_file_that_changes_once_is_read_again_and_right() {
    let dir = source();
    let victim = dir.path().join("a-file");
    let repo = repository();
    let changes = AtomicU32::new(0);
    let change = || {
        if changes.fetch_add(1, Ordering::SeqCst) == 0 {
            fs::write(&victim, random_bytes(2, 200_000)).unwrap();
        }
    };
    let report = ingest(&repo, dir.path(), &on_read(change));
    assert_eq!(report.troubles_count, 0, "{:?}", report.troubles);
    let node = find(&repo, "a-file").unwrap();
    assert!(!node.unstable);
    assert_eq!(content(&repo, &node), random_bytes(2, 200_000));
}

#[test]
fn a_file_that_never_holds_still_is_taken_and_marked() {
    let dir = source();
    let victim = dir.path().join("a-file");
    let repo = repository();
    let count = AtomicU32::new(0);
    let change = || {
        let file = fs::OpenOptions::new().write(true).open(&victim).unwrap();
        let number = count.fetch_add(1, Ordering::SeqCst);
        file.write_all_at(&number.to_le_bytes(), 0).unwrap();
        // The clock of the file system may stand still between two writes; sizes differ.
        file.set_len(300_000 + u64::from(number)).unwrap();
    };
    let report = ingest(&repo, dir.path(), &on_read(change));
    assert_eq!(only_trouble(&report), ("/a-file".into(), "changed while it was read"));
    assert!(find(&repo, "a-file").unwrap().unstable);
    rest_is_there(&repo);
    // A marked file is read again although it looks the same.
    let again = ingest(&repo, dir.path(), &on_read(|| {}));
    assert_eq!(again.troubles_count, 0);
    assert!(again.bytes_read >= 300_000);
    assert!(!find(&repo, "a-file").unwrap().unstable);
}

#[test]
fn a_file_cut_short_while_it_is_read_is_taken_as_it_then_is() {
    let dir = source();
    let victim = dir.path().join("a-file");
    let repo = repository();
    let cut = || drop(fs::OpenOptions::new().write(true).open(&victim).unwrap().set_len(70_000));
    ingest(&repo, dir.path(), &on_read(cut));
    let node = find(&repo, "a-file").unwrap();
    assert_eq!(content(&repo, &node), &random_bytes(1, 300_000)[..70_000]);
}

#[test]
fn a_directory_that_vanishes_is_reported() {
    let dir = source();
    let sub = dir.path().join("m-sub");
    fs::create_dir(&sub).unwrap();
    let repo = repository();
    let remove = || drop(fs::remove_dir_all(&sub));
    let report = ingest(&repo, dir.path(), &on_seen(remove));
    assert_eq!(only_trouble(&report), ("/m-sub".into(), "vanished while it was ingested"));
    rest_is_there(&repo);
}

fn set_attribute(path: &Path, value: &[u8]) {
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(path, "user.test", value, flags).unwrap();
}

fn attribute(node: &NodeRef) -> &[u8] {
    &node.xattrs.iter().find(|xattr| xattr.name == b"user.test").unwrap().value
}

/// Acts when the file of that number (from 0) was seen: those before it are not yet read.
fn on_seen_number(number: u32, act: impl Fn() + Send + Sync) -> impl Progress {
    let seen = AtomicU32::new(0);
    on_seen(move || {
        if seen.fetch_add(1, Ordering::SeqCst) == number {
            act();
        }
    })
}

#[test]
fn a_hard_link_stays_when_its_other_name_goes() {
    let dir = source();
    fs::hard_link(dir.path().join("a-file"), dir.path().join("y-link")).unwrap();
    let rename = || {
        fs::rename(dir.path().join("a-file"), dir.path().join("a-renamed")).unwrap();
    };
    let repo = repository();
    // The first is seen, not read: the second is seen before a batch is full.
    ingest(&repo, dir.path(), &on_seen_number(1, rename));
    let link = find(&repo, "y-link").expect("it was there all the time");
    assert_eq!(content(&repo, &link), random_bytes(1, 300_000));
}

#[test]
fn attributes_that_change_before_the_content_is_read_are_the_new_ones() {
    let dir = source();
    let file = dir.path().join("a-file");
    set_attribute(&file, b"old");
    let repo = repository();
    ingest(&repo, dir.path(), &on_seen_number(1, || set_attribute(&file, b"new")));
    assert_eq!(attribute(&find(&repo, "a-file").unwrap()), b"new");
    let report = ingest(&repo, dir.path(), &on_seen(|| {}));
    assert_eq!(report.files_unchanged, 2);
    assert_eq!(attribute(&find(&repo, "a-file").unwrap()), b"new");
}

#[test]
fn a_file_that_is_replaced_is_wholly_the_old_or_wholly_the_new() {
    let dir = source();
    let file = dir.path().join("a-file");
    set_attribute(&file, b"old");
    fs::hard_link(&file, dir.path().join("y-link")).unwrap();
    fs::remove_file(dir.path().join("y-link")).unwrap();
    let new = dir.path().join(".new");
    fs::write(&new, random_bytes(2, 4000)).unwrap();
    set_attribute(&new, b"new");
    let repo = repository();
    // ".new" is seen first, then "a-file", then "z-rest".
    ingest(&repo, dir.path(), &on_seen_number(2, || drop(fs::rename(&new, &file))));
    let node = find(&repo, "a-file").unwrap();
    assert_eq!(content(&repo, &node), random_bytes(2, 4000));
    assert_eq!(attribute(&node), b"new");
}

/// Files between the first and the last: more than the walker may be ahead of the readers.
const BETWEEN: u32 = 600;

/// Waits before the last file until the first was read, then acts.
struct AfterFirst<'a> {
    seen: AtomicU32,
    read: AtomicU32,
    act: &'a (dyn Fn() + Send + Sync),
}

impl Progress for AfterFirst<'_> {
    fn expect(&self, _files: u64, _bytes: u64) {
        if self.seen.fetch_add(1, Ordering::SeqCst) == BETWEEN {
            while self.read.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            (self.act)();
        }
    }

    fn done(&self, files: u64, _bytes: u64) {
        self.read.fetch_add(files as u32, Ordering::SeqCst);
    }
}

#[test]
fn a_reused_inode_number_is_another_file() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let outside = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let [first, last] = ["a-first", "c-last"].map(|name| dir.path().join(name));
    // Large enough to be a batch of its own.
    fs::write(&first, random_bytes(1, 600_000)).unwrap();
    fs::hard_link(&first, outside.path().join("first")).unwrap();
    for number in 0..BETWEEN {
        fs::write(dir.path().join(format!("b-{number}")), b"x").unwrap();
    }
    fs::write(&last, b"").unwrap();
    let inode = fs::metadata(&first).unwrap().ino();
    let reuse = || {
        fs::remove_file(&first).unwrap();
        fs::remove_file(outside.path().join("first")).unwrap();
        fs::remove_file(&last).unwrap();
        for number in 0..20_000 {
            fs::write(&last, random_bytes(2, 600_000)).unwrap();
            if fs::metadata(&last).unwrap().ino() == inode {
                break;
            }
            fs::write(&last, b"").unwrap();
            fs::rename(&last, outside.path().join(number.to_string())).unwrap();
        }
        assert_eq!(fs::metadata(&last).unwrap().ino(), inode, "the file system reuses no numbers");
        fs::hard_link(&last, outside.path().join("last")).unwrap();
    };
    let progress = AfterFirst { seen: AtomicU32::new(0), read: AtomicU32::new(0), act: &reuse };
    let repo = repository();
    ingest(&repo, dir.path(), &progress);
    let (one, other) = (find(&repo, "a-first").unwrap(), find(&repo, "c-last").unwrap());
    assert_eq!(content(&repo, &one), random_bytes(1, 600_000));
    assert_eq!(content(&repo, &other), random_bytes(2, 600_000));
    assert_ne!(one.link.unwrap().group, other.link.unwrap().group);
}

/// Root reads everything, so this runs as another user, in a child process.
#[test]
fn what_may_not_be_read_is_reported() {
    if std::env::var_os("ICECORE_TEST_UNREADABLE").is_some() {
        unreadable_as_user();
        return;
    }
    let mut command = std::process::Command::new("setpriv");
    if rustix::process::geteuid().is_root() {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    }
    // The build's folder may be closed to other users; a copy of this test is not.
    let copy = tempfile::Builder::new().prefix("icecore-test").tempdir().unwrap();
    fs::set_permissions(copy.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = copy.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = command
        .arg(&program)
        .args(["--exact", "what_may_not_be_read_is_reported", "--nocapture"])
        .env("ICECORE_TEST_UNREADABLE", "1")
        .current_dir("/")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn unreadable_as_user() {
    let dir = source();
    let shut = |path: &str| {
        fs::set_permissions(dir.path().join(path), PermissionsExt::from_mode(0o0)).unwrap();
    };
    fs::create_dir(dir.path().join("closed")).unwrap();
    fs::write(dir.path().join("closed/inside"), b"x").unwrap();
    shut("closed");
    shut("a-file");
    let repo = repository();
    let report = try_ingest(&repo, dir.path(), &options(), &icecore::progress::Silent).unwrap();
    fs::set_permissions(dir.path().join("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    let what: Vec<&str> = report.troubles.iter().map(|t| t.what.as_str()).collect();
    assert_eq!(report.troubles_count, 2, "{what:?}");
    assert_eq!((report.files_new, report.files_failed), (1, 1));
    assert_eq!(report.bytes, 8, "what is not in the snapshot does not count");
    assert!(what.iter().all(|what| what.contains("Permission denied")), "{what:?}");
    assert!(find(&repo, "a-file").is_none());
    let closed = find(&repo, "closed").expect("the directory itself is known");
    assert!(matches!(closed.body, Body::Directory { entries: 0, .. }));
    let Body::Directory { entries, .. } = latest_root(&repo).body else { panic!() };
    assert_eq!(entries, 2);
    rest_is_there(&repo);
}
