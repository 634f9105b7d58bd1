//! The snapshots that must stay, and those that may go.

use std::collections::HashSet;

use crate::format::{Snapshot, SnapshotId};
use crate::ops::Result;
use crate::repo::Repository;

use super::Patience;

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
    /// Marks first, then snapshots: whoever tags or forgets meanwhile is seen in the safe order.
    /// `also` count as forgotten, which is for plans that nobody carries out. With `among`, none but
    /// those may go.
    ///
    /// # Errors
    /// Where one that stays cannot be read: nobody knows what it needs.
    pub(super) fn read(
        repo: &Repository,
        patience: &Patience<'_>,
        also: &HashSet<SnapshotId>,
        among: Option<&HashSet<SnapshotId>>,
    ) -> Result<Self> {
        let mut forgotten = repo.forgotten()?;
        forgotten.extend(also);
        if let Some(among) = among {
            forgotten.retain(|id| among.contains(id));
        }
        let ids = repo.snapshot_ids()?;
        let pins = repo.pinned(|pin| patience.is_over(pin))?;
        let mut roots = Self { live: Vec::new(), doomed: HashSet::new(), pinned: 0 };
        for id in ids {
            let goes = forgotten.contains(&id);
            let held = !goes || pins.has(&id);
            match repo.read_snapshot(id) {
                Ok(Some(_)) if !held => drop(roots.doomed.insert(id)),
                Err(err) if err.is_damage() && !held => {
                    roots.doomed.insert(id); // nobody asks what it needs
                }
                Ok(Some(snapshot)) => {
                    roots.pinned += u64::from(goes);
                    roots.live.push(snapshot);
                }
                Ok(None) => {}                       // a tombstone
                Err(err) if err.is_not_found() => {} // pruned since it was listed
                Err(err) => return Err(err.into()),
            }
        }
        roots.live.sort_by_key(|snapshot| (snapshot.time, snapshot.id));
        Ok(roots)
    }
}
