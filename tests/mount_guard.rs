//! The guard of the other mount tests: a mount that outlives its test would hold the build's folder
//! busy, and every later run with it. Here a file system without any operation stands for icecore.

mod common;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use common::{Mounted, Sandbox, require_fuse};
use rustix::fs::{Mode, OFlags, open};

struct Nothing;

impl fuser::Filesystem for Nothing {}

/// The session ends when it is dropped, and must live longer than the guard.
fn mount_nothing(sandbox: &Sandbox) -> (fuser::BackgroundSession, PathBuf) {
    require_fuse();
    let point = sandbox.folder("mnt");
    let session = fuser::spawn_mount(Nothing, &point, &fuser::Config::default()).expect("a mount");
    assert!(is_mounted(&point));
    (session, point)
}

fn is_mounted(point: &Path) -> bool {
    fs::read_to_string("/proc/self/mountinfo").unwrap().contains(point.to_str().unwrap())
}

#[test]
fn guard_unmounts_on_drop() {
    let sandbox = Sandbox::new();
    let (_session, point) = mount_nothing(&sandbox);
    drop(Mounted::adopt(point.clone()));
    assert!(!is_mounted(&point));
}

#[test]
fn guard_unmounts_when_the_test_panics() {
    let sandbox = Sandbox::new();
    let (_session, point) = mount_nothing(&sandbox);
    let guard = Mounted::adopt(point.clone());
    let test = AssertUnwindSafe(move || {
        assert!(guard.path().to_str().is_none(), "the test fails here");
    });
    catch_unwind(test).unwrap_err();
    assert!(!is_mounted(&point));
}

#[test]
fn busy_mount_fails_to_unmount_and_is_detached() {
    let sandbox = Sandbox::new();
    let (_session, point) = mount_nothing(&sandbox);
    let guard = Mounted::adopt(point.clone());
    let _busy = open(&point, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    catch_unwind(AssertUnwindSafe(move || guard.unmount())).unwrap_err();
    assert!(!is_mounted(&point));
}

#[test]
fn idle_mount_is_unmounted_when_asked() {
    let sandbox = Sandbox::new();
    let (_session, point) = mount_nothing(&sandbox);
    Mounted::adopt(point.clone()).unmount();
    assert!(!is_mounted(&point));
}
