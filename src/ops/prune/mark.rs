//! Marking: which chunks and pages snapshots need. A bit of the index's view for each.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::{Body, ChunkId, Content, Extent, File, Snapshot};
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
}

impl Marks {
    /// Of the index as it is now; nothing is marked.
    pub(super) fn new(repo: &Repository) -> Result<Self> {
        let records = repo.index_records()?;
        let live = Bits::new(records.len());
        Ok(Self { records, live })
    }

    /// Marks a chunk; whether it was not.
    pub(super) fn mark(&mut self, id: &ChunkId) -> Result<bool> {
        let number = self.records.number(id)?;
        let number = number.ok_or(RepoError::ChunkMissing { chunk: *id })?;
        Ok(self.live.set(number))
    }

    /// Marks all that a snapshot needs.
    pub(super) fn snapshot(
        &mut self,
        repo: &Repository,
        snapshot: &Snapshot,
        interrupted: &AtomicBool,
    ) -> Result<()> {
        walk(repo, snapshot, interrupted, &mut |id| self.mark(id)).inspect_err(|err| {
            if !matches!(err, OpError::Interrupted) {
                tracing::error!("snapshot {} cannot be read whole", snapshot.id);
            }
        })
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
