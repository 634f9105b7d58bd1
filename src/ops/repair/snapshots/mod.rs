//! Snapshots that cannot be read or are not there any more, and the small records beside them.
//!
//! A snapshot's object is small, and all that it names hangs on it: nothing here can make a damaged
//! one again. A replica that holds the same object can, byte by byte; it counts only where it opens
//! in this repository. Marks say less: without the one that forgot a snapshot it is there again,
//! without a record of tags the one before it holds. Of settings the last ones that can be read are
//! written anew; of the ledger a record says which records are lost.

mod missing;
mod replica;
mod step;

use std::sync::atomic::AtomicBool;

use crate::format::{Body, ChunkId, Folder, Leaf, LedgerEvent, ObjectKey, Ran, SnapshotId};
use crate::ops::Result;
use crate::ops::pages::{PageWalk, Visit};
use crate::repo::{REPAIR, RepoError, Repository, Writer};

pub use replica::Replica;

use step::step;

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
    /// It is not here, and the replica has it: it comes back, where all that it names is here.
    Return,
    /// It goes, and a new record says what the last one that can be read did.
    Renew,
    /// It goes, and a record of the ledger says that it is lost.
    Record,
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
    /// What the replica has and this repository has not was not looked for: a record of prune cannot
    /// be read, and nobody knows what was removed on purpose before that is put right.
    pub is_postponed: bool,
    /// A chunk that one of these needs and that is in no index segment.
    pub missing: Option<ChunkId>,
}

impl SnapshotsPlan {
    /// What would be changed.
    pub fn steps(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.step != Step::Leave)
    }
}

/// Where it looks.
const FOLDERS: [Folder; 7] = [
    Folder::Settings,
    Folder::Snapshots,
    Folder::Forgotten,
    Folder::Tags,
    Folder::Pins,
    Folder::Sessions,
    Folder::Gc,
];

/// Looks at snapshots, their directories and the marks beside them.
///
/// # Errors
/// Where a later icecore wrote any of it, the storage cannot be read, or the user interrupts.
pub fn plan(
    repo: &Repository,
    replica: Option<&Replica<'_>>,
    interrupted: &AtomicBool,
) -> Result<SnapshotsPlan> {
    let mut plan = SnapshotsPlan::default();
    let mut walk = PageWalk::new(repo, interrupted, Whole { first: None, missing: None });
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
    ledger(repo, replica, &mut plan)?;
    if let Some(replica) = replica {
        missing::find(repo, replica, &mut walk, &mut plan)?;
    }
    Ok(plan)
}

/// Records of the ledger that cannot be read, are not what others say of them, or are gone.
fn ledger(
    repo: &Repository,
    replica: Option<&Replica<'_>>,
    plan: &mut SnapshotsPlan,
) -> Result<()> {
    for (object, error) in repo.check_ledger()?.errors {
        if error.is_newer() {
            return Err(error.into());
        }
        if error.is_damage() {
            let (step, why) = step(repo, object, &[], replica)?;
            plan.findings.push(Finding { object, error, step, why });
        }
    }
    Ok(())
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
        ObjectKey::Settings(number) => return repo.settings_record(number).map(drop),
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
        plan.missing = plan.missing.or(walk.visitor.missing);
        let error = first.unwrap_or_else(|| "it shares pages with one of the above".to_owned());
        plan.incomplete.push(Incomplete { snapshot: id, error });
    }
    Ok(())
}

/// Carries a plan out; returns how many objects were written, and how many removed for good.
///
/// # Errors
/// Where the storage refuses. What was done until then stays done; what was not can be done again.
pub fn run(
    repo: &Repository,
    plan: &SnapshotsPlan,
    replica: Option<&Replica<'_>>,
    writer: &Writer,
    interrupted: &AtomicBool,
) -> Result<(u64, u64)> {
    let (mut written, mut removed) = (0, 0);
    for finding in plan.steps() {
        let object = &finding.object;
        match finding.step {
            Step::Leave => {}
            Step::Void => {
                if let ObjectKey::Candidates(number) | ObjectKey::Decision(number) = *object {
                    repo.void_generation(number)?;
                    written += 1;
                }
            }
            Step::Replace => written += u64::from(replace(repo, replica, object)?),
            Step::Return => {
                if let (Some(replica), ObjectKey::Snapshot(id)) = (replica, *object) {
                    let back = missing::bring_back(repo, replica, id, writer, interrupted)?;
                    written += u64::from(back);
                }
            }
            Step::Remove => removed += u64::from(repo.delete_if_there(object)?),
            Step::Renew => {
                let renewed = renew(repo, writer)?;
                repo.delete_if_there(object)?;
                written += u64::from(renewed);
                removed += u64::from(!renewed);
            }
            Step::Record => {
                record_lost(repo, finding, writer)?;
                removed += u64::from(repo.delete_if_there(object)?);
            }
        }
    }
    Ok((written, removed))
}

/// Puts the replica's bytes in the place of what is damaged; `false` where it has none any more.
fn replace(
    repo: &Repository,
    replica: Option<&Replica<'_>>,
    object: &ObjectKey,
) -> Result<bool, RepoError> {
    let Some(bytes) = replica.and_then(|replica| replica.bytes(repo, object)) else {
        return Ok(false);
    };
    match repo.storage().replace_damaged(object, &bytes) {
        Err(err) if err.is_not_found() => repo.storage().put_new(object, &bytes)?,
        result => result?,
    }
    Ok(true)
}

/// A new record of settings that says what the last one did that can be read, unless that is the
/// last one anyway.
fn renew(repo: &Repository, writer: &Writer) -> Result<bool, RepoError> {
    let Some(settings) = repo.settings()? else { return Ok(false) };
    if repo.settings_numbers()?.first() == Some(&settings.number) {
        return Ok(false);
    }
    repo.set_parity(settings.parity_permille, &writer.host).map(|_| true)
}

/// Says in the ledger that a record of it is lost, and why.
fn record_lost(repo: &Repository, finding: &Finding, writer: &Writer) -> Result<(), RepoError> {
    let now = crate::clock::now();
    let event = LedgerEvent::Ran(Ran {
        part: REPAIR.into(),
        name: finding.object.to_string(),
        started: now,
        duration_ns: 0,
        snapshot: None,
        error: finding.error.to_string(),
    });
    let program = concat!("icecore ", env!("CARGO_PKG_VERSION"));
    repo.append_ledger(now, &writer.host, program, event).map(drop)
}

/// Tells whether all pages below one can be read.
struct Whole {
    first: Option<String>,
    /// The first chunk that no segment knows.
    missing: Option<ChunkId>,
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
        self.missing = self.missing.or(err.missing_chunk());
        self.first.get_or_insert_with(|| err.to_string());
        false
    }

    fn add(whole: &mut bool, below: bool) {
        *whole &= below;
    }
}
