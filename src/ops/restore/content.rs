//! Content of one file, part by part: written, compared, or mended where it differs.
//!
//! What is on the target is compared with the chunks' ids, so an unchanged part is never read from
//! the repository. Holes are never written: a new file has its size set first, so what is left out
//! is a hole; in an old file, data that stands in a hole's place is punched out unless it is zero.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::format::{Content, Extent, File, PackKind};
use crate::localfs::{SourceFile, TargetFile};
use crate::repo::RepoError;

use super::failure::Failure;
use super::{Run, SIZES};

/// A file of the target, opened for what is to be done with its content.
#[derive(Debug)]
pub(super) enum Opened {
    /// New: everything is written.
    Fill(TargetFile),
    /// Old: what differs is written.
    Mend(TargetFile),
    /// What differs is an error.
    Compare(SourceFile),
}

impl Opened {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = match self {
            Self::Fill(file) | Self::Mend(file) => file.file(),
            Self::Compare(file) => return file.read_at(offset, buffer),
        };
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Ok(filled)
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Fill(file) | Self::Mend(file) => file.as_fd(),
            Self::Compare(file) => file.as_fd(),
        }
    }

    /// The file, where it may be written.
    pub(super) const fn target(&self) -> Option<&TargetFile> {
        match self {
            Self::Fill(file) | Self::Mend(file) => Some(file),
            Self::Compare(_) => None,
        }
    }
}

/// Some bytes of a file's content on their way to the target.
struct Part<'a> {
    run: &'a Run<'a>,
    file: &'a File,
    opened: &'a Opened,
    buffer: Vec<u8>,
    written: u64,
}

impl Run<'_> {
    /// Writes or compares a range of a file, which must begin and end where extents do. The bytes
    /// that were written.
    pub(super) fn content(
        &self,
        file: &File,
        opened: &Opened,
        range: Range<u64>,
    ) -> Result<u64, Failure> {
        let mut part = Part { run: self, file, opened, buffer: Vec::new(), written: 0 };
        match &file.content {
            Content::Inline(bytes) => part.inline(bytes)?,
            Content::Extents { .. } => part.extents(range)?,
        }
        Ok(part.written)
    }
}

impl Part<'_> {
    fn inline(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.run.progress.done(0, bytes.len() as u64);
        if !matches!(self.opened, Opened::Fill(_)) && self.read(0, bytes.len())? == bytes {
            return Ok(());
        }
        self.write(0, bytes)
    }

    fn extents(&mut self, range: Range<u64>) -> Result<(), Failure> {
        let mut at = range.start;
        while at < range.end {
            if self.run.stopped() {
                return Err(Failure::Stopped);
            }
            let placed = self.run.repo.extent_at(self.file, at)?.ok_or(Failure::Listed(at))?;
            let (from, len) = (placed.offset, placed.extent.len);
            if placed.extent.is_hole() {
                self.hole(from..from + len)?;
            } else {
                self.chunk(from, &placed.extent)?;
                self.run.progress.done(0, len);
            }
            at = from + len;
        }
        Ok(())
    }

    fn chunk(&mut self, offset: u64, extent: &Extent) -> Result<(), Failure> {
        if !matches!(self.opened, Opened::Fill(_)) {
            let vault = self.run.repo.vault();
            // A level-0 extent is at most one chunk long: checked when it was decoded.
            if vault.id(PackKind::Data, self.read(offset, extent.len as usize)?) == extent.id {
                return Ok(());
            }
        }
        if matches!(self.opened, Opened::Compare(_)) {
            return self.write(offset, &[]);
        }
        let chunk = self.run.repo.chunk(&extent.id)?;
        if chunk.len() as u64 != extent.len {
            let what = format!("holds {} bytes where {} are listed", chunk.len(), extent.len);
            return Err(RepoError::corrupt(format!("chunk {}", extent.id), what).into());
        }
        self.write(offset, &chunk)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
        let Some(target) = self.opened.target() else {
            return Err(Failure::Differs(format!("its content differs at byte {offset}")));
        };
        target.write_at(offset, bytes).map_err(|err| Failure::io("write", err))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// What the target has there; shorter where it ends.
    fn read(&mut self, offset: u64, len: usize) -> Result<&[u8], Failure> {
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        let buffer = self.buffer.get_mut(..len).unwrap_or_default();
        let count = self.opened.read_at(offset, buffer).map_err(|err| Failure::io("read", err))?;
        Ok(buffer.get(..count).unwrap_or_default())
    }

    /// Makes sure that the target reads as zeroes here.
    fn hole(&mut self, range: Range<u64>) -> Result<(), Failure> {
        if matches!(self.opened, Opened::Fill(_)) {
            return Ok(());
        }
        let mut at = range.start;
        while let Some(data) = self.data(at..range.end).map_err(|err| Failure::io("read", err))? {
            at = data.end;
            if self.is_zero(data.clone())? {
                continue;
            }
            let Some(target) = self.opened.target() else {
                let what = format!("it has data at byte {} instead of a hole", data.start);
                return Err(Failure::Differs(what));
            };
            let len = data.end - data.start;
            target.punch_hole(data.start, len).map_err(|err| Failure::io("write", err))?;
            self.written += len;
        }
        Ok(())
    }

    fn is_zero(&mut self, range: Range<u64>) -> Result<bool, Failure> {
        let mut at = range.start;
        while at < range.end {
            if self.run.stopped() {
                return Err(Failure::Stopped);
            }
            let len = (range.end - at).min(SIZES.buffer as u64);
            if self.read(at, len as usize)?.iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            at += len;
        }
        Ok(true)
    }

    /// The next data of the target in a range that is to be a hole.
    fn data(&self, range: Range<u64>) -> io::Result<Option<Range<u64>>> {
        if range.is_empty() {
            return Ok(None);
        }
        let fd = self.opened.as_fd();
        let start = match rustix::fs::seek(fd, SeekFrom::Data(range.start)) {
            Ok(start) => start.max(range.start),
            Err(Errno::NXIO) => return Ok(None),
            // It cannot tell: all of it may be data.
            Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => return Ok(Some(range)),
            Err(errno) => return Err(errno.into()),
        };
        if start >= range.end {
            return Ok(None);
        }
        let end = match rustix::fs::seek(fd, SeekFrom::Hole(start)) {
            Ok(end) if end > start => end.min(range.end),
            _ => range.end,
        };
        Ok(Some(start..end))
    }
}
