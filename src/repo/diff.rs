//! What differs between two directories, told from tree pages alone: no content is read, and what
//! has one page or one subtree on both sides is passed over unread.
//!
//! [`Differences`] holds one directory against another, entry by entry in name order; [`Changes`]
//! goes down into both. An entry is the same where a copy of it would be: kind, mode, owner, mtime,
//! extended attributes and content count; ctime, atime, birth time, inode and link count do not,
//! since restoring a source changes them all. The mtime of a directory says only that entries
//! came or went, which is told anyway, so it does not count either. Entries go by their path: one
//! that moved was removed and added.
//!
//! What must stay true: memory is one leaf and the references above it per side and level, whatever
//! the trees' size; positions only grow, and are those that [`Repository::leaf_at`] counts.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::format::{Body, ChunkId, Content, File, Kind, Leaf, Time};

use super::Repository;
use super::error::{RepoError, Result};
use super::trees::{NodeRef, Page, PageAt, Trees};

/// A directory to compare: its top page and how many entries are said to be below that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DirectoryRef {
    /// The top page; `None` is an empty directory.
    pub page: Option<ChunkId>,
    /// Direct entries.
    pub entries: u64,
}

impl DirectoryRef {
    /// That of a directory's node; `None` for other kinds.
    #[must_use]
    pub const fn of(body: &Body) -> Option<Self> {
        match *body {
            Body::Directory { page, entries, .. } => Some(Self { page, entries }),
            _ => None,
        }
    }
}

/// In what two versions of an entry differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Difference {
    /// One is a file and the other a directory, say. Nothing else is compared then.
    pub kind: bool,
    /// Bytes of a file, target of a link, number of a device. Never set for directories.
    pub content: bool,
    /// Mode, owner, extended attributes; mtime of what is no directory.
    pub metadata: bool,
}

impl Difference {
    /// Compares two versions of an entry; of directories, only what is said of themselves.
    #[must_use]
    pub fn between(old: &NodeRef, new: &NodeRef) -> Self {
        let kind = Kind::of(&old.body);
        if kind != Kind::of(&new.body) {
            return Self { kind: true, ..Self::default() };
        }
        let content = match (&old.body, &new.body) {
            (Body::File(old), Body::File(new)) => !new.has_bytes_of(old),
            (Body::Directory { .. }, Body::Directory { .. }) => false,
            (old, new) => old != new,
        };
        let metadata = old.mode != new.mode
            || old.owner() != new.owner()
            || old.xattrs != new.xattrs
            || (kind != Kind::Directory && old.mtime != new.mtime);
        Self { kind: false, content, metadata }
    }

    /// Whether they differ at all.
    #[must_use]
    pub const fn any(self) -> bool {
        self.kind || self.content || self.metadata
    }
}

/// What two versions of an entry have in common exactly where [`Difference::between`] finds none,
/// for those who look for equal ones among many. (Where only one of two files has a hash, they count
/// as different here.) Of directories it tells nothing about their entries.
#[must_use]
pub fn version_of(node: &NodeRef) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    let owner = node.owner();
    let is_directory = matches!(node.body, Body::Directory { .. });
    let mtime = if is_directory { Time::default() } else { node.mtime };
    for number in [node.mode, owner.uid, owner.gid, mtime.nanos] {
        add(&number.to_le_bytes());
    }
    add(&mtime.secs.to_le_bytes());
    add(owner.user.as_bytes());
    add(owner.group.as_bytes());
    add(&(node.xattrs.len() as u64).to_le_bytes());
    for xattr in &node.xattrs {
        add(&xattr.name);
        add(&xattr.value);
    }
    match &node.body {
        Body::File(file) => add_file(&mut add, file),
        Body::Directory { .. } => add(b"directory"),
        Body::Symlink { target } => {
            add(b"link");
            add(target);
        }
        Body::Fifo => add(b"fifo"),
        Body::Socket => add(b"socket"),
        Body::CharDevice { major, minor } => {
            add(b"character device");
            add(&[major.to_le_bytes(), minor.to_le_bytes()].concat());
        }
        Body::BlockDevice { major, minor } => {
            add(b"block device");
            add(&[major.to_le_bytes(), minor.to_le_bytes()].concat());
        }
    }
    *hasher.finalize().as_bytes()
}

fn add_file(add: &mut impl FnMut(&[u8]), file: &File) {
    add(b"file");
    add(&file.size.to_le_bytes());
    match (&file.hash, &file.content) {
        (Some(hash), _) => add(hash),
        (None, Content::Inline(bytes)) => add(bytes),
        (None, Content::Extents { level, extents }) => {
            add(&[*level]);
            for extent in extents {
                add(extent.id.as_bytes());
                add(&extent.len.to_le_bytes());
            }
        }
    }
}

/// An entry of a directory, and its position there in name order.
#[derive(Debug, Clone)]
pub struct Side {
    /// The entry.
    pub node: NodeRef,
    /// Counted from 0.
    pub position: u64,
}

/// An entry that is not on both sides, or not the same; or a directory whose entries may differ.
#[derive(Debug, Clone)]
pub struct Differing {
    /// As it was.
    pub old: Option<Side>,
    /// As it is.
    pub new: Option<Side>,
}

/// A page that was not opened yet, with what is said of it.
#[derive(Debug)]
struct Closed {
    at: PageAt,
    entries: u64,
}

/// What comes next on one side.
enum Head<'a> {
    Entry(&'a [u8]),
    Page(&'a Closed),
    End,
}

/// Goes through one directory; pages are opened one by one, when asked for.
#[derive(Debug)]
struct Cursor<'t> {
    trees: &'t Trees,
    closed: Vec<Closed>,
    /// Has an entry at `number`.
    leaf: Option<(Arc<Leaf>, ChunkId)>,
    number: usize,
    /// Position of the next entry.
    position: u64,
    /// Entries with smaller names are passed over.
    from: Vec<u8>,
}

impl<'t> Cursor<'t> {
    fn new(trees: &'t Trees, directory: DirectoryRef, from: &[u8]) -> Self {
        let top = directory.page.map(PageAt::top);
        let closed = top.map(|at| Closed { at, entries: directory.entries });
        let (closed, from) = (closed.into_iter().collect(), from.to_vec());
        Self { trees, closed, leaf: None, number: 0, position: 0, from }
    }

    fn head(&self) -> Head<'_> {
        let leaf = self.leaf.as_ref().map(|(leaf, _)| leaf);
        match (leaf.and_then(|leaf| leaf.nodes.get(self.number)), self.closed.last()) {
            (Some(node), _) => Head::Entry(&node.name),
            (None, Some(page)) => Head::Page(page),
            (None, None) => Head::End,
        }
    }

    /// Passes over a whole page that was not opened.
    fn skip(&mut self) {
        let entries = self.closed.pop().map_or(0, |page| page.entries);
        self.position = self.position.saturating_add(entries);
    }

    fn open(&mut self) -> Result<()> {
        let Some(Closed { at, entries }) = self.closed.pop() else { return Ok(()) };
        let page = self.trees.page_at(&at)?;
        let listed = match &page {
            Page::Leaf(leaf) => leaf.nodes.len() as u64,
            Page::Inner(refs) => refs.iter().fold(0, |sum, page| page.entries.saturating_add(sum)),
        };
        if listed != entries {
            let what = format!("lists {listed} entries where {entries} are said to be");
            return Err(RepoError::corrupt(format!("tree page {}", at.id), what));
        }
        match page {
            Page::Leaf(leaf) => {
                self.number = leaf.nodes.partition_point(|node| node.name < self.from);
                self.position = self.position.saturating_add(self.number as u64);
                self.leaf = Some((leaf, at.id));
            }
            Page::Inner(refs) => {
                // All but the last of the pages that begin at or before `from` end before it.
                let before = refs.partition_point(|page| page.first <= self.from);
                let passed = before.saturating_sub(1);
                let entries = refs.iter().take(passed).map(|page| page.entries);
                self.position = entries.fold(self.position, u64::saturating_add);
                let below = at.below(&refs).zip(refs.iter()).skip(passed);
                let below: Vec<_> =
                    below.map(|(at, page)| Closed { at, entries: page.entries }).collect();
                self.closed.extend(below.into_iter().rev());
            }
        }
        Ok(())
    }

    /// The entry that comes next, where it is in an opened page.
    fn take(&mut self) -> Option<Side> {
        let (leaf, page) = self.leaf.as_ref()?;
        let node = NodeRef::new(Arc::clone(leaf), Some(*page), self.number)?;
        let side = Side { node, position: self.position };
        self.number += 1;
        self.position = self.position.saturating_add(1);
        Some(side)
    }
}

/// What to do about the heads of both sides.
enum Move {
    OpenOld,
    OpenNew,
    Skip,
    Take { old: bool, new: bool },
    End,
}

/// Decides by names; where both sides are at pages of one name, the larger is opened, so that the
/// smaller can turn out to be a part of it.
fn next_move(old: &Head<'_>, new: &Head<'_>) -> Move {
    match (old, new) {
        (Head::End, Head::End) => Move::End,
        (Head::Page(_), Head::End) => Move::OpenOld,
        (Head::End, Head::Page(_)) => Move::OpenNew,
        (Head::Entry(_), Head::End) => Move::Take { old: true, new: false },
        (Head::End, Head::Entry(_)) => Move::Take { old: false, new: true },
        (Head::Page(old), Head::Page(new)) if old.at.id == new.at.id => Move::Skip,
        (Head::Page(old), Head::Page(new)) => match old.at.first().cmp(&new.at.first()) {
            Ordering::Less => Move::OpenOld,
            Ordering::Greater => Move::OpenNew,
            Ordering::Equal if old.entries >= new.entries => Move::OpenOld,
            Ordering::Equal => Move::OpenNew,
        },
        (Head::Page(page), Head::Entry(name)) => match page.at.first() {
            Some(first) if first > *name => Move::Take { old: false, new: true },
            _ => Move::OpenOld,
        },
        (Head::Entry(name), Head::Page(page)) => match page.at.first() {
            Some(first) if first > *name => Move::Take { old: true, new: false },
            _ => Move::OpenNew,
        },
        (Head::Entry(a), Head::Entry(b)) => match a.cmp(b) {
            Ordering::Less => Move::Take { old: true, new: false },
            Ordering::Greater => Move::Take { old: false, new: true },
            Ordering::Equal => Move::Take { old: true, new: true },
        },
    }
}

/// What differs between two directories, in name order; after an error there is nothing more.
#[derive(Debug)]
pub struct Differences<'t> {
    old: Cursor<'t>,
    new: Cursor<'t>,
    failed: bool,
}

impl<'t> Differences<'t> {
    pub(super) fn new(trees: &'t Trees, old: DirectoryRef, new: DirectoryRef, from: &[u8]) -> Self {
        let (old, new) = (Cursor::new(trees, old, from), Cursor::new(trees, new, from));
        Self { old, new, failed: false }
    }

    fn step(&mut self) -> Result<Option<Differing>> {
        loop {
            match next_move(&self.old.head(), &self.new.head()) {
                Move::End => return Ok(None),
                Move::OpenOld => self.old.open()?,
                Move::OpenNew => self.new.open()?,
                Move::Skip => {
                    self.old.skip();
                    self.new.skip();
                }
                Move::Take { old, new } => {
                    let old = if old { self.old.take() } else { None };
                    let new = if new { self.new.take() } else { None };
                    let found = Differing { old, new };
                    if !found.is_same() {
                        return Ok(Some(found));
                    }
                }
            }
        }
    }
}

impl Differing {
    fn is_same(&self) -> bool {
        let (Some(old), Some(new)) = (&self.old, &self.new) else { return false };
        DirectoryRef::of(&old.node.body).map(|old| old.page)
            == DirectoryRef::of(&new.node.body).map(|new| new.page)
            && !Difference::between(&old.node, &new.node).any()
    }
}

impl Iterator for Differences<'_> {
    type Item = Result<Differing>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.step();
        self.failed = step.is_err();
        step.transpose()
    }
}

/// What became of one path.
#[derive(Debug, Clone)]
pub enum Change {
    /// Is only on the new side.
    Added(NodeRef),
    /// Is only on the old side.
    Removed(NodeRef),
    /// Is on both and not the same.
    Changed {
        /// As it was.
        old: NodeRef,
        /// As it is.
        new: NodeRef,
        /// In what they differ.
        how: Difference,
    },
}

/// A path and what became of it.
#[derive(Debug, Clone)]
pub struct PathChange {
    /// Raw bytes below the two directories, names joined by `/`.
    pub path: Vec<u8>,
    /// What became of it.
    pub change: Change,
}

/// Everything that differs below two directories, depth first, a directory before what is in it.
/// What is below one that was added or removed (or became something else) is told too, unless
/// [`Changes::pass_over`] says otherwise. After an error there is nothing more.
#[derive(Debug)]
pub struct Changes<'t> {
    trees: &'t Trees,
    /// Each with the length of its path.
    levels: Vec<(Differences<'t>, usize)>,
    path: Vec<u8>,
    below: Option<(DirectoryRef, DirectoryRef)>,
}

impl<'t> Changes<'t> {
    pub(super) fn new(trees: &'t Trees, old: DirectoryRef, new: DirectoryRef) -> Self {
        Self { trees, levels: Vec::new(), path: Vec::new(), below: Some((old, new)) }
    }

    /// Does not go into the directory that was told of last.
    pub const fn pass_over(&mut self) {
        self.below = None;
    }

    fn step(&mut self) -> Result<Option<PathChange>> {
        loop {
            if let Some((old, new)) = self.below.take()
                && old.page != new.page
            {
                let differences = Differences::new(self.trees, old, new, b"");
                self.levels.push((differences, self.path.len()));
            }
            let Some((differences, len)) = self.levels.last_mut() else { return Ok(None) };
            self.path.truncate(*len);
            let Some(found) = differences.next().transpose()? else {
                self.levels.pop();
                continue;
            };
            if let Some(change) = self.tell(found) {
                return Ok(Some(PathChange { path: self.path.clone(), change }));
            }
        }
    }

    /// Makes the entry the current path, and what is below it the next to go into.
    fn tell(&mut self, found: Differing) -> Option<Change> {
        let (old, new) = (found.old.map(|side| side.node), found.new.map(|side| side.node));
        let name = new.as_ref().or(old.as_ref()).map(|node| node.name.as_slice());
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name.unwrap_or_default());
        let below = |node: &Option<NodeRef>| {
            node.as_ref().and_then(|node| DirectoryRef::of(&node.body)).unwrap_or_default()
        };
        self.below = Some((below(&old), below(&new)));
        match (old, new) {
            (None, Some(new)) => Some(Change::Added(new)),
            (Some(old), None) => Some(Change::Removed(old)),
            (Some(old), Some(new)) => {
                let how = Difference::between(&old, &new);
                how.any().then_some(Change::Changed { old, new, how })
            }
            (None, None) => None,
        }
    }
}

impl Iterator for Changes<'_> {
    type Item = Result<PathChange>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.levels.clear();
            self.below = None;
        }
        step.transpose()
    }
}

impl Repository {
    /// What differs between two directories themselves, in name order, from the name `from` on
    /// (empty: all). Directories on both sides whose pages differ are always among them.
    #[must_use]
    pub fn differences(
        &self,
        old: DirectoryRef,
        new: DirectoryRef,
        from: &[u8],
    ) -> Differences<'_> {
        Differences::new(&self.trees, old, new, from)
    }

    /// Everything that differs below two directories.
    #[must_use]
    pub fn changes(&self, old: DirectoryRef, new: DirectoryRef) -> Changes<'_> {
        Changes::new(&self.trees, old, new)
    }
}
