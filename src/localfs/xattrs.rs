//! Extended attributes, in and out: ACLs and file capabilities are such.
//!
//! All namespaces that the caller may see are kept: `user.`, `security.`, `system.posix_acl_*` and,
//! as root, `trusted.`. Nothing is left out: ext4, xfs, btrfs and tmpfs list no attribute that
//! cannot be set, and what is virtual elsewhere (`ceph.*`, `system.ntfs_*`) is not listed by
//! current kernels. Attributes of links, pipes, sockets and devices are read by name through
//! `/proc/self/fd`, since opening those blocks, acts or fails.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::dir::{Dir, checked, proc_path};
use super::error::{At, LocalError};
use crate::format::{Xattr, limits};

/// First buffer for a list or a value; nearly all fit.
const BUFFER: usize = 1 << 10;
/// The kernel's caps on a list of names and on one value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const BUFFER_MAX: usize = 64 << 10;

/// Whose attributes: each kind of access has its own system calls.
#[derive(Debug)]
pub(super) enum Subject<'a> {
    /// The last component of a path, links not followed.
    Name(Vec<u8>),
    /// The inode that a descriptor stands for, by its path in `/proc`: works for `O_PATH` too.
    Pinned(Vec<u8>),
    /// A file or directory opened for reading or writing.
    Opened(BorrowedFd<'a>),
}

/// All extended attributes of the entry `name` of `dir`, of any kind, sorted by name. Empty where
/// the file system has none.
///
/// # Errors
/// Where there is no such entry, or its attributes cannot be read or are more than a node can hold.
pub fn read_xattrs(dir: &Dir, name: &[u8]) -> Result<Vec<Xattr>, LocalError> {
    checked(name)
        .and_then(|name| Subject::Name(proc_path(dir, Some(name))).read())
        .at("read extended attributes", name)
}

/// All extended attributes of an opened file or directory; see [`read_xattrs`].
///
/// # Errors
/// As [`read_xattrs`]; the error's path is empty.
pub fn read_xattrs_fd(fd: impl AsFd) -> Result<Vec<Xattr>, LocalError> {
    Subject::Opened(fd.as_fd()).read().at("read extended attributes", b"")
}

impl Subject<'_> {
    /// Every attribute, sorted by name. One that vanishes between list and read is skipped.
    pub(super) fn read(&self) -> Result<Vec<Xattr>, Errno> {
        let list = match self.list() {
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            list => list?,
        };
        let mut xattrs = Vec::new();
        let mut total = 0;
        for name in list.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            let value = match self.get(name) {
                Err(Errno::NODATA) => continue,
                value => value?,
            };
            total += name.len() + value.len();
            if total > limits::XATTR_TOTAL_MAX {
                return Err(Errno::TOOBIG);
            }
            xattrs.push(Xattr { name: name.to_vec(), value });
        }
        xattrs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        xattrs.dedup_by(|a, b| a.name == b.name);
        Ok(xattrs)
    }

    /// Sets one attribute, whether it was there or not.
    pub(super) fn set(&self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        let flags = XattrFlags::empty();
        match self {
            Self::Name(path) => rustix::fs::lsetxattr(path, name, value, flags),
            Self::Pinned(path) => rustix::fs::setxattr(path, name, value, flags),
            Self::Opened(fd) => rustix::fs::fsetxattr(fd, name, value, flags),
        }
    }

    /// Removes one attribute; fine where it is gone already.
    pub(super) fn remove(&self, name: &[u8]) -> Result<(), Errno> {
        let removed = match self {
            Self::Name(path) => rustix::fs::lremovexattr(path, name),
            Self::Pinned(path) => rustix::fs::removexattr(path, name),
            Self::Opened(fd) => rustix::fs::fremovexattr(fd, name),
        };
        match removed {
            Err(Errno::NODATA) => Ok(()),
            removed => removed,
        }
    }

    fn list(&self) -> Result<Vec<u8>, Errno> {
        grown(|list| {
            let list = spare_capacity(list);
            match self {
                Self::Name(path) => rustix::fs::llistxattr(path, list),
                Self::Pinned(path) => rustix::fs::listxattr(path, list),
                Self::Opened(fd) => rustix::fs::flistxattr(fd, list),
            }
        })
    }

    fn get(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut value = grown(|value| {
            let value = spare_capacity(value);
            match self {
                Self::Name(path) => rustix::fs::lgetxattr(path, name, value),
                Self::Pinned(path) => rustix::fs::getxattr(path, name, value),
                Self::Opened(fd) => rustix::fs::fgetxattr(fd, name, value),
            }
        })?;
        value.shrink_to_fit();
        Ok(value)
    }
}

/// Calls with a small buffer, and once more with the largest where that was too small: the size
/// may change between two calls, but not grow past the kernel's cap.
fn grown(mut call: impl FnMut(&mut Vec<u8>) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = Vec::with_capacity(BUFFER);
    if let Err(errno) = call(&mut buffer) {
        if errno != Errno::RANGE {
            return Err(errno);
        }
        buffer = Vec::with_capacity(BUFFER_MAX);
        call(&mut buffer)?;
    }
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::localfs::testing::{is_root, xattr};
    use rustix::fs::Mode;
    use std::fs;
    use std::path::Path;

    #[test]
    fn values_of_any_bytes_and_length_come_back_sorted() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        fs::write(temp.path().join("file"), b"").unwrap();
        let file = Subject::Name(proc_path(&dir, Some(b"file")));
        let expected = [
            xattr("user.a-empty", b""),
            xattr("user.b-raw", b"\0\xff\0"),
            xattr("user.c-long", &[b'v'; 2500]),
            Xattr { name: b"user.\xff\xfe".to_vec(), value: b"raw name".to_vec() },
        ];
        for xattr in expected.iter().rev() {
            file.set(&xattr.name, &xattr.value).unwrap();
        }
        assert_eq!(read_xattrs(&dir, b"file").unwrap(), expected);
        let opened = fs::File::open(temp.path().join("file")).unwrap();
        assert_eq!(read_xattrs_fd(&opened).unwrap(), expected);
        file.remove(b"user.b-raw").unwrap();
        file.remove(b"user.b-raw").unwrap();
        assert_eq!(read_xattrs(&dir, b"file").unwrap().len(), 3);
    }

    #[test]
    fn largest_value_and_long_list_are_read_whole() {
        // Of the usual file systems, tmpfs takes 64 KiB (since Linux 6.6); ext4 some 4 KB.
        let Ok(temp) = tempfile::tempdir_in("/dev/shm") else { return };
        let dir = Dir::open(temp.path()).unwrap();
        fs::write(temp.path().join("file"), b"").unwrap();
        let file = Subject::Name(proc_path(&dir, Some(b"file")));
        if file.set(b"user.large", &[b'v'; limits::XATTR_VALUE_MAX]).is_err() {
            return;
        }
        for index in 0..100 {
            file.set(format!("user.{index:040}").as_bytes(), b"x").unwrap();
        }
        let read = read_xattrs(&dir, b"file").unwrap();
        assert_eq!(read.len(), 101);
        assert_eq!(read[100].value.len(), limits::XATTR_VALUE_MAX);
    }

    #[test]
    fn links_and_pipes_have_attributes_of_their_own() {
        if !is_root() {
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        std::os::unix::fs::symlink("fifo", temp.path().join("link")).unwrap();
        rustix::fs::mkfifoat(&dir, c"fifo", Mode::RUSR).unwrap();
        for name in [b"link", b"fifo"] {
            let subject = Subject::Name(proc_path(&dir, Some(name)));
            subject.set(b"trusted.whose", name).unwrap();
        }
        for name in [b"link", b"fifo"] {
            assert_eq!(read_xattrs(&dir, name).unwrap(), [xattr("trusted.whose", name)]);
        }
    }

    #[test]
    fn file_system_without_attributes_gives_none() {
        let proc = Dir::open(Path::new("/proc/self")).unwrap();
        assert_eq!(read_xattrs(&proc, b"status").unwrap(), []);
        assert!(read_xattrs(&proc, b"none").unwrap_err().is_not_found());
    }
}
