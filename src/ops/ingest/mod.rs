//! Ingest: sources in, one snapshot out.
//!
//! ```text
//!  walker ─steps─▶ comparer ─jobs─▶ readers ─blocks─▶ coders ─▶ session (packs, segments)
//!                     └──────events──────▶ assembler ─▶ tree pages, snapshot
//! ```
//! The walker goes through the sources in name order; the comparer holds each entry against the
//! parent snapshot and sends one event per entry; files that must be read go to the readers in
//! batches, and the assembler, which takes events in the same order, waits for a batch when it comes
//! to its files. So trees are the same whatever the threads do, a directory of a million entries is
//! never held in memory, and every queue is bounded.
//!
//! Trouble at a source is listed and never stops the rest; trouble with the repository stops
//! everything. A thread that stops early keeps draining its queue, so that nobody waits for it.

mod abort;
mod assemble;
mod bases;
mod budget;
mod compare;
mod content;
mod cut;
mod databases;
mod drafts;
mod excludes;
mod graft;
mod links;
mod pipeline;
mod plan;
mod prior;
mod read;
mod staged;
mod tally;
mod ticket;
mod unchanged;
mod walk;

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

pub use budget::{MEMORY_DEFAULT, MEMORY_MIN, block_cache};
pub use cut::ChunkerChoice;
pub use excludes::ExcludeOptions;
pub use staged::{Drafted, Stage, Stages, Verdict};

use crate::codec::Compression;
use crate::format::{Added, Capture, Leaf, Snapshot, SnapshotId, Source, Time, Trouble};
use crate::fsutil;
use crate::localfs::Owners;
use crate::progress::Progress;
use crate::repo::{RepoError, Repository, Session, Writer};

use super::error::{OpError, Result};
use abort::Abort;
use budget::{Budget, Load};
use cut::Cutters;
use databases::Databases;
use plan::Plan;
use staged::{Scope, Shared};
use tally::Tally;
use walk::Task;

/// The file that lists patterns to leave out, in any directory of a source.
pub const IGNORE_FILE: &str = ".icecoreignore";

/// How to ingest.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// Host that the snapshot belongs to.
    pub host: String,
    /// User who runs it.
    pub user: String,
    /// Free words.
    pub tags: Vec<String>,
    /// The snapshot's time; now where absent.
    pub time: Option<Time>,
    /// What to leave out.
    pub excludes: ExcludeOptions,
    /// How hard blocks are compressed.
    pub compression: Compression,
    /// Store what changed as what differs from the last version, where that is clearly smaller.
    pub delta: bool,
    /// How files are cut into chunks.
    pub chunker: ChunkerChoice,
    /// Threads that code; twice as many read. Fewer where memory has no room for them.
    pub threads: usize,
    /// Most bytes of memory, at least [`MEMORY_MIN`]. The repository should have been opened with
    /// [`block_cache`] of it.
    pub max_memory: u64,
    /// Store access times too; each reading then makes a new tree.
    pub keep_atime: bool,
    /// Read every file, whatever the parent snapshot says.
    pub force: bool,
    /// Do not compare inode numbers with the parent snapshot: for file systems without stable ones.
    pub ignore_inode: bool,
    /// Do not compare ctimes with the parent snapshot.
    pub ignore_ctime: bool,
    /// Store SQLite databases as the files they are, with their logs, not through SQLite.
    pub raw_sqlite: bool,
    /// Only look at what would be done; the repository is not touched.
    pub dry_run: bool,
    /// Directories that are never entered, by device and inode: the repository itself, its cache.
    pub own: Vec<(u64, u64)>,
    /// Devices of mounts of the repository itself: directories on them are taken as empty.
    pub own_mounts: Vec<u64>,
}

/// Where content comes from.
pub enum Input<'a> {
    /// Files and directories.
    Paths {
        /// Relative paths start here and appear relative to the snapshot's root; without it they
        /// start in the current directory and appear at their absolute paths.
        base: Option<PathBuf>,
        /// What to take, each with all below it.
        paths: Vec<PathBuf>,
    },
    /// One file from a stream.
    Stream(Stream<'a>),
}

/// A file whose content arrives through a pipe.
pub struct Stream<'a> {
    /// Its path below the snapshot's root, raw bytes.
    pub name: Vec<u8>,
    /// The content.
    pub reader: Box<dyn Read + Send + 'a>,
    /// Called once the stream has ended: says whether its producer succeeded. An error means that
    /// there is no snapshot.
    pub finish: Box<dyn FnOnce() -> Result<(), String> + Send + 'a>,
}

/// What became of an ingest.
#[derive(Debug, Clone, Default)]
pub struct IngestReport {
    /// The snapshot; `None` for a dry run.
    pub snapshot: Option<SnapshotId>,
    /// The snapshot that the sources were compared with.
    pub parent: Option<SnapshotId>,
    /// Files that the parent does not have.
    pub files_new: u64,
    /// Files that differ from the parent's, in content or metadata.
    pub files_changed: u64,
    /// Files as in the parent, whether they were read again or not.
    pub files_unchanged: u64,
    /// Files that could not be read or were gone by then: they are not in the snapshot, and among
    /// the troubles.
    pub files_failed: u64,
    /// Directories.
    pub directories: u64,
    /// Links, devices, pipes and sockets.
    pub others: u64,
    /// Entries left out by patterns.
    pub excluded: u64,
    /// Logical bytes of all files, without those that failed.
    pub bytes: u64,
    /// Bytes read from sources.
    pub bytes_read: u64,
    /// What was written to the repository.
    pub added: Added,
    /// What went wrong at the sources, at most [`crate::format::limits::TROUBLES_MAX`] entries.
    pub troubles: Vec<Trouble>,
    /// How many troubles there were in all.
    pub troubles_count: u64,
    /// How the sources were captured, as the snapshot records it.
    pub captures: Vec<Capture>,
    /// How long it took.
    pub duration: Duration,
}

/// So often an ingest is run once more after a prune has taken it for dead.
const EVICTIONS_MAX: usize = 3;

/// Takes the sources into a new snapshot. One that a prune evicted, since it could not show that it
/// lives, runs again, and finds what it wrote in the index; a stream cannot be read twice.
pub fn run(
    repo: &Repository,
    mut input: Input<'_>,
    options: &IngestOptions,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<IngestReport> {
    let mut evictions = 0;
    loop {
        let again = input.again();
        let result = once(repo, input, options, progress, interrupted);
        match (result, again) {
            (Err(OpError::Repo(RepoError::Evicted { session })), Some(again))
                if evictions < EVICTIONS_MAX =>
            {
                tracing::warn!(
                    "a prune took session {session} for dead; starting over with what it stored"
                );
                evictions += 1;
                input = again;
            }
            (result, _) => return result,
        }
    }
}

impl Input<'_> {
    /// The same input for another run; `None` for a stream.
    fn again(&self) -> Option<Self> {
        match self {
            Self::Paths { base, paths } => {
                Some(Self::Paths { base: base.clone(), paths: paths.clone() })
            }
            Self::Stream(_) => None,
        }
    }
}

fn once(
    repo: &Repository,
    input: Input<'_>,
    options: &IngestOptions,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<IngestReport> {
    let abort = Abort::new(interrupted, progress);
    let whole = Whole::new(repo, options, &abort)?;
    let plan = Plan::of(&input)?;
    for (path, what) in &plan.missing {
        abort.trouble(path.as_os_str().as_bytes(), what);
    }
    let (owners, scope, none) = (Owners::new(), Scope::default(), Databases::default());
    let task = Task {
        repo,
        session: None,
        options,
        plan: &plan,
        parent: None,
        abort: &abort,
        owners: &owners,
        databases: &none,
        scope: &scope,
    };
    if options.dry_run {
        let parent = find_parent(repo, options, &plan.sources)?;
        let databases = &Databases::new(parent.as_ref());
        let task = Task { parent: parent.as_ref(), databases, ..task };
        let tally = pipeline::dry_run(&input, task)?;
        return Ok(whole.report(None, parent.as_ref(), tally, Added::default()));
    }
    whole.into_snapshot(plan.sources.clone(), |shared| {
        let Shared { session, parent, databases, .. } = *shared;
        let task = Task { session: Some(session), parent, databases, ..task };
        let (root, tally) = pipeline::run(session, input, task, shared.budget)?;
        Ok((root, tally, Vec::new()))
    })
}

/// Takes several stages into one new snapshot. Unlike [`run`] it does not begin anew when a prune
/// took it for dead: the caller has more to begin anew.
pub fn run_stages(
    repo: &Repository,
    stages: &mut dyn Stages,
    options: &IngestOptions,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<IngestReport> {
    let abort = Abort::new(interrupted, progress);
    let whole = Whole::new(repo, options, &abort)?;
    whole.into_snapshot(stages.sources(), |shared| {
        let (root, tally) = staged::take(shared, stages)?;
        Ok((root, tally, stages.captures()))
    })
}

/// One ingest from its session to its snapshot.
struct Whole<'a> {
    repo: &'a Repository,
    options: &'a IngestOptions,
    abort: &'a Abort<'a>,
    budget: Budget,
    started: Instant,
    now: Time,
}

impl<'a> Whole<'a> {
    fn new(repo: &'a Repository, options: &'a IngestOptions, abort: &'a Abort<'a>) -> Result<Self> {
        let (started, now) = (Instant::now(), crate::clock::now());
        crate::capture::scratch::sweep();
        let load = Load::new(Cutters::new(repo, options.chunker).chunk_max(), options.compression);
        let budget = Budget::new(options.threads, options.max_memory, load)?;
        Ok(Self { repo, options, abort, budget, started, now })
    }

    /// Begins a session, has `take` fill it, and commits the tree that it returns.
    fn into_snapshot(
        self,
        sources: Vec<Source>,
        take: impl FnOnce(&Shared<'_>) -> Result<(Leaf, Tally, Vec<Capture>)>,
    ) -> Result<IngestReport> {
        let Self { repo, options, abort, .. } = self;
        if let Err(err) = fsutil::raise_nofile_limit() {
            tracing::debug!("cannot raise the limit of open files: {err}");
        }
        // The session first: from then on a prune leaves alone what the parent refers to.
        // The machine's own name, whatever the snapshot's host: a prune there asks for the process.
        let writer = Writer { host: fsutil::machine(), pid: std::process::id() };
        let session = Session::begin(repo, writer, self.now)?;
        let session = session.with_packs_in_memory(self.budget.packs);
        let filled = find_parent(repo, options, &sources).and_then(|found| {
            let (parent, databases) = (found.as_ref(), Databases::new(found.as_ref()));
            let (session, budget, databases) = (&session, &self.budget, &databases);
            let shared = Shared { repo, session, options, parent, abort, budget, databases };
            let (root, tally, mut captures) = take(&shared)?;
            captures.extend(databases.records());
            Ok((root, tally, captures, found))
        });
        let (root, tally, captures, parent) = match filled {
            Ok(filled) => filled,
            Err(err) => {
                session.abandon();
                return Err(err);
            }
        };
        let head = Head::new(options, sources, parent.as_ref(), self.now);
        let describe = |id, added| {
            let snapshot = head.snapshot(id, added, root, abort, self.started);
            Snapshot { captures, ..snapshot }
        };
        let snapshot = session.commit(describe)?;
        let report = self.report(Some(snapshot.id), parent.as_ref(), tally, snapshot.added);
        Ok(IngestReport { captures: snapshot.captures, ..report })
    }

    fn report(
        &self,
        snapshot: Option<SnapshotId>,
        parent: Option<&Snapshot>,
        tally: Tally,
        added: Added,
    ) -> IngestReport {
        report(snapshot, parent, tally, self.abort, added, self.started)
    }
}

/// What a snapshot says besides its tree, known before the ingest starts.
struct Head {
    time: Time,
    host: String,
    user: String,
    tags: Vec<String>,
    sources: Vec<Source>,
    parent: Option<SnapshotId>,
}

impl Head {
    fn new(
        options: &IngestOptions,
        sources: Vec<Source>,
        parent: Option<&Snapshot>,
        now: Time,
    ) -> Self {
        Self {
            time: options.time.unwrap_or(now),
            host: options.host.clone(),
            user: options.user.clone(),
            tags: options.tags.clone(),
            sources,
            parent: parent.map(|parent| parent.id),
        }
    }

    fn snapshot(
        self,
        id: SnapshotId,
        added: Added,
        root: Leaf,
        abort: &Abort<'_>,
        started: Instant,
    ) -> Snapshot {
        let (troubles, troubles_count) = abort.troubles();
        Snapshot {
            id,
            time: self.time,
            duration_ns: started.elapsed().as_nanos() as u64,
            host: self.host,
            user: self.user,
            program: concat!("icecore ", env!("CARGO_PKG_VERSION")).to_owned(),
            tags: self.tags,
            sources: self.sources,
            parent: self.parent,
            root,
            troubles,
            troubles_count,
            added,
            origin: None,
            captures: Vec::new(),
        }
    }
}

/// The newest snapshot of the same host and sources.
fn find_parent(
    repo: &Repository,
    options: &IngestOptions,
    sources: &[Source],
) -> Result<Option<Snapshot>> {
    let list = repo.snapshots()?;
    for damaged in &list.damaged {
        tracing::warn!("{damaged}; it is not used as a parent");
    }
    let same = |snapshot: &Snapshot| snapshot.host == options.host && snapshot.sources == sources;
    Ok(list.snapshots.into_iter().rev().find(same))
}

fn report(
    snapshot: Option<SnapshotId>,
    parent: Option<&Snapshot>,
    tally: Tally,
    abort: &Abort<'_>,
    added: Added,
    started: Instant,
) -> IngestReport {
    let (troubles, troubles_count) = abort.troubles();
    IngestReport {
        snapshot,
        parent: parent.map(|parent| parent.id),
        files_new: tally.files_new,
        files_changed: tally.files_changed,
        files_unchanged: tally.files_unchanged,
        files_failed: tally.files_failed,
        directories: tally.directories,
        others: tally.others,
        excluded: tally.excluded,
        bytes: tally.bytes,
        bytes_read: abort.bytes_read(),
        added,
        troubles,
        troubles_count,
        captures: Vec::new(),
        duration: started.elapsed(),
    }
}
