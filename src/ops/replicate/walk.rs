//! The walk through a snapshot at the source, beside the last one that is on both sides.
//!
//! Directories are gone through entry by entry. What has not changed since that one is named by what
//! it is at the destination, and not gone into. Of the rest, the walk tells entries, and the extents
//! of files piece by piece, so that a file of any length fits a window.
//!
//! What must stay true: only what is the same in both of the source's snapshots, and looks alike at
//! the destination, is taken from there, and where anything there is in doubt only after all of it
//! was looked for ([`Sound`]).

use std::iter::Peekable;

use crate::format::{Body, ChunkId, Content, Extent, File, Kind, Snapshot};
use crate::ops::path::joined;
use crate::progress::Progress;
use crate::repo::{Entries, NodeRef, Repository};

use super::failure::Failure;
use super::sound::Sound;

/// Extents that are told at a time.
const PIECE: usize = 1024;

/// What comes next in a snapshot.
#[derive(Debug)]
pub(super) enum Event {
    /// A directory whose entries follow.
    Enter(NodeRef),
    /// They are all told.
    Leave,
    /// An entry that is at the destination as this node.
    Kept(NodeRef),
    /// An entry without chunks, or with this body, which is right at the destination.
    Entry(NodeRef, Option<Body>),
    /// A file whose extents follow; and its path.
    File(NodeRef, Vec<u8>),
    /// Some of them, by the ids at the source.
    Extents(Vec<Extent>),
    /// The file is over.
    FileEnd,
}

/// A node at the source and the same at the destination.
type Pair = (NodeRef, NodeRef);

/// The directory of the last snapshot, on both sides.
struct Old<'a> {
    here: Peekable<Entries<'a>>,
    there: Peekable<Entries<'a>>,
}

impl<'a> Old<'a> {
    fn new(from: &'a Repository, to: &'a Repository, pair: &Pair) -> Option<Self> {
        let page = |node: &NodeRef| match node.body {
            Body::Directory { page, .. } => Some(page),
            _ => None,
        };
        let here = from.entries(page(&pair.0)?).peekable();
        Some(Self { here, there: to.entries(page(&pair.1)?).peekable() })
    }

    /// The entry of that name on both sides. Names are asked for in ascending order.
    fn find(&mut self, name: &[u8]) -> Option<Pair> {
        let find = |entries: &mut Peekable<Entries<'a>>| {
            let before = |node: &NodeRef| node.name.as_slice() < name;
            // What cannot be read is not there: the entry is copied as a new one.
            while entries.next_if(|next| next.as_ref().map_or(true, before)).is_some() {}
            let same = |next: &_| matches!(next, Ok::<NodeRef, _>(node) if node.name == name);
            entries.next_if(same).and_then(Result::ok)
        };
        Some((find(&mut self.here)?, find(&mut self.there)?))
    }
}

/// A directory on the way down.
struct Open<'a> {
    entries: Entries<'a>,
    old: Option<Old<'a>>,
    path: Vec<u8>,
}

/// A file whose extents are being told.
struct OpenFile {
    node: NodeRef,
    at: u64,
    old: Option<Pair>,
}

/// An extent at its place, and the file's last version.
pub(super) struct Met<'a> {
    /// Offset in the file.
    pub(super) offset: u64,
    /// The chunk, by its id at the source.
    pub(super) extent: Extent,
    /// The file as it was, on both sides.
    pub(super) old: Option<(&'a File, &'a File)>,
}

/// Goes through one snapshot.
pub(super) struct Walk<'a> {
    from: &'a Repository,
    to: &'a Repository,
    progress: &'a dyn Progress,
    sound: Sound<'a>,
    open: Vec<Open<'a>>,
    file: Option<OpenFile>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        (from, to): (&'a Repository, &'a Repository),
        progress: &'a dyn Progress,
        sound: Sound<'a>,
        snapshot: &Snapshot,
        reference: Option<(&Snapshot, &Snapshot)>,
    ) -> Self {
        let root = Repository::root(snapshot);
        let pair = reference.map(|(a, b)| (Repository::root(a), Repository::root(b)));
        let mut walk = Self { from, to, progress, sound, open: Vec::new(), file: None };
        walk.enter(&root, pair, b"/".to_vec());
        walk
    }

    fn enter(&mut self, node: &NodeRef, pair: Option<Pair>, path: Vec<u8>) {
        let Body::Directory { page, .. } = node.body else { return };
        let old = pair.and_then(|pair| Old::new(self.from, self.to, &pair));
        self.open.push(Open { entries: self.from.entries(page), old, path });
    }

    /// What comes next; `met` is told of each chunk in it. `None` at the end, before which each
    /// directory but the root was left.
    pub(super) fn next(
        &mut self,
        met: &mut dyn FnMut(Met<'_>) -> Result<(), Failure>,
    ) -> Result<Option<Event>, Failure> {
        if let Some(mut file) = self.file.take() {
            let extents = self.piece(&mut file, met)?;
            if extents.is_empty() {
                return Ok(Some(Event::FileEnd));
            }
            self.file = Some(file);
            return Ok(Some(Event::Extents(extents)));
        }
        let Some(top) = self.open.last_mut() else { return Ok(None) };
        let Some(node) = top.entries.next() else {
            self.open.pop();
            return Ok((!self.open.is_empty()).then_some(Event::Leave));
        };
        let node = node.map_err(|err| Failure::at(&top.path, err))?;
        let pair = top.old.as_mut().and_then(|old| old.find(&node.name));
        let path = joined(&top.path, &node.name);
        self.entry(node, pair, path).map(Some)
    }

    fn entry(
        &mut self,
        node: NodeRef,
        pair: Option<Pair>,
        path: Vec<u8>,
    ) -> Result<Event, Failure> {
        if let Some(event) = self.unchanged(&node, pair.as_ref())? {
            self.tell(&node.body);
            return Ok(event);
        }
        match &node.body {
            Body::Directory { page: Some(_), .. } => {
                self.enter(&node, pair, path);
                Ok(Event::Enter(node))
            }
            Body::File(File { content: Content::Extents { .. }, .. }) => {
                let is_file = |pair: &Pair| matches!(pair.0.body, Body::File(_));
                self.file = Some(OpenFile { node: node.clone(), at: 0, old: pair.filter(is_file) });
                Ok(Event::File(node, path))
            }
            body => {
                self.tell(body);
                Ok(Event::Entry(node, None))
            }
        }
    }

    /// What stands at the destination for an entry whose content has not changed.
    fn unchanged(&mut self, node: &NodeRef, pair: Option<&Pair>) -> Result<Option<Event>, Failure> {
        let Some((here, there)) = pair else { return Ok(None) };
        let same_content = match (&node.body, &here.body) {
            (Body::File(new), Body::File(old)) => new.content == old.content,
            (new, old) => new == old,
        };
        if !same_content || !is_copy(here, there) || !self.sound.has(&there.body)? {
            return Ok(None);
        }
        let is_same = {
            let mut old = crate::format::Node::clone(here);
            old.owner = node.owner;
            old == **node && here.owner() == node.owner()
        };
        if is_same {
            return Ok(Some(Event::Kept(there.clone())));
        }
        let body = match (&node.body, &there.body) {
            (Body::File(new), Body::File(copy)) => {
                Some(Body::File(File { content: copy.content.clone(), ..new.clone() }))
            }
            (Body::Directory { .. }, copy) => Some(copy.clone()),
            _ => None,
        };
        Ok(Some(Event::Entry(node.clone(), body)))
    }

    /// The next extents of a file; none at its end.
    fn piece(
        &self,
        file: &mut OpenFile,
        met: &mut dyn FnMut(Met<'_>) -> Result<(), Failure>,
    ) -> Result<Vec<Extent>, Failure> {
        let Body::File(new) = &file.node.body else { return Ok(Vec::new()) };
        let old = file.old.as_ref().and_then(|(here, there)| match (&here.body, &there.body) {
            (Body::File(here), Body::File(there)) => Some((here, there)),
            _ => None,
        });
        let mut extents = Vec::new();
        while extents.len() < PIECE {
            let path = || self.open.last().map(|top| joined(&top.path, &file.node.name));
            let placed = self.from.extent_at(new, file.at);
            let placed = placed.map_err(|err| Failure::at(&path().unwrap_or_default(), err))?;
            let Some(placed) = placed else { break };
            let extent = placed.extent;
            if extent.id != ChunkId::HOLE {
                met(Met { offset: placed.offset, extent, old })?;
            }
            self.progress.done(0, extent.len);
            extents.push(extent);
            file.at = placed.offset + extent.len;
        }
        if extents.is_empty() {
            self.progress.done(1, 0);
        }
        Ok(extents)
    }

    fn tell(&self, body: &Body) {
        match body {
            Body::File(file) => self.progress.done(1, file.size),
            Body::Directory { totals, .. } => self.progress.done(totals.files, totals.size),
            _ => {}
        }
    }
}

/// Whether a node at the destination looks like a copy of that at the source: ids may differ.
fn is_copy(here: &NodeRef, there: &NodeRef) -> bool {
    let same_body = match (&here.body, &there.body) {
        (Body::File(a), Body::File(b)) => {
            (a.size, a.data, a.hash, a.class) == (b.size, b.data, b.hash, b.class)
        }
        (
            Body::Directory { entries: a, totals: sums, .. },
            Body::Directory { entries: b, totals, .. },
        ) => a == b && sums == totals,
        (a, b) => Kind::of(a) == Kind::of(b) && a == b,
    };
    same_body
        && (here.mode, here.mtime, here.ctime, here.inode, here.link)
            == (there.mode, there.mtime, there.ctime, there.inode, there.link)
        && here.owner() == there.owner()
        && here.xattrs == there.xattrs
}
