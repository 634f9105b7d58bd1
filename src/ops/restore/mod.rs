//! Restore: a place on disk becomes what a path of a snapshot was.
//!
//! One thread walks the tree, makes directories and hands entries to workers; large files go out
//! in parts, so that one file keeps all workers busy. Everything is done relative to opened
//! directories, one name at a time and without following links: paths may be longer than
//! `PATH_MAX`, and a link that someone plants in the target leads nowhere.
//!
//! Why a restore can be stopped at any moment and run again: an entry's mtime is set after its
//! content and all its other metadata, so what has the right size, mtime and metadata is right
//! and is left alone; anything else is done again (a large file is compared with its chunk ids
//! and mended in place, everything else is made anew). That holds for a killed process; after a
//! power cut the file system may have lost content that it had not yet written, and `verify` finds it.
//!
//! What must stay true:
//! - A file that stands in the target with its node's mtime has its node's content: on any
//!   failure a file is removed, or given another mtime.
//! - An inode with further names is never written to, unless this run made it: they may be
//!   someone else's.
//! - A directory's metadata is applied after the last entry below it, the root's last of all.
//! - Trouble with one entry never stops the others; only a full disk and the user do.
//!
//! A file, link or device is restored to `to` itself, whose parent must exist; a directory's
//! entries go into `to`, which is made where only it is missing. An entry in the way that is no
//! directory is replaced; a directory in the way of something else is removed only with `delete`.
//!
//! Each directory that is being worked on holds a descriptor, so a tree can be as deep as the
//! process may have open files.

mod content;
mod directory;
mod entry;
mod failure;
mod file;
mod links;
mod plan;
mod report;
mod sample;
mod walker;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::format::Body;
use crate::fsutil;
use crate::latency::LowLatency;
use crate::localfs::{ApplyOptions, Owners};
use crate::progress::Progress;
use crate::repo::Repository;
use crate::sync::lock;

use super::path::{Resolved, joined};
use super::{OpError, Result};

use directory::Root;
use failure::Failure;
use links::Links;

pub use report::{RestoreReport, RestoreTrouble};
pub use sample::{Sample, SampleSize};

/// What to restore, where, and how.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The path of the snapshot; see [`resolve`](super::path::resolve).
    pub resolved: Resolved,
    /// What is to become of it: this path itself, not an entry below it.
    pub to: PathBuf,
    /// Change nothing, and report what would be done.
    pub dry_run: bool,
    /// Compare the content of files that look right, and read everything back at the end.
    pub verify: bool,
    /// Remove what the snapshot does not have.
    pub delete: bool,
    /// Workers; 0 is one per processor.
    pub threads: usize,
    /// Take owners by name where this system knows the name.
    pub owner_names: bool,
    /// Leave all to whoever restores, and compare no owners.
    pub any_owner: bool,
    /// Only the files of this sample, where there is one.
    pub sample: Option<Sample>,
}

/// Everything that bounds memory and descriptors.
struct Sizes {
    /// Entries and parts waiting for a worker; each may hold a directory open.
    queue: usize,
    /// A file of at least this many bytes goes out in parts.
    split_min: u64,
    /// About the bytes of one part.
    part: u64,
    /// Further names of inodes that are not complete yet.
    links_waiting: usize,
    /// An interrupted or changed file of at least this size is mended in place.
    mend_min: u64,
    /// Bytes read back at once where there are no chunks to go by.
    buffer: usize,
}

const SIZES: Sizes = Sizes {
    queue: 128,
    split_min: 64 << 20,
    part: 32 << 20,
    links_waiting: 128,
    mend_min: 1 << 20,
    buffer: 1 << 20,
};

/// What a walk over the tree is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Make the target right.
    Write,
    /// Say what would be done.
    Preview,
    /// Prove that it is right.
    ReadBack,
}

/// One restore, shared by its threads.
struct Run<'a> {
    repo: &'a Repository,
    options: &'a RestoreOptions,
    pass: Pass,
    owners: Option<Owners>,
    progress: &'a dyn Progress,
    interrupted: &'a AtomicBool,
    failure: Mutex<Option<OpError>>,
    failed: AtomicBool,
    report: Mutex<RestoreReport>,
    /// Paths below the target that have a trouble: reading back does not report them again.
    troubled: Mutex<HashSet<Vec<u8>>>,
    links: Links,
}

/// Makes `options.to` what the path of the snapshot was.
///
/// # Errors
/// Where the target cannot be worked on at all, is full, or the user interrupts. What was done
/// until then stays, and the next run goes on from there. Everything else is in the report.
pub fn run(
    repo: &Repository,
    options: RestoreOptions,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<RestoreReport> {
    let started = Instant::now();
    let _awake = LowLatency::request();
    if let Err(err) = fsutil::raise_nofile_limit() {
        tracing::debug!("cannot raise the limit of open files: {err}");
    }
    let (files, bytes) = expected(&options.resolved.node.body);
    progress.expect(files, bytes);
    let mut run = Run {
        repo,
        options: &options,
        pass: if options.dry_run { Pass::Preview } else { Pass::Write },
        owners: options.owner_names.then(Owners::new),
        progress,
        interrupted,
        failure: Mutex::default(),
        failed: AtomicBool::new(false),
        report: Mutex::new(RestoreReport { dry_run: options.dry_run, ..Default::default() }),
        troubled: Mutex::default(),
        links: Links::default(),
    };
    let root = Root::open(&options)?;
    run.pass(&root)?;
    if !options.dry_run {
        root.sync(&options.to)?;
        if options.verify {
            progress.expect(files, bytes);
            (run.pass, run.links) = (Pass::ReadBack, Links::default());
            run.pass(&Root::open(&options)?)?;
        }
    }
    let mut report = run.report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

/// Compares what stands at `options.to` with the path of the snapshot, every byte and all
/// metadata, and changes nothing where that place exists. What the snapshot does not have is not
/// looked for.
///
/// # Errors
/// Where the place cannot be worked on at all, or the user interrupts. Everything else is in the
/// report.
pub fn compare(
    repo: &Repository,
    options: &RestoreOptions,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<RestoreReport> {
    let started = Instant::now();
    let (files, bytes) = expected(&options.resolved.node.body);
    progress.expect(files, bytes);
    let run = Run {
        repo,
        options,
        pass: Pass::ReadBack,
        owners: options.owner_names.then(Owners::new),
        progress,
        interrupted,
        failure: Mutex::default(),
        failed: AtomicBool::new(false),
        report: Mutex::default(),
        troubled: Mutex::default(),
        links: Links::default(),
    };
    run.pass(&Root::open(options)?)?;
    let mut report = run.report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

fn expected(body: &Body) -> (u64, u64) {
    match body {
        Body::Directory { totals, .. } => (totals.files, totals.data),
        Body::File(file) => (1, file.data),
        _ => (0, 0),
    }
}

impl Run<'_> {
    /// Walks the tree once with all workers.
    fn pass(&self, root: &Root) -> Result<()> {
        let threads = match self.options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let (sender, receiver) = crossbeam_channel::bounded(SIZES.queue);
        let walked = std::thread::scope(|scope| {
            let worker = |_| {
                let receiver = receiver.clone();
                scope.spawn(move || receiver.iter().for_each(|job| self.work(job)))
            };
            let workers: Vec<_> = (0..threads).map(worker).collect();
            // Only workers hold it now: when all have panicked, sending fails instead of waiting.
            drop(receiver);
            let walked = self.walk(root, sender);
            let joined: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            if joined.iter().any(Result::is_err) { Err(OpError::Panicked) } else { walked }
        });
        if let Some(err) = lock(&self.failure).take() {
            return Err(err);
        }
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(OpError::Interrupted);
        }
        walked
    }

    fn stopped(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.interrupted.load(Ordering::Relaxed)
    }

    fn apply_options(&self) -> ApplyOptions<'_> {
        ApplyOptions { owner_names: self.owners.as_ref(), any_owner: self.options.any_owner }
    }

    fn tally(&self, change: impl FnOnce(&mut RestoreReport)) {
        change(&mut lock(&self.report));
    }

    /// The path of an entry for people; `below` is relative to the target.
    fn path(&self, below: &[u8]) -> Vec<u8> {
        use std::os::unix::ffi::OsStrExt;
        let to = self.options.to.as_os_str().as_bytes();
        if below.is_empty() { to.to_vec() } else { joined(to, below) }
    }

    /// Lists what is wrong with one entry.
    fn trouble(&self, below: &[u8], what: &str) {
        let path = self.path(below);
        self.progress.trouble(&path, what);
        lock(&self.troubled).insert(below.to_vec());
        self.tally(|report| report.trouble(&path, what));
    }

    /// An entry could not be restored. A full disk ends the whole run.
    fn fail(&self, below: &[u8], failure: Failure) {
        if failure.is_full() {
            let action = format!("write {}", super::path::escaped(&self.path(below)));
            lock(&self.failure).get_or_insert(OpError::io(action, failure.into_io()));
            self.failed.store(true, Ordering::Relaxed);
            return;
        }
        if matches!(failure, Failure::Stopped) {
            return;
        }
        if self.pass == Pass::ReadBack && lock(&self.troubled).contains(below) {
            return;
        }
        let (damaged, differs) = (failure.is_damage(), matches!(failure, Failure::Differs(_)));
        self.trouble(below, &failure.to_string());
        self.tally(|report| {
            report.failed += u64::from(!differs);
            report.damaged += u64::from(damaged);
            report.missing = report.missing.or(failure.missing_chunk());
            report.differing += u64::from(differs);
        });
    }
}

/// The directory that holds `to`, and its name there; `None` for the likes of `/` and `..`.
fn parent_and_name(to: &Path) -> Option<(&Path, &[u8])> {
    use std::os::unix::ffi::OsStrExt;
    let name = to.file_name()?.as_bytes();
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    Some((parent.unwrap_or(Path::new(".")), name))
}

fn is_full(err: &io::Error) -> bool {
    fsutil::is_full(err)
}
