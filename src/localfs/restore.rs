//! Creating entries on the target file system: directories, files, links, devices.
//!
//! New entries are private (mode 0700 or 0600) until [`apply`](super::apply) gives them their
//! metadata: content must never be readable by more people than at the source, not even while a
//! restore runs. Names come from a repository, so they are checked again here, and no link on the
//! target is ever followed: a hostile snapshot cannot write outside the target directory.
//!
//! To make an entry where another one stands, what stands there is unlinked, never written
//! through: it may have other names. A *directory* in the way is never removed by that
//! (`EISDIR`); who wants it calls [`TargetDir::remove`].

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::dir::{checked, proc_path};
use super::error::{At, LocalError};
use super::{Dir, Found, inspect, inspect_fd};
use crate::format::Body;
use crate::format::Kind;

/// Mode of a directory until its metadata is applied.
const PRIVATE_DIR: Mode = Mode::RWXU;
/// Mode of everything else until then.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Linux packs device numbers in 32 bits: 12 for the major number, 20 for the minor.
const MAJOR_MAX: u32 = (1 << 12) - 1;
const MINOR_MAX: u32 = (1 << 20) - 1;

/// A directory opened for making entries in it.
#[derive(Debug)]
pub struct TargetDir {
    dir: Dir,
}

impl TargetDir {
    /// Opens the directory at `path`, following symbolic links: the user named it.
    ///
    /// # Errors
    /// Where there is no directory, or it may not be read.
    pub fn open(path: &Path) -> Result<Self, LocalError> {
        Ok(Self { dir: Dir::open(path)? })
    }

    /// The same directory, to read from: listing, inspecting, attributes.
    #[must_use]
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Opens the directory `name` without following a link.
    ///
    /// # Errors
    /// Where there is none, it may not be read, or it is of another kind
    /// ([`LocalError::is_other_kind`]).
    pub fn open_dir(&self, name: &[u8]) -> Result<Self, LocalError> {
        Ok(Self { dir: self.dir.open_dir(name)? })
    }

    /// Makes the directory `name`, or takes the one that is there, and opens it. One that its
    /// owner may not use (mode 0500, say) is given mode 0700 first.
    ///
    /// # Errors
    /// The file system's.
    pub fn make_dir(&self, name: &[u8]) -> Result<Self, LocalError> {
        let made = self.create(name, |name| match rustix::fs::mkdirat(self, name, PRIVATE_DIR) {
            Err(Errno::EXIST) if self.is_directory(name) => Ok(false),
            made => made.map(|()| true),
        });
        if !made.at("make directory", name)? {
            self.ensure_mode(name, PRIVATE_DIR)?;
        }
        self.open_dir(name)
    }

    /// Creates the empty regular file `name`: always a new inode.
    ///
    /// # Errors
    /// The file system's; `EISDIR` where a directory is in the way.
    pub fn create_file(&self, name: &[u8]) -> Result<TargetFile, LocalError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let open = |name: &[u8]| rustix::fs::openat(self, name, flags | OFlags::CLOEXEC, PRIVATE);
        let fd = self.create(name, open).at("create", name)?;
        Ok(TargetFile { file: File::from(fd) })
    }

    /// Opens the regular file `name` that is there, to read and overwrite parts of it. One that
    /// its owner may not write is given mode 0600 first. Where its
    /// [`nlink`](Found::nlink) is above 1, writing shows under its other names too.
    ///
    /// # Errors
    /// Where there is none, or it is of another kind ([`LocalError::is_other_kind`]).
    pub fn open_existing(&self, name: &[u8]) -> Result<TargetFile, LocalError> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let open = || rustix::fs::openat(self, name, flags | OFlags::CLOEXEC, Mode::empty());
        // First the kind: opening a device may act on it.
        let found = inspect(&self.dir, name)?;
        if found.kind != Kind::File {
            return Err(LocalError::new("open", name, Errno::NXIO));
        }
        let opened = match open() {
            Err(Errno::ACCESS) => {
                self.ensure_mode(name, PRIVATE)?;
                open()
            }
            opened => opened,
        };
        let file = TargetFile { file: File::from(opened.at("open", name)?) };
        match file.found()?.kind {
            Kind::File => Ok(file),
            _ => Err(LocalError::new("open", name, Errno::NXIO)),
        }
    }

    /// Creates a symbolic link with a raw target, which is not looked at.
    ///
    /// # Errors
    /// The file system's; `EISDIR` where a directory is in the way.
    pub fn symlink(&self, name: &[u8], target: &[u8]) -> Result<(), LocalError> {
        self.create(name, |name| rustix::fs::symlinkat(target, self, name))
            .at("make symbolic link", name)
    }

    /// Creates the pipe, socket or device that `body` describes.
    ///
    /// # Errors
    /// `EINVAL` for other kinds, and for device numbers that Linux cannot have (major above 4095,
    /// minor above 1,048,575); `EPERM` for devices without privilege; `EISDIR` where a directory
    /// is in the way.
    pub fn mknod(&self, name: &[u8], body: &Body) -> Result<(), LocalError> {
        let (kind, major, minor) = match *body {
            Body::Fifo => (FileType::Fifo, 0, 0),
            Body::Socket => (FileType::Socket, 0, 0),
            Body::CharDevice { major, minor } => (FileType::CharacterDevice, major, minor),
            Body::BlockDevice { major, minor } => (FileType::BlockDevice, major, minor),
            _ => return Err(LocalError::new("make special file", name, Errno::INVAL)),
        };
        // The kernel drops the upper bits without a word, and makes some other device.
        if major > MAJOR_MAX || minor > MINOR_MAX {
            return Err(LocalError::new("make device of such numbers", name, Errno::INVAL));
        }
        let device = rustix::fs::makedev(major, minor);
        self.create(name, |name| rustix::fs::mknodat(self, name, kind, PRIVATE, device))
            .at("make special file", name)
    }

    /// Makes `to_name` another name of the inode `from_name` in `from_dir` (of a link: of the link
    /// itself). Nothing happens where it is that already.
    ///
    /// # Errors
    /// The file system's, such as `EXDEV` and `EMLINK`; `EISDIR` where a directory is in the way.
    pub fn hard_link(
        &self,
        from_dir: &Self,
        from_name: &[u8],
        to_name: &[u8],
    ) -> Result<(), LocalError> {
        let from = inspect(&from_dir.dir, from_name)?;
        if let Some(there) = self.look(to_name)?
            && (there.device, there.inode) == (from.device, from.inode)
        {
            return Ok(());
        }
        self.create(to_name, |to_name| {
            rustix::fs::linkat(from_dir, from_name, self, to_name, AtFlags::empty())
        })
        .at("make hard link", to_name)
    }

    /// What stands at `name`; `None` where nothing does.
    ///
    /// # Errors
    /// Where it cannot be told.
    pub fn look(&self, name: &[u8]) -> Result<Option<Found>, LocalError> {
        match inspect(&self.dir, name) {
            Err(err) if err.is_not_found() => Ok(None),
            found => found.map(Some),
        }
    }

    /// Runs `make` for a checked name. Where something other than a directory is in the way,
    /// unlinks it and runs `make` once more.
    fn create<T>(&self, name: &[u8], make: impl Fn(&[u8]) -> Result<T, Errno>) -> Result<T, Errno> {
        let name = checked(name)?;
        match make(name) {
            Err(Errno::EXIST) => {}
            made => return made,
        }
        match rustix::fs::unlinkat(self, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => make(name),
            Err(errno) => Err(errno),
        }
    }

    fn is_directory(&self, name: &[u8]) -> bool {
        inspect(&self.dir, name).is_ok_and(|found| found.kind == Kind::Directory)
    }

    /// Gives the entry `name` these permissions unless its owner has them. By descriptor, so that
    /// it cannot be another file's.
    fn ensure_mode(&self, name: &[u8], mode: Mode) -> Result<(), LocalError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(self, name, flags, Mode::empty()).at("open", name)?;
        let found = inspect_fd(&fd)?;
        if found.mode & mode.as_raw_mode() == mode.as_raw_mode() || found.kind == Kind::Symlink {
            return Ok(());
        }
        rustix::fs::chmodat(CWD, proc_path(&fd, None), mode, AtFlags::empty())
            .at("make writable", name)
    }
}

impl AsFd for TargetDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// A regular file opened for writing (and reading back) on the target.
#[derive(Debug)]
pub struct TargetFile {
    file: File,
}

impl TargetFile {
    /// Writes all of `bytes` at `offset`; from any thread, in any order. What is never written
    /// stays a hole.
    ///
    /// # Errors
    /// The file system's.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Sets the logical size; what is new is a hole.
    ///
    /// # Errors
    /// The file system's.
    pub fn set_len(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }

    /// Makes `length` bytes at `offset`, within the file's size, read as zeroes without taking
    /// space; where the file system has no holes, writes zeroes.
    ///
    /// # Errors
    /// The file system's.
    pub fn punch_hole(&self, offset: u64, length: u64) -> io::Result<()> {
        if length == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, flags, offset, length) {
            Err(Errno::NOTSUP | Errno::NOSYS) => self.write_zeroes(offset, length),
            punched => Ok(punched?),
        }
    }

    /// What it is now.
    ///
    /// # Errors
    /// Where the file system fails; the error's path is empty.
    pub fn found(&self) -> Result<Found, LocalError> {
        inspect_fd(&self.file)
    }

    /// The file itself: to read back, to sync.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    fn write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        static ZEROES: [u8; 64 << 10] = [0; 64 << 10];
        let end = offset.saturating_add(length);
        let mut at = offset;
        while at < end {
            let count = usize::try_from(end - at).map_or(ZEROES.len(), |n| n.min(ZEROES.len()));
            self.file.write_all_at(&ZEROES[..count], at)?;
            at += count as u64;
        }
        Ok(())
    }
}

impl AsFd for TargetFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::localfs::read_link;
    use crate::localfs::testing::is_root;
    use std::os::unix::fs::symlink;
    use std::{fs, os::unix::fs::PermissionsExt};

    fn target() -> (tempfile::TempDir, TargetDir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = TargetDir::open(temp.path()).unwrap();
        (temp, dir)
    }

    #[test]
    fn entries_of_every_kind_are_made_and_private() {
        let (_temp, dir) = target();
        let long = [b'\xff'; 255];
        dir.make_dir(b"dir").unwrap().create_file(&long).unwrap().write_at(3, b"xyz").unwrap();
        dir.symlink(b"link", &[b't'; 4000]).unwrap();
        dir.symlink(b"raw", b"\xff\x01/..").unwrap();
        dir.mknod(b"fifo", &Body::Fifo).unwrap();
        dir.mknod(b"socket", &Body::Socket).unwrap();
        let inner = dir.open_dir(b"dir").unwrap();
        let file = inner.look(&long).unwrap().unwrap();
        assert_eq!((file.kind, file.mode, file.size), (Kind::File, 0o600, 6));
        assert_eq!(dir.look(b"dir").unwrap().unwrap().mode, 0o700);
        assert_eq!(read_link(dir.dir(), b"link").unwrap(), [b't'; 4000]);
        assert_eq!(read_link(dir.dir(), b"raw").unwrap(), b"\xff\x01/..");
        assert_eq!(dir.look(b"fifo").unwrap().unwrap().kind, Kind::Fifo);
        assert_eq!(dir.look(b"socket").unwrap().unwrap().kind, Kind::Socket);
        assert_eq!(dir.look(b"none").unwrap(), None);
    }

    #[test]
    fn device_numbers_are_exact_or_refused() {
        if !is_root() {
            return;
        }
        let (_temp, dir) = target();
        for (major, minor) in [(1, 3), (4095, 1_048_575), (0, 0), (259, 256)] {
            for body in [Body::CharDevice { major, minor }, Body::BlockDevice { major, minor }] {
                dir.mknod(b"device", &body).unwrap();
                let found = dir.look(b"device").unwrap().unwrap();
                assert_eq!((found.kind, found.rdev), (Kind::of(&body), (major, minor)));
            }
        }
        for (major, minor) in [(4096, 0), (0, 1 << 20), (u32::MAX, u32::MAX)] {
            assert!(dir.mknod(b"impossible", &Body::CharDevice { major, minor }).is_err());
            assert_eq!(dir.look(b"impossible").unwrap(), None);
        }
    }

    #[test]
    fn what_is_in_the_way_is_replaced_never_written_through() {
        let (temp, dir) = target();
        let outside = temp.path().join("outside");
        fs::write(&outside, b"untouched").unwrap();
        symlink(&outside, temp.path().join("link")).unwrap();
        dir.create_file(b"link").unwrap().write_at(0, b"new").unwrap();
        assert_eq!(fs::read(temp.path().join("link")).unwrap(), b"new");

        fs::hard_link(&outside, temp.path().join("second")).unwrap();
        dir.create_file(b"second").unwrap();
        dir.symlink(b"second", b"x").unwrap();
        dir.mknod(b"second", &Body::Fifo).unwrap();
        dir.make_dir(b"second").unwrap();
        assert_eq!(fs::read(&outside).unwrap(), b"untouched");

        let err = dir.create_file(b"second").unwrap_err();
        assert_eq!(err.source.raw_os_error(), Some(libc::EISDIR));
        assert_eq!(dir.look(b"second").unwrap().unwrap().kind, Kind::Directory);
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let (temp, dir) = target();
        symlink("/tmp", temp.path().join("link")).unwrap();
        for name in [b"".as_slice(), b"..", b".", b"link/x", b"../x", b"/x", b"a\0b"] {
            assert!(dir.create_file(name).is_err());
            assert!(dir.make_dir(name).is_err());
            assert!(dir.symlink(name, b"t").is_err());
            assert!(dir.mknod(name, &Body::Fifo).is_err());
            assert!(dir.open_existing(name).is_err());
        }
        assert!(dir.open_dir(b"link").unwrap_err().is_other_kind());
        dir.make_dir(b"link").unwrap().create_file(b"inside").unwrap();
        assert!(temp.path().join("link/inside").exists());
    }

    #[test]
    fn existing_file_is_opened_in_place_and_only_a_file() {
        let (temp, dir) = target();
        fs::write(temp.path().join("file"), b"0123456789").unwrap();
        fs::set_permissions(temp.path().join("file"), fs::Permissions::from_mode(0o400)).unwrap();
        let before = dir.look(b"file").unwrap().unwrap();
        let file = dir.open_existing(b"file").unwrap();
        file.write_at(2, b"xx").unwrap();
        file.set_len(5).unwrap();
        assert_eq!(file.found().unwrap().inode, before.inode);
        assert_eq!(fs::read(temp.path().join("file")).unwrap(), b"01xx4");
        dir.mknod(b"fifo", &Body::Fifo).unwrap();
        symlink("file", temp.path().join("link")).unwrap();
        for name in [b"fifo".as_slice(), b"link"] {
            assert!(dir.open_existing(name).unwrap_err().is_other_kind());
        }
        assert!(dir.open_existing(b"none").unwrap_err().is_not_found());
    }

    #[test]
    fn holes_stay_holes_and_can_be_made_again() {
        let (temp, dir) = target();
        let file = dir.create_file(b"sparse").unwrap();
        file.write_at(8 << 20, &[1; 4096]).unwrap();
        file.set_len(16 << 20).unwrap();
        assert!(file.found().unwrap().blocks_512 * 512 < 1 << 20);
        file.write_at(0, &[7; 1 << 20]).unwrap();
        file.punch_hole(0, 1 << 20).unwrap();
        file.write_zeroes(8 << 20, 70_000).unwrap();
        assert!(fs::read(temp.path().join("sparse")).unwrap().iter().all(|&byte| byte == 0));
        assert!(file.found().unwrap().blocks_512 * 512 < 1 << 20);
    }

    #[test]
    fn hard_links_name_one_inode_links_included() {
        let (_temp, dir) = target();
        let other = dir.make_dir(b"other").unwrap();
        dir.create_file(b"file").unwrap();
        dir.symlink(b"link", b"file").unwrap();
        for name in [b"file", b"link"] {
            for _again in 0..2 {
                other.hard_link(&dir, name, b"second").unwrap();
            }
            let (first, second) = (dir.look(name).unwrap(), other.look(b"second").unwrap());
            assert_eq!(first.unwrap().inode, second.unwrap().inode);
            assert_eq!(second.unwrap().nlink, 2);
        }
    }
}
