//! What a file's content takes in the packs.

use std::collections::{BTreeMap, HashSet};

use crate::format::index::Place;
use crate::format::{Content, File, PackId};

use super::Repository;
use super::error::{RepoError, Result};
use super::proved::BlockProver;

/// A file in more blocks than this is asked of the footers of its packs, which say how long blocks are.
/// Of a smaller one the blocks are decoded: its neighbours, which are asked next, have the same.
const DECODED_MAX: usize = 16;

/// A block, and the bytes of a file that are in it.
struct Share {
    place: Place,
    plain: u64,
}

impl Repository {
    /// Bytes of the packs that a file's content takes: of each block that holds chunks of it, the
    /// share that they have of the block's plain bytes. A chunk that occurs twice counts once,
    /// what other files share counts whole, content that lies in the node counts nothing. Reads
    /// a few blocks, or the footers of packs; an index look-up for each chunk.
    pub fn stored_len_of(&self, file: &File) -> Result<u64> {
        // In the order of packs, so that each footer is read once.
        let mut shares: BTreeMap<(PackId, u32), Share> = BTreeMap::new();
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
        let mut footers = (shares.len() > DECODED_MAX).then(|| BlockProver::new(self));
        shares.into_values().try_fold(0_u64, |sum, share| {
            let stored = u64::from(share.place.block_len);
            let block = match &mut footers {
                Some(footers) => footers.entry(&share.place)?.plain_len.into(),
                None => self.chunks.block_len(&share.place)?,
            };
            let block = block.max(share.plain);
            let part = u128::from(stored) * u128::from(share.plain) / u128::from(block.max(1));
            Ok(sum.saturating_add(u64::try_from(part).unwrap_or(stored)))
        })
    }
}
