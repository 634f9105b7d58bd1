//! An opened directory: the place that every other operation of this layer starts from.
//!
//! Names are resolved one at a time below a descriptor, never as a path. So trees deeper than
//! `PATH_MAX` are ordinary, and a component swapped for a symbolic link while we work cannot lead
//! out of the tree: below the root, no link is ever followed. What must stay true: a name that
//! reaches the kernel was checked by [`checked`].

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use super::error::{At, LocalError};
use super::{Names, inspect_fd};
use crate::format::Kind;

/// Bytes asked for by one `getdents`: some 2000 entries, and still below the size from which the
/// allocator maps and unmaps fresh memory for every directory.
const LISTING_BUFFER: usize = 64 << 10;

/// How directories are opened, besides `O_NOFOLLOW` and `O_NOATIME`.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A directory opened for reading.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

impl Dir {
    /// Opens the directory at `path`, following symbolic links: the user named it.
    ///
    /// # Errors
    /// Where there is no directory, or it may not be read.
    pub fn open(path: &Path) -> Result<Self, LocalError> {
        let name = path.as_os_str().as_bytes();
        let fd = open_quietly(CWD, name, DIRECTORY).at("open directory", name)?;
        Ok(Self { fd })
    }

    /// Opens the directory `name` in this one, without following a link and, where allowed,
    /// without touching its access time.
    ///
    /// # Errors
    /// Where there is none, it may not be read, or it is of another kind
    /// ([`LocalError::is_other_kind`]).
    pub fn open_dir(&self, name: &[u8]) -> Result<Self, LocalError> {
        let fd = checked(name)
            .and_then(|name| open_quietly(&self.fd, name, DIRECTORY | OFlags::NOFOLLOW))
            .at("open directory", name)?;
        Ok(Self { fd })
    }

    /// Opens the directory above this one, which must be the one with these numbers: a walk that
    /// holds one descriptor at a time finds its way back, or learns that the tree was moved.
    ///
    /// # Errors
    /// Where `..` is not the directory expected, or may not be read.
    pub fn parent(&self, device: u64, inode: u64) -> Result<Self, LocalError> {
        let fd = open_quietly(&self.fd, b"..", DIRECTORY).at("open directory", b"..")?;
        let found = inspect_fd(&fd)?;
        if (found.device, found.inode) != (device, inode) {
            return Err(LocalError::new("go back to", b"..", Errno::STALE));
        }
        Ok(Self { fd })
    }

    /// Its path as the kernel knows it now, without links.
    ///
    /// # Errors
    /// Where the kernel does not tell, or it was removed.
    pub fn path(&self) -> std::io::Result<std::path::PathBuf> {
        let link = proc_path(&self.fd, None);
        std::fs::read_link(std::ffi::OsStr::from_bytes(&link))
    }

    /// Lists the directory from its start. Calls on one `Dir` must not overlap: they share the
    /// descriptor's position.
    ///
    /// # Errors
    /// Where it cannot be read; its path is empty.
    pub fn names(&self) -> Result<Names, LocalError> {
        rustix::fs::seek(&self.fd, SeekFrom::Start(0)).at("list", b"")?;
        let mut buffer = Vec::with_capacity(LISTING_BUFFER);
        let mut listing = RawDir::new(&self.fd, buffer.spare_capacity_mut());
        let mut names = Names::default();
        while let Some(entry) = listing.next() {
            let entry = match entry {
                // Removed while open: it has no entries.
                Err(Errno::NOENT) => break,
                entry => entry.at("list", b"")?,
            };
            let kind = Kind::of_listed(entry.file_type());
            names.push(entry.file_name().to_bytes(), kind).at("list", b"")?;
        }
        Ok(names.finish())
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Lets through what can be a directory entry's name, and nothing that could lead elsewhere.
pub(super) fn checked(name: &[u8]) -> Result<&[u8], Errno> {
    let elsewhere = name.is_empty() || name == b"." || name == b"..";
    if elsewhere || name.iter().any(|&byte| byte == b'/' || byte == 0) {
        return Err(Errno::INVAL);
    }
    Ok(name)
}

/// Opens for reading with `O_NOATIME`, or without where that is refused: it needs the file's owner
/// or `CAP_FOWNER`.
pub(super) fn open_quietly(dir: impl AsFd, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    match rustix::fs::openat(dir.as_fd(), name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(dir, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// The kernel's own name of a descriptor: what lacks an `…at` call, or refuses `O_PATH`
/// descriptors, is done through it, on exactly the inode that is open. Followed by `/name`, an
/// entry of the opened directory.
pub(super) fn proc_path(fd: impl AsFd, name: Option<&[u8]>) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()).into_bytes();
    if let Some(name) = name {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::ffi::OsStr;
    use std::fs;

    #[test]
    fn lists_raw_names_of_any_bytes_with_their_kinds() {
        let temp = tempfile::tempdir().unwrap();
        let long = [b'l'; 255];
        let raw = b"\xff\xfe \n\x01";
        fs::write(temp.path().join(OsStr::from_bytes(&long)), b"").unwrap();
        fs::create_dir(temp.path().join(OsStr::from_bytes(raw))).unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        for _again in 0..2 {
            let names = dir.names().unwrap();
            let entries: Vec<_> = names.iter().collect();
            assert_eq!(entries[0].name, long);
            assert_eq!(entries[1].name, raw);
            assert!(matches!(entries[1].kind, None | Some(Kind::Directory)));
        }
        assert!(dir.open_dir(raw).unwrap().names().unwrap().is_empty());
    }

    #[test]
    fn large_directory_is_listed_whole() {
        let temp = tempfile::tempdir().unwrap();
        let expected: BTreeSet<Vec<u8>> =
            (0..5000).map(|n| format!("a rather long name, number {n}").into_bytes()).collect();
        for name in &expected {
            fs::write(temp.path().join(OsStr::from_bytes(name)), b"").unwrap();
        }
        let names = Dir::open(temp.path()).unwrap().names().unwrap();
        assert!(names.iter().map(|entry| entry.name).eq(expected.iter().map(Vec::as_slice)));
    }

    #[test]
    fn links_and_paths_lead_nowhere() {
        let temp = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/", temp.path().join("link")).unwrap();
        fs::write(temp.path().join("file"), b"").unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        assert!(dir.open_dir(b"link").unwrap_err().is_other_kind());
        assert!(dir.open_dir(b"file").unwrap_err().is_other_kind());
        assert!(dir.open_dir(b"none").unwrap_err().is_not_found());
        for name in [b"".as_slice(), b".", b"..", b"a/b", b"/", b"a\0b"] {
            let err = dir.open_dir(name).unwrap_err();
            assert_eq!(err.source.raw_os_error(), Some(libc::EINVAL), "{name:?}");
        }
    }

    #[test]
    fn removed_directory_lists_empty() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("d")).unwrap();
        let dir = Dir::open(temp.path()).unwrap().open_dir(b"d").unwrap();
        fs::remove_dir(temp.path().join("d")).unwrap();
        assert!(dir.names().unwrap().is_empty());
    }

    #[test]
    fn tree_deeper_than_path_max_is_walked_down_and_up() {
        let temp = tempfile::tempdir().unwrap();
        let name = [b'd'; 250];
        let mut dir = Dir::open(temp.path()).unwrap();
        let mut above = Vec::new();
        for _level in 0..40 {
            let found = inspect_fd(&dir).unwrap();
            above.push((found.device, found.inode));
            rustix::fs::mkdirat(&dir, &name[..], Mode::RWXU).unwrap();
            dir = dir.open_dir(&name).unwrap();
        }
        assert!(dir.parent(0, 0).is_err(), "a parent that is not the expected one");
        while let Some((device, inode)) = above.pop() {
            dir = dir.parent(device, inode).unwrap();
            assert!(dir.names().unwrap().contains(&name));
        }
    }
}
