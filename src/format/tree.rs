//! Nodes and tree pages: what a directory is made of.
//!
//! A directory is a list of nodes sorted by raw name bytes, cut into pages where a hash of the
//! name says so ([`cut_after`]); pages above list the pages below, so one changed name rewrites
//! one leaf and the few pages above it. A page is a chunk: its id is the hash of its frame.

use serde::{Deserialize, Serialize};

use super::{ChunkId, Extent, FrameKind, Malformed, Seal, frame, limits, wire};

/// A point in time: seconds since 1970-01-01T00:00:00Z (may be negative), and nanoseconds after.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Time {
    /// Whole seconds; before 1970 negative.
    pub secs: i64,
    /// 0 to 999,999,999, always counted forward.
    pub nanos: u32,
}

impl Time {
    /// Whether the nanoseconds are less than a second, as they are in every stored time.
    pub(super) const fn is_normal(&self) -> bool {
        self.nanos < 1_000_000_000
    }

    /// Checks a time of a record that has no more to check it by.
    pub(super) fn check(&self) -> Result<(), Malformed> {
        if self.is_normal() {
            Ok(())
        } else {
            Err(Malformed::at(0, "a time has too many nanoseconds"))
        }
    }
}

/// Owner of a node, by number and by name. A page lists each owner once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// Numeric user id.
    pub uid: u32,
    /// Numeric group id.
    pub gid: u32,
    /// User name at the source, empty where it had none.
    pub user: String,
    /// Group name at the source, empty where it had none.
    pub group: String,
}

/// One extended attribute; ACLs and capabilities are such.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Xattr {
    /// Full name with its namespace, like `user.comment`.
    #[serde(with = "serde_bytes")]
    pub name: Vec<u8>,
    /// Raw value, up to 64 KiB, may be empty.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
}

/// Names of one inode in one snapshot share a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HardLink {
    /// Equal for names of one inode, different for different inodes of one snapshot.
    pub group: u64,
    /// The source's link count, including names outside what was ingested.
    pub count: u32,
}

/// How a file's content was cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChunkClass {
    /// Content-defined, small average: text, source, tables.
    Default,
    /// Content-defined, large average: very large files.
    Large,
    /// Fixed, page-aligned: database files.
    Database,
    /// Cut at tensor boundaries: model weights.
    Tensor,
}

/// Where a regular file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// In the node itself; at most [`limits::INLINE_MAX`] bytes, no holes.
    Inline(#[serde(with = "serde_bytes")] Vec<u8>),
    /// In chunks. At level 0 the extents name chunks (and holes); at level n > 0 they name extent
    /// pages of level n − 1. Lengths are logical bytes and add up to the file's size.
    Extents {
        /// Levels of extent pages below this list.
        level: u8,
        /// In file order.
        extents: Vec<Extent>,
    },
}

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Logical size in bytes, holes included.
    pub size: u64,
    /// Bytes outside holes.
    pub data: u64,
    /// Plain BLAKE3 of the whole content; absent where holes make it impractical
    /// (over 4 GiB of them).
    pub hash: Option<[u8; 32]>,
    /// How it was cut.
    pub class: ChunkClass,
    /// Where the bytes are.
    pub content: Content,
}

impl File {
    /// Whether both hold the same bytes. Hashes decide where both have one: how a file was cut, and
    /// where its holes are, is not its content.
    #[must_use]
    pub fn has_bytes_of(&self, other: &Self) -> bool {
        self.size == other.size
            && match (self.hash, other.hash) {
                (Some(one), Some(another)) => one == another,
                _ => self.content == other.content,
            }
    }
}

/// The kinds of directory entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl Kind {
    /// The kind of a node.
    #[must_use]
    pub const fn of(body: &Body) -> Self {
        match body {
            Body::File(_) => Self::File,
            Body::Directory { .. } => Self::Directory,
            Body::Symlink { .. } => Self::Symlink,
            Body::Fifo => Self::Fifo,
            Body::Socket => Self::Socket,
            Body::CharDevice { .. } => Self::CharDevice,
            Body::BlockDevice { .. } => Self::BlockDevice,
        }
    }
}

/// Sums over everything below a directory, the directory itself left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Regular files; each name of a hard-linked file counts.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Everything else: links, devices, pipes, sockets.
    pub others: u64,
    /// Logical bytes of the files.
    pub size: u64,
    /// Bytes of the files outside holes.
    pub data: u64,
}

/// What a node is, with what only that kind has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// A regular file.
    File(File),
    /// A directory: its root page (absent when empty), entries, and sums of all below.
    Directory {
        /// The top page; `None` is an empty directory.
        page: Option<ChunkId>,
        /// Direct entries.
        entries: u64,
        /// Sums of everything below.
        totals: Totals,
    },
    /// A symbolic link.
    Symlink {
        /// Raw target bytes, 1 to 4095.
        #[serde(with = "serde_bytes")]
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// One entry of a directory with all its metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Raw name: no `/`, no NUL, 1 to 255 bytes, not `.` or `..`. Empty only for a snapshot's root.
    #[serde(with = "serde_bytes")]
    pub name: Vec<u8>,
    /// Permission bits with set-uid, set-gid and sticky: at most 0o7777.
    pub mode: u32,
    /// Index into the page's owners.
    pub owner: u32,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of the inode: tells a later ingest what it need not read.
    pub ctime: Time,
    /// Last access, only where the ingest was asked to keep it.
    pub atime: Option<Time>,
    /// Birth, where the file system has it.
    pub btime: Option<Time>,
    /// The source's inode number: tells a later ingest what it need not read.
    pub inode: u64,
    /// Set when the inode had more than one name.
    pub link: Option<HardLink>,
    /// Sorted by name.
    pub xattrs: Vec<Xattr>,
    /// The content changed while it was read, twice: it may be torn.
    pub unstable: bool,
    /// Kind, and what belongs to it.
    pub body: Body,
}

/// A page's entry in the page above it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRef {
    /// The first name below.
    #[serde(with = "serde_bytes")]
    pub first: Vec<u8>,
    /// The page.
    pub page: ChunkId,
    /// Entries below.
    pub entries: u64,
}

/// Nodes of a directory, or of a part of it, with the owners that they refer to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Leaf {
    /// Each owner once, in the order first met.
    pub owners: Vec<Owner>,
    /// Sorted by name, no name twice.
    pub nodes: Vec<Node>,
}

/// One page of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TreePage {
    /// The nodes themselves.
    Leaf(Leaf),
    /// Pages one level down, sorted by first name.
    Inner(Vec<PageRef>),
}

/// Whether a page may end after this name at this level (0: leaves).
///
/// A hash of the name alone decides, so equal directories have equal pages whatever their history.
/// One name in 256 ends a page; each level looks at eight other bits of the hash.
#[must_use]
pub fn cut_after(name: &[u8], level: u8) -> bool {
    let hash = blake3::hash(name);
    hash.as_bytes().get(usize::from(level)).is_some_and(|&byte| byte == 0)
}

impl TreePage {
    /// The page as stored in a chunk.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        debug_assert_eq!(self.check(), Ok(()));
        frame::encode(FrameKind::TreePage, Seal::Plain, &wire::encode(self))
    }

    /// Decodes and checks a page: names, order, kinds, owners and caps hold afterwards.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let frame = frame::decode(FrameKind::TreePage, bytes)?;
        let page: Self =
            wire::decode(frame.payload).map_err(|err| err.shifted(frame::HEADER_LEN))?;
        page.check().map_err(|what| Malformed::at(frame::HEADER_LEN, what))?;
        Ok(page)
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::Leaf(leaf) => leaf.check(false),
            Self::Inner(children) => {
                if children.is_empty() || children.len() > limits::PAGE_ENTRIES_MAX {
                    return Err(format!("inner page of {} entries", children.len()));
                }
                for child in children {
                    check_name(&child.first)?;
                }
                sorted(children.iter().map(|c| c.first.as_slice()))
            }
        }
    }
}

impl Leaf {
    /// The owner of one of this page's nodes.
    #[must_use]
    pub fn owner(&self, node: &Node) -> Option<&Owner> {
        self.owners.get(node.owner as usize)
    }

    /// Checks all that format 1 promises about nodes. `root`: one directory with an empty name.
    pub(crate) fn check(&self, root: bool) -> Result<(), String> {
        if root {
            let [node] = self.nodes.as_slice() else {
                return Err(format!("root has {} nodes", self.nodes.len()));
            };
            if !node.name.is_empty() || !matches!(node.body, Body::Directory { .. }) {
                return Err("root is not an unnamed directory".into());
            }
            return self.check_node(node);
        }
        if self.nodes.is_empty() || self.nodes.len() > limits::PAGE_ENTRIES_MAX {
            return Err(format!("page of {} nodes", self.nodes.len()));
        }
        for node in &self.nodes {
            check_name(&node.name)?;
            self.check_node(node)?;
        }
        sorted(self.nodes.iter().map(|n| n.name.as_slice()))
    }

    fn check_node(&self, node: &Node) -> Result<(), String> {
        let named = |what: &str| {
            format!("node \"{}\" {what}", String::from_utf8_lossy(&node.name).escape_debug())
        };
        if self.owner(node).is_none() {
            return Err(named("has no owner"));
        }
        node.check().map_err(|what| named(&what))
    }
}

impl Node {
    /// Checks what format 1 promises of a node, but for its name and owner.
    pub fn check(&self) -> Result<(), String> {
        let node = self;
        let fail = |what: &str| Err(what.to_owned());
        if node.mode > 0o7777 {
            return fail("has impossible mode bits");
        }
        let times = [Some(node.mtime), Some(node.ctime), node.atime, node.btime];
        if times.into_iter().flatten().any(|time| !time.is_normal()) {
            return fail("has a time with too many nanoseconds");
        }
        let mut xattr_bytes = 0;
        for xattr in &node.xattrs {
            if xattr.name.is_empty()
                || xattr.name.len() > limits::XATTR_NAME_MAX
                || xattr.name.contains(&0)
                || xattr.value.len() > limits::XATTR_VALUE_MAX
            {
                return fail("has an impossible extended attribute");
            }
            xattr_bytes += xattr.name.len() + xattr.value.len();
        }
        if xattr_bytes > limits::XATTR_TOTAL_MAX {
            return fail("has too many extended attributes");
        }
        sorted(node.xattrs.iter().map(|x| x.name.as_slice()))?;
        match &node.body {
            Body::File(file) => check_file(file).or_else(|what| fail(&what)),
            Body::Symlink { target }
                if target.is_empty()
                    || target.len() > limits::LINK_TARGET_MAX
                    || target.contains(&0) =>
            {
                fail("has an impossible link target")
            }
            Body::Directory { page, entries, .. } if page.is_none() != (*entries == 0) => {
                fail("has entries but no page, or the reverse")
            }
            _ => Ok(()),
        }
    }
}

fn check_file(file: &File) -> Result<(), String> {
    if file.data > file.size {
        return Err("holds more data than its size".into());
    }
    if file.size > i64::MAX as u64 {
        return Err("is longer than a file can be".into());
    }
    match &file.content {
        Content::Inline(bytes) => {
            if bytes.len() > limits::INLINE_MAX || bytes.len() as u64 != file.size {
                return Err("has inline content of the wrong length".into());
            }
        }
        Content::Extents { level, extents } => {
            if *level > limits::PAGE_LEVELS_MAX || extents.len() > limits::EXTENTS_MAX {
                return Err("has too many extents".into());
            }
            super::extents::check_sum(extents, *level, file.size)?;
        }
    }
    Ok(())
}

fn check_name(name: &[u8]) -> Result<(), String> {
    let bad = name.is_empty()
        || name.len() > limits::NAME_MAX
        || name == b"."
        || name == b".."
        || name.iter().any(|&b| b == b'/' || b == 0);
    if bad {
        return Err(format!(
            "impossible name \"{}\"",
            String::from_utf8_lossy(name).escape_debug()
        ));
    }
    Ok(())
}

fn sorted<'a>(mut names: impl Iterator<Item = &'a [u8]>) -> Result<(), String> {
    let Some(mut last) = names.next() else { return Ok(()) };
    for name in names {
        if name <= last {
            return Err(format!(
                "names out of order at \"{}\"",
                String::from_utf8_lossy(name).escape_debug()
            ));
        }
        last = name;
    }
    Ok(())
}

impl Totals {
    /// Adds one entry of a directory: itself and, for a directory, all below it.
    pub fn add(&mut self, body: &Body) {
        match body {
            Body::File(file) => {
                self.files += 1;
                self.size = self.size.saturating_add(file.size);
                self.data = self.data.saturating_add(file.data);
            }
            Body::Directory { totals, .. } => {
                self.directories += 1 + totals.directories;
                self.files += totals.files;
                self.others += totals.others;
                self.size = self.size.saturating_add(totals.size);
                self.data = self.data.saturating_add(totals.data);
            }
            _ => self.others += 1,
        }
    }
}
