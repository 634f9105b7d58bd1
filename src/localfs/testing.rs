//! What the tests of this layer share.

use crate::format::{Body, Node, Owner, Time, Xattr};

/// Whether the tests that need root can run.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// An attribute.
pub(super) fn xattr(name: &str, value: &[u8]) -> Xattr {
    Xattr { name: name.as_bytes().to_vec(), value: value.to_vec() }
}

/// A node of that kind, from September 2001, without attributes.
pub(super) fn node(mode: u32, body: Body) -> Node {
    Node {
        name: b"name".to_vec(),
        mode,
        owner: 0,
        mtime: Time { secs: 1_000_000_000, nanos: 123_456_789 },
        ctime: Time::default(),
        atime: None,
        btime: None,
        inode: 1,
        link: None,
        xattrs: Vec::new(),
        unstable: false,
        body,
    }
}

/// An empty regular file.
pub(super) fn file() -> Body {
    use crate::format::{ChunkClass, Content, File};
    let (class, content) = (ChunkClass::Default, Content::Inline(Vec::new()));
    Body::File(File { size: 0, data: 0, hash: None, class, content })
}

/// An empty directory.
pub(super) fn directory() -> Body {
    Body::Directory { page: None, entries: 0, totals: crate::format::Totals::default() }
}

/// An owner without names.
pub(super) fn owner(uid: u32, gid: u32) -> Owner {
    Owner { uid, gid, user: String::new(), group: String::new() }
}
