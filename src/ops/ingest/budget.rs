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
pub const MEMORY_MIN: u64 = 192 * MIB;

/// The program, the walker, the assembler, decoded pages of the parent, mapped segments' working
/// set. 10 million unchanged files measure 50 MiB.
const BASE: u64 = 48 * MIB;
/// A buffer to read into, and two open blocks (one of deltas) with a longest usual chunk each.
const READER: u64 = 9 * MIB;
/// A block, its coded and its decoded bytes, zstd's tables.
const CODER: u64 = 8 * MIB;
/// A block on its way between them.
const BLOCK: u64 = MIB;
/// A pack until it is stored: its target, the block that fills it, its footer.
const PACK: u64 = 36 * MIB;

/// How an ingest is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    /// Threads that read, and as many that code.
    pub(super) threads: usize,
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
        let pair = READER + CODER + 2 * BLOCK;
        let threads = wanted.min((free.saturating_sub(3 * PACK) / pair).max(1));
        let rest = free.saturating_sub(threads * pair + 2 * PACK);
        let storing = (rest / PACK).clamp(1, threads + 1);
        let blocks = (2 * threads + rest.saturating_sub(storing * PACK) / BLOCK).min(8 * threads);
        Ok(Self {
            threads: threads as usize,
            batches: 2 * threads as usize,
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
        let threads = budget.threads as u64;
        BASE + block_cache(memory)
            + threads * (READER + CODER)
            + budget.blocks as u64 * BLOCK
            + budget.packs as u64 * PACK
    }

    #[test]
    fn the_parts_fit_the_whole() {
        for memory in (MEMORY_MIN / MIB..4096).step_by(7).map(|mib| mib * MIB) {
            for threads in [1, 2, 3, 8, 64, 1000] {
                let budget = Budget::new(threads, memory).unwrap();
                assert!(sum(&budget, memory) <= memory, "{memory} {budget:?}");
                assert!(budget.threads >= 1 && budget.packs >= 3 && budget.blocks >= 2);
                assert!(budget.threads <= threads);
            }
        }
    }

    #[test]
    fn the_default_serves_many_threads() {
        let budget = Budget::new(2, MEMORY_DEFAULT).unwrap();
        assert_eq!((budget.threads, budget.blocks, budget.packs), (2, 16, 5));
        assert_eq!(Budget::new(64, MEMORY_DEFAULT).unwrap().threads, 17);
        assert_eq!(Budget::new(64, 4 << 30).unwrap().threads, 64);
    }

    #[test]
    fn too_little_is_refused() {
        assert!(Budget::new(2, MEMORY_MIN - 1).is_err());
    }
}
