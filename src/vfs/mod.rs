//! Snapshots as one read-only tree, without a word of the kernel's.
//!
//! `fuse/` asks by inode number, as the kernel does; numbers and the tables behind them are in
//! `inode`, the directories above the snapshots in `layout`, those made of several snapshots in
//! `views`, the look for new snapshots in `snapshots`. Content is read without handles: the number
//! leads to the node, through the repository's cache of pages.
//!
//! What must stay true: bytes are those of the snapshot or an error, never less and never others;
//! what is below a snapshot's root never changes; no lock is held while storage is read.
//!
//! A look-up that succeeds ([`Vfs::lookup`], [`Vfs::list`]) is remembered until [`Vfs::forget`]
//! takes it back: a number answers only for that long.

mod attic;
mod attr;
mod counters;
mod error;
mod inode;
mod layout;
mod list;
mod resolve;
mod revive;
mod root;
mod search;
mod snapshots;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod views;
mod xattr;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use attr::{Attr, Lifetime};
pub use error::{Result, VfsError};
pub use inode::Ino;
pub use list::{DirEntry, Listing, Take};
pub use root::{ShowOwner, Start};

use crate::clock;
use crate::format::{Body, File, Time, limits};
use crate::repo::{NodeRef, RepoError, Repository};
use crate::sync::{Permits, lock};

use counters::Counters;
use inode::{Class, Inodes};
use layout::Virtual;
use search::Vain;
use snapshots::Snapshots;
use views::{View, Views};

const FIGURES_MAX_AGE: Duration = Duration::from_secs(10);

/// How the tree is to be shown.
#[derive(Debug, Clone)]
pub struct VfsOptions {
    /// Owner of the directories that no snapshot holds.
    pub uid: u32,
    /// Their group.
    pub gid: u32,
    /// New snapshots are looked for at most this often.
    pub refresh: Duration,
    /// What is shown at the root: all snapshots, or a directory of one.
    pub start: Option<Start>,
    /// Whom entries of snapshots are shown to belong to: the ids of the source where it is absent.
    pub owners: Option<Arc<dyn ShowOwner>>,
    /// Others than its owner may look: what is made of several snapshots then grants what all of
    /// them grant.
    pub shared: bool,
}

impl Default for VfsOptions {
    fn default() -> Self {
        let refresh = Duration::from_secs(1);
        Self { uid: 0, gid: 0, refresh, start: None, owners: None, shared: false }
    }
}

/// An entry that was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub attr: Attr,
    /// How long its name leads to it.
    pub lifetime: Lifetime,
}

/// What data or hole is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// The next byte outside holes.
    Data,
    /// The next byte in a hole; the end of the file counts as one.
    Hole,
}

/// Sizes of the whole, for statfs(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of all packs: what the snapshots cost.
    pub stored: u64,
    /// Entries of all snapshots.
    pub entries: u64,
}

/// All snapshots of a repository as one tree.
#[derive(Debug)]
pub struct Vfs {
    repo: Arc<Repository>,
    snapshots: Snapshots,
    inodes: Inodes,
    views: Views,
    counters: Counters,
    /// When the tree was made.
    mounted: Time,
    owner: (u32, u32),
    owners: Option<Arc<dyn ShowOwner>>,
    /// Whether others than the owner may look.
    others: bool,
    /// Number of the directory that the kernel knows as 1.
    root: Ino,
    figures: Mutex<Option<(Instant, Figures)>>,
    vain: Mutex<Vain>,
    searches: Arc<Permits>,
}

impl Vfs {
    /// Lists the snapshots and reads their roots, nothing else; of a [`Start`], its path only.
    ///
    /// # Errors
    /// Where the snapshots cannot be listed; [`RepoError::NoSuchPath`] where the start is not there
    /// or is no directory.
    pub fn new(repo: Arc<Repository>, options: VfsOptions) -> Result<Self, RepoError> {
        let VfsOptions { uid, gid, refresh, start, owners, shared: others } = options;
        let shared = Arc::clone(&repo);
        let snapshots = match &start {
            Some(start) => Snapshots::of_one(shared, &start.snapshot),
            None => Snapshots::open(shared, refresh)?,
        };
        let mut vfs = Self {
            repo,
            snapshots,
            inodes: Inodes::new(),
            views: Views::new(owners.clone()),
            counters: Counters::default(),
            mounted: clock::now(),
            owner: (uid, gid),
            owners,
            others,
            root: Ino::ROOT,
            figures: Mutex::default(),
            vain: Mutex::default(),
            searches: Permits::new(1),
        };
        if let Some(start) = start {
            vfs.start_at(&start)?;
        }
        Ok(vfs)
    }

    /// The repository that is shown.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repo
    }

    /// The entry `name` of a directory; `.` of anything and `..` of a directory work too, as
    /// network re-export asks for them. So does `/`, like `.`: that is what the kernel calls a
    /// file that it found by its handle, as overlayfs does with what it copied up, and who it asks
    /// for when it wants to know whether that is still there (else ESTALE for what was changed in a
    /// layer over a mount). The look-up is remembered until it is forgotten.
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Entry> {
        self.counters.asked(&self.counters.lookups, self.find(self.real(parent), name))
    }

    fn find(&self, parent: Ino, name: &[u8]) -> Result<Entry> {
        match name {
            b"." | b"/" => self.hold_or_revive(parent),
            b".." => self.hold_or_revive(self.real(self.parent(parent)?)),
            _ if name.len() > limits::NAME_MAX => Err(VfsError::NameTooLong),
            _ if parent.class() == Some(Class::Virtual) => self.lookup_virtual(parent, name),
            _ if parent.class() == Some(Class::View) => self.lookup_in_view(parent, name),
            _ => {
                let directory = self.directory(parent)?;
                let node = self.directory_node(&directory)?;
                let Body::Directory { page, .. } = node.body else {
                    return Err(VfsError::NotDirectory);
                };
                let found = self.repo.lookup(page, name).map_err(VfsError::about(name))?;
                let child = found.ok_or(VfsError::NotFound)?;
                let attr = self.hold_child(parent, &directory, &child)?;
                Ok(Entry { attr, lifetime: Lifetime::Forever })
            }
        }
    }

    /// Takes back `lookups` look-ups of a number.
    pub fn forget(&self, ino: Ino, lookups: u64) {
        self.inodes.forget(ino, lookups);
    }

    /// The attributes of a node.
    pub fn attr(&self, ino: Ino) -> Result<Attr> {
        let ino = self.real(ino);
        if ino.class() == Some(Class::Virtual) {
            let layout = self.snapshots.current();
            return self.virtual_attr(&layout, ino).ok_or(VfsError::Stale);
        }
        if ino.class() == Some(Class::View) {
            return self.attr_of_view(&self.snapshots.current(), ino, &self.view(ino)?);
        }
        self.node(ino).map(|node| self.attr_of(ino, &node))
    }

    /// The target of a symbolic link.
    pub fn read_link(&self, ino: Ino) -> Result<Vec<u8>> {
        let ino = self.real(ino);
        if ino.class() == Some(Class::Virtual) {
            return match self.snapshots.last().get(ino) {
                Some(Virtual::Link { target }) => Ok(target.clone()),
                Some(Virtual::Directory { .. }) => Err(VfsError::Invalid),
                None => Err(VfsError::Stale),
            };
        }
        if ino.class() == Some(Class::View) {
            return self.view_link(ino);
        }
        match &self.node(ino)?.body {
            Body::Symlink { target } => Ok(target.clone()),
            _ => Err(VfsError::Invalid),
        }
    }

    /// Fills `buf` from a file's `offset`: all of it, or up to the end of the file, or an error.
    pub fn read_at(&self, ino: Ino, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.counters.read(self.read(self.real(ino), offset, buf))
    }

    fn read(&self, ino: Ino, offset: u64, buf: &mut [u8]) -> Result<usize> {
        if let Some(text) = self.text(ino) {
            return Ok(text.read_at(offset, buf));
        }
        let node = self.node(ino)?;
        let file = file_of(&node)?;
        let wanted = file.size.saturating_sub(offset).min(buf.len() as u64);
        let read = self.repo.read_at(file, offset, buf).map_err(VfsError::about(&node.name))?;
        if read as u64 == wanted {
            return Ok(read);
        }
        let what = format!("gave {read} of {wanted} bytes at {offset}");
        let source = RepoError::Corrupt { object: "file content".into(), what };
        Err(VfsError::about(&node.name)(source))
    }

    /// Where data or a hole next starts at or after `offset`.
    pub fn seek(&self, ino: Ino, offset: u64, what: Seek) -> Result<u64> {
        let ino = self.real(ino);
        if let Some(text) = self.text(ino) {
            return text.seek(offset, what);
        }
        let node = self.node(ino)?;
        let found = self.repo.seek(file_of(&node)?, offset, what == Seek::Hole);
        found.map_err(VfsError::about(&node.name))?.ok_or(VfsError::NoSuchOffset)
    }

    /// The directory that holds a directory; the root's is the root.
    pub fn parent(&self, ino: Ino) -> Result<Ino> {
        let ino = self.real(ino);
        if ino == self.root {
            return Ok(Ino::ROOT);
        }
        if ino.class() == Some(Class::Virtual) {
            return match self.snapshots.last().get(ino) {
                Some(Virtual::Directory { parent, .. }) => Ok(*parent),
                Some(Virtual::Link { .. }) => Err(VfsError::NotDirectory),
                None => Err(VfsError::Stale),
            };
        }
        if ino.class() == Some(Class::View) {
            return self.parent_of_view(&self.view(ino)?);
        }
        self.directory(ino).map(|directory| self.shown(directory.parent))
    }

    /// Whether what is in a directory, and what is not, stays so for ever.
    #[must_use]
    pub fn is_immutable(&self, directory: Ino) -> bool {
        let directory = self.real(directory);
        match directory.class() {
            Some(Class::Virtual) => false,
            Some(Class::View) => matches!(self.view(directory), Ok(View::Pair(_) | View::Part(_))),
            _ => true,
        }
    }

    /// Whether answering about a number may take long for another reason than content that is not in
    /// memory: it may look for new snapshots, or compare trees.
    #[must_use]
    pub fn may_take_long(&self, ino: Ino) -> bool {
        matches!(self.real(ino).class(), Some(Class::Virtual | Class::View))
    }

    /// Whether snapshots that come and go are shown: not where one of them is the root.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.snapshots.follow()
    }

    /// Looks for snapshots that came or went, now.
    pub fn refresh(&self) {
        self.snapshots.refresh();
    }

    /// Sizes of the whole; at most ten seconds old.
    pub fn figures(&self) -> Figures {
        let known = *lock(&self.figures);
        if let Some((at, figures)) = known
            && at.elapsed() < FIGURES_MAX_AGE
        {
            return figures;
        }
        let figures = Figures { stored: self.repo.stored_len(), entries: self.snapshots.entries() };
        *lock(&self.figures) = Some((Instant::now(), figures));
        figures
    }

    /// Pages, directories and hard-linked inodes that are remembered: what memory grows with.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.inodes.len()
    }
}

fn file_of(node: &NodeRef) -> Result<&File> {
    match &node.body {
        Body::File(file) => Ok(file),
        Body::Directory { .. } => Err(VfsError::IsDirectory),
        _ => Err(VfsError::Invalid),
    }
}
