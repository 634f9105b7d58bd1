//! A tree on disk as the independent reader lists a snapshot of it: one JSON object for each entry.
//!
//! It shares no code with icecore, and works relative to directory descriptors.

#![allow(unreachable_pub, reason = "a module of a test binary")]

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, SeekFrom, Statx, StatxFlags, StatxTimestamp,
    lgetxattr, llistxattr, openat, readlinkat, seek, statx,
};
use rustix::io::{Errno, pread};
use serde_json::{Map, Value, json};

/// The reader does not hash more zeroes of holes than this.
const HASHED_HOLES_MAX: u64 = 64 << 20;

/// Entries by path in hexadecimal digits; the root's path is empty.
pub type Listing = BTreeMap<String, Map<String, Value>>;

/// Lists a tree.
pub fn list(root: &Path) -> Listing {
    let mut listing = Listing::new();
    let fd = open(CWD, root.as_os_str().as_encoded_bytes(), OFlags::DIRECTORY);
    listing.insert(String::new(), describe(fd.as_fd(), b"."));
    walk(&fd, b"", &mut listing);
    listing
}

fn open(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> OwnedFd {
    openat(dir, name, flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
        .unwrap_or_else(|err| panic!("open {}: {err}", name.escape_ascii()))
}

fn walk(dir: &OwnedFd, path: &[u8], listing: &mut Listing) {
    for entry in Dir::read_from(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let below =
            if path.is_empty() { name.to_vec() } else { [path, b"/".as_slice(), name].concat() };
        let found = describe(dir.as_fd(), name);
        if found["kind"] == "directory" {
            walk(&open(dir.as_fd(), name, OFlags::DIRECTORY), &below, listing);
        }
        listing.insert(hex::encode(below), found);
    }
}

fn describe(dir: BorrowedFd<'_>, name: &[u8]) -> Map<String, Value> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, wanted).unwrap();
    let kind = FileType::from_raw_mode(stat.stx_mode.into());
    let has_btime = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    let mut entry = json!({
        "kind": kind_name(kind),
        "mode": stat.stx_mode & 0o7777,
        "uid": stat.stx_uid,
        "gid": stat.stx_gid,
        "mtime": time(&stat.stx_mtime),
        "ctime": time(&stat.stx_ctime),
        "btime": has_btime.then(|| time(&stat.stx_btime)),
        "inode": stat.stx_ino,
        "links": if kind == FileType::Directory { 1 } else { stat.stx_nlink },
        "xattrs": xattrs(dir, name),
    });
    let fields = entry.as_object_mut().unwrap();
    match kind {
        FileType::RegularFile => fields.extend(content(dir, name, &stat)),
        FileType::Symlink => {
            let target = readlinkat(dir, name, Vec::new()).unwrap();
            fields.insert("target".into(), hex::encode(target.to_bytes()).into());
        }
        FileType::CharacterDevice | FileType::BlockDevice => {
            fields.insert("device".into(), json!([stat.stx_rdev_major, stat.stx_rdev_minor]));
        }
        _ => {}
    }
    std::mem::take(fields)
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "char_device",
        FileType::BlockDevice => "block_device",
        FileType::Unknown => panic!("an entry of an unknown kind"),
    }
}

fn time(time: &StatxTimestamp) -> Value {
    json!([time.tv_sec, time.tv_nsec])
}

fn xattrs(dir: BorrowedFd<'_>, name: &[u8]) -> Value {
    let path = [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name].concat();
    let mut names = vec![0; 64 << 10];
    let len = match llistxattr(path.as_slice(), &mut names) {
        Err(Errno::OPNOTSUPP) => 0,
        result => result.unwrap(),
    };
    let mut found = BTreeMap::new();
    for name in names[..len].split(|&b| b == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        let len = lgetxattr(path.as_slice(), name, &mut value).unwrap();
        found.insert(name.to_vec(), hex::encode(&value[..len]));
    }
    found.into_iter().map(|(name, value)| json!([hex::encode(name), value])).collect()
}

/// Size, runs of data, and hashes of the data and of all content.
fn content(dir: BorrowedFd<'_>, name: &[u8], stat: &Statx) -> Map<String, Value> {
    let fd = open(dir, name, OFlags::NONBLOCK);
    let size = stat.stx_size;
    let runs = runs(&fd, size);
    let data_len: u64 = runs.iter().map(|(_, len)| len).sum();
    let with_holes = size - data_len <= HASHED_HOLES_MAX;
    let (mut data, mut whole) = (blake3::Hasher::new(), blake3::Hasher::new());
    let mut at = 0;
    for &(start, len) in &runs {
        if with_holes {
            whole.update(&vec![0; (start - at) as usize]);
        }
        at = start;
        while at < start + len {
            let mut buffer = vec![0; (start + len - at).min(1 << 20) as usize];
            let count = pread(&fd, &mut buffer, at).unwrap();
            assert!(count > 0, "{} ends early", name.escape_ascii());
            data.update(&buffer[..count]);
            whole.update(&buffer[..count]);
            at += count as u64;
        }
    }
    if with_holes {
        whole.update(&vec![0; (size - at) as usize]);
    }
    let runs: Vec<Value> = runs.iter().map(|&(start, len)| json!([start, len])).collect();
    let fields = json!({
        "size": size,
        "data": data_len,
        "runs": runs,
        "data_blake3": data.finalize().to_string(),
        "blake3": with_holes.then(|| whole.finalize().to_string()),
    });
    fields.as_object().unwrap().clone()
}

/// Start and length of each run of data; a short file is one run, since it is stored inline.
fn runs(fd: &OwnedFd, size: u64) -> Vec<(u64, u64)> {
    const INLINE_MAX: u64 = 512;
    if size <= INLINE_MAX {
        return if size == 0 { Vec::new() } else { vec![(0, size)] };
    }
    let mut runs = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match seek(fd, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            result => result.unwrap(),
        };
        at = seek(fd, SeekFrom::Hole(start)).unwrap().min(size);
        runs.push((start, at - start));
    }
    runs
}
