//! Snapshots: listing and reading them.
//!
//! What is listed and found are the snapshots that are not forgotten, with the tags that they have
//! now (`marks`); what one was stored with is what [`Repository::read_snapshot`] gives.

use std::collections::BTreeSet;

use crate::format::{Commit, Folder, FrameKind, Leaf, ObjectKey, Snapshot, SnapshotId, Time};

use super::Repository;
use super::error::{InObject, RepoError, Result};
use super::index::is_io;
use super::marks::Marks;
use super::trees::NodeRef;

/// Which snapshots a name may mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotFilter {
    /// Only of this host.
    pub host: Option<String>,
    /// Only with all of these tags.
    pub tags: Vec<String>,
    /// Only with a source of this path.
    pub source: Option<Vec<u8>>,
}

impl SnapshotFilter {
    /// Whether a snapshot passes.
    #[must_use]
    pub fn fits(&self, snapshot: &Snapshot) -> bool {
        self.host.as_ref().is_none_or(|host| *host == snapshot.host)
            && self.tags.iter().all(|tag| snapshot.tags.contains(tag))
            && self
                .source
                .as_ref()
                .is_none_or(|path| snapshot.sources.iter().any(|source| source.path == *path))
    }
}

/// What reading all snapshots gave.
#[derive(Debug, Default)]
pub struct SnapshotList {
    /// Oldest first, with the tags that they have now.
    pub snapshots: Vec<Snapshot>,
    /// Those that must never be forgotten.
    pub protected: BTreeSet<SnapshotId>,
    /// Snapshots that cannot be read, because of what they hold or of the medium; the others are not touched by that.
    pub damaged: Vec<RepoError>,
    /// Marks of snapshots that cannot be read: such a snapshot counts as not forgotten, and where
    /// its tags are concerned as protected.
    pub damaged_marks: Vec<RepoError>,
}

impl SnapshotList {
    /// Drops what does not pass the filter.
    pub fn retain(&mut self, filter: &SnapshotFilter) {
        self.snapshots.retain(|snapshot| filter.fits(snapshot));
    }
}

impl Repository {
    /// Reads one snapshot as it was stored, forgotten or not; `None` for a tombstone.
    pub fn read_snapshot(&self, id: SnapshotId) -> Result<Option<Snapshot>> {
        match self.read_commit(id)? {
            Commit::Snapshot(snapshot) => Ok(Some(*snapshot)),
            Commit::Tombstone { .. } => Ok(None),
        }
    }

    /// When a tombstone was made, by the clock of who made it; `None` for a snapshot.
    pub(crate) fn tombstone_time(&self, id: SnapshotId) -> Result<Option<Time>> {
        match self.read_commit(id)? {
            Commit::Snapshot(_) => Ok(None),
            Commit::Tombstone { at, .. } => Ok(Some(at)),
        }
    }

    fn read_commit(&self, id: SnapshotId) -> Result<Commit> {
        let bytes = self.get_framed(&ObjectKey::Snapshot(id), FrameKind::Snapshot)?;
        self.open_commit(id, &bytes)
    }

    /// Opens what stands under a snapshot's name.
    pub(super) fn open_commit(&self, id: SnapshotId, bytes: &[u8]) -> Result<Commit> {
        let object = ObjectKey::Snapshot(id);
        let payload = self.vault().decode_object(&object, FrameKind::Snapshot, bytes)?;
        Commit::decode(&payload, self.vault().repository(), id).in_object(&object)
    }

    /// What these bytes would be under the name of a snapshot; `None` for a tombstone.
    pub fn decode_snapshot(&self, id: SnapshotId, bytes: &[u8]) -> Result<Option<Snapshot>> {
        let object = ObjectKey::Snapshot(id);
        let payload = self.vault().decode_object(&object, FrameKind::Snapshot, bytes)?;
        let repository = self.vault().repository();
        match Commit::decode(&payload, repository, id).in_object(&object)? {
            Commit::Snapshot(snapshot) => Ok(Some(*snapshot)),
            Commit::Tombstone { .. } => Ok(None),
        }
    }

    /// Ids of what stands in the snapshots' folder, tombstones included: one listing, no reads.
    pub fn snapshot_ids(&self) -> Result<Vec<SnapshotId>> {
        let id = |key| match key {
            ObjectKey::Snapshot(id) => Some(id),
            _ => None,
        };
        Ok(self.storage().names(Folder::Snapshots)?.into_iter().filter_map(id).collect())
    }

    /// All snapshots that are not forgotten, oldest first. One that cannot be read does not hide
    /// the others.
    pub fn snapshots(&self) -> Result<SnapshotList> {
        self.listed_snapshots(|marks, id| !marks.is_forgotten(id))
    }

    /// The snapshots that are forgotten, oldest first, and not pruned yet.
    pub fn forgotten_snapshots(&self) -> Result<SnapshotList> {
        self.listed_snapshots(Marks::is_forgotten)
    }

    fn listed_snapshots(
        &self,
        wanted: impl Fn(&Marks, SnapshotId) -> bool,
    ) -> Result<SnapshotList> {
        let marks = self.marks()?;
        let mut list = SnapshotList { protected: marks.protected(), ..SnapshotList::default() };
        for id in self.snapshot_ids()?.into_iter().filter(|&id| wanted(&marks, id)) {
            match self.read_snapshot(id) {
                Ok(Some(mut snapshot)) => {
                    marks.apply(&mut snapshot);
                    list.snapshots.push(snapshot);
                }
                Ok(None) => {}
                Err(err) if err.is_not_found() => {} // pruned since it was listed
                Err(err) if err.is_damage() || err.is_newer() || is_io(&err) => {
                    list.damaged.push(err);
                }
                Err(err) => return Err(err),
            }
        }
        list.snapshots.sort_by_key(|snapshot| (snapshot.time, snapshot.id));
        list.damaged_marks.extend(marks.into_damaged());
        Ok(list)
    }

    /// The snapshot that goes by `name` among those that pass the filter and are not forgotten.
    pub fn find_snapshot(&self, name: &str, filter: &SnapshotFilter) -> Result<Snapshot> {
        self.snapshots()?.find(name, filter)
    }

    /// The root directory of a snapshot.
    #[must_use]
    pub fn root(snapshot: &Snapshot) -> NodeRef {
        let leaf: Leaf = snapshot.root.clone();
        match NodeRef::new(std::sync::Arc::new(leaf), None, 0) {
            Some(root) => root,
            None => unreachable!("a decoded snapshot has a root"),
        }
    }
}
