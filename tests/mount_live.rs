//! Snapshots that come and go under a mount that is in use.
//!
//! Guards what a long-lived mount lives by: a new snapshot is there without a remount, in every
//! view; one that is removed is gone from all of them; and who has something of it open reads on.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use icecore as lib;
use icecore::format::Time;
use icecore::repo::{Marker, SnapshotFilter, TagState};

#[allow(dead_code)] // shared
mod mount_tree;
#[allow(dead_code)] // shared
mod mount_world;

use mount_tree::Item;
use mount_world::{NOON, World};

/// Two seconds are promised; a machine under load gets more before the test gives up.
const PATIENCE: Duration = Duration::from_secs(10);

fn names(path: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

fn soon(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

fn remove(world: &World, name: &str) {
    let short = name.rsplit('-').next().unwrap();
    let folder = world.repository().join("snapshots");
    let all = names(&folder);
    let id = all.iter().find(|id| id.starts_with(short)).unwrap();
    fs::remove_file(folder.join(id)).unwrap();
}

fn tree(text: &str) -> Item {
    Item::directory().with("d", Item::directory().with("f.txt", Item::file(text)))
}

#[test]
fn views_follow_what_comes_and_goes() {
    let mut world = World::new();
    let first = world.commit(&tree("one"), NOON);
    world.mount();
    let at = world.mountpoint();
    let versions = at.join("versions/d/f.txt");
    assert_eq!(names(at.join("diff")), Vec::<String>::new());
    assert_eq!(names(&versions), [format!("{first}.txt")]);

    let second = world.commit(&tree("two"), NOON + 1);
    let pair = format!("{first}..{second}");
    soon("a pair is listed", || names(at.join("diff")) == [pair.clone()]);
    let both = [&first, &second].map(|name| format!("{name}.txt"));
    soon("a version is listed", || names(&versions) == both);
    let changed = at.join("diff/latest~1..latest/changed/d/f.txt");
    soon("the pair is found by another name", || changed.exists());
    assert_eq!(fs::read(&changed).unwrap(), b"two");
    soon("by its source", || names(at.join("sources/_")) == [first.clone(), second.clone()]);

    remove(&world, &second);
    soon("no pair is listed", || names(at.join("diff")).is_empty());
    soon("one version is listed", || names(&versions) == [both[0].clone()]);
    soon("latest goes back", || fs::read(world.latest("d/f.txt")).unwrap() == b"one");
    soon("the name is gone", || !at.join("snapshots").join(&second).exists());
    soon("the pair is gone", || !at.join("diff").join(&pair).exists());
    soon("the version is gone", || !versions.join(&both[1]).exists());
}

#[test]
fn what_is_open_of_a_removed_snapshot_is_read_to_its_end() {
    let bytes: Vec<u8> = (0..600_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut world = World::new();
    world.commit(&tree("old"), NOON);
    let big = Item::directory()
        .with("big", Item::file(bytes.clone()))
        .with("d", Item::directory().with("f.txt", Item::file("new")));
    let name = world.commit(&big, NOON + 1);
    world.mount();
    let snapshot = world.mountpoint().join("snapshots").join(&name);
    let mut file = fs::File::open(snapshot.join("big")).unwrap();
    let mut version =
        fs::File::open(world.mountpoint().join(format!("versions/d/f.txt/{name}.txt"))).unwrap();
    let folder = fs::File::open(snapshot.join("d")).unwrap();
    let number = folder.metadata().unwrap().ino();
    remove(&world, &name);
    soon("it is gone", || !snapshot.exists());
    let (mut read, mut text) = (Vec::new(), String::new());
    file.read_to_end(&mut read).unwrap();
    assert!(read == bytes);
    version.read_to_string(&mut text).unwrap();
    assert_eq!(text, "new");
    assert_eq!(folder.metadata().unwrap().ino(), number);
    let within = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&folder));
    assert_eq!(names(within), ["f.txt"]);
}

#[test]
fn what_is_forgotten_goes_and_what_is_open_of_it_is_read_on() {
    let mut world = World::new();
    let first = world.commit(&tree("old"), NOON);
    let second = world.commit(&tree("new"), NOON + 1);
    world.mount();
    let at = world.mountpoint();
    let mut open = fs::File::open(world.latest("d/f.txt")).unwrap();
    let repo = world.open();
    let latest = repo.find_snapshot("latest", &SnapshotFilter::default()).unwrap();
    let by = Marker { host: "h".into(), now: Time::default() };
    repo.forget(latest.id, &by).unwrap();
    soon("it is gone", || !at.join("snapshots").join(&second).exists());
    soon("from all views", || names(at.join("tags/nightly")) == [first.clone()]);
    soon("latest goes back", || fs::read(world.latest("d/f.txt")).unwrap() == b"old");
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "new");

    let left = repo.find_snapshot("latest", &SnapshotFilter::default()).unwrap();
    let edit = |state: &mut TagState| state.tags.push("release".into());
    repo.retag(&mut repo.marks().unwrap(), &left, &by, edit).unwrap();
    soon("the tag is there", || names(at.join("tags")) == ["nightly", "release"]);
    repo.unforget(latest.id, &by).unwrap();
    soon("it is back", || at.join("snapshots").join(&second).join("d/f.txt").exists());
}

#[test]
fn looking_at_everything_while_snapshots_come_and_go_gives_no_error_but_absence() {
    let mut world = World::new();
    world.commit(&tree("first"), NOON);
    world.mount();
    let done = std::sync::atomic::AtomicBool::new(false);
    let ordering = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(ordering) {
                    look(&world.mountpoint().join("versions"));
                    look(&world.mountpoint().join("diff"));
                    look(&world.mountpoint().join(".icecore"));
                }
            });
        }
        for n in 1..12 {
            let name = world.commit(&tree(&format!("{n}")), NOON + n);
            soon("it is there", || world.mountpoint().join("snapshots").join(&name).exists());
            if n % 2 == 0 {
                remove(&world, &name);
            }
        }
        done.store(true, ordering);
    });
}

/// Reads all below; what is gone or has changed since it was listed is no failure.
fn look(path: &Path) {
    let is_gone = |err: &std::io::Error| {
        err.kind() == std::io::ErrorKind::NotFound || err.raw_os_error() == Some(libc::ESTALE)
    };
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(err) if is_gone(&err) => return,
        Err(err) => panic!("{}: {err}", path.display()),
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(err) if is_gone(&err) => return,
            Err(err) => panic!("in {}: {err}", path.display()),
        };
        if entry.file_type().unwrap().is_dir() {
            look(&entry.path());
        } else if let Err(err) = fs::read(entry.path()) {
            assert!(is_gone(&err), "{}: {err}", entry.path().display());
        }
    }
}
