//! Builds snapshots of made-up trees, entry by entry, without a source on disk.
//!
//! Shared by the unit tests of `vfs` and the tests on a real mount, so that both can have entries
//! that no file system here would take. Who includes it names the library `lib`.

use std::collections::BTreeMap;

use super::lib::codec::{BlockEncoder, Compression};
use super::lib::format::{
    Body, ChunkClass, Content, Extent, File, HardLink, Node, Owner, PackKind, Snapshot, Source,
    Time, Xattr, limits,
};
use super::lib::repo::{
    BlockDraft, DirectoryWriter, ExtentsWriter, PageWriter, Repository, Session, Writer,
};

const CHUNK: usize = 64 << 10;

/// A run of a file's content.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Data(Vec<u8>),
    Hole(u64),
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    File(Vec<Piece>),
    Directory(BTreeMap<Vec<u8>, Item>),
    Other(Body),
}

/// One entry to be.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) what: What,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    pub(crate) atime: Option<Time>,
    pub(crate) link: Option<HardLink>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Item {
    pub(crate) fn new(what: What) -> Self {
        let mode = if matches!(what, What::Directory(_)) { 0o755 } else { 0o644 };
        let mtime = Time { secs: 1_700_000_000, nanos: 123_456_789 };
        Self { what, mode, uid: 0, gid: 0, mtime, atime: None, link: None, xattrs: Vec::new() }
    }

    pub(crate) fn file(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(What::File(vec![Piece::Data(bytes.into())]))
    }

    pub(crate) fn directory() -> Self {
        Self::new(What::Directory(BTreeMap::new()))
    }

    pub(crate) fn symlink(target: &[u8]) -> Self {
        Self::new(What::Other(Body::Symlink { target: target.to_vec() })).mode(0o777)
    }

    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub(crate) fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        // Set again, it is replaced.
        self.xattrs.retain(|(other, _)| other != name.as_bytes());
        self.xattrs.push((name.into(), value.to_vec()));
        self.xattrs.sort();
        self
    }

    pub(crate) fn link(mut self, group: u64, count: u32) -> Self {
        self.link = Some(HardLink { group, count });
        self
    }

    /// Adds an entry to a directory.
    pub(crate) fn with(mut self, name: impl AsRef<[u8]>, item: Self) -> Self {
        self.add(name, item);
        self
    }

    pub(crate) fn add(&mut self, name: impl AsRef<[u8]>, item: Self) {
        let What::Directory(entries) = &mut self.what else { panic!("not a directory") };
        entries.insert(name.as_ref().to_vec(), item);
    }
}

struct Builder<'s, 'r> {
    session: &'s Session<'r>,
    pages: PageWriter<'s, 'r>,
    draft: BlockDraft,
    encoder: BlockEncoder,
}

impl Builder<'_, '_> {
    fn chunk(&mut self, bytes: &[u8]) -> Extent {
        let id = self.session.id_of(PackKind::Data, bytes);
        if self.session.claim(&id).unwrap() {
            if self.draft.is_full_for(bytes.len()) {
                self.flush();
            }
            self.draft.push(id, bytes);
        }
        Extent { id, len: bytes.len() as u64 }
    }

    fn flush(&mut self) {
        let draft = std::mem::take(&mut self.draft);
        self.session.write_block(PackKind::Data, &draft, &mut self.encoder).unwrap();
    }

    fn file(&mut self, pieces: &[Piece]) -> File {
        let (mut size, mut data) = (0, 0);
        let mut hasher = blake3::Hasher::new();
        for piece in pieces {
            match piece {
                Piece::Data(bytes) => {
                    size += bytes.len() as u64;
                    data += bytes.len() as u64;
                    hasher.update(bytes);
                }
                Piece::Hole(len) => size += len,
            }
        }
        let hash = (data == size).then(|| *hasher.finalize().as_bytes());
        let content = match pieces {
            [Piece::Data(bytes)] if bytes.len() <= limits::INLINE_MAX => {
                Content::Inline(bytes.clone())
            }
            _ => {
                let mut extents = ExtentsWriter::default();
                for piece in pieces {
                    match piece {
                        Piece::Hole(len) => {
                            extents.push(Extent::hole(*len), &mut self.pages).unwrap();
                        }
                        Piece::Data(bytes) => {
                            for chunk in bytes.chunks(CHUNK) {
                                let extent = self.chunk(chunk);
                                extents.push(extent, &mut self.pages).unwrap();
                            }
                        }
                    }
                }
                extents.finish(&mut self.pages).unwrap()
            }
        };
        File { size, data, hash, class: ChunkClass::Default, content }
    }

    fn node(&mut self, path: &[u8], name: &[u8], item: &Item) -> (Node, Owner) {
        let body = match &item.what {
            What::File(pieces) => Body::File(self.file(pieces)),
            What::Other(body) => body.clone(),
            What::Directory(entries) => {
                let mut writer = DirectoryWriter::default();
                for (name, item) in entries {
                    let path = [path, b"/", name].concat();
                    let (node, owner) = self.node(&path, name, item);
                    writer.push(node, &owner, &mut self.pages).unwrap();
                }
                writer.finish(&mut self.pages).unwrap().into()
            }
        };
        // A source has one inode number per file; a hash of the path is as good.
        let inode = match item.link {
            Some(link) => link.group,
            None => {
                blake3::hash(path).as_bytes().iter().take(7).fold(0, |n, &b| n << 8 | u64::from(b))
            }
        };
        let node = Node {
            name: name.to_vec(),
            mode: item.mode,
            owner: 0,
            mtime: item.mtime,
            ctime: item.mtime,
            atime: item.atime,
            btime: None,
            inode,
            link: item.link,
            xattrs: item
                .xattrs
                .iter()
                .map(|(name, value)| Xattr { name: name.clone(), value: value.clone() })
                .collect(),
            unstable: false,
            body,
        };
        let owner =
            Owner { uid: item.uid, gid: item.gid, user: String::new(), group: String::new() };
        (node, owner)
    }
}

/// Commits a snapshot of `root` as of `secs`.
pub(crate) fn commit(repo: &Repository, root: &Item, secs: i64, tags: &[&str]) -> Snapshot {
    let time = Time { secs, nanos: 0 };
    let writer = Writer { host: "builder".into(), pid: 1 };
    let session = Session::begin(repo, writer, time).unwrap();
    let encoder = || BlockEncoder::new(Compression::Level(3)).unwrap();
    let pages = PageWriter::new(&session, encoder(), true);
    let draft = BlockDraft::default();
    let mut builder = Builder { session: &session, pages, draft, encoder: encoder() };
    let (node, owner) = builder.node(b"", b"", root);
    builder.flush();
    builder.pages.flush().unwrap();
    drop(builder);
    session
        .commit(|id, added| Snapshot {
            id,
            time,
            duration_ns: 0,
            host: "web/1".into(),
            user: "root".into(),
            program: "test".into(),
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            sources: vec![Source { path: b"/".to_vec() }],
            parent: None,
            root: super::lib::format::Leaf { owners: vec![owner], nodes: vec![node] },
            troubles: Vec::new(),
            troubles_count: 0,
            added,
            origin: None,
            captures: Vec::new(),
        })
        .unwrap()
}
