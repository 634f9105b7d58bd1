//! What need not be read again: whether an entry is what the parent snapshot says, and whether the
//! repository still holds what that refers to.

use crate::format::{Body, ChunkId, Content, Extent, File, Kind, Node, Owner};
use crate::localfs::Found;
use crate::repo::{NodeRef, Session};

use super::walk::Task;

impl Task<'_> {
    /// Whether the parent's entry stands for this one by its attributes, whether it is to be read
    /// anyway or not.
    pub(super) fn looks_unchanged(&self, prior: &Node, found: &Found) -> bool {
        if prior.unstable || Kind::of(&prior.body) != found.kind {
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
    pub(super) fn is_same(&self, prior: &NodeRef, found: &Found, owner: &Owner) -> bool {
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
        let Content::Extents { level, extents } = &file.content else { return true };
        // What is below is looked at where something is missing, or a prune may delete it.
        let deep = self.session.is_some_and(Session::is_degraded);
        extents.iter().all(|extent| self.has_extent(extent, if deep { *level } else { 0 }))
    }

    /// Whether an extent is there, and all that lies below it, pages as well as chunks.
    fn has_extent(&self, extent: &Extent, level: u8) -> bool {
        if extent.is_hole() {
            return true;
        }
        let Some(below) = level.checked_sub(1) else { return self.has_chunk(&extent.id) };
        self.has_chunk(&extent.id)
            && self
                .repo
                .extents_of(extent, below)
                .is_ok_and(|list| list.iter().all(|extent| self.has_extent(extent, below)))
    }

    fn has_chunk(&self, id: &ChunkId) -> bool {
        match self.session {
            Some(session) => session.has_chunk(id),
            None => self.repo.has_chunk(id).unwrap_or(false),
        }
    }
}
