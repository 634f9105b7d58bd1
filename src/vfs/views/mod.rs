//! Directories that no snapshot holds but that are made of what snapshots hold.
//!
//! ```text
//! versions   every version of every path, over all snapshots
//! diff       what differs between two snapshots; `grant`: who may look at that
//! status     texts about the mount
//! ```
//! What must stay true: an entry of a snapshot that a view shows *is* that entry: a file has its
//! number, so that the kernel keeps its pages once. What only a view has is a [`View`], known by
//! a number for as long as the kernel remembers it and no longer; what was worked out for it lies
//! in caches that are bounded in bytes. A view grants nobody what the snapshots refuse: each of
//! its directories has the permissions of the directories that it stands for, as they are shown.

mod diff;
mod grant;
mod history;
mod status;
mod summary;
#[cfg(test)]
mod tests;
mod versions;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use crate::format::SnapshotId;
use crate::repo::NodeRef;

use super::attr::{Attr, Lifetime};
use super::error::{Result, VfsError};
use super::inode::{self, Class, Directory};
use super::layout::Layout;
use super::list::{FIRST, Take};
use super::table::Same;
use super::{DirEntry, Entry, Ino, Listing, ShowOwner, Vfs};

use history::Histories;
use status::Text;
pub(super) use status::TextKind;
use summary::Summaries;

/// Something that is in a view only.
#[derive(Debug, Clone)]
pub(super) enum View {
    /// A path over all snapshots.
    Versions(Arc<VersionsPath>),
    /// `/diff/<old>..<new>`.
    Pair(Arc<Pair>),
    /// Another name of a pair: a link.
    Alias(Arc<Alias>),
    /// A directory that is, or may be, different in two snapshots.
    Part(Arc<Part>),
    /// A text as it was when it was looked at.
    Text(Arc<Text>),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct VersionsPath {
    parent: Ino,
    /// Names joined by `/`; empty for `/versions`.
    path: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Pair {
    parent: Ino,
    /// Two snapshots, each as its root directory.
    old: Directory,
    new: Directory,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Alias {
    name: Vec<u8>,
    target: Vec<u8>,
}

/// What is shown of what differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Added,
    Removed,
    Changed,
}

#[derive(Debug)]
pub(super) struct Part {
    parent: Ino,
    name: Vec<u8>,
    which: Which,
    /// One directory in two snapshots.
    old: Directory,
    new: Directory,
}

impl View {
    /// The number that it should have.
    pub(super) fn wish(&self) -> u64 {
        match self {
            Self::Versions(at) => inode::hash(&[b"versions", &at.path]),
            Self::Pair(pair) => {
                let (old, new) = (pair.old.snapshot.id, pair.new.snapshot.id);
                inode::hash(&[b"pair", old.as_bytes(), new.as_bytes()])
            }
            Self::Alias(alias) => inode::hash(&[b"alias", &alias.name, &alias.target]),
            Self::Part(part) => inode::hash(&[b"part", &part.parent.0.to_le_bytes(), &part.name]),
            Self::Text(text) => inode::hash(&[b"text", &text.serial.to_le_bytes()]),
        }
    }
}

impl Same for View {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Versions(a), Self::Versions(b)) => a == b,
            (Self::Pair(a), Self::Pair(b)) => a.old.same(&b.old) && a.new.same(&b.new),
            (Self::Alias(a), Self::Alias(b)) => a == b,
            (Self::Part(a), Self::Part(b)) => {
                a.parent == b.parent
                    && a.which == b.which
                    && a.name == b.name
                    && a.old.same(&b.old)
                    && a.new.same(&b.new)
            }
            (Self::Text(a), Self::Text(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Pair {
    fn parent() -> Ino {
        Ino::of_virtual(super::layout::DIFF, b"")
    }
}

/// What views keep between two questions.
#[derive(Debug)]
pub(super) struct Views {
    summaries: Mutex<Summaries>,
    histories: Histories,
    /// Texts that were made.
    texts: AtomicU64,
}

impl Views {
    pub(super) fn new(owners: Option<Arc<dyn ShowOwner>>) -> Self {
        Self {
            summaries: Mutex::new(summary::cache()),
            histories: Histories::new(owners),
            texts: AtomicU64::new(0),
        }
    }
}

/// Where a listing stands and what it gives entries to.
pub(super) struct Lister<'a, 'b> {
    pub(super) offset: u64,
    pub(super) how: Listing,
    pub(super) take: &'a mut Take<'b>,
}

impl Vfs {
    pub(super) fn view(&self, ino: Ino) -> Result<View> {
        self.inodes.view(ino).ok_or(VfsError::Stale)
    }

    /// Counts a look-up of something in a view.
    pub(super) fn hold_view(&self, layout: &Layout, view: View) -> Result<Attr> {
        let ino = self.inodes.hold_view(view.clone());
        self.attr_of_view(layout, ino, &view).inspect_err(|_| self.inodes.forget(ino, 1))
    }

    pub(super) fn attr_of_view(&self, layout: &Layout, ino: Ino, view: &View) -> Result<Attr> {
        let time = layout.changed;
        Ok(match view {
            View::Versions(at) => self.attr_of_versions(layout, ino, at)?,
            View::Pair(pair) => Attr {
                lifetime: Lifetime::Forever,
                ..Attr::of_virtual(ino, None, pair.new.snapshot.time, self.owner)
            },
            View::Alias(alias) => Attr::of_virtual(ino, Some(&alias.target), time, self.owner),
            View::Part(part) => self.attr_of_part(ino, part)?,
            View::Text(text) => text.attr(ino, self.owner),
        })
    }

    pub(super) fn lookup_in_view(&self, parent: Ino, name: &[u8]) -> Result<Entry> {
        let layout = self.snapshots.current();
        match self.view(parent)? {
            View::Versions(at) => self.lookup_version(&layout, parent, &at, name),
            View::Pair(pair) => self.lookup_in_pair(&layout, parent, &pair, name),
            View::Part(part) => self.lookup_in_part(&layout, parent, &part, name),
            View::Alias(_) | View::Text(_) => Err(VfsError::NotDirectory),
        }
    }

    pub(super) fn list_view(&self, ino: Ino, lister: &mut Lister<'_, '_>) -> Result<()> {
        let layout =
            if lister.offset == 0 { self.snapshots.current() } else { self.snapshots.last() };
        let view = self.view(ino)?;
        let parent = self.parent_of_view(&view)?;
        if !self.list_dots(&layout, ino, parent, lister.offset, lister.take) {
            return Ok(());
        }
        lister.offset = lister.offset.max(FIRST);
        match view {
            View::Versions(at) => self.list_versions(&layout, ino, &at, lister),
            View::Pair(pair) => self.list_pair(&layout, ino, &pair, lister),
            View::Part(part) => self.list_part(&layout, ino, &part, lister),
            View::Alias(_) | View::Text(_) => Err(VfsError::NotDirectory),
        }
    }

    pub(super) fn parent_of_view(&self, view: &View) -> Result<Ino> {
        match view {
            View::Versions(at) => Ok(at.parent),
            View::Pair(pair) => Ok(pair.parent),
            View::Part(part) => Ok(part.parent),
            View::Alias(_) | View::Text(_) => Err(VfsError::NotDirectory),
        }
    }

    /// The node of a snapshot that a view shows in place of.
    pub(super) fn node_of_view(&self, ino: Ino) -> Result<NodeRef> {
        match self.view(ino)? {
            View::Part(part) => self.part_node(&part),
            View::Versions(_) | View::Pair(_) => Err(VfsError::IsDirectory),
            View::Alias(_) | View::Text(_) => Err(VfsError::Invalid),
        }
    }

    /// The node that a directory of a difference shows, and its snapshot; `None` for other views.
    pub(super) fn part_of(&self, ino: Ino) -> Result<Option<(NodeRef, SnapshotId)>> {
        match self.view(ino)? {
            View::Part(part) => Ok(Some((self.part_node(&part)?, part.lead().snapshot.id))),
            _ => Ok(None),
        }
    }

    /// Whether an attribute of what a view shows is left out.
    pub(super) fn hides_xattr(&self, ino: Ino, name: &[u8]) -> Result<bool> {
        if ino.class() != Some(Class::View) || name != history::ACL {
            return Ok(false);
        }
        match self.view(ino)? {
            View::Part(part) => Ok(!self.has_acl_of_both(&part)?),
            _ => Ok(false),
        }
    }

    pub(super) fn view_link(&self, ino: Ino) -> Result<Vec<u8>> {
        match self.view(ino)? {
            View::Alias(alias) => Ok(alias.target.clone()),
            _ => Err(VfsError::Invalid),
        }
    }

    /// The text that a number means; `None` where it means something else.
    pub(super) fn text(&self, ino: Ino) -> Option<Arc<Text>> {
        if ino.class() != Some(Class::View) {
            return None;
        }
        match self.inodes.view(ino) {
            Some(View::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Offers an entry that is held, as [`Vfs::offer`] does.
    fn offer_held(
        &self,
        lister: &mut Lister<'_, '_>,
        name: &[u8],
        attr: Attr,
        lifetime: Lifetime,
        next: u64,
    ) -> bool {
        self.offer(&DirEntry { name, attr, lifetime, next }, lister.how, lister.take)
    }
}
