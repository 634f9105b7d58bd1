//! The background process: ready means mounted, failure is the parent's failure too, and nothing
//! of who started it is kept.
//!
//! The child is this very test program: `launch` starts `/proc/self/exe`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use icecore as lib;
use icecore::fuse::daemon::{Background, Launched, launch};
use icecore::fuse::{self, MountOptions, Readers, umount};

#[allow(dead_code)] // shared
mod mount_tree;
#[allow(dead_code)] // shared
mod mount_world;

use mount_tree::Item;
use mount_world::{NOON, World, open};

const CHILD: &str = "the_child_serves_until_unmounted";

/// What `icecore mount` does in the background; the paths come as the secret.
#[test]
#[ignore = "run by the other tests in a process of its own"]
#[expect(clippy::print_stderr)] // what the log must get
fn the_child_serves_until_unmounted() {
    let (background, secret) = Background::begin().unwrap();
    let mut paths =
        secret.split(|&byte| byte == 0).map(|path| PathBuf::from(OsString::from_vec(path.into())));
    let (repository, mountpoint) = (paths.next().unwrap(), paths.next().unwrap());
    let log = paths.next().unwrap();
    let mounted = fuse::mount(open(&repository), &mountpoint, MountOptions::default()).unwrap();
    background.ready(Some(&log)).unwrap();
    eprintln!("serving");
    mounted.wait().unwrap();
}

/// A variable that every test process has.
const HIDDEN: &str = "CARGO_PKG_NAME";

fn start(world: &World, mountpoint: &Path) -> Launched {
    let log = world.folder.path().join("log");
    let paths = [&world.repository(), mountpoint, &log];
    let secret = paths.map(|path| path.as_os_str().as_bytes()).join(&0);
    let args = [CHILD, "--exact", "--ignored", "--nocapture"].map(OsString::from);
    launch(args, &secret, [HIDDEN], |_| {}).unwrap()
}

#[test]
fn launch_returns_once_the_mount_can_be_used() {
    let world = World::new();
    world.commit(&Item::directory().with("f", Item::file("x")), NOON);
    let Launched::Ready { pid } = start(&world, &world.mountpoint()) else { panic!("not ready") };
    assert_eq!(fs::read(world.latest("f")).unwrap(), b"x");
    let process = PathBuf::from(format!("/proc/{pid}"));
    assert_eq!(fs::read_link(process.join("cwd")).unwrap(), Path::new("/"));
    let environment = fs::read(process.join("environ")).unwrap();
    let told = |name| environment.split(|&byte| byte == 0).any(|it| it.starts_with(name));
    assert!(std::env::var_os(HIDDEN).is_some() && !told(HIDDEN.as_bytes()));
    // Told before it lets go, so that a slow log cannot delay the user.
    let log = world.folder.path().join("log");
    eventually(|| fs::read_link(process.join("fd/2")).is_ok_and(|to| to == log));
    eventually(|| fs::read_link(process.join("fd/1")).is_ok_and(|to| to == log));
    assert_eq!(fs::read_link(process.join("fd/0")).unwrap(), Path::new("/dev/null"));
    eventually(|| fs::read_to_string(&log).is_ok_and(|text| text.contains("serving")));
    let stat = fs::read_to_string(process.join("stat")).unwrap();
    let session = stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap();
    assert_eq!(session, pid.to_string(), "a session of its own");

    umount(&world.mountpoint(), Readers::Respect).unwrap();
    let ended = || fs::read_to_string(process.join("stat")).is_ok_and(|stat| stat.contains(") Z "));
    eventually(ended);
}

#[test]
fn a_child_that_fails_is_a_failure() {
    let world = World::new();
    let Launched::Failed { code } = start(&world, &world.repository()) else {
        panic!("mounted over its repository")
    };
    assert_eq!(code, 101, "the child's own");
}

fn eventually(so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(5));
        std::thread::yield_now();
    }
}
