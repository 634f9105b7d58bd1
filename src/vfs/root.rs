//! What stands at the root of the tree, and whom its entries are shown to belong to.
//!
//! The kernel's root has number 1 whatever is shown there. Where that is a directory of one
//! snapshot ([`Start`]), 1 is another word for the directory's own number: questions are turned
//! into that one on the way in ([`Vfs::real`]), answers into 1 on the way out ([`Vfs::shown`]), so
//! that entries below have the numbers that they have in the tree of all snapshots.

use std::fmt;
use std::sync::Arc;

use crate::format::{Kind, Owner, Snapshot};
use crate::repo::{NodeRef, RepoError};

use super::attr::Attr;
use super::error::{Result, VfsError};
use super::inode::Directory;
use super::snapshots::SnapshotRoot;
use super::{Ino, Vfs};

/// A directory of a snapshot that is shown in place of all snapshots.
#[derive(Debug, Clone)]
pub struct Start {
    /// The snapshot; it stays the same one whatever comes later.
    pub snapshot: Snapshot,
    /// Names from the snapshot's root to the directory, parted by slashes; empty is the root.
    pub path: Vec<u8>,
}

/// Decides whom an entry is shown to belong to.
pub trait ShowOwner: fmt::Debug + Send + Sync {
    /// User and group id for an entry's owner at its source. Asked for every entry that is looked
    /// at, so what takes long should be remembered.
    fn owner(&self, stored: &Owner) -> (u32, u32);
}

/// User and group id that a node is shown with.
pub(super) fn owner_of(owners: Option<&dyn ShowOwner>, node: &NodeRef) -> (u32, u32) {
    let stored = node.owner();
    owners.map_or((stored.uid, stored.gid), |owners| owners.owner(stored))
}

impl Vfs {
    /// The number behind the kernel's: of the directory that is shown as the root.
    pub(super) fn real(&self, ino: Ino) -> Ino {
        if ino == Ino::ROOT { self.root } else { ino }
    }

    /// The number that the kernel knows.
    pub(super) fn shown(&self, ino: Ino) -> Ino {
        if ino == self.root { Ino::ROOT } else { ino }
    }

    /// The attributes of a node, as they are shown.
    pub(super) fn attr_of(&self, ino: Ino, node: &NodeRef) -> Attr {
        let (uid, gid) = owner_of(self.owners.as_deref(), node);
        Attr { uid, gid, ..Attr::of_node(self.shown(ino), node) }
    }

    /// Makes a directory of a snapshot the root. What leads to it stays held for good.
    pub(super) fn start_at(&mut self, start: &Start) -> Result<(), RepoError> {
        self.root = self.hold_start(start).map_err(|err| match err {
            VfsError::Io { source, .. } => source,
            _ => {
                let path = String::from_utf8_lossy(&start.path).escape_debug().to_string();
                RepoError::NoSuchPath { snapshot: start.snapshot.id, path }
            }
        })?;
        Ok(())
    }

    fn hold_start(&self, start: &Start) -> Result<Ino> {
        let snapshot = Arc::new(SnapshotRoot::new(&start.snapshot));
        let directory = Directory { parent: Ino::ROOT, snapshot, place: None };
        let mut at = self.inodes.hold_directory(b"", directory);
        for name in start.path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            let entry = self.lookup(at, name)?;
            if entry.attr.kind != Kind::Directory {
                return Err(VfsError::NotDirectory);
            }
            at = entry.attr.ino;
        }
        Ok(at)
    }
}
