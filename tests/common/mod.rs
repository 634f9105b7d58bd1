//! What integration tests share: a place of their own to run `icecore` in, real mounts, the torture
//! tree and the comparison of trees.
//!
//! A test binary takes it with `mod common;`. Binaries whose tests mount are named `mount*`, so
//! that `.config/nextest.toml` runs few of them at a time.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of it")]

pub mod compare;
pub mod library;
pub mod torture;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The passphrase of every repository that [`Sandbox::icecore`] makes or opens.
pub const PASSPHRASE: &str = "a passphrase for tests only";

/// A temporary folder on the disk of the build (not a tmpfs, which lacks attributes and holes), with
/// a home and a cache of its own. Removed on drop.
pub struct Sandbox {
    dir: tempfile::TempDir,
    passphrase: bool,
}

impl Sandbox {
    /// # Panics
    /// Where the folder cannot be made.
    pub fn new() -> Self {
        // A drill has places of its own for temporary files, where nothing of a build that lies
        // there would be. Drills in tests are root's, who may write here.
        let base = match Path::new(env!("CARGO_TARGET_TMPDIR")) {
            base if !rustix::process::geteuid().is_root() => base,
            base if base.starts_with("/tmp") || base.starts_with("/var/tmp") => Path::new("/srv"),
            base => base,
        };
        fs::create_dir_all(base).expect("the build's folder for temporary files");
        let dir = tempfile::Builder::new().prefix("icecore-").tempdir_in(base).expect("a folder");
        for inner in ["home", "cache", "tmp"] {
            fs::create_dir(dir.path().join(inner)).expect("a folder in a new folder");
        }
        Self { dir, passphrase: true }
    }

    /// A sandbox for repositories without encryption: no passphrase reaches [`Self::icecore`].
    ///
    /// # Panics
    /// Where the folder cannot be made.
    pub fn plain() -> Self {
        Self { passphrase: false, ..Self::new() }
    }

    /// The sandbox's folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Makes a folder in the sandbox.
    ///
    /// # Panics
    /// Where it exists.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir(&path).unwrap_or_else(|e| panic!("mkdir {}: {e}", path.display()));
        path
    }

    /// The `icecore` of this build, in a clean environment: nothing of the user's reaches it.
    pub fn icecore(&self) -> assert_cmd::Command {
        assert_cmd::Command::from_std(self.icecore_std())
    }

    /// The same for a test that needs the child itself, to kill it or to feed it.
    pub fn icecore_std(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_icecore"));
        command.env_clear().current_dir(self.path());
        for name in ["PATH", "RUST_BACKTRACE", "LLVM_PROFILE_FILE", "CI"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("HOME", self.path().join("home"))
            .env("XDG_CACHE_HOME", self.path().join("cache"))
            .env("TMPDIR", self.path().join("tmp"))
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC");
        if self.passphrase {
            command.env("ICECORE_PASSPHRASE", PASSPHRASE);
        }
        command
    }

    /// Runs `icecore` on a terminal of its own, which shows nothing of what somebody types; returns
    /// its exit code and all that it said.
    ///
    /// # Panics
    /// Where there is no `script`.
    pub fn at_a_terminal(&self, arguments: &[&str], keys: &str) -> (Option<i32>, String) {
        let icecore = self.icecore_std();
        let command = format!("{} {}", icecore.get_program().display(), arguments.join(" "));
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--echo", "never", "--command", &command, "/dev/null"]);
        script.env_clear().current_dir(self.path());
        script.envs(icecore.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = assert_cmd::Command::from_std(script).write_stdin(keys).output();
        let output = output.expect("script runs (bsdutils)");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).replace('\r', ""))
    }

    /// Mounts a repository on a new folder of the sandbox: `icecore -r REPOSITORY mount FOLDER`.
    /// The mount is ready on return.
    ///
    /// # Panics
    /// Where `/dev/fuse` is missing, in CI as elsewhere: these tests fail, they are not skipped.
    #[track_caller]
    pub fn mount<I: AsRef<OsStr>>(&self, repository: &Path, options: &[I]) -> Mounted {
        require_fuse();
        let point = tempfile::Builder::new().prefix("mount-").tempdir_in(self.path());
        let point = point.expect("a mount point").keep();
        let mut command = self.icecore_std();
        command.arg("-r").arg(repository).arg("mount").args(options).arg(&point);
        let output = command.output().expect("icecore runs");
        assert!(output.status.success(), "icecore mount: {}", words(&output));
        assert!(is_mount_point(&point), "icecore mount returned, and nothing is mounted");
        Mounted { point: Some(point) }
    }
}

/// A mount that ends with the test, however the test ends.
pub struct Mounted {
    point: Option<PathBuf>,
}

impl Mounted {
    /// Takes charge of a mount that the test made itself.
    pub fn adopt(point: PathBuf) -> Self {
        Self { point: Some(point) }
    }

    /// The mount point.
    ///
    /// # Panics
    /// Never: only [`Mounted::unmount`] takes the point, and it takes the guard too.
    pub fn path(&self) -> &Path {
        self.point.as_deref().expect("mounted until dropped")
    }

    /// `latest` on the mount.
    pub fn latest(&self) -> PathBuf {
        self.path().join("latest")
    }

    /// Unmounts now, and fails where that fails (a file that is still open, for example).
    ///
    /// # Panics
    /// Where the mount is busy or gone.
    #[track_caller]
    pub fn unmount(mut self) {
        let point = self.point.take().expect("mounted until dropped");
        let output = run("fusermount3", &[OsStr::new("-u"), point.as_os_str()]);
        if !output.status.success() {
            detach(&point);
            panic!("unmount {}: {}", point.display(), words(&output));
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let Some(point) = self.point.take() else { return };
        if is_mount_point(&point) {
            let output = run("fusermount3", &[OsStr::new("-u"), point.as_os_str()]);
            if !output.status.success() {
                detach(&point);
            }
        }
    }
}

/// # Panics
/// Where this machine cannot mount: what such a test guards would be unguarded if it were skipped.
#[track_caller]
pub fn require_fuse() {
    assert!(
        Path::new("/dev/fuse").exists(),
        "/dev/fuse is missing: tests on a real mount need it (modprobe fuse, or run the container \
         with --device /dev/fuse --cap-add SYS_ADMIN)"
    );
    let found = Command::new("fusermount3").arg("--version").output().is_ok();
    assert!(found, "fusermount3 is missing: scripts/test installs it as root (apt install fuse3)");
}

/// # Panics
/// Where the test does not run as root: devices, owners and attributes could not be made.
#[track_caller]
pub fn require_root() {
    assert!(rustix::process::geteuid().is_root(), "this test needs root: sudo -E scripts/test");
}

/// Runs a program, and fails unless it succeeds. Returns what it printed on stdout.
///
/// # Panics
/// Where it cannot be started or fails.
#[track_caller]
pub fn run_ok<I: AsRef<OsStr>>(program: &str, arguments: &[I]) -> String {
    let output = run(program, arguments);
    assert!(output.status.success(), "{program}: {}", words(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn run<I: AsRef<OsStr>>(program: &str, arguments: &[I]) -> Output {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C.UTF-8").output();
    output.unwrap_or_else(|e| panic!("{program}: {e} (scripts/test installs it as root)"))
}

fn detach(point: &Path) {
    let lazily = [OsStr::new("-u"), OsStr::new("-z"), point.as_os_str()];
    drop(run("fusermount3", &lazily));
}

/// From the kernel's own list, so that a dead mount (`ENOTCONN` on stat) counts as one too.
fn is_mount_point(point: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    mounts.lines().any(|line| line.split(' ').nth(4) == point.to_str())
}

fn words(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Runs a command that must succeed, and returns the most memory that it held, in bytes.
///
/// # Panics
/// Where it fails.
pub fn peak_memory(command: &mut Command) -> u64 {
    let mut child =
        command.stdout(std::process::Stdio::null()).spawn().expect("a command that runs");
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak = 0;
    loop {
        // The kernel's own high-water mark, gone once the process has ended.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = mark.and_then(|mark| mark.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
        if let Some(status) = child.try_wait().expect("a child to wait for") {
            assert!(status.success(), "{status}");
            assert!(peak > 0);
            return peak;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
