//! A repository in a folder and its mount, for tests that ask the real kernel.
//!
//! There is no skipping: without /dev/fuse these tests fail.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use icecore::fuse::{self, FuseError, MountOptions, Mounted, Readers};
use icecore::repo::{InitOptions, OpenOptions, Repository};
use icecore::storage::LocalStorage;

use super::mount_tree::{Item, commit};

pub(crate) const NOON: i64 = 1_795_349_045;

/// Unmounted and removed when dropped.
pub(crate) struct World {
    mounted: Option<Mounted>,
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    /// A new repository, not mounted.
    pub(crate) fn new() -> Self {
        assert!(Path::new("/dev/fuse").exists(), "these tests need /dev/fuse");
        let folder = tempfile::tempdir().unwrap();
        let storage = LocalStorage::create(&folder.path().join("repo")).unwrap();
        Repository::init(&storage, None, "", InitOptions::default()).unwrap();
        std::fs::create_dir(folder.path().join("mnt")).unwrap();
        Self { mounted: None, folder }
    }

    /// A mounted repository with one snapshot of `root`.
    pub(crate) fn of(root: &Item) -> Self {
        let mut world = Self::new();
        world.commit(root, NOON);
        world.mount();
        world
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    pub(crate) fn mountpoint(&self) -> PathBuf {
        self.folder.path().join("mnt")
    }

    /// A path below the newest snapshot.
    pub(crate) fn latest(&self, path: &str) -> PathBuf {
        self.mountpoint().join("latest").join(path)
    }

    pub(crate) fn open(&self) -> Arc<Repository> {
        open(&self.repository())
    }

    /// Adds a snapshot; gives its name below `/snapshots`.
    pub(crate) fn commit(&self, root: &Item, secs: i64) -> String {
        let snapshot = commit(&self.open(), root, secs, &["nightly"]);
        let stamp = jiff::Timestamp::from_second(secs).unwrap();
        let utc = stamp.to_zoned(jiff::tz::TimeZone::UTC);
        format!("{}-{}", utc.strftime("%Y-%m-%dT%H%M%SZ"), snapshot.id.short())
    }

    pub(crate) fn try_mount(&self, at: &Path) -> Result<Mounted, FuseError> {
        let options = MountOptions { allow_other: true, ..MountOptions::default() };
        fuse::mount(self.open(), at, options)
    }

    pub(crate) fn mount(&mut self) {
        self.mounted = Some(self.try_mount(&self.mountpoint()).unwrap());
    }

    /// What the tree remembers for the kernel.
    pub(crate) fn remembered(&self) -> usize {
        self.mounted.as_ref().unwrap().vfs().remembered()
    }

    /// Unmounts, so that the next mount starts without the kernel's caches.
    pub(crate) fn take_down(&mut self) {
        self.mounted.as_ref().unwrap().unmount(Readers::Respect).unwrap();
        self.unmount_done();
    }

    /// Waits until a mount that was taken off is served no more.
    pub(crate) fn unmount_done(&mut self) {
        self.mounted.take().unwrap().wait().unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mounted) = &self.mounted {
            let _ = mounted.unmount(Readers::Outlive);
        }
    }
}

pub(crate) fn open(repository: &Path) -> Arc<Repository> {
    let storage = Arc::new(LocalStorage::open(repository).unwrap());
    Arc::new(Repository::open(storage, None, &OpenOptions::default()).unwrap())
}

/// Runs a program that must succeed; gives what it said.
pub(crate) fn run(program: &str, args: &[&dyn AsRef<std::ffi::OsStr>]) -> String {
    let args = args.iter().map(|arg| arg.as_ref());
    let output = Command::new(program).args(args).env("LC_ALL", "C").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}
