//! The comparer: from what the walker met to what must be done about it.
//!
//! It keeps pace with the parent snapshot's directories (both are sorted). An unchanged entry goes
//! to the assembler as the parent's node, a file that must be read goes to the readers.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::capture::sqlite;
use crate::format::{Body, ChunkClass, Content, File, Kind, Node, Owner};
use crate::localfs::{self, Dir, Found, LocalError, SourceFile};
use crate::repo::{NodeRef, Repository, Session};

use super::databases::{Mains, State, is_as_recorded, is_whole, may_be_database};
use super::links::{Linked, Links};
use super::prior::Prior;
use super::tally::{Change, Tally, change};
use super::ticket::{Batch, FileJob, Ticket};
use super::walk::{Entered, Step, Steps, Task, to_read};

/// What becomes part of the tree next, in its order.
pub(super) enum Event {
    /// A directory begins; its entries follow. It may turn out to be just as it was.
    Enter(Box<Node>, Arc<Owner>, Option<NodeRef>),
    /// An entry of the current directory.
    Entry(Box<Node>, Arc<Owner>, Option<Pending>),
    /// An entry that is in every respect as it was in the parent snapshot.
    Kept(NodeRef),
    /// The current directory ends.
    Leave,
}

/// A file that is still being read: who gets it counts it.
pub(super) struct Pending {
    pub(super) ticket: Ticket,
    /// The parent's entry of that name.
    pub(super) before: Option<NodeRef>,
}

/// Events that travel together.
pub(super) const EVENTS_MAX: usize = 256;

/// Where it goes on; a dry run has nowhere.
pub(super) struct Outlets {
    pub(super) events: Sender<Vec<Event>>,
    pub(super) batches: Sender<Batch>,
}

/// What goes along with a directory's names: the parent's entries, and files that others lie beside.
type Known<'k, 'a> = (&'k mut Prior<'a>, &'k mut Mains);

/// A directory that is being compared.
struct Open<'a> {
    /// `None`: it could not be opened, and has no entries.
    dir: Option<Arc<Dir>>,
    prior: Prior<'a>,
    mains: Mains,
    /// Of the path to the directory above.
    path_len: usize,
}

pub(super) struct Comparer<'a> {
    task: Task<'a>,
    outlets: Option<Outlets>,
    events: Vec<Event>,
    batch: Batch,
    links: Links,
    path: Vec<u8>,
    tally: Tally,
}

impl<'a> Comparer<'a> {
    pub(super) fn new(task: Task<'a>, outlets: Option<Outlets>) -> Self {
        Self {
            task,
            outlets,
            events: Vec::new(),
            batch: Batch::default(),
            links: Links::new(task.scope.number),
            path: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Takes all steps, also after a failure, so that the walker does not wait. Counts all but
    /// directories, what was left out, and files that are being read.
    pub(super) fn run(mut self, steps: &Receiver<Steps>) -> Tally {
        let mut stack: Vec<Open<'a>> = Vec::new();
        for Steps { names, steps, .. } in steps {
            if self.task.abort.is_set() {
                continue;
            }
            for step in steps {
                match step {
                    Step::Enter(entered) => self.enter(*entered, &mut stack),
                    Step::Leave => self.leave(&mut stack),
                    Step::Entry(range, found) => {
                        let name = names.get(range).unwrap_or_default();
                        if let Some(Open { dir: Some(dir), prior, mains, .. }) = stack.last_mut() {
                            let dir = Arc::clone(dir);
                            self.entry(&dir, (prior, mains), name, &found);
                        }
                    }
                }
            }
        }
        self.flush_batch();
        self.flush_events();
        self.tally
    }

    fn enter(&mut self, entered: Entered, stack: &mut Vec<Open<'a>>) {
        let Entered { name, found, xattrs, dir } = entered;
        let prior = match stack.last_mut() {
            Some(above) => above.prior.find(&name),
            None => self.task.parent.map(Repository::root),
        };
        let path_len = self.path.len();
        if !stack.is_empty() {
            self.path.push(b'/');
            self.path.extend_from_slice(&name);
        }
        let mut node = self.node(&name, &found);
        node.body = empty_directory();
        node.xattrs = xattrs;
        let owner = self.task.owners.owner(found.uid, found.gid);
        let page = match prior.as_ref().map(|node| &node.body) {
            Some(Body::Directory { page, .. }) => *page,
            _ => None,
        };
        let entries = self.task.repo.entries(page);
        let (prior_entries, mains) = (Prior::new(entries), Mains::default());
        stack.push(Open { dir, prior: prior_entries, mains, path_len });
        // The root's node is in the snapshot itself, and new each time.
        let prior = prior.filter(|prior| prior.page.is_some());
        self.send(Event::Enter(Box::new(node), owner, prior));
    }

    fn leave(&mut self, stack: &mut Vec<Open<'a>>) {
        let Some(open) = stack.pop() else { return };
        self.path.truncate(open.path_len);
        // An ingest that finds nothing new stores nothing, and lives all the same.
        if let Some(Err(err)) = self.task.session.map(Session::beat_when_due) {
            self.task.abort.fail(err.into());
        }
        self.send(Event::Leave);
    }

    fn entry(&mut self, dir: &Arc<Dir>, known: Known<'_, '_>, name: &[u8], found: &Found) {
        let len = self.path.len();
        self.path.push(b'/');
        self.path.extend_from_slice(name);
        self.leaf(dir, known, name, found);
        self.path.truncate(len);
    }

    fn send(&mut self, event: Event) {
        self.events.push(event);
        if self.events.len() >= EVENTS_MAX {
            self.flush_events();
        }
    }

    fn flush_events(&mut self) {
        let events = std::mem::take(&mut self.events);
        let Some(outlets) = &self.outlets else { return };
        match outlets.events.try_send(events) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(events)) => {
                // The assembler may be waiting for a file of the open batch.
                self.flush_batch();
                if let Some(outlets) = &self.outlets {
                    let _ = outlets.events.send(events);
                }
            }
        }
    }

    fn flush_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if let Some(outlets) = &self.outlets
            && !batch.is_empty()
        {
            // A closed queue means that the readers died; the batch's tickets say so.
            let _ = outlets.batches.send(batch);
        }
    }

    fn trouble(&self, err: &LocalError) {
        self.task.abort.lost(&self.path, err);
    }

    fn leaf(&mut self, dir: &Arc<Dir>, known: Known<'_, '_>, name: &[u8], found: &Found) {
        let (prior, mains) = known;
        let before = prior.find(name);
        mains.pass(name);
        let main = match mains.of(name) {
            Some(State::Captured) if found.kind == Kind::File => {
                return self.task.abort.progress().done(1, to_read(found));
            }
            Some(State::Reading(ticket)) => Some(ticket),
            _ => None,
        };
        if found.kind != Kind::File {
            self.tally.others += 1;
        } else if self.outlets.is_none() {
            self.tally.file(self.foreseen(dir, before.as_ref(), found), found.size);
        }
        if found.nlink > 1
            && let Some(linked) = self.links.known(found)
        {
            return self.further_name(name, found, linked, before);
        }
        let is_same =
            |prior: &&NodeRef| main.is_none() && self.is_unchanged(dir, prior, found, mains);
        let same = before.as_ref().filter(is_same).cloned();
        if same.is_some() && found.kind == Kind::File {
            self.count(Change::Unchanged, found.size);
            self.task.abort.progress().done(1, to_read(found));
        }
        let owner = self.task.owners.owner(found.uid, found.gid);
        let taken = match same {
            Some(same) if self.task.is_same(&same, found, &owner) => {
                return self.send(Event::Kept(same));
            }
            Some(same) => self.keep(dir, &same, name, found).map(|node| (node, *found, None)),
            None => self.fresh(dir, name, found, before.as_ref(), (prior, main)),
        };
        let (mut node, found, ticket) = match taken {
            Ok(taken) => taken,
            Err(err) => return self.lost(found, &err),
        };
        node.link = self.links.group(&found);
        if let Err(what) = node.check() {
            return self.refused(&found, what);
        }
        let owner = self.task.owners.owner(found.uid, found.gid);
        if found.nlink > 1 {
            self.links.remember(found, &node, &owner, ticket.as_ref());
        }
        if let Some(ticket) = ticket.as_ref().filter(|_| !self.task.options.raw_sqlite) {
            mains.add(name, State::Reading(ticket.clone()));
        }
        let pending = ticket.map(|ticket| Pending { ticket, before });
        self.send(Event::Entry(Box::new(node), owner, pending));
    }

    /// A further name of an inode that was met before: its content is not read again.
    fn further_name(
        &mut self,
        name: &[u8],
        found: &Found,
        linked: Linked,
        before: Option<NodeRef>,
    ) {
        let Linked { mut node, owner, ticket, .. } = linked;
        node.name = name.to_vec();
        if found.kind == Kind::File {
            self.task.abort.progress().done(1, to_read(found));
            if ticket.is_none() {
                let change = change(before.as_ref(), &node, &owner, self.task.options);
                self.count(change, found.size);
            }
        }
        let pending = ticket.map(|ticket| Pending { ticket, before });
        self.send(Event::Entry(Box::new(node), owner, pending));
    }

    /// Counts a file that is not being read. A dry run has counted it already, by what its
    /// attributes say.
    fn count(&mut self, change: Change, size: u64) {
        if self.outlets.is_some() {
            self.tally.file(change, size);
        }
    }

    /// What a file will count as, as far as its attributes tell.
    fn foreseen(&self, dir: &Dir, before: Option<&NodeRef>, found: &Found) -> Change {
        match before {
            None => Change::New,
            Some(before) if self.looks_unchanged(dir, before, found) => Change::Unchanged,
            Some(_) => Change::Changed,
        }
    }

    /// Whether the parent's entry stands for this one, which need not be read then. A database that
    /// does is recorded as captured.
    fn is_unchanged(&self, dir: &Dir, prior: &NodeRef, found: &Found, mains: &mut Mains) -> bool {
        if self.task.options.force || !self.looks_unchanged(dir, prior, found) {
            return false;
        }
        if let Some(record) = self.task.databases.before(&self.path)
            && !self.task.options.raw_sqlite
        {
            self.task.databases.keep(record, &self.task.scope.source);
            if is_whole(record) {
                mains.add(&prior.name, State::Captured);
            }
        }
        true
    }

    /// The same by its attributes alone, and for a database by those of its log.
    fn looks_unchanged(&self, dir: &Dir, prior: &Node, found: &Found) -> bool {
        let Body::File(file) = &prior.body else { return self.task.looks_unchanged(prior, found) };
        let record = self.task.databases.before(&self.path);
        if self.task.options.raw_sqlite {
            // What came through SQLite is not what the file holds.
            return record.is_none() && self.task.looks_unchanged(prior, found);
        }
        match record {
            Some(record) => {
                let sized = Found { size: file.size, ..*found };
                self.task.looks_unchanged(prior, &sized)
                    && is_as_recorded(record, dir, &prior.name, found)
            }
            None => {
                self.task.looks_unchanged(prior, found)
                    && (!may_be_database(file)
                        || (sqlite::log_state(dir, &prior.name) == "none"
                            && !self.task.databases.was_troubled(&self.path)))
            }
        }
    }

    /// Lists an entry that could not be taken.
    fn lost(&mut self, found: &Found, err: &LocalError) {
        if self.task.scope.may_lose(&self.path, err) {
            return;
        }
        self.trouble(err);
        self.tally.files_failed += u64::from(found.kind == Kind::File);
    }

    /// Lists an entry that cannot be stored.
    fn refused(&mut self, found: &Found, what: impl Into<String>) {
        self.task.abort.trouble(&self.path, what);
        self.tally.files_failed += u64::from(found.kind == Kind::File);
    }

    /// The parent's node as it is now. With an equal ctime its attributes are the same.
    fn keep(
        &mut self,
        dir: &Dir,
        prior: &NodeRef,
        name: &[u8],
        found: &Found,
    ) -> Result<Node, LocalError> {
        let mut node = Node::clone(prior);
        if prior.ctime != found.ctime {
            node.xattrs = localfs::read_xattrs(dir, name)?;
        }
        node.name = name.to_vec();
        node.mode = found.mode;
        node.ctime = found.ctime;
        node.inode = found.inode;
        node.atime = self.task.options.keep_atime.then_some(found.atime);
        Ok(node)
    }

    /// A node that the parent does not have as it is now. A file goes to the readers, which take
    /// everything from one descriptor; what is known of it here only stands in.
    fn fresh(
        &mut self,
        dir: &Arc<Dir>,
        name: &[u8],
        found: &Found,
        before: Option<&NodeRef>,
        (siblings, main): (&Prior<'_>, Option<Ticket>),
    ) -> Result<(Node, Found, Option<Ticket>), LocalError> {
        let mut node = self.node(name, found);
        if found.kind == Kind::File {
            node.body = empty_file();
            let like = before.cloned().or_else(|| siblings.sibling(name, found.size));
            let taken = self.file(dir, name, found, (like, main));
            return taken.map(|(found, ticket)| (node, found, ticket));
        }
        node.xattrs = localfs::read_xattrs(dir, name)?;
        let (major, minor) = found.rdev;
        node.body = match found.kind {
            Kind::Symlink => Body::Symlink { target: localfs::read_link(dir, name)? },
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
        dir: &Arc<Dir>,
        name: &[u8],
        found: &Found,
        (like, main): (Option<NodeRef>, Option<Ticket>),
    ) -> Result<(Found, Option<Ticket>), LocalError> {
        if self.outlets.is_none() {
            return Ok((*found, None));
        }
        // Its other names stand for this inode, whatever becomes of this name meanwhile.
        let pinned = match found.nlink {
            0 | 1 => None,
            _ => Some(SourceFile::open(dir, name)?),
        };
        let found = pinned.as_ref().map_or(*found, |source| *source.found());
        let (dir, path) = (Arc::clone(dir), self.path.clone());
        let prior = like.filter(|_| self.task.options.delta);
        let job = FileJob { dir, name: name.to_vec(), path, pinned, prior, main };
        let ticket = self.batch.push(job, found.size);
        if self.batch.is_full() {
            self.flush_batch();
        }
        Ok((found, Some(ticket)))
    }

    fn node(&self, name: &[u8], found: &Found) -> Node {
        Node {
            name: name.to_vec(),
            mode: found.mode,
            owner: 0,
            mtime: found.mtime,
            ctime: found.ctime,
            atime: self.task.options.keep_atime.then_some(found.atime),
            btime: found.btime,
            inode: found.inode,
            link: None,
            xattrs: Vec::new(),
            unstable: false,
            body: Body::Fifo,
        }
    }
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
