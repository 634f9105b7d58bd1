//! What the memory of an ingest goes to: one number in, all lengths of queues out.
//!
//! Everything large that an ingest holds is counted here: each reader's buffer and open blocks,
//! each coder's buffers, the queues between them, packs until they are stored, the cache of blocks
//! that were read. What stays small (nodes, names, a page per level) is in [`BASE`].

use crate::ops::error::{OpError, Result};

const MIB: u64 = 1 << 20;

/// What an ingest may use unless told otherwise.
pub const MEMORY_DEFAULT: u64 = 512 * MIB;
/// With less there is no room for two threads and two packs.
pub const MEMORY_MIN: u64 = 224 * MIB;

/// The program, the walker, the assembler, decoded pages of the parent, mapped segments' working
/// set. 10 million unchanged files measure 50 MiB.
const BASE: u64 = 48 * MIB;
/// A buffer to read into, and two open blocks with a longest usual chunk each, one of them with the
/// bases of its chunks.
const READER: u64 = 8 * MIB;
/// A block, its coded and its decoded bytes, zstd's tables.
const CODER: u64 = 8 * MIB;
/// A block on its way between them.
const BLOCK: u64 = MIB;
/// A pack until it is stored: its target, the block that fills it, its footer.
const PACK: u64 = 36 * MIB;

/// Reading cold files waits for the disk most of the time: 105,000 source files took 14.3 s with one
/// reader per processor and 11.6 s with three.
const READERS_PER_CODER: u64 = 2;
const READERS_MIN: u64 = 4;
/// Packs that are being stored at a time.
const STORING_MAX: u64 = 3;

/// How an ingest is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    /// Threads that code.
    pub(super) coders: usize,
    /// Threads that read.
    pub(super) readers: usize,
    /// Batches of at most 64 files' names and open directories.
    pub(super) batches: usize,
    /// Blocks between readers and coders.
    pub(super) blocks: usize,
    /// Events between walker and assembler; each holds one node, of a few hundred bytes.
    pub(super) events: usize,
    /// Packs in memory: one open of each kind, and those that are being stored.
    pub(super) packs: usize,
}

impl Budget {
    /// As many threads as wanted, or as have room.
    pub(super) fn new(threads: usize, memory: u64) -> Result<Self> {
        if memory < MEMORY_MIN {
            let what = format!("an ingest needs --max-memory {} MiB or more", MEMORY_MIN / MIB);
            return Err(OpError::Input(what));
        }
        // The block cache takes a share of its own; see `block_cache`.
        let free = memory - BASE - block_cache(memory);
        let wanted = threads.max(1) as u64;
        // Two packs are open, and one is being stored.
        let each = CODER + READERS_PER_CODER * READER + 2 * BLOCK;
        let room = free.saturating_sub(3 * PACK);
        let coders = wanted.min((room / each).max(1));
        let readers = (READERS_PER_CODER * coders).max(READERS_MIN);
        let used = coders * (CODER + 2 * BLOCK) + readers * READER;
        // The least memory that is allowed has room for one coder and as many readers as that.
        let rest = free.saturating_sub(used + 2 * PACK);
        let storing = (rest / PACK).clamp(1, STORING_MAX);
        let blocks = (2 * coders + rest.saturating_sub(storing * PACK) / BLOCK).min(8 * coders);
        Ok(Self {
            coders: coders as usize,
            readers: readers as usize,
            batches: 2 * readers as usize,
            blocks: blocks as usize,
            events: 4096,
            packs: 2 + storing as usize,
        })
    }
}

/// The share of decoded blocks: pages of the parent snapshot, bases of deltas.
#[must_use]
pub fn block_cache(memory: u64) -> u64 {
    (memory / 16).clamp(8 * MIB, 64 * MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(budget: &Budget, memory: u64) -> u64 {
        BASE + block_cache(memory)
            + budget.readers as u64 * READER
            + budget.coders as u64 * CODER
            + budget.blocks as u64 * BLOCK
            + budget.packs as u64 * PACK
    }

    #[test]
    fn the_parts_fit_the_whole() {
        for memory in (MEMORY_MIN / MIB..4096).step_by(7).map(|mib| mib * MIB) {
            for threads in [1, 2, 3, 8, 64, 1000] {
                let budget = Budget::new(threads, memory).unwrap();
                assert!(sum(&budget, memory) <= memory, "{memory} {budget:?}");
                assert!(budget.coders >= 1 && budget.packs >= 3 && budget.blocks >= 2);
                assert!(budget.coders <= threads && budget.readers >= 4);
            }
        }
    }

    #[test]
    fn the_default_serves_many_threads() {
        let budget = Budget::new(2, MEMORY_DEFAULT).unwrap();
        assert_eq!((budget.coders, budget.readers), (2, 4));
        assert_eq!((budget.blocks, budget.packs), (16, 5));
        assert!(Budget::new(64, MEMORY_DEFAULT).unwrap().coders >= 12);
        assert_eq!(Budget::new(64, 4 << 30).unwrap().coders, 64);
    }

    #[test]
    fn too_little_is_refused() {
        assert!(Budget::new(2, MEMORY_MIN - 1).is_err());
    }
}
