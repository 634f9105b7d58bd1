//! Listing directories in pieces of any size, each continued by position.
//!
//! Offsets: 0 is `.`, 1 is `..`, 2 the first entry. In a snapshot the offset of an entry is its
//! position in name order, and the counts in inner pages lead to it: a listing of a million
//! entries that stops and goes on never starts over. In a virtual directory it is the cookie.

use std::sync::Arc;

use crate::format::Body;
use crate::repo::{LeafAt, NodeRef};

use super::attr::{Attr, Lifetime};
use super::error::{Result, VfsError};
use super::inode::{Class, Directory};
use super::layout::{Layout, Virtual};
use super::views::Lister;
use super::{Ino, Vfs};

/// Offset of the first entry that is neither `.` nor `..`.
pub(super) const FIRST: u64 = 2;

/// One entry of a listing.
#[derive(Debug, Clone, Copy)]
pub struct DirEntry<'a> {
    /// Its name; any bytes.
    pub name: &'a [u8],
    /// What it is. For `.` and `..` only the number and the kind are right.
    pub attr: Attr,
    /// How long its name leads to it.
    pub lifetime: Lifetime,
    /// Where a listing goes on after it.
    pub next: u64,
}

/// Whether entries that were taken count as looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Names, numbers and kinds only.
    Names,
    /// Each entry but `.` and `..` that is taken is a look-up, owed a [`Vfs::forget`].
    Lookups,
}

/// Gets entries and says of each whether it was taken; the first refusal ends the listing.
pub type Take<'a> = dyn FnMut(&DirEntry<'_>) -> bool + 'a;

impl Vfs {
    /// Gives the entries of a directory from `offset` on to `take`, until that refuses one or the
    /// directory ends. An error is returned only where no entry was taken before it: the caller
    /// gets it when it goes on.
    pub fn list(&self, ino: Ino, offset: u64, how: Listing, take: &mut Take<'_>) -> Result<()> {
        let ino = self.real(ino);
        let mut taken = 0_u64;
        let mut count = |entry: &DirEntry<'_>| {
            let ok = take(entry);
            taken += u64::from(ok);
            ok
        };
        let result = match ino.class() {
            Some(Class::Virtual) => self.list_virtual(ino, offset, how, &mut count),
            Some(Class::View) => self.list_view(ino, &mut Lister { offset, how, take: &mut count }),
            _ => self.list_directory(ino, offset, how, &mut count),
        };
        match self.counters.asked(&self.counters.listings, result) {
            // What was taken would else never be forgotten.
            Err(err) if taken > 0 => {
                tracing::debug!("listing stops short: {err}");
                Ok(())
            }
            result => result,
        }
    }

    fn list_virtual(&self, ino: Ino, offset: u64, how: Listing, take: &mut Take<'_>) -> Result<()> {
        let layout = if offset == 0 { self.snapshots.current() } else { self.snapshots.last() };
        let (parent, children) = match layout.get(ino) {
            Some(Virtual::Directory { parent, children }) => (*parent, children),
            Some(Virtual::Link { .. }) => return Err(VfsError::NotDirectory),
            None => return Err(VfsError::Stale),
        };
        if !self.list_dots(&layout, ino, parent, offset, take) {
            return Ok(());
        }
        let mut children: Vec<_> = children.iter().filter(|child| child.cookie >= offset).collect();
        children.sort_by_key(|child| child.cookie);
        for child in children {
            let attr = match self.hold_target(&layout, ino, &child.target) {
                Err(VfsError::Stale) => continue,
                attr => attr?,
            };
            let entry = DirEntry {
                name: &child.name,
                attr,
                lifetime: Lifetime::Short,
                next: child.cookie + 1,
            };
            if !self.offer(&entry, how, take) {
                break;
            }
        }
        Ok(())
    }

    fn list_directory(
        &self,
        ino: Ino,
        offset: u64,
        how: Listing,
        take: &mut Take<'_>,
    ) -> Result<()> {
        let directory = self.directory(ino)?;
        let Body::Directory { page, .. } = self.directory_node(&directory)?.body else {
            return Err(VfsError::NotDirectory);
        };
        if !self.list_dots(&self.snapshots.last(), ino, directory.parent, offset, take) {
            return Ok(());
        }
        let mut position = offset.saturating_sub(FIRST);
        let about = || VfsError::about(b"directory");
        while let Some(at) = self.repo.leaf_at(page, position).map_err(about())? {
            if !self.list_leaf(ino, &directory, &at, position, how, take)? {
                break;
            }
            position = at.first + at.leaf.nodes.len() as u64;
        }
        Ok(())
    }

    /// The nodes of one leaf from `position` on; whether all were taken.
    fn list_leaf(
        &self,
        parent: Ino,
        directory: &Directory,
        at: &LeafAt,
        position: u64,
        how: Listing,
        take: &mut Take<'_>,
    ) -> Result<bool> {
        for position in position..at.first + at.leaf.nodes.len() as u64 {
            let number = (position - at.first) as usize;
            let Some(node) = NodeRef::new(Arc::clone(&at.leaf), Some(at.page), number) else {
                break;
            };
            let entry = DirEntry {
                name: &node.name,
                attr: self.hold_child(parent, directory, &node)?,
                lifetime: Lifetime::Forever,
                next: position + FIRST + 1,
            };
            if !self.offer(&entry, how, take) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Offers an entry that is held; lets go of it where it is not to stay held.
    pub(super) fn offer(&self, entry: &DirEntry<'_>, how: Listing, take: &mut Take<'_>) -> bool {
        let taken = take(entry);
        if !taken || how == Listing::Names {
            self.forget(entry.attr.ino, 1);
        }
        taken
    }

    /// `.` and `..`, which are never look-ups; whether both were taken.
    pub(super) fn list_dots(
        &self,
        layout: &Layout,
        ino: Ino,
        parent: Ino,
        offset: u64,
        take: &mut Take<'_>,
    ) -> bool {
        let parent = if ino == self.root { ino } else { parent };
        let dots: [(&[u8], Ino); 2] = [(b".", self.shown(ino)), (b"..", self.shown(parent))];
        dots.into_iter().zip(1..).skip(offset.min(FIRST) as usize).all(|((name, ino), next)| {
            let attr = Attr::of_virtual(ino, None, layout.changed, self.owner);
            take(&DirEntry { name, attr, lifetime: Lifetime::Short, next })
        })
    }
}
