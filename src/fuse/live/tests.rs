//! Watching a real folder, without a mount.

use std::time::{Duration, Instant};

use super::*;
use crate::format::Time;
use crate::repo::{InitOptions, Marker, OpenOptions, Repository};
use crate::storage::LocalStorage;
use crate::vfs::tests::mount_tree::{Item, commit};
use crate::vfs::{Ino, VfsOptions};

fn wait_until(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn what_comes_and_goes_is_seen_without_looking() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repo");
    let storage = LocalStorage::create(&path).unwrap();
    Repository::init(&storage, None, "", InitOptions::default()).unwrap();
    let open = || {
        let storage = Arc::new(LocalStorage::open(&path).unwrap());
        Arc::new(Repository::open(storage, None, &OpenOptions::default()).unwrap())
    };
    // The tree itself would not look again before the test is over.
    let options = VfsOptions { refresh: Duration::from_secs(3600), ..VfsOptions::default() };
    let vfs = Arc::new(Vfs::new(open(), options).unwrap());
    let watch = watch(&vfs).unwrap();
    let has_latest = || vfs.lookup(Ino::ROOT, b"latest").is_ok();
    assert!(!has_latest());
    let snapshot = commit(&open(), &Item::directory(), 1_795_349_045, &[]);
    wait_until("it is there", has_latest);
    let by = Marker { host: String::new(), now: Time::default() };
    open().forget(snapshot.id, &by).unwrap();
    wait_until("it is forgotten", || !has_latest());
    open().unforget(snapshot.id, &by).unwrap();
    wait_until("it is back", has_latest);
    std::fs::remove_file(path.join("snapshots").join(snapshot.id.to_string())).unwrap();
    wait_until("it is gone", || !has_latest());
    drop(watch);
    wait_until("the thread has ended", || Arc::strong_count(&vfs) == 1);
}
