//! A number for each chunk that the index knows, so that what is told of chunks fits into a table.
//!
//! Numbers are positions in the segments in force, one after the other: nothing is built, and a
//! hundred million chunks take the table's bytes only. A chunk with several places goes by the first
//! of them; the others' numbers stand for nothing.

use std::sync::Arc;

use crate::format::ChunkId;
use crate::format::index::Place;

use super::Repository;
use super::error::{InObject, Result};
use super::index::OpenSegment;

/// The segments in force at a time.
#[derive(Debug)]
pub struct ChunkNumbers {
    segments: Arc<Vec<Arc<OpenSegment>>>,
}

impl ChunkNumbers {
    /// One more than the highest number.
    #[must_use]
    pub fn end(&self) -> usize {
        self.segments.iter().map(|open| open.segment.len()).sum()
    }

    /// A chunk's number and the place that it goes by; `None` where the index does not know it.
    pub fn find(&self, id: &ChunkId) -> Result<Option<(usize, Place)>> {
        let mut before = 0;
        for open in self.segments.iter() {
            let found = open.segment.position(id).in_object(&open.object())?;
            if let Some((at, place)) = found {
                return Ok(Some((before + at, place)));
            }
            before += open.segment.len();
        }
        Ok(None)
    }

    /// All places in the order of their numbers.
    pub fn places(&self) -> impl Iterator<Item = Result<Place>> + '_ {
        self.segments.iter().flat_map(|open| open.iter().map(|item| item.map(|(_, place)| place)))
    }
}

impl Repository {
    /// Numbers of the chunks that the index knows now.
    #[must_use]
    pub fn chunk_numbers(&self) -> ChunkNumbers {
        ChunkNumbers { segments: self.index().segments() }
    }
}
