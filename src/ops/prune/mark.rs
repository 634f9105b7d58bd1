//! Marking: which chunks and pages snapshots need. A bit of the index's view for each.
//!
//! What a snapshot refers to and the index does not know is damage, and nothing is deleted of
//! damage. But the successors that a repair of packs makes say themselves that content was lost: of
//! those, what is lost is passed over, with all below it. Other snapshots walk on their own, so that
//! they never take a page for done of which something was passed over.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::index::Place;
use crate::format::{Body, ChunkId, Content, Extent, File, PackId, Snapshot};
use crate::ops::repair::packs::LOST;
use crate::ops::{OpError, Result};
use crate::repo::{Page, PageAt, Records, RepoError, Repository};

use super::bits::Bits;

/// Goes through a snapshot in the order of its tree, pages before what they list. `visit` gets each
/// id, and says whether to go below it.
pub(super) fn walk(
    repo: &Repository,
    snapshot: &Snapshot,
    interrupted: &AtomicBool,
    visit: &mut dyn FnMut(&ChunkId) -> Result<bool>,
) -> Result<()> {
    let mut stack = Vec::new();
    if let Body::Directory { page: Some(page), .. } = snapshot.root_node().body {
        stack.push(PageAt::top(page));
    }
    while let Some(at) = stack.pop() {
        if interrupted.load(Ordering::Relaxed) {
            return Err(OpError::Interrupted);
        }
        if !visit(&at.id)? {
            continue;
        }
        match repo.page_at(&at)? {
            Page::Inner(refs) => stack.extend(at.below(&refs).rev()),
            Page::Leaf(leaf) => {
                for node in &leaf.nodes {
                    if let Body::File(file) = &node.body {
                        content(repo, file, visit)?;
                    }
                }
                let below = leaf.nodes.iter().rev().filter_map(|node| match &node.body {
                    Body::Directory { page, .. } => page.map(PageAt::top),
                    _ => None,
                });
                stack.extend(below);
            }
        }
    }
    Ok(())
}

fn content(
    repo: &Repository,
    file: &File,
    visit: &mut dyn FnMut(&ChunkId) -> Result<bool>,
) -> Result<()> {
    let Content::Extents { level, extents } = &file.content else { return Ok(()) };
    extents.iter().try_for_each(|extent| below(repo, extent, *level, visit))
}

fn below(
    repo: &Repository,
    extent: &Extent,
    level: u8,
    visit: &mut dyn FnMut(&ChunkId) -> Result<bool>,
) -> Result<()> {
    if extent.is_hole() {
        return Ok(());
    }
    let deeper = visit(&extent.id)?;
    let Some(level) = level.checked_sub(1).filter(|_| deeper) else { return Ok(()) };
    let extents = repo.extents_of(extent, level)?;
    extents.iter().try_for_each(|extent| below(repo, extent, level, visit))
}

/// What is needed, as far as it was looked at.
#[derive(Debug)]
pub(super) struct Marks {
    pub(super) records: Records,
    pub(super) live: Bits,
    losses: Option<Losses>,
}

/// What snapshots need that say that they lost content.
#[derive(Debug)]
struct Losses {
    live: Bits,
    /// Blocks that are told from a chunk which nobody has whole: none of them can be read.
    broken: HashSet<(PackId, u32)>,
    /// Whether something was passed over.
    met: bool,
}

impl Losses {
    fn new(records: &Records) -> Result<Self> {
        let mut broken = HashSet::new();
        records.for_each(|_, _, places| -> Result<()> {
            for place in places {
                let key = (place.pack.id, place.block_offset);
                let Some(base) = place.base.filter(|_| !broken.contains(&key)) else { continue };
                if !records.places(&base)?.iter().any(|place| place.base.is_none()) {
                    broken.insert(key);
                }
            }
            Ok(())
        })?;
        Ok(Self { live: Bits::new(records.len()), broken, met: false })
    }
}

/// Whether a repair made the snapshot, of one that had lost content.
pub(super) fn is_lossy(snapshot: &Snapshot) -> bool {
    snapshot.troubles.iter().any(|trouble| trouble.what == LOST)
}

impl Marks {
    /// Of the index as it is now; nothing is marked.
    pub(super) fn new(repo: &Repository) -> Result<Self> {
        let records = repo.index_records()?;
        let live = Bits::new(records.len());
        Ok(Self { records, live, losses: None })
    }

    /// Marks a chunk; whether it was not.
    pub(super) fn mark(&mut self, id: &ChunkId) -> Result<bool> {
        let number = self.records.number(id)?;
        let number = number.ok_or(RepoError::ChunkMissing { chunk: *id })?;
        Ok(self.live.set(number))
    }

    /// The number of a chunk that a snapshot refers to; `None` where it is lost, and the snapshot
    /// is a [lossy](is_lossy) one.
    pub(super) fn number_for(&self, lossy: bool, id: &ChunkId) -> Result<Option<u64>> {
        let number = self.records.number(id)?;
        if !lossy {
            return Ok(Some(number.ok_or(RepoError::ChunkMissing { chunk: *id })?));
        }
        let Some(broken) = self.broken().filter(|broken| !broken.is_empty()) else {
            return Ok(number);
        };
        let is_broken = |place: &Place| broken.contains(&(place.pack.id, place.block_offset));
        let lost = self.records.places(id)?.iter().all(is_broken);
        Ok(number.filter(|_| !lost))
    }

    /// Blocks that nobody can read, where that was asked.
    pub(super) fn broken(&self) -> Option<&HashSet<(PackId, u32)>> {
        self.losses.as_ref().map(|losses| &losses.broken)
    }

    /// Whether something that a snapshot refers to was passed over.
    pub(super) fn has_losses(&self) -> bool {
        self.losses.as_ref().is_some_and(|losses| losses.met)
    }

    /// Marks all that a snapshot needs.
    pub(super) fn snapshot(
        &mut self,
        repo: &Repository,
        snapshot: &Snapshot,
        interrupted: &AtomicBool,
    ) -> Result<()> {
        let lossy = is_lossy(snapshot);
        if lossy && self.losses.is_none() {
            self.losses = Some(Losses::new(&self.records)?);
        }
        let mut visit = |id: &ChunkId| {
            let number = self.number_for(lossy, id)?;
            Ok(self.visit(number, lossy))
        };
        walk(repo, snapshot, interrupted, &mut visit).inspect_err(|err| {
            if !matches!(err, OpError::Interrupted) {
                tracing::error!("snapshot {} cannot be read whole", snapshot.id);
            }
        })
    }

    /// Marks a chunk, or takes note that it is lost; whether what is below it must be looked at.
    /// What is below a chunk that is marked as live is all there.
    fn visit(&mut self, number: Option<u64>, lossy: bool) -> bool {
        match (&mut self.losses, number) {
            (Some(losses), Some(number)) if lossy => {
                !self.live.has(number) && losses.live.set(number)
            }
            (_, Some(number)) => self.live.set(number),
            (losses, None) => {
                if let Some(losses) = losses {
                    losses.met = true;
                }
                false
            }
        }
    }

    /// Ends the walks: what any of them marked is live.
    pub(super) fn join(&mut self) {
        let Some(losses) = &self.losses else { return };
        for number in (0..self.records.len()).filter(|number| losses.live.has(*number)) {
            self.live.set(number);
        }
    }

    /// Marks what another view of the index has marked.
    pub(super) fn all_of(&mut self, other: &Self) -> Result<()> {
        other.records.for_each(|number, id, _| {
            if other.live.has(number) {
                self.mark(id)?;
            }
            Ok(())
        })
    }
}
