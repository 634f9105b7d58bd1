//! A tree with everything that Linux lets a tree hold, to be carried through a backup and compared.
//!
//! [`build`] is deterministic: two calls give two trees without any difference. It works relative
//! to directory descriptors, so that paths may be longer than `PATH_MAX`. What the host's file
//! system refuses (an attribute namespace on tmpfs, a device without root) is left out and returned,
//! so that a test can assert that nothing was.
//!
//! Times are set last, deepest entry first: creating an entry changes its directory.

mod sections;

use std::ffi::CString;
use std::fmt::Write as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat,
    chownat, linkat, lsetxattr, mkdirat, mknodat, openat, statat, symlinkat, utimensat,
};
use rustix::io::{Errno, pwrite};

type Section = fn(&mut Builder, &Directory, &TortureOptions);

/// The folders at the top of the tree, and what fills them.
const SECTIONS: [(&str, Section); 15] = [
    ("kinds", Builder::kinds),
    ("modes", Builder::modes),
    ("owners", Builder::owners),
    ("times", Builder::times),
    ("xattrs", Builder::xattrs),
    ("acls", Builder::acls),
    ("hard-links", Builder::hard_links),
    ("symlinks", Builder::symlinks),
    ("names", Builder::names),
    ("sparse", Builder::sparse),
    ("sizes", Builder::sizes),
    ("large", Builder::large),
    ("deep", Builder::deep),
    ("big", Builder::big_directory),
    ("empty", Builder::empty),
];

/// How much of the torture tree to build. The default is all of it.
#[derive(Clone, Debug)]
pub struct TortureOptions {
    /// Only this folder at the top, see [`SECTIONS`].
    pub only: Option<&'static str>,
    /// Entries in the one big directory.
    pub big_directory_entries: usize,
    /// Files of several MiB: compressible, random, duplicates, edits, page files, tensors.
    pub large_files: bool,
    /// Sparse files of 5 GiB and 1 TiB. Tools that do not know holes (rsync, `cat`) read all of them.
    pub huge_files: bool,
    /// A chain of directories whose path is longer than `PATH_MAX`. cp and rsync cannot read it, and
    /// tar cannot extract it.
    pub past_path_max: bool,
}

impl Default for TortureOptions {
    fn default() -> Self {
        Self {
            only: None,
            big_directory_entries: 20_000,
            large_files: true,
            huge_files: true,
            past_path_max: true,
        }
    }
}

impl TortureOptions {
    /// Every kind of entry, few of each: built in a fraction of a second.
    pub fn small() -> Self {
        Self { big_directory_entries: 50, large_files: false, ..Self::default() }
    }

    /// What a tool can copy that names files by whole paths.
    pub fn within_path_max(self) -> Self {
        Self { past_path_max: false, ..self }
    }
}

/// Builds the tree in `root`, which must be an empty directory. Returns what the file system
/// refused, one line each; on ext4 as root that is nothing.
///
/// # Panics
/// Where `root` cannot be opened.
pub fn build(root: &Path, options: &TortureOptions) -> Vec<String> {
    let fd = openat(CWD, root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .unwrap_or_else(|e| panic!("open {}: {e}", root.display()));
    let mut builder = Builder { left_out: Vec::new() };
    let top = Directory { fd, path: String::new() };
    for (section, make) in SECTIONS {
        if options.only.is_none_or(|only| only == section) {
            let dir = builder.directory(&top, section);
            make(&mut builder, &dir, options);
        }
    }
    builder.times_of_directories(&top);
    builder.left_out
}

/// Deterministic bytes that no compressor makes smaller.
pub fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Deterministic text, as compressible as a log.
pub fn text_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut text = String::with_capacity(len + 100);
    let mut line = 0_u64;
    while text.len() < len {
        let word = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(line * 7919) % 997;
        writeln!(text, "{line:08} step={line} loss=0.{word:03} host=node-{}", word % 16).unwrap();
        line += 1;
    }
    text.truncate(len);
    text.into_bytes()
}

/// A value of `system.posix_acl_access` or `_default`: (tag, permissions, id), in the order of tags.
pub fn acl_bytes(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permissions.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// Sets an attribute of an entry named relative to a directory, symlinks not followed.
pub fn set_xattr(
    dir: BorrowedFd<'_>,
    name: &[u8],
    xattr: &[u8],
    value: &[u8],
) -> Result<(), Errno> {
    lsetxattr(through_proc(dir, name), xattr, value, XattrFlags::empty())
}

/// Sets an entry's modification time and leaves its access time.
pub fn set_mtime(dir: BorrowedFd<'_>, name: &[u8], sec: i64, nsec: i64) -> Result<(), Errno> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec { tv_sec: sec, tv_nsec: nsec },
    };
    utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

/// The path of an entry for calls that know no directory descriptors, of any depth.
pub(super) fn through_proc(dir: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

struct Directory {
    fd: OwnedFd,
    path: String,
}

impl Directory {
    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

struct Builder {
    left_out: Vec<String>,
}

impl Builder {
    /// Records what could not be made, and goes on.
    fn attempt(&mut self, dir: &Directory, name: &[u8], what: &str, result: Result<(), Errno>) {
        if let Err(errno) = result {
            let name = name.escape_ascii();
            self.left_out.push(format!("{}/{name}: {what}: {errno}", dir.path));
        }
    }

    fn directory(&mut self, parent: &Directory, name: &str) -> Directory {
        mkdirat(parent.fd(), name, Mode::from_raw_mode(0o755))
            .and_then(|()| chmodat(parent.fd(), name, Mode::from_raw_mode(0o755), AtFlags::empty()))
            .unwrap_or_else(|e| panic!("mkdir {}/{name}: {e}", parent.path));
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(parent.fd(), name, flags, Mode::empty())
            .unwrap_or_else(|e| panic!("open {}/{name}: {e}", parent.path));
        Directory { fd, path: format!("{}/{}", parent.path, name.escape_default()) }
    }

    fn file(&mut self, dir: &Directory, name: impl AsRef<[u8]>, content: &[u8]) {
        let name = name.as_ref();
        let made = create(dir, name).and_then(|fd| {
            write_all(&fd, content, 0)?;
            chmodat(dir.fd(), name, Mode::from_raw_mode(0o644), AtFlags::empty())?;
            settle(dir, name)
        });
        self.attempt(dir, name, "file", made);
    }

    fn node(&mut self, dir: &Directory, name: &str, kind: FileType, device: u64) {
        let made = mknodat(dir.fd(), name, kind, Mode::from_raw_mode(0o640), device)
            .and_then(|()| chmodat(dir.fd(), name, Mode::from_raw_mode(0o640), AtFlags::empty()))
            .and_then(|()| settle(dir, name.as_bytes()));
        self.attempt(dir, name.as_bytes(), "node", made);
    }

    fn symlink(&mut self, dir: &Directory, name: &str, target: &[u8]) {
        let made = symlinkat(target, dir.fd(), name).and_then(|()| settle(dir, name.as_bytes()));
        self.attempt(dir, name.as_bytes(), "symlink", made);
    }

    fn link(&mut self, from: &Directory, name: &str, to: &Directory, new: &str) {
        let made = linkat(from.fd(), name, to.fd(), new, AtFlags::empty());
        self.attempt(to, new.as_bytes(), "hard link", made);
    }

    fn xattr(&mut self, dir: &Directory, name: &str, xattr: &[u8], value: &[u8]) {
        let what = format!("{} of {} bytes", xattr.escape_ascii(), value.len());
        let made = set_xattr(dir.fd(), name.as_bytes(), xattr, value);
        self.attempt(dir, name.as_bytes(), &what, made);
    }

    fn owner(&mut self, dir: &Directory, name: &str, uid: u32, gid: u32) {
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        let made = chownat(dir.fd(), name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW);
        self.attempt(dir, name.as_bytes(), &format!("owner {uid}:{gid}"), made);
    }

    fn mode(&mut self, dir: &Directory, name: &str, mode: u32) {
        let made = chmodat(dir.fd(), name, Mode::from_raw_mode(mode), AtFlags::empty());
        self.attempt(dir, name.as_bytes(), &format!("mode {mode:o}"), made);
    }

    /// Sets a time and looks whether it was stored: file systems clamp without a word.
    fn mtime(&mut self, dir: &Directory, name: &str, sec: i64, nsec: i64) {
        let made = set_mtime(dir.fd(), name.as_bytes(), sec, nsec).and_then(|()| {
            let stat = statat(dir.fd(), name, AtFlags::SYMLINK_NOFOLLOW)?;
            let same = stat.st_mtime == sec && i64::try_from(stat.st_mtime_nsec) == Ok(nsec);
            if same { Ok(()) } else { Err(Errno::RANGE) }
        });
        self.attempt(dir, name.as_bytes(), &format!("time {sec}.{nsec:09}"), made);
    }

    /// Gives every directory a time of its own, deepest first, but for those made for their times.
    fn times_of_directories(&mut self, dir: &Directory) {
        for name in directories_in(dir) {
            if dir.path == "/times" {
                continue;
            }
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(dir.fd(), &name, flags, Mode::empty()) {
                Ok(fd) => {
                    let path = format!("{}/{}", dir.path, name.to_bytes().escape_ascii());
                    self.times_of_directories(&Directory { fd, path });
                }
                Err(errno) => self.attempt(dir, name.to_bytes(), "open", Err(errno)),
            }
        }
        let made = settle(dir, b".");
        self.attempt(dir, b".", "time", made);
    }
}

fn directories_in(dir: &Directory) -> Vec<CString> {
    let entries =
        rustix::fs::Dir::read_from(dir.fd()).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.unwrap_or_else(|e| panic!("list {}: {e}", dir.path));
    let is_directory = |entry: &rustix::fs::DirEntry| {
        let special = matches!(entry.file_name().to_bytes(), b"." | b"..");
        !special && entry.file_type() == FileType::Directory
    };
    entries.iter().filter(|entry| is_directory(entry)).map(|e| e.file_name().to_owned()).collect()
}

fn create(dir: &Directory, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    openat(dir.fd(), name, flags, Mode::from_raw_mode(0o644))
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = pwrite(fd, bytes, offset)?;
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

/// Whether this is the file with a preallocated range that was never written. Of that the kernel shows
/// as data what happens to be in the page cache, and as a hole what is not.
pub fn is_partly_unwritten(path: &[u8]) -> bool {
    path.ends_with(b"sparse/preallocated")
}

/// Gives an entry a time that follows from its name, so that two builds are alike.
fn settle(dir: &Directory, name: &[u8]) -> Result<(), Errno> {
    let hash = blake3::hash(&[dir.path.as_bytes(), b"/", name].concat());
    let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| hash.as_bytes()[at + i]));
    let sec = 1_400_000_000 + i64::from(word(0) % 300_000_000);
    set_mtime(dir.fd(), name, sec, i64::from(word(4) % 1_000_000_000))
}
