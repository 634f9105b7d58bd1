//! Packs that no index segment lists.
//!
//! A writer that lives has some until its next segment, and one that was killed leaves some. But a
//! segment that is lost leaves them too, and then all that snapshots need may lie in them: what is in
//! no segment is lost only once these were asked. Their footers tell what they hold.

use std::collections::HashSet;

use crate::format::{ChunkId, ObjectKey, PackId};

use super::error::{RepoError, Result};
use super::pack::{read_footer, records};
use super::{Repository, StoredPack};

/// So many packs are asked before a hint is given.
const ASKED_MAX: usize = 1000;

/// What lies in packs that no index segment lists, as their footers say.
#[derive(Debug, Default)]
pub struct Unindexed {
    /// How many such packs there are.
    pub packs: u64,
    /// Chunks in them, also those that the index knows in other packs.
    chunks: HashSet<ChunkId>,
    /// Packs whose footers cannot be read: nobody can tell what they hold.
    pub unreadable: Vec<RepoError>,
}

impl Unindexed {
    /// Whether a chunk lies in one of them.
    #[must_use]
    pub fn has(&self, id: &ChunkId) -> bool {
        self.chunks.contains(id)
    }

    /// An error that names the first of these chunks that lies in one of them.
    ///
    /// # Errors
    /// `Unindexed`: the index is to be built anew before anything is taken for lost.
    pub fn refuse<'c>(&self, missing: impl IntoIterator<Item = &'c ChunkId>) -> Result<()> {
        match missing.into_iter().find(|id| self.has(id)) {
            Some(&chunk) => Err(RepoError::Unindexed { chunk, packs: self.packs }),
            None => Ok(()),
        }
    }
}

impl Repository {
    /// Packs that are there and that no segment lists, without those that a prune deletes. Reads
    /// names only.
    pub fn unindexed_packs(&self) -> Result<Vec<StoredPack>> {
        // Packs first: each is there before a segment lists it.
        let mut packs = self.all_packs()?;
        self.index().reload()?;
        let named: HashSet<PackId> = self.index().packs().iter().map(|pack| pack.id).collect();
        packs.retain(|pack| !named.contains(&pack.id));
        if !packs.is_empty() {
            let doomed = self.generations()?.doomed();
            packs.retain(|pack| !doomed.contains(&pack.id));
        }
        Ok(packs)
    }

    /// The same with what their footers say.
    ///
    /// # Errors
    /// Where a later icecore wrote one of them, or the storage cannot be read.
    pub fn unindexed(&self) -> Result<Unindexed> {
        let mut found = Unindexed::default();
        for pack in self.unindexed_packs()? {
            let object = ObjectKey::Pack(pack.kind, pack.id);
            match read_footer(self.storage(), self.vault(), &object, pack.id, pack.kind) {
                Ok((_, footer)) => {
                    found.packs += 1;
                    found.chunks.extend(records(&footer, 0).map(|record| record.id));
                }
                Err(err) if err.is_not_found() => {} // a prune was here meanwhile
                Err(err) if err.is_damage() => found.unreadable.push(err),
                Err(err) => return Err(err),
            }
        }
        Ok(found)
    }

    /// A chunk of those packs that the index does not know in any other; `None` where it knows all.
    pub fn unknown_of(&self, unindexed: &Unindexed) -> Result<Option<ChunkId>> {
        for id in &unindexed.chunks {
            if !self.has_chunk(id)? {
                return Ok(Some(*id));
            }
        }
        Ok(None)
    }

    /// The same error, or, where it is about a chunk that is in no segment and lies in a pack that
    /// none lists, one that says so: for messages.
    #[must_use]
    pub fn explained(&self, err: RepoError) -> RepoError {
        let Some(chunk) = err.missing_chunk() else { return err };
        match self.unindexed_packs() {
            Ok(packs) if self.is_in(&packs, &chunk) => {
                RepoError::Unindexed { chunk, packs: packs.len() as u64 }
            }
            _ => err,
        }
    }

    /// Whether a chunk that is in no segment lies in a pack that none lists. Where these are many, a
    /// segment is gone for certain, and it is taken to lie there.
    #[must_use]
    pub fn is_misplaced(&self, chunk: &ChunkId) -> bool {
        self.unindexed_packs().is_ok_and(|packs| self.is_in(&packs, chunk))
    }

    fn is_in(&self, packs: &[StoredPack], chunk: &ChunkId) -> bool {
        packs.len() > ASKED_MAX
            || packs.iter().any(|pack| {
                let object = ObjectKey::Pack(pack.kind, pack.id);
                let footer = read_footer(self.storage(), self.vault(), &object, pack.id, pack.kind);
                footer.is_ok_and(|(_, it)| records(&it, 0).any(|record| record.id == *chunk))
            })
    }
}
