//! Which snapshots may be pruned.

use std::collections::{HashMap, HashSet};

use crate::format::{Folder, Forgotten, FrameKind, ObjectKey, SnapshotId, Tagging, frame, limits};
use crate::units::chain;

use super::Repository;
use super::error::{InObject, RepoError, Result};

impl Repository {
    /// Snapshots that are forgotten and not protected. A mark that cannot be read forgets nothing.
    ///
    /// Who chooses a parent among the snapshots calls this first: marks go after their snapshots.
    pub fn forgotten(&self) -> Result<HashSet<SnapshotId>> {
        let mut forgotten = HashSet::new();
        for listed in self.storage().list(Folder::Forgotten)? {
            let Some(ObjectKey::Forgotten(id)) = listed.key else { continue };
            match self.read_forgotten(id) {
                Ok(()) => drop(forgotten.insert(id)),
                Err(err) if err.is_not_found() => {}
                Err(err) if err.is_damage() => {
                    tracing::error!("{}; it does not count", chain(&err))
                }
                Err(err) => return Err(err),
            }
        }
        if !forgotten.is_empty() {
            let protected = self.protected(&forgotten)?;
            forgotten.retain(|id| !protected.contains(id));
        }
        Ok(forgotten)
    }

    fn mark_payload(&self, object: &ObjectKey, kind: FrameKind) -> Result<Vec<u8>> {
        let max = (limits::MARK_MAX + frame::HEADER_LEN) as u64;
        let bytes = self.storage().get(object, max)?;
        self.vault().decode_object(object, kind, &bytes)
    }

    fn read_forgotten(&self, id: SnapshotId) -> Result<()> {
        let object = ObjectKey::Forgotten(id);
        let payload = self.mark_payload(&object, FrameKind::Forgotten)?;
        Forgotten::decode(&payload, self.vault().repository(), id).in_object(&object).map(drop)
    }

    /// Those of `among` that are protected, or whose tags cannot be read.
    fn protected(&self, among: &HashSet<SnapshotId>) -> Result<HashSet<SnapshotId>> {
        let mut last: HashMap<SnapshotId, u64> = HashMap::new();
        for listed in self.storage().list(Folder::Tags)? {
            if let Some(ObjectKey::Tags(id, number)) = listed.key
                && among.contains(&id)
            {
                let newest = last.entry(id).or_default();
                *newest = number.max(*newest);
            }
        }
        let mut protected = HashSet::new();
        for (id, number) in last {
            match self.is_protected(id, number) {
                Ok(false) => {}
                Err(err) if err.is_not_found() => {}
                Err(err @ RepoError::Storage(_)) if !err.is_damage() => return Err(err),
                Ok(true) | Err(_) => drop(protected.insert(id)),
            }
        }
        Ok(protected)
    }

    fn is_protected(&self, id: SnapshotId, number: u64) -> Result<bool> {
        let object = ObjectKey::Tags(id, number);
        let payload = self.mark_payload(&object, FrameKind::Tagging)?;
        let repository = self.vault().repository();
        let tagging = Tagging::decode(&payload, repository, id, number).in_object(&object)?;
        Ok(tagging.protected)
    }
}
