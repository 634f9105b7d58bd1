//! The walk over all snapshots: every page once, every chunk that a file refers to.
//!
//! First each page is read once, from the leaves' files up, and marked as whole or not: equal
//! directories of many snapshots cost one look. Only where something is wrong a second walk goes
//! down the pages that are not whole, and names each snapshot and path. What is lost and was named
//! by a repair, in a successor of the snapshot, is told apart: nobody can do more about it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;

use crate::format::index::Place;
use crate::format::{Body, ChunkId, Extent, File, Leaf, ObjectKey, PackId, Snapshot, SnapshotId};
use crate::ops::Result;
use crate::ops::pages::{PageWalk, Visit};
use crate::ops::path::joined;
use crate::ops::repair::packs::KnownLosses;
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
    repo: &'a Repository,
    walk: PageWalk<'a, Checking<'a>>,
    known: KnownLosses,
}

/// Tells of each page whether all of it, and all below it, is whole.
struct Checking<'a> {
    repo: &'a Repository,
    stored: &'a Stored,
    report: &'a mut VerifyReport,
    progress: &'a dyn Progress,
    /// Blocks that cannot be read since a base of theirs is gone.
    broken: HashSet<(PackId, u32)>,
}

impl<'a> TreeCheck<'a> {
    pub(super) fn new(
        repo: &'a Repository,
        stored: &'a Stored,
        known: KnownLosses,
        report: &'a mut VerifyReport,
        progress: &'a dyn Progress,
        interrupted: &'a AtomicBool,
    ) -> Self {
        let broken = repo.broken_blocks(|place| stored.has(place));
        let checking = Checking { repo, stored, report, progress, broken };
        Self { repo, walk: PageWalk::new(repo, interrupted, checking), known }
    }

    /// Checks everything below a snapshot's root.
    pub(super) fn snapshot(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.walk.visitor.report.snapshots += 1;
        let Body::Directory { page: Some(page), .. } = snapshot.root_node().body else {
            return Ok(());
        };
        if self.walk.sum(page)? {
            return Ok(());
        }
        let named = |walk: &PageWalk<'_, Checking<'_>>| {
            walk.visitor.report.affected_count + walk.visitor.report.known_count
        };
        let before = named(&self.walk);
        self.name(snapshot.id, page)?;
        if named(&self.walk) == before {
            let what = "something in it could not be read, and could the next moment";
            let err = RepoError::corrupt(ObjectKey::Snapshot(snapshot.id), what);
            self.walk.visitor.report.damage(&err);
        }
        Ok(())
    }

    /// Lists the paths of a snapshot that are not whole.
    fn name(&mut self, snapshot: SnapshotId, root: ChunkId) -> Result<()> {
        let mut stack = vec![(b"/".to_vec(), PageAt::top(root))];
        while let Some((path, at)) = stack.pop() {
            self.walk.check_interrupted()?;
            if self.walk.known(&at.id) == Some(true) {
                continue;
            }
            let checking = &mut self.walk.visitor;
            match self.repo.page_at(&at) {
                Err(err) => checking.affect(&self.known, snapshot, &path, &err),
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
                                if let Err(err) = checking.file(file) {
                                    checking.affect(&self.known, snapshot, &below, &err);
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

impl Visit for Checking<'_> {
    type Sum = bool;

    fn leaf(&mut self, leaf: &Leaf) -> bool {
        self.report.pages += 1;
        let mut whole = true;
        for node in &leaf.nodes {
            if let Body::File(file) = &node.body {
                self.report.files += 1;
                self.progress.done(1, 0);
                whole &= self.file(file).is_ok();
            }
        }
        whole
    }

    fn inner(&mut self) -> bool {
        self.report.pages += 1;
        true
    }

    fn unread(&mut self, _: RepoError) -> bool {
        self.report.pages += 1;
        false
    }

    fn add(whole: &mut bool, below: bool) {
        *whole &= below;
    }
}

impl Checking<'_> {
    fn affect(&mut self, known: &KnownLosses, snapshot: SnapshotId, path: &[u8], err: &RepoError) {
        match err.is_damage() && known.has(snapshot, path) {
            true => self.report.know(snapshot, path, err),
            false => self.report.affect(snapshot, path, err),
        }
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
}
