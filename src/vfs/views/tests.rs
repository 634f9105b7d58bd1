//! Views over a repository in memory, asked as the kernel would ask.
//!
//! Guards what a view could get wrong without anybody seeing it: a version or a change that is not
//! shown, one that is and is none, a file under two numbers, rights that no snapshot grants, and
//! numbers that outlive what the kernel remembers.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use proptest::prelude::*;

use crate::format::{Body, Folder, Kind, Owner, Snapshot};
use crate::repo::{Change, DirectoryRef, NodeRef};
use crate::storage::Storage;

use super::super::tests::mount_tree::{Item, What, commit};
use super::super::tests::{NOON, World, names, plain_names, read, walk};
use super::super::{
    Attr, Entry, Ino, Listing, Result, Seek, ShowOwner, Start, Vfs, VfsError, VfsOptions,
};

fn snapshot_name(vfs: &Vfs, snapshot: &Snapshot) -> String {
    let all = plain_names(vfs, walk(vfs, "snapshots").unwrap().attr.ino);
    all.into_iter().find(|name| name.ends_with(&snapshot.id.short())).unwrap()
}

fn attr(vfs: &Vfs, path: &str) -> Attr {
    walk(vfs, path).unwrap().attr
}

fn is_missing(found: &Result<Entry>) -> bool {
    matches!(found, Err(VfsError::NotFound))
}

/// Every path below a directory, with its number, by listing `step` entries at a time. Each listed
/// entry must be what a look-up of its name finds.
fn below(vfs: &Vfs, ino: Ino, path: &str, step: usize, all: &mut BTreeMap<String, Attr>) {
    let mut seen = HashSet::new();
    for (name, number) in names(vfs, ino, step).into_iter().skip(2) {
        assert!(seen.insert(name.clone()), "{path}/{name} twice");
        let found = vfs.lookup(ino, name.as_bytes()).unwrap().attr;
        assert_eq!((found.ino, vfs.attr(found.ino).unwrap()), (number, found), "{path}/{name}");
        let path = format!("{path}/{name}");
        if found.kind == Kind::Directory {
            assert_eq!(vfs.parent(found.ino).unwrap(), ino);
            below(vfs, found.ino, &path, step, all);
        }
        all.insert(path, found);
    }
}

fn entries(item: &mut Item) -> &mut BTreeMap<Vec<u8>, Item> {
    let What::Directory(entries) = &mut item.what else { panic!("not a directory") };
    entries
}

#[test]
fn sources_lead_to_where_a_snapshot_has_them() {
    let world = World::new();
    let snapshot = commit(&world.repo, &Item::directory(), NOON, &[]);
    let vfs = world.vfs();
    let name = snapshot_name(&vfs, &snapshot);
    assert_eq!(plain_names(&vfs, attr(&vfs, "sources").ino), ["_"]);
    let link = attr(&vfs, &format!("sources/_/{name}")).ino;
    assert_eq!(vfs.read_link(link).unwrap(), format!("../../snapshots/{name}").into_bytes());
}

#[test]
fn each_distinct_version_is_the_file_of_the_first_snapshot_that_has_it() {
    let world = World::new();
    let tree = |text: &str, mode| {
        let etc = Item::directory()
            .with("app.toml", Item::file(text).mode(mode))
            .with("same", Item::file("same"));
        Item::directory().with("etc", etc)
    };
    let steps = [("one", 0o644), ("one", 0o644), ("two", 0o644), ("two", 0o600), ("one", 0o644)];
    let snapshots: Vec<_> = (0..)
        .zip(steps)
        .map(|(n, (text, mode))| commit(&world.repo, &tree(text, mode), NOON + n, &[]))
        .collect();
    let vfs = world.vfs();
    let name: Vec<_> = snapshots.iter().map(|snapshot| snapshot_name(&vfs, snapshot)).collect();
    let mut versions = plain_names(&vfs, attr(&vfs, "versions/etc/app.toml").ino);
    versions.sort_unstable();
    let expected = [0, 2, 3].map(|n| format!("{}.toml", name[n]));
    assert_eq!(versions, expected, "a version that comes back is not a new one");
    for (version, n) in expected.iter().zip([0, 2, 3]) {
        let path = format!("versions/etc/app.toml/{version}");
        let same = format!("snapshots/{}/etc/app.toml", name[n]);
        assert_eq!(attr(&vfs, &path), attr(&vfs, &same), "{version}");
        assert_eq!(read(&vfs, &path), steps[n].0.as_bytes());
    }
    assert_eq!(plain_names(&vfs, attr(&vfs, "versions/etc/same").ino), [name[0].as_str()]);
    for absent in ["versions/none", "versions/etc/same/x", "versions/etc/app.toml/2026.toml"] {
        assert!(is_missing(&walk(&vfs, absent)), "{absent}");
    }
}

#[test]
fn a_path_holds_what_was_below_it_at_any_time_and_what_it_was_itself() {
    let world = World::new();
    let first = Item::directory().with("x", Item::directory().with("a", Item::file("1")));
    let second = Item::directory().with("x", Item::directory().with("b", Item::symlink(b"a")));
    let third = Item::directory().with("x", Item::file("x"));
    let all = [first, second, third];
    let all: Vec<_> =
        (0..).zip(&all).map(|(n, tree)| commit(&world.repo, tree, NOON + n, &[])).collect();
    let vfs = world.vfs();
    let name: Vec<_> = all.iter().map(|snapshot| snapshot_name(&vfs, snapshot)).collect();
    let mut paths = BTreeMap::new();
    below(&vfs, attr(&vfs, "versions").ino, "", 1, &mut paths);
    let found: BTreeSet<_> = paths.keys().cloned().collect();
    let expected = [
        "/x".into(),
        "/x/a".into(),
        format!("/x/a/{}", name[0]),
        "/x/b".into(),
        format!("/x/b/{}", name[1]),
        format!("/x/{}", name[2]),
    ];
    assert_eq!(found, BTreeSet::from(expected));
    assert_eq!(paths[&format!("/x/b/{}", name[1])].kind, Kind::Symlink);
}

#[test]
fn versions_grant_nobody_what_a_snapshot_refuses() {
    let world = World::new();
    let secret = |mode| Item::directory().with("key", Item::file("k")).mode(mode);
    let mut other = secret(0o755);
    other.uid = 7;
    let acl = secret(0o755).xattr("system.posix_acl_access", b"\x02\0\0\0");
    let tree = |a: Item, b: Item, c: Item| {
        Item::directory().with("moded", a).with("owned", b).with("listed", c).mode(0o751)
    };
    commit(&world.repo, &tree(secret(0o755), secret(0o755), secret(0o755)), NOON, &[]);
    commit(&world.repo, &tree(secret(0o700), other, acl), NOON + 1, &[]);
    let vfs = world.vfs();
    let rights = |path: &str| {
        let attr = attr(&vfs, path);
        (attr.mode, attr.uid)
    };
    assert_eq!(rights("versions"), (0o551, 0));
    assert_eq!(rights("versions/moded"), (0o500, 0));
    assert_eq!(rights("versions/owned"), (0o500, 5), "the mount's owner");
    assert_eq!(rights("versions/listed"), (0o500, 0));
    assert_eq!(rights("versions/moded/key"), (0o555, 5));
    let mut paths = BTreeMap::new();
    below(&vfs, attr(&vfs, "versions").ino, "", 3, &mut paths);
    assert_eq!((paths["/owned"].mode, paths["/owned"].uid), (0o500, 5), "in listings too");
}

#[test]
fn a_difference_grants_others_nothing_that_either_side_refuses() {
    let world = World::new();
    let owned = |item: Item, uid, gid| Item { uid, gid, ..item };
    let dir = |text: &str, mode| Item::directory().with("key", Item::file(text)).mode(mode);
    let acl = |item: Item, byte: u8| item.xattr("system.posix_acl_access", &[2, 0, 0, byte]);
    let tree = |text: &str, old: bool| {
        Item::directory()
            .with("same", dir(text, 0o2750))
            .with("opened", dir(text, if old { 0o700 } else { 0o755 }))
            .with("closed", dir(text, if old { 0o775 } else { 0o700 }))
            .with("given", owned(dir(text, 0o755), u32::from(old), 0))
            .with("moved", owned(dir(text, 0o755), 3, u32::from(old)))
            .with("listed", acl(dir(text, 0o775), old.into()))
            .with("both", acl(dir(text, 0o775), 7))
            .mode(0o755)
    };
    let old = tree("old", true).with("was", Item::directory());
    commit(&world.repo, &old, NOON, &[]);
    let new = tree("new", false).with("is", dir("x", 0o755));
    commit(&world.repo, &new, NOON + 86_400, &[]);
    let shared = world.vfs_with(VfsOptions { shared: true, ..VfsOptions::default() }).unwrap();
    let pair = plain_names(&shared, attr(&shared, "diff").ino).remove(0);
    let changed = format!("diff/{pair}/changed");
    let rights = |vfs: &Vfs, name: &str| {
        let found = attr(vfs, &format!("{changed}/{name}"));
        (found.mode, found.uid, found.gid)
    };
    let has_acl = |vfs: &Vfs, name: &str| {
        let ino = attr(vfs, &format!("{changed}/{name}")).ino;
        let listed = vfs.xattrs(ino).unwrap().contains(&b"system.posix_acl_access".to_vec());
        assert_eq!(vfs.xattr(ino, b"system.posix_acl_access").is_ok(), listed, "{name}");
        listed
    };
    for (name, expected) in [
        ("same", (0o2750, 0, 0)),
        ("opened", (0o700, 0, 0)),
        ("closed", (0o700, 0, 0)),
        ("given", (0o700, 5, 6)),
        ("moved", (0o700, 3, 0)),
        ("listed", (0o720, 0, 0)),
        ("both", (0o775, 0, 0)),
    ] {
        assert_eq!(rights(&shared, name), expected, "{name}");
    }
    assert!(has_acl(&shared, "both") && !has_acl(&shared, "listed"));
    let mut listed = BTreeMap::new();
    below(&shared, attr(&shared, &changed).ino, "", 2, &mut listed);
    assert_eq!(listed["/opened"].mode, 0o700, "in listings too");
    // Nobody else can look, so a copy gets what the new snapshot has.
    let own = world.vfs();
    assert_eq!(rights(&own, "opened"), (0o755, 0, 0));
    assert_eq!(rights(&own, "given"), (0o755, 0, 0));
    assert!(has_acl(&own, "listed"));
}

/// Shows everything as one owner's.
#[derive(Debug)]
struct All(u32, u32);

impl ShowOwner for All {
    fn owner(&self, _: &Owner) -> (u32, u32) {
        (self.0, self.1)
    }
}

#[test]
fn owners_below_views_are_those_that_are_shown() {
    let world = World::new();
    let owned = |item: Item, uid| Item { uid, ..item };
    let tree = |text: &str, uid, mode| {
        let file = owned(Item::file(text), uid);
        Item::directory().with("d", owned(Item::directory().with("f", file), uid).mode(mode))
    };
    let old = commit(&world.repo, &tree("1", 7, 0o750), NOON, &[]);
    let new = commit(&world.repo, &tree("2", 8, 0o705), NOON + 1, &[]);
    let owners: Option<Arc<dyn ShowOwner>> = Some(Arc::new(All(1000, 100)));
    let (plain, vfs) =
        (world.vfs(), world.vfs_with(VfsOptions { owners, ..VfsOptions::default() }).unwrap());
    let (old, new) = (snapshot_name(&vfs, &old), snapshot_name(&vfs, &new));
    let shown = |vfs: &Vfs, path: &str| {
        let found = attr(vfs, path);
        assert_eq!(vfs.attr(found.ino).unwrap(), found, "{path}: looked up and asked for");
        (found.mode, found.uid, found.gid)
    };
    for (path, mode) in [
        ("versions".into(), 0o555),
        ("versions/d".into(), 0o500),
        (format!("versions/d/f/{old}"), 0o644),
        (format!("diff/{old}..{new}/changed"), 0o755),
        (format!("diff/{old}..{new}/changed/d"), 0o705),
        (format!("diff/{old}..{new}/changed/d/f"), 0o644),
    ] {
        assert_eq!(shown(&vfs, &path), (mode, 1000, 100), "{path}");
    }
    let mut listed = BTreeMap::new();
    below(&vfs, attr(&vfs, "versions").ino, "", 1, &mut listed);
    assert_eq!((listed["/d"].uid, listed["/d"].gid), (1000, 100));
    assert_eq!(shown(&plain, "versions/d"), (0o500, 5, 6), "two owners are nobody's");
    assert_eq!(shown(&plain, &format!("versions/d/f/{new}")), (0o644, 8, 0));
}

#[test]
fn a_mount_of_one_snapshot_has_no_views_and_never_gets_any() {
    let world = World::new();
    let tree = Item::directory().with("f", Item::file("x").xattr("user.a", b"b"));
    let snapshot = commit(&world.repo, &tree, NOON, &[]);
    let all = world.vfs();
    let start = Some(Start { snapshot: snapshot.clone(), path: Vec::new() });
    let vfs = world.vfs_with(VfsOptions { start, ..VfsOptions::default() }).unwrap();
    assert!(all.follows() && !vfs.follows());
    commit(&world.repo, &tree, NOON + 1, &[]);
    vfs.refresh();
    assert_eq!(plain_names(&vfs, Ino::ROOT), ["f"]);
    for name in plain_names(&all, Ino::ROOT) {
        assert!(is_missing(&walk(&vfs, &name)), "{name}");
        let elsewhere = attr(&all, &name).ino;
        assert!(matches!(vfs.attr(elsewhere), Err(VfsError::Stale)), "{name}");
        assert!(matches!(vfs.lookup(elsewhere, b"."), Err(VfsError::Stale)), "{name}");
    }
    let told = |name: &str| vfs.xattr(Ino::ROOT, name.as_bytes()).unwrap();
    assert_eq!(told("user.icecore.snapshot"), snapshot.id.to_string().into_bytes());
    assert_eq!(told("user.icecore.files"), b"1");
}

#[test]
fn a_handle_of_a_view_is_stale_once_the_kernel_forgot_it() {
    let world = World::new();
    commit(&world.repo, &Item::directory().with("d", Item::directory()), NOON, &[]);
    let vfs = world.vfs();
    for path in ["versions", "versions/d", ".icecore/status", "diff/latest..latest"] {
        let ino = attr(&vfs, path).ino;
        assert_eq!(vfs.lookup(ino, b".").unwrap().attr.ino, ino, "{path}");
        vfs.forget(ino, u64::MAX);
        assert!(matches!(vfs.lookup(ino, b"."), Err(VfsError::Stale)), "{path}");
    }
}

#[test]
fn versions_of_what_is_damaged_are_left_out_and_of_the_rest_are_there() {
    let world = World::new();
    let tree = |text: &str| {
        let mut item = Item::directory();
        for n in 0..50 {
            item.add(format!("{n}"), Item::file(format!("{text}{n}")));
        }
        Item::directory().with("d", item)
    };
    let first = commit(&world.repo, &tree("one"), NOON, &[]);
    let packs = |world: &World| -> HashSet<_> {
        let listed = world.storage.list(Folder::Meta).unwrap();
        listed.into_iter().filter_map(|listed| listed.key).collect()
    };
    let before = packs(&world);
    commit(&world.repo, &tree("two"), NOON + 1, &[]);
    for key in packs(&world).difference(&before) {
        world.storage.corrupt(key, |bytes| bytes[80] ^= 1);
    }
    let vfs = world.vfs();
    let name = snapshot_name(&vfs, &first);
    assert_eq!(plain_names(&vfs, attr(&vfs, "versions/d/7").ino), [name.as_str()]);
    assert_eq!(read(&vfs, &format!("versions/d/7/{name}")), b"one7");
    for key in &before {
        world.storage.corrupt(key, |bytes| bytes[80] ^= 1);
    }
    let vfs = world.vfs();
    assert!(matches!(walk(&vfs, "versions/d"), Err(VfsError::Io { .. })), "not an absent name");
}

#[test]
fn a_listing_over_damage_reads_what_it_lists_once() {
    let world = World::new();
    let tree = |text: &str| {
        let names = (0..600).map(|n| format!("{n:03}"));
        let many = names.fold(Item::directory(), |d, name| d.with(name, Item::file(text)));
        Item::directory().with("d", many)
    };
    commit(&world.repo, &tree("one"), NOON, &[]);
    let packs = || -> HashSet<_> {
        let listed = world.storage.list(Folder::Meta).unwrap();
        listed.into_iter().filter_map(|listed| listed.key).collect()
    };
    let before = packs();
    commit(&world.repo, &tree("two"), NOON + 1, &[]);
    for key in packs().difference(&before) {
        world.storage.corrupt(key, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        });
    }
    let vfs = world.vfs();
    let d = attr(&vfs, "versions/d").ino;
    assert_eq!(plain_names(&vfs, d).len(), 600);
    let reads = || vfs.repository().read_counts().reads;
    let begun = reads();
    assert_eq!(names(&vfs, d, 1).len(), 602);
    assert!(reads() - begun < 20, "{} reads for 602 parts", reads() - begun);
}

#[test]
fn a_listing_of_versions_goes_on_while_snapshots_come() {
    let world = World::new();
    let tree = |from: u32, to: u32| {
        let mut item = Item::directory();
        (from..to).for_each(|n| item.add(format!("{n:05}"), Item::file("")));
        item
    };
    commit(&world.repo, &tree(0, 400), NOON, &[]);
    let vfs = world.vfs();
    let ino = attr(&vfs, "versions").ino;
    let (mut seen, mut offset) = (Vec::new(), 0);
    for part in [200, usize::MAX] {
        let mut left = part;
        vfs.list(ino, offset, Listing::Names, &mut |entry| {
            if left == 0 {
                return false;
            }
            left -= 1;
            offset = entry.next;
            seen.push(String::from_utf8_lossy(entry.name).into_owned());
            true
        })
        .unwrap();
        commit(&world.repo, &tree(100, 500), NOON + 1, &[]);
        walk(&vfs, "latest").unwrap();
    }
    let distinct: HashSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "nothing twice");
    assert!(
        (0..400).all(|n| distinct.contains(&format!("{n:05}"))),
        "nothing that stays is missed"
    );
}

#[test]
fn what_the_kernel_forgets_of_views_is_forgotten() {
    let world = World::new();
    let tree = |text: &str| {
        let mut folder = Item::directory();
        for n in 0..2000 {
            folder.add(format!("{n}"), Item::directory().with("f", Item::file(text)));
        }
        Item::directory().with("d", folder).with("h", Item::file(text).link(4, 2))
    };
    commit(&world.repo, &tree("one"), NOON, &[]);
    commit(&world.repo, &tree("two"), NOON + 1, &[]);
    let vfs = world.vfs();
    let mut held: BTreeMap<Ino, u64> = BTreeMap::new();
    let mut hold = |parent: Ino, name: &str| {
        let ino = vfs.lookup(parent, name.as_bytes()).unwrap().attr.ino;
        *held.entry(ino).or_default() += 1;
        ino
    };
    let versions = hold(Ino::ROOT, "versions");
    let d = hold(versions, "d");
    for n in 0..2000 {
        let path = hold(d, &n.to_string());
        assert_eq!(hold(path, "."), path);
    }
    let diff = hold(Ino::ROOT, "diff");
    let alias = hold(diff, "latest~1..latest");
    let pair = String::from_utf8(vfs.read_link(alias).unwrap()).unwrap();
    let pair = hold(diff, &pair);
    let changed = hold(pair, "changed");
    let d = hold(changed, "d");
    for n in 0..2000 {
        let folder = hold(d, &n.to_string());
        hold(folder, "f");
    }
    hold(changed, "h");
    let texts = hold(Ino::ROOT, ".icecore");
    hold(texts, "status");
    hold(texts, "status");
    vfs.list(d, 0, Listing::Names, &mut |_| true).unwrap();
    assert!(vfs.remembered() > 6000, "{}", vfs.remembered());
    let gone = d;
    for (ino, lookups) in held {
        vfs.forget(ino, lookups);
    }
    assert_eq!(vfs.remembered(), 0);
    assert!(matches!(vfs.attr(gone), Err(VfsError::Stale)));
    assert!(matches!(vfs.lookup(gone, b"1"), Err(VfsError::Stale)));
}

/// Two snapshots of a few directories that differ in some ways.
fn pair_of_trees() -> impl Strategy<Value = (Item, Item)> {
    let edits = prop::collection::vec((0_usize..4, 0_usize..600, 0_u8..7), 0..12);
    (prop::collection::vec(0_usize..600, 1..4), edits).prop_map(|(sizes, edits)| {
        let mut old = Item::directory();
        for (number, &size) in sizes.iter().enumerate() {
            let mut folder = Item::directory();
            (0..size).for_each(|n| folder.add(format!("{n:03}"), Item::file(format!("{n}"))));
            old.add(format!("d{number}"), Item::directory().with("in", folder));
        }
        let mut new = old.clone();
        for (folder, at, how) in edits {
            let Some(outer) = entries(&mut new).values_mut().nth(folder) else { continue };
            let Some(inner) = entries(outer).get_mut(&b"in"[..]) else { continue };
            let What::Directory(files) = &mut inner.what else { continue };
            let name = format!("{at:03}").into_bytes();
            match how {
                0 => drop(files.remove(&name)),
                1 => drop(files.insert(name, Item::file("new"))),
                2 => drop(files.insert(name, Item::directory().with("b", Item::file("below")))),
                3 => drop(files.insert([&name[..], b"+"].concat(), Item::file("added"))),
                4 => inner.mode ^= 0o22,
                5 => outer.mode ^= 0o22,
                _ => *inner = Item::file("was a directory"),
            }
        }
        (old, new)
    })
}

/// What each part of a pair must show: the paths of everything that changed, and the directories
/// on the way to them.
fn expected(vfs: &Vfs, old: &Snapshot, new: &Snapshot) -> [BTreeMap<String, Body>; 3] {
    let root = |snapshot: &Snapshot| DirectoryRef::of(&snapshot.root_node().body).unwrap();
    let mut parts = [BTreeMap::new(), BTreeMap::new(), BTreeMap::new()];
    let mut put = |which: usize, path: &[u8], node: &NodeRef| {
        let path = String::from_utf8(path.to_vec()).unwrap();
        parts[which].insert(format!("/{path}"), node.body.clone());
    };
    for change in vfs.repository().changes(root(old), root(new)) {
        let change = change.unwrap();
        match change.change {
            Change::Added(node) => put(0, &change.path, &node),
            Change::Removed(node) => put(2, &change.path, &node),
            Change::Changed { old, new, how } if how.kind => {
                put(0, &change.path, &new);
                put(2, &change.path, &old);
            }
            Change::Changed { new, .. } => put(1, &change.path, &new),
        }
    }
    parts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_difference_shows_what_changed_the_way_there_and_nothing_else(
        (old, new) in pair_of_trees(),
        step in 1_usize..40,
    ) {
        let world = World::new();
        let old = commit(&world.repo, &old, NOON, &[]);
        let new = commit(&world.repo, &new, NOON + 1, &[]);
        let vfs = world.vfs();
        let expected = expected(&vfs, &old, &new);
        let (old, new) = (snapshot_name(&vfs, &old), snapshot_name(&vfs, &new));
        let pair = attr(&vfs, &format!("diff/{old}..{new}")).ino;
        prop_assert_eq!(plain_names(&vfs, pair), ["added", "changed", "removed"]);
        for ((part, snapshot), expected) in
            [("added", &new), ("changed", &new), ("removed", &old)].into_iter().zip(&expected)
        {
            let mut shown = BTreeMap::new();
            below(&vfs, attr(&vfs, &format!("diff/{old}..{new}/{part}")).ino, "", step, &mut shown);
            for path in expected.keys() {
                prop_assert!(shown.contains_key(path), "{part}{path} is not shown");
            }
            for (path, attr) in &shown {
                let way = format!("{path}/");
                let leads = expected.keys().any(|deep| deep.starts_with(&way));
                prop_assert!(expected.contains_key(path) || leads, "{part}{path} is shown");
                let real = walk(&vfs, &format!("snapshots/{snapshot}{path}")).unwrap().attr;
                let same = Attr { ino: attr.ino, ..real };
                prop_assert_eq!(*attr, same, "{}{}", part, path);
                prop_assert_eq!(attr.ino == real.ino, attr.kind != Kind::Directory);
            }
        }
    }
}

#[test]
fn pairs_have_one_name_and_links_to_it() {
    let world = World::new();
    let root = Item::directory().with("f", Item::file("x"));
    let all: Vec<_> = (0..3).map(|n| commit(&world.repo, &root, NOON + 86_400 * n, &[])).collect();
    let vfs = world.vfs();
    let name: Vec<_> = all.iter().map(|snapshot| snapshot_name(&vfs, snapshot)).collect();
    let diff = attr(&vfs, "diff").ino;
    let pair = |old: usize, new: usize| format!("{}..{}", name[old], name[new]);
    assert_eq!(plain_names(&vfs, diff), [pair(0, 1), pair(1, 2)]);
    assert_eq!(attr(&vfs, &format!("diff/{}", pair(0, 2))).kind, Kind::Directory);
    let short = |n: usize| all[n].id.short();
    for (alias, target) in [
        ("latest~1..latest".to_owned(), pair(1, 2)),
        ("latest..latest~2".to_owned(), pair(2, 0)),
        (format!("{}..{}", short(0), short(2)), pair(0, 2)),
        (format!("{}..latest", name[0]), pair(0, 2)),
        ("2026-11-22..2026-11-24T".to_owned(), pair(0, 2)),
    ] {
        let found = attr(&vfs, &format!("diff/{alias}"));
        assert_eq!(found.kind, Kind::Symlink, "{alias}");
        assert_eq!(vfs.read_link(found.ino).unwrap(), target.as_bytes(), "{alias}");
    }
    for absent in
        ["latest", "latest~3..latest", "...", "latest~x..latest", "2026..2027", "\u{fe}.."]
    {
        assert!(is_missing(&walk(&vfs, &format!("diff/{absent}"))), "{absent}");
    }
    let newer = commit(&world.repo, &root, NOON + 86_400 * 9, &[]);
    let before = attr(&vfs, "diff/latest~1..latest").ino;
    let target = format!("{}..{}", name[2], snapshot_name(&vfs, &newer));
    assert_eq!(vfs.read_link(before).unwrap(), target.as_bytes());
}

#[test]
fn texts_are_whole_as_long_as_they_are_held_and_new_when_looked_at() {
    let world = World::new();
    commit(&world.repo, &Item::directory().with("f", Item::file("x")), NOON, &[]);
    let vfs = world.vfs();
    assert_eq!(plain_names(&vfs, attr(&vfs, ".icecore").ino), ["metrics", "status", "status.json"]);
    let first = attr(&vfs, ".icecore/metrics");
    assert_eq!((first.kind, first.mode), (Kind::File, 0o444));
    let text = String::from_utf8(read(&vfs, ".icecore/metrics")).unwrap();
    assert!(text.contains("\nicecore_snapshots 1\n"), "{text}");
    for line in text.lines() {
        let is_comment = line.starts_with("# HELP icecore_") || line.starts_with("# TYPE icecore_");
        let number = line.rsplit(' ').next().unwrap().parse::<u64>();
        assert!(is_comment || (line.starts_with("icecore_") && number.is_ok()), "{line}");
    }
    let second = attr(&vfs, ".icecore/metrics");
    assert_ne!(first.ino, second.ino);
    let mut old = vec![0; 10_000];
    let len = vfs.read_at(first.ino, 0, &mut old).unwrap();
    assert_eq!(len as u64, first.size, "as it was when it was looked at");
    assert_eq!(vfs.read_at(first.ino, first.size, &mut old).unwrap(), 0);
    assert_eq!(vfs.seek(first.ino, 3, Seek::Hole).unwrap(), first.size);
    let json: serde_json::Value =
        serde_json::from_slice(&read(&vfs, ".icecore/status.json")).unwrap();
    assert_eq!((&json["schema"], &json["figures"]["snapshots"]), (&1.into(), &1.into()));
    assert!(json["figures"]["lookups_total"].as_u64().unwrap() > 4);
    let status = String::from_utf8(read(&vfs, ".icecore/status")).unwrap();
    assert!(status.lines().any(|line| line.starts_with("snapshots") && line.contains(" 1")));
}

#[test]
fn attributes_of_icecore_tell_what_stat_cannot() {
    let world = World::new();
    let bytes: Vec<u8> = (0..200_000_u32)
        .flat_map(|n| blake3::hash(&n.to_le_bytes()).as_bytes()[..2].to_vec())
        .collect();
    let d = Item::directory()
        .with("big", Item::file(bytes.clone()))
        .with("twin", Item::file(bytes))
        .with("small", Item::file("x"))
        .with("l", Item::symlink(b"big"));
    let first = commit(&world.repo, &Item::directory().with("d", d.clone()), NOON, &[]);
    let d = d.with("new", Item::file("y"));
    let second = commit(&world.repo, &Item::directory().with("d", d), NOON + 1, &[]);
    let vfs = world.vfs();
    let (first_name, second_name) = (snapshot_name(&vfs, &first), snapshot_name(&vfs, &second));
    let get = |path: &str, name: &str| {
        let value = vfs.xattr(attr(&vfs, path).ino, format!("user.icecore.{name}").as_bytes());
        value.ok().map(|value| String::from_utf8(value).unwrap())
    };
    let d = format!("snapshots/{first_name}/d");
    assert_eq!(get(&d, "snapshot"), Some(first.id.to_string()));
    assert_eq!(get(&format!("snapshots/{second_name}"), "snapshot"), Some(second.id.to_string()));
    assert_eq!(get(&d, "files").as_deref(), Some("3"));
    assert_eq!(get(&d, "entries").as_deref(), Some("4"));
    assert_eq!(get(&d, "bytes").as_deref(), Some("800001"));
    let stored = get(&format!("{d}/big"), "stored").unwrap().parse::<u64>().unwrap();
    assert!(
        (390_000..410_000).contains(&stored),
        "{stored} bytes for 400,000 that do not compress"
    );
    assert_eq!(get(&format!("{d}/twin"), "stored"), Some(stored.to_string()));
    assert_eq!(get(&format!("{d}/small"), "stored").as_deref(), Some("0"), "it is in its node");
    for (path, name) in [("big", "snapshot"), ("big", "files"), ("l", "stored"), ("l", "blake3")] {
        assert_eq!(get(&format!("{d}/{path}"), name), None, "{name} of {path}");
    }
    let changed = format!("diff/{first_name}..{second_name}/added/d");
    assert_eq!(get(&changed, "snapshot"), Some(second.id.to_string()));
    for path in [&d, &changed] {
        assert!(vfs.xattrs(attr(&vfs, path).ino).unwrap().is_empty(), "never listed");
    }
    for path in ["versions", "diff", ".icecore/status"] {
        assert_eq!(get(path, "snapshot"), None, "{path}");
    }
}
