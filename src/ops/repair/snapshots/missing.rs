//! Snapshots that a replica has and that are not here any more.
//!
//! What must stay true: what a prune removed on purpose does not come back: decisions, which stay for
//! a year, name it, and later its content is not here. A snapshot comes back as a writer commits one:
//! by a session that sees all it refers to in places that no prune is about to delete.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use crate::format::{Body, ObjectKey, Snapshot, SnapshotId};
use crate::ops::pages::PageWalk;
use crate::ops::prune::walk as walk_all;
use crate::ops::{OpError, Result};
use crate::repo::{RepoError, Repository, Session, Writer};
use crate::storage::StorageError;

use super::{Finding, Replica, SnapshotsPlan, Step, Whole};

/// Adds what the replica has and this repository lost. Waits for another run where records of prune
/// are to be put right first.
pub(super) fn find(
    repo: &Repository,
    replica: &Replica<'_>,
    walk: &mut PageWalk<'_, Whole>,
    plan: &mut SnapshotsPlan,
) -> Result<()> {
    let here: HashSet<SnapshotId> = repo.snapshot_ids()?.into_iter().collect();
    let gone = match removed_on_purpose(repo) {
        Err(OpError::Repo(err)) if err.is_damage() => {
            plan.is_postponed = true; // a finding says what is wrong
            return Ok(());
        }
        gone => gone?,
    };
    for id in replica.ids()? {
        walk.check_interrupted()?;
        if here.contains(&id) || gone.contains(&id) {
            continue;
        }
        let Some((snapshot, _)) = of_replica(repo, replica, id) else { continue };
        let whole = match snapshot.root_node().body {
            Body::Directory { page: Some(page), .. } => walk.sum(page)?,
            _ => true,
        };
        let (step, why) = match whole {
            true => (Step::Return, "the replica has it, and its directories are here"),
            false => (
                Step::Leave,
                "the replica has it, and not all of its directories are here: where it was not pruned, icecore repair packs --from, then again",
            ),
        };
        let object = ObjectKey::Snapshot(id);
        let error = StorageError::NotFound { object }.into();
        plan.findings.push(Finding { object, error, step, why });
    }
    Ok(())
}

/// Snapshots that a prune removed, or is about to, and those that are forgotten.
fn removed_on_purpose(repo: &Repository) -> Result<HashSet<SnapshotId>> {
    let mut gone = repo.generations()?.snapshots();
    gone.extend(repo.forgotten()?);
    Ok(gone)
}

/// The replica's snapshot, where it opens in this repository and is no tombstone; with its bytes.
fn of_replica(
    repo: &Repository,
    replica: &Replica<'_>,
    id: SnapshotId,
) -> Option<(Snapshot, Vec<u8>)> {
    let bytes = replica.bytes(repo, &ObjectKey::Snapshot(id))?;
    let snapshot = repo.decode_snapshot(id, &bytes).ok()??;
    Some((snapshot, bytes))
}

/// Whether it is here now: not where some of what it names is not, or where the replica changed.
pub(super) fn bring_back(
    repo: &Repository,
    replica: &Replica<'_>,
    id: SnapshotId,
    writer: &Writer,
    interrupted: &AtomicBool,
) -> Result<bool> {
    let Some((snapshot, bytes)) = of_replica(repo, replica, id) else { return Ok(false) };
    let session = Session::begin(repo, writer.clone(), crate::clock::now())?;
    let back = put(repo, &session, &snapshot, &bytes, interrupted);
    session.abandon();
    back
}

fn put(
    repo: &Repository,
    session: &Session<'_>,
    snapshot: &Snapshot,
    bytes: &[u8],
    interrupted: &AtomicBool,
) -> Result<bool> {
    let mut seen = HashSet::new();
    let all = walk_all(repo, snapshot, interrupted, &mut |id, _| {
        session.beat_when_due()?;
        match session.has_chunk(id) {
            true => Ok(seen.insert(*id)),
            false => Err(RepoError::ChunkMissing { chunk: *id }.into()),
        }
    });
    match all {
        Ok(()) => {}
        Err(OpError::Repo(err)) if err.is_damage() => {
            tracing::warn!("snapshot {} does not come back: {err}", snapshot.id);
            return Ok(false);
        }
        Err(err) => return Err(err),
    }
    repo.refuse_evicted(session.id())?;
    let object = ObjectKey::Snapshot(snapshot.id);
    match repo.storage().put_new(&object, bytes) {
        Err(err) if err.is_already_exists() => Ok(false),
        result => result.map(|()| true).map_err(|err| RepoError::from(err).into()),
    }
}
