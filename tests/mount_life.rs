//! A mount over time: snapshots that come, damage, mounts that are refused, taking it down.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use icecore as lib;
use icecore::fuse::{FuseError, Readers, umount};

#[allow(dead_code)] // shared
mod mount_tree;
#[allow(dead_code)] // shared
mod mount_world;

use mount_tree::Item;
use mount_world::{NOON, World, run};

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

/// Looks again until it is so: the kernel may keep what is above the snapshots for a second, and
/// so may the tree.
fn within_seconds(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(5), "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_new_snapshot_appears_and_latest_follows() {
    let mut world = World::new();
    world.mount();
    let root = world.mountpoint();
    let snapshots = root.join("snapshots");
    let all = [".icecore", "diff", "hosts", "snapshots", "sources", "tags", "versions"];
    assert_eq!(names(&root), all);
    assert!(names(&snapshots).is_empty());
    let tree = |text: &str| Item::directory().with("f", Item::file(text));
    let first = world.commit(&tree("one"), NOON);
    within_seconds("the first is listed", || names(&snapshots) == [first.clone()]);
    within_seconds("latest is there", || fs::read(world.latest("f")).is_ok_and(|t| t == b"one"));
    let second = world.commit(&tree("two"), NOON + 1);
    within_seconds("the second is listed", || names(&snapshots) == [first.clone(), second.clone()]);
    within_seconds("latest follows", || fs::read(world.latest("f")).unwrap() == b"two");
    assert_eq!(fs::read(snapshots.join(&first).join("f")).unwrap(), b"one");
    let target = PathBuf::from("snapshots").join(&second);
    assert_eq!(fs::read_link(root.join("latest")).unwrap(), target);
    within_seconds("by host", || names(&root.join("hosts")) == ["web_1"]);
    let by_tag = root.join("tags/nightly").join(&first).join("f");
    within_seconds("by tag", || fs::read(&by_tag).is_ok_and(|text| text == b"one"));
}

#[test]
fn damage_fails_what_it_hits_and_nothing_else() {
    let bytes = |seed: u8| -> Vec<u8> {
        let mut reader = blake3::Hasher::new().update(&[seed]).finalize_xof();
        let mut bytes = vec![0; 3_000_000];
        reader.fill(&mut bytes);
        bytes
    };
    let mut world = World::new();
    let (good, bad) = (bytes(1), bytes(2));
    world.commit(&Item::directory().with("good", Item::file(good.clone())), NOON);
    let packs = |world: &World| -> Vec<String> {
        let found = run("find", &[&world.repository().join("data"), &"-type", &"f"]);
        found.lines().map(str::to_owned).collect()
    };
    let before = packs(&world);
    let both = Item::directory()
        .with("good", Item::file(good.clone()))
        .with("bad", Item::file(bad.clone()));
    world.commit(&both, NOON + 1);
    let after = packs(&world);
    for pack in after.iter().filter(|pack| !before.contains(pack)) {
        let mut stored = fs::read(pack).unwrap();
        let middle = stored.len() / 2;
        stored[middle] ^= 0x10;
        fs::write(pack, stored).unwrap();
    }
    world.mount();
    let failed = fs::read(world.latest("bad")).unwrap_err();
    assert_eq!(failed.raw_os_error(), Some(libc::EIO));
    assert!(fs::read(world.latest("good")).unwrap() == good);
    let file = fs::File::open(world.latest("bad")).unwrap();
    let mut wrong = 0;
    let mut part = vec![0; 4096];
    for offset in (0..bad.len() - 4096).step_by(4096) {
        match std::os::unix::fs::FileExt::read_exact_at(&file, &mut part, offset as u64) {
            Ok(()) => assert!(part == bad[offset..offset + 4096], "never wrong bytes"),
            Err(err) => {
                assert_eq!(err.raw_os_error(), Some(libc::EIO));
                wrong += 1;
            }
        }
    }
    assert!((1..=256).contains(&wrong), "only around the damage: {wrong} pages");
    assert_eq!(names(&world.latest("")), ["bad", "good"]);
}

#[test]
fn content_that_comes_back_is_read_again() {
    let mut world = World::new();
    let bytes: Vec<u8> = (0..2_000_000_u32).flat_map(|n| (n ^ n << 13).to_le_bytes()).collect();
    world.commit(&Item::directory().with("f", Item::file(bytes.clone())), NOON);
    world.mount();
    let (data, away) = (world.repository().join("data"), world.repository().join("away"));
    fs::rename(&data, &away).unwrap();
    let failed = fs::read(world.latest("f")).unwrap_err();
    assert_eq!(failed.raw_os_error(), Some(libc::EIO));
    assert_eq!(names(&world.latest("")), ["f"], "the mount stays");
    fs::rename(&away, &data).unwrap();
    assert!(fs::read(world.latest("f")).unwrap() == bytes);
}

#[test]
fn mountpoints_that_cannot_work_are_refused() {
    let world = World::new();
    let folder = world.folder.path().canonicalize().unwrap();
    let inside = folder.join("repo/data");
    for path in [&folder.join("repo"), &inside, &folder] {
        let refused = world.try_mount(path).unwrap_err();
        assert!(matches!(refused, FuseError::OverRepository { .. }), "{refused}");
    }
    let linked = folder.join("innocent");
    std::os::unix::fs::symlink(&inside, &linked).unwrap();
    let refused = world.try_mount(&linked).unwrap_err();
    assert!(matches!(refused, FuseError::OverRepository { .. }), "{refused}");
    let refused = world.try_mount(&folder.join("absent")).unwrap_err();
    assert!(matches!(refused, FuseError::Mountpoint { .. }), "{refused}");
    let file = folder.join("file");
    fs::write(&file, "").unwrap();
    let refused = world.try_mount(&file).unwrap_err();
    assert!(matches!(refused, FuseError::NotDirectory { .. }), "{refused}");
}

#[test]
fn a_mountpoint_is_used_once_and_given_back() {
    let mut world = World::new();
    world.commit(&Item::directory().with("f", Item::file("x")), NOON);
    world.mount();
    let at = world.mountpoint();
    let refused = world.try_mount(&at).unwrap_err();
    assert!(matches!(refused, FuseError::AlreadyMounted { .. }), "{refused}");
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.contains(at.to_str().unwrap())).unwrap();
    for part in [" fuse.icecore icecore:", "ro,nosuid,nodev", "default_permissions"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let device = line.split(' ').nth(2).unwrap();
    let readahead = fs::read_to_string(format!("/sys/class/bdi/{device}/read_ahead_kb")).unwrap();
    assert_eq!(readahead.trim(), "4096", "the kernel's own default is 128");
    let inode = fs::metadata(world.latest("f")).unwrap().ino();

    let reader = fs::File::open(world.latest("f")).unwrap();
    let busy = umount(&at, Readers::Respect).unwrap_err();
    assert!(busy.is_busy(), "{busy}");
    assert_eq!(fs::read(world.latest("f")).unwrap(), b"x", "still served");
    drop(reader);
    umount(&at, Readers::Respect).unwrap();
    world.unmount_done();
    let gone = umount(&at, Readers::Respect).unwrap_err();
    assert!(gone.is_not_mounted(), "{gone}");
    assert!(names(&at).is_empty());
    let refused = umount(Path::new("/proc"), Readers::Respect).unwrap_err();
    assert!(refused.is_not_mounted(), "nothing but our own: {refused}");

    world.mount();
    assert_eq!(fs::metadata(world.latest("f")).unwrap().ino(), inode, "the same after a remount");
}

#[test]
fn readers_may_outlive_the_mount() {
    let bytes = vec![7; 2_000_000];
    let mut world = World::new();
    world.commit(&Item::directory().with("f", Item::file(bytes.clone())), NOON);
    world.mount();
    let mut reader = fs::File::open(world.latest("f")).unwrap();
    umount(&world.mountpoint(), Readers::Outlive).unwrap();
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut read).unwrap();
    assert!(read == bytes);
    drop(reader);
    world.unmount_done();
}

/// Opens handles (of name_to_handle_at(2)) of the paths that it is given, on a mount of its own
/// each time it reads a line, and says what stands there.
const HANDLES: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
point, paths = sys.argv[1], sys.argv[2:]
handles = []
for path in paths:
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 8 + 128)
    mount = ctypes.c_int()
    if libc.name_to_handle_at(-100, path.encode(), handle, ctypes.byref(mount), 0):
        sys.exit("no handle of " + path)
    handles.append((path, os.lstat(path).st_ino, handle))
print("taken", flush=True)
sys.stdin.readline()
root = os.open(point, os.O_RDONLY | os.O_DIRECTORY)
for path, number, handle in handles:
    fd = libc.open_by_handle_at(root, handle, os.O_RDONLY)
    if fd < 0:
        sys.exit(path + ": " + os.strerror(ctypes.get_errno()))
    assert os.fstat(fd).st_ino == number, path
    if os.path.isdir(path):
        assert sorted(os.listdir(fd)) == sorted(os.listdir(path)), path
        assert os.stat("..", dir_fd=fd).st_ino == os.stat(path + "/..").st_ino, path
    os.close(fd)
print("found", flush=True)
"#;

#[test]
fn handles_of_a_network_server_are_good_after_a_remount() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};
    let mut world =
        World::of(&Item::directory().with("linked", Item::file("x").link(3, 2)).with("a", {
            let deep = Item::directory().with("f", Item::file("x"));
            Item::directory().with("b", deep).with("too", Item::file("x").link(3, 2))
        }));
    let snapshot = fs::canonicalize(world.latest("")).unwrap();
    let paths = ["", "a", "a/b", "a/b/f", "linked"].map(|path| snapshot.join(path));
    let mut python = Command::new("python3");
    python.args(["-c", HANDLES]).arg(world.mountpoint()).args(&paths);
    let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "taken");
    world.take_down();
    world.mount();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(said.next().and_then(Result::ok).as_deref(), Some("found"));
    assert!(child.wait().unwrap().success());
}
