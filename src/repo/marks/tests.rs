//! Guards against a snapshot that goes though somebody wants it: damaged marks, marks of others,
//! two who tag at the same time, a prune that decides meanwhile.

use std::sync::Arc;

use super::*;
use crate::format::{Body, Commit, Leaf, Node, Owner, RepositoryId, Totals};
use crate::repo::{InitOptions, OpenOptions, SnapshotFilter};
use crate::storage::{MemoryStorage, RecordStorage, Storage};

struct World {
    storage: Arc<RecordStorage<Arc<MemoryStorage>>>,
    repo: Repository,
}

const A: SnapshotId = SnapshotId([0xaa; 16]);
const B: SnapshotId = SnapshotId([0xbb; 16]);

fn by() -> Marker {
    Marker { host: "db1".into(), now: Time { secs: 1_795_000_000, nanos: 0 } }
}

fn snapshot(id: SnapshotId, tags: &[&str]) -> Snapshot {
    let body = Body::Directory { page: None, entries: 0, totals: Totals::default() };
    let root = Node {
        name: Vec::new(),
        mode: 0o755,
        owner: 0,
        mtime: Time::default(),
        ctime: Time::default(),
        atime: None,
        btime: None,
        inode: 1,
        link: None,
        xattrs: Vec::new(),
        unstable: false,
        body,
    };
    let owner = Owner { uid: 0, gid: 0, user: "root".into(), group: "root".into() };
    Snapshot {
        id,
        time: Time { secs: 1_795_000_000 + i64::from(id.0[0]), nanos: 0 },
        duration_ns: 0,
        host: "db1".into(),
        user: "root".into(),
        program: "icecore".into(),
        tags: tags.iter().map(ToString::to_string).collect(),
        sources: Vec::new(),
        parent: None,
        root: Leaf { owners: vec![owner], nodes: vec![root] },
        troubles: Vec::new(),
        troubles_count: 0,
        added: Default::default(),
        origin: None,
        captures: Vec::new(),
    }
}

impl World {
    /// With snapshot A, tagged "nightly", and B.
    fn new() -> Self {
        let storage = Arc::new(RecordStorage::new(Arc::new(MemoryStorage::new())));
        Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
        let repo = Repository::open(storage.clone(), None, &OpenOptions::default()).unwrap();
        let world = Self { storage, repo };
        world.commit(snapshot(A, &["nightly"]));
        world.commit(snapshot(B, &[]));
        world
    }

    fn commit(&self, snapshot: Snapshot) {
        let key = ObjectKey::Snapshot(snapshot.id);
        let payload = Commit::Snapshot(Box::new(snapshot)).encode(self.repo.config().repository);
        self.put(key, FrameKind::Snapshot, payload);
    }

    fn put(&self, key: ObjectKey, kind: FrameKind, payload: Vec<u8>) {
        let bytes = self.repo.vault().encode_object(&key, kind, payload).unwrap();
        self.storage.put_new(&key, &bytes).unwrap();
    }

    /// Replaces an object by bytes that nothing decodes.
    fn damage(&self, key: ObjectKey) {
        self.storage.delete(&key).unwrap();
        self.storage.put_new(&key, b"not what it was").unwrap();
    }

    fn ids(&self) -> Vec<SnapshotId> {
        self.repo.snapshots().unwrap().snapshots.iter().map(|snapshot| snapshot.id).collect()
    }

    fn retag(&self, id: SnapshotId, edit: impl Fn(&mut TagState)) -> Result<bool> {
        let snapshot = self.repo.read_snapshot(id).unwrap().unwrap();
        let mut marks = self.repo.marks().unwrap();
        self.repo.retag(&mut marks, &snapshot, &by(), edit)
    }

    fn protect(&self, id: SnapshotId, protected: bool) -> Result<bool> {
        self.retag(id, |state| state.protected = protected)
    }

    /// What a prune writes about a snapshot.
    fn doom(&self, key: ObjectKey, kind: FrameKind, snapshots: Vec<SnapshotId>) {
        let record = Generation {
            repository: self.repo.config().repository,
            number: 0,
            at: Time::default(),
            host: "pruner".into(),
            packs: Vec::new(),
            snapshots,
        };
        self.put(key, kind, record.encode());
    }
}

#[test]
fn a_forgotten_snapshot_is_nowhere_and_comes_back() {
    let world = World::new();
    assert_eq!(world.ids(), [A, B]);
    assert!(world.repo.forget(B, &by()).unwrap());
    assert!(!world.repo.forget(B, &by()).unwrap(), "it was forgotten before");
    assert_eq!(world.ids(), [A]);
    let filter = SnapshotFilter::default();
    assert_eq!(world.repo.find_snapshot("latest", &filter).unwrap().id, A);
    let err = world.repo.find_snapshot("bbbb", &filter).unwrap_err();
    assert!(matches!(err, RepoError::NoSuchSnapshot { .. }), "{err}");
    assert_eq!(world.repo.forgotten().unwrap(), BTreeSet::from([B]));
    let forgotten = world.repo.forgotten_snapshots().unwrap();
    assert_eq!(forgotten.snapshots.iter().map(|s| s.id).collect::<Vec<_>>(), [B]);
    assert!(world.repo.unforget(B, &by()).unwrap());
    assert!(!world.repo.unforget(B, &by()).unwrap());
    assert_eq!(world.ids(), [A, B]);
}

#[test]
fn protected_wins_over_forgotten() {
    let world = World::new();
    world.repo.forget(A, &by()).unwrap();
    assert!(world.protect(A, true).unwrap());
    assert_eq!(world.ids(), [A, B]);
    assert_eq!(world.repo.snapshots().unwrap().protected, BTreeSet::from([A]));
    assert!(world.repo.forgotten().unwrap().is_empty());
    assert!(world.protect(A, false).unwrap());
    assert_eq!(world.ids(), [B]);
}

#[test]
fn the_highest_number_says_what_the_tags_are() {
    let world = World::new();
    let tags = || world.repo.snapshots().unwrap().snapshots[0].tags.clone();
    assert_eq!(tags(), ["nightly"]);
    let add = |tag: &'static str| {
        move |state: &mut TagState| {
            if !state.tags.iter().any(|have| have == tag) {
                state.tags.push(tag.into());
            }
        }
    };
    assert!(world.retag(A, add("release")).unwrap());
    assert!(!world.retag(A, add("release")).unwrap(), "nothing changed, nothing is written");
    for number in 1..=10 {
        let tag: &'static str = Box::leak(format!("t{number}").into_boxed_str());
        assert!(world.retag(A, add(tag)).unwrap());
    }
    // Number 10 comes after 9, and not after 1.
    assert_eq!(tags().len(), 12);
    assert_eq!(world.storage.list(Folder::Tags).unwrap().len(), 11);
    let stored = world.repo.read_snapshot(A).unwrap().unwrap();
    assert_eq!(stored.tags, ["nightly"], "the record is what it was");
    let filter = SnapshotFilter { tags: vec!["release".into()], ..SnapshotFilter::default() };
    assert_eq!(world.repo.find_snapshot("latest", &filter).unwrap().id, A);
}

#[test]
fn who_tags_at_the_same_time_loses_nothing() {
    let world = World::new();
    let snapshot = world.repo.read_snapshot(A).unwrap().unwrap();
    // Both looked before either wrote.
    let mut mine = world.repo.marks().unwrap();
    let mut theirs = world.repo.marks().unwrap();
    let push = |tag: &'static str| move |state: &mut TagState| state.tags.push(tag.into());
    world.repo.retag(&mut theirs, &snapshot, &by(), |state| state.protected = true).unwrap();
    world.repo.retag(&mut mine, &snapshot, &by(), push("mine")).unwrap();
    let list = world.repo.snapshots().unwrap();
    assert_eq!(list.snapshots[0].tags, ["nightly", "mine"]);
    assert!(list.protected.contains(&A));
    assert_eq!(mine.tags(A).unwrap(), ["nightly", "mine"]);
}

#[test]
fn more_tags_than_a_record_holds_are_refused() {
    let world = World::new();
    let err = world.retag(A, |state| state.tags = vec!["t".into(); limits::TAGS_MAX + 1]);
    assert!(matches!(err, Err(RepoError::TooManyTags { count: 1001, max: 1000, .. })));
    assert_eq!(world.storage.list(Folder::Tags).unwrap(), []);
}

#[test]
fn a_damaged_mark_forgets_nothing() {
    let world = World::new();
    world.repo.forget(A, &by()).unwrap();
    world.damage(ObjectKey::Forgotten(A));
    let list = world.repo.snapshots().unwrap();
    assert_eq!(list.snapshots.len(), 2);
    assert_eq!(list.damaged_marks.len(), 1);
    assert_eq!(list.damaged_marks[0].object(), ObjectKey::Forgotten(A).to_string());
    assert!(world.repo.check_mark(&ObjectKey::Forgotten(A)).unwrap_err().is_damage());
    assert!(world.repo.forget(A, &by()).unwrap(), "it is put right");
    world.repo.check_mark(&ObjectKey::Forgotten(A)).unwrap();
    assert_eq!(world.ids(), [B]);
}

#[test]
fn marks_of_another_snapshot_or_repository_are_damage() {
    let world = World::new();
    let here = world.repo.config().repository;
    let mark = |repository, snapshot| {
        Forgotten { repository, snapshot, at: Time::default(), host: String::new() }.encode()
    };
    world.put(ObjectKey::Forgotten(A), FrameKind::Forgotten, mark(here, B));
    let there = RepositoryId([9; 16]);
    world.put(ObjectKey::Forgotten(B), FrameKind::Forgotten, mark(there, B));
    assert_eq!(world.ids(), [A, B]);
    assert_eq!(world.repo.snapshots().unwrap().damaged_marks.len(), 2);
}

#[test]
fn a_damaged_record_of_tags_protects() {
    let world = World::new();
    world.retag(A, |state| state.tags = vec!["first".into()]).unwrap();
    world.retag(A, |state| state.tags = vec!["second".into()]).unwrap();
    world.damage(ObjectKey::Tags(A, 1));
    world.repo.forget(A, &by()).unwrap();
    let list = world.repo.snapshots().unwrap();
    assert_eq!(list.snapshots[0].tags, ["first"], "the record before");
    assert!(list.protected.contains(&A));
    assert_eq!(list.damaged_marks[0].object(), ObjectKey::Tags(A, 1).to_string());
    // A new record supersedes it, even one that says the same.
    assert!(world.protect(A, true).unwrap());
    let list = world.repo.snapshots().unwrap();
    assert!(list.damaged_marks.is_empty() && list.protected.contains(&A));
    assert!(world.protect(A, false).unwrap());
    assert_eq!(world.ids(), [B]);
}

#[test]
fn what_a_prune_names_cannot_be_taken_back() {
    for (key, kind) in [
        (ObjectKey::Candidates(0), FrameKind::Candidates),
        (ObjectKey::Decision(0), FrameKind::Decision),
    ] {
        let world = World::new();
        world.repo.forget(A, &by()).unwrap();
        world.repo.forget(B, &by()).unwrap();
        world.doom(key, kind, vec![A]);
        let err = world.repo.unforget(A, &by()).unwrap_err();
        assert!(matches!(err, RepoError::BeingPruned { snapshot: A, .. }), "{err}");
        assert!(world.repo.forgotten().unwrap().contains(&A));
        assert!(matches!(world.protect(A, true), Err(RepoError::BeingPruned { .. })));
        assert!(world.repo.unforget(B, &by()).unwrap(), "it names the other one");
    }
}

#[test]
fn a_prune_whose_record_cannot_be_read_may_name_anything() {
    let world = World::new();
    world.repo.forget(A, &by()).unwrap();
    world.storage.put_new(&ObjectKey::Decision(3), b"torn").unwrap();
    assert!(world.repo.unforget(A, &by()).unwrap_err().is_damage());
    assert_eq!(world.ids(), [B]);
}

#[test]
fn a_listing_reads_what_it_shows_and_each_mark_once() {
    let world = World::new();
    for n in 0..20 {
        world.commit(snapshot(SnapshotId([n; 16]), &[]));
    }
    for n in 0..5 {
        world.repo.forget(SnapshotId([n; 16]), &by()).unwrap();
    }
    world.protect(A, true).unwrap();
    world.protect(A, false).unwrap();
    world.storage.take();
    assert_eq!(world.repo.snapshots().unwrap().snapshots.len(), 17);
    let operations = world.storage.take();
    let reads = operations.iter().filter(|operation| operation.is_read()).count();
    assert_eq!(reads, 17 + 5 + 1, "of two records of tags only the one that holds");
    assert_eq!(operations.len() - reads, 3, "and three listings");
}

#[test]
fn looking_again_reads_only_what_is_new() {
    let world = World::new();
    world.repo.forget(A, &by()).unwrap();
    world.protect(B, true).unwrap();
    let mut marks = world.repo.marks().unwrap();
    let reads =
        |world: &World| world.storage.take().iter().filter(|operation| operation.is_read()).count();
    reads(&world);
    assert!(!marks.refresh(&world.repo).unwrap());
    assert_eq!(reads(&world), 0);
    world.repo.forget(B, &by()).unwrap();
    reads(&world);
    assert!(marks.refresh(&world.repo).unwrap());
    assert_eq!(reads(&world), 1);
    assert!(marks.is_forgotten(A) && !marks.is_forgotten(B) && marks.is_protected(B));
    world.repo.unforget(A, &by()).unwrap();
    assert!(marks.refresh(&world.repo).unwrap());
    assert!(!marks.is_forgotten(A));
}
