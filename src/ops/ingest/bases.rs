//! Which stored chunk a new one may be told from: the one at the same place of the parent snapshot's
//! file, or of the file before it of the same kind.

use crate::codec::Element;
use crate::format::{Body, ChunkId, Content, File};
use crate::repo::{BaseChunk, NodeRef, Repository, Session};

/// A longer chunk is cut at places that its own content decides, or is seldom like its base.
const CHUNK_MAX: usize = 4 << 20;

/// The bases that one file's chunks may have.
pub(super) struct Bases<'a> {
    repo: &'a Repository,
    prior: Option<&'a File>,
}

impl<'a> Bases<'a> {
    /// Of a file that has this node in the parent snapshot; none without one.
    pub(super) fn of(repo: &'a Repository, prior: Option<&'a NodeRef>) -> Self {
        let prior = prior.and_then(|node| match &node.body {
            Body::File(file) if matches!(file.content, Content::Extents { .. }) => Some(file),
            _ => None,
        });
        Self { repo, prior }
    }

    /// The base of a new chunk at `offset`; see [`Session::base_for`].
    pub(super) fn find(
        &self,
        session: &Session<'_>,
        id: &ChunkId,
        offset: u64,
        chunk: &[u8],
        element: Option<Element>,
    ) -> Option<BaseChunk> {
        let prior = self.prior?;
        if chunk.len() > CHUNK_MAX {
            return None;
        }
        // By its middle: cuts by content move a little with each change.
        let middle = (offset + chunk.len() as u64 / 2).min(prior.size.checked_sub(1)?);
        let placed = self.repo.extent_at(prior, middle).ok().flatten()?;
        if placed.extent.is_hole() {
            return None;
        }
        session.base_for(id, chunk, element, &placed.extent.id)
    }
}
