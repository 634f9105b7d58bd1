//! Trees as plain values: written into a repository through a session, and held against what
//! stands on disk. Shared by the tests of restore, damage and crashes.

#![allow(dead_code, unreachable_pub)] // each test uses its part

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use icecore::codec::{BlockEncoder, Compression};
use icecore::format::Kind;
use icecore::format::{
    Body, ChunkClass, Content, Extent, File, HardLink, Leaf, Node, Owner, PackKind, Snapshot,
    Source, Time, Xattr,
};
use icecore::localfs::{self, Dir};
use icecore::repo::{
    BlockDraft, DirectoryWriter, ExtentsWriter, InitOptions, KdfCost, NodeRef, OpenOptions,
    PageWriter, RepoError, Repository, Secret, Session, Writer,
};
use icecore::storage::{MemoryStorage, Storage};

/// Bytes of a chunk.
pub const CHUNK: usize = 64 << 10;

/// What an entry is.
#[derive(Debug, Clone)]
pub enum Item {
    Dir(Tree),
    File(Vec<u8>),
    /// A size, and data at offsets (multiples of 4096, in order).
    Sparse(u64, Vec<(u64, Vec<u8>)>),
    Symlink(Vec<u8>),
    Special(Body),
}

pub type Tree = BTreeMap<Vec<u8>, Entry>;

/// An entry with its metadata.
#[derive(Debug, Clone)]
pub struct Entry {
    pub item: Item,
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: Time,
    pub xattrs: Vec<Xattr>,
    pub link: Option<HardLink>,
}

pub fn entry(mode: u32, item: Item) -> Entry {
    let mtime = Time { secs: 1_000_000_000, nanos: 123_456_789 };
    Entry { item, mode, owner: (0, 0), mtime, xattrs: Vec::new(), link: None }
}

pub fn file(bytes: impl Into<Vec<u8>>) -> Entry {
    entry(0o640, Item::File(bytes.into()))
}

pub fn symlink(target: &[u8]) -> Entry {
    entry(0o777, Item::Symlink(target.to_vec()))
}

pub fn special(body: Body) -> Entry {
    entry(0o622, Item::Special(body))
}

pub fn dir<const N: usize>(entries: [(&str, Entry); N]) -> Entry {
    let tree = entries.into_iter().map(|(name, entry)| (name.as_bytes().to_vec(), entry));
    entry(0o755, Item::Dir(tree.collect()))
}

impl Entry {
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub fn owned(mut self, uid: u32, gid: u32) -> Self {
        self.owner = (uid, gid);
        self
    }

    pub fn at(mut self, secs: i64, nanos: u32) -> Self {
        self.mtime = Time { secs, nanos };
        self
    }

    pub fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        self.xattrs.push(Xattr { name: name.as_bytes().to_vec(), value: value.to_vec() });
        self.xattrs.sort_by(|a, b| a.name.cmp(&b.name));
        self
    }

    pub fn link(mut self, group: u64, count: u32) -> Self {
        self.link = Some(HardLink { group, count });
        self
    }

    pub fn tree(&self) -> &Tree {
        match &self.item {
            Item::Dir(tree) => tree,
            other => panic!("{other:?} is no directory"),
        }
    }

    pub fn tree_mut(&mut self) -> &mut Tree {
        match &mut self.item {
            Item::Dir(tree) => tree,
            other => panic!("{other:?} is no directory"),
        }
    }
}

/// Bytes that do not compress, different for each seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub fn passphrase() -> Secret {
    Secret::Passphrase(b"correct horse".to_vec().into())
}

/// Cheap work for tests.
pub const INIT: InitOptions = InitOptions {
    chunking: icecore::format::Chunking::DEFAULT,
    cost: KdfCost { memory_kib: 8, passes: 1, lanes: 1 },
};

pub fn init(storage: Arc<dyn Storage>, encrypted: bool) -> Repository {
    let secret = encrypted.then(passphrase);
    Repository::init(&*storage, secret.as_ref(), "test", INIT).unwrap();
    open(storage, encrypted).unwrap()
}

pub fn open(storage: Arc<dyn Storage>, encrypted: bool) -> Result<Repository, RepoError> {
    let secret = encrypted.then(passphrase);
    Repository::open(storage, secret.as_ref(), &OpenOptions::default())
}

pub fn in_memory() -> Repository {
    init(Arc::new(MemoryStorage::new()), false)
}

/// Writes content and pages of one session.
struct Build<'s, 'r> {
    session: &'s Session<'r>,
    pages: PageWriter<'s, 'r>,
    encoder: BlockEncoder,
    draft: BlockDraft,
}

/// Ingests a tree as a snapshot. With `flush_each`, every file ends a pack and a segment.
pub fn ingest(
    repo: &Repository,
    root: &Entry,
    time: i64,
    flush_each: bool,
) -> Result<Snapshot, RepoError> {
    let writer = Writer { host: "host".into(), pid: 1 };
    let session = Session::begin(repo, writer, Time { secs: time, nanos: 0 })?;
    let mut build = Build {
        session: &session,
        pages: PageWriter::new(&session, BlockEncoder::new(Compression::Level(1)).unwrap(), true),
        encoder: BlockEncoder::new(Compression::Level(1)).unwrap(),
        draft: BlockDraft::default(),
    };
    let (mut node, owner) = build.node(b"", root, flush_each)?;
    build.flush()?;
    build.pages.flush()?;
    drop(build);
    node.owner = 0;
    session.commit(|id, added| Snapshot {
        id,
        time: Time { secs: time, nanos: 0 },
        duration_ns: 1,
        host: "host".into(),
        user: "user".into(),
        program: "test".into(),
        tags: Vec::new(),
        sources: vec![Source { path: b"/".to_vec() }],
        parent: None,
        root: Leaf { owners: vec![owner], nodes: vec![node] },
        troubles: Vec::new(),
        troubles_count: 0,
        added,
        origin: None,
        captures: Vec::new(),
    })
}

impl Build<'_, '_> {
    fn flush(&mut self) -> Result<(), RepoError> {
        let draft = std::mem::take(&mut self.draft);
        self.session.write_block(PackKind::Data, &draft, &mut self.encoder)
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<Extent, RepoError> {
        let id = self.session.id_of(PackKind::Data, bytes);
        if self.session.claim(&id)? {
            if self.draft.is_full_for(bytes.len()) {
                self.flush()?;
            }
            self.draft.push(id, bytes);
        }
        Ok(Extent { id, len: bytes.len() as u64 })
    }

    fn node(&mut self, name: &[u8], from: &Entry, each: bool) -> Result<(Node, Owner), RepoError> {
        let body = match &from.item {
            Item::Symlink(target) => Body::Symlink { target: target.clone() },
            Item::Special(body) => body.clone(),
            Item::File(bytes) if bytes.len() <= 512 => {
                let size = bytes.len() as u64;
                let content = Content::Inline(bytes.clone());
                Body::File(File {
                    size,
                    data: size,
                    hash: None,
                    class: ChunkClass::Default,
                    content,
                })
            }
            Item::File(bytes) => self.file(bytes.len() as u64, &[(0, bytes.clone())])?,
            Item::Sparse(size, data) => self.file(*size, data)?,
            Item::Dir(tree) => {
                let mut writer = DirectoryWriter::default();
                for (name, entry) in tree {
                    let (node, owner) = self.node(name, entry, each)?;
                    writer.push(node, &owner, &mut self.pages)?;
                    if each {
                        self.flush()?;
                        self.session.flush()?;
                    }
                }
                writer.finish(&mut self.pages)?.into()
            }
        };
        let node = Node {
            name: name.to_vec(),
            mode: from.mode,
            owner: 0,
            mtime: from.mtime,
            ctime: Time::default(),
            atime: None,
            btime: None,
            inode: 1,
            link: from.link,
            xattrs: from.xattrs.clone(),
            unstable: false,
            body,
        };
        let (uid, gid) = from.owner;
        Ok((node, Owner { uid, gid, user: String::new(), group: String::new() }))
    }

    fn file(&mut self, size: u64, data: &[(u64, Vec<u8>)]) -> Result<Body, RepoError> {
        let mut extents = ExtentsWriter::default();
        let (mut at, mut sum) = (0, 0);
        for (offset, bytes) in data {
            if *offset > at {
                extents.push(Extent::hole(offset - at), &mut self.pages)?;
            }
            for chunk in bytes.chunks(CHUNK) {
                let extent = self.chunk(chunk)?;
                extents.push(extent, &mut self.pages)?;
            }
            at = offset + bytes.len() as u64;
            sum += bytes.len() as u64;
        }
        if size > at {
            extents.push(Extent::hole(size - at), &mut self.pages)?;
        }
        let content = extents.finish(&mut self.pages)?;
        Ok(Body::File(File { size, data: sum, hash: None, class: ChunkClass::Default, content }))
    }
}

/// Holds what stands at `path` against a tree, entry by entry, and nothing more may be there.
pub fn assert_restored(path: &Path, root: &Entry) {
    let parent = Dir::open(path.parent().unwrap()).unwrap();
    let name = path.file_name().unwrap().as_encoded_bytes();
    let mut links = HashMap::new();
    check(&parent, name, root, &mut links);
}

fn check(parent: &Dir, name: &[u8], wanted: &Entry, links: &mut HashMap<u64, u64>) {
    let text = String::from_utf8_lossy(name);
    let found = localfs::inspect(parent, name).unwrap();
    if let Some(link) = wanted.link {
        assert_eq!(*links.entry(link.group).or_insert(found.inode), found.inode, "{text}");
    } else if found.kind != Kind::Directory {
        assert_eq!(found.nlink, 1, "{text}");
    }
    if found.kind != Kind::Symlink {
        assert_eq!(found.mode, wanted.mode, "mode of {text}");
    }
    assert_eq!((found.uid, found.gid), wanted.owner, "owner of {text}");
    assert_eq!(found.mtime, wanted.mtime, "mtime of {text}");
    assert_eq!(localfs::read_xattrs(parent, name).unwrap(), wanted.xattrs, "xattrs of {text}");
    match &wanted.item {
        Item::Symlink(target) => assert_eq!(&localfs::read_link(parent, name).unwrap(), target),
        Item::Special(body) => {
            assert_eq!(found.kind, Kind::of(body));
            if let Body::CharDevice { major, minor } | Body::BlockDevice { major, minor } = body {
                assert_eq!(found.rdev, (*major, *minor));
            }
        }
        Item::File(bytes) => check_content(parent, name, bytes.len() as u64, &[(0, bytes.clone())]),
        Item::Sparse(size, data) => {
            check_content(parent, name, *size, data);
            let bytes: usize = data.iter().map(|(_, bytes)| bytes.len()).sum();
            assert!(found.blocks_512 * 512 <= bytes as u64 + (256 << 10), "{text} is not sparse");
        }
        Item::Dir(tree) => {
            let below = parent.open_dir(name).unwrap();
            let names = below.names().unwrap();
            assert!(names.iter().map(|entry| entry.name).eq(tree.keys()), "entries of {text}");
            for (name, entry) in tree {
                check(&below, name, entry, links);
            }
        }
    }
}

fn check_content(parent: &Dir, name: &[u8], size: u64, data: &[(u64, Vec<u8>)]) {
    let text = String::from_utf8_lossy(name);
    let opened = localfs::SourceFile::open(parent, name).unwrap();
    assert_eq!(opened.found().size, size, "size of {text}");
    for (offset, bytes) in data {
        let mut buffer = vec![0; bytes.len()];
        assert_eq!(opened.read_at(*offset, &mut buffer).unwrap(), bytes.len());
        assert!(buffer == *bytes, "content of {text} at {offset}");
    }
    for range in opened.data_ranges().map(Result::unwrap) {
        if size > 1 << 30 {
            let known =
                data.iter().any(|(at, b)| range.start < at + b.len() as u64 && *at < range.end);
            assert!(known, "{text} has data at {range:?}");
        }
    }
}

/// Every byte and name of a snapshot, as far as it can be read: wrong ones never come out.
pub fn read_everything(repo: &Repository, root: NodeRef, wanted: &Entry) -> Vec<RepoError> {
    let mut errors = Vec::new();
    read_node(repo, &root, wanted, &mut errors);
    errors
}

fn read_node(repo: &Repository, node: &NodeRef, wanted: &Entry, errors: &mut Vec<RepoError>) {
    assert_eq!(node.mode, wanted.mode);
    match (&node.body, &wanted.item) {
        (Body::Directory { page, .. }, Item::Dir(tree)) => {
            let mut seen = 0;
            for entry in repo.entries(*page) {
                match entry {
                    Err(err) => errors.push(err),
                    Ok(entry) => {
                        seen += 1;
                        let wanted = tree.get(&entry.name).expect("a name that was never there");
                        read_node(repo, &entry, wanted, errors);
                    }
                }
            }
            assert!(seen == tree.len() || !errors.is_empty(), "entries are silently missing");
        }
        (Body::File(file), Item::File(bytes)) => {
            assert_eq!(file.size, bytes.len() as u64);
            for at in (0..bytes.len()).step_by(CHUNK) {
                let mut buffer = vec![0; CHUNK.min(bytes.len() - at)];
                match repo.read_at(file, at as u64, &mut buffer) {
                    Err(err) => errors.push(err),
                    Ok(count) => {
                        assert_eq!(count, buffer.len());
                        assert!(buffer == bytes[at..at + count], "wrong bytes came out");
                    }
                }
            }
        }
        _ => {}
    }
}
