//! All records of the index as they are at one moment, numbered: what a bitmap can be about.
//!
//! The numbers hold for this view only. Segments are checked whole first: a prune that took a
//! damaged record for none would delete what it stands for.

use std::collections::HashMap;
use std::sync::Arc;

use crate::format::index::{PackInfo, Place};
use crate::format::{ChunkId, ObjectKey};
use crate::repo::error::{InObject, RepoError, Result};

use super::Index;
use super::open::OpenSegment;

/// So often a segment may vanish between a listing and its reading.
const RELOADS_MAX: usize = 8;

/// A fixed view of the index.
#[derive(Debug)]
pub struct Records {
    segments: Arc<Vec<Arc<OpenSegment>>>,
    /// The number of each segment's first record.
    starts: Vec<u64>,
    len: u64,
}

impl Index {
    /// The records of all segments in force, after another look at the storage.
    ///
    /// # Errors
    /// `Corrupt` where a segment is damaged or unreadable.
    pub(crate) fn records(&self) -> Result<Records> {
        self.reload_whole()?;
        let segments = self.segments();
        let (mut starts, mut len) = (Vec::with_capacity(segments.len()), 0);
        for open in segments.iter() {
            open.check_whole().in_object(&open.object())?;
            starts.push(len);
            len += open.segment.len() as u64;
        }
        Ok(Records { segments, starts, len })
    }

    /// Looks at the storage until every segment that is listed could be opened: those that a prune
    /// removes in between are no damage.
    fn reload_whole(&self) -> Result<()> {
        for _ in 0..RELOADS_MAX {
            self.reload()?;
            let changes = self.changes();
            if !changes.skipped {
                return Ok(());
            }
            if let Some(id) = changes.damaged.keys().next() {
                return Err(RepoError::corrupt(ObjectKey::Segment(*id), "it cannot be read whole"));
            }
        }
        Err(RepoError::corrupt("index", "a segment in it cannot be read"))
    }
}

impl Records {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number that stands for a chunk: of its first record. `None` where the index does not
    /// know it.
    pub fn number(&self, id: &ChunkId) -> Result<Option<u64>> {
        for (open, start) in self.segments.iter().zip(&self.starts) {
            if let Some((at, _)) = open.segment.position(id).in_object(&open.object())? {
                return Ok(Some(start + at as u64));
            }
        }
        Ok(None)
    }

    /// All packs that the index names, each once.
    pub fn packs(&self) -> Result<Vec<PackInfo>> {
        let mut packs = HashMap::new();
        for open in self.segments.iter() {
            for pack in open.segment.packs() {
                let pack = pack.in_object(&open.object())?;
                packs.insert(pack.id, pack);
            }
        }
        Ok(packs.into_values().collect())
    }

    /// All places of a chunk, each once.
    pub fn places(&self, id: &ChunkId) -> Result<Vec<Place>> {
        let mut places = Vec::with_capacity(1);
        for open in self.segments.iter() {
            for place in open.segment.places(id).in_object(&open.object())? {
                add_once(&mut places, place.in_object(&open.object())?);
            }
        }
        Ok(places)
    }

    /// Calls `visit` for every chunk, by id, with its number and all its places, each once.
    pub fn for_each<E: From<RepoError>>(
        &self,
        mut visit: impl FnMut(u64, &ChunkId, &[Place]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = vec![0_usize; self.segments.len()];
        let mut places = Vec::new();
        while let Some(id) = self.least(&at) {
            places.clear();
            let mut number = None;
            for ((open, start), at) in self.segments.iter().zip(&self.starts).zip(&mut at) {
                while open.segment.ids().get(*at) == Some(&id.0) {
                    number.get_or_insert(start + *at as u64);
                    let place = open.segment.place(*at).in_object(&open.object())?;
                    add_once(&mut places, place);
                    *at += 1;
                }
            }
            visit(number.unwrap_or(0), &id, &places)?;
        }
        Ok(())
    }

    /// The least id that any segment has at its position.
    fn least(&self, at: &[usize]) -> Option<ChunkId> {
        let next =
            self.segments.iter().zip(at).filter_map(|(open, at)| open.segment.ids().get(*at));
        next.min().map(|id| ChunkId(*id))
    }
}

fn add_once(places: &mut Vec<Place>, place: Place) {
    if !places.contains(&place) {
        places.push(place);
    }
}
