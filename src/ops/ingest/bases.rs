//! Which stored chunk a new one may be told from: the one at the same place of the parent snapshot's
//! file, or of the file before it of the same kind.

use crate::codec::Element;
use crate::codec::block::promises_gain;
use crate::format::{Body, Content, File};
use crate::repo::{BaseChunk, NodeRef, Repository};

/// Shorter chunks save too little for what reading them through a base costs.
const CHUNK_MIN: usize = 1 << 10;
/// A longer chunk is cut at places that its own content decides, or is seldom like its base.
const CHUNK_MAX: usize = 4 << 20;

/// The bases that one file's chunks may have.
pub(super) struct Bases<'a> {
    repo: &'a Repository,
    prior: Option<&'a File>,
}

impl<'a> Bases<'a> {
    /// Of what is told from nothing.
    pub(super) const fn none(repo: &'a Repository) -> Self {
        Self { repo, prior: None }
    }

    /// Of a file that has this node in the parent snapshot.
    pub(super) fn of(repo: &'a Repository, prior: Option<&'a NodeRef>) -> Self {
        let prior = prior.and_then(|node| match &node.body {
            Body::File(file) if matches!(file.content, Content::Extents { .. }) => Some(file),
            _ => None,
        });
        Self { repo, prior }
    }

    /// The base of a new chunk at `offset`, if a sample promises that it saves something. What the
    /// repository cannot give is no base.
    pub(super) fn find(
        &self,
        offset: u64,
        chunk: &[u8],
        element: Option<Element>,
    ) -> Option<BaseChunk> {
        let prior = self.prior?;
        if !(CHUNK_MIN..=CHUNK_MAX).contains(&chunk.len()) {
            return None;
        }
        // By its middle: cuts by content move a little with each change.
        let middle = (offset + chunk.len() as u64 / 2).min(prior.size.checked_sub(1)?);
        let placed = self.repo.extent_at(prior, middle).ok().flatten()?;
        if placed.extent.is_hole() {
            return None;
        }
        let base = match self.repo.base_of(&placed.extent.id) {
            Ok(base) => base?,
            Err(err) => {
                tracing::debug!("{err}; its successor is stored whole");
                return None;
            }
        };
        promises_gain(chunk, &base.bytes, element).then_some(base)
    }
}
