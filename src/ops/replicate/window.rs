//! A part of the walk, as much as is held in memory: events in their order, and the chunks in them
//! that must be moved, by the blocks that they lie in.

use std::collections::{HashMap, HashSet};

use crate::format::index::Place;
use crate::format::{ChunkId, Extent, PackId};
use crate::repo::{Repository, Session};

use super::failure::Failure;
use super::known::KnownIds;
use super::walk::{Event, Met, Walk};

/// Events of one window: nodes of some hundred bytes each.
const EVENTS_MAX: usize = 16 << 10;
/// Chunks that one window moves.
const CHUNKS_MAX: usize = 32 << 10;

/// A block, and the chunks in it that are wanted.
#[derive(Debug)]
pub(super) struct Job {
    /// `None` where the index names no place: another look may find one.
    pub(super) place: Option<Place>,
    pub(super) wanted: Vec<ChunkId>,
}

/// What is known of ids while a window is filled.
pub(super) struct Ids<'a> {
    pub(super) from: &'a Repository,
    pub(super) to: &'a Repository,
    pub(super) session: &'a Session<'a>,
    pub(super) same: bool,
    pub(super) degraded: bool,
    pub(super) known: &'a mut KnownIds,
}

impl Ids<'_> {
    /// The id at the destination of a chunk that needs no moving.
    fn settled(&mut self, met: &Met<'_>) -> Option<ChunkId> {
        let id = met.extent.id;
        if self.same {
            return self.session.has_chunk(&id).then_some(id);
        }
        self.known.get(&id).or_else(|| self.at_its_place(met))
    }

    /// The id that a chunk has there which was at the same place of the file before.
    fn at_its_place(&self, met: &Met<'_>) -> Option<ChunkId> {
        let (here, there) = met.old?;
        let same_place = |repo: &Repository, file| {
            let placed = repo.extent_at(file, met.offset).ok()??;
            (placed.offset == met.offset && placed.extent.len == met.extent.len)
                .then_some(placed.extent.id)
        };
        same_place(self.from, here).filter(|id| *id == met.extent.id)?;
        let id = same_place(self.to, there).filter(|id| *id != ChunkId::HOLE)?;
        (!self.degraded || self.session.has_chunk(&id)).then_some(id)
    }
}

/// Events in their order, and what they need.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) events: Vec<Event>,
    pub(super) jobs: Vec<Job>,
    /// Ids at the destination of the chunks in it, where those differ.
    pub(super) ids: HashMap<ChunkId, ChunkId>,
    by_block: HashMap<(PackId, u32), usize>,
    wanted: HashSet<ChunkId>,
}

impl Window {
    /// The next part of the walk. It is empty at the end.
    pub(super) fn fill(walk: &mut Walk<'_>, ids: &mut Ids<'_>) -> Result<Self, Failure> {
        let mut window = Self::default();
        while window.events.len() < EVENTS_MAX && window.wanted.len() < CHUNKS_MAX {
            let Some(event) = walk.next(&mut |met| window.meet(&met, ids))? else { break };
            window.events.push(event);
        }
        Ok(window)
    }

    fn meet(&mut self, met: &Met<'_>, ids: &mut Ids<'_>) -> Result<(), Failure> {
        let id = met.extent.id;
        if self.wanted.contains(&id) || self.ids.contains_key(&id) {
            return Ok(());
        }
        if let Some(there) = ids.settled(met) {
            if !ids.same {
                self.ids.insert(id, there);
            }
            return Ok(());
        }
        self.wanted.insert(id);
        let places = ids.from.chunk_places(&id)?;
        // Stored whole where it can be: others may be told from it.
        let place = places.iter().find(|place| place.base.is_none()).or(places.first()).copied();
        let next = self.jobs.len();
        let number = match place {
            None => next,
            Some(place) => {
                *self.by_block.entry((place.pack.id, place.block_offset)).or_insert(next)
            }
        };
        match self.jobs.get_mut(number) {
            Some(job) => job.wanted.push(id),
            None => self.jobs.push(Job { place, wanted: vec![id] }),
        }
        Ok(())
    }

    /// The path of the first file that has one of these chunks.
    pub(super) fn path_of(&self, chunks: &[ChunkId]) -> Vec<u8> {
        let mut path: &[u8] = &[];
        for event in &self.events {
            match event {
                Event::File(_, at) => path = at,
                Event::Extents(extents) if extents.iter().any(|it| chunks.contains(&it.id)) => {
                    break;
                }
                _ => {}
            }
        }
        path.to_vec()
    }

    /// The same extent by its id at the destination.
    pub(super) fn there(ids: &HashMap<ChunkId, ChunkId>, extent: Extent) -> Extent {
        Extent { id: ids.get(&extent.id).copied().unwrap_or(extent.id), ..extent }
    }
}
