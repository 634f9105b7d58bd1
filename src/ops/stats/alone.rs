//! What each snapshot alone holds: what forgetting it, and it only, would free.
//!
//! Every page and chunk is marked with the one snapshot that has it, or as shared. What is below a
//! page that is shared already is shared too, so each page is read at most twice, however many
//! snapshots there are. Memory: 4 bytes for each chunk that the index knows, and one level of pages
//! at a time.
//!
//! Growth comes from the same marks: what is stored counts for the first snapshot that has it, of
//! those that are there, so that the sums end at what all of them hold together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::{Body, ChunkId, Content, File, PackId, Snapshot};
use crate::ops::{OpError, Result};
use crate::repo::{ChunkNumbers, Page, PageAt, RepoError, Repository};

/// Nobody has it.
const NOBODY: u16 = 0;
/// More than one snapshot has it.
const SHARED: u16 = u16::MAX;

/// What one snapshot holds and no other does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alone {
    /// Chunks and pages.
    pub chunks: u64,
    /// Their plain bytes.
    pub plain: u64,
    /// Their share of the packs that they lie in. A prune gives it back as far as it rewrites them.
    pub stored: u64,
}

/// Marks what belongs to whom.
struct Marks<'a> {
    repo: &'a Repository,
    interrupted: &'a AtomicBool,
    numbers: ChunkNumbers,
    owners: Vec<u16>,
    first: Vec<u16>,
    damaged: Vec<RepoError>,
}

/// What one of several snapshots holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// What no other does.
    pub alone: Alone,
    /// Stored bytes of what none of those before it does.
    pub first_stored: u64,
}

/// Of each of these snapshots, in their order, what it alone holds; and what could not be read,
/// which counts for nobody.
///
/// # Errors
/// As [`held`].
pub fn alone(
    repo: &Repository,
    snapshots: &[Snapshot],
    interrupted: &AtomicBool,
) -> Result<(Vec<Alone>, Vec<RepoError>)> {
    let (all, damaged) = held(repo, snapshots, interrupted)?;
    Ok((all.into_iter().map(|held| held.alone).collect(), damaged))
}

/// The same, and how each made the repository grow.
///
/// # Errors
/// Where there are more snapshots than marks (65,534), or the user interrupts.
pub fn held(
    repo: &Repository,
    snapshots: &[Snapshot],
    interrupted: &AtomicBool,
) -> Result<(Vec<Held>, Vec<RepoError>)> {
    if snapshots.len() >= usize::from(SHARED) {
        return Err(OpError::Input(format!(
            "{} snapshots are too many to tell apart",
            snapshots.len()
        )));
    }
    let numbers = repo.chunk_numbers();
    let (owners, first) = (vec![NOBODY; numbers.end()], vec![NOBODY; numbers.end()]);
    let mut marks = Marks { repo, interrupted, numbers, owners, first, damaged: Vec::new() };
    for (snapshot, owner) in snapshots.iter().zip(1..) {
        if let Body::Directory { page: Some(page), .. } = snapshot.root_node().body {
            marks.directory(page, owner)?;
        }
    }
    let sums = marks.sums(snapshots.len())?;
    Ok((sums, marks.damaged))
}

impl Marks<'_> {
    /// Marks a chunk and what it is told from; whether that changed anything.
    fn mark(&mut self, id: &ChunkId, owner: u16) -> Result<bool> {
        let Some((number, place)) = self.numbers.find(id)? else { return Ok(false) };
        let Some(mark) = self.owners.get_mut(number) else { return Ok(false) };
        let marked = match *mark {
            NOBODY => owner,
            same if same == owner => owner,
            _ => SHARED,
        };
        let changed = *mark != marked;
        if let (NOBODY, Some(first)) = (*mark, self.first.get_mut(number)) {
            *first = owner;
        }
        *mark = marked;
        if let (true, Some(base)) = (changed, place.base) {
            // A base is stored whole itself.
            self.mark(&base, owner)?;
        }
        Ok(changed)
    }

    /// Marks a directory and all below it.
    fn directory(&mut self, top: ChunkId, owner: u16) -> Result<()> {
        let mut stack = vec![PageAt::top(top)];
        while let Some(at) = stack.pop() {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(OpError::Interrupted);
            }
            if !self.mark(&at.id, owner)? {
                continue;
            }
            match self.repo.page_at(&at) {
                Err(err) => self.damaged.push(err),
                Ok(Page::Inner(refs)) => stack.extend(at.below(&refs)),
                Ok(Page::Leaf(leaf)) => {
                    for node in &leaf.nodes {
                        match &node.body {
                            Body::Directory { page, .. } => stack.extend(page.map(PageAt::top)),
                            Body::File(file) => self.file(file, owner)?,
                            _ => {}
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, file: &File, owner: u16) -> Result<()> {
        let Content::Extents { level, extents } = &file.content else { return Ok(()) };
        for extent in extents.iter().filter(|extent| !extent.is_hole()) {
            self.mark(&extent.id, owner)?;
        }
        if *level == 0 {
            return Ok(());
        }
        let mut at = 0;
        loop {
            match self.repo.extent_at(file, at) {
                Ok(Some(placed)) => {
                    if !placed.extent.is_hole() {
                        self.mark(&placed.extent.id, owner)?;
                    }
                    at = placed.offset + placed.extent.len;
                }
                Ok(None) => return Ok(()),
                Err(err) => {
                    self.damaged.push(err);
                    return Ok(());
                }
            }
        }
    }

    fn sums(&self, snapshots: usize) -> Result<Vec<Held>> {
        let mut plain_of: HashMap<PackId, u64> = HashMap::new();
        for place in self.numbers.places() {
            let place = place?;
            *plain_of.entry(place.pack.id).or_default() += u64::from(place.chunk_len);
        }
        let mut sums = vec![Held::default(); snapshots];
        let at = |owner: &u16| usize::from(*owner).wrapping_sub(1);
        for ((place, owner), first) in self.numbers.places().zip(&self.owners).zip(&self.first) {
            let place = place?;
            let len = u64::from(place.chunk_len);
            let plain = u128::from(plain_of.get(&place.pack.id).copied().unwrap_or(len).max(1));
            let share = u128::from(place.pack.stored_len) * u128::from(len) / plain;
            let share = u64::try_from(share).unwrap_or(u64::MAX);
            if let Some(sum) = sums.get_mut(at(first)) {
                sum.first_stored += share;
            }
            if let Some(Held { alone, .. }) = sums.get_mut(at(owner)) {
                alone.chunks += 1;
                alone.plain += len;
                alone.stored += share;
            }
        }
        Ok(sums)
    }
}
