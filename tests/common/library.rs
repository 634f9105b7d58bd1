//! The library without its command line: a repository in memory, ingests into it, and what it holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use icecore::codec::Compression;
use icecore::format::Body;
use icecore::ops::OpError;
use icecore::ops::ingest::{
    self, ChunkerChoice, ExcludeOptions, IngestOptions, IngestReport, Input,
};
use icecore::progress::{Progress, Silent};
use icecore::repo::{InitOptions, NodeRef, OpenOptions, Repository, SnapshotFilter};
use icecore::storage::MemoryStorage;

/// A new repository in memory, without encryption.
pub fn repository() -> Repository {
    let storage = MemoryStorage::new();
    Repository::init(&storage, None, "", InitOptions::default()).unwrap();
    Repository::open(Arc::new(storage), None, &OpenOptions::default()).unwrap()
}

/// What the command line would give.
pub fn options() -> IngestOptions {
    IngestOptions {
        host: "host".into(),
        user: "user".into(),
        tags: Vec::new(),
        time: None,
        excludes: ExcludeOptions { ignore_files: true, ..ExcludeOptions::default() },
        compression: Compression::default(),
        delta: true,
        chunker: ChunkerChoice::Auto,
        threads: 2,
        max_memory: ingest::MEMORY_DEFAULT,
        keep_atime: false,
        raw_sqlite: true,
        force: false,
        ignore_inode: false,
        ignore_ctime: false,
        dry_run: false,
        own: Vec::new(),
        own_mounts: Vec::new(),
    }
}

/// Ingests all of `base` as the snapshot's root.
pub fn try_ingest(
    repo: &Repository,
    base: &Path,
    options: &IngestOptions,
    progress: &dyn Progress,
) -> Result<IngestReport, OpError> {
    let input = Input::Paths { base: Some(base.to_owned()), paths: vec![PathBuf::from(".")] };
    ingest::run(repo, input, options, progress, &AtomicBool::new(false))
}

/// The same with the usual options, and success.
pub fn ingest_tree(repo: &Repository, base: &Path) -> IngestReport {
    try_ingest(repo, base, &options(), &Silent).unwrap()
}

/// The root of the newest snapshot.
pub fn latest_root(repo: &Repository) -> NodeRef {
    Repository::root(&repo.find_snapshot("latest", &SnapshotFilter::default()).unwrap())
}

/// The entry at a path of the newest snapshot.
pub fn find(repo: &Repository, path: &str) -> Option<NodeRef> {
    let mut node = latest_root(repo);
    for name in path.split('/') {
        let Body::Directory { page, .. } = node.body else { return None };
        node = repo.lookup(page, name.as_bytes()).unwrap()?;
    }
    Some(node)
}

/// A file's whole content, compared with its hash.
pub fn content(repo: &Repository, node: &NodeRef) -> Vec<u8> {
    let Body::File(file) = &node.body else { panic!("no file") };
    let mut bytes = vec![1; file.size as usize];
    assert_eq!(repo.read_at(file, 0, &mut bytes).unwrap(), bytes.len());
    if let Some(hash) = file.hash {
        assert_eq!(blake3::hash(&bytes).as_bytes(), &hash);
    }
    bytes
}
