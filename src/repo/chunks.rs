//! The one door to stored content: a chunk id in, verified bytes out.
//!
//! Blocks are read whole, opened and decoded into a cache that is bounded in bytes and sharded, so
//! that neighbours of a chunk come for free. Each chunk is checked against its id the first time
//! it is taken from a decoded block. Several threads that want one block decode it once.

use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use crate::format::index::Place;
use crate::format::{ChunkId, ObjectKey, PackId};
use crate::storage::Storage;
use crate::sync::lock;

use super::counters::Counters;
use super::error::{RepoError, Result};
use super::index::Index;
use super::pack::{OpenedBlock, block_name};
use super::vault::Vault;
use super::weighted::WeightedLru;

/// A decoded block, and which of its chunks were checked.
#[derive(Debug)]
struct Block {
    plain: Vec<u8>,
    verified: Mutex<Vec<(u32, ChunkId)>>,
}

/// Verified bytes of one chunk; keeps its block alive.
#[derive(Debug, Clone)]
pub struct Chunk {
    block: Arc<Block>,
    range: Range<usize>,
}

/// A stored chunk that others may be told from.
#[derive(Debug, Clone)]
pub struct BaseChunk {
    /// Its id.
    pub id: ChunkId,
    /// Its verified bytes.
    pub bytes: Chunk,
    /// Whether it is not the chunk that was asked for, but what that one is told from.
    pub old: bool,
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

/// Pack, offset, and whether the block is told from others. A place can lie about the last; as part
/// of the key it keeps threads that decode what has no bases from ever waiting for one another.
type CacheKey = (PackId, u32, bool);

/// A place in the cache: whoever comes first fills it, the others wait for this block only.
type Slot = Arc<Mutex<Option<Arc<Block>>>>;

type Shard = WeightedLru<CacheKey, Slot>;

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

    fn shard(&self, key: &CacheKey) -> MutexGuard<'_, Shard> {
        let [a, ..] = key.0.0;
        let number = (usize::from(a) ^ (key.1 >> 12) as usize) % SHARDS;
        match self.shards.get(number) {
            Some(shard) => lock(shard),
            None => unreachable!("shard numbers are below {SHARDS}"),
        }
    }

    fn get(&self, key: CacheKey, fill: impl FnOnce() -> Result<Vec<u8>>) -> Result<Arc<Block>> {
        let slot = Arc::clone(self.shard(&key).get_or_insert(key, Slot::default));
        let mut place = lock(&slot);
        if let Some(block) = &*place {
            return Ok(Arc::clone(block));
        }
        let plain = match fill() {
            Ok(plain) => plain,
            Err(err) => {
                // An empty slot weighs nothing, so nothing would ever evict it.
                self.shard(&key).remove(&key);
                return Err(err);
            }
        };
        let block = Arc::new(Block { plain, verified: Mutex::default() });
        *place = Some(Arc::clone(&block));
        drop(place);
        self.shard(&key).set_weight(&key, block.plain.len());
        Ok(block)
    }
}

/// Reads chunks of one repository.
#[derive(Debug, Clone)]
pub(crate) struct ChunkReader {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) index: Arc<Index>,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) counters: Arc<Counters>,
}

impl ChunkReader {
    /// The verified bytes of a chunk. Where one copy is damaged or gone, the others are tried;
    /// where the index is out of date, it is read again, once.
    pub(crate) fn get(&self, id: &ChunkId) -> Result<Chunk> {
        let asked = Instant::now();
        match self.get_known(id) {
            Err(err) if err.is_outdated() => {
                self.index.reload_since(asked)?;
                self.get_known(id)
            }
            result => result,
        }
    }

    fn get_known(&self, id: &ChunkId) -> Result<Chunk> {
        let mut failure = RepoError::ChunkMissing { chunk: *id };
        for place in self.index.places(id)? {
            match self.read(id, &place) {
                Ok(chunk) => return Ok(chunk),
                Err(err) => failure = err,
            }
        }
        Err(failure)
    }

    /// Decodes a block. While it does, the block's place in the cache is locked, and those of its
    /// bases' blocks; those have no bases, so nobody ever waits in a circle.
    fn read_block(&self, place: &Place) -> Result<Vec<u8>> {
        let block = OpenedBlock::read(&*self.storage, &self.vault, place)?;
        if place.base.is_none() && !block.bases()?.is_empty() {
            return Err(block.corrupt("it is told from others, which the index denies"));
        }
        let plain = block.decode(|id| self.base(id, Some((place.pack.id, place.block_offset))))?;
        self.counters.block(plain.len());
        Ok(plain)
    }

    /// The verified bytes of a base: of a chunk that is stored itself, never as a delta, and not in
    /// the block that needs it, whose pack and offset may be given.
    pub(crate) fn base(&self, id: &ChunkId, needed_by: Option<(PackId, u32)>) -> Result<Chunk> {
        let places = self.index.places(id)?;
        let mut failure = match places.as_slice() {
            [] => RepoError::ChunkMissing { chunk: *id },
            _ => {
                let what = "it is stored as a difference itself, or in the block that needs it";
                RepoError::corrupt(format!("chunk {id}"), what)
            }
        };
        for place in places {
            if place.base.is_some() || needed_by == Some((place.pack.id, place.block_offset)) {
                continue;
            }
            match self.read(id, &place) {
                Ok(chunk) => return Ok(chunk),
                Err(err) => failure = err,
            }
        }
        Err(failure)
    }

    fn block(&self, place: &Place) -> Result<Arc<Block>> {
        let key = (place.pack.id, place.block_offset, place.base.is_some());
        self.cache.get(key, || self.read_block(place))
    }

    /// Plain bytes of the block that a place names.
    pub(crate) fn block_len(&self, place: &Place) -> Result<u64> {
        Ok(self.block(place)?.plain.len() as u64)
    }

    fn read(&self, id: &ChunkId, place: &Place) -> Result<Chunk> {
        self.counters.chunk();
        let block = self.block(place)?;
        let start = place.chunk_offset as usize;
        let range = start..start + place.chunk_len as usize;
        let fail = |what: &str| {
            let object = ObjectKey::Pack(place.pack.kind, place.pack.id);
            let name = block_name(&object, place.block_offset.into());
            Err(RepoError::corrupt(name, format!("chunk {id} {what}")))
        };
        let Some(plain) = block.plain.get(range.clone()) else {
            return fail("lies outside its block");
        };
        let mark = (place.chunk_offset, *id);
        if !lock(&block.verified).contains(&mark) {
            if self.vault.id(place.pack.kind, plain) != *id {
                return fail("does not have the content that its id states");
            }
            lock(&block.verified).push(mark);
        }
        Ok(Chunk { block, range })
    }
}
