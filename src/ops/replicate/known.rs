//! Ids of chunks at the destination, by those at the source, as far as this run has learned them.

use std::collections::HashMap;

use crate::format::ChunkId;

/// Entries of one generation; about 24 MiB each of the two.
const GENERATION: usize = 1 << 18;

/// What was learned last; what was not asked for in a while is forgotten.
#[derive(Debug, Default)]
pub(super) struct KnownIds {
    young: HashMap<ChunkId, ChunkId>,
    old: HashMap<ChunkId, ChunkId>,
}

impl KnownIds {
    pub(super) fn get(&mut self, id: &ChunkId) -> Option<ChunkId> {
        if let Some(there) = self.young.get(id) {
            return Some(*there);
        }
        let there = self.old.remove(id)?;
        self.add(*id, there);
        Some(there)
    }

    pub(super) fn add(&mut self, id: ChunkId, there: ChunkId) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, there);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_forgotten() {
        let id = |n: usize| ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes());
        let mut known = KnownIds::default();
        for n in 0..3 * GENERATION {
            known.add(id(n), id(n + 1));
            if n % 1000 == 0 {
                assert_eq!(known.get(&id(0)), Some(id(1)));
            }
        }
        assert!(known.young.len() + known.old.len() <= 2 * GENERATION);
        assert_eq!(known.get(&id(1)), None);
        assert_eq!(known.get(&id(3 * GENERATION - 1)), Some(id(3 * GENERATION)));
        known.clear();
        assert_eq!(known.get(&id(0)), None);
    }
}
