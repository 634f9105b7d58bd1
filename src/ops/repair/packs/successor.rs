//! Successors: snapshots that name what their parents lost.
//!
//! What must stay true: each loss is named, also one that comes after another: a successor that loses
//! more than it names has a successor in turn, which names the old losses as well. However many repairs run at a time, one successor of a snapshot is left.
//! Each makes its own where it saw none, and looks again once all of its own are there: whoever
//! comes last sees all of them. Which one stays is said by what they hold, so that all agree.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicBool;

use crate::format::{Snapshot, SnapshotId, Time, Trouble, limits};
use crate::ops::path::escaped;
use crate::ops::verify::{self, VerifyOptions};
use crate::ops::{OpError, Result};
use crate::progress::Silent;
use crate::repo::{Marker, RepoError, Repository, Session};

use super::losses::{KnownLosses, named};
use super::{LOST, LostPath, PacksOptions, PacksReport};

/// Whether a repair made the snapshot, of one that had lost content.
#[must_use]
pub fn is_lossy(snapshot: &Snapshot) -> bool {
    snapshot.troubles.iter().any(|trouble| trouble.what == LOST)
}

/// Names what is lost, in the report and in a successor of each snapshot that it hits.
pub(super) fn succeed(
    repo: &Repository,
    options: &PacksOptions,
    report: &mut PacksReport,
    interrupted: &AtomicBool,
) -> Result<()> {
    let structure = VerifyOptions { no_heal: true, ..VerifyOptions::default() };
    let verified = verify::run(repo, structure, &Silent, interrupted)?;
    if !verified.missing.is_empty() {
        repo.unindexed()?.refuse(&verified.missing)?;
    }
    report.lost_paths = verified.affected_count + verified.known_count;
    let snapshots = repo.snapshots()?.snapshots;
    let lossy = || snapshots.iter().filter(|snapshot| is_lossy(snapshot));
    let succeeded: HashSet<_> = lossy().filter_map(|snapshot| snapshot.parent).collect();
    let whole = lossy().map(|snapshot| snapshot.id).filter(|id| !verified.lost.contains_key(id));
    report.whole_again = whole.collect();
    for (id, paths) in &verified.lost {
        let lost = |path: &Vec<u8>| LostPath { snapshot: *id, path: escaped(path) };
        report.lost.extend(paths.iter().take(limits::TROUBLES_MAX).map(lost));
        let Some(snapshot) = snapshots.iter().find(|snapshot| snapshot.id == *id) else { continue };
        let own = KnownLosses::of_one(snapshot);
        if !succeeded.contains(id) && paths.iter().all(|path| own.has(*id, path)) {
            continue; // it says so itself
        }
        if !succeeded.contains(id) {
            let successor = put_successor(repo, options, *id, paths)?;
            report.successors.extend(successor.map(|successor| (*id, successor)));
        }
        let marks = repo.marks()?;
        if options.forget && !marks.is_forgotten(*id) && !marks.is_protected(*id) {
            let by = Marker { host: options.writer.host.clone(), now: crate::clock::now() };
            report.forgotten += u64::from(repo.forget(*id, &by)?);
        }
    }
    settle(repo, options, report)
}

/// Of several successors of one snapshot, marks all as forgotten but the one that names most, of
/// those the one with the lowest id; the report names that one. Protected ones stay as well.
fn settle(repo: &Repository, options: &PacksOptions, report: &mut PacksReport) -> Result<()> {
    let list = repo.snapshots()?;
    let mut siblings: BTreeMap<SnapshotId, Vec<&Snapshot>> = BTreeMap::new();
    for snapshot in list.snapshots.iter().filter(|snapshot| is_lossy(snapshot)) {
        if let Some(parent) = snapshot.parent {
            siblings.entry(parent).or_default().push(snapshot);
        }
    }
    for (parent, of_one) in siblings {
        let key = |snapshot: &&&Snapshot| (snapshot.troubles_count, Reverse(snapshot.id));
        let Some(stays) = of_one.iter().max_by_key(key).map(|snapshot| snapshot.id) else {
            continue;
        };
        let goes = |id: &SnapshotId| *id != stays && !list.protected.contains(id);
        for id in of_one.iter().map(|snapshot| snapshot.id).filter(goes) {
            tracing::info!("another repair made successor {stays} of {parent}; {id} is forgotten");
            let by = Marker { host: options.writer.host.clone(), now: crate::clock::now() };
            repo.forget(id, &by)?;
        }
        let of_parent = report.successors.iter_mut().filter(|(old, _)| *old == parent);
        of_parent.for_each(|(_, new)| *new = stays);
    }
    Ok(())
}

/// `None`, and nothing is written, where the snapshot is forgotten or gone. It is looked at while
/// the session lives: a prune that begins later waits, and sees the successor.
fn put_successor(
    repo: &Repository,
    options: &PacksOptions,
    id: SnapshotId,
    paths: &[Vec<u8>],
) -> Result<Option<SnapshotId>> {
    let session = Session::begin(repo, options.writer.clone(), crate::clock::now())?;
    let found = still_there(repo, id);
    let Ok(Some(snapshot)) = found else {
        session.abandon();
        return found.map(|_| None).map_err(OpError::from);
    };
    let describe = |new, added| Snapshot { added, ..successor(&snapshot, new, paths) };
    Ok(Some(session.commit(describe)?.id))
}

/// The snapshot as it is stored with the tags that it has now, unless it may be pruned.
fn still_there(repo: &Repository, id: SnapshotId) -> Result<Option<Snapshot>, RepoError> {
    let marks = repo.marks()?;
    if marks.is_forgotten(id) {
        return Ok(None);
    }
    match repo.read_snapshot(id) {
        Ok(Some(mut snapshot)) => {
            marks.apply(&mut snapshot);
            Ok(Some(snapshot))
        }
        Err(err) if err.is_not_found() => Ok(None),
        other => other,
    }
}

/// The same snapshot, a nanosecond later, with a trouble for each path that lost content and was not
/// named before.
fn successor(snapshot: &Snapshot, id: SnapshotId, paths: &[Vec<u8>]) -> Snapshot {
    let before: HashSet<_> = named(snapshot).collect();
    let lost = paths.iter().filter(|path| !before.contains(path.as_slice()));
    let lost = lost.map(|path| Trouble { path: path.clone(), what: LOST.into() });
    let mut troubles: Vec<_> = lost.chain(snapshot.troubles.iter().cloned()).collect();
    let fresh = troubles.len() - snapshot.troubles.len();
    let troubles_count = snapshot.troubles_count + fresh as u64;
    troubles.truncate(limits::TROUBLES_MAX);
    let Time { secs, nanos } = snapshot.time;
    let time = match nanos {
        999_999_999.. => Time { secs: secs.saturating_add(1), nanos: 0 },
        nanos => Time { secs, nanos: nanos + 1 },
    };
    let parent = Some(snapshot.id);
    Snapshot { id, time, parent, troubles, troubles_count, ..snapshot.clone() }
}
