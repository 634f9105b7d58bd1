//! The snapshots that must stay, and those that may go.

use std::collections::HashSet;

use crate::format::{Snapshot, SnapshotId};
use crate::ops::Result;
use crate::repo::Repository;

/// All snapshots as they are now.
pub(super) struct Roots {
    /// Those that must stay, oldest first.
    pub(super) live: Vec<Snapshot>,
    /// Those that may go: forgotten, not protected, and no reader's pin holds them.
    pub(super) doomed: HashSet<SnapshotId>,
    /// How many of those that stay are forgotten, and pinned.
    pub(super) pinned: u64,
}

impl Roots {
    /// Reads all snapshots. With `among`, none but those may go.
    ///
    /// # Errors
    /// Where one cannot be read: nobody knows what it needs.
    pub(super) fn read(repo: &Repository, among: Option<&HashSet<SnapshotId>>) -> Result<Self> {
        let mut forgotten = repo.forgotten()?;
        if let Some(among) = among {
            forgotten.retain(|id| among.contains(id));
        }
        let list = repo.snapshots()?;
        if let Some(err) = list.damaged.into_iter().next() {
            return Err(err.into());
        }
        let (mut doomed, mut pinned) = (HashSet::new(), 0);
        let pins = repo.pinned()?;
        let mut live = list.snapshots;
        live.retain(|snapshot| {
            let goes = forgotten.contains(&snapshot.id);
            let held = goes && pins.has(&snapshot.id);
            pinned += u64::from(held);
            if goes && !held {
                doomed.insert(snapshot.id);
            }
            !goes || held
        });
        Ok(Self { live, doomed, pinned })
    }
}
