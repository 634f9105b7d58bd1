//! What one entry is: `statx` and `readlink`, never following a link, never opening the file.
//!
//! `statx` rather than `stat`: it alone gives the birth time, says whether a field is known, and
//! has 64-bit signed seconds on every machine, so times before 1970 and after 2106 are right.
//! Nothing here opens an entry: opening a pipe blocks, opening a device may act on it.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, StatxTimestamp};
use rustix::io::Errno;

use super::dir::{Dir, checked};
use super::error::{At, LocalError};
use crate::format::{Kind, Time};

/// All that `statx` tells of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-uid, set-gid and sticky: at most 0o7777.
    pub mode: u32,
    /// Numeric user id.
    pub uid: u32,
    /// Numeric group id.
    pub gid: u32,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Last access.
    pub atime: Time,
    /// Birth, where the file system has it.
    pub btime: Option<Time>,
    /// Logical bytes; of a link, its target's length.
    pub size: u64,
    /// Allocated units of 512 bytes, whatever the file system's block size.
    pub blocks_512: u64,
    /// Inode number, unique on its device.
    pub inode: u64,
    /// The device of the file system: major and minor number packed as `dev_t`.
    pub device: u64,
    /// Names of the inode.
    pub nlink: u32,
    /// Major and minor number of the device that the entry names; zeroes for other kinds.
    pub rdev: (u32, u32),
}

/// Inspects the entry `name` of `dir` itself: no link is followed, no automount triggered.
///
/// # Errors
/// Where there is no such entry, or `dir` may not be searched.
pub fn inspect(dir: &Dir, name: &[u8]) -> Result<Found, LocalError> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    checked(name)
        .and_then(|name| rustix::fs::statx(dir, name, flags, wanted()))
        .and_then(|stat| Found::of(&stat))
        .at("inspect", name)
}

/// Inspects what is opened as `fd`, `O_PATH` descriptors included.
///
/// # Errors
/// Only where the file system fails; the error's path is empty.
pub fn inspect_fd(fd: impl AsFd) -> Result<Found, LocalError> {
    rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, wanted())
        .and_then(|stat| Found::of(&stat))
        .at("inspect", b"")
}

/// The raw target of the symbolic link `name` in `dir`, of any bytes.
///
/// # Errors
/// Where there is no such entry, or it is no link (`EINVAL`).
pub fn read_link(dir: &Dir, name: &[u8]) -> Result<Vec<u8>, LocalError> {
    checked(name)
        .and_then(|name| rustix::fs::readlinkat(dir, name, Vec::new()))
        .map(std::ffi::CString::into_bytes)
        .at("read link", name)
}

impl Kind {
    pub(super) fn of_listed(kind: FileType) -> Option<Self> {
        Some(match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice => Self::CharDevice,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::Unknown => return None,
        })
    }
}

impl Found {
    /// Whether both are the same inode in the same state: nobody wrote to it or changed its
    /// metadata in between, as far as the file system's clock can tell.
    #[must_use]
    pub fn unchanged(&self, later: &Self) -> bool {
        (self.device, self.inode) == (later.device, later.inode)
            && self.size == later.size
            && self.mtime == later.mtime
            && self.ctime == later.ctime
    }

    fn of(stat: &Statx) -> Result<Self, Errno> {
        let mode = u32::from(stat.stx_mode);
        let birth = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        Ok(Self {
            kind: Kind::of_listed(FileType::from_raw_mode(mode)).ok_or(Errno::NOTSUP)?,
            mode: mode & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            mtime: time(stat.stx_mtime),
            ctime: time(stat.stx_ctime),
            atime: time(stat.stx_atime),
            btime: birth.then(|| time(stat.stx_btime)),
            size: stat.stx_size,
            blocks_512: stat.stx_blocks,
            inode: stat.stx_ino,
            device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            nlink: stat.stx_nlink,
            rdev: (stat.stx_rdev_major, stat.stx_rdev_minor),
        })
    }
}

fn wanted() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::BTIME
}

/// The kernel counts nanoseconds forward from `tv_sec` for negative times too, as format 1 does.
fn time(stamp: StatxTimestamp) -> Time {
    // A file system that breaks the rule must not break a snapshot.
    Time { secs: stamp.tv_sec, nanos: stamp.tv_nsec.min(999_999_999) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, Timespec, Timestamps};
    use std::fs;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn inspects_any_kind_without_opening_it() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        fs::write(temp.path().join("file"), b"12345").unwrap();
        fs::create_dir(temp.path().join("dir")).unwrap();
        std::os::unix::fs::symlink("nowhere", temp.path().join("link")).unwrap();
        rustix::fs::mkfifoat(&dir, c"fifo", Mode::RUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(temp.path().join("socket")).unwrap();
        let kinds: [(&[u8], Kind); 5] = [
            (b"file", Kind::File),
            (b"dir", Kind::Directory),
            (b"link", Kind::Symlink),
            (b"fifo", Kind::Fifo),
            (b"socket", Kind::Socket),
        ];
        for (name, kind) in kinds {
            assert_eq!(inspect(&dir, name).unwrap().kind, kind);
        }
        let file = inspect(&dir, b"file").unwrap();
        assert_eq!((file.size, file.nlink, file.rdev), (5, 1, (0, 0)));
        assert!(file.mode <= 0o7777);
        assert!(inspect(&dir, b"none").unwrap_err().is_not_found());
        let opened = fs::File::open(temp.path().join("file")).unwrap();
        assert!(file.unchanged(&inspect_fd(&opened).unwrap()));
    }

    #[test]
    fn device_numbers_are_those_of_the_kernel() {
        let dev = Dir::open(std::path::Path::new("/dev")).unwrap();
        let null = inspect(&dev, b"null").unwrap();
        assert_eq!((null.kind, null.rdev), (Kind::CharDevice, (1, 3)));
    }

    #[test]
    fn times_of_any_sign_are_exact() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        fs::write(temp.path().join("file"), b"").unwrap();
        // 1901, just before 1970, after 2038, after 2106.
        for (secs, nanos) in
            [(-2_147_483_000, 1), (-1, 999_999_999), (2_147_483_648, 7), (5_000_000_000, 123)]
        {
            let stamp = Timespec { tv_sec: secs, tv_nsec: nanos };
            let times = Timestamps { last_access: stamp, last_modification: stamp };
            rustix::fs::utimensat(&dir, c"file", &times, AtFlags::empty()).unwrap();
            let found = inspect(&dir, b"file").unwrap();
            let expected = Time { secs, nanos: u32::try_from(nanos).unwrap() };
            assert_eq!((found.mtime, found.atime), (expected, expected));
        }
    }

    #[test]
    fn link_targets_of_any_bytes_and_length_are_read_whole() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        for (name, target) in [("raw", b"\xff/\x01\xfe".to_vec()), ("long", vec![b't'; 4000])] {
            let path = std::ffi::OsStr::from_bytes(&target);
            std::os::unix::fs::symlink(path, temp.path().join(name)).unwrap();
            assert_eq!(read_link(&dir, name.as_bytes()).unwrap(), target);
        }
        fs::write(temp.path().join("file"), b"").unwrap();
        assert!(read_link(&dir, b"file").is_err());
    }
}
