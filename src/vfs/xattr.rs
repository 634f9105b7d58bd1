//! Extended attributes: the source's, and what icecore knows of an entry.
//!
//! ```text
//! user.icecore.blake3     regular file    plain BLAKE3 of its content, 64 hex digits
//! user.icecore.stored     regular file    bytes of packs that its content takes, decimal
//! user.icecore.snapshot   directory       id of the snapshot that it is of, 64 hex digits
//! user.icecore.files      directory       regular files below, decimal; so:
//! user.icecore.bytes                      their logical bytes
//! user.icecore.entries                    entries of every kind
//! ```
//! These are answered by name only and never listed: what copies attributes from a listing
//! (`cp -a`, `rsync -X`, `tar --xattrs`) would store them otherwise. Where the source had an
//! attribute of such a name, that one is shown. Files have no snapshot, since one number may stand
//! for a file of many.

use crate::format::{Body, File, SnapshotId, Totals};
use crate::repo::NodeRef;

use super::error::{Result, VfsError};
use super::inode::Class;
use super::{Ino, Vfs};

const PREFIX: &[u8] = b"user.icecore.";

impl Vfs {
    /// The value of an extended attribute.
    pub fn xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        let ino = self.real(ino);
        let Some(node) = self.node_with_xattrs(ino)? else { return Err(VfsError::NoAttribute) };
        if self.hides_xattr(ino, name)? {
            return Err(VfsError::NoAttribute);
        }
        let stored = node.xattrs.binary_search_by(|xattr| xattr.name.as_slice().cmp(name));
        if let Some(xattr) = stored.ok().and_then(|at| node.xattrs.get(at)) {
            return Ok(xattr.value.clone());
        }
        let name = name.strip_prefix(PREFIX).ok_or(VfsError::NoAttribute)?;
        let value = match &node.body {
            Body::File(file) => self.file_xattr(&node, file, name)?,
            Body::Directory { totals, .. } => self.directory_xattr(ino, totals, name),
            _ => None,
        };
        value.map(String::into_bytes).ok_or(VfsError::NoAttribute)
    }

    /// Names of the extended attributes that the source had.
    pub fn xattrs(&self, ino: Ino) -> Result<Vec<Vec<u8>>> {
        let ino = self.real(ino);
        let node = self.node_with_xattrs(ino)?;
        let names = node.iter().flat_map(|node| &node.xattrs).map(|xattr| &xattr.name);
        let shown = names.filter_map(|name| match self.hides_xattr(ino, name) {
            Ok(hides) => (!hides).then(|| Ok(name.clone())),
            Err(err) => Some(Err(err)),
        });
        shown.collect()
    }

    /// The node of an entry of a snapshot; `None` for what is of no snapshot.
    fn node_with_xattrs(&self, ino: Ino) -> Result<Option<NodeRef>> {
        match ino.class() {
            Some(Class::Virtual) => Ok(None),
            Some(Class::View) => self.part_of(ino).map(|part| part.map(|(node, _)| node)),
            _ => self.node(ino).map(Some),
        }
    }

    fn file_xattr(&self, node: &NodeRef, file: &File, name: &[u8]) -> Result<Option<String>> {
        match name {
            b"blake3" => Ok(file.hash.map(hex::encode)),
            b"stored" => {
                let stored = self.repo.stored_len_of(file).map_err(VfsError::about(&node.name))?;
                Ok(Some(stored.to_string()))
            }
            _ => Ok(None),
        }
    }

    fn directory_xattr(&self, ino: Ino, totals: &Totals, name: &[u8]) -> Option<String> {
        let number = match name {
            b"snapshot" => return self.snapshot_of(ino).map(|id| id.to_string()),
            b"files" => totals.files,
            b"bytes" => totals.size,
            b"entries" => [totals.directories, totals.others]
                .into_iter()
                .fold(totals.files, u64::saturating_add),
            _ => return None,
        };
        Some(number.to_string())
    }

    fn snapshot_of(&self, directory: Ino) -> Option<SnapshotId> {
        if directory.class() == Some(Class::View) {
            return self.part_of(directory).ok().flatten().map(|(_, id)| id);
        }
        self.directory(directory).ok().map(|directory| directory.snapshot.id)
    }
}
