//! Whom a mount shows entries to belong to, and that the kernel enforces it.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Mounted, Sandbox, require_root, run_ok};

const NOBODY: u32 = 65534;

/// A repository with one snapshot: `secret` and `door/inner` of the owner alone. Ingested where user
/// and group "nobody" have the numbers 4242 and 4243.
fn prepared(sandbox: &Sandbox) -> PathBuf {
    require_root();
    let source = sandbox.folder("source");
    fs::create_dir(source.join("door")).unwrap();
    fs::write(source.join("door/inner"), "inner").unwrap();
    fs::write(source.join("secret"), "secret").unwrap();
    for (path, mode) in [("secret", 0o600), ("door", 0o700), ("door/inner", 0o644)] {
        chown(source.join(path), Some(4242), Some(4243)).unwrap();
        fs::set_permissions(source.join(path), PermissionsExt::from_mode(mode)).unwrap();
    }
    let passwd = sandbox.path().join("passwd");
    fs::write(&passwd, "root:x:0:0::/:/bin/sh\nnobody:x:4242:4243::/:/bin/sh\n").unwrap();
    let group = sandbox.path().join("group");
    fs::write(&group, "root:x:0:\nnogroup:x:4243:\n").unwrap();
    sandbox.icecore().args(["init", "-q", "repository"]).assert().success();
    let script = format!(
        "mount --bind passwd /etc/passwd && mount --bind group /etc/group && \
         exec {} -r repository ingest -q -C source .",
        env!("CARGO_BIN_EXE_icecore")
    );
    let mut ingest = Command::new("unshare");
    ingest.args(["--mount", "sh", "-c", &script]).current_dir(sandbox.path());
    ingest.env("HOME", sandbox.path()).env("ICECORE_PASSPHRASE", common::PASSPHRASE);
    assert!(ingest.status().expect("unshare runs").success());
    sandbox.path().join("repository")
}

fn owner(mount: &Mounted, path: &str) -> (u32, u32) {
    let meta = fs::symlink_metadata(mount.latest().join(path)).unwrap();
    (meta.uid(), meta.gid())
}

/// Whether a user can read a file.
fn reads(uid: u32, path: &Path) -> bool {
    let id = uid.to_string();
    let mut cat = Command::new("setpriv");
    cat.args(["--reuid", &id, "--regid", &id, "--clear-groups", "cat"]).arg(path);
    cat.output().expect("setpriv runs").status.success()
}

/// The sandbox lies where plain users may not go, so what they are to read is mounted elsewhere.
fn mount_for_all(sandbox: &Sandbox, options: &[&str]) -> (Mounted, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let point = folder.path().join("mnt");
    fs::create_dir(&point).unwrap();
    let mut mount = sandbox.icecore();
    mount.args(["-r", "repository", "mount", "-q", "--allow-other"]).args(options).arg(&point);
    mount.assert().success();
    (Mounted::adopt(point), folder)
}

#[test]
fn ids_are_those_of_the_source_unless_told() {
    let sandbox = Sandbox::new();
    let repository = prepared(&sandbox);
    for (options, expected) in [
        (&[][..], (4242, 4243)),
        (&["--uid", "7"], (7, 4243)),
        (&["--uid", "nobody", "--gid", "nogroup"], (NOBODY, NOBODY)),
        (&["--map-owner"], (NOBODY, NOBODY)),
        (&["--map-owner", "--gid", "8"], (NOBODY, 8)),
    ] {
        let mount = sandbox.mount(&repository, options);
        for path in ["secret", "door", "door/inner"] {
            assert_eq!(owner(&mount, path), expected, "{path} {options:?}");
        }
        let listed = run_ok(
            "find",
            &[&mount.latest().join("door/"), Path::new("-printf"), Path::new("%U %G\n")],
        );
        let line = format!("{} {}\n", expected.0, expected.1);
        assert_eq!(listed, line.repeat(2), "listed {options:?}");
        mount.unmount();
    }
}

#[test]
fn permissions_are_those_of_the_ids_that_are_shown() {
    let sandbox = Sandbox::new();
    prepared(&sandbox);
    for (options, who_reads) in
        [(&[][..], 4242), (&["--uid", "5555"], 5555), (&["--map-owner"], NOBODY)]
    {
        let (mount, _folder) = mount_for_all(&sandbox, options);
        for path in ["secret", "door/inner"] {
            for uid in [4242, 5555, NOBODY, 1] {
                let path = mount.latest().join(path);
                assert_eq!(reads(uid, &path), uid == who_reads, "{uid} {options:?}");
            }
        }
        mount.unmount();
    }
}

/// What a plain user does, in a place where /dev/fuse is open to all, as it is on most systems.
const BROWSE: &str = r#"
set -e
mknod fuse c 10 229 && chmod 666 fuse && mount --bind fuse /dev/fuse
user() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
reads() { "$@" cat mnt/latest/secret mnt/latest/door/inner >/dev/null 2>&1 && echo yes || echo no; }
user ./icecore -r repository mount -q mnt
reads user
user ./icecore umount -q mnt
user ./icecore -r repository mount -q --uid 65534 mnt
reads user
reads setpriv --reuid 1 --regid 65534 --clear-groups
reads
user sh -c 'cd mnt && ../icecore umount --wait 0 ../mnt' || echo refused $?
user ./icecore umount -q mnt
ls mnt
"#;

#[test]
fn a_plain_user_browses_what_is_shown_as_their_own() {
    let sandbox = Sandbox::new();
    let repository = prepared(&sandbox);
    let folder = tempfile::tempdir().unwrap();
    fs::copy(env!("CARGO_BIN_EXE_icecore"), folder.path().join("icecore")).unwrap();
    run_ok("cp", &[Path::new("-r"), &repository, &folder.path().join("repository")]);
    fs::create_dir(folder.path().join("mnt")).unwrap();
    run_ok("chown", &[Path::new("-R"), Path::new("65534:65534"), folder.path()]);
    let mut script = Command::new("unshare");
    script.args(["--mount", "sh", "-c", BROWSE]).current_dir(folder.path());
    script.env("HOME", folder.path()).env("ICECORE_PASSPHRASE", common::PASSPHRASE);
    let output = script.output().expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // Not as somebody else's; as one's own; nobody else looks, whatever the modes, and not even root.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "no\nyes\nno\nno\nrefused 11\n", "{said}");
    assert!(said.contains(" sh of nobody: works in "), "{said}");
    assert!(said.contains("; root also sees processes of other users"), "{said}");
}
