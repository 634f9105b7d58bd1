//! Of chunks that lie in several places, the one that stays; and what each pack comes to.
//!
//! A chunk's place that needs no other chunk goes before one that does. What must stay true: where
//! a block that is told from others is kept, the bases of *all* its chunks are kept whole, also of
//! those that nothing needs, for none of its chunks can be decoded without.

use std::collections::{HashMap, HashSet};

use crate::format::index::Place;
use crate::format::{ChunkId, PackId, PackKind};
use crate::ops::Result;
use crate::repo::{RepoError, Repository};

use super::mark::Marks;

/// A pack, and what of it is needed. Sums are of plain bytes.
#[derive(Debug, Clone)]
pub(super) struct PackUse {
    pub(super) kind: PackKind,
    pub(super) id: PackId,
    /// As the storage has it; 0 where it is not there.
    pub(super) stored_len: u64,
    /// Whether the index names it.
    pub(super) indexed: bool,
    /// Whether it is there as the index says, and no prune has decided to delete it.
    pub(super) usable: bool,
    /// All chunks.
    pub(super) total: u64,
    /// Needed chunks that have no other place.
    sole: u64,
    /// Needed chunks whose place here is the one that stays.
    pub(super) kept: u64,
}

impl PackUse {
    /// Stored bytes that nothing needs, taken to be as large a part as of the plain ones.
    pub(super) fn unused(&self) -> u64 {
        let share =
            u128::from(self.stored_len) * u128::from(self.total - self.kept.min(self.total));
        match self.total {
            0 => self.stored_len,
            total => u64::try_from(share / u128::from(total)).unwrap_or(self.stored_len),
        }
    }
}

/// All packs, by number.
#[derive(Debug)]
pub(super) struct PackTable {
    numbers: HashMap<PackId, usize>,
    pub(super) packs: Vec<PackUse>,
    /// Blocks that nobody can read.
    broken: HashSet<(PackId, u32)>,
}

impl PackTable {
    /// What the storage and the index have. `doomed` packs are as good as gone. Where something is
    /// lost, packs that no segment names are left out: what is lost may lie in them, if a segment is
    /// what went.
    pub(super) fn new(repo: &Repository, marks: &Marks, doomed: &HashSet<PackId>) -> Result<Self> {
        let broken = marks.broken().cloned().unwrap_or_default();
        let mut table = Self { numbers: HashMap::new(), packs: Vec::new(), broken };
        let infos = marks.records.packs()?;
        let named: HashSet<PackId> = infos.iter().map(|info| info.id).collect();
        for stored in repo.all_packs()? {
            if marks.has_losses() && !named.contains(&stored.id) {
                continue;
            }
            table.add(stored.kind, stored.id).stored_len = stored.len;
        }
        for info in infos {
            let pack = table.add(info.kind, info.id);
            pack.indexed = true;
            pack.usable = pack.stored_len == info.stored_len && !doomed.contains(&info.id);
        }
        Ok(table)
    }

    fn add(&mut self, kind: PackKind, id: PackId) -> &mut PackUse {
        let next = self.packs.len();
        let number = *self.numbers.entry(id).or_insert(next);
        if number == next {
            let (indexed, usable) = (false, false);
            let (stored_len, total, sole, kept) = (0, 0, 0, 0);
            self.packs.push(PackUse { kind, id, stored_len, indexed, usable, total, sole, kept });
        }
        &mut self.packs[number]
    }

    pub(super) fn number(&self, id: &PackId) -> Option<usize> {
        self.numbers.get(id).copied()
    }

    pub(super) fn of(&self, place: &Place) -> Option<&PackUse> {
        self.packs.get(self.number(&place.pack.id)?)
    }

    fn of_mut(&mut self, place: &Place) -> Option<&mut PackUse> {
        let number = self.number(&place.pack.id)?;
        self.packs.get_mut(number)
    }

    /// Whether a place gives its chunk.
    pub(super) fn is_usable(&self, place: &Place) -> bool {
        self.of(place).is_some_and(|pack| pack.usable)
            && !self.broken.contains(&(place.pack.id, place.block_offset))
    }

    /// The place of a needed chunk that stays, the same each time: one that needs no other chunk,
    /// in the pack of which the largest part is needed anyway.
    pub(super) fn best<'p>(&self, places: &'p [Place]) -> Option<&'p Place> {
        let rank = |place: &&Place| {
            let pack = self.of(place);
            let part = pack.map_or(0, |pack| {
                u128::from(pack.sole) * 1_000_000 / u128::from(pack.total.max(1))
            });
            (place.base.is_none(), part, place.pack.id, place.block_offset, place.chunk_offset)
        };
        places.iter().filter(|place| self.is_usable(place)).max_by_key(rank)
    }

    /// Adds up what is needed of each pack. Marks bases of what is kept.
    pub(super) fn add_up(&mut self, marks: &mut Marks) -> Result<()> {
        marks.join();
        let mut told = ToldBlocks::default();
        marks.records.for_each(|number, id, places| -> Result<()> {
            if marks.live.has(number) {
                told.add(places, |place| self.is_usable(place));
                if !places.iter().any(|place| self.is_usable(place)) {
                    return Err(RepoError::ChunkMissing { chunk: *id }.into());
                }
            }
            Ok(())
        })?;
        for base in told.bases(marks)? {
            let places = marks.records.places(&base)?;
            if !places.iter().any(|place| place.base.is_none() && self.is_usable(place)) {
                return Err(RepoError::ChunkMissing { chunk: base }.into());
            }
            marks.mark(&base)?;
        }
        marks.records.for_each(|number, _, places| -> Result<()> {
            let sole = marks.live.has(number) && places.len() == 1;
            for place in places {
                if let Some(pack) = self.of_mut(place) {
                    pack.total += u64::from(place.chunk_len);
                    pack.sole += if sole { u64::from(place.chunk_len) } else { 0 };
                }
            }
            Ok(())
        })?;
        marks.records.for_each(|number, _, places| -> Result<()> {
            if marks.live.has(number)
                && let Some(place) = self.best(places)
                && let Some(pack) =
                    self.number(&place.pack.id).and_then(|at| self.packs.get_mut(at))
            {
                pack.kept += u64::from(place.chunk_len);
            }
            Ok(())
        })
    }
}

/// Blocks that are told from other chunks and that something needs.
#[derive(Debug, Default)]
pub(super) struct ToldBlocks(HashSet<(PackId, u32)>);

impl ToldBlocks {
    /// Takes note of a needed chunk: unless one of its places that count is whole, the blocks of
    /// all of them are needed.
    pub(super) fn add(&mut self, places: &[Place], counts: impl Fn(&Place) -> bool) {
        if places.iter().any(|place| place.base.is_none() && counts(place)) {
            return;
        }
        let told = places.iter().filter(|place| counts(place));
        self.0.extend(told.map(|place| (place.pack.id, place.block_offset)));
    }

    /// The bases of all chunks of those blocks.
    pub(super) fn bases(&self, marks: &Marks) -> Result<HashSet<ChunkId>> {
        let mut bases = HashSet::new();
        if self.0.is_empty() {
            return Ok(bases);
        }
        marks.records.for_each(|_, _, places| -> Result<()> {
            let told = |place: &&Place| self.0.contains(&(place.pack.id, place.block_offset));
            bases.extend(places.iter().filter(told).filter_map(|place| place.base));
            Ok(())
        })?;
        Ok(bases)
    }
}
