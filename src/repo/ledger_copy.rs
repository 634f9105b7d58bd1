//! A copy on this machine of the ledger's records, as they are stored: whoever asks what is known
//! reads one file instead of thousands.
//!
//! As with [`Heads`](super::Heads): records are immutable and sealed, so a copy tells no more than
//! the repository does, one that does not open is read from storage instead, and which records
//! there are is always asked of the storage. `verify` and `ledger verify` do not come here.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;

use tempfile::NamedTempFile;

use crate::format::{FrameKind, ObjectKey, RecordId, frame};

use super::Repository;
use super::error::Result;
use super::ledger::LedgerEntry;

/// Records above this many bytes are not copied: those of verifications of thousands of packs.
const OBJECT_MAX: usize = 64 << 10;
/// A copy above this many bytes is not read.
const FILE_MAX: u64 = 128 << 20;
/// The copy is written anew when so many records were missing in it.
const MISSING_MIN: usize = 16;

/// A record's name: seconds and id.
type Name = (u64, RecordId);

/// Records' objects, as far as they were met.
#[derive(Debug, Default)]
pub struct LedgerCopy {
    path: Option<PathBuf>,
    /// The copy, and where in it each object is.
    bytes: Vec<u8>,
    places: HashMap<Name, Range<usize>>,
    /// Those that were read from it.
    met: Vec<Name>,
    /// Those that were not in it.
    new: Vec<(Name, Vec<u8>)>,
}

impl Repository {
    /// What this machine has a copy of; empty where there is no cache folder.
    pub fn ledger_copy(&self) -> LedgerCopy {
        let path = self.cache_folder.as_ref().map(|folder| folder.join("ledger"));
        let read = |path: &PathBuf| -> io::Result<_> {
            match fs::metadata(path)?.len() <= FILE_MAX {
                true => fs::read(path),
                false => Err(io::Error::other("it is longer than any should be")),
            }
        };
        let bytes = match path.as_ref().map(read) {
            Some(Ok(bytes)) => bytes,
            Some(Err(err)) if err.kind() != io::ErrorKind::NotFound => {
                tracing::debug!("the copy of the ledger is not used: {err}");
                Vec::new()
            }
            _ => Vec::new(),
        };
        LedgerCopy { path, places: places(&bytes), bytes, ..LedgerCopy::default() }
    }

    /// Reads a record of the ledger from the copy, else from storage.
    pub fn read_ledger_with(
        &self,
        copy: &mut LedgerCopy,
        secs: u64,
        id: RecordId,
    ) -> Result<LedgerEntry> {
        let copied = copy.places.get(&(secs, id)).and_then(|at| copy.bytes.get(at.clone()));
        if let Some(Ok(entry)) = copied.map(|bytes| self.open_ledger(secs, id, bytes)) {
            copy.met.push((secs, id));
            return Ok(entry);
        }
        let bytes = self.get_framed(&ObjectKey::Ledger(secs, id), FrameKind::Ledger)?;
        let entry = self.open_ledger(secs, id, &bytes)?;
        if copy.path.is_some() && bytes.len() <= OBJECT_MAX {
            copy.new.push(((secs, id), bytes));
        }
        Ok(entry)
    }
}

impl LedgerCopy {
    /// Writes the copy anew, of what was met, where it would save reading many; nothing fails when
    /// that fails.
    pub fn keep(self) {
        let Some(path) = self.path.as_ref().filter(|_| self.new.len() >= MISSING_MIN) else {
            return;
        };
        let old = self.met.iter().filter_map(|name| {
            let at = self.places.get(name)?;
            Some((*name, self.bytes.get(at.clone())?))
        });
        let new = self.new.iter().map(|(name, bytes)| (*name, bytes.as_slice()));
        let write = || -> io::Result<()> {
            let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
            let mut file = NamedTempFile::new_in(folder)?;
            file.write_all(&text_of(old.chain(new)))?;
            file.persist(path)?;
            Ok(())
        };
        if let Err(err) = write() {
            tracing::debug!("cannot keep a copy of the ledger: {err}");
        }
    }
}

/// Seconds in 8 bytes, id, length in 4 bytes, object, and so on.
fn text_of<'a>(objects: impl Iterator<Item = (Name, &'a [u8])>) -> Vec<u8> {
    let mut out = Vec::new();
    for ((secs, id), bytes) in objects {
        out.extend_from_slice(&secs.to_le_bytes());
        out.extend_from_slice(&id.0);
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(bytes);
    }
    out
}

/// Where the objects of a copy are; nothing behind the first place that makes no sense.
fn places(bytes: &[u8]) -> HashMap<Name, Range<usize>> {
    let mut places = HashMap::new();
    let mut rest = bytes;
    while let Some((secs, after)) = rest.split_first_chunk() {
        let Some((id, after)) = after.split_first_chunk() else { break };
        let Some((len, after)) = after.split_first_chunk() else { break };
        let len = u32::from_le_bytes(*len) as usize;
        if len > OBJECT_MAX + frame::HEADER_LEN {
            break;
        }
        let start = bytes.len() - after.len();
        let Some((_, after)) = after.split_at_checked(len) else { break };
        places.insert((u64::from_le_bytes(*secs), RecordId(*id)), start..start + len);
        rest = after;
    }
    places
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read_and_anything_else_is_borne(
            objects in proptest::collection::btree_map(any::<(u64, [u8; 16])>(), proptest::collection::vec(any::<u8>(), 0..40), 0..8),
            cut in any::<proptest::sample::Index>(),
            noise in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let named = objects.iter().map(|((secs, id), bytes)| ((*secs, RecordId(*id)), bytes.as_slice()));
            let text = text_of(named.clone());
            let read = |text: &[u8]| -> HashMap<Name, Vec<u8>> {
                places(text).into_iter().map(|(name, at)| (name, text[at].to_vec())).collect()
            };
            let all: HashMap<Name, Vec<u8>> = named.map(|(name, bytes)| (name, bytes.to_vec())).collect();
            prop_assert_eq!(&read(&text), &all);
            let part = read(&text[..cut.index(text.len() + 1)]);
            prop_assert!(part.iter().all(|(name, bytes)| all[name] == *bytes));
            places(&noise);
        }
    }
}
