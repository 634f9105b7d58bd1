//! The content of one regular file, read while others may write to it.
//!
//! A name that was a regular file a moment ago may now be a pipe or a device. So a file is opened
//! without blocking and without following links, and then must *be* a regular file; else nothing
//! is read. Nothing stops writers meanwhile: who ends reading asks [`SourceFile::changed_since`].

use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Advice, CWD, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::dir::{checked, open_quietly, proc_path};
use super::error::{At, LocalError};
use super::{Dir, Found, inspect_fd};
use crate::format::Kind;

/// Files of up to this many bytes, all allocated, are not asked for holes: two calls each would add
/// up. Larger ones may be preallocated and hardly written.
const UNASKED_MAX: u64 = 1 << 20;

/// A regular file opened for reading.
#[derive(Debug)]
pub struct SourceFile {
    fd: OwnedFd,
    found: Found,
}

impl SourceFile {
    /// Opens the regular file `name` of `dir`, where allowed without touching its access time.
    ///
    /// # Errors
    /// Where there is none or it may not be read; where it is of another kind by now
    /// ([`LocalError::is_other_kind`]).
    pub fn open(dir: &Dir, name: &[u8]) -> Result<Self, LocalError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = checked(name)
            .and_then(|name| match open_quietly(dir, name, flags | OFlags::NOCTTY) {
                Err(Errno::AGAIN) => open_leased(dir, name),
                opened => opened,
            })
            .at("open", name)?;
        let found = inspect_fd(&fd).map_err(|err| LocalError::new("inspect", name, err.source))?;
        match found.kind {
            Kind::File => Ok(Self { fd, found }),
            Kind::Directory => Err(LocalError::new("read", name, Errno::ISDIR)),
            _ => Err(LocalError::new("read", name, Errno::NXIO)),
        }
    }

    /// The same file as it is now, to be read once more.
    ///
    /// # Errors
    /// Only where the file system fails.
    pub fn again(self) -> Result<Self, LocalError> {
        let found = inspect_fd(&self.fd)?;
        Ok(Self { found, ..self })
    }

    /// What it was when it was opened.
    #[must_use]
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// The ranges outside holes, in file order, within the size at opening.
    ///
    /// Where as much is allocated as the file is long, and that is up to 1 MiB, it counts as one
    /// range and nothing is asked. A hole can be missed so where the file also has space beyond its
    /// end or blocks for its metadata; it is then read as the zeroes it stands for. One range, too,
    /// where the file system cannot tell holes.
    #[must_use]
    pub fn data_ranges(&self) -> DataRanges<'_> {
        let allocated = self.found.blocks_512.saturating_mul(512) >= self.found.size;
        let full = allocated && self.found.size <= UNASKED_MAX;
        DataRanges { file: self, at: 0, whole: full }
    }

    /// Reads at `offset` until `buffer` is full or the file ends; the position of the descriptor
    /// is not used. Short only at the end of the file.
    ///
    /// # Errors
    /// The medium's.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pread(&self.fd, rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(filled)
    }

    /// Tells the kernel that the file is read from start to end: it reads further ahead.
    pub fn advise_sequential(&self) {
        // Advice only: where it is refused nothing is lost.
        let _ = rustix::fs::fadvise(&self.fd, 0, None, Advice::Sequential);
    }

    /// Tells the kernel that this range will not be needed again: a backup of everything must not
    /// push everything else out of the page cache.
    pub fn advise_done(&self, range: Range<u64>) {
        let length = range.end.saturating_sub(range.start);
        if let Some(length) = NonZeroU64::new(length) {
            let _ = rustix::fs::fadvise(&self.fd, range.start, Some(length), Advice::DontNeed);
        }
    }

    /// Whether the file is another or in another state than `before`, by inode, size, mtime and
    /// ctime. What was read may then be torn.
    ///
    /// # Errors
    /// Where the file system fails.
    pub fn changed_since(&self, before: &Found) -> std::io::Result<bool> {
        let now = inspect_fd(&self.fd).map_err(|err| err.source)?;
        Ok(!before.unchanged(&now))
    }
}

/// Opens a file on which someone holds a lease (Samba's oplocks, say): opening it must wait until
/// the holder gave it back. Waiting is safe only for a regular file, so its inode is pinned first.
fn open_leased(dir: &Dir, name: &[u8]) -> Result<OwnedFd, Errno> {
    let pin = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let pinned = rustix::fs::openat(dir, name, pin, Mode::empty())?;
    if !inspect_fd(&pinned).is_ok_and(|found| found.kind == Kind::File) {
        return Err(Errno::NXIO);
    }
    open_quietly(CWD, &proc_path(&pinned, None), OFlags::RDONLY | OFlags::CLOEXEC)
}

impl AsFd for SourceFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Iterator over a file's ranges of data; see [`SourceFile::data_ranges`].
#[derive(Debug)]
pub struct DataRanges<'a> {
    file: &'a SourceFile,
    at: u64,
    whole: bool,
}

impl DataRanges<'_> {
    /// The next range from `self.at` on. Each seek goes forward or ends the search, whatever
    /// writers do meanwhile.
    fn range_at(&self) -> Result<Option<Range<u64>>, Errno> {
        let size = self.file.found.size;
        if self.whole {
            return Ok(Some(self.at..size));
        }
        let start = match rustix::fs::seek(&self.file.fd, SeekFrom::Data(self.at)) {
            Ok(start) => start.max(self.at),
            Err(Errno::NXIO) => return Ok(None),
            Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => return Ok(Some(self.at..size)),
            Err(errno) => return Err(errno),
        };
        if start >= size {
            return Ok(None);
        }
        let end = match rustix::fs::seek(&self.file.fd, SeekFrom::Hole(start)) {
            Ok(end) if end > start => end.min(size),
            Ok(_) | Err(Errno::NXIO) => size,
            Err(errno) => return Err(errno),
        };
        Ok(Some(start..end))
    }
}

impl Iterator for DataRanges<'_> {
    type Item = std::io::Result<Range<u64>>;

    fn next(&mut self) -> Option<Self::Item> {
        let size = self.file.found.size;
        if self.at >= size {
            return None;
        }
        match self.range_at() {
            Ok(range) => {
                self.at = range.as_ref().map_or(size, |range| range.end);
                range.map(Ok)
            }
            Err(errno) => {
                self.at = size;
                Some(Err(errno.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    fn ranges(dir: &Dir, name: &[u8]) -> Vec<Range<u64>> {
        let file = SourceFile::open(dir, name).unwrap();
        file.data_ranges().map(Result::unwrap).collect()
    }

    #[test]
    fn holes_are_left_out_and_data_is_whole() {
        const MIB: u64 = 1 << 20;
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let file = File::create(temp.path().join("sparse")).unwrap();
        file.write_all_at(&[1; 4096], 3 * MIB).unwrap();
        file.write_all_at(&[2; 10], 5 * MIB).unwrap();
        file.set_len(9 * MIB).unwrap();
        let found = ranges(&dir, b"sparse");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains(&(3 * MIB)) && found[0].contains(&(3 * MIB + 4095)));
        assert!(found[1].contains(&(5 * MIB + 9)));
        assert!(found.iter().map(|range| range.end - range.start).sum::<u64>() < MIB);

        File::create(temp.path().join("hole")).unwrap().set_len(MIB).unwrap();
        assert_eq!(ranges(&dir, b"hole"), []);
        fs::write(temp.path().join("full"), vec![3; 100_000]).unwrap();
        assert!(ranges(&dir, b"full").into_iter().eq(std::iter::once(0..100_000)));
        fs::write(temp.path().join("empty"), b"").unwrap();
        assert_eq!(ranges(&dir, b"empty"), []);
    }

    #[test]
    fn reads_are_short_only_at_the_end() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        fs::write(temp.path().join("file"), b"0123456789").unwrap();
        let file = SourceFile::open(&dir, b"file").unwrap();
        file.advise_sequential();
        let mut buffer = [0; 8];
        assert_eq!(file.read_at(0, &mut buffer).unwrap(), 8);
        assert_eq!(file.read_at(6, &mut buffer).unwrap(), 4);
        assert_eq!(&buffer[..4], b"6789");
        assert_eq!(file.read_at(10, &mut buffer).unwrap(), 0);
        file.advise_done(0..10);
        let leased = File::from(open_leased(&dir, b"file").unwrap());
        assert_eq!(std::io::read_to_string(leased).unwrap(), "0123456789");
    }

    #[test]
    fn writing_meanwhile_is_noticed() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        fs::write(temp.path().join("file"), b"before").unwrap();
        let file = SourceFile::open(&dir, b"file").unwrap();
        let before = *file.found();
        assert!(!file.changed_since(&before).unwrap());
        let mut writer = File::options().append(true).open(temp.path().join("file")).unwrap();
        writer.write_all(b" and after").unwrap();
        assert!(file.changed_since(&before).unwrap());
    }

    #[test]
    fn what_became_another_kind_is_refused_without_blocking() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        rustix::fs::mkfifoat(&dir, c"fifo", Mode::RWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(temp.path().join("socket")).unwrap();
        fs::create_dir(temp.path().join("dir")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", temp.path().join("link")).unwrap();
        for name in [b"fifo".as_slice(), b"socket", b"dir", b"link"] {
            assert!(SourceFile::open(&dir, name).unwrap_err().is_other_kind(), "{name:?}");
            assert!(open_leased(&dir, name).is_err());
        }
        assert!(SourceFile::open(&dir, b"none").unwrap_err().is_not_found());
    }
}
