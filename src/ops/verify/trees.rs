//! The walk over all snapshots: every page once, every chunk that a file refers to.
//!
//! First each page is read once, from the leaves' files up, and marked as whole or not: equal
//! directories of many snapshots cost one look. Only where something is wrong a second walk goes
//! down the pages that are not whole, and names each snapshot and path.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::index::Place;
use crate::format::{Body, ChunkId, Extent, File, PackId, Snapshot, SnapshotId};
use crate::ops::path::joined;
use crate::ops::{OpError, Result};
use crate::progress::Progress;
use crate::repo::{Page, PageAt, RepoError, Repository, StoredPack};

use super::VerifyReport;

/// What the walk needs to know of packs.
pub(super) struct Stored {
    /// All packs that are there.
    pub(super) packs: HashMap<PackId, StoredPack>,
    pub(super) suspects: Suspects,
}

/// What must be read to know whether it can be.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// Chunks with a copy that cannot be read.
    pub(super) chunks: HashSet<ChunkId>,
    /// Packs of which no block was looked at.
    pub(super) packs: HashSet<PackId>,
}

impl Stored {
    /// Whether a place's block is in a pack that is there.
    fn has(&self, place: &Place) -> bool {
        let end = u64::from(place.block_offset) + u64::from(place.block_len);
        let stored = self.packs.get(&place.pack.id);
        stored.is_some_and(|it| it.kind == place.pack.kind && end <= it.len)
    }
}

/// Walks snapshots of one repository.
pub(super) struct TreeCheck<'a> {
    pub(super) repo: &'a Repository,
    pub(super) stored: &'a Stored,
    pub(super) report: &'a mut VerifyReport,
    pub(super) progress: &'a dyn Progress,
    pub(super) interrupted: &'a AtomicBool,
    /// Pages that were read, and whether all below them is whole.
    whole: HashMap<ChunkId, bool>,
    /// Blocks that cannot be read since a base of theirs is gone.
    broken: HashSet<(PackId, u32)>,
}

/// A page on the way down.
struct Open {
    page: ChunkId,
    below: Vec<PageAt>,
    whole: bool,
}

impl<'a> TreeCheck<'a> {
    pub(super) fn new(
        repo: &'a Repository,
        stored: &'a Stored,
        report: &'a mut VerifyReport,
        progress: &'a dyn Progress,
        interrupted: &'a AtomicBool,
    ) -> Self {
        let broken = repo.broken_blocks(|place| stored.has(place));
        Self { repo, stored, report, progress, interrupted, whole: HashMap::new(), broken }
    }

    /// Checks everything below a snapshot's root.
    pub(super) fn snapshot(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.report.snapshots += 1;
        let Body::Directory { page: Some(page), .. } = snapshot.root_node().body else {
            return Ok(());
        };
        if !self.is_whole(page)? {
            self.name(snapshot.id, page)?;
        }
        Ok(())
    }

    fn check_interrupted(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) { Err(OpError::Interrupted) } else { Ok(()) }
    }

    /// Whether a page and all below it can be read.
    fn is_whole(&mut self, root: ChunkId) -> Result<bool> {
        if let Some(&known) = self.whole.get(&root) {
            return Ok(known);
        }
        let mut stack = vec![self.open(&PageAt::top(root))];
        loop {
            self.check_interrupted()?;
            let Some(top) = stack.last_mut() else { return Ok(true) };
            if let Some(below) = top.below.pop() {
                match self.whole.get(&below.id) {
                    Some(&whole) => top.whole &= whole,
                    None => stack.push(self.open(&below)),
                }
                continue;
            }
            let Some(done) = stack.pop() else { return Ok(true) };
            self.whole.insert(done.page, done.whole);
            match stack.last_mut() {
                Some(above) => above.whole &= done.whole,
                None => return Ok(done.whole),
            }
        }
    }

    /// Reads a page and checks its files.
    fn open(&mut self, at: &PageAt) -> Open {
        self.report.pages += 1;
        let mut open = Open { page: at.id, below: Vec::new(), whole: true };
        match self.repo.page_at(at) {
            Err(err) => {
                self.report.damage(&err);
                open.whole = false;
            }
            Ok(Page::Inner(refs)) => open.below.extend(at.below(&refs)),
            Ok(Page::Leaf(leaf)) => {
                for node in &leaf.nodes {
                    match &node.body {
                        Body::File(file) => {
                            self.report.files += 1;
                            self.progress.done(1, 0);
                            if let Err(err) = self.file(file) {
                                self.report.damage(&err);
                                open.whole = false;
                            }
                        }
                        Body::Directory { page, .. } => {
                            open.below.extend(page.map(PageAt::top));
                        }
                        _ => {}
                    }
                }
            }
        }
        open
    }

    /// The first thing that keeps a file from being read whole.
    fn file(&self, file: &File) -> Result<(), RepoError> {
        let mut at = 0;
        while let Some(placed) = self.repo.extent_at(file, at)? {
            if !placed.extent.is_hole() {
                self.chunk(&placed.extent)?;
            }
            at = placed.offset + placed.extent.len;
        }
        Ok(())
    }

    /// That a chunk can be had. It is read only where that is in doubt.
    fn chunk(&self, extent: &Extent) -> Result<(), RepoError> {
        let Suspects { chunks, packs } = &self.stored.suspects;
        if !chunks.contains(&extent.id) {
            let places = self.repo.chunk_places(&extent.id)?;
            for place in &places {
                if u64::from(place.chunk_len) == extent.len
                    && self.stored.has(place)
                    && !packs.contains(&place.pack.id)
                    && !self.broken.contains(&(place.pack.id, place.block_offset))
                {
                    return Ok(());
                }
            }
            if places.is_empty() {
                return Err(RepoError::ChunkMissing { chunk: extent.id });
            }
        }
        let len = self.repo.chunk(&extent.id)?.len() as u64;
        if len == extent.len {
            return Ok(());
        }
        let what = format!("holds {len} bytes where {} are listed", extent.len);
        Err(RepoError::Corrupt { object: format!("chunk {}", extent.id), what })
    }

    /// Lists the paths of a snapshot that are not whole.
    fn name(&mut self, snapshot: SnapshotId, root: ChunkId) -> Result<()> {
        let mut stack = vec![(b"/".to_vec(), PageAt::top(root))];
        while let Some((path, at)) = stack.pop() {
            self.check_interrupted()?;
            if self.whole.get(&at.id) == Some(&true) {
                continue;
            }
            match self.repo.page_at(&at) {
                Err(err) => self.report.affect(snapshot, &path, &err),
                Ok(Page::Inner(refs)) => {
                    stack.extend(at.below(&refs).rev().map(|below| (path.clone(), below)));
                }
                Ok(Page::Leaf(leaf)) => {
                    for node in leaf.nodes.iter().rev() {
                        let below = joined(&path, &node.name);
                        match &node.body {
                            Body::Directory { page: Some(page), .. } => {
                                stack.push((below, PageAt::top(*page)));
                            }
                            Body::File(file) => {
                                if let Err(err) = self.file(file) {
                                    self.report.affect(snapshot, &below, &err);
                                }
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
