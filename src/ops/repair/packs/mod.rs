//! Damaged and lost packs: healed from parity or from a replica, else emptied and set aside; and
//! chunks that an earlier repair had to give up, brought back from a replica.
//!
//! What must stay true: right bytes first. Only a pack that nobody has whole is set aside, after
//! each chunk that can still be read, of it or of the replica, was written anew by a session. What
//! was lost is named, by snapshot and path, and in a successor of each snapshot that it hits; the
//! snapshots themselves stay until they are forgotten. Any number of repairs may run at a time: who
//! puts packs right is a session, and who deletes one is a generation of prune.

mod aside;
mod fetch;
mod losses;
mod scrub;
mod sources;
mod successor;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::format::index::Place;
use crate::format::{ChunkId, ObjectKey, PackId, PackKind, SnapshotId};
use crate::ops::verify::{self, VerifyOptions};
use crate::ops::{OpError, Result};
use crate::progress::{Progress, Silent};
use crate::repo::{RepoError, Repository, Session, StoredPack, Unindexed, Writer};

pub(in crate::ops) use losses::KnownLosses;
pub use successor::is_lossy;

use scrub::scrub;
use sources::Sources;

/// What a successor says of a file that lost content; successors are told by it.
pub const LOST: &str = "content was lost in the repository";

/// What is to become of a damaged or lost pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Its parity gives it back.
    Parity,
    /// The replica has it whole.
    Replica,
    /// Nobody has it: what can be read is written anew, and the pack is set aside.
    Rewrite,
}

/// A pack that is damaged or lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadPack {
    /// Its name.
    pub object: String,
    #[serde(skip)]
    kind: PackKind,
    #[serde(skip)]
    id: PackId,
    /// Whether it is not there at all.
    pub missing: bool,
    /// What is to become of it.
    pub way: Way,
    /// Chunks that are known to lie in it, where it is set aside.
    pub chunks: u64,
    /// Of those, the ones that neither it nor another pack nor the replica gives.
    pub lost_chunks: u64,
}

/// What is wrong and what is to be done about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PacksPlan {
    /// Packs that were read.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that are damaged or lost.
    pub bad: Vec<BadPack>,
    /// Chunks that were lost before, and that the replica gives back.
    pub returning_chunks: u64,
}

impl PacksPlan {
    /// Whether something is removed: packs that are set aside.
    #[must_use]
    pub fn is_destructive(&self) -> bool {
        self.bad.iter().any(|pack| pack.way == Way::Rewrite)
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.bad.is_empty() && self.returning_chunks == 0
    }

    fn set_aside(&self) -> HashMap<PackId, PackKind> {
        let aside = self.bad.iter().filter(|pack| pack.way == Way::Rewrite);
        aside.map(|pack| (pack.id, pack.kind)).collect()
    }

    fn lost_chunks(&self) -> u64 {
        self.bad.iter().map(|pack| pack.lost_chunks).sum()
    }
}

/// A path that lost content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LostPath {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The path, not-text escaped.
    pub path: String,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PacksReport {
    /// The plan.
    #[serde(flatten)]
    pub plan: PacksPlan,
    /// Nothing was written.
    pub dry_run: bool,
    /// Packs that have their right bytes again.
    pub healed: u64,
    /// Packs that were set aside.
    pub set_aside: u64,
    /// Chunks that were written anew.
    pub rewritten_chunks: u64,
    /// Chunks that were lost, and that the replica gave back.
    pub returned_chunks: u64,
    /// Paths of snapshots that lost content, after all of that.
    pub lost_paths: u64,
    /// The first 1000 of each snapshot.
    pub lost: Vec<LostPath>,
    /// Snapshots that lost content, and the successors that say so.
    pub successors: Vec<(SnapshotId, SnapshotId)>,
    /// Of those, the ones that were marked as forgotten.
    pub forgotten: u64,
    /// Successors of before that name losses, and have none any more: their parents are whole too.
    pub whole_again: Vec<SnapshotId>,
}

/// Who repairs, and how far it goes.
#[derive(Debug, Clone)]
pub struct PacksOptions {
    /// The writer of what is written anew.
    pub writer: Writer,
    /// Mark snapshots that have a successor as forgotten.
    pub forget: bool,
    /// A session that is silent for this long is dead, as for a prune.
    pub session_timeout: Duration,
}

/// Reads all packs and says what is to be done. Writes nothing.
///
/// # Errors
/// Where something of a later icecore is met, where only a damaged index segment may know what lies
/// in a pack that is to be set aside, or a pack that no segment lists holds what is missing (the
/// index is to be repaired first), or the storage fails.
pub fn plan(
    repo: &Repository,
    from: Option<&Repository>,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<PacksPlan> {
    repo.set_healing(false);
    let stored = repo.all_packs()?;
    let index_damage = refuse(repo, &stored)?;
    let bytes = stored.iter().map(|pack| pack.len).sum();
    progress.expect(0, bytes);
    let (mut damaged, mut failed) = scrub(repo, &stored, progress, interrupted)?;
    // A prune deletes packs meanwhile: nothing is lost with those.
    let doomed = repo.generations()?.doomed();
    damaged.retain(|pack| !doomed.contains(&pack.id));
    let lost = repo.lost_packs(&stored)?.into_iter().map(|(kind, id)| (kind, id, true));
    let bad = damaged.into_iter().map(|pack| (pack.kind, pack.id, false)).chain(lost);
    let mut plan = PacksPlan { packs: stored.len() as u64, bytes, ..PacksPlan::default() };
    for (kind, id, missing) in bad {
        let object = ObjectKey::Pack(kind, id).to_string();
        let way = way(repo, from, kind, id)?;
        // The medium fails: what it does not give now it may give another time.
        if way == Way::Rewrite
            && let Some(err) = failed.remove(&id)
        {
            return Err(err.into());
        }
        plan.bad.push(BadPack { object, kind, id, missing, way, chunks: 0, lost_chunks: 0 });
    }
    let is_mute = |pack: &BadPack| {
        pack.way == Way::Rewrite && !pack.missing && !repo.has_footer(pack.kind, pack.id)
    };
    if let Some(err) = index_damage.filter(|_| plan.bad.iter().any(is_mute)) {
        return Err(err.into());
    }
    plan.bad.sort_by(|a, b| a.object.cmp(&b.object));
    let unindexed = repo.unindexed()?;
    count_lost(repo, from, &mut plan, &unindexed, interrupted)?;
    refuse_unindexed(repo, &unindexed, interrupted)?;
    Ok(plan)
}

/// Nothing that snapshots need is taken for lost while it lies in a pack that no segment lists: the
/// index is to be repaired first.
fn refuse_unindexed(
    repo: &Repository,
    unindexed: &Unindexed,
    interrupted: &AtomicBool,
) -> Result<()> {
    if unindexed.packs == 0 {
        return Ok(());
    }
    let structure = VerifyOptions { no_heal: true, ..VerifyOptions::default() };
    let verified = verify::run(repo, structure, &Silent, interrupted)?;
    Ok(unindexed.refuse(&verified.missing)?)
}

/// What is marked as forgotten may be pruned: not while packs hold what no segment knows.
fn refuse_to_forget(repo: &Repository) -> Result<()> {
    let unindexed = repo.unindexed()?;
    match repo.unknown_of(&unindexed)? {
        Some(chunk) => Err(RepoError::Unindexed { chunk, packs: unindexed.packs }.into()),
        None => Ok(()),
    }
}

/// What one does not understand one does not repair. Gives damage of the index itself.
fn refuse(repo: &Repository, stored: &[StoredPack]) -> Result<Option<RepoError>> {
    let damaged = repo.snapshots()?.damaged;
    if let Some(newer) = damaged.into_iter().find(RepoError::is_newer) {
        return Err(newer.into());
    }
    let lengths = stored.iter().map(|pack| (pack.id, pack.len)).collect();
    let mut damage = None;
    for id in repo.stored_segments()? {
        // What it says of packs is what this repair is about.
        for err in repo.check_segment(id, &lengths).errors {
            if err.is_newer() {
                return Err(err.into());
            }
            if !err.is_about_pack() {
                damage = Some(err);
            }
        }
    }
    Ok(damage)
}

fn check(interrupted: &AtomicBool) -> Result<()> {
    if interrupted.load(Ordering::Relaxed) { Err(OpError::Interrupted) } else { Ok(()) }
}

fn way(
    repo: &Repository,
    from: Option<&Repository>,
    kind: PackKind,
    id: PackId,
) -> Result<Way, RepoError> {
    if repo.pack_by_parity(kind, id).is_ok() {
        return Ok(Way::Parity);
    }
    let replica = from.map(|from| from.is_pack_whole(kind, id)).transpose()?;
    Ok(if replica == Some(true) { Way::Replica } else { Way::Rewrite })
}

/// Chunks of packs that are to be set aside, with where they lie there.
fn chunks_aside(repo: &Repository, plan: &PacksPlan) -> Result<Vec<(ChunkId, Place)>> {
    let aside = plan.set_aside();
    if aside.is_empty() {
        return Ok(Vec::new());
    }
    Ok(repo.chunks_in(&aside)?)
}

fn count_lost(
    repo: &Repository,
    from: Option<&Repository>,
    plan: &mut PacksPlan,
    unindexed: &Unindexed,
    interrupted: &AtomicBool,
) -> Result<()> {
    let chunks = chunks_aside(repo, plan)?;
    let sources = Sources { repo, from, aside: plan.set_aside() };
    let mut sums: HashMap<PackId, (u64, u64)> = HashMap::new();
    for (id, place) in &chunks {
        check(interrupted)?;
        let lost = sources.chunk(id, place)?.is_none();
        // It may be there, or what it is told from.
        let needed = std::iter::once(id).chain(place.base.as_ref()).filter(|_| lost);
        unindexed.refuse(needed)?;
        let sum = sums.entry(place.pack.id).or_default();
        *sum = (sum.0 + 1, sum.1 + u64::from(lost));
    }
    for pack in &mut plan.bad {
        (pack.chunks, pack.lost_chunks) = sums.get(&pack.id).copied().unwrap_or_default();
    }
    if let Some(from) = from {
        let known = chunks.iter().map(|(id, _)| *id).collect();
        plan.returning_chunks = fetch::count(repo, from, plan, &known, interrupted)?;
    }
    Ok(())
}

/// What the plan would come to.
pub fn dry_run(plan: PacksPlan) -> PacksReport {
    PacksReport { plan, dry_run: true, ..PacksReport::default() }
}

/// Does what was planned.
pub fn execute(
    repo: &Repository,
    from: Option<&Repository>,
    plan: PacksPlan,
    options: &PacksOptions,
    interrupted: &AtomicBool,
) -> Result<PacksReport> {
    if options.forget {
        refuse_to_forget(repo)?;
    }
    let mut report =
        PacksReport { set_aside: aside::go_on(repo, options, interrupted)?, ..Default::default() };
    report.healed = heal(repo, from, &plan, options, interrupted)?;
    let sources = Sources { repo, from, aside: plan.set_aside() };
    if !sources.aside.is_empty() {
        let done = aside::set_aside(&sources, &plan, options, interrupted)?;
        report.rewritten_chunks = done.rewritten_chunks;
        report.set_aside += done.set_aside;
    }
    if let Some(from) = from {
        report.returned_chunks = fetch::bring_back(repo, from, options, interrupted)?;
    }
    // Also where all packs are whole: an earlier repair may have been stopped before this.
    successor::succeed(repo, options, &mut report, interrupted)?;
    Ok(PacksReport { plan, ..report })
}

/// Puts right bytes back, as a session: whoever sets packs aside meanwhile waits for it, or has
/// named them before, and then they are left alone: they go. Returns how many are right now.
fn heal(
    repo: &Repository,
    from: Option<&Repository>,
    plan: &PacksPlan,
    options: &PacksOptions,
    interrupted: &AtomicBool,
) -> Result<u64> {
    let bad: Vec<_> = plan.bad.iter().filter(|pack| pack.way != Way::Rewrite).collect();
    if bad.is_empty() {
        return Ok(0);
    }
    let session = Session::announce(repo, options.writer.clone(), crate::clock::now())?;
    let healed = heal_in(&session, repo, from, &bad, interrupted);
    session.abandon();
    healed
}

fn heal_in(
    session: &Session<'_>,
    repo: &Repository,
    from: Option<&Repository>,
    bad: &[&BadPack],
    interrupted: &AtomicBool,
) -> Result<u64> {
    let going = repo.generations()?.banned();
    let mut healed = 0;
    for pack in bad {
        check(interrupted)?;
        session.beat_when_due()?;
        if going.contains(&pack.id) {
            tracing::warn!("{} is about to be deleted and is left alone", pack.object);
        } else {
            healed += u64::from(put_right(repo, from, pack)?);
        }
    }
    repo.refuse_evicted(session.id())?;
    Ok(healed)
}

/// Whether the pack has its right bytes now.
fn put_right(repo: &Repository, from: Option<&Repository>, pack: &BadPack) -> Result<bool> {
    let bytes = match (pack.way, from) {
        (Way::Replica, Some(from)) => from.pack_bytes(pack.kind, pack.id)?,
        _ => repo.pack_by_parity(pack.kind, pack.id).ok(),
    };
    let Some(bytes) = bytes else { return Ok(false) };
    Ok(repo.put_right(pack.kind, pack.id, &bytes)?)
}
