//! mount(8) and fstab: what they call, and how it ends.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{Mounted, PASSPHRASE, Sandbox, require_root};

/// A repository with one snapshot of `srv/f`, its passphrase in a file, a mountpoint, and `icecore`
/// under the names that mount(8) knows.
struct Prepared {
    sandbox: Sandbox,
    point: PathBuf,
}

impl Prepared {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        fs::create_dir_all(sandbox.folder("source").join("srv")).unwrap();
        fs::write(sandbox.path().join("source/srv/f"), "content").unwrap();
        sandbox.icecore().args(["init", "-q", "repository"]).assert().success();
        let ingest = ["-r", "repository", "ingest", "-q", "-C", "source", "."];
        sandbox.icecore().args(ingest).assert().success();
        fs::write(sandbox.path().join("passphrase"), PASSPHRASE).unwrap();
        let bin = sandbox.folder("bin");
        for name in ["icecore", "mount.icecore", "mount.fuse.icecore"] {
            symlink(env!("CARGO_BIN_EXE_icecore"), bin.join(name)).unwrap();
        }
        let point = sandbox.folder("point");
        Self { sandbox, point }
    }

    fn path(&self, name: &str) -> String {
        self.sandbox.path().join(name).to_str().unwrap().to_owned()
    }

    /// Options with the passphrase.
    fn options(&self, more: &str) -> String {
        format!("passphrase-file={}{more}", self.path("passphrase"))
    }

    /// Runs a program as an init system would: no passphrase in the environment, no home.
    fn run(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        let path = format!("{}:{}", self.path("bin"), std::env::var("PATH").unwrap());
        command.args(args).env_clear().env("PATH", path);
        command.env("XDG_CACHE_HOME", self.sandbox.path().join("cache")).output().unwrap()
    }

    fn helper(&self, name: &str, args: &[&str]) -> Output {
        self.run(&format!("{}/{name}", self.path("bin")), args)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn source_of(point: &Path) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.split(' ').nth(4) == point.to_str())?;
    let (_, after) = line.split_once(" - fuse.icecore ")?;
    after.split(' ').next().map(str::to_owned)
}

#[test]
fn helper_mounts_by_each_of_its_names() {
    let prepared = Prepared::new();
    let (repository, point) = (prepared.path("repository"), prepared.path("point"));
    let options = prepared.options(",rw,noauto,x-systemd.automount,snapshot=latest,path=/srv");
    for name in ["mount.icecore", "mount.fuse.icecore", "icecore"] {
        let output = prepared.helper(name, &[&repository, &point, "-n", "-o", &options]);
        let guard = Mounted::adopt(prepared.point.clone());
        assert!(output.status.success(), "{name}: {}", said(&output));
        assert_eq!((said(&output).as_str(), output.stdout.as_slice()), ("", &b""[..]), "{name}");
        assert_eq!(fs::read_to_string(prepared.point.join("f")).unwrap(), "content");
        assert_eq!(source_of(&prepared.point), Some(repository.clone()), "as fstab has it");
        guard.unmount();
    }
}

#[test]
fn helper_fails_as_mount_does() {
    let prepared = Prepared::new();
    let (repository, point) = (prepared.path("repository"), prepared.path("point"));
    for (options, code, what) in [
        (prepared.options(",snapshots=latest"), 1, "mount option snapshots is not known"),
        (prepared.options(",threads=many"), 1, "invalid value 'many' for '--threads <N>'"),
        (prepared.options(",remount"), 1, "a mount of icecore cannot be changed"),
        (prepared.options(",snapshot=latest:/none"), 32, " holds no /none"),
        ("passphrase-file=/none".to_owned(), 32, "cannot read passphrase file /none"),
    ] {
        let args = [repository.as_str(), &point, "-o", &options];
        let output = prepared.helper("mount.icecore", &args);
        assert_eq!(output.status.code(), Some(code), "{options}: {}", said(&output));
        assert!(said(&output).contains(what), "{options}: {}", said(&output));
    }
    let options = prepared.options(",snapshots=latest");
    let output = prepared.helper("mount.icecore", &[&repository, &point, "-sf", "-o", &options]);
    assert!(output.status.success() && said(&output).contains("left out"), "{}", said(&output));
    assert_eq!(source_of(&prepared.point), None, "only tried");
}

/// mount(8) looks for programs in the system's own folders only.
const FSTAB: &str = r#"
set -e
mount -t tmpfs tmpfs /usr/local/bin && ln -s "$ICECORE" /usr/local/bin/icecore
for again in 1 2; do
    mount -T fstab -a
    grep -c " $PWD/point .*fuse.icecore $PWD/repository " /proc/self/mountinfo
done
cat point/srv/f && echo
umount point
ls point
mount -T fstab point
./bin/icecore umount -q point
"#;

#[test]
fn mount_reads_fstab_and_mounts_once() {
    require_root();
    let prepared = Prepared::new();
    let line = format!(
        "{} {} fuse.icecore {},snapshot=latest,allow_other,nofail,_netdev,x-systemd.requires=x 0 0\n",
        prepared.path("repository"),
        prepared.path("point"),
        prepared.options("")
    );
    fs::write(prepared.path("fstab"), line).unwrap();
    let mut script = Command::new("unshare");
    script.args(["--mount", "sh", "-c", FSTAB]).current_dir(prepared.sandbox.path());
    script.env("ICECORE", env!("CARGO_BIN_EXE_icecore")).env_remove("ICECORE_PASSPHRASE");
    let output = script.output().expect("unshare runs");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n1\ncontent\n", "{}", said(&output));
}
