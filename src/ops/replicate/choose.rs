//! Which snapshots are missing at the destination, and which of those there is nearest to one.
//!
//! Two snapshots are the same where they go back to one origin, themselves where they are none's
//! copy: so a copy of a copy is known, and one that comes home. A successor that says that content
//! was lost stands for no copy: the whole one is copied again.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::format::{LedgerEvent, Origin, RepositoryId, Snapshot, SnapshotId};
use crate::ops::Result;
use crate::ops::repair::packs::is_lossy;
use crate::repo::{Marker, Marks, Repository, SnapshotList};

use super::one::Near;
use super::{ReplicateOptions, ReplicateReport};

/// What is to be copied, and what is on both sides.
pub(super) struct Chosen {
    /// With the tags that they have now, oldest first.
    pub(super) todo: Vec<Snapshot>,
    /// Those of the source.
    here: Vec<Snapshot>,
    /// Copies by their origins.
    there: HashMap<Origin, Snapshot>,
    /// Those of the source that must never be forgotten.
    protected: BTreeSet<SnapshotId>,
    /// The source.
    ours: RepositoryId,
    /// What was decided at the destination about snapshots there.
    marks: Marks,
}

/// What a snapshot of a repository goes back to.
fn origin_of(repository: RepositoryId, snapshot: &Snapshot) -> Origin {
    snapshot.origin.unwrap_or(Origin { repository, snapshot: snapshot.id })
}

fn by_origin(repo: &Repository, snapshots: Vec<Snapshot>) -> HashMap<Origin, Snapshot> {
    let lossy = snapshots.iter().filter(|each| is_lossy(each));
    let hurt: BTreeSet<_> = lossy.flat_map(|each| [Some(each.id), each.parent]).flatten().collect();
    let whole = snapshots.into_iter().filter(|each| !hurt.contains(&each.id));
    whole.map(|snapshot| (origin_of(repo.config().repository, &snapshot), snapshot)).collect()
}

impl Chosen {
    /// Looks at both. What was there already and what cannot be read goes into the report.
    pub(super) fn new(
        from: &Repository,
        to: &Repository,
        options: &ReplicateOptions,
        report: &mut ReplicateReport,
    ) -> Result<Self> {
        let SnapshotList { snapshots, protected, damaged, .. } = from.snapshots()?;
        report.damaged.extend(damaged.iter().map(ToString::to_string));
        let marks = to.marks()?;
        let there = by_origin(to, to.snapshots()?.snapshots);
        let forgotten = by_origin(to, to.forgotten_snapshots()?.snapshots);
        let (ours, theirs) = (from.config().repository, to.config().repository);
        let mut chosen = Self { todo: Vec::new(), here: snapshots, there, protected, ours, marks };
        let wanted = chosen.here.iter().filter(|snapshot| {
            let named = options.only.as_ref().is_none_or(|only| only.contains(&snapshot.id));
            named && !options.except.contains(&snapshot.id) && options.filter.fits(snapshot)
        });
        let mut missing = Vec::new();
        for snapshot in wanted {
            let origin = origin_of(ours, snapshot);
            if let Some(copy) = chosen.there.get(&origin) {
                report.present += 1;
                if !options.dry_run {
                    chosen.protect(to, snapshot, copy, &options.host)?;
                }
            } else if options.only.is_none()
                && (forgotten.contains_key(&origin) || origin.repository == theirs)
            {
                report.forgotten += 1;
            } else {
                missing.push(snapshot.clone());
            }
        }
        if options.only.is_none() {
            let pruned = chosen.pruned(from, to, &missing)?;
            report.forgotten += pruned.len() as u64;
            missing.retain(|snapshot| !pruned.contains(&snapshot.id));
        }
        chosen.todo = missing;
        Ok(chosen)
    }

    /// Those that were copied before, and forgotten and pruned there since. Asked only where one is
    /// missing that is older than a copy: a new one never was there.
    fn pruned(
        &self,
        from: &Repository,
        to: &Repository,
        missing: &[Snapshot],
    ) -> Result<HashSet<SnapshotId>> {
        let newest = self.there.values().map(|copy| copy.time).max();
        let is_old = |snapshot: &Snapshot| newest.is_some_and(|newest| snapshot.time <= newest);
        if !missing.iter().any(is_old) {
            return Ok(HashSet::new());
        }
        let gone = to.generations()?.removed_snapshots();
        let mut pruned = HashSet::new();
        for entry in to.ledger()? {
            // Evidence that cannot be read costs a second copy, no more.
            let Ok(entry) = entry else { continue };
            if let LedgerEvent::Replicated(told) = &entry.record.event
                && told.from == from.config().repository
            {
                let pairs = told.snapshots.iter().filter(|pair| gone.contains(&pair.copy));
                pruned.extend(pairs.map(|pair| pair.origin));
            }
        }
        pruned.retain(|id| missing.iter().any(|snapshot| snapshot.id == *id));
        Ok(pruned)
    }

    /// A snapshot of the source and its copy that are likely to have most in common with this one:
    /// of the same host and sources, the newest that is not younger, else the oldest.
    fn reference(&self, snapshot: &Snapshot) -> Option<(&Snapshot, &Snapshot)> {
        let alike = |other: &&Snapshot| {
            other.id != snapshot.id
                && other.host == snapshot.host
                && other.sources == snapshot.sources
        };
        let mut found: Option<(&Snapshot, &Snapshot)> = None;
        for other in self.here.iter().filter(alike) {
            let Some(copy) = self.there.get(&origin_of(self.ours, other)) else { continue };
            if found.is_none() || other.time <= snapshot.time {
                found = Some((other, copy));
            }
        }
        found
    }

    /// What is on both sides already, and nearest to a snapshot.
    pub(super) fn near(&self, snapshot: &Snapshot) -> Near<'_> {
        let parent = snapshot.parent.and_then(|id| self.copy_of(id));
        Near { reference: self.reference(snapshot), parent }
    }

    /// The copy's id of a snapshot of the source.
    fn copy_of(&self, id: SnapshotId) -> Option<SnapshotId> {
        let snapshot = self.here.iter().find(|snapshot| snapshot.id == id)?;
        self.there.get(&origin_of(self.ours, snapshot)).map(|copy| copy.id)
    }

    /// Takes a new copy in.
    pub(super) fn add(&mut self, snapshot: &Snapshot, copy: Snapshot) {
        self.there.insert(origin_of(self.ours, snapshot), copy);
    }

    /// Protects the copy of a protected snapshot, unless somebody there has decided on its tags.
    pub(super) fn protect(
        &self,
        to: &Repository,
        snapshot: &Snapshot,
        copy: &Snapshot,
        host: &str,
    ) -> Result<()> {
        let is_decided =
            |marks: &Marks| marks.tags(copy.id).is_some() || marks.is_protected(copy.id);
        if !self.protected.contains(&snapshot.id) || is_decided(&self.marks) {
            return Ok(());
        }
        let mut marks = to.marks()?;
        if !is_decided(&marks) {
            let by = Marker { host: host.to_owned(), now: crate::clock::now() };
            to.retag(&mut marks, copy, &by, |state| state.protected = true)?;
        }
        Ok(())
    }
}
