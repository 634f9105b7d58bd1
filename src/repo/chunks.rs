//! The one door to stored content: a chunk id in, verified bytes out.
//!
//! Blocks are read whole, opened and decoded into a cache ([`BlockCache`]), so that neighbours of
//! a chunk come for free. Who reads here and there has no use for neighbours ([`Neighbours`]): a
//! block is then decoded up to the chunk only, and all of it when it is met again. Each chunk is
//! checked against its id the first time it is taken from a decoded block. Where a block of a pack
//! turns out wrong, the pack is healed ([`Healer`]) and the block taken from its right bytes.

use std::sync::Arc;
use std::time::Instant;

use crate::format::index::Place;
use crate::format::{ChunkId, Contents, ObjectKey, PackId};
use crate::storage::Storage;

use super::ahead::Ahead;
use super::blocks::{Block, BlockCache, BlockKey, Chunk, ChunkDefect, Decoded, Wanted};
use super::counters::Counters;
use super::error::{RepoError, Result};
use super::heal::Healer;
use super::index::Index;
use super::pack::{OpenedBlock, block_name};
use super::vault::Vault;

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

/// What is to become of a chunk's neighbours in its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Neighbours {
    /// They are likely to be asked for next.
    Wanted,
    /// They are not: those that come after it are left alone.
    Unwanted,
}

/// Reads chunks of one repository.
#[derive(Debug, Clone)]
pub(crate) struct ChunkReader {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) index: Arc<Index>,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) ahead: Arc<Ahead>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) healer: Arc<Healer>,
}

impl ChunkReader {
    /// The verified bytes of a chunk. Where one copy is damaged or gone, the others are tried;
    /// where the index is out of date, it is read again, once.
    pub(crate) fn get(&self, id: &ChunkId) -> Result<Chunk> {
        self.get_with(id, Neighbours::Wanted)
    }

    /// The same, and what to do with the chunks beside it.
    pub(crate) fn get_with(&self, id: &ChunkId, neighbours: Neighbours) -> Result<Chunk> {
        let asked = Instant::now();
        match self.get_known(id, neighbours) {
            Err(err) if err.is_outdated() => {
                self.index.reload_since(asked)?;
                self.get_known(id, neighbours)
            }
            result => result,
        }
    }

    fn get_known(&self, id: &ChunkId, neighbours: Neighbours) -> Result<Chunk> {
        let mut failure = RepoError::ChunkMissing { chunk: *id };
        for place in self.index.places(id)? {
            let wanted = match neighbours {
                Neighbours::Wanted => Wanted::Whole,
                Neighbours::Unwanted => {
                    Wanted::Start(place.chunk_offset as usize + place.chunk_len as usize)
                }
            };
            match self.read(id, &place, wanted) {
                Ok(chunk) => return Ok(chunk),
                Err(err) => failure = err,
            }
        }
        Err(failure)
    }

    fn open_block(&self, place: &Place, stored: Vec<u8>) -> Result<OpenedBlock> {
        let object = ObjectKey::Pack(place.pack.kind, place.pack.id);
        let cipher = self.vault.part_cipher(Contents::Pack(place.pack.kind), place.pack.salt);
        OpenedBlock::open(&object, place.block_offset.into(), &cipher, stored)
    }

    /// Decodes a block. While it does, the block's place in the cache is locked, and those of its
    /// bases' blocks; those have no bases, so nobody ever waits in a circle.
    pub(super) fn decode_block(&self, place: &Place, stored: Vec<u8>) -> Result<Vec<u8>> {
        self.decode_whole(place, &self.open_block(place, stored)?)
    }

    fn decode(&self, place: &Place, stored: Vec<u8>, wanted: Wanted) -> Result<Decoded> {
        let block = self.open_block(place, stored)?;
        if let Wanted::Start(len) = wanted
            && place.base.is_none()
            && let Some(start) = block.decode_start(len)?
        {
            self.counters.block(start.len());
            return Ok(Decoded::Start(start));
        }
        self.decode_whole(place, &block).map(Decoded::Whole)
    }

    fn decode_whole(&self, place: &Place, block: &OpenedBlock) -> Result<Vec<u8>> {
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
            match self.read(id, &place, Wanted::Whole) {
                Ok(chunk) => return Ok(chunk),
                Err(err) => failure = err,
            }
        }
        Err(failure)
    }

    /// What the cache knows the block of a place by.
    pub(super) fn key(place: &Place) -> BlockKey {
        (place.pack.id, place.block_offset, place.base.is_some())
    }

    /// The block of a place, from the cache where it is there.
    pub(super) fn block(&self, place: &Place, wanted: Wanted) -> Result<Arc<Block>> {
        self.cache.get(Self::key(place), wanted, || {
            let object = ObjectKey::Pack(place.pack.kind, place.pack.id);
            let (offset, len) = (place.block_offset.into(), place.block_len as usize);
            let stored = self.storage.read_at(&object, offset, len).map_err(RepoError::from);
            match stored.and_then(|stored| self.decode(place, stored, wanted)) {
                // What is wrong lies in another pack, which could not be healed.
                Err(err @ RepoError::Base { .. }) => Err(err),
                Err(err) => {
                    self.healed_block(place).map_or(Err(err), |plain| plain.map(Decoded::Whole))
                }
                decoded => decoded,
            }
        })
    }

    /// A block in which something is wrong, decoded from the right bytes of its pack; `None` where
    /// nobody can tell them.
    fn healed_block(&self, place: &Place) -> Option<Result<Vec<u8>>> {
        let healed = self.healer.heal(place.pack.kind, place.pack.id).ok()?;
        let start = place.block_offset as usize;
        let stored = healed.bytes.get(start..start.checked_add(place.block_len as usize)?)?;
        Some(self.decode_block(place, stored.to_vec()))
    }

    /// Plain bytes of the block that a place names.
    pub(crate) fn block_len(&self, place: &Place) -> Result<u64> {
        Ok(self.block(place, Wanted::Whole)?.len() as u64)
    }

    /// The verified bytes of a chunk out of one place.
    pub(crate) fn read(&self, id: &ChunkId, place: &Place, wanted: Wanted) -> Result<Chunk> {
        self.counters.chunk();
        let block = self.block(place, wanted)?;
        if block.is_first_use() {
            self.ahead.used(place);
        }
        self.chunk_of(id, place, &block).or_else(|err| {
            let Some(plain) = self.healed_block(place) else { return Err(err) };
            let key = Self::key(place);
            self.cache.forget(&key);
            let whole = || plain.map(Decoded::Whole);
            self.chunk_of(id, place, &self.cache.get(key, Wanted::Whole, whole)?)
        })
    }

    /// The chunk that a place names, out of the place's block.
    fn chunk_of(&self, id: &ChunkId, place: &Place, block: &Arc<Block>) -> Result<Chunk> {
        let id_of = |plain: &[u8]| self.vault.id(place.pack.kind, plain);
        block.chunk(id, place.chunk_offset, place.chunk_len, id_of).map_err(|defect| {
            let what = match defect {
                ChunkDefect::Outside => "lies outside its block",
                ChunkDefect::OtherContent => "does not have the content that its id states",
            };
            let object = ObjectKey::Pack(place.pack.kind, place.pack.id);
            let name = block_name(&object, place.block_offset.into());
            RepoError::corrupt(name, format!("chunk {id} {what}"))
        })
    }
}
