//! What the memory of an ingest goes to: one number in, all lengths of queues out.
//!
//! Everything large that an ingest holds is counted here: each reader's buffer and open blocks,
//! each coder's buffers, the queues between them, packs until they are stored, the cache of blocks
//! that were read. What stays small (nodes, names, a page per level) is in [`BASE`].

use crate::codec::Compression;
use crate::format::limits;
use crate::ops::error::{OpError, Result};

const MIB: u64 = 1 << 20;

/// What an ingest may use unless told otherwise.
pub const MEMORY_DEFAULT: u64 = 512 * MIB;
/// With less there is no room for four readers, a coder and three packs, however small chunks are.
pub const MEMORY_MIN: u64 = 240 * MIB;

/// The program, the walker, the assembler, decoded pages of the parent, mapped segments' working
/// set. 10 million unchanged files measure 50 MiB.
const BASE: u64 = 48 * MIB;
/// What a reader reads into, at least.
const BUFFER: u64 = 4 * MIB;
/// A pack until it is stored: its target and its footer. The block that fills it comes on top.
const PACK: u64 = 33 * MIB;

/// What decides how much one thread holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// The longest chunk in bytes.
    pub(super) chunk_max: u64,
    /// zstd's tables for one block.
    pub(super) tables: u64,
}

impl Load {
    pub(super) fn new(chunk_max: usize, compression: Compression) -> Self {
        // Measured with blocks of 1 MiB: 1.3 MiB at level 3, 9 at level 12, 20 at level 19.
        let tables = match compression.level() {
            None | Some(..=9) => 3 * MIB / 2,
            Some(_) => 20 * MIB,
        };
        Self { chunk_max: chunk_max as u64, tables }
    }

    /// A block: its target, or one chunk that is longer.
    fn block(self) -> u64 {
        self.chunk_max.max(limits::BLOCK_TARGET as u64)
    }

    /// A buffer to read into, an open block of chunks by themselves, two shorter ones of noise and of
    /// pages, which together are no more than one, and one with its bases.
    fn reader(self) -> u64 {
        BUFFER.max(2 * self.chunk_max) + 4 * self.block()
    }

    /// A block and its bases, twice its coded and once its decoded bytes, a difference, zstd's
    /// tables for itself and for a frame after a base.
    fn coder(self) -> u64 {
        6 * self.block() + 2 * self.tables
    }

    fn pack(self) -> u64 {
        PACK + self.block()
    }

    /// The least that an ingest can do with, beside the block cache.
    fn least(self) -> u64 {
        BASE + 3 * self.pack() + readers(1) * self.reader() + self.coder() + 2 * 2 * self.block()
    }
}

/// Reading cold files waits for the disk most of the time. On two processors, 105,000 source files
/// took 14.3 s with one reader per processor, 11.6 s with three; 500,000 files of 4 KB took 24.7 to
/// 39.5 s with two, 19.0 to 22.8 s with four, and no less with six. Where that makes more than
/// [`READERS_MANY`], two do.
fn readers(coders: u64) -> u64 {
    (4 * coders).min(READERS_MANY).max(2 * coders)
}

const READERS_MANY: u64 = 16;

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
    pub(super) fn new(threads: usize, memory: u64, load: Load) -> Result<Self> {
        // The block cache takes a share of its own; see `block_cache`.
        let need = (load.least() + block_cache(memory)).max(MEMORY_MIN);
        if memory < need {
            let what = format!(
                "an ingest with chunks of up to {} KiB needs --max-memory {}M or more",
                load.chunk_max >> 10,
                need.div_ceil(MIB)
            );
            return Err(OpError::Input(what));
        }
        let free = memory - BASE - block_cache(memory);
        let wanted = threads.max(1) as u64;
        // A block on its way may have its bases with it.
        let block = 2 * load.block();
        // Two packs are open, and one is being stored.
        let room = free - 3 * load.pack();
        let used =
            |coders: u64| coders * (load.coder() + 2 * block) + readers(coders) * load.reader();
        let coders = (1..=wanted).rev().find(|&coders| used(coders) <= room).unwrap_or(1);
        let readers = readers(coders);
        let rest = room.saturating_sub(used(coders));
        let further = (rest / load.pack()).min(STORING_MAX - 1);
        let blocks = 2 * coders + rest.saturating_sub(further * load.pack()) / block;
        Ok(Self {
            coders: coders as usize,
            readers: readers as usize,
            batches: 2 * readers as usize,
            blocks: blocks.min(8 * coders) as usize,
            events: 4096,
            packs: 3 + further as usize,
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

    fn sum(budget: &Budget, memory: u64, load: Load) -> u64 {
        BASE + block_cache(memory)
            + budget.readers as u64 * load.reader()
            + budget.coders as u64 * load.coder()
            + budget.blocks as u64 * 2 * load.block()
            + budget.packs as u64 * load.pack()
    }

    fn usual() -> Load {
        Load::new(2 << 20, Compression::default())
    }

    #[test]
    fn the_parts_fit_the_whole() {
        for compression in [Compression::Fast, Compression::Max] {
            for chunk_max in [4 << 10, 256 << 10, 1 << 20, 16 << 20] {
                let load = Load::new(chunk_max, compression);
                let least = (load.least() + 64 * MIB).max(MEMORY_MIN);
                for memory in (least / MIB + 1..4096).step_by(37).map(|mib| mib * MIB) {
                    for threads in [1, 2, 3, 8, 64, 1000] {
                        let budget = Budget::new(threads, memory, load).unwrap();
                        assert!(sum(&budget, memory, load) <= memory, "{memory} {budget:?}");
                        assert!(budget.coders >= 1 && budget.packs >= 3 && budget.blocks >= 2);
                        assert!(budget.coders <= threads && budget.readers >= 4);
                    }
                }
            }
        }
    }

    #[test]
    fn the_default_serves_many_threads() {
        let budget = Budget::new(2, MEMORY_DEFAULT, usual()).unwrap();
        assert_eq!((budget.coders, budget.readers), (2, 8));
        assert_eq!((budget.blocks, budget.packs), (16, 5));
        assert_eq!([1, 2, 4, 5, 8, 9, 64].map(readers), [4, 8, 16, 16, 16, 18, 128]);
        assert!(Budget::new(64, MEMORY_DEFAULT, usual()).unwrap().coders >= 4);
        assert_eq!(Budget::new(64, 4 << 30, usual()).unwrap().coders, 64);
    }

    #[test]
    fn too_little_is_refused_and_long_chunks_need_more() {
        assert!(Budget::new(2, MEMORY_MIN, usual()).is_ok());
        assert!(Budget::new(2, MEMORY_MIN - 1, usual()).is_err());
        let long = Load::new(16 << 20, Compression::Max);
        assert!(Budget::new(2, MEMORY_MIN, long).is_err());
        assert!(Budget::new(2, 2 << 30, long).is_ok());
    }
}
