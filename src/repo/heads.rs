//! A copy on this machine of the snapshots' objects, as they are stored: a mount of a repository with
//! a thousand snapshots reads one file instead of a thousand.
//!
//! What is copied is immutable and sealed, so a copy tells no more than the repository does, and one
//! that does not open is read from storage instead. Which snapshots there are is always asked of the
//! storage. Whoever has to know that the objects themselves are sound does not come here.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use tempfile::NamedTempFile;

use crate::format::{Commit, FrameKind, ObjectKey, Snapshot, SnapshotId, frame};

use super::Repository;
use super::error::Result;

/// Objects above this many bytes are not copied: those with hundreds of troubles.
const OBJECT_MAX: usize = 64 << 10;
/// A copy above this many bytes is not read; far more than any machine makes in its life.
const FILE_MAX: u64 = 256 << 20;
/// The copy is written anew when so many snapshots were missing in it.
const MISSING_MIN: usize = 16;

/// Snapshots' objects by id, as far as they were met.
#[derive(Debug, Default)]
pub struct Heads {
    path: Option<PathBuf>,
    objects: BTreeMap<SnapshotId, Vec<u8>>,
    missing: usize,
}

impl Repository {
    /// What this machine has a copy of; empty where there is no cache folder.
    #[must_use]
    pub fn heads(&self) -> Heads {
        let path = self.cache_folder.as_ref().map(|folder| folder.join("snapshots"));
        let read = |path: &PathBuf| -> io::Result<_> {
            match fs::metadata(path)?.len() <= FILE_MAX {
                true => fs::read(path),
                false => Err(io::Error::other("it is longer than any should be")),
            }
        };
        let bytes = match path.as_ref().map(read) {
            Some(Ok(bytes)) => bytes,
            Some(Err(err)) if err.kind() != io::ErrorKind::NotFound => {
                tracing::debug!("the copy of the snapshots is not used: {err}");
                Vec::new()
            }
            _ => Vec::new(),
        };
        Heads { path, objects: parse(&bytes), missing: 0 }
    }

    /// Reads a snapshot from the copy, else from storage; `None` for a tombstone.
    pub fn read_snapshot_with(
        &self,
        heads: &mut Heads,
        id: SnapshotId,
    ) -> Result<Option<Snapshot>> {
        let copied = heads.objects.get(&id).and_then(|bytes| self.open_commit(id, bytes).ok());
        let commit = match copied {
            Some(commit) => commit,
            None => {
                let bytes = self.get_framed(&ObjectKey::Snapshot(id), FrameKind::Snapshot)?;
                let commit = self.open_commit(id, &bytes)?;
                heads.take(id, bytes);
                commit
            }
        };
        match commit {
            Commit::Snapshot(snapshot) => Ok(Some(*snapshot)),
            Commit::Tombstone { .. } => Ok(None),
        }
    }
}

impl Heads {
    fn take(&mut self, id: SnapshotId, bytes: Vec<u8>) {
        if self.path.is_some() && bytes.len() <= OBJECT_MAX {
            self.objects.insert(id, bytes);
            self.missing += 1;
        }
    }

    /// Writes the copy anew, of these snapshots, where it would save reading many; nothing fails when
    /// that fails.
    pub fn keep(mut self, ids: &[SnapshotId]) {
        let Some(path) = self.path.take().filter(|_| self.missing >= MISSING_MIN) else { return };
        let objects = ids.iter().filter_map(|id| self.objects.get_key_value(id));
        let write = || -> io::Result<()> {
            let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
            let mut file = NamedTempFile::new_in(folder)?;
            file.write_all(&text_of(objects))?;
            file.persist(&path)?;
            Ok(())
        };
        if let Err(err) = write() {
            tracing::debug!("cannot keep a copy of the snapshots: {err}");
        }
    }
}

/// Id, length in 4 bytes, object, and so on.
fn text_of<'a>(objects: impl Iterator<Item = (&'a SnapshotId, &'a Vec<u8>)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (id, bytes) in objects {
        out.extend_from_slice(&id.0);
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(bytes);
    }
    out
}

/// What can be read of a copy; nothing behind the first place that makes no sense.
fn parse(mut bytes: &[u8]) -> BTreeMap<SnapshotId, Vec<u8>> {
    let mut objects = BTreeMap::new();
    while let Some((id, rest)) = bytes.split_first_chunk() {
        let Some((len, rest)) = rest.split_first_chunk() else { break };
        let len = u32::from_le_bytes(*len) as usize;
        if len > OBJECT_MAX + frame::HEADER_LEN {
            break;
        }
        let Some((object, rest)) = rest.split_at_checked(len) else { break };
        objects.insert(SnapshotId(*id), object.to_vec());
        bytes = rest;
    }
    objects
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read_and_anything_else_is_borne(
            objects in proptest::collection::btree_map(any::<[u8; 16]>(), proptest::collection::vec(any::<u8>(), 0..40), 0..8),
            cut in any::<proptest::sample::Index>(),
            noise in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let objects: BTreeMap<_, _> = objects.into_iter().map(|(id, bytes)| (SnapshotId(id), bytes)).collect();
            let text = text_of(objects.iter());
            prop_assert_eq!(&parse(&text), &objects);
            let part = parse(&text[..cut.index(text.len() + 1)]);
            prop_assert!(part.iter().all(|(id, bytes)| objects[id] == *bytes));
            parse(&noise);
        }
    }
}
