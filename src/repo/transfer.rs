//! Content on its way from one repository into a session of another.
//!
//! A block of which every chunk is wanted, and new there, keeps its coding: only its seal is made
//! anew, and where the keys differ the ids that it names. Of others the wanted chunks are coded
//! again. Either way each chunk is decoded and compared with its id before it is written.
//!
//! What must stay true: a block that is told from others is written only once its bases can be found
//! there whole through the index. So whatever stops the session, no block that the index names lacks
//! a base. Whoever is told to wait brings the bases, flushes, and asks again.

use std::collections::HashMap;

use crate::codec::BlockEncoder;
use crate::codec::block::rename_bases;
use crate::format::index::Place;
use crate::format::pack::BlockEntry;
use crate::format::{ChunkEntry, ChunkId, PackKind};

use super::Repository;
use super::chunks::BaseChunk;
use super::error::{RepoError, Result};
use super::open_blocks::OpenBlocks;
use super::pack::CodedBlock;
use super::proved::BlockProver;
use super::session::Session;

/// What is done with a block that is told from chunks which are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// It waits for them.
    Allowed,
    /// Its chunks are stored whole.
    Refused,
}

/// What became of the wanted chunks of a block.
#[derive(Debug)]
pub enum Taken {
    /// They are there, or in the session: the id of each, and its id there.
    Chunks(Vec<(ChunkId, ChunkId)>),
    /// Nothing yet: these chunks of the repository that it comes from must be there before.
    Needs(Vec<ChunkId>),
}

/// A wanted chunk in a decoded block.
struct Wanted {
    /// Its number in the block.
    number: usize,
    /// Its id there.
    id: ChunkId,
    /// Whether it must be written.
    is_new: bool,
}

/// Takes chunks of content from one repository into a session of another; one per thread.
pub struct ChunkTransfer<'s, 't, 'f> {
    from: &'f Repository,
    session: &'s Session<'t>,
    same_ids: bool,
    prover: BlockProver<'f>,
    /// Chunks of blocks that are not taken as they are.
    anew: OpenBlocks<'s, 't>,
}

impl<'s, 't, 'f> ChunkTransfer<'s, 't, 'f> {
    /// With its own open blocks, which [`Self::finish`] writes. `to` is the session's repository.
    #[must_use]
    pub fn new(
        from: &'f Repository,
        to: &Repository,
        session: &'s Session<'t>,
        encoder: BlockEncoder,
    ) -> Self {
        let (same_ids, prover) = (from.shares_ids_with(to), BlockProver::new(from));
        Self { from, session, same_ids, prover, anew: OpenBlocks::new(session, encoder) }
    }

    /// Takes the wanted chunks of the block that lies there. Where that block cannot be had, or none
    /// is named, each chunk is looked for wherever it is.
    ///
    /// # Errors
    /// Where a wanted chunk cannot be had, or the session cannot write.
    pub fn take(
        &mut self,
        place: Option<&Place>,
        wanted: &[ChunkId],
        waiting: Waiting,
    ) -> Result<Taken> {
        let Some(place) = place else { return self.one_by_one(wanted).map(Taken::Chunks) };
        let proved = self.prover.entry(place).and_then(|entry| {
            let (payload, plain) = self.prover.read(place, &entry)?;
            Ok((entry, payload, plain))
        });
        let (entry, payload, plain) = match proved {
            Ok(proved) => proved,
            Err(err) => {
                tracing::debug!("{err}; its chunks are looked for elsewhere");
                return self.one_by_one(wanted).map(Taken::Chunks);
            }
        };
        let (bases, missing) = self.bases(&entry)?;
        if !missing.is_empty() && waiting == Waiting::Allowed {
            return Ok(Taken::Needs(missing));
        }
        let found = self.claim(&entry, &plain, wanted)?;
        let ids = found.iter().filter_map(|it| Some((entry.chunks.get(it.number)?.id, it.id)));
        let ids = ids.collect();
        let all = found.len() == entry.chunks.len() && found.iter().all(|it| it.is_new);
        if all && missing.is_empty() {
            self.write_as_it_is(&entry, payload, &found, bases)?;
        } else {
            self.write_anew(&entry, &plain, &found, &bases)?;
        }
        Ok(Taken::Chunks(ids))
    }

    /// Stores a chunk whole, for others that are told from it, unless it is there so.
    pub fn bring(&mut self, base: &ChunkId) -> Result<()> {
        let bytes = self.from.chunks.base(base, None)?;
        let id = self.id(base, &bytes);
        if self.session.has_whole_chunk(&id) {
            return Ok(());
        }
        // Where it is there as a difference it is written all the same.
        self.session.claim(&id)?;
        self.anew.put(PackKind::Data, (id, &bytes), None)
    }

    /// Writes what is still open.
    pub fn finish(mut self) -> Result<()> {
        self.anew.flush()
    }

    /// The id there of a chunk with these bytes.
    fn id(&self, id: &ChunkId, bytes: &[u8]) -> ChunkId {
        if self.same_ids { *id } else { self.session.id_of(PackKind::Data, bytes) }
    }

    fn one_by_one(&mut self, wanted: &[ChunkId]) -> Result<Vec<(ChunkId, ChunkId)>> {
        let mut ids = Vec::with_capacity(wanted.len());
        for chunk in wanted {
            let bytes = self.from.chunk(chunk)?;
            let id = self.id(chunk, &bytes);
            if self.session.claim(&id)? {
                self.anew.put(PackKind::Data, (id, &bytes), None)?;
            }
            ids.push((*chunk, id));
        }
        Ok(ids)
    }

    /// The ids there of the chunks that a block is told from, one for each of its chunks; and those
    /// of them, by their ids here, that are not there whole.
    fn bases(&self, entry: &BlockEntry) -> Result<(Vec<ChunkId>, Vec<ChunkId>)> {
        let mut known: HashMap<ChunkId, ChunkId> = HashMap::new();
        let (mut bases, mut missing) = (Vec::with_capacity(entry.bases.len()), Vec::new());
        for base in &entry.bases {
            if let Some(id) = known.get(base) {
                bases.push(*id);
                continue;
            }
            let id = match self.same_ids {
                true => *base,
                false => self.id(base, &self.from.chunks.base(base, None)?),
            };
            if !self.session.has_whole_chunk(&id) {
                missing.push(*base);
            }
            known.insert(*base, id);
            bases.push(id);
        }
        Ok((bases, missing))
    }

    /// The wanted chunks of a block. Who gets this writes those that are new.
    fn claim(&self, entry: &BlockEntry, plain: &[u8], wanted: &[ChunkId]) -> Result<Vec<Wanted>> {
        let mut found = Vec::with_capacity(wanted.len());
        for (number, chunk, bytes) in chunks_of(entry, plain) {
            if wanted.contains(&chunk.id) {
                let id = self.id(&chunk.id, bytes);
                found.push(Wanted { number, id, is_new: self.session.claim(&id)? });
            }
        }
        Ok(found)
    }

    fn write_as_it_is(
        &self,
        entry: &BlockEntry,
        mut payload: Vec<u8>,
        found: &[Wanted],
        bases: Vec<ChunkId>,
    ) -> Result<()> {
        if !self.same_ids && !bases.is_empty() {
            rename_bases(&mut payload, &bases)
                .map_err(|err| RepoError::malformed("a block that was proved", err))?;
        }
        let lens = entry.chunks.iter().map(|chunk| chunk.len);
        let chunks = found.iter().zip(lens).map(|(it, len)| ChunkEntry { id: it.id, len });
        let there = BlockEntry { chunks: chunks.collect(), ..entry.clone() };
        self.session.write_coded(PackKind::Data, &there, CodedBlock::new(payload, bases))
    }

    /// Codes the new chunks again, told from the bases that they had where those are there.
    fn write_anew(
        &mut self,
        entry: &BlockEntry,
        plain: &[u8],
        found: &[Wanted],
        bases: &[ChunkId],
    ) -> Result<()> {
        let mut found = found.iter().filter(|it| it.is_new).peekable();
        for (number, _, bytes) in chunks_of(entry, plain) {
            let Some(it) = found.next_if(|it| it.number == number) else { continue };
            let base = entry.bases.get(number).zip(bases.get(number));
            let base = base.filter(|(_, there)| self.session.has_whole_chunk(there));
            let base = base.map(|(here, there)| -> Result<_> {
                let bytes = self.from.chunks.base(here, None)?;
                Ok(BaseChunk { id: *there, bytes, old: false })
            });
            self.anew.put(PackKind::Data, (it.id, bytes), base.transpose()?.as_ref())?;
        }
        Ok(())
    }
}

/// The chunks of a decoded block, with their numbers and bytes.
fn chunks_of<'a>(
    entry: &'a BlockEntry,
    plain: &'a [u8],
) -> impl Iterator<Item = (usize, &'a ChunkEntry, &'a [u8])> {
    let mut offset = 0;
    entry.chunks.iter().enumerate().map(move |(number, chunk)| {
        let bytes = plain.get(offset..offset + chunk.len as usize).unwrap_or_default();
        offset += chunk.len as usize;
        (number, chunk, bytes)
    })
}
