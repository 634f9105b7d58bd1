//! Repositories in memory and files on disk, for the tests of copies.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::codec::Compression;
use crate::format::{Body, Folder, Node, Snapshot, SnapshotId, Time};
use crate::ops::Result;
use crate::ops::ingest::{self, ChunkerChoice, ExcludeOptions, IngestOptions, Input, MEMORY_MIN};
use crate::ops::verify::{self, VerifyOptions};
use crate::progress::Silent;
use crate::repo::{InitOptions, KdfCost, NodeRef, OpenOptions, Repository, Secret};
use crate::storage::{MemoryStorage, Storage};

use super::{ReplicateOptions, ReplicateReport};

/// A storage and the secret of the repository in it.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) storage: Arc<MemoryStorage>,
    key: Option<u8>,
}

impl Place {
    /// A new repository, encrypted where a key is given.
    pub(super) fn new(key: Option<u8>) -> Self {
        let place = Self { storage: Arc::new(MemoryStorage::new()), key };
        let cost = KdfCost { memory_kib: 64, passes: 1, lanes: 1 };
        let options = InitOptions { cost, ..InitOptions::default() };
        Repository::init(&*place.storage, place.secret().as_ref(), "", options).unwrap();
        place
    }

    fn secret(&self) -> Option<Secret> {
        self.key.map(|byte| Secret::KeyFile(vec![byte; 32].into()))
    }

    pub(super) fn open(&self) -> Repository {
        self.open_through(self.storage.clone())
    }

    /// The same through a storage that may fail.
    pub(super) fn open_through(&self, storage: Arc<dyn Storage>) -> Repository {
        let options = OpenOptions { block_cache_bytes: 1 << 20, ..OpenOptions::default() };
        Repository::open(storage, self.secret().as_ref(), &options).unwrap()
    }

    /// Verify finds nothing wrong.
    #[track_caller]
    pub(super) fn assert_clean(&self, context: &str) {
        let options = VerifyOptions { read_data: true, threads: 1, ..VerifyOptions::default() };
        let report = verify::run(&self.open(), options, &Silent, &AtomicBool::new(false)).unwrap();
        assert!(report.is_clean(), "{context}: {:?}", report.damaged);
    }

    pub(super) fn snapshots(&self) -> Vec<Snapshot> {
        self.open().snapshots().unwrap().snapshots
    }

    pub(super) fn count(&self, folder: Folder) -> usize {
        self.storage.list(folder).unwrap().len()
    }
}

/// Bytes that do not compress, the same for the same number.
pub(super) fn noise(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A source tree with something of everything.
pub(super) fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target").unwrap();
    let at = |name: &str| root.path().join(name);
    fs::create_dir_all(at("a/b/empty")).unwrap();
    fs::write(at("a/inline"), b"a few bytes").unwrap();
    fs::write(at("a/random"), noise(1, 300_000)).unwrap();
    fs::write(at("a/same"), noise(1, 300_000)).unwrap();
    fs::write(at("a/text"), "all work and no play\n".repeat(20_000)).unwrap();
    fs::write(at("a/b/base.db"), database(0)).unwrap();
    fs::hard_link(at("a/random"), at("a/b/linked")).unwrap();
    std::os::unix::fs::symlink("../text", at("a/b/link")).unwrap();
    let (note, flags) = (b"\x00kept\xff", rustix::fs::XattrFlags::empty());
    rustix::fs::setxattr(at("a/text"), "user.note", note, flags).unwrap();
    let sparse = fs::File::create(at("a/sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &noise(2, 90_000), 5 << 20).unwrap();
    sparse.set_len(16 << 20).unwrap();
    for number in 0..700 {
        fs::write(at("a/b").join(format!("small {number}")), number.to_string()).unwrap();
    }
    root
}

/// Pages of a database, a few of which differ from version to version.
pub(super) fn database(version: u64) -> Vec<u8> {
    let mut bytes = b"SQLite format 3\0".to_vec();
    bytes.extend(noise(7, (1 << 20) - 16));
    for page in 0..8_usize {
        let at = page * (128 << 10) + 5000;
        bytes[at..at + 100].copy_from_slice(&noise(version, 100));
    }
    bytes
}

/// Takes a snapshot of a folder.
pub(super) fn ingest(repo: &Repository, folder: &Path, time: i64) -> SnapshotId {
    let options = IngestOptions {
        host: "there".into(),
        user: "ada".into(),
        tags: vec!["nightly".into()],
        time: Some(Time { secs: time, nanos: 7 }),
        excludes: ExcludeOptions::default(),
        compression: Compression::Fast,
        delta: true,
        chunker: ChunkerChoice::Auto,
        threads: 2,
        max_memory: MEMORY_MIN,
        keep_atime: false,
        force: false,
        ignore_inode: false,
        ignore_ctime: false,
        raw_sqlite: false,
        dry_run: false,
        own: Vec::new(),
        own_mounts: Vec::new(),
    };
    let input = Input::Paths { base: Some(folder.to_owned()), paths: vec![".".into()] };
    let report = ingest::run(repo, input, &options, &Silent, &AtomicBool::new(false)).unwrap();
    assert_eq!(report.troubles_count, 0, "{:?}", report.troubles);
    report.snapshot.unwrap()
}

pub(super) fn options() -> ReplicateOptions {
    ReplicateOptions {
        host: "here".into(),
        program: "test".into(),
        verify: true,
        threads: 2,
        ..ReplicateOptions::default()
    }
}

pub(super) fn replicate(from: &Repository, to: &Repository) -> Result<ReplicateReport> {
    super::run(from, to, &options(), &Silent, &AtomicBool::new(false))
}

/// The same, where everything that is missing must be copied.
#[track_caller]
pub(super) fn copied(from: &Repository, to: &Repository) -> ReplicateReport {
    let report = replicate(from, to).unwrap();
    assert!(report.is_complete(), "{:?} {:?}", report.failed, report.damaged);
    report
}

/// Holds a copy against what it was made of: every byte and all metadata.
#[track_caller]
pub(super) fn assert_same(from: &Repository, a: &Snapshot, to: &Repository, b: &Snapshot) {
    let (mut one, mut other) = (a.clone(), b.clone());
    for snapshot in [&mut one, &mut other] {
        snapshot.id = SnapshotId([0; 16]);
        (snapshot.parent, snapshot.origin) = (None, None);
        snapshot.added = crate::format::Added::default();
        snapshot.root.nodes[0].body = Body::Fifo;
    }
    assert_eq!(one, other);
    assert_eq!(a.totals(), b.totals());
    let mut stack = vec![(Repository::root(a), Repository::root(b), String::new())];
    while let Some((a, b, path)) = stack.pop() {
        assert_same_node(from, &a, to, &b, &path);
        let (Body::Directory { page: here, .. }, Body::Directory { page: there, .. }) =
            (&a.body, &b.body)
        else {
            continue;
        };
        let list = |repo: &Repository, page| -> Vec<NodeRef> {
            repo.entries(page).map(std::result::Result::unwrap).collect()
        };
        let (here, there) = (list(from, *here), list(to, *there));
        assert_eq!(here.len(), there.len(), "{path}");
        for (a, b) in here.into_iter().zip(there) {
            let path = format!("{path}/{}", String::from_utf8_lossy(&a.name));
            stack.push((a, b, path));
        }
    }
}

#[track_caller]
fn assert_same_node(from: &Repository, a: &NodeRef, to: &Repository, b: &NodeRef, path: &str) {
    let bare = |node: &NodeRef| Node { body: Body::Fifo, owner: 0, ..Node::clone(node) };
    assert_eq!(bare(a), bare(b), "{path}");
    assert_eq!(a.owner(), b.owner(), "{path}");
    match (&a.body, &b.body) {
        (Body::File(here), Body::File(there)) => {
            let told = |file: &crate::format::File| (file.size, file.data, file.hash, file.class);
            assert_eq!(told(here), told(there), "{path}");
            assert!(read(from, here) == read(to, there), "{path} has other bytes");
            assert_eq!(holes(from, here), holes(to, there), "{path}");
        }
        (Body::Directory { totals: here, .. }, Body::Directory { totals: there, .. }) => {
            assert_eq!(here, there, "{path}");
        }
        (here, there) => assert_eq!(here, there, "{path}"),
    }
}

fn read(repo: &Repository, file: &crate::format::File) -> Vec<u8> {
    let mut bytes = vec![1; file.size as usize];
    assert_eq!(repo.read_at(file, 0, &mut bytes).unwrap(), bytes.len());
    bytes
}

fn holes(repo: &Repository, file: &crate::format::File) -> Vec<(u64, u64, bool)> {
    let (mut at, mut found) = (0, Vec::new());
    while let Some(placed) = repo.extent_at(file, at).unwrap() {
        found.push((placed.offset, placed.extent.len, placed.extent.is_hole()));
        at = placed.offset + placed.extent.len;
    }
    found
}
