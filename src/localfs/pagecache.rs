//! Reading large files without washing out the page cache of the machine.
//!
//! What a backup reads once it does not need again, and keeping it would push out what others work
//! with. So what was read is dropped, but only where nothing of it was cached before: a database's
//! working set stays, which a drop of all that was read would take away.
//!
//! What is cached is asked of `cachestat(2)` (Linux 6.5), a MiB at a time and ahead of where the
//! kernel's own read-ahead can have come: one call per MiB, where `mincore(2)` needs a mapping and a
//! byte per page, and `preadv2(RWF_NOWAIT)` a call per page. Where the kernel has no such call or
//! refuses it (an older one; a file of another owner, without privileges), nothing is dropped. A
//! MiB of which any page was cached is kept: that may keep what only this reader wanted, never the
//! reverse.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

use super::SourceFile;

/// Files of up to this many bytes are read as they are: two calls per file would cost more than
/// what they leave in the cache.
const GUARDED_MIN: u64 = 1 << 20;
/// Bytes that are kept or dropped as one.
const GRANULE: u64 = 1 << 20;
/// How far ahead of a read is looked: beyond the kernel's read-ahead, whose pages would pass for
/// somebody else's. It is 128 KiB by default; 8 MiB was met, which sequential reading doubles.
const AHEAD: u64 = 64 << 20;
/// Bytes that are dropped with one call.
const DROP_LEN: u64 = 8 << 20;

/// A file whose pages are dropped once they were read; in ascending order, but for second looks.
#[derive(Debug)]
pub struct GuardedFile<'f> {
    source: &'f SourceFile,
    watch: Option<Watch>,
}

/// What is known of the cache.
#[derive(Debug, Default)]
struct Watch {
    /// Until where was looked.
    until: u64,
    /// Starts of granules of which nothing was cached, ascending.
    uncached: VecDeque<u64>,
    /// Granules that were read and are to be dropped.
    done: Range<u64>,
}

impl<'f> GuardedFile<'f> {
    /// Of a file of which nothing was read yet.
    #[must_use]
    pub fn new(source: &'f SourceFile) -> Self {
        let watch = (source.found().size > GUARDED_MIN).then(Watch::default);
        Self { source, watch }
    }

    /// A range of the file as a stream; it ends early where the file does.
    pub fn range(&mut self, range: Range<u64>) -> RangeReader<'_, 'f> {
        RangeReader { file: self, range }
    }

    /// As [`SourceFile::read_at`].
    ///
    /// # Errors
    /// The medium's.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.look(offset, buffer.len() as u64);
        let count = self.source.read_at(offset, buffer)?;
        self.release(offset + count as u64);
        Ok(count)
    }

    /// Asks what is cached around a read that is about to be made.
    fn look(&mut self, offset: u64, len: u64) {
        let Some(watch) = &mut self.watch else { return };
        let size = self.source.found().size;
        let end = offset.saturating_add(len).saturating_add(AHEAD).min(size);
        let mut at = watch.until.max(offset - offset % GRANULE);
        while at < end {
            match cached_pages(self.source, at, GRANULE) {
                Some(0) => watch.uncached.push_back(at),
                Some(_) => {}
                None => {
                    self.watch = None;
                    return;
                }
            }
            at += GRANULE;
        }
        watch.until = at;
    }

    /// Drops what was read up to `end` and was not cached before.
    fn release(&mut self, end: u64) {
        let Some(watch) = &mut self.watch else { return };
        let size = self.source.found().size;
        let read = |start: u64| start + GRANULE <= end || end >= size;
        while let Some(start) = watch.uncached.pop_front_if(|start| read(*start)) {
            if start != watch.done.end {
                watch.drop_done(self.source);
                watch.done.start = start;
            }
            watch.done.end = start + GRANULE;
            if watch.done.end - watch.done.start >= DROP_LEN {
                watch.drop_done(self.source);
                // Once more with the next: what the kernel keeps in large pieces is dropped only
                // where the whole piece is in the range.
                watch.done.start = start;
            }
        }
    }
}

impl Watch {
    fn drop_done(&self, source: &SourceFile) {
        source.advise_done(self.done.clone());
    }
}

impl Drop for GuardedFile<'_> {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.drop_done(self.source);
        }
    }
}

/// A range of a file as a stream.
#[derive(Debug)]
pub struct RangeReader<'g, 'f> {
    file: &'g mut GuardedFile<'f>,
    range: Range<u64>,
}

impl Read for RangeReader<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.range.end.saturating_sub(self.range.start).min(buf.len() as u64) as usize;
        let Some(part) = buf.get_mut(..count).filter(|part| !part.is_empty()) else {
            return Ok(0);
        };
        let count = self.file.read_at(self.range.start, part)?;
        self.range.start += count as u64;
        Ok(count)
    }
}

/// The kernel's `struct cachestat_range`.
#[repr(C)]
struct CachestatRange {
    offset: u64,
    len: u64,
}

/// The kernel's `struct cachestat`, in pages.
#[repr(C)]
#[derive(Default)]
struct Cachestat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Its number on every architecture that Rust knows.
const SYS_CACHESTAT: libc::c_long = 451;

/// How many pages of a range are cached; `None` where the kernel does not say.
fn cached_pages(file: impl AsFd, offset: u64, len: u64) -> Option<u64> {
    let range = CachestatRange { offset, len };
    let mut stat = Cachestat::default();
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the kernel reads one `cachestat_range` and writes one `cachestat`, both of which live
    // until the call returns and have the kernel's layout; a kernel without the call writes nothing.
    #[expect(unsafe_code)]
    let result = unsafe {
        libc::syscall(SYS_CACHESTAT, fd, &raw const range, &raw mut stat, libc::c_uint::MIN)
    };
    (result == 0).then_some(stat.cached)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::localfs::Dir;
    use std::fs::{self, File};
    use std::io::Write;
    use std::path::Path;

    const MIB: u64 = 1 << 20;

    /// A file on the disk of the build, of which nothing is cached.
    fn uncached(folder: &Path, len: u64) -> SourceFile {
        let mut file = File::create(folder.join("file")).unwrap();
        file.write_all(&vec![7; len as usize]).unwrap();
        file.sync_all().unwrap();
        let source = SourceFile::open(&Dir::open(folder).unwrap(), b"file").unwrap();
        source.advise_done(0..len);
        source
    }

    fn folder() -> tempfile::TempDir {
        // /tmp may be a tmpfs, whose pages are the file.
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp");
        fs::create_dir_all(&base).unwrap();
        tempfile::tempdir_in(base).unwrap()
    }

    fn read_all(source: &SourceFile, piece: usize) -> u64 {
        let mut guarded = GuardedFile::new(source);
        let mut reader = guarded.range(0..source.found().size);
        let (mut buffer, mut total) = (vec![0; piece], 0);
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => return total,
                count => total += count as u64,
            }
        }
    }

    #[test]
    fn what_was_not_cached_is_dropped_and_what_was_is_kept() {
        let folder = folder();
        let len = 100 * MIB + 5000;
        let source = uncached(folder.path(), len);
        // Without the call nothing may be dropped; there is nothing else to look at then.
        let Some(before) = cached_pages(&source, 0, len) else { return };
        assert_eq!(before, 0, "the file system does not drop pages");
        source.read_at(9 * MIB, &mut vec![0; MIB as usize]).unwrap();
        let kept = cached_pages(&source, 9 * MIB, MIB).unwrap();
        assert_eq!(kept, MIB / rustix::param::page_size() as u64);
        for piece in [4 << 20, 100_000] {
            assert_eq!(read_all(&source, piece), len);
            assert_eq!(cached_pages(&source, 9 * MIB, MIB), Some(kept));
            assert_eq!(cached_pages(&source, 0, 8 * MIB), Some(0));
            assert_eq!(cached_pages(&source, 40 * MIB, len), Some(0));
        }
    }

    #[test]
    fn small_files_are_left_alone() {
        let folder = folder();
        let source = uncached(folder.path(), MIB);
        assert_eq!(read_all(&source, 65_536), MIB);
        assert!(cached_pages(&source, 0, MIB).is_none_or(|pages| pages > 0));
    }
}
