//! Compares two trees entry by entry: everything a backup has to give back.
//!
//! It shares no code with icecore, and works relative to directory descriptors, so that paths may
//! be longer than `PATH_MAX`. Content is compared over the data of both sides, so that a sparse file
//! of 1 TiB costs what its data costs; the ranges that are a hole on both sides are equal by
//! definition.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{CStr, CString, OsString};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, SeekFrom, Stat, lgetxattr, llistxattr, openat,
    readlinkat, seek, statat,
};
use rustix::io::{Errno, pread};

use super::torture::{is_partly_unwritten, through_proc};

/// Holes are compared in units of this size; file systems cannot tell smaller ones.
const HOLE_GRANULARITY: u64 = 4096;
const BUFFER_BYTES: usize = 1 << 20;

/// What to compare. The default is everything that any file system can hold.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// Modification times of all entries.
    pub mtime: bool,
    /// The modification time of the two roots themselves (a mount point may have its own).
    pub top_mtime: bool,
    /// uid and gid; a copy made without root does not keep them.
    pub ownership: bool,
    /// Extended attributes, ACLs and capabilities included.
    pub xattrs: bool,
    /// Extended attributes of symlinks; `cp -a` leaves them behind.
    pub symlink_xattrs: bool,
    /// Names of attributes that may be on one side only, by prefix.
    pub xattrs_ignored: Vec<Vec<u8>>,
    /// The number of links of files, and which names share an inode.
    pub hard_links: bool,
    /// That holes are where they were, to 4 KiB, but for what was never written.
    pub holes: bool,
    /// How many bytes more the second file may take on disk (`st_blocks`) than the first.
    pub excess_bytes_max: Option<u64>,
    /// Stop after this many differences.
    pub differences_max: usize,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            mtime: true,
            top_mtime: true,
            ownership: true,
            xattrs: true,
            symlink_xattrs: true,
            xattrs_ignored: Vec::new(),
            hard_links: true,
            holes: true,
            excess_bytes_max: None,
            differences_max: 100,
        }
    }
}

/// What differs between two entries of the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// The path is on one side only.
    Presence,
    /// Regular, directory, symlink and so on.
    Kind,
    /// The twelve bits.
    Mode,
    /// uid or gid.
    Owner,
    /// Of a regular file, in bytes.
    Size,
    /// To the nanosecond.
    Mtime,
    /// Of a symlink.
    Target,
    /// Of a device.
    Device,
    /// The number of links.
    LinkCount,
    /// Which other paths are the same inode.
    LinkGroup,
    /// The set of extended attributes, or a value.
    Xattr,
    /// Bytes.
    Content,
    /// Where holes are.
    Holes,
    /// Space on disk.
    Blocks,
    /// One side could not be read.
    Unreadable,
}

/// One difference. The first tree is the original, the second the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Relative to the roots; empty for the roots themselves.
    pub path: PathBuf,
    /// What differs.
    pub aspect: Aspect,
    /// Both values, in words.
    pub detail: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.as_os_str().as_bytes().escape_ascii();
        write!(f, "{path}: {:?}: {}", self.aspect, self.detail)
    }
}

/// Compares `copy` with `original`. Empty means that nothing differs.
///
/// # Panics
/// Where one of the two roots cannot be opened.
pub fn compare(original: &Path, copy: &Path, options: &CompareOptions) -> Vec<Difference> {
    let open = |path: &Path| {
        openat(CWD, path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .unwrap_or_else(|e| panic!("open {}: {e}", path.display()))
    };
    let roots = [open(original), open(copy)];
    let mut comparison = Comparison::new(options);
    comparison.entry([roots[0].as_fd(), roots[1].as_fd()], c".");
    comparison.differences
}

/// Asserts that nothing differs, and prints the differences where something does.
///
/// # Panics
/// Where something differs.
#[track_caller]
pub fn assert_same(original: &Path, copy: &Path, options: &CompareOptions) {
    let differences = compare(original, copy, options);
    let lines: Vec<String> = differences.iter().map(|d| format!("  {d}")).collect();
    assert!(
        differences.is_empty(),
        "{} and {} differ ({} shown, at most {}):\n{}",
        original.display(),
        copy.display(),
        differences.len(),
        options.differences_max,
        lines.join("\n")
    );
}

type Pair<T> = [T; 2];
type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

struct Comparison<'a> {
    options: &'a CompareOptions,
    differences: Vec<Difference>,
    path: Vec<u8>,
    /// The first path met of each inode with several names, per side.
    first_names: Pair<HashMap<(u64, u64), Vec<u8>>>,
    buffers: Pair<Vec<u8>>,
}

impl<'a> Comparison<'a> {
    fn new(options: &'a CompareOptions) -> Self {
        Self {
            options,
            differences: Vec::new(),
            path: Vec::new(),
            first_names: Default::default(),
            buffers: [vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]],
        }
    }

    fn full(&self) -> bool {
        self.differences.len() >= self.options.differences_max
    }

    fn differs(&mut self, aspect: Aspect, detail: impl Into<String>) {
        if !self.full() {
            let path = PathBuf::from(OsString::from_vec(self.path.clone()));
            self.differences.push(Difference { path, aspect, detail: detail.into() });
        }
    }

    fn check<T: PartialEq + fmt::Debug>(&mut self, aspect: Aspect, values: Pair<T>) {
        if values[0] != values[1] {
            self.differs(aspect, format!("{:?} became {:?}", values[0], values[1]));
        }
    }

    fn read<T>(&mut self, what: &str, results: Pair<Result<T, Errno>>) -> Option<Pair<T>> {
        match results {
            [Ok(a), Ok(b)] => Some([a, b]),
            [a, b] => {
                let text = |r: &Result<T, Errno>| match r {
                    Ok(_) => "fine".to_owned(),
                    Err(errno) => errno.to_string(),
                };
                let detail = format!("{what}: original: {}, copy: {}", text(&a), text(&b));
                self.differs(Aspect::Unreadable, detail);
                None
            }
        }
    }

    /// Compares the entry `name` of two directories, and what lies below it.
    fn entry(&mut self, parents: Pair<BorrowedFd<'_>>, name: &CStr) {
        let stats = parents.map(|dir| statat(dir, name, AtFlags::SYMLINK_NOFOLLOW));
        let Some(stats) = self.read("stat", stats) else { return };
        let kinds = stats.each_ref().map(|stat| FileType::from_raw_mode(stat.st_mode));
        self.check(Aspect::Kind, kinds);
        if kinds[0] != kinds[1] {
            return;
        }
        let kind = kinds[0];
        self.metadata(&stats, kind);
        if self.options.xattrs && (kind != FileType::Symlink || self.options.symlink_xattrs) {
            self.xattrs(parents, name);
        }
        match kind {
            FileType::Directory => {
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = parents.map(|dir| openat(dir, name, flags, Mode::empty()));
                if let Some(opened) = self.read("open", opened) {
                    self.children(opened.each_ref().map(AsFd::as_fd));
                }
            }
            FileType::Symlink => {
                let targets = parents.map(|dir| readlinkat(dir, name, Vec::new()));
                if let Some(targets) = self.read("readlink", targets) {
                    self.check(Aspect::Target, targets);
                }
            }
            FileType::RegularFile if stats[0].st_size == stats[1].st_size => {
                let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let opened = parents.map(|dir| openat(dir, name, flags, Mode::empty()));
                if let Some(opened) = self.read("open", opened) {
                    self.content(&opened, stats[0].st_size.unsigned_abs());
                }
            }
            _ => {}
        }
    }

    fn metadata(&mut self, stats: &Pair<Stat>, kind: FileType) {
        let each = |value: fn(&Stat) -> u64| stats.each_ref().map(value);
        self.check(Aspect::Mode, stats.each_ref().map(|s| format!("{:04o}", s.st_mode & 0o7777)));
        if self.options.ownership {
            self.check(Aspect::Owner, stats.each_ref().map(|s| (s.st_uid, s.st_gid)));
        }
        if self.options.mtime && (!self.path.is_empty() || self.options.top_mtime) {
            self.check(Aspect::Mtime, stats.each_ref().map(|s| (s.st_mtime, s.st_mtime_nsec)));
        }
        if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
            let device = |s: &Stat| (rustix::fs::major(s.st_rdev), rustix::fs::minor(s.st_rdev));
            self.check(Aspect::Device, stats.each_ref().map(device));
        }
        if kind == FileType::RegularFile {
            self.check(Aspect::Size, each(|s| s.st_size.unsigned_abs()));
            let bytes = each(|s| u64::try_from(s.st_blocks).unwrap_or(u64::MAX) * 512);
            if self.options.excess_bytes_max.is_some_and(|max| bytes[1] > bytes[0] + max) {
                let detail = format!("{} bytes on disk became {}", bytes[0], bytes[1]);
                self.differs(Aspect::Blocks, detail);
            }
        }
        if self.options.hard_links && kind != FileType::Directory {
            self.check(Aspect::LinkCount, stats.each_ref().map(|s| s.st_nlink));
            let first = [0, 1].map(|side| self.first_name(side, &stats[side]));
            self.check(Aspect::LinkGroup, first.map(|p| p.escape_ascii().to_string()));
        }
    }

    /// The path under which this inode was met first. Names are met in the same order on both
    /// sides, so equal partitions of the names give equal answers.
    fn first_name(&mut self, side: usize, stat: &Stat) -> Vec<u8> {
        if stat.st_nlink < 2 {
            return self.path.clone();
        }
        let inode = (stat.st_dev, stat.st_ino);
        self.first_names[side].entry(inode).or_insert_with(|| self.path.clone()).clone()
    }

    fn children(&mut self, dirs: Pair<BorrowedFd<'_>>) {
        let Some([left, right]) = self.read("list", dirs.map(names_in)) else { return };
        for name in left.union(&right) {
            if self.full() {
                return;
            }
            let len = self.path.len();
            if len > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name.to_bytes());
            match (left.contains(name), right.contains(name)) {
                (true, true) => self.entry(dirs, name),
                (true, false) => self.differs(Aspect::Presence, "is missing in the copy"),
                _ => self.differs(Aspect::Presence, "is only in the copy"),
            }
            self.path.truncate(len);
        }
    }

    fn xattrs(&mut self, parents: Pair<BorrowedFd<'_>>, name: &CStr) {
        let all = parents.map(|dir| xattrs_of(&through_proc(dir, name.to_bytes())));
        let Some([mut left, mut right]) = self.read("xattrs", all) else { return };
        let ignored = &self.options.xattrs_ignored;
        let counts = |key: &Vec<u8>| !ignored.iter().any(|prefix| key.starts_with(prefix));
        left.retain(|key, _| counts(key));
        right.retain(|key, _| counts(key));
        let keys: BTreeSet<&Vec<u8>> = left.keys().chain(right.keys()).collect();
        for key in keys {
            let values = [left.get(key), right.get(key)];
            if values[0] != values[1] {
                let [a, b] = values.map(|value| match value {
                    Some(bytes) if bytes.len() <= 80 => format!("\"{}\"", bytes.escape_ascii()),
                    Some(bytes) => format!("{} bytes, {}", bytes.len(), blake3::hash(bytes)),
                    None => "absent".to_owned(),
                });
                self.differs(Aspect::Xattr, format!("{}: {a} became {b}", key.escape_ascii()));
            }
        }
    }

    fn content(&mut self, files: &Pair<OwnedFd>, size: u64) {
        let ranges = files.each_ref().map(|file| data_ranges(file, size));
        let Some(ranges) = self.read("seek", ranges) else { return };
        if self.options.holes && !is_partly_unwritten(&self.path) {
            let coarse = ranges.each_ref().map(|r| union(&whole_units(r)));
            self.check(Aspect::Holes, coarse);
        }
        for (start, end) in union(&ranges.concat()) {
            if !self.same_bytes(files, start, end) {
                return;
            }
        }
    }

    fn same_bytes(&mut self, files: &Pair<OwnedFd>, start: u64, end: u64) -> bool {
        let mut offset = start;
        while offset < end {
            let len = BUFFER_BYTES.min(usize::try_from(end - offset).unwrap_or(BUFFER_BYTES));
            let mut buffers = std::mem::take(&mut self.buffers);
            let [left, right] = &mut buffers;
            let results = [
                read_exact_at(&files[0], &mut left[..len], offset),
                read_exact_at(&files[1], &mut right[..len], offset),
            ];
            let same = left[..len] == right[..len];
            let first = || left.iter().zip(right.iter()).position(|(a, b)| a != b);
            let first = if same { None } else { first() };
            self.buffers = buffers;
            if self.read(&format!("read at {offset}"), results).is_none() {
                return false;
            }
            if let Some(at) = first {
                let [a, b] = self.buffers.each_ref().map(|buffer| buffer[at]);
                let at = offset + at as u64;
                self.differs(Aspect::Content, format!("byte {at}: {a:#04x} became {b:#04x}"));
                return false;
            }
            offset += len as u64;
        }
        true
    }
}

fn names_in(dir: BorrowedFd<'_>) -> Result<BTreeSet<CString>, Errno> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.insert(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn xattrs_of(path: &[u8]) -> Result<Xattrs, Errno> {
    let mut buffer = vec![0_u8; 128 << 10];
    let len = match llistxattr(path, buffer.as_mut_slice()) {
        Err(Errno::OPNOTSUPP) => 0,
        other => other?,
    };
    let names: Vec<Vec<u8>> =
        buffer[..len].split(|b| *b == 0).filter(|n| !n.is_empty()).map(<[u8]>::to_vec).collect();
    let mut all = Xattrs::new();
    for name in names {
        let len = lgetxattr(path, name.as_slice(), buffer.as_mut_slice())?;
        all.insert(name, buffer[..len].to_vec());
    }
    Ok(all)
}

/// Where a file has data, as [start, end). All of it where the file system cannot tell.
fn data_ranges(file: &OwnedFd, size: u64) -> Result<Vec<(u64, u64)>, Errno> {
    let mut ranges = Vec::new();
    let mut offset = 0;
    while offset < size {
        let start = match seek(file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(vec![(0, size)]),
            Err(errno) => return Err(errno),
        };
        let end = seek(file, SeekFrom::Hole(start))?.min(size);
        if end <= start {
            break;
        }
        ranges.push((start, end));
        offset = end;
    }
    Ok(ranges)
}

fn whole_units(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let down = |offset: u64| offset / HOLE_GRANULARITY * HOLE_GRANULARITY;
    ranges
        .iter()
        .map(|(start, end)| (down(*start), end.next_multiple_of(HOLE_GRANULARITY)))
        .collect()
}

/// The ranges sorted, and merged where they touch.
fn union(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (start, end) in sorted {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

fn read_exact_at(file: &OwnedFd, mut buffer: &mut [u8], mut offset: u64) -> Result<(), Errno> {
    while !buffer.is_empty() {
        match pread(file, &mut *buffer, offset)? {
            // Shorter than its size says.
            0 => return Err(Errno::NODATA),
            len => {
                buffer = &mut buffer[len..];
                offset += len as u64;
            }
        }
    }
    Ok(())
}
