//! A full disk under the repository: a clear error, nothing lost, and the next ingest succeeds
//! once there is room.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::torture::random_bytes;
use common::{Sandbox, require_root, run_ok};

/// A small tmpfs, unmounted with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(sandbox: &Sandbox, size: &str) -> Self {
        let point = sandbox.folder("disk");
        let options = format!("size={size},mode=0700");
        run_ok("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", path(&point)]);
        Self(point)
    }

    fn grow(&self, size: &str) {
        run_ok("mount", &["-o", &format!("remount,size={size}"), path(&self.0)]);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_full_disk_is_named_and_loses_nothing() {
    require_root();
    let sandbox = Sandbox::new();
    let disk = SmallDisk::new(&sandbox, "24m");
    let repository = disk.0.join("repository");
    let source = sandbox.folder("source");
    fs::write(source.join("first"), random_bytes(1, 4 << 20)).unwrap();
    sandbox.icecore().arg("init").arg(&repository).assert().success();
    let ingest = || {
        let mut command = sandbox.icecore();
        command.arg("-r").arg(&repository).args(["ingest", "--quiet", "-C"]).arg(&source).arg(".");
        command
    };
    ingest().assert().success();

    fs::write(source.join("second"), random_bytes(2, 40 << 20)).unwrap();
    let failed = ingest().assert().code(1);
    let words = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
    assert!(words.contains("no space left"), "{words}");
    assert!(words.contains("hint:"), "{words}");

    let verify = || {
        let mut command = sandbox.icecore();
        command.arg("-r").arg(&repository).args(["verify", "--read-data", "--quiet"]);
        command.assert().success();
    };
    verify();
    let mut cat = sandbox.icecore();
    cat.arg("-r").arg(&repository).args(["cat", "latest:/first"]);
    let content = cat.assert().success().get_output().stdout.clone();
    assert_eq!(content, random_bytes(1, 4 << 20));

    disk.grow("96m");
    ingest().assert().success();
    verify();
    let mut cat = sandbox.icecore();
    cat.arg("-r").arg(&repository).args(["cat", "latest:/second"]);
    let content = cat.assert().success().get_output().stdout.clone();
    assert_eq!(content, random_bytes(2, 40 << 20));
}
