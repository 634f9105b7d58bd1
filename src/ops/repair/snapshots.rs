//! Snapshots that cannot be read, and the marks beside them.
//!
//! A snapshot's object is small, and all that it names hangs on it: nothing here can make a damaged
//! one again. A replica that holds the same object can, byte by byte; it counts only where it opens
//! in this repository. Marks say less: without the one that forgot a snapshot it is there again,
//! without a record of tags the one before it holds.

use std::sync::atomic::AtomicBool;

use crate::format::{Body, Folder, Leaf, ObjectKey, SnapshotId, limits};
use crate::ops::Result;
use crate::ops::pages::{PageWalk, Visit};
use crate::repo::{RepoError, Repository};
use crate::storage::Storage;

/// What is to be done about a damaged object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The replica's object takes its place.
    Replace,
    /// It goes: what it said does not hold any more.
    Remove,
    /// A generation of prune comes to its end with nothing in it: no pack of it is there any more,
    /// or none has been decided to go.
    Void,
    /// It stays: only a replica could mend it, or a writer that lives may need it.
    Leave,
}

/// A damaged object, and what is to be done.
#[derive(Debug)]
pub struct Finding {
    /// Which.
    pub object: ObjectKey,
    /// What is wrong.
    pub error: RepoError,
    /// What a repair does.
    pub step: Step,
    /// What that means.
    pub why: &'static str,
}

/// A snapshot of which pages cannot be read.
#[derive(Debug)]
pub struct Incomplete {
    /// Which.
    pub snapshot: SnapshotId,
    /// What is missing first.
    pub error: String,
}

/// What a repair of snapshots found.
#[derive(Debug, Default)]
pub struct SnapshotsPlan {
    /// Snapshots that were read.
    pub snapshots: u64,
    /// Damaged objects.
    pub findings: Vec<Finding>,
    /// Snapshots that can be read, and not all of their directories. Nothing is done about them.
    pub incomplete: Vec<Incomplete>,
}

impl SnapshotsPlan {
    /// What would be changed.
    pub fn steps(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.step != Step::Leave)
    }
}

/// Where it looks.
const FOLDERS: [Folder; 6] = [
    Folder::Snapshots,
    Folder::Forgotten,
    Folder::Tags,
    Folder::Pins,
    Folder::Sessions,
    Folder::Gc,
];

/// Looks at snapshots, their directories and the marks beside them. `replica` is the storage of
/// another copy of this repository.
///
/// # Errors
/// Where a later icecore wrote any of it, the storage cannot be read, or the user interrupts.
pub fn plan(
    repo: &Repository,
    replica: Option<&dyn Storage>,
    interrupted: &AtomicBool,
) -> Result<SnapshotsPlan> {
    let mut plan = SnapshotsPlan::default();
    let mut walk = PageWalk::new(repo, interrupted, Whole { first: None });
    for folder in FOLDERS {
        let listed = repo.storage().list(folder).map_err(RepoError::from)?;
        let keys: Vec<_> = listed.into_iter().filter_map(|listed| listed.key).collect();
        for object in &keys {
            walk.check_interrupted()?;
            match check(repo, object, &mut walk, &mut plan) {
                Ok(()) => {}
                Err(err) if err.is_newer() => return Err(err.into()),
                Err(err) if err.is_not_found() => {}
                Err(error) if error.is_damage() => {
                    let (step, why) = step(repo, *object, &keys, replica)?;
                    plan.findings.push(Finding { object: *object, error, step, why });
                }
                Err(err) => return Err(err.into()),
            }
        }
    }
    Ok(plan)
}

fn check(
    repo: &Repository,
    object: &ObjectKey,
    walk: &mut PageWalk<'_, Whole>,
    plan: &mut SnapshotsPlan,
) -> Result<(), RepoError> {
    let id = match *object {
        ObjectKey::Snapshot(id) => id,
        ObjectKey::Beat(session, number) => return repo.check_beat(session, number),
        _ => return repo.check_mark(object),
    };
    let Some(snapshot) = repo.read_snapshot(id)? else { return Ok(()) };
    plan.snapshots += 1;
    let Body::Directory { page: Some(page), .. } = snapshot.root_node().body else {
        return Ok(());
    };
    walk.visitor.first = None;
    // Interruption is asked for again before the next object.
    if let Ok(false) = walk.sum(page) {
        let first = walk.visitor.first.take();
        let error = first.unwrap_or_else(|| "it shares pages with one of the above".to_owned());
        plan.incomplete.push(Incomplete { snapshot: id, error });
    }
    Ok(())
}

/// What to do about a damaged object of a folder that holds `keys`.
fn step(
    repo: &Repository,
    object: ObjectKey,
    keys: &[ObjectKey],
    replica: Option<&dyn Storage>,
) -> Result<(Step, &'static str)> {
    if replica.is_some_and(|replica| of_replica(repo, replica, &object).is_some()) {
        return Ok((Step::Replace, "the replica has it whole"));
    }
    let is_later = |key: &ObjectKey| match (*key, object) {
        (ObjectKey::Beat(a, n), ObjectKey::Beat(b, m)) => a == b && n > m,
        (ObjectKey::Pin(a, n), ObjectKey::Pin(b, m)) => a == b && n > m,
        // Only one that can be read says more than this one did.
        (ObjectKey::Tags(a, n), ObjectKey::Tags(b, m)) => {
            a == b && n > m && repo.check_mark(key).is_ok()
        }
        _ => false,
    };
    let is_over = || match object {
        ObjectKey::Beat(session, _) => repo.snapshot_ids().map(|ids| ids.contains(&session)),
        _ => Ok(false),
    };
    Ok(match object {
        ObjectKey::Forgotten(_) => (Step::Remove, "the snapshot is no longer forgotten"),
        ObjectKey::Tags(..) if keys.iter().any(is_later) => {
            (Step::Remove, "a later record is there")
        }
        ObjectKey::Tags(..) => (
            Step::Leave,
            "the snapshot counts as protected: icecore protect or unprotect it, then repair again",
        ),
        ObjectKey::Decision(n) if !keys.contains(&ObjectKey::Candidates(n)) => {
            (Step::Void, "all that it named is gone")
        }
        ObjectKey::Candidates(n) if !keys.contains(&ObjectKey::Decision(n)) => {
            (Step::Void, "nothing of it was decided, and nothing of it will go")
        }
        ObjectKey::Candidates(_) => (Step::Leave, "the next prune removes it"),
        ObjectKey::Beat(..) | ObjectKey::Pin(..) if keys.iter().any(is_later) => {
            (Step::Remove, "a later beat is there")
        }
        ObjectKey::Beat(..) if is_over()? => (Step::Remove, "the session has ended"),
        ObjectKey::Beat(..) | ObjectKey::Pin(..) => {
            (Step::Leave, "who wrote it may live; a prune waits for it as long as for others")
        }
        _ => (Step::Leave, "only a replica has it: name one with --from"),
    })
}

/// The replica's bytes of an object, where they are what this repository wrote.
fn of_replica(repo: &Repository, replica: &dyn Storage, object: &ObjectKey) -> Option<Vec<u8>> {
    let bytes = replica.get(object, limits::SNAPSHOT_MAX as u64 + 4096).ok()?;
    repo.check_small(object, &bytes).ok()?;
    // Of a beat nothing is checked above, and nothing is worth taking over.
    (!matches!(object, ObjectKey::Beat(..))).then_some(bytes)
}

/// Carries a plan out; returns how many objects were replaced and how many removed.
///
/// # Errors
/// Where the storage refuses. What was done until then stays done; what was not can be done again.
pub fn run(
    repo: &Repository,
    plan: &SnapshotsPlan,
    replica: Option<&dyn Storage>,
) -> Result<(u64, u64)> {
    let (mut replaced, mut removed) = (0, 0);
    for finding in plan.steps() {
        if let (Step::Void, ObjectKey::Candidates(number) | ObjectKey::Decision(number)) =
            (finding.step, finding.object)
        {
            repo.void_generation(number)?;
            replaced += 1;
            continue;
        }
        let bytes = match finding.step {
            Step::Replace => replica.and_then(|replica| of_replica(repo, replica, &finding.object)),
            _ => None,
        };
        if finding.step == Step::Replace && bytes.is_none() {
            continue; // the replica has changed since the plan
        }
        match repo.storage().delete(&finding.object) {
            Err(err) if !err.is_not_found() => return Err(RepoError::from(err).into()),
            _ => {}
        }
        match bytes {
            Some(bytes) => {
                repo.storage().put_new(&finding.object, &bytes).map_err(RepoError::from)?;
                replaced += 1;
            }
            None => removed += 1,
        }
    }
    Ok((replaced, removed))
}

/// Tells whether all pages below one can be read.
struct Whole {
    first: Option<String>,
}

impl Visit for Whole {
    type Sum = bool;

    fn leaf(&mut self, _: &Leaf) -> bool {
        true
    }

    fn inner(&mut self) -> bool {
        true
    }

    fn unread(&mut self, err: RepoError) -> bool {
        self.first.get_or_insert_with(|| err.to_string());
        false
    }

    fn add(whole: &mut bool, below: bool) {
        *whole &= below;
    }
}
