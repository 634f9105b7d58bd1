//! What a session may rely on: chunks in packs that are there whole and that no prune may delete.

use std::collections::{HashMap, HashSet};

use crate::codec::Element;
use crate::codec::block::promises_gain;
use crate::format::index::Place;
use crate::format::{ChunkId, ObjectKey, PackId};
use crate::repo::chunks::BaseChunk;
use crate::repo::error::Result;
use crate::sync::first_said;

use super::Session;

/// Shorter chunks and pages save too little for what reading them through a base costs.
const TOLD_MIN: usize = 1 << 10;

/// What a session may not use.
#[derive(Debug, Default)]
pub(super) struct Unreliable {
    /// Packs that a prune may delete, and those that the index names and the storage does not have,
    /// or not whole.
    pub(super) packs: HashSet<PackId>,
    /// Whether the index names any of them.
    pub(super) is_named: bool,
    /// Whether there are packs that the index does not name: a segment may be lost.
    has_unindexed: bool,
}

impl Session<'_> {
    /// Learns what may be relied on: prune's records first, the index after, never the other way
    /// round. What only a damaged segment knows counts as absent, and so does what lies in a pack
    /// that is not there whole, or that a prune may delete: it is written again.
    pub(super) fn look(&self) -> Result<Unreliable> {
        let repo = self.repo;
        let gc_first = repo.rules().gc_first;
        let mut packs = if gc_first { repo.generations()?.banned() } else { HashSet::new() };
        repo.index().reload()?;
        let there = repo.all_packs()?.into_iter().map(|pack| (pack.id, pack.len)).collect();
        if !gc_first {
            packs = repo.generations()?.banned();
        }
        Ok(self.compare(Unreliable { packs, ..Unreliable::default() }, there))
    }

    /// Adds what the index names and the storage, which has packs of these lengths, does not. Packs
    /// that a prune named long ago, and that the index does not know, cost nothing.
    fn compare(&self, mut unreliable: Unreliable, mut there: HashMap<PackId, u64>) -> Unreliable {
        there.retain(|id, _| !unreliable.packs.contains(id));
        let indexed = self.repo.index().packs();
        let named = indexed.iter().filter(|pack| there.contains_key(&pack.id)).count();
        unreliable.has_unindexed = named < there.len();
        for pack in indexed {
            let banned = unreliable.packs.contains(&pack.id);
            let whole = there.get(&pack.id) == Some(&pack.stored_len);
            if !banned && (whole || self.repo.heals_to(&pack)) {
                continue;
            }
            let object = ObjectKey::Pack(pack.kind, pack.id).to_string();
            if unreliable.packs.insert(pack.id) && first_said(&object) {
                tracing::error!("{object} is not there whole; what it held is written again");
            }
            unreliable.is_named = true;
        }
        unreliable
    }

    /// Whether the repository has a chunk in a place that can be relied on.
    #[must_use]
    pub fn has_chunk(&self, id: &ChunkId) -> bool {
        self.repo.index().has_place(id, |place| {
            self.is_there(place)
                && place.base.is_none_or(|base| {
                    !self.broken.contains(&(place.pack.id, place.block_offset))
                        && self.has_whole_chunk(&base)
                })
        })
    }

    /// What the chunk or page `id`, which is about to be written, may be told from: `like`, or that
    /// one's own base, where a sample promises that it saves something. What the repository cannot
    /// give is no base, nor is what lies in no place that can be relied on: of a pack that is not
    /// there whole some chunks may still be read, `id` even, which is written again just for that.
    #[must_use]
    pub fn base_for(
        &self,
        id: &ChunkId,
        plain: &[u8],
        element: Option<Element>,
        like: &ChunkId,
    ) -> Option<BaseChunk> {
        if plain.len() < TOLD_MIN {
            return None;
        }
        let base = match self.repo.base_of(like) {
            Ok(base) => base?,
            Err(err) => {
                tracing::debug!("{err}; what follows it is stored whole");
                return None;
            }
        };
        let reliable = base.id != *id && self.has_whole_chunk(&base.id);
        (reliable && promises_gain(plain, &base.bytes, element)).then_some(base)
    }

    /// The same, in a place that needs no other chunk.
    pub(crate) fn has_whole_chunk(&self, id: &ChunkId) -> bool {
        let whole = |place: &Place| place.base.is_none() && self.is_there(place);
        self.repo.index().has_place(id, whole)
    }

    pub(super) fn is_there(&self, place: &Place) -> bool {
        !self.unreliable.packs.contains(&place.pack.id)
    }

    /// Whether something that the index should know or have is not there, so that what a snapshot
    /// refers to must be looked at chunk by chunk.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.unreliable.is_named || self.unreliable.has_unindexed || self.repo.index().is_damaged()
    }
}
