//! The tree over a repository in memory, asked as the kernel would ask, without a kernel.
//!
//! Guards what would be silent on a mount: two files of one number, an entry that a continued
//! listing skips, a number that outlives its forget, bytes where there should be an error.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate as lib;
use crate::format::Kind;
use crate::format::{Body, Folder, ObjectKey, PackKind, Time};
use crate::repo::{InitOptions, Marker, OpenOptions, Repository, TagState};
use crate::storage::{MemoryStorage, Storage};

use super::*;

#[path = "../../tests/mount_tree/mod.rs"]
pub(crate) mod mount_tree;

use mount_tree::{Item, Piece, What, commit};

pub(super) const NOON: i64 = 1_795_349_045;

pub(super) struct World {
    pub(super) storage: Arc<MemoryStorage>,
    pub(super) repo: Arc<Repository>,
}

impl World {
    pub(super) fn new() -> Self {
        let storage = Arc::new(MemoryStorage::new());
        Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
        let repo = Self::open(&storage);
        Self { storage, repo }
    }

    pub(super) fn open(storage: &Arc<MemoryStorage>) -> Arc<Repository> {
        let storage: Arc<dyn Storage> = storage.clone();
        Arc::new(Repository::open(storage, None, &OpenOptions::default()).unwrap())
    }

    pub(super) fn vfs(&self) -> Vfs {
        self.vfs_with(VfsOptions::default()).unwrap()
    }

    pub(super) fn vfs_with(&self, options: VfsOptions) -> Result<Vfs, RepoError> {
        let options = VfsOptions { uid: 5, gid: 6, refresh: Duration::ZERO, ..options };
        Vfs::new(Self::open(&self.storage), options)
    }
}

pub(super) fn walk(vfs: &Vfs, path: &str) -> Result<Entry> {
    let mut ino = Ino::ROOT;
    let mut entry = Err(VfsError::NotFound);
    for name in path.split('/') {
        let found = vfs.lookup(ino, name.as_bytes())?;
        ino = found.attr.ino;
        entry = Ok(found);
    }
    entry
}

/// Names and numbers of a directory, listed `step` entries at a time.
pub(super) fn names(vfs: &Vfs, ino: Ino, step: usize) -> Vec<(String, Ino)> {
    let (mut names, mut offset) = (Vec::new(), 0);
    loop {
        let mut left = step;
        let before = names.len();
        vfs.list(ino, offset, Listing::Lookups, &mut |entry| {
            if left == 0 {
                return false;
            }
            left -= 1;
            offset = entry.next;
            names.push((String::from_utf8_lossy(entry.name).into_owned(), entry.attr.ino));
            true
        })
        .unwrap();
        if names.len() == before {
            return names;
        }
    }
}

pub(super) fn plain_names(vfs: &Vfs, ino: Ino) -> Vec<String> {
    names(vfs, ino, usize::MAX).into_iter().map(|(name, _)| name).skip(2).collect()
}

pub(super) fn read(vfs: &Vfs, path: &str) -> Vec<u8> {
    let attr = walk(vfs, path).unwrap().attr;
    let mut bytes = vec![0xaa; attr.size as usize + 10];
    let count = vfs.read_at(attr.ino, 0, &mut bytes).unwrap();
    bytes.truncate(count);
    bytes
}

#[test]
fn an_empty_repository_has_no_snapshots_and_no_latest() {
    let vfs = World::new().vfs();
    let all = [".icecore", "diff", "hosts", "snapshots", "sources", "tags", "versions"];
    assert_eq!(plain_names(&vfs, Ino::ROOT), all);
    let snapshots = walk(&vfs, "snapshots").unwrap();
    assert_eq!((snapshots.lifetime, snapshots.attr.mode), (Lifetime::Short, 0o555));
    assert_eq!((snapshots.attr.uid, snapshots.attr.gid), (5, 6));
    assert!(plain_names(&vfs, snapshots.attr.ino).is_empty());
    assert!(matches!(walk(&vfs, "latest"), Err(VfsError::NotFound)));
}

#[test]
fn snapshots_appear_and_links_lead_to_them() {
    let world = World::new();
    let vfs = world.vfs();
    let root = Item::directory().with("hello", Item::file("hello"));
    let first = commit(&world.repo, &root, NOON, &["daily", "a/b"]);
    let name = format!("2026-11-22T120405Z-{}", first.id.short());
    assert_eq!(plain_names(&vfs, walk(&vfs, "snapshots").unwrap().attr.ino), [name.as_str()]);
    let latest = walk(&vfs, "latest").unwrap().attr;
    assert_eq!(vfs.read_link(latest.ino).unwrap(), format!("snapshots/{name}").into_bytes());
    assert_eq!(read(&vfs, &format!("snapshots/{name}/hello")), b"hello");
    let before = vfs.attr(Ino::ROOT).unwrap().mtime;

    let second = commit(&world.repo, &root, NOON + 1, &["daily"]);
    let newer = format!("2026-11-22T120406Z-{}", second.id.short());
    let later = walk(&vfs, "latest").unwrap().attr;
    assert_ne!(later.ino, latest.ino, "the kernel caches targets by number");
    assert_eq!(vfs.read_link(later.ino).unwrap(), format!("snapshots/{newer}").into_bytes());
    assert!(vfs.attr(Ino::ROOT).unwrap().mtime > before, "cached listings go by mtime");
    for (directory, expected) in [
        ("hosts/web_1", vec![&name, &newer]),
        ("tags/daily", vec![&name, &newer]),
        ("tags/a_b", vec![&name]),
    ] {
        let ino = walk(&vfs, directory).unwrap().attr.ino;
        assert_eq!(plain_names(&vfs, ino).iter().collect::<Vec<_>>(), expected, "{directory}");
        let link = walk(&vfs, &format!("{directory}/{name}")).unwrap().attr;
        let target = vfs.read_link(link.ino).unwrap();
        assert_eq!(target, format!("../../snapshots/{name}").into_bytes());
    }
}

#[test]
fn a_listing_goes_on_while_snapshots_come_and_go() {
    let world = World::new();
    let vfs = world.vfs();
    let root = Item::directory();
    let ids: Vec<_> = (0..4).map(|n| commit(&world.repo, &root, NOON + n, &[]).id).collect();
    let ino = walk(&vfs, "snapshots").unwrap().attr.ino;
    let (mut seen, mut offset) = (Vec::new(), 0);
    vfs.list(ino, 0, Listing::Names, &mut |entry| {
        if seen.len() == 4 {
            return false;
        }
        offset = entry.next;
        seen.push(entry.name.to_vec());
        true
    })
    .unwrap();
    commit(&world.repo, &root, NOON - 100, &[]);
    world.storage.delete(&ObjectKey::Snapshot(ids[0])).unwrap();
    assert!(walk(&vfs, "latest").is_ok());
    vfs.list(ino, offset, Listing::Names, &mut |entry| {
        seen.push(entry.name.to_vec());
        true
    })
    .unwrap();
    let distinct: HashSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (7, 7), "2 dots, 4 old, 1 new");
    assert_eq!(plain_names(&vfs, ino).len(), 4);
}

#[test]
fn what_is_forgotten_goes_and_new_tags_come() {
    let world = World::new();
    let root = Item::directory().with("hello", Item::file("hello"));
    let first = commit(&world.repo, &root, NOON, &["daily"]);
    let second = commit(&world.repo, &root, NOON + 1, &["daily"]);
    let vfs = world.vfs();
    let listed = |path: &str| {
        let mut names = plain_names(&vfs, walk(&vfs, path).unwrap().attr.ino);
        names.sort_unstable();
        names
    };
    let open = walk(&vfs, &format!("snapshots/{}/hello", listed("snapshots")[1])).unwrap();
    let by = Marker { host: String::new(), now: Time::default() };
    world.repo.forget(second.id, &by).unwrap();
    assert_eq!(listed("snapshots").len(), 1);
    assert_eq!(listed("tags/daily").len(), 1);
    assert!(listed("diff").is_empty());
    let latest = walk(&vfs, "latest").unwrap().attr.ino;
    let target = String::from_utf8(vfs.read_link(latest).unwrap()).unwrap();
    assert!(target.ends_with(&first.id.short()), "{target}");
    let mut bytes = [0; 5];
    assert_eq!(vfs.read_at(open.attr.ino, 0, &mut bytes).unwrap(), 5, "it was open before");

    let before = vfs.attr(Ino::ROOT).unwrap().mtime;
    let mut marks = world.repo.marks().unwrap();
    let edit = |state: &mut TagState| state.tags = vec!["release".into()];
    world.repo.retag(&mut marks, &first, &by, edit).unwrap();
    assert_eq!(listed("tags"), ["release"]);
    assert!(vfs.attr(Ino::ROOT).unwrap().mtime > before, "cached listings go by mtime");
    world.repo.unforget(second.id, &by).unwrap();
    assert_eq!(listed("snapshots").len(), 2);
    assert_eq!(listed("tags"), ["daily", "release"]);
}

#[test]
fn a_damaged_snapshot_hides_no_other() {
    let world = World::new();
    let root = Item::directory();
    let bad = commit(&world.repo, &root, NOON, &[]);
    let good = commit(&world.repo, &root, NOON + 1, &[]);
    world.storage.corrupt(&ObjectKey::Snapshot(bad.id), |bytes| bytes.truncate(50));
    let vfs = world.vfs();
    let listed = plain_names(&vfs, walk(&vfs, "snapshots").unwrap().attr.ino);
    assert_eq!(listed.len(), 1);
    assert!(listed[0].ends_with(&good.id.short()));
    let text = String::from_utf8(read(&vfs, ".icecore/status")).unwrap();
    assert!(text.contains("; 1 cannot be read, and may be newer"), "{text}");
}

#[test]
fn equal_pages_share_file_numbers_over_snapshots_and_mounts_and_directories_do_not() {
    let world = World::new();
    let mut tree = Item::directory().with("same", Item::directory());
    for n in 0..500 {
        let What::Directory(entries) = &mut tree.what else { panic!() };
        entries.get_mut(&b"same"[..]).unwrap().add(format!("f{n}"), Item::file(format!("{n}")));
    }
    let changed = tree.clone().with("other", Item::file("new"));
    let first = commit(&world.repo, &tree, NOON, &[]);
    let second = commit(&world.repo, &changed, NOON + 1, &[]);
    let (vfs, again) = (world.vfs(), world.vfs());
    let path = |vfs: &Vfs, id: &str| {
        let all = plain_names(vfs, walk(vfs, "snapshots").unwrap().attr.ino);
        let name = all.into_iter().find(|name| name.ends_with(id)).unwrap();
        format!("snapshots/{name}/same")
    };
    let (a, b) = (path(&vfs, &first.id.short()), path(&vfs, &second.id.short()));
    let ino = |vfs: &Vfs, path: &str| walk(vfs, path).unwrap().attr.ino;
    assert_eq!(ino(&vfs, &format!("{a}/f7")), ino(&vfs, &format!("{b}/f7")));
    assert_eq!(ino(&vfs, &format!("{a}/f7")), ino(&again, &format!("{a}/f7")));
    assert_ne!(ino(&vfs, &a), ino(&vfs, &b), "the kernel allows no aliases of directories");
    assert_eq!(ino(&vfs, &a), ino(&again, &a));
    let numbers: HashSet<_> = names(&vfs, ino(&vfs, &a), 100).into_iter().map(|n| n.1).collect();
    assert_eq!(numbers.len(), 502);
    assert_eq!(vfs.parent(ino(&vfs, &a)).unwrap(), ino(&vfs, a.strip_suffix("/same").unwrap()));
}

#[test]
fn names_of_a_hard_linked_inode_share_a_number_in_their_snapshot_only() {
    let world = World::new();
    let linked = |text: &str| Item::file(text).link(77, 3);
    let tree = |text: &str| {
        Item::directory()
            .with("a", linked(text))
            .with("d", Item::directory().with("b", linked(text)))
            .with("x", Item::file(text))
            .with("y", Item::file(text).link(78, 2))
    };
    commit(&world.repo, &tree("one"), NOON, &["one"]);
    commit(&world.repo, &tree("two"), NOON + 1, &["two"]);
    let vfs = world.vfs();
    let all = plain_names(&vfs, walk(&vfs, "snapshots").unwrap().attr.ino);
    let attr = |snapshot: usize, path: &str| {
        walk(&vfs, &format!("snapshots/{}/{path}", all[snapshot])).unwrap().attr
    };
    for snapshot in [0, 1] {
        assert_eq!(attr(snapshot, "a"), attr(snapshot, "d/b"));
        assert_eq!(attr(snapshot, "a").nlink, 3);
        assert_eq!(attr(snapshot, "x").nlink, 1);
        assert_ne!(attr(snapshot, "a").ino, attr(snapshot, "y").ino);
    }
    assert_ne!(attr(0, "a").ino, attr(1, "a").ino);
    assert_ne!(attr(0, "x").ino, attr(1, "x").ino);
    assert_eq!(read(&vfs, &format!("snapshots/{}/d/b", all[1])), b"two");
}

#[test]
fn listings_continue_at_any_entry_of_a_large_directory() {
    let world = World::new();
    let mut tree = Item::directory();
    for n in 0..20_000 {
        tree.add(format!("{n:06}"), Item::file(""));
    }
    commit(&world.repo, &tree, NOON, &[]);
    let vfs = world.vfs();
    let all = plain_names(&vfs, walk(&vfs, "snapshots").unwrap().attr.ino);
    let root = walk(&vfs, &format!("snapshots/{}", all[0])).unwrap().attr.ino;
    let listed = names(&vfs, root, 37);
    assert_eq!(listed.len(), 20_002);
    assert!(listed.iter().skip(2).enumerate().all(|(n, (name, _))| *name == format!("{n:06}")));
    let distinct: HashSet<_> = listed.iter().map(|(_, ino)| ino).collect();
    assert_eq!(distinct.len(), 20_002);
    for (name, ino) in listed.iter().skip(2).step_by(997) {
        assert_eq!(vfs.lookup(root, name.as_bytes()).unwrap().attr.ino, *ino);
    }
    let mut first = None;
    vfs.list(root, 19_999, Listing::Names, &mut |entry| {
        first.get_or_insert(entry.name.to_vec());
        true
    })
    .unwrap();
    assert_eq!(first.as_deref(), Some(&b"019997"[..]), "an offset is a position");
    vfs.list(root, u64::MAX, Listing::Names, &mut |_| panic!("past the end")).unwrap();
}

#[test]
fn tables_are_empty_once_everything_is_forgotten() {
    let world = World::new();
    let tree = Item::directory()
        .with("d", Item::directory().with("f", Item::file("x")).with("g", Item::file("y")))
        .with("h", Item::file("z").link(4, 2));
    commit(&world.repo, &tree, NOON, &[]);
    let vfs = world.vfs();
    let snapshots = walk(&vfs, "snapshots").unwrap().attr.ino;
    let mut held: BTreeMap<Ino, u64> = BTreeMap::new();
    let mut queue = vec![snapshots];
    while let Some(ino) = queue.pop() {
        for (name, child) in names(&vfs, ino, 1) {
            if name == "." || name == ".." {
                continue;
            }
            *held.entry(child).or_default() += 1;
            if vfs.attr(child).unwrap().kind == Kind::Directory {
                queue.push(child);
            }
        }
    }
    let twice = vfs.lookup(snapshots, held_root(&vfs, snapshots).as_bytes()).unwrap().attr.ino;
    *held.get_mut(&twice).unwrap() += 2;
    let dot = vfs.lookup(twice, b".").unwrap().attr.ino;
    assert_eq!(dot, twice);
    *held.get_mut(&twice).unwrap() += 1;
    vfs.list(twice, 0, Listing::Names, &mut |_| true).unwrap();
    assert!(vfs.remembered() >= 4);
    for (ino, lookups) in held {
        vfs.forget(ino, lookups);
    }
    assert_eq!(vfs.remembered(), 0);
    assert!(matches!(vfs.attr(twice), Err(VfsError::Stale)));
    assert!(matches!(vfs.lookup(twice, b"d"), Err(VfsError::Stale)));
}

/// The first snapshot's name; its look-up in the listing stays held.
fn held_root(vfs: &Vfs, snapshots: Ino) -> String {
    plain_names(vfs, snapshots).swap_remove(0)
}

#[test]
fn attributes_are_the_source_s() {
    let world = World::new();
    let mut special = Item::new(What::Other(Body::CharDevice { major: 4095, minor: 1_048_575 }));
    special.mode = 0o6000;
    (special.uid, special.gid) = (u32::MAX - 1, 7);
    special.mtime = Time { secs: -2, nanos: 500_000_000 };
    special.atime = Some(Time { secs: 1, nanos: 2 });
    let holes = vec![Piece::Hole(1 << 40), Piece::Data(vec![1; 5000]), Piece::Hole(1)];
    let tree = Item::directory()
        .with("dev", special)
        .with("link", Item::symlink(b"\xff\xfe/../x"))
        .with("sparse", Item::new(What::File(holes)))
        .with("tagged", Item::file("abc").xattr("user.empty", b"").xattr("security.x", b"\0\x01"));
    commit(&world.repo, &tree, NOON, &[]);
    let vfs = world.vfs();
    let root = format!("snapshots/{}", held_root(&vfs, walk(&vfs, "snapshots").unwrap().attr.ino));
    let attr = |name: &str| walk(&vfs, &format!("{root}/{name}")).unwrap().attr;

    let dev = attr("dev");
    assert_eq!((dev.kind, dev.mode, dev.rdev), (Kind::CharDevice, 0o6000, (4095, 1_048_575)));
    assert_eq!((dev.uid, dev.gid), (u32::MAX - 1, 7));
    assert_eq!(dev.mtime, Time { secs: -2, nanos: 500_000_000 });
    assert_eq!((dev.atime, attr("link").atime), (Time { secs: 1, nanos: 2 }, attr("link").mtime));
    assert_eq!(vfs.read_link(attr("link").ino).unwrap(), b"\xff\xfe/../x");
    assert_eq!(attr("link").size, 7);
    assert!(matches!(vfs.read_link(dev.ino), Err(VfsError::Invalid)));

    let sparse = attr("sparse");
    assert_eq!((sparse.size, sparse.blocks), ((1 << 40) + 5001, 16));
    let seek = |offset, what| vfs.seek(sparse.ino, offset, what);
    assert_eq!(seek(0, Seek::Data).unwrap(), 1 << 40);
    assert_eq!(seek(1 << 40, Seek::Hole).unwrap(), (1 << 40) + 5000);
    assert!(matches!(seek((1 << 40) + 5000, Seek::Data), Err(VfsError::NoSuchOffset)));
    assert!(matches!(seek(sparse.size, Seek::Hole), Err(VfsError::NoSuchOffset)));
    let mut bytes = [9; 4];
    assert_eq!(vfs.read_at(sparse.ino, (1 << 40) - 2, &mut bytes).unwrap(), 4);
    assert_eq!(bytes, [0, 0, 1, 1]);

    let tagged = attr("tagged").ino;
    assert_eq!(vfs.xattrs(tagged).unwrap(), [&b"security.x"[..], b"user.empty"]);
    assert_eq!(vfs.xattr(tagged, b"user.empty").unwrap(), b"");
    assert_eq!(vfs.xattr(tagged, b"security.x").unwrap(), b"\0\x01");
    assert!(matches!(vfs.xattr(tagged, b"user.none"), Err(VfsError::NoAttribute)));
    let hash = blake3::hash(b"abc").to_hex();
    assert_eq!(vfs.xattr(tagged, b"user.icecore.blake3").unwrap(), hash.as_bytes());
    assert!(matches!(vfs.xattr(dev.ino, b"user.icecore.blake3"), Err(VfsError::NoAttribute)));
    assert_eq!(vfs.figures().entries, 5);
    assert!(vfs.figures().stored > 0);
}

#[test]
fn damage_is_an_error_for_what_it_hits_and_for_nothing_else() {
    let world = World::new();
    let good: Vec<u8> = (0..300_000_u32).map(|n| (n * 7 % 251) as u8).collect();
    let bad: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(n) % 241) as u8).collect();
    commit(&world.repo, &Item::directory().with("good", Item::file(good.clone())), NOON, &[]);
    let packs = |world: &World| -> HashSet<_> {
        let listed = world.storage.list(Folder::Data).unwrap();
        listed.into_iter().filter_map(|listed| listed.key).collect()
    };
    let before = packs(&world);
    let both =
        Item::directory().with("good", Item::file(good.clone())).with("bad", Item::file(bad));
    commit(&world.repo, &both, NOON + 1, &[]);
    for key in packs(&world).difference(&before) {
        assert!(matches!(key, ObjectKey::Pack(PackKind::Data, _)));
        world.storage.corrupt(key, |bytes| bytes[100] ^= 1);
    }
    let vfs = world.vfs();
    let latest = vfs.read_link(walk(&vfs, "latest").unwrap().attr.ino).unwrap();
    let latest = String::from_utf8(latest).unwrap();
    assert_eq!(read(&vfs, &format!("{latest}/good")), good);
    let ino = walk(&vfs, &format!("{latest}/bad")).unwrap().attr.ino;
    let failed = vfs.read_at(ino, 0, &mut [0; 10]).unwrap_err();
    let VfsError::Io { what, source } = &failed else { panic!("{failed}") };
    assert_eq!(what, "\"bad\"");
    assert!(source.to_string().contains("data/"), "{source}");
}

#[test]
fn a_listing_of_the_root_goes_on_after_each_entry() {
    let world = World::new();
    let empty = names(&world.vfs(), Ino::ROOT, 1);
    assert_eq!(empty, names(&world.vfs(), Ino::ROOT, usize::MAX), "equal cookies would skip some");
    commit(&world.repo, &Item::directory(), NOON, &["tag"]);
    let vfs = world.vfs();
    assert_eq!(names(&vfs, Ino::ROOT, 1), names(&vfs, Ino::ROOT, usize::MAX));
    assert_eq!(names(&vfs, Ino::ROOT, 1).len(), empty.len() + 1);
}

#[test]
fn handles_outlive_the_kernels_memory() {
    let world = World::new();
    let linked = |group| {
        let link = Some(crate::format::HardLink { group, count: 2 });
        Item { link, ..Item::file("linked") }
    };
    let deep = Item::directory().with("f", Item::file("below")).with("h", linked(7));
    let root = Item::directory()
        .with("d", Item::directory().with("e", deep))
        .with("h", linked(7))
        .with("s", Item::directory());
    let snapshot = commit(&world.repo, &root, NOON, &[]);
    let vfs = world.vfs();
    let name = plain_names(&vfs, walk(&vfs, "snapshots").unwrap().attr.ino).remove(0);
    let paths = ["", "/d", "/d/e", "/d/e/f", "/h"].map(|path| format!("snapshots/{name}{path}"));
    let entries = paths.map(|path| walk(&vfs, &path).unwrap());
    for entry in &entries {
        vfs.forget(entry.attr.ino, u64::MAX);
    }
    assert_eq!(vfs.remembered(), 0);
    for entry in &entries {
        let ino = entry.attr.ino;
        assert!(matches!(vfs.attr(ino), Err(VfsError::Stale)), "nobody has looked it up");
        assert_eq!(vfs.lookup(ino, b".").unwrap().attr, entry.attr);
        assert_eq!(vfs.attr(ino).unwrap(), entry.attr);
        vfs.forget(ino, 1);
    }
    assert_eq!(vfs.remembered(), 0, "counted once");
    let [snap, d, e, f, h] = entries.map(|entry| entry.attr.ino);
    assert_eq!(vfs.lookup(e, b".").unwrap().attr.ino, e);
    assert_eq!(vfs.lookup(f, b"/").unwrap().attr.ino, f, "the name of what has none");
    assert_eq!(vfs.lookup(e, b"..").unwrap().attr.ino, d);
    assert_eq!(vfs.lookup(d, b"..").unwrap().attr.ino, snap);

    let other = Item::directory().with("new", Item::directory().with("e", Item::directory()));
    commit(&world.repo, &other, NOON + 1, &[]);
    for ino in [snap, f, e, d, h] {
        let later = world.vfs();
        assert_eq!(later.lookup(ino, b".").unwrap().attr.ino, ino, "after a remount too");
    }
    let later = world.vfs();
    let way = [(e, d), (d, snap)];
    for (ino, above) in way {
        later.lookup(ino, b".").unwrap();
        assert_eq!(later.lookup(ino, b"..").unwrap().attr.ino, above, "and the way up");
    }
    assert_eq!(plain_names(&later, e), ["f", "h"]);
    let never = [Ino(f.0 + 1), Ino(f.0 + 1000), Ino(f.0 ^ 1 << 20), Ino(d.0 ^ 1), Ino(h.0 ^ 1)];
    for ino in never {
        assert!(matches!(later.lookup(ino, b"."), Err(VfsError::Stale)), "{ino:?}");
    }
    let start = |path: &str| {
        let start = Some(Start { snapshot: snapshot.clone(), path: path.into() });
        world.vfs_with(VfsOptions { start, ..VfsOptions::default() }).unwrap()
    };
    for ino in [f, d, e, h] {
        assert_eq!(start("").lookup(ino, b".").unwrap().attr.ino, ino);
    }
    let below = start("d");
    assert_eq!(below.lookup(e, b".").unwrap().attr.ino, e);
    assert_eq!(below.lookup(e, b"..").unwrap().attr.ino, Ino::ROOT);
    let beside = walk(&later, &format!("snapshots/{name}/s")).unwrap().attr.ino;
    assert!(matches!(below.lookup(beside, b"."), Err(VfsError::Stale)), "not below what is shown");
}

#[test]
fn what_was_looked_for_in_vain_is_not_looked_for_again_before_snapshots_come() {
    let world = World::new();
    let deep = Item::directory().with("d", Item::directory().with("e", Item::directory()));
    commit(&world.repo, &deep, NOON, &[]);
    let later = Item::directory().with("x", deep);
    let vfs = world.vfs();
    let never = Ino(2 << 60 | 12_345);
    let looked = || vfs.repository().read_counts().chunks;
    assert!(matches!(vfs.lookup(never, b"."), Err(VfsError::Stale)));
    let before = looked();
    assert!(matches!(vfs.lookup(never, b"."), Err(VfsError::Stale)));
    assert_eq!(looked(), before);
    let newer = commit(&world.repo, &later, NOON + 1, &[]);
    let other = world.vfs();
    let name = plain_names(&other, walk(&other, "snapshots").unwrap().attr.ino).remove(1);
    assert!(name.ends_with(&newer.id.short()));
    let came = walk(&other, &format!("snapshots/{name}/x/d")).unwrap().attr.ino;
    assert_eq!(vfs.lookup(came, b".").unwrap().attr.ino, came);
}

#[test]
fn a_directory_of_one_snapshot_is_the_root() {
    let world = World::new();
    let models = Item::directory().with("m", Item::file("weights")).with("deep", Item::directory());
    let srv = Item::directory().with("models", models).with("other", Item::file("x"));
    let snapshot = commit(&world.repo, &Item::directory().with("srv", srv.clone()), NOON, &[]);
    commit(&world.repo, &Item::directory().with("srv", Item::file("later")), NOON + 1, &[]);
    let start = |path: &str| {
        let start = Some(Start { snapshot: snapshot.clone(), path: path.into() });
        world.vfs_with(VfsOptions { start, ..VfsOptions::default() })
    };
    let (all, vfs) = (world.vfs(), start("/srv/models/").unwrap());
    let name = plain_names(&all, walk(&all, "snapshots").unwrap().attr.ino).remove(0);
    assert_eq!(plain_names(&vfs, Ino::ROOT), ["deep", "m"]);
    assert!(vfs.is_immutable(Ino::ROOT));
    let root = vfs.attr(Ino::ROOT).unwrap();
    assert_eq!((root.ino, root.lifetime), (Ino::ROOT, Lifetime::Forever));
    let path = format!("snapshots/{name}/srv/models");
    for below in ["m", "deep"] {
        let there = walk(&all, &format!("{path}/{below}")).unwrap();
        assert_eq!(walk(&vfs, below).unwrap(), there, "the same number as among all snapshots");
    }
    let deep = walk(&vfs, "deep").unwrap().attr.ino;
    for (from, name) in [(deep, ".."), (Ino::ROOT, ".."), (Ino::ROOT, ".")] {
        assert_eq!(vfs.lookup(from, name.as_bytes()).unwrap().attr, root, "{name}");
    }
    for directory in [deep, Ino::ROOT] {
        let mut dots = Vec::new();
        vfs.list(directory, 0, Listing::Names, &mut |entry| {
            dots.push(entry.attr.ino);
            dots.len() < 2
        })
        .unwrap();
        assert_eq!(dots, [directory, Ino::ROOT]);
    }
    assert_eq!(plain_names(&start("").unwrap(), Ino::ROOT), ["srv"]);
    for path in ["srv/other", "srv/none", "srv/other/x"] {
        let refused = start(path).unwrap_err();
        assert!(matches!(refused, RepoError::NoSuchPath { .. }), "{path}: {refused}");
    }
}

#[test]
fn owners_are_shown_as_the_options_say() {
    #[derive(Debug)]
    struct Plus(u32);
    impl ShowOwner for Plus {
        fn owner(&self, stored: &crate::format::Owner) -> (u32, u32) {
            (stored.uid + self.0, stored.gid + self.0)
        }
    }
    let world = World::new();
    let file = Item { uid: 10, gid: 20, ..Item::file("x") };
    commit(&world.repo, &Item::directory().with("f", file), NOON, &[]);
    let owners: Option<Arc<dyn ShowOwner>> = Some(Arc::new(Plus(1)));
    let vfs = world.vfs_with(VfsOptions { owners, ..VfsOptions::default() }).unwrap();
    let name = plain_names(&vfs, walk(&vfs, "snapshots").unwrap().attr.ino).remove(0);
    let owner = |path: &str| {
        let attr = walk(&vfs, path).unwrap().attr;
        assert_eq!(vfs.attr(attr.ino).unwrap(), attr, "looked up and asked for");
        (attr.uid, attr.gid)
    };
    assert_eq!(owner(&format!("snapshots/{name}/f")), (11, 21));
    assert_eq!(owner(&format!("snapshots/{name}")), (1, 1));
    assert_eq!(owner("snapshots"), (5, 6), "no snapshot holds it");
}
