//! Replicate: snapshots of one repository into another, only what is missing there.
//!
//! A copy is a snapshot of its own at the destination, committed by a session there; its origin
//! names the first repository and snapshot that it goes back to, and by that it is known again. All
//! else it says as its origin does: time, host, user, tags as they are now, sources, captures.
//!
//! ```text
//! choose what is missing ─▶ per snapshot, oldest first: pin it, begin a session
//!     ─▶ walk its tree beside the last one that is on both sides; windows of events
//!     ─▶ per window: blocks of new chunks move, several at a time ─▶ pages are written
//!     ─▶ flush, check what is new there ─▶ commit ─▶ one record in the ledger
//! ```
//!
//! Where both repositories give the same ids (both plain, or one master key), a chunk that the
//! destination has is not read at all. Where they do not, a chunk that is new at its place is read,
//! and its id there follows from its bytes; what did not change since the last pair of snapshots
//! keeps the ids that it has there. Blocks keep their coding in both cases.
//!
//! What must stay true:
//! - A copy is committed only when every page and chunk that it needs can be found there.
//! - What cannot be read at the source costs that snapshot and no other, and is named.
//! - Memory is a window and the pages on the way down, whatever the repositories' size.

mod assemble;
mod check;
mod choose;
mod content;
mod failure;
mod follow;
mod known;
mod one;
mod record;
mod sound;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod walk;
mod window;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::codec::Compression;
use crate::format::{Added, RepositoryId, Snapshot, SnapshotId, Time};
use crate::progress::Progress;
use crate::repo::{RepoError, Repository, SnapshotFilter};

use super::{OpError, Result};

use choose::Chosen;
use failure::Failure;
use known::KnownIds;
use one::Copying;

pub use follow::{Told, follow};

/// So often a copy is made once more after a prune has taken its session for dead.
const EVICTIONS_MAX: usize = 3;

/// What is copied, and how.
#[derive(Debug, Clone, Default)]
pub struct ReplicateOptions {
    /// Host of this process, for beats, pins and the ledger.
    pub host: String,
    /// Program and version, for the ledger.
    pub program: String,
    /// Only these, by their ids at the source, also such as the destination had and pruned; `None`
    /// for all that pass the filter.
    pub only: Option<BTreeSet<SnapshotId>>,
    /// Never these.
    pub except: BTreeSet<SnapshotId>,
    /// Only what passes.
    pub filter: SnapshotFilter,
    /// Read back every chunk that is new at the destination before a copy is committed.
    pub verify: bool,
    /// Only tell what would be copied; nothing is written.
    pub dry_run: bool,
    /// Threads that move blocks; 0 is one per processor.
    pub threads: usize,
    /// How hard to compress what is coded again: pages, and chunks of blocks that move in part.
    pub compression: Compression,
}

/// A snapshot that was copied, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedSnapshot {
    /// Its id at the source.
    pub snapshot: SnapshotId,
    /// Its copy's id; `None` in a dry run.
    pub copy: Option<SnapshotId>,
    /// Its time.
    pub time: Time,
    /// Its host.
    pub host: String,
    /// Files in it.
    pub files: u64,
    /// Logical bytes of those.
    pub bytes: u64,
    /// What was written for it.
    pub added: Added,
}

/// A snapshot that could not be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedSnapshot {
    /// Its id at the source.
    pub snapshot: SnapshotId,
    /// The path that could not be copied, raw bytes; empty where it is no path.
    pub path: Vec<u8>,
    /// Why.
    pub what: String,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicateReport {
    /// The repository that was copied from.
    pub from: Option<RepositoryId>,
    /// The one that was copied to.
    pub to: Option<RepositoryId>,
    /// Nothing was written.
    pub dry_run: bool,
    /// Whether bytes have the same ids in both.
    pub same_ids: bool,
    /// Snapshots that were there already.
    pub present: u64,
    /// Snapshots whose copies were forgotten there.
    pub forgotten: u64,
    /// Copies, oldest first.
    pub copied: Vec<CopiedSnapshot>,
    /// What could not be copied.
    pub failed: Vec<FailedSnapshot>,
    /// Snapshots at the source that cannot be read.
    pub damaged: Vec<String>,
    /// Bytes of the objects that were written, also for what failed.
    pub bytes_stored: u64,
    /// Whether what is new was read back.
    pub verified: bool,
    /// The ledger's record there.
    pub recorded: Option<String>,
    /// How long it took.
    pub duration: Duration,
}

impl ReplicateReport {
    /// Whether every snapshot that was wanted is there now.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.damaged.is_empty()
    }
}

/// Copies what is missing. The ledger of the destination tells of it, also where it fails.
///
/// # Errors
/// Where both are one repository, either cannot be listed, the destination takes no more, or the
/// user interrupts. What cannot be read at the source is no error but in the report.
pub fn run(
    from: &Repository,
    to: &Repository,
    options: &ReplicateOptions,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<ReplicateReport> {
    let mut report = ReplicateReport::default();
    run_into(from, to, options, &mut report, progress, interrupted)?;
    Ok(report)
}

/// The same into a report that tells, where it ends with an error, what was done until then.
///
/// # Errors
/// As [`run`].
pub fn run_into(
    from: &Repository,
    to: &Repository,
    options: &ReplicateOptions,
    report: &mut ReplicateReport,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<()> {
    refuse_same(from, to)?;
    let started = Instant::now();
    report.from = Some(from.config().repository);
    report.to = Some(to.config().repository);
    report.same_ids = from.shares_ids_with(to);
    (report.dry_run, report.verified) = (options.dry_run, options.verify);
    let result = copy_all(from, to, options, report, progress, interrupted);
    report.duration = started.elapsed();
    if !options.dry_run {
        record::record(to, options, report, result.as_ref().err());
    }
    result
}

fn refuse_same(from: &Repository, to: &Repository) -> Result<()> {
    if from.config().repository != to.config().repository {
        return Ok(());
    }
    let what = format!(
        "{} and {} are one repository, or copies of one folder: make the destination with \
         `icecore replicate --init` or `icecore init`",
        from.location(),
        to.location()
    );
    Err(OpError::Input(what))
}

fn copy_all(
    from: &Repository,
    to: &Repository,
    options: &ReplicateOptions,
    report: &mut ReplicateReport,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<()> {
    let mut chosen = Chosen::new(from, to, options, report)?;
    let todo = std::mem::take(&mut chosen.todo);
    let totals = || todo.iter().map(Snapshot::totals);
    progress.expect(totals().map(|it| it.files).sum(), totals().map(|it| it.size).sum());
    if options.dry_run {
        report.copied.extend(todo.iter().map(|snapshot| told(snapshot, None)));
        return Ok(());
    }
    let mut known = KnownIds::default();
    for snapshot in &todo {
        let copying = Copying { from, to, options, snapshot, progress, interrupted };
        let mut tries = 0..EVICTIONS_MAX;
        let done = loop {
            match copying.run(chosen.near(snapshot), &mut known, &mut report.bytes_stored) {
                Err(failure) if failure.is_eviction() && tries.next().is_some() => {
                    tracing::warn!("{failure}; starting over with what was stored");
                }
                done => break done,
            }
        };
        match done {
            Ok(copy) => {
                report.copied.push(told(snapshot, Some(&copy)));
                chosen.protect(to, snapshot, &copy, &options.host)?;
                chosen.add(snapshot, copy);
            }
            Err(failure) if failure.ends_all(to) => return Err(failure.error),
            Err(failure) => {
                let (path, what) = (failure.path.clone(), failure.error_chain());
                let id = snapshot.id;
                tracing::error!("snapshot {id} is not copied: {failure}");
                report.failed.push(FailedSnapshot { snapshot: id, path, what });
            }
        }
    }
    Ok(())
}

fn told(snapshot: &Snapshot, copy: Option<&Snapshot>) -> CopiedSnapshot {
    let totals = snapshot.totals();
    CopiedSnapshot {
        snapshot: snapshot.id,
        copy: copy.map(|copy| copy.id),
        time: snapshot.time,
        host: snapshot.host.clone(),
        files: totals.files,
        bytes: totals.size,
        added: copy.map(|copy| copy.added).unwrap_or_default(),
    }
}

fn check(interrupted: &AtomicBool) -> Result<(), Failure> {
    match interrupted.load(Ordering::Relaxed) {
        true => Err(OpError::Interrupted.into()),
        false => Ok(()),
    }
}

/// Threads that an option of 0 means.
fn threads(options: &ReplicateOptions) -> usize {
    match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

/// An encoder for what is coded again.
fn encoder(options: &ReplicateOptions) -> Result<crate::codec::BlockEncoder, RepoError> {
    Ok(crate::codec::BlockEncoder::new(options.compression)?)
}
