//! What snapshots say of themselves that they lost.
//!
//! What must stay true: a loss is known only where its own path is named. What is lost later, also
//! below a directory that is named, is news: nothing is deleted for it, and it is named in turn.

use std::collections::{HashMap, HashSet};

use crate::format::{Snapshot, SnapshotId};

use super::{LOST, is_lossy};

/// Losses that successors name.
#[derive(Debug, Default)]
pub(in crate::ops) struct KnownLosses {
    paths: HashMap<SnapshotId, HashSet<Vec<u8>>>,
    /// Snapshots that lost more than a record lists: any of their paths counts as named.
    unlisted: HashSet<SnapshotId>,
}

impl KnownLosses {
    /// As these snapshots say, of themselves and of those that they succeed, and that those
    /// succeed.
    pub(in crate::ops) fn of(snapshots: &[Snapshot]) -> Self {
        let mut known = Self::default();
        let lossy = || snapshots.iter().filter(|snapshot| is_lossy(snapshot));
        let parents: HashMap<_, _> = lossy().map(|it| (it.id, it.parent)).collect();
        for snapshot in lossy() {
            let lost: Vec<_> = named(snapshot).map(<[u8]>::to_vec).collect();
            let has_more = snapshot.troubles_count > snapshot.troubles.len() as u64;
            let (mut next, mut steps) = (Some(snapshot.id), 0);
            // A chain has no more links than there are snapshots: what records say may be a circle.
            while let Some(id) = next.filter(|_| steps <= parents.len()) {
                known.paths.entry(id).or_default().extend(lost.iter().cloned());
                known.unlisted.extend(has_more.then_some(id));
                next = parents.get(&id).copied().flatten();
                steps += 1;
            }
        }
        known
    }

    /// As the snapshot says of itself.
    pub(in crate::ops) fn of_one(snapshot: &Snapshot) -> Self {
        Self::of(std::slice::from_ref(snapshot))
    }

    /// Whether that loss of the snapshot is named.
    pub(in crate::ops) fn has(&self, snapshot: SnapshotId, path: &[u8]) -> bool {
        self.unlisted.contains(&snapshot)
            || self.paths.get(&snapshot).is_some_and(|paths| paths.contains(path))
    }
}

/// Paths of which a snapshot says that they lost content.
pub(super) fn named(snapshot: &Snapshot) -> impl Iterator<Item = &[u8]> {
    let lost = snapshot.troubles.iter().filter(|trouble| trouble.what == LOST);
    lost.map(|trouble| trouble.path.as_slice())
}
