//! Whether what an older copy refers to is there, for those who want to refer to it again.
//!
//! Where nothing is amiss at the destination a committed snapshot is whole, and the session keeps it
//! so. Where something is (a pack that a prune may delete, one that is lost, a segment that cannot
//! be read), every page and chunk is looked for.

use std::collections::HashSet;

use crate::format::{Body, ChunkId, File};
use crate::repo::{Page, PageAt, RepoError, Repository, Session};

/// Looks for pages and chunks through a session.
pub(super) struct Sound<'a> {
    to: &'a Repository,
    session: &'a Session<'a>,
    degraded: bool,
    /// Top pages of directories that are whole.
    whole: HashSet<ChunkId>,
}

impl<'a> Sound<'a> {
    pub(super) fn new(to: &'a Repository, session: &'a Session<'a>) -> Self {
        Self { to, session, degraded: session.is_degraded(), whole: HashSet::new() }
    }

    /// Whether all that a node at the destination refers to is there.
    ///
    /// # Errors
    /// Where a later icecore wrote what is met.
    pub(super) fn has(&mut self, body: &Body) -> Result<bool, RepoError> {
        let found = match body {
            _ if !self.degraded => Ok(true),
            Body::Directory { page: Some(page), .. } => self.directory(*page),
            Body::File(file) => self.file(file),
            _ => Ok(true),
        };
        match found {
            Err(err) if err.is_newer() => Err(err),
            Err(err) => {
                tracing::debug!("{err}; what refers to it is copied again");
                Ok(false)
            }
            found => found,
        }
    }

    fn directory(&mut self, top: ChunkId) -> Result<bool, RepoError> {
        let (mut stack, mut tops) = (vec![PageAt::top(top)], vec![top]);
        while let Some(at) = stack.pop() {
            if self.whole.contains(&at.id) {
                continue;
            }
            if !self.session.has_chunk(&at.id) {
                return Ok(false);
            }
            let leaf = match self.to.page_at(&at)? {
                Page::Inner(refs) => {
                    stack.extend(at.below(&refs));
                    continue;
                }
                Page::Leaf(leaf) => leaf,
            };
            for node in &leaf.nodes {
                match &node.body {
                    Body::Directory { page: Some(page), .. } => {
                        tops.push(*page);
                        stack.push(PageAt::top(*page));
                    }
                    Body::File(file) if !self.file(file)? => return Ok(false),
                    _ => {}
                }
            }
        }
        self.whole.extend(tops);
        Ok(true)
    }

    /// Pages of extents are asked for by reading them, chunks by looking for them.
    fn file(&self, file: &File) -> Result<bool, RepoError> {
        let mut at = 0;
        while let Some(placed) = self.to.extent_at(file, at)? {
            if !placed.extent.is_hole() && !self.session.has_chunk(&placed.extent.id) {
                return Ok(false);
            }
            at = placed.offset + placed.extent.len;
        }
        Ok(true)
    }
}
