//! The last look before a decision: candidates that something needs are spared.
//!
//! What is needed: what was marked when the candidates were chosen, and all snapshots that came
//! since. A prune that goes on with another one's candidates marks everything, and so does one that
//! passed over what is lost.

use std::collections::HashSet;

use crate::format::index::Place;
use crate::format::{Generation, PackId, SnapshotId};
use crate::ops::Result;
use crate::repo::{RepoError, Repository};

use super::Patience;
use super::choose::{PackTable, ToldBlocks};
use super::mark::Marks;
use super::roots::Roots;

/// What was marked before.
pub(super) struct Marked<'a> {
    pub(super) marks: &'a Marks,
    pub(super) snapshots: &'a HashSet<SnapshotId>,
}

/// The decision that `candidates` allow now.
pub(super) fn decision(
    repo: &Repository,
    candidates: &Generation,
    marked: Option<Marked<'_>>,
    patience: &Patience<'_>,
) -> Result<Generation> {
    let (host, interrupted) = (patience.host, patience.interrupted);
    // A page of which something was passed over is not marked for a snapshot that has lost nothing.
    let marked = marked.filter(|marked| !marked.marks.has_losses());
    let doomed: HashSet<SnapshotId> = candidates.snapshots.iter().copied().collect();
    let has_writers = patience.has_writers(repo)?;
    // Snapshots first: what they refer to was in the index before they were there.
    let roots = Roots::read(repo, patience, &HashSet::new(), Some(&doomed))?;
    let mut marks = Marks::new(repo, has_writers)?;
    if let Some(marked) = &marked {
        marks.all_of(marked.marks)?;
    }
    let known = |id: &SnapshotId| marked.as_ref().is_some_and(|it| it.snapshots.contains(id));
    for snapshot in roots.live.iter().filter(|snapshot| !known(&snapshot.id)) {
        marks.snapshot(repo, snapshot, interrupted)?;
    }
    marks.join();
    let gone = repo.generations()?.doomed();
    let table = PackTable::new(repo, &marks, &gone)?;
    let spared = spared(&marks, &table, candidates)?;
    let mut packs = candidates.packs.clone();
    // Where something is lost the table leaves out what no segment lists: it may lie there.
    let may_hold = |id: &PackId| marks.has_losses() && table.number(id).is_none();
    packs.retain(|(_, id)| !spared.contains(id) && !may_hold(id));
    if !spared.is_empty() {
        tracing::info!("{} of {} packs are needed again", spared.len(), candidates.packs.len());
    }
    let snapshots = roots.doomed.into_iter().collect();
    Ok(repo.generation(candidates.number, host, packs, snapshots))
}

/// Candidates without which something that is needed could not be read.
fn spared(marks: &Marks, table: &PackTable, candidates: &Generation) -> Result<HashSet<PackId>> {
    let candidates: HashSet<PackId> = candidates.packs.iter().map(|(_, id)| *id).collect();
    let usable = |place: &Place| table.is_usable(place);
    let stays = |place: &Place| usable(place) && !candidates.contains(&place.pack.id);
    let (mut spared, mut told) = (HashSet::new(), ToldBlocks::default());
    marks.records.for_each(|number, id, places| -> Result<()> {
        if !marks.live.has(number) {
            return Ok(());
        }
        if places.iter().any(stays) {
            told.add(places, stays);
            return Ok(());
        }
        let place = table.best(places).ok_or(RepoError::ChunkMissing { chunk: *id })?;
        told.add(std::slice::from_ref(place), usable);
        spared.insert(place.pack.id);
        Ok(())
    })?;
    for base in told.bases(marks)? {
        let mut places = marks.records.places(&base)?;
        places.retain(|place| place.base.is_none());
        if !places.iter().any(|place| stays(place) || spared.contains(&place.pack.id)) {
            let place = table.best(&places).ok_or(RepoError::ChunkMissing { chunk: base })?;
            spared.insert(place.pack.id);
        }
    }
    Ok(spared)
}
