//! Writing past the page cache.
//!
//! A pack is written once and not read again for a while: by way of the page cache its bytes take
//! memory from what others work with, and copying them there costs more than the medium does (ten
//! packs of 32 MiB on a virtual machine: 0.9 s of CPU when the cache must grow, 0.1 s when it need
//! not, 0.01 s past it). Where direct I/O is refused, bytes go the usual way: it is speed only.
//!
//! What must stay true: after an error nothing is known of the file; after success it holds all
//! bytes, of which none is durable before it is synced.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// Fewer bytes are not worth three more system calls.
const WORTHWHILE: usize = 1 << 20;
/// What direct I/O asks of addresses, offsets and lengths: the logical block of a medium, 512 or
/// 4096 bytes (open(2), `O_DIRECT`). Where it asks for more, it is refused.
const ALIGNMENT: usize = 4096;
/// Bytes of one write; from this size on, longer ones are no faster.
const PIECE: usize = 1 << 20;

/// Memory of which a part is aligned for direct I/O.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new(len: usize) -> Self {
        let memory = vec![0; len + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { memory, start }
    }

    /// Takes a copy of bytes, at most as many as there is room for.
    fn fill(&mut self, bytes: &[u8]) -> &[u8] {
        let part = self.memory.get_mut(self.start..self.start + bytes.len()).unwrap_or_default();
        part.copy_from_slice(bytes);
        part
    }
}

/// Writes a new file's bytes, from its start.
pub(super) fn write_all(file: &File, bytes: &[u8]) -> io::Result<()> {
    let whole = bytes.len() - bytes.len() % ALIGNMENT;
    let (direct, _) = bytes.split_at(whole);
    let mut done = 0;
    if bytes.len() >= WORTHWHILE && set_direct(file, true).is_ok() {
        let written = write_direct(file, direct);
        set_direct(file, false)?;
        done = written?;
    }
    file.write_all_at(bytes.get(done..).unwrap_or_default(), done as u64)
}

fn set_direct(file: &File, on: bool) -> io::Result<()> {
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, on);
    Ok(fcntl_setfl(file, flags)?)
}

/// Writes in pieces until all is done, or the file system wants no more of it this way. How many
/// bytes were written.
fn write_direct(file: &File, bytes: &[u8]) -> io::Result<usize> {
    let mut piece = Aligned::new(PIECE.min(bytes.len()));
    let mut done = 0;
    for part in bytes.chunks(PIECE) {
        match rustix::io::pwrite(file, piece.fill(part), done as u64) {
            Ok(count) if count == part.len() => done += count,
            // A full medium, or a limit: what is left says which.
            Ok(count) => return Ok(done + count),
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::INTR) => break,
            Err(err) => return Err(err.into()),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Wherever the build lies, and on a tmpfs where there is one: both ways of it.
    fn folders() -> Vec<tempfile::TempDir> {
        let build = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tmp");
        fs::create_dir_all(build).unwrap();
        let shm = tempfile::tempdir_in("/dev/shm").ok();
        shm.into_iter().chain([tempfile::tempdir_in(build).unwrap()]).collect()
    }

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    #[test]
    fn files_of_any_length_hold_their_bytes() {
        for folder in folders() {
            let lens =
                [0, 1, 4096, WORTHWHILE - 1, WORTHWHILE, PIECE + 1, 2 * PIECE + 4096, 5_000_001];
            for len in lens {
                let path = folder.path().join(len.to_string());
                let file = File::create_new(&path).unwrap();
                write_all(&file, &bytes(len)).unwrap();
                assert!(!fcntl_getfl(&file).unwrap().contains(OFlags::DIRECT));
                assert!(fs::read(&path).unwrap() == bytes(len), "{len} bytes in {folder:?}");
            }
        }
    }

    #[test]
    fn buffers_are_aligned_whatever_the_allocator_gives() {
        for len in [1, 4096, PIECE] {
            let mut buffer = Aligned::new(len);
            let filled = buffer.fill(&bytes(len));
            assert_eq!(filled.as_ptr().align_offset(ALIGNMENT), 0);
            assert!(filled == bytes(len));
        }
    }
}
