//! Files of opened segments: the body and its BLAKE3, mapped.
//!
//! They lie in the cache folder under the segment's id; what has no place there is a file without
//! a name in the system's folder for temporary files. No failure of the cache fails anything else.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use memmap2::Mmap;
use tempfile::NamedTempFile;

/// Bytes of the checksum that ends a cache file.
pub(super) const SUM_LEN: usize = 32;
/// Cached segments up to this size (18 000 chunks) are compared with their checksum when they are
/// opened. Of larger ones, damage shows when a look-up meets it, or when they are merged: 32 of
/// 17 MiB took 465 ms to open from disk with the checksum and 183 ms without, on a loaded machine.
const CHECKED_LEN_MAX: usize = 1 << 20;

pub(super) fn log_cache(path: &Path, err: &io::Error) {
    tracing::warn!("cannot use the cache file {}: {err}", path.display());
}

/// A file that takes a body.
pub(super) enum BodyFile {
    /// In the cache folder, under a name of its own, so that whoever opens the final one sees a
    /// whole file, and processes that write the same one do not disturb each other.
    Named(NamedTempFile),
    /// Gone once it is closed and unmapped.
    Unnamed(File),
}

impl BodyFile {
    /// In the cache folder, where there is one; mode 0600.
    pub(super) fn create(folder: Option<&Path>) -> io::Result<Self> {
        match folder {
            Some(folder) => Ok(Self::Named(NamedTempFile::new_in(folder)?)),
            None => Ok(Self::Unnamed(tempfile::tempfile()?)),
        }
    }

    pub(super) fn file(&self) -> &File {
        match self {
            Self::Named(named) => named.as_file(),
            Self::Unnamed(file) => file,
        }
    }

    /// Adds the checksum to a body that was written, and maps both.
    pub(super) fn finish(&self) -> io::Result<Mmap> {
        let mut file = self.file();
        file.seek(SeekFrom::Start(0))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file)?; // up to the end, where the checksum goes
        file.write_all(hasher.finalize().as_bytes())?;
        map(file)
    }

    /// Gives the file its name in the cache; one without a temporary name there stays nameless.
    pub(super) fn keep(self, path: &Path) -> io::Result<()> {
        if let Self::Named(named) = self {
            named.as_file().sync_data()?;
            named.persist(path)?;
        }
        Ok(())
    }
}

/// Writes to a file from an offset on, beside other such writers.
pub(super) struct WriteAt<'f> {
    pub(super) file: &'f File,
    pub(super) offset: u64,
}

impl Write for WriteAt<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write_at(bytes, self.offset)?;
        self.offset += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a whole cache file and maps it.
pub(super) fn write_cache(path: &Path, body: &[u8]) -> io::Result<Mmap> {
    let file = BodyFile::create(path.parent())?;
    file.file().write_all(body)?;
    let map = file.finish()?;
    file.keep(path)?;
    Ok(map)
}

/// Maps a file that nobody edits from now on.
pub(super) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: only cache files and files without a name are mapped. icecore writes a cache file
    // whole under a temporary name, renames it, and never edits it; one that is deleted or
    // replaced stays mapped. They lie in a folder of mode 0700, but that is all that protects
    // them: if somebody with the user's rights edits one, what is read here changes, which every
    // use bears, since each field is checked where it is read; if one is cut short, or the disk
    // cannot read it, the process dies of SIGBUS.
    #[expect(unsafe_code)]
    unsafe {
        Mmap::map(file)
    }
}

/// A mapped cache file whose checksum holds, as far as it is looked at.
pub(super) fn checked(map: Mmap) -> io::Result<Mmap> {
    let whole = map.len() > CHECKED_LEN_MAX || is_whole(&map);
    if whole { Ok(map) } else { Err(io::Error::other("its checksum does not match")) }
}

/// Whether the checksum at the end is that of what stands before it.
pub(super) fn is_whole(file: &[u8]) -> bool {
    file.split_last_chunk::<SUM_LEN>()
        .is_some_and(|(body, sum)| blake3::hash(body).as_bytes() == sum)
}
