//! What a review found wrong with the index, with damaged and hostile repositories, and with the
//! caches; each test states what holds now.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Barrier};

use common::library::{content, find, ingest_tree, latest_root, repository};
use common::torture::random_bytes;
use icecore::codec::{BlockEncoder, Compression};
use icecore::format::{
    Body, ChunkClass, ChunkId, Content, Extent, ExtentPage, File, Leaf, Node, ObjectKey, Owner,
    PackKind, PageRef, SegmentId, Time, TreePage,
};
use icecore::ops::verify::{self, VerifyOptions};
use icecore::progress::Silent;
use icecore::repo::{
    BlockDraft, InitOptions, OpenOptions, RepoError, Repository, Session, SnapshotFilter, Writer,
};
use icecore::storage::{FaultStorage, LocalStorage, MemoryStorage, Storage};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn memory() -> Arc<MemoryStorage> {
    let storage = Arc::new(MemoryStorage::new());
    Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
    storage
}

fn open(storage: impl Storage + 'static) -> Repository {
    Repository::open(Arc::new(storage), None, &OpenOptions::default()).unwrap()
}

// Looking at the index again.

#[test]
fn a_new_snapshot_is_read_right_after_another_chunk_was_missing() {
    let storage = memory();
    let (writer, reader) = (open(storage.clone()), open(storage));
    let source = folder();
    fs::write(source.path().join("f"), random_bytes(1, 5000)).unwrap();
    let missing = ChunkId([9; 32]);
    assert!(matches!(reader.chunk(&missing), Err(RepoError::ChunkMissing { .. })));
    ingest_tree(&writer, source.path());
    assert_eq!(content(&reader, &find(&reader, "f").unwrap()), random_bytes(1, 5000));
}

#[test]
fn threads_that_meet_a_new_snapshot_together_all_read_it() {
    for round in 0..50 {
        let storage = memory();
        let (writer, reader) = (open(storage.clone()), open(storage));
        let source = folder();
        fs::write(source.path().join("f"), random_bytes(round, 5000)).unwrap();
        ingest_tree(&writer, source.path());
        let Body::Directory { page, .. } = latest_root(&reader).body else { panic!() };
        let barrier = Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    barrier.wait();
                    assert!(reader.lookup(page, b"f").unwrap().is_some());
                });
            }
        });
    }
}

// The cache of index segments.

/// A plain repository in a folder with one snapshot of some files, and a cache folder.
struct World {
    folder: tempfile::TempDir,
    storage: Arc<LocalStorage>,
}

const FILES: u64 = 20;

impl World {
    fn new() -> Self {
        let folder = folder();
        let storage = LocalStorage::create(&folder.path().join("repository")).unwrap();
        Repository::init(&storage, None, "", InitOptions::default()).unwrap();
        let world = Self { folder, storage: Arc::new(storage) };
        fs::create_dir(world.source()).unwrap();
        for n in 0..FILES {
            fs::write(world.source().join(format!("f{n}")), random_bytes(n, 5000)).unwrap();
        }
        ingest_tree(&open(world.storage.clone()), &world.source());
        world
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn open(&self) -> Repository {
        let options = OpenOptions { cache: Some(self.cache()), ..OpenOptions::default() };
        Repository::open(self.storage.clone(), None, &options).unwrap()
    }

    fn segments(&self) -> Vec<SegmentId> {
        open(self.storage.clone()).stored_segments().unwrap()
    }

    fn stored(&self, id: SegmentId) -> PathBuf {
        self.storage.root().join(ObjectKey::Segment(id).to_string())
    }

    fn index_cache(&self) -> PathBuf {
        let config = Repository::read_config(&*self.storage).unwrap().config;
        self.cache().join(config.repository.to_string()).join("index")
    }

    fn cached(&self, id: SegmentId) -> PathBuf {
        self.index_cache().join(id.to_string())
    }
}

fn check_files(repo: &Repository) {
    for n in 0..FILES {
        let node = find(repo, &format!("f{n}")).unwrap();
        assert_eq!(content(repo, &node), random_bytes(n, 5000));
    }
}

fn overwrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Makes the places of many chunks impossible.
fn spoil_places(body: &mut [u8]) {
    let places = body.len() - 24 * FILES as usize;
    body[places..].fill(0xff);
}

#[test]
fn a_segment_cut_short_in_the_repository_does_not_stop_who_has_it_open() {
    let world = World::new();
    let repo = world.open();
    for id in world.segments() {
        overwrite(&world.stored(id), |bytes| bytes.truncate(64));
    }
    check_files(&repo);
}

/// The segment in a cache file, whose checksum must hold.
fn body_in(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    let sum = bytes.split_off(bytes.len() - 32);
    assert_eq!(blake3::hash(&bytes).as_bytes()[..], sum);
    bytes
}

/// Changes a cached segment under a checksum that holds, as damage that is met later would be.
fn overwrite_body(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut body = body_in(path);
    change(&mut body);
    let sum = blake3::hash(&body);
    body.extend_from_slice(sum.as_bytes());
    fs::write(path, body).unwrap();
}

#[test]
fn the_index_cache_is_private_and_holds_each_segment_whole() {
    let world = World::new();
    world.open();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&world.cache()), 0o700);
    assert_eq!(mode(&world.index_cache()), 0o700);
    for id in world.segments() {
        assert_eq!(mode(&world.cached(id)), 0o600);
        assert!(body_in(&world.cached(id)) == fs::read(world.stored(id)).unwrap()[64..]);
    }
    let files = fs::read_dir(world.index_cache()).unwrap().count();
    assert_eq!(files, world.segments().len(), "temporary files are left");
}

#[test]
fn a_malformed_cache_file_is_fetched_again() {
    let world = World::new();
    world.open();
    for id in world.segments() {
        overwrite_body(&world.cached(id), |body| spoil_places(body));
    }
    let repo = world.open();
    check_files(&repo);
    for id in world.segments() {
        assert!(body_in(&world.cached(id)) == fs::read(world.stored(id)).unwrap()[64..]);
    }
    check_files(&world.open());
}

#[test]
fn a_malformed_fan_out_in_the_cache_stops_no_ingest() {
    let world = World::new();
    world.open();
    for id in world.segments() {
        let stored = fs::read(world.stored(id)).unwrap();
        let segment = icecore::format::index::Segment::open(stored[64..].to_vec()).unwrap();
        let fan_out = 64 + 64 * segment.packs().count();
        overwrite_body(&world.cached(id), |body| body[fan_out..fan_out + 8].fill(0xff));
    }
    let report = ingest_tree(&world.open(), &world.source());
    assert_eq!(report.added.chunks, 0, "all is there already");
    check_files(&world.open());
}

#[test]
fn a_cache_file_cut_short_is_written_again() {
    let world = World::new();
    world.open();
    for id in world.segments() {
        overwrite_body(&world.cached(id), |body| body.truncate(body.len() / 2));
    }
    check_files(&world.open());
}

#[test]
fn what_becomes_of_the_cache_folder_fails_neither_reads_nor_ingests() {
    let tricks: [fn(&Path); 3] = [
        |folder| fs::remove_dir_all(folder).unwrap(),
        |folder| {
            fs::remove_dir_all(folder).unwrap();
            fs::write(folder, "a file where the folder was").unwrap();
        },
        // A folder cannot be replaced by a file, so no rename to its name succeeds.
        |folder| {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                fs::remove_file(&path).unwrap();
                fs::create_dir_all(path.join("full")).unwrap();
            }
        },
    ];
    for trick in tricks {
        let world = World::new();
        let before = world.open();
        trick(&world.index_cache());
        fs::write(world.source().join("new"), random_bytes(99, 9000)).unwrap();
        ingest_tree(&before, &world.source());
        check_files(&before);
        let after = world.open();
        check_files(&after);
        assert_eq!(content(&after, &find(&after, "new").unwrap()), random_bytes(99, 9000));
    }
}

#[test]
fn what_a_damaged_segment_knew_is_written_again() {
    let world = World::new();
    for id in world.segments() {
        overwrite(&world.stored(id), |body| spoil_places(body));
    }
    let repo = open(world.storage.clone());
    ingest_tree(&repo, &world.source());
    check_files(&repo);
    check_files(&open(world.storage.clone()));
}

// One object that cannot be read.

#[test]
fn an_unreadable_snapshot_or_segment_hides_no_other() {
    let storage = memory();
    let repo = open(storage.clone());
    let source = folder();
    for n in 0..2 {
        fs::write(source.path().join("f"), random_bytes(n, 5000)).unwrap();
        ingest_tree(&repo, source.path());
    }
    let snapshots = repo.snapshots().unwrap().snapshots;
    let [old, new] = snapshots.as_slice() else { panic!() };

    let faulty = FaultStorage::new(storage.clone());
    faulty.fail_reads(ObjectKey::Snapshot(new.id));
    let faulty = open(faulty);
    let list = faulty.snapshots().unwrap();
    assert_eq!(list.snapshots.iter().map(|it| it.id).collect::<Vec<_>>(), [old.id]);
    assert_eq!(list.damaged.len(), 1);
    let find = |name: &str| faulty.find_snapshot(name, &SnapshotFilter::default());
    let err = find("latest").unwrap_err();
    assert!(matches!(err, RepoError::UncertainSnapshot { .. }), "{err}");
    assert!(err.to_string().contains(&new.id.to_string()), "{err}");
    assert_eq!(find(&old.id.to_string()).unwrap().id, old.id);

    for id in repo.stored_segments().unwrap() {
        let faulty = FaultStorage::new(storage.clone());
        faulty.fail_reads(ObjectKey::Segment(id));
        let faulty = open(faulty);
        let readable = [old, new].into_iter().filter(|snapshot| {
            let Body::Directory { page, .. } = snapshot.root_node().body else { panic!() };
            faulty.entries(page).all(|entry| entry.is_ok())
        });
        assert_eq!(readable.count(), 1);
    }
}

// Pages that somebody made on purpose.

fn put(session: &Session<'_>, kind: PackKind, bytes: &[u8]) -> ChunkId {
    let id = session.id_of(kind, bytes);
    let mut draft = BlockDraft::default();
    draft.push(id, bytes);
    session
        .write_block(kind, &draft, &mut BlockEncoder::new(Compression::Level(1)).unwrap())
        .unwrap();
    id
}

fn begin(repo: &Repository) -> Session<'_> {
    Session::begin(repo, Writer { host: "h".into(), pid: 1 }, icecore::clock::now()).unwrap()
}

#[test]
fn an_extent_page_is_checked_against_each_reference_to_it() {
    let repo = repository();
    let session = begin(&repo);
    let [good, other] = [1, 2].map(|byte| {
        let id = put(&session, PackKind::Data, &[byte; 1000]);
        let page = ExtentPage { level: 0, extents: vec![Extent { id, len: 1000 }] };
        put(&session, PackKind::Meta, &page.encode())
    });
    session.flush().unwrap();
    let file = |extents: Vec<Extent>| {
        let size = extents.iter().map(|extent| extent.len).sum();
        let content = Content::Extents { level: 1, extents };
        File { size, data: size, hash: None, class: ChunkClass::Default, content }
    };
    let honest = file(vec![Extent { id: good, len: 1000 }]);
    let lying = file(vec![Extent { id: good, len: 10 }, Extent { id: other, len: 1000 }]);
    let mut buf = vec![0; 1010];
    assert!(repo.read_at(&lying, 0, &mut buf).is_err());
    repo.read_at(&honest, 0, &mut [0; 1000]).unwrap();
    assert!(repo.read_at(&lying, 0, &mut buf).is_err(), "the page is cached by now");
}

fn leaf(names: &[&str]) -> Vec<u8> {
    let owner = Owner { uid: 0, gid: 0, user: String::new(), group: String::new() };
    let time = Time::default();
    let node = |name: &&str| Node {
        name: name.as_bytes().to_vec(),
        mode: 0,
        owner: 0,
        mtime: time,
        ctime: time,
        atime: None,
        btime: None,
        inode: 0,
        link: None,
        xattrs: Vec::new(),
        unstable: false,
        body: Body::Fifo,
    };
    let nodes = names.iter().map(node).collect();
    TreePage::Leaf(Leaf { owners: vec![owner], nodes }).encode()
}

fn inner(pages: &[(&str, ChunkId)], entries: u64) -> Vec<u8> {
    let refs = pages.iter().map(|&(first, page)| PageRef { first: first.into(), page, entries });
    TreePage::Inner(refs.collect()).encode()
}

/// All ways through a directory: they must end with an error.
fn refuse(repo: &Repository, page: ChunkId, bad: ChunkId) {
    let named = |err: &RepoError| {
        assert!(matches!(err, RepoError::Corrupt { .. }), "{err}");
        assert!(err.to_string().contains(&bad.to_string()), "{err} does not name {bad}");
    };
    named(&repo.entries(Some(page)).take(10_000).find_map(Result::err).unwrap());
    let mut position = 0;
    for _ in 0..10_000 {
        match repo.leaf_at(Some(page), position) {
            Ok(at) => {
                position += at.expect("the end came before the error").leaf.nodes.len() as u64
            }
            Err(err) => return named(&err),
        }
    }
    panic!("a walk by position does not end");
}

#[test]
fn pages_that_fan_out_to_one_page_are_refused() {
    let repo = repository();
    let session = begin(&repo);
    let mut top = put(&session, PackKind::Meta, &leaf(&["n0000"]));
    let mut below = top;
    let names: Vec<String> = (0..1024).map(|n| format!("n{n:04}")).collect();
    for level in 0..8 {
        below = top;
        let refs: Vec<_> = names.iter().map(|name| (name.as_str(), top)).collect();
        let entries = 1024_u64.pow(level.min(6));
        top = put(&session, PackKind::Meta, &inner(&refs, entries));
    }
    session.flush().unwrap();
    refuse(&repo, top, below);
}

#[test]
fn pages_that_overlap_are_refused() {
    let repo = repository();
    let session = begin(&repo);
    let a = put(&session, PackKind::Meta, &leaf(&["a"]));
    let b = put(&session, PackKind::Meta, &leaf(&["b"]));
    let a_to_b = put(&session, PackKind::Meta, &inner(&[("a", a), ("b", b)], 1));
    let only_b = put(&session, PackKind::Meta, &inner(&[("b", b)], 1));
    let overlap = put(&session, PackKind::Meta, &inner(&[("a", a_to_b), ("b", only_b)], 2));
    let long = put(&session, PackKind::Meta, &leaf(&["a", "c"]));
    let beyond = put(&session, PackKind::Meta, &inner(&[("a", long), ("b", b)], 2));
    session.flush().unwrap();
    refuse(&repo, overlap, a_to_b);
    refuse(&repo, beyond, long);
    let names: Vec<_> = repo.entries(Some(a_to_b)).map(|node| node.unwrap().name.clone()).collect();
    assert_eq!(names, [b"a", b"b"]);
}

#[test]
fn an_empty_leaf_is_refused() {
    let empty = icecore::format::frame::encode(
        icecore::format::FrameKind::TreePage,
        icecore::format::Seal::Plain,
        &[0; 20],
    );
    let err = TreePage::decode(&empty).unwrap_err().to_string();
    assert!(err.contains("page of 0 nodes"), "{err}");
}

#[test]
fn verify_of_pages_that_fan_out_ends() {
    let repo = repository();
    let source = folder();
    fs::create_dir(source.path().join("d")).unwrap();
    fs::write(source.path().join("d/f"), "x").unwrap();
    ingest_tree(&repo, source.path());
    let mut snapshot = repo.find_snapshot("latest", &SnapshotFilter::default()).unwrap();
    let session = begin(&repo);
    let names: Vec<String> = (0..1024).map(|n| format!("n{n:04}")).collect();
    let mut top = ChunkId([7; 32]); // missing
    for _ in 0..8 {
        let refs: Vec<_> = names.iter().map(|name| (name.as_str(), top)).collect();
        top = put(&session, PackKind::Meta, &inner(&refs, 1));
    }
    let Body::Directory { page, .. } = &mut snapshot.root.nodes[0].body else { panic!() };
    *page = Some(top);
    session.commit(|id, _| icecore::format::Snapshot { id, ..snapshot }).unwrap();
    let options = VerifyOptions::default();
    let report = verify::run(&repo, options, &Silent, &AtomicBool::new(false)).unwrap();
    assert!(!report.damaged.is_empty());
}
