//! Comparing trees by their pages, held against comparing every entry.
//!
//! Guards a wrong turn in passing over equal pages: an entry that is told as changed and is not, or
//! the reverse; and the cost, which must follow what differs and not what there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore as lib;
use icecore::format::{Folder, ObjectKey, PackKind, Snapshot, Time};
use icecore::repo::{
    Change, Difference, DirectoryRef, InitOptions, NodeRef, OpenOptions, Repository, version_of,
};
use icecore::storage::{MemoryStorage, RecordStorage, Storage};
use proptest::prelude::*;

#[allow(dead_code)] // shared
mod mount_tree;

use mount_tree::{Item, What, commit};

const NOON: i64 = 1_795_349_045;

struct World {
    storage: Arc<RecordStorage<MemoryStorage>>,
    repo: Repository,
}

impl World {
    fn new() -> Self {
        let storage = Arc::new(RecordStorage::new(MemoryStorage::new()));
        Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
        let repo = Self::open(&storage);
        Self { storage, repo }
    }

    fn open(storage: &Arc<RecordStorage<MemoryStorage>>) -> Repository {
        let storage: Arc<dyn Storage> = storage.clone();
        Repository::open(storage, None, &OpenOptions::default()).unwrap()
    }

    /// Two snapshots, and the repository with nothing cached.
    fn of(old: &Item, new: &Item) -> (Self, DirectoryRef, DirectoryRef) {
        let mut world = Self::new();
        let old = root(&commit(&world.repo, old, NOON, &[]));
        let new = root(&commit(&world.repo, new, NOON + 1, &[]));
        world.repo = Self::open(&world.storage);
        world.storage.take();
        (world, old, new)
    }
}

fn root(snapshot: &Snapshot) -> DirectoryRef {
    DirectoryRef::of(&snapshot.root_node().body).unwrap()
}

fn below(repo: &Repository, directory: DirectoryRef, path: &str, all: &mut Paths) {
    for node in repo.entries(directory.page) {
        let node = node.unwrap();
        let name = String::from_utf8(node.name.clone()).unwrap();
        let path = if path.is_empty() { name } else { format!("{path}/{name}") };
        if let Some(directory) = DirectoryRef::of(&node.body) {
            below(repo, directory, &path, all);
        }
        all.insert(path, node);
    }
}

type Paths = BTreeMap<String, NodeRef>;

/// Position and name.
type Found = Option<(u64, Vec<u8>)>;

/// Path, sign, and how.
type Told = Vec<(String, char, Difference)>;

fn naive(repo: &Repository, old: DirectoryRef, new: DirectoryRef) -> Told {
    let (mut before, mut after) = (Paths::new(), Paths::new());
    below(repo, old, "", &mut before);
    below(repo, new, "", &mut after);
    let mut told = Vec::new();
    for (path, node) in &before {
        match after.get(path) {
            None => told.push((path.clone(), '-', Difference::default())),
            Some(now) => {
                let how = Difference::between(node, now);
                assert_eq!(version_of(node) == version_of(now), !how.any(), "{path}");
                if how.any() {
                    told.push((path.clone(), '~', how));
                }
            }
        }
    }
    let added = after.keys().filter(|path| !before.contains_key(*path));
    told.extend(added.map(|path| (path.clone(), '+', Difference::default())));
    told.sort_by(|a, b| a.0.cmp(&b.0));
    told
}

fn told(repo: &Repository, old: DirectoryRef, new: DirectoryRef) -> Told {
    let told = repo.changes(old, new).map(|change| {
        let change = change.unwrap();
        let path = String::from_utf8(change.path).unwrap();
        match change.change {
            Change::Added(_) => (path, '+', Difference::default()),
            Change::Removed(_) => (path, '-', Difference::default()),
            Change::Changed { how, .. } => (path, '~', how),
        }
    });
    let mut told: Vec<_> = told.collect();
    told.sort_by(|a, b| a.0.cmp(&b.0));
    told
}

#[derive(Debug, Clone)]
enum Edit {
    Remove,
    Rewrite,
    Chmod,
    Touch,
    Tag,
    Link,
    Folder,
    Insert,
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        Just(Edit::Remove),
        Just(Edit::Rewrite),
        Just(Edit::Chmod),
        Just(Edit::Touch),
        Just(Edit::Tag),
        Just(Edit::Link),
        Just(Edit::Folder),
        Just(Edit::Insert),
    ]
}

fn entries(item: &mut Item) -> &mut BTreeMap<Vec<u8>, Item> {
    let What::Directory(entries) = &mut item.what else { panic!("not a directory") };
    entries
}

fn apply(root: &mut Item, folder: usize, at: usize, edit: &Edit) {
    let folders = entries(root);
    let Some(item) = folders.values_mut().nth(folder) else { return };
    if !matches!(item.what, What::Directory(_)) {
        return;
    }
    let files = entries(item);
    let Some(name) = files.keys().nth(at % files.len().max(1)).cloned() else { return };
    let file = files.get_mut(&name).unwrap();
    match edit {
        Edit::Remove => drop(files.remove(&name)),
        Edit::Rewrite => *file = Item::file("rewritten"),
        Edit::Chmod => file.mode ^= 0o111,
        Edit::Touch => file.mtime.secs += 1,
        Edit::Tag => *file = file.clone().xattr("user.tag", b"x"),
        Edit::Link => *file = Item::symlink(b"elsewhere"),
        Edit::Folder => *file = Item::directory().with("within", Item::file("w")),
        Edit::Insert => {
            files.insert([&name[..], b"+"].concat(), Item::file("inserted"));
        }
    }
}

fn tree(sizes: &[usize]) -> Item {
    let mut root = Item::directory();
    for (number, &size) in sizes.iter().enumerate() {
        let mut folder = Item::directory();
        for n in 0..size {
            folder.add(format!("{n:05}"), Item::file(format!("{n}")));
        }
        root.add(format!("d{number}"), folder);
    }
    root
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn what_is_told_is_what_comparing_every_entry_tells(
        sizes in prop::collection::vec(0_usize..2500, 1..4),
        edits in prop::collection::vec((0_usize..3, 0_usize..2500, edit()), 0..20),
    ) {
        let old = tree(&sizes);
        let mut new = old.clone();
        for (folder, at, edit) in &edits {
            apply(&mut new, *folder, *at, edit);
        }
        let (world, old, new) = World::of(&old, &new);
        let repo = &world.repo;
        prop_assert_eq!(told(repo, old, new), naive(repo, old, new));
        prop_assert_eq!(told(repo, new, old), naive(repo, new, old));
        prop_assert_eq!(told(repo, new, new), Told::new());
        let nothing = DirectoryRef::default();
        prop_assert_eq!(told(repo, nothing, new), naive(repo, nothing, new));
    }

    #[test]
    fn a_comparison_goes_on_at_any_name_and_counts_positions_as_listings_do(
        size in 0_usize..3000,
        edits in prop::collection::vec((0_usize..3000, edit()), 0..20),
        from in 0_usize..3000,
    ) {
        let old = tree(&[size]);
        let mut new = old.clone();
        for (at, edit) in &edits {
            apply(&mut new, 0, *at, edit);
        }
        let (world, old, new) = World::of(&old, &new);
        let folder = |root: DirectoryRef| {
            let node = world.repo.lookup(root.page, b"d0").unwrap().unwrap();
            DirectoryRef::of(&node.body).unwrap()
        };
        let (old, new) = (folder(old), folder(new));
        let from = format!("{from:05}").into_bytes();
        let collect = |from: &[u8]| -> Vec<_> {
            let found = world.repo.differences(old, new, from).map(|found| {
                let found = found.unwrap();
                let side = |side: Option<lib::repo::Side>| {
                    side.map(|side| (side.position, side.node.name.clone()))
                };
                (side(found.old), side(found.new))
            });
            found.collect()
        };
        let name = |(old, new): &(Found, Found)| {
            old.as_ref().or(new.as_ref()).unwrap().1.clone()
        };
        let all = collect(b"");
        let rest: Vec<_> = all.iter().filter(|found| name(found) >= from).cloned().collect();
        prop_assert_eq!(collect(&from), rest);
        for (directory, side) in all.iter().flat_map(|(a, b)| [(old, a), (new, b)]) {
            let Some((position, name)) = side else { continue };
            let at = world.repo.leaf_at(directory.page, *position).unwrap().unwrap();
            prop_assert_eq!(&at.leaf.nodes[(position - at.first) as usize].name, name);
        }
    }
}

#[test]
fn what_a_copy_could_not_show_is_no_difference() {
    let file = |secs: i64| {
        let mut item = Item::file("same").link(secs as u64, secs as u32);
        item.atime = Some(Time { secs, nanos: 0 });
        item
    };
    let folder = |secs: i64| {
        let mut item = Item::directory().with("f", file(secs));
        item.mtime.secs = secs;
        item
    };
    let (old, new) =
        (Item::directory().with("d", folder(1)), Item::directory().with("d", folder(2)));
    let (world, old, new) = World::of(&old, &new);
    assert_ne!(old, new, "the pages differ");
    assert_eq!(told(&world.repo, old, new), Told::new());
}

#[test]
fn a_directory_that_became_a_file_is_told_once_and_its_entries_as_removed() {
    let old = Item::directory().with("x", Item::directory().with("in", Item::file("1")));
    let new = Item::directory().with("x", Item::file("2"));
    let (world, old, new) = World::of(&old, &new);
    let kind = Difference { kind: true, ..Difference::default() };
    let expected = vec![("x".into(), '~', kind), ("x/in".into(), '-', Difference::default())];
    assert_eq!(told(&world.repo, old, new), expected);
    let mut changes = world.repo.changes(old, new);
    assert!(changes.next().is_some());
    changes.pass_over();
    assert!(changes.next().is_none(), "what is below was passed over");
}

#[test]
fn a_change_in_a_large_tree_costs_the_pages_on_the_way_to_it() {
    let mut old = Item::directory();
    for folder in 0..50 {
        let mut item = Item::directory();
        for n in 0..400 {
            item.add(format!("{n:04}"), Item::file(format!("{folder}-{n}")));
        }
        old.add(format!("{folder:02}"), item);
    }
    let mut new = old.clone();
    let folder = entries(&mut new).get_mut(&b"17"[..]).unwrap();
    entries(folder).insert(b"0123".to_vec(), Item::file("other"));
    let (world, old, new) = World::of(&old, &new);
    let changed: Vec<_> = told(&world.repo, old, new).into_iter().map(|told| told.0).collect();
    assert_eq!(changed, ["17/0123"]);
    let is_page = |key: &ObjectKey| matches!(key, ObjectKey::Pack(PackKind::Meta, _));
    let reads = world.storage.count(|o| o.is_read() && o.key().is_some_and(|key| is_page(&key)));
    // Two roots, and of each directory a page with the changed name below a top page at most; a
    // page may be told from another one. 20,000 files have over 100 pages.
    assert!((1..=12).contains(&reads), "{reads} blocks of pages were read");
    let content = |key: &ObjectKey| matches!(key, ObjectKey::Pack(PackKind::Data, _));
    let content = world.storage.count(|o| o.key().is_some_and(|key| content(&key)));
    assert_eq!(content, 0, "content is never read");
}

#[test]
fn damage_ends_the_comparison_with_an_error() {
    let old = tree(&[2000]);
    let mut new = old.clone();
    apply(&mut new, 0, 1000, &Edit::Rewrite);
    let (world, old, new) = World::of(&old, &new);
    for listed in world.storage.list(Folder::Meta).unwrap() {
        let Some(key) = listed.key else { continue };
        world.storage.inner().corrupt(&key, |bytes| {
            let middle = bytes.len() / 2;
            bytes[60..middle].fill(0);
        });
    }
    let results: Vec<_> = world.repo.changes(old, new).collect();
    assert!(results.last().unwrap().is_err(), "{} results", results.len());
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
}
