//! What a replica has of this repository: objects of a copy of its files, byte by byte; and, where it
//! is a repository of its own in which content has the same ids, snapshots that were copied into it.

use crate::format::{Commit, Folder, FrameKind, ObjectKey, Snapshot, SnapshotId, limits};
use crate::repo::{RepoError, Repository};
use crate::storage::Storage;

/// A replica.
#[derive(Debug)]
pub struct Replica<'a> {
    storage: &'a dyn Storage,
    /// Copies of snapshots, with the ids that they had here.
    copies: Vec<(SnapshotId, Snapshot)>,
}

impl<'a> Replica<'a> {
    /// The files of a copy.
    #[must_use]
    pub const fn files(storage: &'a dyn Storage) -> Self {
        Self { storage, copies: Vec::new() }
    }

    /// The files, and the snapshots that another repository took over from `here`; where that one
    /// gives content other ids, they are of no use and left out.
    pub fn repository(
        storage: &'a dyn Storage,
        other: &Repository,
        here: &Repository,
    ) -> Result<Self, RepoError> {
        let mut copies = Vec::new();
        if other.shares_ids_with(here) {
            for snapshot in other.snapshots()?.snapshots {
                let origin = snapshot.origin;
                let origin = origin.filter(|it| it.repository == here.config().repository);
                copies.extend(origin.map(|origin| (origin.snapshot, snapshot)));
            }
        }
        Ok(Self { storage, copies })
    }

    /// The snapshots that it may have, as they are named here.
    pub(super) fn ids(&self) -> Result<Vec<SnapshotId>, RepoError> {
        let listed = self.storage.list(Folder::Snapshots)?.into_iter();
        let mut ids: Vec<_> = listed
            .filter_map(|listed| match listed.key {
                Some(ObjectKey::Snapshot(id)) => Some(id),
                _ => None,
            })
            .chain(self.copies.iter().map(|(id, _)| *id))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// The bytes of an object as this repository wrote them, or would.
    pub(super) fn bytes(&self, here: &Repository, object: &ObjectKey) -> Option<Vec<u8>> {
        // Of a beat nothing is checked below, and nothing is worth taking over.
        if matches!(object, ObjectKey::Beat(..)) {
            return None;
        }
        let bytes = self.storage.get(object, limits::SNAPSHOT_MAX as u64 + 4096).ok();
        let bytes = bytes.filter(|bytes| here.check_small(object, bytes).is_ok());
        bytes.or_else(|| self.told(here, object))
    }

    /// A snapshot as it was here, from its copy. Its parent's name is not known any more.
    fn told(&self, here: &Repository, object: &ObjectKey) -> Option<Vec<u8>> {
        let ObjectKey::Snapshot(id) = *object else { return None };
        let (_, copy) = self.copies.iter().find(|(origin, _)| *origin == id)?;
        let snapshot = Snapshot { id, parent: None, origin: None, ..copy.clone() };
        let payload = Commit::Snapshot(Box::new(snapshot)).encode(here.config().repository);
        here.vault().encode_object(object, FrameKind::Snapshot, payload).ok()
    }
}
