//! Where the chunks of packs that are to go can still be read, and how what was read is written.

use std::collections::{HashMap, HashSet};

use crate::codec::{BlockEncoder, Compression};
use crate::format::index::Place;
use crate::format::{ChunkId, ObjectKey, PackId, PackKind};
use crate::repo::{Chunk, OpenBlocks, RepoError, Repository, Session};

/// Where chunks are read from, and which packs are to go.
pub(super) struct Sources<'a> {
    pub(super) repo: &'a Repository,
    pub(super) from: Option<&'a Repository>,
    pub(super) aside: HashMap<PackId, PackKind>,
}

impl Sources<'_> {
    /// A chunk's bytes, from its place or another one, or from the replica; `None` where they are
    /// lost.
    ///
    /// # Errors
    /// Where no place gives them and one may give them another time, or to a later icecore.
    pub(super) fn chunk(&self, id: &ChunkId, place: &Place) -> Result<Option<Chunk>, RepoError> {
        let mut failure = None;
        let mut keep = |read: Result<Chunk, RepoError>| match read {
            Ok(chunk) => Some(chunk),
            Err(err) => {
                if !self.is_loss(&err) {
                    failure = Some(err);
                }
                None
            }
        };
        let known = self.repo.chunk_places(id).unwrap_or_default();
        let places = std::iter::once(place).chain(known.iter().filter(|known| *known != place));
        let here = places.map(|place| self.repo.chunk_at(id, place)).find_map(&mut keep);
        let here = here.or_else(|| keep(self.repo.chunk(id)));
        match here.or_else(|| keep(self.from?.chunk(id))) {
            None => failure.map_or(Ok(None), Err),
            found => Ok(found),
        }
    }

    /// Whether the bytes are gone for good. A damaged pack that is not sealed may say anything of
    /// itself, also that a later icecore wrote it.
    pub(super) fn is_loss(&self, err: &RepoError) -> bool {
        let object = err.object();
        let mut names = self.aside.iter().map(|(&id, &kind)| ObjectKey::Pack(kind, id).to_string());
        let is_plain = !self.repo.config().encrypted;
        err.is_damage()
            || (is_plain && err.is_newer() && names.any(|name| object.starts_with(&name)))
    }
}

/// Chunks on their way into packs of a session: pages into packs of pages, content into others.
pub(super) struct Rewriter<'s, 'r> {
    session: &'s Session<'r>,
    blocks: OpenBlocks<'s, 'r>,
    written: HashSet<ChunkId>,
}

impl<'s, 'r> Rewriter<'s, 'r> {
    pub(super) fn new(session: &'s Session<'r>) -> Result<Self, RepoError> {
        let encoder = BlockEncoder::new(Compression::default())?;
        let blocks = OpenBlocks::new(session, encoder);
        Ok(Self { session, blocks, written: HashSet::new() })
    }

    /// Whether a chunk was taken by [`Self::put`].
    pub(super) fn has(&self, id: &ChunkId) -> bool {
        self.written.contains(id)
    }

    pub(super) fn put(
        &mut self,
        kind: PackKind,
        id: ChunkId,
        bytes: &[u8],
    ) -> Result<(), RepoError> {
        self.written.insert(id);
        self.blocks.put(kind, (id, bytes), None)
    }

    /// Durable, and in the index, on return; says how many chunks that were.
    pub(super) fn finish(mut self) -> Result<u64, RepoError> {
        self.blocks.flush()?;
        self.session.flush()?;
        Ok(self.written.len() as u64)
    }
}
