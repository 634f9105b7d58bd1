//! Prune: giving back the space of what no snapshot needs, while others write and read.
//!
//! ```text
//! mark from snapshots, pins ─▶ rewrite sparse packs ─▶ gc/<g>.candidates ─▶ wait for sessions
//!     ─▶ list snapshots, pins again ─▶ gc/<g>.decision ─▶ grace ─▶ delete
//! ```
//! The order is the safety (DESIGN section 5, `protocol/model.py`); each step can be killed, and
//! the next prune, on any machine, goes on with what it finds. What must stay true:
//! - Candidates are put before sessions are listed, and snapshots are listed again after those
//!   sessions have ended: whoever relied on a candidate is seen, or evicted.
//! - Of damage nothing is deleted: where a snapshot, a page or an index segment cannot be read,
//!   nobody knows what is needed, and prune ends before its candidates.
//! - What is marked takes a bit for each record of the index; the heap holds nothing per chunk but
//!   for chunks that are written anew and are not in the newest snapshot (48 bytes each), and the
//!   blocks that are told from others and are needed.

mod bits;
mod choose;
mod mark;
mod plan;
mod recheck;
mod rewrite;
mod roots;
mod temporaries;
mod wait;

#[cfg(test)]
mod explore;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::codec::Compression;
use crate::format::{Added, Folder, Generation, PackId, PackKind, SnapshotId, Time, limits};
use crate::progress::Progress;
use crate::repo::{RepoError, Repository, SESSION_TIMEOUT, Stage, Swept};

use super::Result;

pub use plan::{Fate, OpenGeneration, PackSums, PrunePlan};
pub use temporaries::Temporaries;

pub(super) use mark::walk;
pub(super) use wait::Patience;

use recheck::Marked;

/// Grace that readers have, an hour for clocks that differ not counted, unless somebody says otherwise.
///
/// Shorter than a day by the hour, and by five more: a prune that runs once a day then finds what the
/// last one decided due, also where that one waited for ingests first. With a day, every second run
/// would free nothing. No byte that a snapshot needs hangs on it: writers never rely on candidates,
/// and sessions were waited for, or evicted, before the decision, however long that took. It is for
/// readers of forgotten snapshots, and those that must hold longer pin.
pub const GRACE: Duration = Duration::from_secs(18 * 60 * 60);
/// A part of the stored bytes that may be unused unless somebody says otherwise.
pub const MAX_UNUSED: f64 = 0.05;
/// So many generations are gone through at most in one run.
const ROUNDS_MAX: usize = 8;
/// Room for a record of prune that names nothing, with what file systems round up to.
const RECORD_BYTES: u64 = 16 << 10;
/// Room that a pack takes in a record of prune.
const PACK_BYTES: u64 = 40;
/// The same of a snapshot.
const SNAPSHOT_BYTES: u64 = 24;
/// How long decisions and tombstones stay: a year, and what clocks may differ.
const KEPT_SECS: i64 = 365 * 86_400 + 3600;

/// How to prune.
#[derive(Debug, Clone)]
pub struct PruneOptions {
    /// This machine's name: sessions of its own that have died are known by it.
    pub host: String,
    /// The part of the packs' bytes that may stay unused, 0 to 1.
    pub max_unused: f64,
    /// Most bytes of packs that are written anew.
    pub max_repack: u64,
    /// How long readers may go on with what will be deleted.
    pub grace: Duration,
    /// A session that is silent for this long is dead. No shorter than that of any writer.
    pub session_timeout: Duration,
    /// How hard blocks are compressed that are coded again.
    pub compression: Compression,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            host: String::new(),
            max_unused: MAX_UNUSED,
            max_repack: u64::MAX,
            grace: GRACE,
            session_timeout: SESSION_TIMEOUT,
            compression: Compression::default(),
        }
    }
}

/// What a prune did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Generations that were finished.
    pub generations: u64,
    /// What was written anew.
    pub rewritten: Added,
    /// What was deleted.
    pub swept: Swept,
    /// Temporary files of stopped writers that were deleted.
    pub temporaries: Temporaries,
    /// Sessions that were taken for dead.
    pub evicted: u64,
    /// Tombstones and decisions that were removed after their year.
    pub expired: u64,
    /// A decided generation whose grace has not passed: when a prune may go on with it.
    pub waits_until: Option<Time>,
    /// Packs that it will delete.
    pub waiting_packs: u64,
    /// Forgotten snapshots that it will delete.
    pub waiting_snapshots: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// What a prune would do now. Writes nothing.
///
/// # Errors
/// Damage of whatever says what is needed; nothing may be deleted then.
pub fn plan(
    repo: &Repository,
    options: &PruneOptions,
    interrupted: &AtomicBool,
) -> Result<PrunePlan> {
    PrunePlan::new(repo, options, &HashSet::new(), interrupted)
}

/// What a prune would do once these snapshots are forgotten too. To be shown: [`run`] plans anew.
///
/// # Errors
/// As [`plan`].
pub fn plan_without(
    repo: &Repository,
    options: &PruneOptions,
    forgetting: &HashSet<SnapshotId>,
    interrupted: &AtomicBool,
) -> Result<PrunePlan> {
    PrunePlan::new(repo, options, forgetting, interrupted)
}

/// Sessions that live, as far as can be seen: those of this host whose process is gone do not.
/// Without grace there must be none.
pub fn living_sessions(repo: &Repository, options: &PruneOptions) -> Result<Vec<SnapshotId>> {
    let interrupted = AtomicBool::new(false);
    let patience = patience(options, &interrupted);
    let open = repo.open_sessions()?.into_iter();
    Ok(open.filter(|session| !patience.is_gone(repo, session)).map(|session| session.id).collect())
}

const fn patience<'a>(options: &'a PruneOptions, interrupted: &'a AtomicBool) -> Patience<'a> {
    Patience { host: options.host.as_str(), timeout: options.session_timeout, interrupted }
}

/// Carries a plan out, after whatever generation is open. Where that changed what was planned, or
/// another prune was faster, plans anew.
///
/// # Errors
/// Damage, a full or failing storage, the user. What was deleted by then is needed by nothing, and
/// the next prune goes on.
pub fn run(
    repo: &Repository,
    mut plan: PrunePlan,
    options: &PruneOptions,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<PruneReport> {
    let started = Instant::now();
    let mut pruning =
        Pruning { repo, options, progress, interrupted, report: PruneReport::default() };
    pruning.report.temporaries = temporaries::sweep(repo, options)?;
    for _ in 0..ROUNDS_MAX {
        let generations = repo.generations()?;
        let next = match generations.open() {
            Some(stage) => pruning.finish(stage, None)?,
            None if generations.next() == plan.number => pruning.generation(&plan)?,
            None => Next::PlanAnew,
        };
        if next == Next::Stop {
            break;
        }
        plan = PrunePlan::new(repo, options, &HashSet::new(), interrupted)?;
        if plan.is_idle() {
            break;
        }
    }
    pruning.end(started)
}

/// The unfinished generation, where it is all that a prune would go on with: what it leaves to be
/// done is planned by the next one.
pub fn unfinished(repo: &Repository, options: &PruneOptions) -> Result<Option<OpenGeneration>> {
    let generations = repo.generations()?;
    let Some(stage) = generations.open() else { return Ok(None) };
    let waits_until = match stage {
        Stage::Undecided(_) if wait::is_long(options.grace) => None,
        Stage::Undecided(_) => return Ok(None),
        Stage::Decided { decision, .. } => match wait::waits_until(decision, options.grace) {
            None => return Ok(None),
            until => until,
        },
    };
    Ok(Some(OpenGeneration { waits_until, ..OpenGeneration::of(stage) }))
}

/// Goes on with an [`unfinished`] generation as far as it goes, and plans nothing.
///
/// # Errors
/// As [`run`].
pub fn go_on(
    repo: &Repository,
    options: &PruneOptions,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<PruneReport> {
    let started = Instant::now();
    let mut pruning =
        Pruning { repo, options, progress, interrupted, report: PruneReport::default() };
    pruning.report.temporaries = temporaries::sweep(repo, options)?;
    if let Some(stage) = repo.generations()?.open() {
        pruning.finish(stage, None)?;
    }
    pruning.end(started)
}

/// About how many bytes a prune writes, where it writes nothing anew, before it deletes anything:
/// its two records, and the index without what goes.
pub fn room_needed(repo: &Repository) -> Result<u64> {
    let listed = repo.storage().list(Folder::Index).map_err(RepoError::from)?;
    let index: u64 = listed.iter().map(|segment| segment.len).sum();
    let packs = repo.all_packs()?.len() as u64;
    let snapshots = repo.snapshot_ids()?.len() as u64;
    Ok(index + 2 * (RECORD_BYTES + packs * PACK_BYTES + snapshots * SNAPSHOT_BYTES))
}

/// What comes after a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It was somebody else's: what was planned is out of date.
    PlanAnew,
    /// All is done, or the rest must wait.
    Stop,
}

impl PrunePlan {
    /// The packs that the plan wants to delete, but for those of which something is needed that
    /// could not be read.
    fn candidates(&self, unreadable: &HashSet<PackId>) -> Vec<(PackKind, PackId)> {
        let leaving = self.leaving().filter(|(_, id, ..)| !unreadable.contains(id));
        leaving.map(|(kind, id, ..)| (kind, id)).take(limits::DOOMED_PACKS_MAX).collect()
    }
}

/// A prune under way.
struct Pruning<'a> {
    repo: &'a Repository,
    options: &'a PruneOptions,
    progress: &'a dyn Progress,
    interrupted: &'a AtomicBool,
    report: PruneReport,
}

impl Pruning<'_> {
    /// One generation from its plan to its end, or as far as it goes.
    fn generation(&mut self, plan: &PrunePlan) -> Result<Next> {
        let rewritten = rewrite::run(self.repo, plan, self.options, self.interrupted)?;
        self.report.rewritten = rewritten.added;
        let packs = plan.candidates(&rewritten.unreadable);
        let mut snapshots = plan.snapshots_removed.clone();
        snapshots.truncate(limits::DOOMED_SNAPSHOTS_MAX);
        if packs.is_empty() && snapshots.is_empty() {
            let doomed = self.repo.generations()?.doomed();
            self.report.swept.segments += self.repo.sweep_index(&doomed)?;
            return Ok(Next::Stop);
        }
        let record = self.repo.generation(plan.number, &self.options.host, packs, snapshots);
        if !self.repo.put_candidates(&record)? {
            return Ok(Next::PlanAnew); // another prune was faster: its generation comes first
        }
        let marked = Marked { marks: &plan.marks, snapshots: &plan.marked };
        self.finish(&Stage::Undecided(record), Some(marked)).map(|_| Next::Stop)
    }

    /// Brings a generation to its end, or as far as it goes while its grace has not passed.
    fn finish(&mut self, stage: &Stage, marked: Option<Marked<'_>>) -> Result<Next> {
        let decision = match stage {
            Stage::Undecided(candidates) => self.decide(candidates, marked)?,
            Stage::Decided { decision, .. } => decision.clone(),
        };
        let (patience, seen) = (patience(self.options, self.interrupted), Instant::now());
        if let Some(until) = patience.wait_for_readers(&decision, self.options.grace, seen)? {
            self.report.waits_until = Some(until);
            self.report.waiting_packs = decision.packs.len() as u64;
            self.report.waiting_snapshots = decision.snapshots.len() as u64;
            return Ok(Next::Stop);
        }
        let doomed = self.repo.generations()?.doomed();
        self.progress.expect(decision.packs.len() as u64, 0);
        let swept = self.repo.execute(&decision, &doomed)?;
        self.progress.done(decision.packs.len() as u64, 0);
        let sum = &mut self.report.swept;
        sum.packs += swept.packs;
        sum.bytes += swept.bytes;
        sum.snapshots += swept.snapshots;
        sum.segments += swept.segments;
        self.report.generations += 1;
        Ok(Next::PlanAnew)
    }

    /// Waits for who may rely on the candidates, and decides. Where damage keeps anybody from
    /// knowing what is needed, it is decided that nothing goes, so that writers may rely on all of
    /// it again.
    fn decide(
        &mut self,
        candidates: &Generation,
        marked: Option<Marked<'_>>,
    ) -> Result<Generation> {
        let (repo, rules, host) = (self.repo, self.repo.rules(), self.options.host.as_str());
        if rules.wait {
            self.report.evicted +=
                patience(self.options, self.interrupted).wait_for_sessions(repo)?;
        }
        if !rules.recheck {
            return Ok(repo.put_decision(candidates)?);
        }
        let patience = patience(self.options, self.interrupted);
        match recheck::decision(repo, candidates, marked, &patience) {
            Ok(decision) => Ok(repo.put_decision(&decision)?),
            Err(super::OpError::Repo(err)) if err.is_damage() => {
                let nothing = repo.generation(candidates.number, host, Vec::new(), Vec::new());
                let stands = repo.put_decision(&nothing)?;
                if !stands.packs.is_empty() || !stands.snapshots.is_empty() {
                    // Another prune was faster and saw all that is needed: what was missing here
                    // may be what it, or one after it, has deleted since. The next plan looks anew.
                    return Ok(stands);
                }
                let doomed = repo.generations()?.doomed();
                repo.execute(&stands, &doomed)?;
                Err(err.into())
            }
            Err(err) => Err(err),
        }
    }

    fn end(mut self, started: Instant) -> Result<PruneReport> {
        self.expire()?;
        self.report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(self.report)
    }

    /// Removes tombstones and decisions whose year is over, and what evicted or killed sessions
    /// left of themselves.
    fn expire(&mut self) -> Result<()> {
        let before = crate::clock::now().secs.saturating_sub(KEPT_SECS);
        for number in self.repo.generations()?.executed_before(before) {
            self.repo.delete_decision(number)?;
            self.report.expired += 1;
        }
        let snapshots = self.repo.snapshots()?.snapshots;
        let known: HashSet<_> = snapshots.into_iter().map(|snapshot| snapshot.id).collect();
        let patience = patience(self.options, self.interrupted);
        let (open, ended) = self.repo.sessions()?;
        for session in open.iter().filter(|session| patience.is_gone(self.repo, session)) {
            self.repo.evict(session, crate::clock::now(), &self.options.host)?;
            self.report.evicted += 1;
        }
        for session in ended {
            if !known.contains(&session.id) || patience.is_gone(self.repo, &session) {
                self.repo.delete_beats(&session)?;
            }
        }
        self.repo.delete_pins(|pin| patience.is_over(pin))?;
        self.report.expired += self.repo.delete_tombstones_before(before, &known)?;
        Ok(())
    }
}
