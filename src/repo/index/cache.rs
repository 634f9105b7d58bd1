//! Files of opened segments: the body and its BLAKE3, mapped.
//!
//! No failure of the cache fails anything else.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use memmap2::Mmap;
use tempfile::NamedTempFile;

/// Bytes of the checksum that ends a cache file.
pub(super) const SUM_LEN: usize = 32;
/// Cached segments up to this size (a million chunks) are compared with their checksum when they
/// are opened, which takes 10 ms; of larger ones, damage shows when a look-up meets it.
const CHECKED_LEN_MAX: usize = 64 << 20;

/// No failure of the cache fails anything else.
pub(super) fn log_cache(path: &Path, err: &io::Error) {
    tracing::warn!("cannot use the cache file {}: {err}", path.display());
}

/// Writes a cache file under a name of its own and renames it over the final one, so that whoever
/// opens that sees a whole file, and processes that write the same one do not disturb each other.
pub(super) fn write_cache(path: &Path, body: &[u8]) -> io::Result<File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder)?; // mode 0600
    file.write_all(body)?;
    file.write_all(blake3::hash(body).as_bytes())?;
    file.as_file().sync_data()?;
    Ok(file.persist(path)?)
}

pub(super) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: only cache files are mapped, which icecore writes whole under a temporary name and
    // renames, and never edits; one that is deleted or replaced stays mapped. They lie in a folder
    // of mode 0700, but that is all that protects them: if somebody with the user's rights edits
    // one, what is read here changes, which every use bears, since each field is checked where it
    // is read; if one is cut short, or the disk cannot read it, the process dies of SIGBUS.
    #[expect(unsafe_code)]
    unsafe {
        Mmap::map(file)
    }
}

/// A mapped cache file whose checksum holds, as far as it is looked at.
pub(super) fn checked(map: Mmap) -> io::Result<Mmap> {
    let whole = map.len() > CHECKED_LEN_MAX
        || map
            .split_last_chunk::<SUM_LEN>()
            .is_some_and(|(body, sum)| blake3::hash(body).as_bytes() == sum);
    if whole { Ok(map) } else { Err(io::Error::other("its checksum does not match")) }
}
