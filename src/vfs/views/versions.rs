//! `/versions/<path>/<time>-<id>[.<extension>]`: every version of a path over all snapshots.
//!
//! Here every name of a path is a directory, that of a file too. It holds the names that the path
//! had below it in any snapshot, and each distinct version of what was there and no directory,
//! named after the first snapshot that has it (a version that comes back later is the same one).
//! A version is the file itself, with its number. Where a path was a directory and something else,
//! it holds both; the name of a version goes before an entry of that very name.

use std::sync::Arc;

use super::super::attr::{Attr, Lifetime};
use super::super::error::{Result, VfsError};
use super::super::inode::Directory;
use super::super::layout::Layout;
use super::super::list::FIRST;
use super::super::{Entry, Ino, Vfs};
use super::history::{Access, History, ListedAs, Version};
use super::{Lister, VersionsPath, View};

impl VersionsPath {
    pub(in super::super) const fn root() -> Self {
        Self { parent: Ino::ROOT, path: Vec::new() }
    }

    fn child(&self, ino: Ino, name: &[u8]) -> Self {
        let slash: &[u8] = if self.path.is_empty() { b"" } else { b"/" };
        Self { parent: ino, path: [&self.path, slash, name].concat() }
    }

    fn name(&self) -> &[u8] {
        self.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }
}

impl Vfs {
    fn history(&self, layout: &Layout, at: &VersionsPath) -> Result<Option<Arc<History>>> {
        let history = self.views.histories.get(&self.repo, layout, &at.path);
        history.map_err(VfsError::about(at.name()))
    }

    pub(super) fn attr_of_versions(
        &self,
        layout: &Layout,
        ino: Ino,
        at: &VersionsPath,
    ) -> Result<Attr> {
        let history = self.history(layout, at)?.ok_or(VfsError::Stale)?;
        Ok(self.versions_attr(layout, ino, history.access))
    }

    fn versions_attr(&self, layout: &Layout, ino: Ino, access: Access) -> Attr {
        let (mode, owner) = access.mode_and_owner(self.owner);
        Attr { mode, ..Attr::of_virtual(ino, None, layout.changed, owner) }
    }

    fn hold_version(&self, parent: Ino, version: &Version) -> Result<Attr> {
        let node = self.node_at(version.place)?;
        let snapshot = Arc::clone(&version.snapshot);
        self.hold_child(parent, &Directory { parent, snapshot, place: None }, &node)
    }

    pub(super) fn lookup_version(
        &self,
        layout: &Layout,
        parent: Ino,
        at: &VersionsPath,
        name: &[u8],
    ) -> Result<Entry> {
        let history = self.history(layout, at)?.ok_or(VfsError::Stale)?;
        let lifetime = Lifetime::Short;
        if let Some(version) = history.versions.iter().find(|version| version.name == name) {
            return Ok(Entry { attr: self.hold_version(parent, version)?, lifetime });
        }
        let child = at.child(parent, name);
        if self.history(layout, &child)?.is_none() {
            return Err(VfsError::NotFound);
        }
        let attr = self.hold_view(layout, View::Versions(Arc::new(child)))?;
        Ok(Entry { attr, lifetime })
    }

    pub(super) fn list_versions(
        &self,
        layout: &Layout,
        ino: Ino,
        at: &VersionsPath,
        lister: &mut Lister<'_, '_>,
    ) -> Result<()> {
        let history = self.history(layout, at)?.ok_or(VfsError::Stale)?;
        let goes_on = lister.offset > FIRST;
        let of = (at.path.as_slice(), &*history);
        let listed = self.views.histories.list(&self.repo, layout, of, goes_on);
        let listed = listed.map_err(VfsError::about(at.name()))?;
        let begin = listed.partition_point(|listed| listed.offset < lister.offset);
        for listed in listed.iter().skip(begin) {
            let attr = match &listed.what {
                ListedAs::Version(version) => self.hold_version(ino, version)?,
                ListedAs::Child(access) => {
                    let child = View::Versions(Arc::new(at.child(ino, &listed.name)));
                    self.versions_attr(layout, self.inodes.hold_view(child), *access)
                }
            };
            let next = listed.offset + 1;
            if !self.offer_held(lister, &listed.name, attr, Lifetime::Short, next) {
                break;
            }
        }
        Ok(())
    }
}
