//! Carrying out a decision, one object after the other. Each step leaves a good repository, and
//! each can be done twice: snapshots go before what they refer to, the index before the packs that
//! it names, and the candidates last, so that whoever finds them goes on.

use std::collections::HashSet;

use crate::format::{Folder, Generation, ObjectKey, PackId, SnapshotId};
use crate::repo::Repository;
use crate::repo::error::Result;

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Packs.
    pub packs: u64,
    /// Their bytes, and those of their parity.
    pub bytes: u64,
    /// Forgotten snapshots.
    pub snapshots: u64,
    /// Index segments.
    pub segments: u64,
}

impl Repository {
    /// Deletes what a decision names. `doomed` are the packs of all decisions: what an index
    /// segment still says of any of them goes too.
    pub fn execute(&self, decision: &Generation, doomed: &HashSet<PackId>) -> Result<Swept> {
        let mut swept = Swept::default();
        for id in &decision.snapshots {
            swept.snapshots += u64::from(self.delete_if_there(&ObjectKey::Snapshot(*id))?);
        }
        self.index().reload()?;
        swept.segments = self.index().sweep(doomed)?;
        for (kind, id) in &decision.packs {
            swept.packs += u64::from(self.delete_counted(ObjectKey::Pack(*kind, *id), &mut swept)?);
            self.delete_counted(ObjectKey::Parity(*id), &mut swept)?;
        }
        self.delete_marks(&decision.snapshots)?;
        self.delete_if_there(&ObjectKey::Candidates(decision.number))?;
        if !self.rules.keep_decision {
            self.delete_if_there(&ObjectKey::Decision(decision.number))?;
        }
        Ok(swept)
    }

    /// Removes from the index what it says of doomed packs, and segments that others replace;
    /// returns how many were removed. Needs no generation: nothing relies on either.
    pub fn sweep_index(&self, doomed: &HashSet<PackId>) -> Result<u64> {
        self.index().reload()?;
        self.index().sweep(doomed)
    }

    fn delete_counted(&self, object: ObjectKey, swept: &mut Swept) -> Result<bool> {
        let len = match self.storage().len(&object) {
            Err(err) if err.is_not_found() => return Ok(false),
            result => result?,
        };
        let deleted = self.delete_if_there(&object)?;
        swept.bytes += if deleted { len } else { 0 };
        Ok(deleted)
    }

    /// What is marked on snapshots that are gone.
    fn delete_marks(&self, snapshots: &[SnapshotId]) -> Result<()> {
        if snapshots.is_empty() {
            return Ok(());
        }
        let gone: HashSet<_> = snapshots.iter().collect();
        for listed in self.storage().list(Folder::Tags)? {
            if let Some(object @ ObjectKey::Tags(id, _)) = listed.key
                && gone.contains(&id)
            {
                self.delete_if_there(&object)?;
            }
        }
        for id in snapshots {
            self.delete_if_there(&ObjectKey::Forgotten(*id))?;
        }
        Ok(())
    }

    /// Removes the decision of an executed generation whose year is over.
    pub fn delete_decision(&self, number: u64) -> Result<()> {
        self.delete_if_there(&ObjectKey::Decision(number)).map(drop)
    }

    /// Removes tombstones that were made before `secs` of their clock; returns how many.
    pub fn delete_tombstones_before(&self, secs: i64, known: &HashSet<SnapshotId>) -> Result<u64> {
        let mut deleted = 0;
        for id in self.snapshot_ids()? {
            if !known.contains(&id)
                && let Ok(Some(at)) = self.tombstone_time(id)
                && at.secs < secs
            {
                deleted += u64::from(self.delete_if_there(&ObjectKey::Snapshot(id))?);
            }
        }
        Ok(deleted)
    }
}
