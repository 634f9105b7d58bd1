//! Who may look into a directory of a difference.
//!
//! It shows one directory's entry, and names of two: what is only in the old one, or only in the new
//! one, tells of both. So where others than the owner of the mount may look, it may be read and
//! entered by those who may do so on both sides. Where both sides grant the same, which is the
//! rule, it is shown as it is, since a copy takes its mode along.

use crate::format::Xattr;
use crate::repo::NodeRef;

use super::super::attr::Attr;
use super::super::error::Result;
use super::super::root::owner_of;
use super::super::{Ino, Vfs};
use super::Part;
use super::history::ACL;

/// Bits that let somebody read or enter.
const LOOK: u32 = 0o555;
/// Those of them that are the owner's.
const OWNER: u32 = 0o500;

fn acl(node: &NodeRef) -> Option<&Xattr> {
    node.xattrs.iter().find(|xattr| xattr.name == ACL)
}

impl Vfs {
    /// The attributes of a part: those of the directory that it shows, without what the other one
    /// does not grant.
    pub(super) fn attr_of_part(&self, ino: Ino, part: &Part) -> Result<Attr> {
        let (old, new) = (self.directory_node(&part.old)?, self.directory_node(&part.new)?);
        let lead = if part.leads_old() { &old } else { &new };
        let mut attr = self.attr_of(ino, lead);
        if self.others {
            let owner = |node| owner_of(self.owners.as_deref(), node);
            let ((old_uid, old_gid), (new_uid, new_gid)) = (owner(&old), owner(&new));
            let mut granted = old.mode & new.mode & LOOK;
            if old_gid != new_gid || acl(&old) != acl(&new) {
                granted &= OWNER;
            }
            if old_uid != new_uid {
                granted &= OWNER;
                (attr.uid, attr.gid) = self.owner;
            }
            attr.mode &= !LOOK | granted;
        }
        Ok(attr)
    }

    /// Whether the list of who may look is one that both sides have; else that of one side would
    /// grant what the other does not.
    pub(super) fn has_acl_of_both(&self, part: &Part) -> Result<bool> {
        if !self.others {
            return Ok(true);
        }
        let (old, new) = (self.directory_node(&part.old)?, self.directory_node(&part.new)?);
        let owner = |node| owner_of(self.owners.as_deref(), node);
        let same = (acl(&old), owner(&old)) == (acl(&new), owner(&new));
        Ok(same && (old.mode ^ new.mode) & LOOK == 0)
    }
}
