//! Attributes of a node as stat(2) means them, without the kernel's types.

use crate::format::{Body, File, Kind, Time};
use crate::repo::NodeRef;

use super::Ino;

/// Size and allocation that every directory states, as a small one of ext4 would. It is not
/// computed, so that a directory costs no reading.
const DIRECTORY_BYTES: u64 = 4096;
/// Files are accounted for in units of this many bytes.
const ALLOCATION_UNIT: u64 = 4096;
const BLOCK: u64 = 512;

/// How long an answer stays true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Everything in a snapshot is immutable.
    Forever,
    /// What depends on which snapshots there are: a second.
    Short,
}

/// What stat(2) tells of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// Its number.
    pub ino: Ino,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-uid, set-gid and sticky: at most 0o7777.
    pub mode: u32,
    /// Numeric user id, as at the source.
    pub uid: u32,
    /// Numeric group id, as at the source.
    pub gid: u32,
    /// Logical bytes; of a link, its target's length.
    pub size: u64,
    /// Units of 512 bytes outside holes, rounded up to 4 KiB.
    pub blocks: u64,
    /// Last access where the ingest kept it, else the last change of content.
    pub atime: Time,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of the inode at the source.
    pub ctime: Time,
    /// Birth, where the source knew it.
    pub btime: Option<Time>,
    /// Major and minor number of a device; zeroes for other kinds.
    pub rdev: (u32, u32),
    /// The source's link count. Always 1 for a directory, which tools that count subdirectories
    /// take as "not known" (btrfs does the same); the true number would cost a walk.
    pub nlink: u32,
    /// How long this stays true.
    pub lifetime: Lifetime,
}

const fn blocks_of(file: &File) -> u64 {
    file.data.div_ceil(ALLOCATION_UNIT) * (ALLOCATION_UNIT / BLOCK)
}

impl Attr {
    /// The attributes of a node that has the number `ino`.
    pub(super) fn of_node(ino: Ino, node: &NodeRef) -> Self {
        let (size, blocks) = match &node.body {
            Body::File(file) => (file.size, blocks_of(file)),
            Body::Directory { .. } => (DIRECTORY_BYTES, DIRECTORY_BYTES / BLOCK),
            Body::Symlink { target } => (target.len() as u64, 0),
            Body::Fifo | Body::Socket | Body::CharDevice { .. } | Body::BlockDevice { .. } => {
                (0, 0)
            }
        };
        let rdev = match node.body {
            Body::CharDevice { major, minor } | Body::BlockDevice { major, minor } => {
                (major, minor)
            }
            _ => (0, 0),
        };
        let owner = node.owner();
        let kind = Kind::of(&node.body);
        let nlink = match (kind, node.link) {
            (Kind::Directory, _) | (_, None) => 1,
            (_, Some(link)) => link.count.max(1),
        };
        Self {
            ino,
            kind,
            mode: node.mode,
            uid: owner.uid,
            gid: owner.gid,
            size,
            blocks,
            atime: node.atime.unwrap_or(node.mtime),
            mtime: node.mtime,
            ctime: node.ctime,
            btime: node.btime,
            rdev,
            nlink,
            lifetime: Lifetime::Forever,
        }
    }

    /// A directory (or, with a target, a link) that no snapshot holds.
    pub(super) const fn of_virtual(
        ino: Ino,
        target: Option<&[u8]>,
        time: Time,
        (uid, gid): (u32, u32),
    ) -> Self {
        let (kind, mode, size, blocks) = match target {
            Some(target) => (Kind::Symlink, 0o777, target.len() as u64, 0),
            None => (Kind::Directory, 0o555, DIRECTORY_BYTES, DIRECTORY_BYTES / BLOCK),
        };
        Self {
            ino,
            kind,
            mode,
            uid,
            gid,
            size,
            blocks,
            atime: time,
            mtime: time,
            ctime: time,
            btime: None,
            rdev: (0, 0),
            nlink: 1,
            lifetime: Lifetime::Short,
        }
    }
}
