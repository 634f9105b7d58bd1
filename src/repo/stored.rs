//! What a file's content takes in the packs.

use std::collections::{HashMap, HashSet};

use crate::format::index::Place;
use crate::format::{Content, File, PackId, limits};

use super::Repository;
use super::error::{RepoError, Result};

/// A block, and the bytes of a file that are in it.
struct Share {
    place: Place,
    plain: u64,
}

impl Repository {
    /// Bytes of the packs that a file's content takes: of each block that holds chunks of it, the
    /// share that they have of the block's plain bytes. A chunk that occurs twice counts once,
    /// what other files share counts whole, content that lies in the node counts nothing. Reads
    /// blocks only where the file has a part of them; an index look-up for each chunk.
    pub fn stored_len_of(&self, file: &File) -> Result<u64> {
        let mut shares: HashMap<(PackId, u32), Share> = HashMap::new();
        let mut seen = HashSet::new();
        let mut at = 0;
        while at < file.size && matches!(file.content, Content::Extents { .. }) {
            let Some(placed) = self.extent_at(file, at)? else { break };
            at = placed.offset + placed.extent.len;
            if placed.extent.is_hole() || !seen.insert(placed.extent.id) {
                continue;
            }
            let places = self.index().places(&placed.extent.id)?;
            let Some(place) = places.first().copied() else {
                return Err(RepoError::ChunkMissing { chunk: placed.extent.id });
            };
            let key = (place.pack.id, place.block_offset);
            let share = shares.entry(key).or_insert(Share { place, plain: 0 });
            share.plain += u64::from(place.chunk_len);
        }
        shares.into_values().try_fold(0_u64, |sum, share| {
            let stored = u64::from(share.place.block_len);
            let block = if share.plain >= limits::BLOCK_TARGET as u64 {
                share.plain
            } else {
                self.chunks.block_len(&share.place)?.max(share.plain)
            };
            let part = u128::from(stored) * u128::from(share.plain) / u128::from(block.max(1));
            Ok(sum.saturating_add(u64::try_from(part).unwrap_or(stored)))
        })
    }
}
