//! A walk over the pages of directories, from the leaves up.
//!
//! What a page and all below it come to is kept once it is known, so that what snapshots share is
//! read once: all snapshots cost as many reads as they have different pages. A page that cannot be
//! read comes to something too, and never ends the walk.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::{Body, ChunkId, Leaf};
use crate::repo::{Page, PageAt, RepoError, Repository};

use super::{OpError, Result};

/// What is made of pages.
pub(super) trait Visit {
    /// What a page comes to.
    type Sum: Copy;

    /// Of the entries of a leaf, without what lies below directories.
    fn leaf(&mut self, leaf: &Leaf) -> Self::Sum;

    /// Of a page of pages, without those.
    fn inner(&mut self) -> Self::Sum;

    /// Of a page that cannot be read.
    fn unread(&mut self, err: RepoError) -> Self::Sum;

    /// Adds what a page below comes to.
    fn add(sum: &mut Self::Sum, below: Self::Sum);
}

/// The walk, and what it has found so far.
pub(super) struct PageWalk<'a, V: Visit> {
    repo: &'a Repository,
    interrupted: &'a AtomicBool,
    known: HashMap<ChunkId, V::Sum>,
    pub(super) visitor: V,
}

/// A page on the way down.
struct Open<S> {
    page: ChunkId,
    below: Vec<PageAt>,
    sum: S,
}

impl<'a, V: Visit> PageWalk<'a, V> {
    /// That knows no page yet.
    pub(super) fn new(repo: &'a Repository, interrupted: &'a AtomicBool, visitor: V) -> Self {
        Self { repo, interrupted, known: HashMap::new(), visitor }
    }

    /// What a page is known to come to.
    pub(super) fn known(&self, page: &ChunkId) -> Option<V::Sum> {
        self.known.get(page).copied()
    }

    /// An error once the user wants to stop.
    pub(super) fn check_interrupted(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) { Err(OpError::Interrupted) } else { Ok(()) }
    }

    /// What the directory comes to whose top page is `root`.
    ///
    /// # Errors
    /// Only where it was interrupted.
    pub(super) fn sum(&mut self, root: ChunkId) -> Result<V::Sum> {
        if let Some(known) = self.known(&root) {
            return Ok(known);
        }
        let (mut top, mut above) = (self.open(&PageAt::top(root)), Vec::new());
        loop {
            self.check_interrupted()?;
            if let Some(below) = top.below.pop() {
                match self.known(&below.id) {
                    Some(known) => V::add(&mut top.sum, known),
                    None => above.push(std::mem::replace(&mut top, self.open(&below))),
                }
                continue;
            }
            self.known.insert(top.page, top.sum);
            let Some(next) = above.pop() else { return Ok(top.sum) };
            let done = std::mem::replace(&mut top, next);
            V::add(&mut top.sum, done.sum);
        }
    }

    fn open(&mut self, at: &PageAt) -> Open<V::Sum> {
        let mut below = Vec::new();
        let sum = match self.repo.page_at(at) {
            Err(err) => self.visitor.unread(err),
            Ok(Page::Inner(refs)) => {
                below.extend(at.below(&refs));
                self.visitor.inner()
            }
            Ok(Page::Leaf(leaf)) => {
                below.extend(leaf.nodes.iter().filter_map(|node| match &node.body {
                    Body::Directory { page, .. } => page.map(PageAt::top),
                    _ => None,
                }));
                self.visitor.leaf(&leaf)
            }
        };
        Open { page: at.id, below, sum }
    }
}
