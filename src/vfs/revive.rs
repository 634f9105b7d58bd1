//! From a number that the kernel has forgotten back to what it meant, for network re-export.
//!
//! The kernel asks for `.` of a number that a handle names and its caches do not hold. A regular
//! file is found by the first bits of its page's id, also after a remount; a snapshot's root by its
//! id; other directories and hard links in the attic, or else by a search of the trees (`search`);
//! what is in a view only not at all. What must stay true: whatever is found has that very number,
//! or the handle is stale: never another file.

use std::sync::Arc;

use super::attic::Gone;
use super::error::{Result, VfsError};
use super::inode::{self, Class, Directory, Place};
use super::{Entry, Ino, Vfs};

impl Vfs {
    /// Counts a look-up of something that was forgotten.
    pub(super) fn revive(&self, ino: Ino) -> Result<Entry> {
        let held = match ino.class() {
            Some(Class::File { key, number }) => self.revive_file(key, number)?,
            Some(Class::Directory) => {
                let directory = self.gone_directory(ino).ok_or(VfsError::Stale)?;
                let node = self.directory_node(&directory)?;
                self.inodes.hold_directory(&node.name, directory)
            }
            Some(Class::Link) => match self.inodes.gone(ino).or_else(|| self.search(ino)) {
                Some(Gone::Link(link)) => self.inodes.hold_link(link).0,
                _ => return Err(VfsError::Stale),
            },
            Some(Class::Virtual | Class::View) | None => return Err(VfsError::Stale),
        };
        let attr = if held == ino { self.attr(ino) } else { Err(VfsError::Stale) };
        let attr = attr.inspect_err(|_| self.inodes.forget(held, 1))?;
        Ok(Entry { attr, lifetime: attr.lifetime })
    }

    fn revive_file(&self, key: u64, number: usize) -> Result<Ino> {
        let page = self.repo.only_page(&inode::lowest_page(key), |id| inode::has_key(id, key));
        self.hold_plain(Place { page: page.ok_or(VfsError::Stale)?, number: number as u16 })
    }

    fn gone_directory(&self, ino: Ino) -> Option<Directory> {
        if let Some(Gone::Directory(directory)) = self.inodes.gone(ino) {
            return Some(directory);
        }
        let layout = self.snapshots.current();
        let root = layout.snapshots.iter().find(|snapshot| inode::is_snapshot(ino, snapshot));
        if let Some(snapshot) = root {
            return Some(Directory::of_snapshot(Arc::clone(snapshot)));
        }
        match self.search(ino) {
            Some(Gone::Directory(directory)) => Some(directory),
            _ => None,
        }
    }
}
