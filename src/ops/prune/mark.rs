//! Marking: which chunks and pages snapshots need. A bit of the index's view for each.
//!
//! What a snapshot refers to and the index does not know is damage, and nothing is deleted of
//! damage. But the successors that a repair of packs makes name themselves what was lost: of those,
//! what is named is passed over, with all below it; what was lost later is damage as anywhere. Other
//! snapshots walk on their own, so that they never take a page for done of which something was passed
//! over. What lies in a pack that no segment lists is not lost: a segment is, and prune ends there,
//! unless a writer lives, which has stored it again and lists it soon.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::index::Place;
use crate::format::{Body, ChunkId, Content, Extent, File, PackId, Snapshot};
use crate::ops::path::joined;
use crate::ops::repair::packs::{KnownLosses, is_lossy};
use crate::ops::{OpError, Result};
use crate::repo::{Page, PageAt, Records, RepoError, Repository, Unindexed};

use super::bits::Bits;

/// The way from a snapshot's root to what is looked at.
#[derive(Debug, Default)]
pub(in crate::ops) struct Trail {
    /// Pages and lists of chunks, the top first, the last is what is looked at; with its name where
    /// it is the first of a directory.
    above: Vec<(ChunkId, Option<Vec<u8>>)>,
    /// The name of the file whose content is looked at; else empty.
    file: Vec<u8>,
}

impl Trail {
    /// The file, or the directory where it is a page.
    fn path(&self) -> Vec<u8> {
        let names = self.above.iter().filter_map(|(_, name)| name.as_deref());
        let file = Some(self.file.as_slice()).filter(|name| !name.is_empty());
        names.chain(file).fold(b"/".to_vec(), |path, name| joined(&path, name))
    }
}

/// Is given each id with the way to it, and says whether to go below it.
pub(in crate::ops) type Visit<'v> = &'v mut dyn FnMut(&ChunkId, &Trail) -> Result<bool>;

/// Goes through a snapshot in the order of its tree, pages before what they list.
pub(in crate::ops) fn walk(
    repo: &Repository,
    snapshot: &Snapshot,
    interrupted: &AtomicBool,
    visit: Visit<'_>,
) -> Result<()> {
    let (mut stack, mut trail) = (Vec::new(), Trail::default());
    if let Body::Directory { page: Some(page), .. } = snapshot.root_node().body {
        stack.push((0, None, PageAt::top(page)));
    }
    while let Some((depth, name, at)) = stack.pop() {
        if interrupted.load(Ordering::Relaxed) {
            return Err(OpError::Interrupted);
        }
        trail.above.truncate(depth);
        trail.above.push((at.id, name));
        if !visit(&at.id, &trail)? {
            continue;
        }
        let depth = depth + 1;
        match repo.page_at(&at)? {
            Page::Inner(refs) => {
                stack.extend(at.below(&refs).rev().map(|below| (depth, None, below)));
            }
            Page::Leaf(leaf) => {
                for node in &leaf.nodes {
                    if let Body::File(file) = &node.body {
                        trail.file.extend_from_slice(&node.name);
                        content(repo, file, &mut trail, visit)?;
                        trail.file.clear();
                    }
                }
                let below = leaf.nodes.iter().rev().filter_map(|node| match node.body {
                    Body::Directory { page: Some(page), .. } => {
                        Some((depth, Some(node.name.to_vec()), PageAt::top(page)))
                    }
                    _ => None,
                });
                stack.extend(below);
            }
        }
    }
    Ok(())
}

fn content(repo: &Repository, file: &File, trail: &mut Trail, visit: Visit<'_>) -> Result<()> {
    let Content::Extents { level, extents } = &file.content else { return Ok(()) };
    extents.iter().try_for_each(|extent| below(repo, extent, *level, trail, visit))
}

fn below(
    repo: &Repository,
    extent: &Extent,
    level: u8,
    trail: &mut Trail,
    visit: Visit<'_>,
) -> Result<()> {
    if extent.is_hole() {
        return Ok(());
    }
    trail.above.push((extent.id, None));
    let deeper = visit(&extent.id, trail)?;
    if let Some(level) = level.checked_sub(1).filter(|_| deeper) {
        let extents = repo.extents_of(extent, level)?;
        extents.iter().try_for_each(|extent| below(repo, extent, level, trail, visit))?;
    }
    trail.above.pop();
    Ok(())
}

/// What is needed, as far as it was looked at.
#[derive(Debug)]
pub(super) struct Marks {
    pub(super) records: Records,
    pub(super) live: Bits,
    losses: Option<Losses>,
    /// Whether a writer lives.
    has_writers: bool,
}

/// What snapshots need that say that they lost content.
#[derive(Debug)]
struct Losses {
    live: Bits,
    /// Pages and lists of chunks with something below that was passed over: each path to them is
    /// gone, since another snapshot may not name it.
    hurt: Bits,
    /// Blocks that are told from a chunk which nobody has whole: none of them can be read.
    broken: HashSet<(PackId, u32)>,
    /// Whether something was passed over.
    met: bool,
    /// What is not lost though no segment knows it; empty where a writer lives.
    unindexed: Unindexed,
}

impl Losses {
    /// # Errors
    /// Where a base lies in a pack that no segment lists, or one of those packs cannot tell what it
    /// holds.
    fn new(repo: &Repository, records: &Records, has_writers: bool) -> Result<Self> {
        let mut unindexed = repo.unindexed()?;
        if let Some(err) = unindexed.unreadable.pop() {
            return Err(err.into());
        }
        if has_writers {
            unindexed = Unindexed::default();
        }
        let mut broken = HashSet::new();
        records.for_each(|_, _, places| -> Result<()> {
            for place in places {
                let key = (place.pack.id, place.block_offset);
                let Some(base) = place.base.filter(|_| !broken.contains(&key)) else { continue };
                if !records.places(&base)?.iter().any(|place| place.base.is_none()) {
                    unindexed.refuse(&[base])?;
                    broken.insert(key);
                }
            }
            Ok(())
        })?;
        let [live, hurt] = [(); 2].map(|()| Bits::new(records.len()));
        Ok(Self { live, hurt, broken, met: false, unindexed })
    }
}

impl Marks {
    /// Of the index as it is now; nothing is marked. `has_writers` says whether a writer lives, as
    /// far as was known before.
    pub(super) fn new(repo: &Repository, has_writers: bool) -> Result<Self> {
        let records = repo.index_records()?;
        let live = Bits::new(records.len());
        Ok(Self { records, live, losses: None, has_writers })
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
        if let (None, Some(losses)) = (number, &self.losses) {
            losses.unindexed.refuse(&[*id])?;
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
    ///
    /// # Errors
    /// Where something of it is missing that it does not name as lost.
    pub(super) fn snapshot(
        &mut self,
        repo: &Repository,
        snapshot: &Snapshot,
        interrupted: &AtomicBool,
    ) -> Result<()> {
        let lossy = is_lossy(snapshot);
        if lossy && self.losses.is_none() {
            self.losses = Some(Losses::new(repo, &self.records, self.has_writers)?);
        }
        let named = lossy.then(|| KnownLosses::of_one(snapshot));
        let is_named = |path: &[u8]| named.as_ref().is_some_and(|it| it.has(snapshot.id, path));
        let mut visit = |id: &ChunkId, trail: &Trail| match self.number_for(lossy, id)? {
            Some(number) => Ok(self.visit(number, lossy)),
            None if is_named(&trail.path()) => self.pass_over(trail),
            None => Err(RepoError::ChunkMissing { chunk: *id }.into()),
        };
        walk(repo, snapshot, interrupted, &mut visit).inspect_err(|err| {
            if !matches!(err, OpError::Interrupted) {
                tracing::error!("snapshot {} cannot be read whole", snapshot.id);
            }
        })
    }

    /// Marks a chunk; whether what is below it must be looked at. What is below a chunk that is
    /// marked as live is all there.
    fn visit(&mut self, number: u64, lossy: bool) -> bool {
        match &mut self.losses {
            Some(losses) if lossy => {
                !self.live.has(number) && (losses.live.set(number) || losses.hurt.has(number))
            }
            _ => self.live.set(number),
        }
    }

    /// Takes note of something that is lost; nobody can look below it.
    fn pass_over(&mut self, trail: &Trail) -> Result<bool> {
        if let Some(losses) = &mut self.losses {
            losses.met = true;
            for (above, _) in &trail.above {
                if let Some(number) = self.records.number(above)? {
                    losses.hurt.set(number);
                }
            }
        }
        Ok(false)
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
