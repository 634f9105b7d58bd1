//! A repository in memory, written to by real sessions, for the tests of prune.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::codec::{BlockEncoder, Compression};
use crate::format::index::{PackInfo, Record, SegmentBuilder};
use crate::format::{
    Body, ChunkClass, Extent, File, Forgotten, FrameKind, Leaf, Node, ObjectKey, Owner, PackId,
    PackKind, Snapshot, SnapshotId, Source, Tagging, Time,
};
use crate::ops::Result;
use crate::ops::verify::{self, VerifyOptions};
use crate::progress::Silent;
use crate::repo::{
    BlockDraft, DirectoryWriter, ExtentsWriter, InitOptions, OpenOptions, PageWriter, RepoError,
    Repository, Session, Writer,
};
use crate::storage::{MemoryStorage, Storage};

use super::{PruneOptions, PruneReport};

/// A file's name and the numbers that its chunks are made of: equal numbers, equal chunks.
pub(super) type Files<'a> = &'a [(&'a str, &'a [u64])];

/// Bytes of a chunk: they do not compress.
pub(super) const CHUNK: usize = 5000;

pub(super) fn chunk(number: u64) -> Vec<u8> {
    let mut bytes = vec![0; CHUNK];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(super) fn new_storage() -> Arc<MemoryStorage> {
    let storage = Arc::new(MemoryStorage::new());
    Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
    storage
}

pub(super) fn open(storage: Arc<dyn Storage>) -> Repository {
    let options = OpenOptions { block_cache_bytes: 0, ..OpenOptions::default() };
    Repository::open(storage, None, &options).unwrap()
}

/// A session that a test begins; the writer's process lives.
pub(super) fn begin(repo: &Repository) -> Result<Session<'_>, RepoError> {
    let writer = Writer { host: "here".into(), pid: std::process::id() };
    Session::begin(repo, writer, Time { secs: 1, nanos: 0 })
}

/// Writes files and commits them. Each file ends a pack.
pub(super) fn ingest(
    repo: &Repository,
    files: Files<'_>,
    time: i64,
) -> Result<Snapshot, RepoError> {
    write(begin(repo)?, files, time)
}

/// The same in a session that was begun.
pub(super) fn write(
    session: Session<'_>,
    files: Files<'_>,
    time: i64,
) -> Result<Snapshot, RepoError> {
    let encoder = || BlockEncoder::new(Compression::Fast).unwrap();
    let mut pages = PageWriter::new(&session, encoder(), true);
    let mut directory = DirectoryWriter::default();
    let owner = Owner { uid: 0, gid: 0, user: String::new(), group: String::new() };
    for (name, numbers) in files {
        let (mut draft, mut extents) = (BlockDraft::default(), ExtentsWriter::default());
        for number in *numbers {
            let bytes = chunk(*number);
            let id = session.id_of(PackKind::Data, &bytes);
            if session.claim(&id)? {
                draft.push(id, &bytes);
            }
            extents.push(Extent { id, len: bytes.len() as u64 }, &mut pages)?;
        }
        session.write_block(PackKind::Data, &draft, &mut encoder())?;
        session.flush()?;
        let size = (numbers.len() * CHUNK) as u64;
        let content = extents.finish(&mut pages)?;
        let file = File { size, data: size, hash: None, class: ChunkClass::Default, content };
        directory.push(node(name.as_bytes(), Body::File(file)), &owner, &mut pages)?;
    }
    let root = node(b"", directory.finish(&mut pages)?.into());
    pages.flush()?;
    drop(pages);
    commit(session, owner, root, time)
}

fn commit(
    session: Session<'_>,
    owner: Owner,
    root: Node,
    time: i64,
) -> Result<Snapshot, RepoError> {
    session.commit(|id, added| Snapshot {
        id,
        time: Time { secs: time, nanos: 0 },
        duration_ns: 1,
        host: "here".into(),
        user: "user".into(),
        program: "test".into(),
        tags: Vec::new(),
        sources: vec![Source { path: b"/".to_vec() }],
        parent: None,
        root: Leaf { owners: vec![owner], nodes: vec![root] },
        troubles: Vec::new(),
        troubles_count: 0,
        added,
        origin: None,
        captures: Vec::new(),
    })
}

fn node(name: &[u8], body: Body) -> Node {
    Node {
        name: name.to_vec(),
        mode: 0o644,
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
    }
}

/// Reads every byte of a snapshot that holds these files.
pub(super) fn read(
    repo: &Repository,
    snapshot: &Snapshot,
    files: Files<'_>,
) -> Result<(), RepoError> {
    let Body::Directory { page, .. } = snapshot.root_node().body else { panic!("no directory") };
    for (name, numbers) in files {
        let node = repo.lookup(page, name.as_bytes())?.expect("the file");
        let Body::File(file) = &node.body else { panic!("no file") };
        for (at, number) in numbers.iter().enumerate() {
            let mut bytes = vec![0; CHUNK];
            repo.read_at(file, (at * CHUNK) as u64, &mut bytes)?;
            assert!(bytes == chunk(*number), "wrong bytes of {name}");
        }
    }
    Ok(())
}

pub(super) fn forget(repo: &Repository, id: SnapshotId) {
    let repository = repo.config().repository;
    let mark = Forgotten { repository, snapshot: id, at: Time::default(), host: "h".into() };
    put(repo, ObjectKey::Forgotten(id), FrameKind::Forgotten, mark.encode());
}

pub(super) fn protect(repo: &Repository, id: SnapshotId) {
    let tagging = Tagging {
        repository: repo.config().repository,
        snapshot: id,
        number: 0,
        at: Time::default(),
        host: "h".into(),
        tags: Vec::new(),
        protected: true,
    };
    put(repo, ObjectKey::Tags(id, 0), FrameKind::Tagging, tagging.encode());
}

pub(super) fn put(repo: &Repository, key: ObjectKey, kind: FrameKind, payload: Vec<u8>) {
    let bytes = repo.vault().encode_object(&key, kind, payload).unwrap();
    repo.storage().put_new(&key, &bytes).unwrap();
}

/// No grace, and sessions are dead when they are looked at twice.
pub(super) fn options() -> PruneOptions {
    PruneOptions {
        host: "here".into(),
        grace: Duration::ZERO,
        session_timeout: Duration::ZERO,
        max_unused: 0.0,
        ..PruneOptions::default()
    }
}

pub(super) fn prune(repo: &Repository, options: &PruneOptions) -> Result<PruneReport> {
    let interrupted = AtomicBool::new(false);
    let plan = super::plan(repo, options, &interrupted)?;
    super::run(repo, plan, options, &Silent, &interrupted)
}

/// Verify finds nothing wrong.
pub(super) fn assert_clean(storage: Arc<dyn Storage>, context: &str) {
    let options = VerifyOptions { read_data: true, threads: 1, ..VerifyOptions::default() };
    let report = verify::run(&open(storage), options, &Silent, &AtomicBool::new(false)).unwrap();
    assert!(report.is_clean(), "{context}: {report:?}");
}

/// A snapshot of one file with so many chunks, of which the index knows where they are and no pack
/// holds any: a prune's plan reads none. Segments have as many records as one says.
pub(super) fn large(repo: &Repository, chunks: u64, per_segment: u64) {
    const PER_PACK: u64 = 500;
    let session = begin(repo).unwrap();
    let mut pages = PageWriter::new(&session, BlockEncoder::new(Compression::Fast).unwrap(), false);
    let (mut builder, mut pack) = (SegmentBuilder::default(), 0);
    let mut extents = ExtentsWriter::default();
    for number in 0..chunks {
        if number % PER_PACK == 0 {
            let id = PackId(*blake3::hash(&number.to_le_bytes()).as_bytes());
            let info = PackInfo { id, kind: PackKind::Data, salt: [0; 16], stored_len: 1000 };
            repo.storage().put_new(&ObjectKey::Pack(PackKind::Data, id), &[0; 1000]).unwrap();
            pack = builder.add_pack(info);
        }
        let id = session.id_of(PackKind::Data, &number.to_le_bytes());
        let (block_offset, block_len, chunk_offset) = (64, 900, 0);
        let chunk_len = CHUNK as u32;
        builder.add(Record {
            id,
            pack,
            block_offset,
            block_len,
            chunk_offset,
            chunk_len,
            base: None,
        });
        extents.push(Extent { id, len: CHUNK as u64 }, &mut pages).unwrap();
        if (number + 1) % per_segment == 0 {
            repo.put_segment(std::mem::take(&mut builder).encode());
        }
    }
    repo.put_segment(builder.encode());
    let content = extents.finish(&mut pages).unwrap();
    let size = chunks * CHUNK as u64;
    let file = File { size, data: size, hash: None, class: ChunkClass::Default, content };
    let mut directory = DirectoryWriter::default();
    let owner = Owner { uid: 0, gid: 0, user: String::new(), group: String::new() };
    directory.push(node(b"large", Body::File(file)), &owner, &mut pages).unwrap();
    let root = node(b"", directory.finish(&mut pages).unwrap().into());
    pages.flush().unwrap();
    drop(pages);
    commit(session, owner, root, 1).unwrap();
}
