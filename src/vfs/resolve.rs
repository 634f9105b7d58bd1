//! From numbers to nodes, and from nodes to numbers that are held.
//!
//! Every `hold_*` counts one look-up, which the caller owes a [`Vfs::forget`].

use std::sync::Arc;

use crate::format::Body;
use crate::repo::{NodeRef, Page};

use super::attr::{Attr, Lifetime};
use super::error::{Result, VfsError};
use super::inode::{Class, Directory, Link, Place};
use super::layout::{DIFF, Layout, Target, Virtual};
use super::views::{Pair, VersionsPath, View};
use super::{Entry, Ino, Vfs};

impl Vfs {
    pub(super) fn lookup_virtual(&self, parent: Ino, name: &[u8]) -> Result<Entry> {
        let layout = self.snapshots.current();
        match layout.get(parent) {
            None => return Err(VfsError::Stale),
            Some(Virtual::Link { .. }) => return Err(VfsError::NotDirectory),
            Some(Virtual::Directory { .. }) => {}
        }
        let Some(child) = layout.child(parent, name) else {
            let is_diff = parent == Ino::of_virtual(DIFF, b"");
            return if is_diff { self.lookup_pair(&layout, name) } else { Err(VfsError::NotFound) };
        };
        let attr = self.hold_target(&layout, parent, &child.target)?;
        Ok(Entry { attr, lifetime: Lifetime::Short })
    }

    /// Counts one more look-up of something that is known, or was.
    pub(super) fn hold_or_revive(&self, ino: Ino) -> Result<Entry> {
        match self.hold_again(ino) {
            Err(VfsError::Stale) => self.revive(ino),
            result => result,
        }
    }

    /// Counts one more look-up of something that is known.
    fn hold_again(&self, ino: Ino) -> Result<Entry> {
        let attr = self.attr(ino)?;
        let lifetime = attr.lifetime;
        let again = match ino.class() {
            Some(Class::Virtual) => ino,
            Some(Class::Directory) => {
                let directory = self.directory(ino)?;
                let node = self.directory_node(&directory)?;
                self.inodes.hold_directory(&node.name, directory)
            }
            Some(Class::Link) => {
                self.inodes.hold_link(self.inodes.link(ino).ok_or(VfsError::Stale)?).0
            }
            Some(Class::File { key, number }) => {
                let page = self.inodes.page(key).ok_or(VfsError::Stale)?;
                self.hold_plain(Place { page, number: number as u16 })?
            }
            Some(Class::View) => self.inodes.hold_view(self.view(ino)?),
            None => return Err(VfsError::Stale),
        };
        Ok(Entry { attr: Attr { ino: self.shown(again), ..attr }, lifetime })
    }

    /// Counts a look-up of a node by its place. A directory or hard link has another number than
    /// its place makes, so a handle that names one in this way is none that was ever given out.
    pub(super) fn hold_plain(&self, place: Place) -> Result<Ino> {
        let node = self.node_at(place)?;
        if matches!(node.body, Body::Directory { .. }) || node.link.is_some() {
            return Err(VfsError::Stale);
        }
        Ok(self.inodes.hold_file(place))
    }

    /// Counts a look-up of what a name in a virtual directory leads to.
    pub(super) fn hold_target(
        &self,
        layout: &Layout,
        parent: Ino,
        target: &Target,
    ) -> Result<Attr> {
        match target {
            Target::Virtual(ino) => self.virtual_attr(layout, *ino).ok_or(VfsError::Stale),
            Target::Snapshot(snapshot) => {
                let snapshot = Arc::clone(snapshot);
                let node = snapshot.node.clone();
                let ino =
                    self.inodes.hold_directory(b"", Directory { parent, snapshot, place: None });
                Ok(self.attr_of(ino, &node))
            }
            Target::Pair(old, new) => {
                self.hold_view(layout, View::Pair(Arc::new(Pair::new(old, new))))
            }
            Target::Versions => {
                self.hold_view(layout, View::Versions(Arc::new(VersionsPath::root())))
            }
            Target::Text(kind) => self.hold_text(layout, *kind),
        }
    }

    /// Counts a look-up of a node in a directory of a snapshot.
    pub(super) fn hold_child(
        &self,
        parent: Ino,
        directory: &Directory,
        node: &NodeRef,
    ) -> Result<Attr> {
        let Some(page) = node.page else { return Err(VfsError::Invalid) };
        let place = Place { page, number: node.number as u16 };
        let snapshot = Arc::clone(&directory.snapshot);
        if matches!(node.body, Body::Directory { .. }) {
            let child = directory.child(parent, node).ok_or(VfsError::Invalid)?;
            let ino = self.inodes.hold_directory(&node.name, child);
            return Ok(self.attr_of(ino, node));
        }
        let Some(link) = node.link else {
            return Ok(self.attr_of(self.inodes.hold_file(place), node));
        };
        let (ino, speaker) = self.inodes.hold_link(Link { snapshot, group: link.group, place });
        if speaker == place {
            return Ok(self.attr_of(ino, node));
        }
        let speaker = self.node_at(speaker).inspect_err(|_| self.inodes.forget(ino, 1))?;
        Ok(self.attr_of(ino, &speaker))
    }

    pub(super) fn virtual_attr(&self, layout: &Layout, ino: Ino) -> Option<Attr> {
        let target = match layout.get(ino)? {
            Virtual::Directory { .. } => None,
            Virtual::Link { target } => Some(target.as_slice()),
        };
        Some(Attr::of_virtual(ino, target, layout.changed, self.owner))
    }

    /// The node that a number of a snapshot's entry belongs to.
    pub(super) fn node(&self, ino: Ino) -> Result<NodeRef> {
        match ino.class() {
            Some(Class::File { key, number }) => {
                let page = self.inodes.page(key).ok_or(VfsError::Stale)?;
                self.node_at(Place { page, number: number as u16 })
            }
            Some(Class::Directory) => self.directory_node(&self.directory(ino)?),
            Some(Class::Link) => self.node_at(self.inodes.link(ino).ok_or(VfsError::Stale)?.place),
            Some(Class::View) => self.node_of_view(ino),
            Some(Class::Virtual) => Err(VfsError::IsDirectory),
            None => Err(VfsError::Stale),
        }
    }

    pub(super) fn node_at(&self, place: Place) -> Result<NodeRef> {
        match self.repo.page(&place.page).map_err(VfsError::about(b""))? {
            Page::Leaf(leaf) => NodeRef::new(leaf, Some(place.page), place.number.into()),
            Page::Inner(_) => None,
        }
        .ok_or(VfsError::Stale)
    }

    pub(super) fn directory(&self, ino: Ino) -> Result<Directory> {
        match ino.class() {
            Some(Class::Directory) => self.inodes.directory(ino).ok_or(VfsError::Stale),
            Some(Class::File { .. } | Class::Link | Class::Virtual | Class::View) => {
                Err(VfsError::NotDirectory)
            }
            None => Err(VfsError::Stale),
        }
    }

    pub(super) fn directory_node(&self, directory: &Directory) -> Result<NodeRef> {
        match directory.place {
            None => Ok(directory.snapshot.node.clone()),
            Some(place) => self.node_at(place),
        }
    }
}
