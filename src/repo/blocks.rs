//! Decoded blocks in memory, bounded in bytes.
//!
//! Sharded, so that threads that want different blocks do not wait for one another; threads that
//! want the same block decode it once. What must stay true: no lock is held while a block is read
//! or decoded but that of its own place; whoever will wait for one says so first
//! ([`about_to_block`]).

use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::format::{ChunkId, PackId};
use crate::sync::{about_to_block, lock};

use super::error::Result;
use super::weighted::WeightedLru;

/// Plain bytes of a block.
#[derive(Debug)]
pub(super) enum Decoded {
    /// All of them.
    Whole(Vec<u8>),
    /// Those before some place: more was not asked for.
    Start(Vec<u8>),
}

/// How much of a block is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Whole,
    /// So many of its first bytes; more is taken where it is there.
    Start(usize),
}

/// A decoded block, or the start of one, and what was done with it.
#[derive(Debug)]
pub(super) struct Block {
    plain: Vec<u8>,
    is_whole: bool,
    /// Chunks that were checked against their ids, in order of offset.
    verified: Mutex<Vec<(u32, ChunkId)>>,
    used: AtomicBool,
}

/// Verified bytes of one chunk; keeps its block alive.
#[derive(Debug, Clone)]
pub struct Chunk {
    block: Arc<Block>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.block.plain.get(self.range.clone()).unwrap_or_default()
    }
}

/// What is wrong with a chunk of a decoded block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkDefect {
    /// The block ends before it.
    Outside,
    /// Its bytes have another id.
    OtherContent,
}

impl Block {
    fn new(decoded: Decoded) -> Self {
        let (plain, is_whole) = match decoded {
            Decoded::Whole(plain) => (plain, true),
            Decoded::Start(plain) => (plain, false),
        };
        Self { plain, is_whole, verified: Mutex::new(Vec::new()), used: AtomicBool::new(false) }
    }

    const fn has(&self, wanted: Wanted) -> bool {
        match wanted {
            Wanted::Whole => self.is_whole,
            Wanted::Start(len) => self.is_whole || len <= self.plain.len(),
        }
    }

    /// Plain bytes of all its chunks.
    pub(super) const fn len(&self) -> usize {
        self.plain.len()
    }

    /// The chunk that lies there, after its bytes were compared with its id, once for all;
    /// `id_of` computes ids.
    pub(super) fn chunk(
        self: &Arc<Self>,
        id: &ChunkId,
        offset: u32,
        len: u32,
        id_of: impl FnOnce(&[u8]) -> ChunkId,
    ) -> Result<Chunk, ChunkDefect> {
        let start = offset as usize;
        let range = start..start + len as usize;
        let plain = self.plain.get(range.clone()).ok_or(ChunkDefect::Outside)?;
        let mark = (offset, *id);
        if lock(&self.verified).binary_search(&mark).is_err() {
            if id_of(plain) != *id {
                return Err(ChunkDefect::OtherContent);
            }
            let mut verified = lock(&self.verified);
            if let Err(at) = verified.binary_search(&mark) {
                verified.insert(at, mark);
            }
        }
        Ok(Chunk { block: Arc::clone(self), range })
    }

    /// Whether nobody has asked for it before; who reads ahead does not ask.
    pub(super) fn is_first_use(&self) -> bool {
        !self.used.load(Ordering::Relaxed) && !self.used.swap(true, Ordering::Relaxed)
    }
}

/// Pack, offset, and whether the block is told from others. A place can lie about the last; as part
/// of the key it keeps threads that decode what has no bases from ever waiting for one another.
pub(super) type BlockKey = (PackId, u32, bool);

/// A place in the cache: whoever comes first fills it, the others wait for this block only.
#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Vacant,
    Claimed,
    Filled(Arc<Block>),
}

impl Slot {
    fn set(&self, state: State) {
        *lock(&self.state) = state;
        self.changed.notify_all();
    }

    /// The block where as much as is wanted is there; else the place is the caller's to fill.
    fn block_or_claim(&self, wanted: Wanted) -> Option<Arc<Block>> {
        let mut state = lock(&self.state);
        if matches!(*state, State::Claimed) {
            drop(state);
            about_to_block();
            state = lock(&self.state);
        }
        loop {
            match &*state {
                State::Filled(block) if block.has(wanted) => return Some(Arc::clone(block)),
                State::Claimed => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                State::Vacant | State::Filled(_) => {
                    *state = State::Claimed;
                    return None;
                }
            }
        }
    }
}

/// The right to fill a place; others wait for it. Dropped unused, it leaves the place to them.
#[derive(Debug)]
pub(super) struct Claim<'c> {
    cache: &'c BlockCache,
    key: BlockKey,
    slot: Arc<Slot>,
    filled: bool,
}

impl Claim<'_> {
    pub(super) fn fill(mut self, decoded: Decoded) -> Arc<Block> {
        let block = Arc::new(Block::new(decoded));
        self.slot.set(State::Filled(Arc::clone(&block)));
        self.filled = true;
        self.cache.shard(&self.key).set_weight(&self.key, block.plain.len());
        block
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.filled {
            // An empty place weighs nothing, so nothing would ever evict it.
            self.cache.shard(&self.key).remove(&self.key);
            self.slot.set(State::Vacant);
        }
    }
}

type Shard = WeightedLru<BlockKey, Arc<Slot>>;

/// Decoded blocks, bounded in bytes.
#[derive(Debug)]
pub(crate) struct BlockCache {
    shards: Vec<Mutex<Shard>>,
}

const SHARDS: usize = 16;

impl BlockCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let shard = || Mutex::new(Shard::new(bytes_max / SHARDS));
        Self { shards: (0..SHARDS).map(|_| shard()).collect() }
    }

    fn shard(&self, key: &BlockKey) -> MutexGuard<'_, Shard> {
        let [a, ..] = key.0.0;
        // Blocks of content that does not compress begin at multiples of nearly a power of two: by
        // their low bits, or high ones, they would all be in one shard.
        let mixed = key.1.wrapping_mul(0x9e37_79b1) >> 16;
        let number = (usize::from(a) ^ mixed as usize) % SHARDS;
        match self.shards.get(number) {
            Some(shard) => lock(shard),
            None => unreachable!("shard numbers are below {SHARDS}"),
        }
    }

    fn slot(&self, key: BlockKey) -> Arc<Slot> {
        Arc::clone(self.shard(&key).get_or_insert(key, Arc::default))
    }

    /// The block of that key, made by `fill` where not as much as is wanted is there. Of several
    /// threads that ask together one makes it; where that one fails, the next one tries.
    pub(super) fn get(
        &self,
        key: BlockKey,
        wanted: Wanted,
        fill: impl FnOnce() -> Result<Decoded>,
    ) -> Result<Arc<Block>> {
        let slot = self.slot(key);
        if let Some(block) = slot.block_or_claim(wanted) {
            return Ok(block);
        }
        let claim = Claim { cache: self, key, slot, filled: false };
        about_to_block();
        fill().map(|decoded| claim.fill(decoded))
    }

    /// The right to fill the place of a block that is neither there as a whole nor being made. Who holds one
    /// must wait for no other block.
    pub(super) fn claim(&self, key: BlockKey) -> Option<Claim<'_>> {
        let slot = self.slot(key);
        let mut state = lock(&slot.state);
        let is_there = match &*state {
            State::Vacant => false,
            State::Claimed => true,
            State::Filled(block) => block.has(Wanted::Whole),
        };
        if is_there {
            return None;
        }
        *state = State::Claimed;
        drop(state);
        Some(Claim { cache: self, key, slot, filled: false })
    }

    /// Drops a block whose bytes turned out wrong: who asks next has it made anew.
    pub(super) fn forget(&self, key: &BlockKey) {
        self.shard(key).remove(key);
    }

    /// Whether the block is there, or is being made.
    pub(super) fn has(&self, key: &BlockKey) -> bool {
        self.shard(key).has(key)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::repo::RepoError;

    const ID: ChunkId = ChunkId([7; 32]);

    fn key(offset: u32) -> BlockKey {
        (PackId([1; 32]), offset, false)
    }

    #[test]
    fn threads_that_want_one_block_decode_it_once() {
        let (cache, decoded, start) =
            (BlockCache::new(1 << 20), AtomicUsize::new(0), Barrier::new(8));
        let fill = || {
            decoded.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(20));
            Ok(Decoded::Whole(vec![1; 100]))
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    assert_eq!(cache.get(key(0), Wanted::Whole, fill).unwrap().plain.len(), 100);
                });
            }
        });
        assert_eq!(decoded.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn failure_is_not_kept() {
        let cache = BlockCache::new(1 << 20);
        let failed =
            cache.get(key(0), Wanted::Whole, || Err(RepoError::ChunkMissing { chunk: ID }));
        assert!(failed.is_err() && !cache.has(&key(0)));
        let filled = cache.get(key(0), Wanted::Whole, || Ok(Decoded::Whole(vec![1])));
        assert!(filled.is_ok() && cache.has(&key(0)));
    }

    #[test]
    fn start_of_a_block_serves_those_who_want_no_more() {
        let cache = BlockCache::new(1 << 20);
        let start = |len: usize| {
            let block = cache.get(key(0), Wanted::Start(len), || Ok(Decoded::Start(vec![1; len])));
            block.unwrap().len()
        };
        assert_eq!((start(10), start(4), start(20), start(10)), (10, 10, 20, 20));
        let whole = || cache.get(key(0), Wanted::Whole, || Ok(Decoded::Whole(vec![1; 30])));
        assert_eq!(whole().unwrap().len(), 30);
        assert_eq!(start(99), 30, "there is no more of it");
        assert!(cache.claim(key(0)).is_none());
        cache.get(key(1), Wanted::Start(1), || Ok(Decoded::Start(vec![1]))).unwrap();
        cache.claim(key(1)).unwrap().fill(Decoded::Whole(vec![1; 30]));
        let failed =
            cache.get(key(2), Wanted::Start(1), || Ok(Decoded::Start(vec![1]))).and_then(|_| {
                cache.get(key(2), Wanted::Whole, || Err(RepoError::ChunkMissing { chunk: ID }))
            });
        assert!(failed.is_err() && !cache.has(&key(2)));
    }

    #[test]
    fn claimed_block_is_waited_for_and_left_to_who_waits() {
        let cache = BlockCache::new(1 << 20);
        std::thread::scope(|scope| {
            let (one, two) = (cache.claim(key(1)).unwrap(), cache.claim(key(2)).unwrap());
            assert!(cache.claim(key(1)).is_none() && cache.has(&key(1)));
            let asks = |number| {
                let nine = || Ok(Decoded::Whole(vec![9]));
                cache.get(key(number), Wanted::Whole, nine).unwrap().plain.clone()
            };
            let (first, second) = (scope.spawn(move || asks(1)), scope.spawn(move || asks(2)));
            one.fill(Decoded::Whole(vec![7]));
            drop(two);
            assert_eq!((first.join().unwrap(), second.join().unwrap()), (vec![7], vec![9]));
        });
    }

    #[test]
    fn chunk_is_checked_once_and_never_trusted_at_another_place() {
        let block = Arc::new(Block::new(Decoded::Whole(vec![1, 2, 3, 4])));
        let checks = AtomicUsize::new(0);
        let check = |plain: &[u8]| {
            checks.fetch_add(1, Ordering::SeqCst);
            if plain == [2, 3] { ID } else { ChunkId([0; 32]) }
        };
        for _ in 0..2 {
            assert_eq!(*block.chunk(&ID, 1, 2, check).unwrap(), [2, 3]);
        }
        assert_eq!(checks.load(Ordering::SeqCst), 1);
        assert_eq!(block.chunk(&ID, 2, 2, check).unwrap_err(), ChunkDefect::OtherContent);
        assert_eq!(block.chunk(&ID, 3, 2, check).unwrap_err(), ChunkDefect::Outside);
        assert_eq!(
            block.chunk(&ChunkId([9; 32]), 1, 2, check).unwrap_err(),
            ChunkDefect::OtherContent
        );
        assert!(block.is_first_use() && !block.is_first_use());
    }
}
