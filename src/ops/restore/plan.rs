//! What is to be done with an entry, decided from what stands in its place.

use crate::format::Kind;
use crate::format::{Body, Xattr};
use crate::localfs::{ApplyOptions, Found, LocalError, TargetDir, differs};
use crate::localfs::{read_link, read_xattrs};
use crate::repo::NodeRef;

use super::SIZES;

/// What makes the entry right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Nothing.
    Keep,
    /// Its metadata.
    Metadata,
    /// Comparing its content and writing what differs, then its metadata.
    Mend,
    /// Making it anew.
    Create,
}

/// What stands in an entry's place.
#[derive(Debug)]
pub(super) struct Existing {
    pub(super) found: Found,
    xattrs: Vec<Xattr>,
    link_target: Option<Vec<u8>>,
}

impl Existing {
    /// Looks at `name`; what cannot be seen but could matter is an error.
    pub(super) fn look(dir: &TargetDir, name: &[u8]) -> Result<Option<Self>, LocalError> {
        let Some(found) = dir.look(name)? else { return Ok(None) };
        let link_target = match found.kind {
            Kind::Symlink => Some(read_link(dir.dir(), name)?),
            _ => None,
        };
        Ok(Some(Self { found, xattrs: read_xattrs(dir.dir(), name)?, link_target }))
    }

    /// What makes it `node`. `alone`: the node is the only one that may have this inode.
    pub(super) fn plan(&self, node: &NodeRef, alone: bool, options: ApplyOptions<'_>) -> Plan {
        let found = &self.found;
        let shared = found.nlink > 1;
        if found.kind != Kind::of(&node.body) || (shared && alone) {
            return Plan::Create;
        }
        let same_content = match &node.body {
            Body::File(file) => found.size == file.size && found.mtime == node.mtime,
            Body::Symlink { target } => self.link_target.as_ref() == Some(target),
            Body::CharDevice { major, minor } | Body::BlockDevice { major, minor } => {
                found.rdev == (*major, *minor)
            }
            _ => true,
        };
        let same_metadata = !differs(found, &self.xattrs, node, node.owner(), options);
        match (&node.body, same_content) {
            (_, true) if same_metadata => Plan::Keep,
            _ if shared => Plan::Create,
            (_, true) => Plan::Metadata,
            (Body::File(file), false) if found.size.min(file.size) >= SIZES.mend_min => Plan::Mend,
            _ => Plan::Create,
        }
    }
}
