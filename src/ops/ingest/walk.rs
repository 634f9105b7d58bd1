//! The walker: through the sources in name order, one event per entry.
//!
//! It keeps pace with the parent snapshot's directories as it goes (both are sorted), so an
//! unchanged file costs one `statx`, and takes its node over as it stands.

use std::collections::{BTreeMap, HashMap};
use std::iter::Peekable;
use std::sync::Arc;

use crossbeam_channel::{Sender, TrySendError};

use crate::format::{Body, ChunkClass, ChunkId, Content, File, Kind, Node, Owner, Snapshot};
use crate::localfs::{self, Dir, Found, LocalError, Owners, SourceFile};
use crate::ops::error::Result;
use crate::repo::{Entries, NodeRef, Repository, Session};

use super::IngestOptions;
use super::abort::Abort;
use super::excludes::Excluder;
use super::links::{Linked, Links};
use super::plan::{Branch, Plan};
use super::ticket::{Batch, FileJob, Ticket};

/// What the walker found next, in the order of the snapshot's tree.
pub(super) enum Event {
    /// A directory begins; its entries follow. It may turn out to be just as it was.
    Enter(Box<Node>, Arc<Owner>, Option<NodeRef>),
    /// An entry of the current directory. With a ticket, its content is still being read.
    Entry(Box<Node>, Arc<Owner>, Option<Ticket>),
    /// An entry that is in every respect as it was in the parent snapshot.
    Kept(NodeRef),
    /// The current directory ends.
    Leave,
}

/// What every thread of an ingest of paths looks at.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) repo: &'a Repository,
    /// `None` for a dry run.
    pub(super) session: Option<&'a Session<'a>>,
    pub(super) options: &'a IngestOptions,
    pub(super) plan: &'a Plan,
    pub(super) parent: Option<&'a Snapshot>,
    pub(super) abort: &'a Abort<'a>,
    pub(super) owners: &'a Owners,
}

/// Where the walker's finds go; a dry run has nowhere.
pub(super) struct Outlets {
    pub(super) events: Sender<Event>,
    pub(super) batches: Sender<Batch>,
}

/// Counts of one walk.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) files_new: u64,
    pub(super) files_changed: u64,
    pub(super) files_unchanged: u64,
    pub(super) directories: u64,
    pub(super) others: u64,
    pub(super) excluded: u64,
    pub(super) bytes: u64,
}

/// One directory's entries in the parent snapshot, followed in step.
struct Prior<'r> {
    entries: Peekable<Entries<'r>>,
    /// The last file of some size of each extension that was passed: what a new checkpoint or dump
    /// of the same kind may be like.
    passed: HashMap<Vec<u8>, NodeRef>,
}

/// Smaller files are not worth a look for one like them.
const SIBLING_MIN: u64 = 1 << 20;
/// Most extensions in a directory that are followed.
const EXTENSIONS_MAX: usize = 64;

impl Prior<'_> {
    /// The parent's entry of that name; names must be asked for in ascending order.
    fn find(&mut self, name: &[u8]) -> Option<NodeRef> {
        loop {
            match self.entries.peek()? {
                Ok(node) if node.name.as_slice() < name => {
                    if let Some(Ok(node)) = self.entries.next() {
                        self.pass(node);
                    }
                }
                Ok(node) if node.name == name => return Some(node.clone()),
                Ok(_) => return None,
                Err(err) => {
                    tracing::warn!("{err}; what it held is read again");
                    self.entries.next();
                    return None;
                }
            }
        }
    }

    fn pass(&mut self, node: NodeRef) {
        if matches!(&node.body, Body::File(file) if file.size >= SIBLING_MIN)
            && let Some(extension) = extension(&node.name)
            && (self.passed.len() < EXTENSIONS_MAX || self.passed.contains_key(extension))
        {
            self.passed.insert(extension.to_vec(), node);
        }
    }

    /// The file before a new one of that name, of the same extension and about its size.
    fn sibling(&self, name: &[u8], size: u64) -> Option<NodeRef> {
        let node = self.passed.get(extension(name)?)?;
        match &node.body {
            Body::File(file) if file.size / 2 <= size && size / 2 <= file.size => {
                Some(node.clone())
            }
            _ => None,
        }
    }
}

/// What follows the last dot of a name that does not begin with it.
fn extension(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().rposition(|&byte| byte == b'.').filter(|&at| at > 0)?;
    name.get(dot + 1..)
}

pub(super) struct Walker<'a> {
    repo: &'a Repository,
    options: &'a IngestOptions,
    abort: &'a Abort<'a>,
    excluder: Excluder<'a>,
    owners: &'a Owners,
    session: Option<&'a Session<'a>>,
    outlets: Option<Outlets>,
    batch: Batch,
    links: Links,
    path: Vec<u8>,
    tally: Tally,
}

/// A directory being walked.
struct Place<'p> {
    dir: Arc<Dir>,
    /// `None`: everything below a source; else only these entries.
    only: Option<&'p BTreeMap<Vec<u8>, Branch>>,
    /// Device of the source that this lies in.
    device: Option<u64>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(task: Task<'a>, outlets: Option<Outlets>) -> Result<Self> {
        let Task { repo, session, options, abort, owners, .. } = task;
        Ok(Self {
            repo,
            options,
            abort,
            excluder: Excluder::new(&options.excludes)?,
            owners,
            session,
            outlets,
            batch: Batch::default(),
            links: Links::default(),
            path: Vec::new(),
            tally: Tally::default(),
        })
    }

    /// Walks from the snapshot's root.
    pub(super) fn run(
        mut self,
        root: &std::path::Path,
        tree: &Branch,
        parent: Option<&NodeRef>,
    ) -> Result<Tally> {
        let dir = Arc::new(Dir::open(root)?);
        let found = localfs::inspect_fd(&*dir)?;
        let (only, device) = match tree {
            Branch::Whole => (None, Some(found.device)),
            Branch::Only(entries) => (Some(entries), None),
        };
        let mut node = self.node(b"", &found);
        node.xattrs = localfs::read_xattrs_fd(&*dir)?;
        node.body = empty_directory();
        let owner = self.owners.owner(found.uid, found.gid);
        self.send(Event::Enter(Box::new(node), owner, None));
        self.children(&Place { dir, only, device }, parent.map(|node| &**node));
        self.send(Event::Leave);
        self.flush();
        Ok(self.tally)
    }

    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if let Some(outlets) = &self.outlets
            && !batch.is_empty()
        {
            // A closed queue means that the readers died; the batch's tickets say so.
            let _ = outlets.batches.send(batch);
        }
    }

    fn send(&mut self, event: Event) {
        let Some(outlets) = &self.outlets else { return };
        match outlets.events.try_send(event) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(event)) => {
                // The assembler may be waiting for a file of the open batch.
                self.flush();
                if let Some(outlets) = &self.outlets {
                    let _ = outlets.events.send(event);
                }
            }
        }
    }

    fn trouble(&self, err: &LocalError) {
        self.abort.lost(&self.path, err);
    }

    fn children(&mut self, place: &Place<'_>, prior: Option<&Node>) {
        let page = match prior.map(|node| &node.body) {
            Some(Body::Directory { page, .. }) => *page,
            _ => None,
        };
        let entries = self.repo.entries(page).peekable();
        let mut prior = Prior { entries, passed: HashMap::new() };
        match place.only {
            Some(entries) => {
                for (name, branch) in entries {
                    self.visit(place, name, Some(branch), &mut prior);
                }
            }
            None => self.all_children(place, &mut prior),
        }
    }

    fn all_children(&mut self, place: &Place<'_>, prior: &mut Prior<'_>) {
        let names = match place.dir.names() {
            Ok(names) => names,
            Err(err) => return self.trouble(&err),
        };
        for name in names.too_long() {
            self.with_name(name, |walker| {
                walker.abort.trouble(&walker.path, "the name is too long to be stored");
            });
        }
        if let Err(what) = self.excluder.enter(&place.dir, &names, &self.path) {
            self.abort.trouble(&self.path, what);
        }
        let tag = self.excluder.tag(&place.dir, &names);
        for entry in names.iter() {
            if self.abort.is_set() {
                break;
            }
            if tag.as_deref().is_some_and(|tag| tag != entry.name) {
                self.tally.excluded += 1;
                continue;
            }
            self.visit(place, entry.name, None, prior);
        }
        self.excluder.leave();
    }

    fn with_name(&mut self, name: &[u8], act: impl FnOnce(&mut Self)) {
        let len = self.path.len();
        self.path.push(b'/');
        self.path.extend_from_slice(name);
        act(self);
        self.path.truncate(len);
    }

    fn visit(
        &mut self,
        place: &Place<'_>,
        name: &[u8],
        branch: Option<&Branch>,
        prior: &mut Prior<'_>,
    ) {
        let (before, siblings) = (prior.find(name), &*prior);
        self.with_name(name, |walker| {
            let found = match localfs::inspect(&place.dir, name) {
                Ok(found) => found,
                Err(err) => return walker.trouble(&err),
            };
            let is_dir = found.kind == Kind::Directory;
            // What the user named is taken, whatever the patterns say of it.
            if branch.is_none() && walker.excluder.excludes(&walker.path, is_dir) {
                walker.tally.excluded += 1;
            } else if is_dir {
                walker.directory(place, name, branch, &found, before);
            } else if let Some(Branch::Only(_)) = branch {
                walker.abort.trouble(&walker.path, "replaced by another kind");
            } else if found.kind == Kind::File && walker.excluder.is_too_large(found.size) {
                walker.tally.excluded += 1;
            } else {
                walker.leaf(place, name, &found, before, siblings);
            }
        });
    }

    fn directory(
        &mut self,
        place: &Place<'_>,
        name: &[u8],
        branch: Option<&Branch>,
        found: &Found,
        prior: Option<NodeRef>,
    ) {
        if self.options.own.contains(&(found.device, found.inode)) {
            tracing::info!("{} is left out", String::from_utf8_lossy(&self.path));
            self.tally.excluded += 1;
            return;
        }
        self.tally.directories += 1;
        let owner = self.owners.owner(found.uid, found.gid);
        let mut node = self.node(name, found);
        node.body = empty_directory();
        let opened = place.dir.open_dir(name);
        let xattrs = match &opened {
            Ok(dir) => localfs::read_xattrs_fd(dir),
            Err(_) => localfs::read_xattrs(&place.dir, name),
        };
        match xattrs {
            Ok(xattrs) => node.xattrs = xattrs,
            Err(err) => self.trouble(&err),
        }
        self.send(Event::Enter(Box::new(node), owner, prior.clone()));
        match opened {
            Err(err) => self.trouble(&err),
            Ok(dir) => {
                let (only, device) = match branch {
                    Some(Branch::Only(entries)) => (Some(entries), None),
                    _ => (None, place.device.or(Some(found.device))),
                };
                let foreign =
                    self.excluder.one_file_system() && device.is_some_and(|d| d != found.device);
                if !foreign {
                    self.children(&Place { dir: Arc::new(dir), only, device }, prior.as_deref());
                }
            }
        }
        // An ingest that finds nothing new stores nothing, and lives all the same.
        if let Some(Err(err)) = self.session.map(Session::beat_when_due) {
            self.abort.fail(err.into());
        }
        self.send(Event::Leave);
    }

    fn leaf(
        &mut self,
        place: &Place<'_>,
        name: &[u8],
        found: &Found,
        before: Option<NodeRef>,
        siblings: &Prior<'_>,
    ) {
        if found.kind == Kind::File {
            self.tally.bytes += found.size;
            self.abort.progress().expect(1, to_read(found));
        } else {
            self.tally.others += 1;
        }
        if found.nlink > 1
            && let Some(linked) = self.links.known(found)
        {
            return self.further_name(name, found, linked);
        }
        let prior = before.as_ref().filter(|prior| self.is_unchanged(prior, found)).cloned();
        if prior.is_some() && found.kind == Kind::File {
            self.tally.files_unchanged += 1;
            self.abort.progress().done(1, to_read(found));
        }
        let owner = self.owners.owner(found.uid, found.gid);
        let taken = match prior {
            Some(prior) if self.is_same(&prior, found, &owner) => {
                return self.send(Event::Kept(prior));
            }
            Some(prior) => self.keep(place, &prior, name, found).map(|node| (node, *found, None)),
            None => self.fresh(place, name, found, before, siblings),
        };
        let (mut node, found, ticket) = match taken {
            Ok(taken) => taken,
            Err(err) => return self.trouble(&err),
        };
        node.link = self.links.group(&found);
        if let Err(what) = node.check() {
            return self.abort.trouble(&self.path, what);
        }
        let owner = self.owners.owner(found.uid, found.gid);
        if found.nlink > 1 {
            self.links.remember(found, &node, &owner, ticket.as_ref());
        }
        self.send(Event::Entry(Box::new(node), owner, ticket));
    }

    /// A further name of an inode that was met before: its content is not read again.
    fn further_name(&mut self, name: &[u8], found: &Found, linked: Linked) {
        let Linked { mut node, owner, ticket, .. } = linked;
        node.name = name.to_vec();
        if found.kind == Kind::File {
            self.tally.files_unchanged += 1;
            self.abort.progress().done(1, to_read(found));
        }
        self.send(Event::Entry(Box::new(node), owner, ticket));
    }

    fn is_unchanged(&self, prior: &Node, found: &Found) -> bool {
        if self.options.force || prior.unstable || Kind::of(&prior.body) != found.kind {
            return false;
        }
        let body = match &prior.body {
            Body::File(file) => file.size == found.size && self.is_stored(file),
            Body::CharDevice { major, minor } | Body::BlockDevice { major, minor } => {
                (*major, *minor) == found.rdev
            }
            // Another target needs another inode, which only the ctime tells for sure.
            Body::Symlink { .. } => prior.ctime == found.ctime,
            _ => true,
        };
        body && prior.mtime == found.mtime
            && (self.options.ignore_ctime || prior.ctime == found.ctime)
            && (self.options.ignore_inode || prior.inode == found.inode)
    }

    /// Whether not even an attribute of an unchanged entry differs. With an equal ctime the extended
    /// attributes are the same. What has several names is put together anew.
    fn is_same(&self, prior: &NodeRef, found: &Found, owner: &Owner) -> bool {
        let atime = self.options.keep_atime.then_some(found.atime);
        found.nlink == 1
            && prior.link.is_none()
            && prior.page.is_some()
            && (prior.ctime, prior.btime) == (found.ctime, found.btime)
            && (prior.mode, prior.inode, prior.atime) == (found.mode, found.inode, atime)
            && prior.owner() == owner
    }

    /// Whether the repository still has what the parent's node refers to; else it is read again.
    /// Where nothing is known to be missing, the node's own list tells enough.
    fn is_stored(&self, file: &File) -> bool {
        let Content::Extents { extents, .. } = &file.content else { return true };
        if !extents.iter().all(|extent| extent.is_hole() || self.has_chunk(&extent.id)) {
            return false;
        }
        !self.session.is_some_and(Session::is_degraded) || self.has_all_chunks(file)
    }

    fn has_chunk(&self, id: &ChunkId) -> bool {
        match self.session {
            Some(session) => session.has_chunk(id),
            None => self.repo.has_chunk(id).unwrap_or(false),
        }
    }

    fn has_all_chunks(&self, file: &File) -> bool {
        let mut offset = 0;
        while offset < file.size {
            match self.repo.extent_at(file, offset) {
                Ok(Some(placed))
                    if placed.extent.is_hole() || self.has_chunk(&placed.extent.id) =>
                {
                    offset = placed.offset + placed.extent.len;
                }
                _ => return false,
            }
        }
        true
    }

    /// The parent's node as it is now. With an equal ctime its attributes are the same.
    fn keep(
        &mut self,
        place: &Place<'_>,
        prior: &NodeRef,
        name: &[u8],
        found: &Found,
    ) -> Result<Node, LocalError> {
        let mut node = Node::clone(prior);
        if prior.ctime != found.ctime {
            node.xattrs = localfs::read_xattrs(&place.dir, name)?;
        }
        node.name = name.to_vec();
        node.mode = found.mode;
        node.ctime = found.ctime;
        node.inode = found.inode;
        node.atime = self.options.keep_atime.then_some(found.atime);
        Ok(node)
    }

    /// A node that the parent does not have as it is now. A file goes to the readers, which take
    /// everything from one descriptor; what is known of it here only stands in.
    fn fresh(
        &mut self,
        place: &Place<'_>,
        name: &[u8],
        found: &Found,
        before: Option<NodeRef>,
        siblings: &Prior<'_>,
    ) -> Result<(Node, Found, Option<Ticket>), LocalError> {
        let mut node = self.node(name, found);
        if found.kind == Kind::File {
            let count = if before.is_some() {
                &mut self.tally.files_changed
            } else {
                &mut self.tally.files_new
            };
            *count += 1;
            node.body = empty_file();
            let like = before.or_else(|| siblings.sibling(name, found.size));
            let taken = self.file(place, name, found, like);
            return taken.map(|(found, ticket)| (node, found, ticket));
        }
        node.xattrs = localfs::read_xattrs(&place.dir, name)?;
        let (major, minor) = found.rdev;
        node.body = match found.kind {
            Kind::Symlink => Body::Symlink { target: localfs::read_link(&place.dir, name)? },
            Kind::Socket => Body::Socket,
            Kind::CharDevice => Body::CharDevice { major, minor },
            Kind::BlockDevice => Body::BlockDevice { major, minor },
            Kind::Fifo | Kind::File | Kind::Directory => Body::Fifo,
        };
        Ok((node, *found, None))
    }

    /// Hands a file to the readers.
    fn file(
        &mut self,
        place: &Place<'_>,
        name: &[u8],
        found: &Found,
        like: Option<NodeRef>,
    ) -> Result<(Found, Option<Ticket>), LocalError> {
        if self.outlets.is_none() {
            return Ok((*found, None));
        }
        // Its other names stand for this inode, whatever becomes of this name meanwhile.
        let pinned = match found.nlink {
            0 | 1 => None,
            _ => Some(SourceFile::open(&place.dir, name)?),
        };
        let found = pinned.as_ref().map_or(*found, |source| *source.found());
        let (dir, path) = (Arc::clone(&place.dir), self.path.clone());
        let prior = like.filter(|_| self.options.delta);
        let job = FileJob { dir, name: name.to_vec(), path, pinned, prior };
        let ticket = self.batch.push(job, found.size);
        if self.batch.is_full() {
            self.flush();
        }
        Ok((found, Some(ticket)))
    }

    fn node(&mut self, name: &[u8], found: &Found) -> Node {
        Node {
            name: name.to_vec(),
            mode: found.mode,
            owner: 0,
            mtime: found.mtime,
            ctime: found.ctime,
            atime: self.options.keep_atime.then_some(found.atime),
            btime: found.btime,
            inode: found.inode,
            link: None,
            xattrs: Vec::new(),
            unstable: false,
            body: Body::Fifo,
        }
    }
}

/// Bytes that reading a file takes, as far as is known before: holes are not read.
fn to_read(found: &Found) -> u64 {
    found.size.min(found.blocks_512.saturating_mul(512))
}

/// Stands in until the directory's own entries are known.
fn empty_directory() -> Body {
    Body::Directory { page: None, entries: 0, totals: crate::format::Totals::default() }
}

/// Stands in until the file was read.
fn empty_file() -> Body {
    Body::File(File {
        size: 0,
        data: 0,
        hash: Some(*blake3::hash(b"").as_bytes()),
        class: ChunkClass::Default,
        content: Content::Inline(Vec::new()),
    })
}
