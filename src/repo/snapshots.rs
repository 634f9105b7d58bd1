//! Snapshots: listing them, and finding one by what people call it.
//!
//! A snapshot goes by `latest`, `latest~N` (N before it), the start of its id (4 digits and more),
//! or a time: `2026-11-22`, `2026-11-22T15:04` and longer fit the newest snapshot within them.

use crate::format::{
    Commit, Folder, FrameKind, Leaf, ObjectKey, Snapshot, SnapshotId, Time, frame, limits,
};
use crate::units::chain;

use super::Repository;
use super::error::{InObject, RepoError, Result};
use super::index::is_io;
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
    /// Oldest first.
    pub snapshots: Vec<Snapshot>,
    /// Snapshots that cannot be read, because of what they hold or of the medium; the others are not touched by that.
    pub damaged: Vec<RepoError>,
}

impl Repository {
    /// Reads one snapshot; `None` for a tombstone.
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
        let object = ObjectKey::Snapshot(id);
        let max = (limits::SNAPSHOT_MAX + frame::HEADER_LEN) as u64;
        let bytes = self.storage().get(&object, max)?;
        let payload = self.vault().decode_object(&object, FrameKind::Snapshot, &bytes)?;
        let repository = self.vault().repository();
        Commit::decode(&payload, repository, id).in_object(&object)
    }

    /// Ids of what stands in the snapshots' folder, tombstones included: one listing, no reads.
    pub fn snapshot_ids(&self) -> Result<Vec<SnapshotId>> {
        let listed = self.storage().list(Folder::Snapshots)?;
        let id = |key| match key {
            Some(ObjectKey::Snapshot(id)) => Some(id),
            _ => None,
        };
        Ok(listed.into_iter().filter_map(|entry| id(entry.key)).collect())
    }

    /// All snapshots, oldest first. One that cannot be read does not hide the others.
    pub fn snapshots(&self) -> Result<SnapshotList> {
        let mut list = SnapshotList::default();
        for listed in self.storage().list(Folder::Snapshots)? {
            let Some(ObjectKey::Snapshot(id)) = listed.key else { continue };
            match self.read_snapshot(id) {
                Ok(snapshot) => list.snapshots.extend(snapshot),
                Err(err) if err.is_not_found() => {} // forgotten since it was listed
                Err(err) if err.is_damage() || err.is_newer() || is_io(&err) => {
                    list.damaged.push(err);
                }
                Err(err) => return Err(err),
            }
        }
        list.snapshots.sort_by_key(|snapshot| (snapshot.time, snapshot.id));
        Ok(list)
    }

    /// The snapshot that goes by `name` among those that pass the filter.
    pub fn find_snapshot(&self, name: &str, filter: &SnapshotFilter) -> Result<Snapshot> {
        let mut list = self.snapshots()?;
        list.snapshots.retain(|snapshot| filter.fits(snapshot));
        if name.starts_with("latest") {
            for err in &list.damaged {
                // It may be newer than the one that is taken.
                tracing::warn!("{}; \"{name}\" is chosen without it", chain(err));
            }
        }
        match choose(&list.snapshots, name) {
            Ok(at) => Ok(list.snapshots.swap_remove(at)),
            Err(0) => match list.damaged.into_iter().next() {
                // It may be the damaged one that was meant.
                Some(err) if name.starts_with("latest") => Err(err),
                _ => Err(RepoError::NoSuchSnapshot { name: name.to_owned() }),
            },
            Err(count) => Err(RepoError::AmbiguousSnapshot { name: name.to_owned(), count }),
        }
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

/// Index of the snapshot that `name` means, or how many it would fit.
fn choose(snapshots: &[Snapshot], name: &str) -> Result<usize, usize> {
    if let Some(back) = name.strip_prefix("latest") {
        let back = match back.strip_prefix('~') {
            Some(number) => number.parse().map_err(|_| 0_usize)?,
            None if back.is_empty() => 0,
            None => return Err(0),
        };
        return snapshots.len().checked_sub(1_usize.checked_add(back).ok_or(0_usize)?).ok_or(0);
    }
    let hex =
        name.len() >= 4 && name.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
    if hex {
        let fits = |snapshot: &Snapshot| snapshot.id.to_string().starts_with(name);
        let fitting: Vec<usize> =
            snapshots.iter().enumerate().filter(|(_, s)| fits(s)).map(|(at, _)| at).collect();
        match fitting.as_slice() {
            [only] => return Ok(*only),
            [] => {}
            many => return Err(many.len()),
        }
    }
    let Some((from, to)) = crate::units::time_span(name) else { return Err(0) };
    snapshots.iter().rposition(|s| from <= s.time && s.time < to).ok_or(0)
}
