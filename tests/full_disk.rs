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

/// Fills the disk to the last byte that it gives.
fn fill(disk: &SmallDisk) {
    use std::io::Write;
    let mut file = fs::File::create(disk.0.join("fill")).unwrap();
    for len in [1 << 20, 4096, 1] {
        let bytes = random_bytes(9, len);
        while file.write_all(&bytes).is_ok() {}
    }
}

#[test]
fn on_a_full_disk_each_way_out_is_named_and_old_temporary_files_go_first() {
    require_root();
    let sandbox = Sandbox::plain();
    let disk = SmallDisk::new(&sandbox, "24m");
    let repository = disk.0.join("repository");
    let source = sandbox.folder("source");
    let run = |arguments: &[&str]| {
        let output = sandbox.icecore().arg("-r").arg(&repository).args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    sandbox.icecore().args(["init", "--plain"]).arg(&repository).assert().success();
    for n in 0..2 {
        fs::write(source.join("file"), random_bytes(n, 1 << 20)).unwrap();
        assert_eq!(run(&["ingest", "-q", "-C", path(&source), "."]).0, 0);
    }
    assert_eq!(run(&["parity", "--set", "5%"]).0, 0);
    assert_eq!(run(&["forget", "--keep-last", "1", "--yes"]).0, 0);
    let temporary = repository.join("data/.tmp-0123456789abcdef");
    fs::write(&temporary, random_bytes(7, 1 << 20)).unwrap();
    fill(&disk);
    let (code, _, err) = run(&["parity", "--build"]);
    assert!(code == 1 && err.contains("no space left") && err.contains("hint: free"), "{err}");
    let prune = ["prune", "--yes", "--max-repack", "0", "--grace", "0"];
    let (code, _, err) = run(&prune);
    assert!(code == 1 && err.contains("no space left"), "{err}");
    assert!(err.contains("hint: free ") && err.contains("KiB on that disk"), "{err}");
    assert!(err.contains("1 temporary file with 1.0 MiB can be removed by hand"), "{err}");
    assert!(temporary.exists(), "somebody may be writing it");

    age(&temporary);
    let (code, out, err) = run(&prune);
    assert!(code == 0 && !temporary.exists(), "{out}{err}");
    assert!(out.contains("temporary") && out.contains("deleted 1 file, 1.0 MiB"), "{out}");
    assert_eq!(run(&["verify", "--read-data"]).0, 0);
}

/// It was last written to two hours ago.
fn age(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    let ago = std::time::Duration::from_secs(2 * 3600);
    file.set_modified(std::time::SystemTime::now() - ago).unwrap();
}
