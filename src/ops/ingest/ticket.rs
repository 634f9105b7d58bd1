//! Tickets: how the assembler gets what the readers found, in the walker's order.
//!
//! Each file that must be read has one. Whatever happens to its batch (read, given up, dropped with
//! its queue), its tickets are fulfilled, so the assembler never waits for ever.

use std::sync::{Arc, OnceLock};

use crate::format::{File, Xattr};
use crate::localfs::{Dir, Found, SourceFile};
use crate::repo::NodeRef;

/// A file that must be read.
pub(super) struct FileJob {
    pub(super) dir: Arc<Dir>,
    pub(super) name: Vec<u8>,
    /// Path in the snapshot, for messages.
    pub(super) path: Vec<u8>,
    /// The file itself where it has several names: whatever becomes of this name meanwhile, the
    /// others stand for this inode.
    pub(super) pinned: Option<SourceFile>,
    /// The file, or one like it, in the parent snapshot.
    pub(super) prior: Option<NodeRef>,
    /// The file beside which it lies as its log or journal: where that one was captured through
    /// SQLite, this one is left out.
    pub(super) main: Option<Ticket>,
}

/// What reading a file gave. All of it belongs together: it was taken from one descriptor, and
/// nothing changed while it was (or `unstable` says so).
#[derive(Clone)]
pub(super) struct Reading {
    pub(super) file: File,
    pub(super) found: Found,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) unstable: bool,
    /// It came through SQLite, so that the files beside it are left out.
    pub(super) is_database: bool,
}

/// What became of a file.
#[derive(Clone)]
pub(super) enum Outcome {
    /// It was read.
    Read(Arc<Reading>),
    /// It is no part of the snapshot, and nothing is wrong with that.
    LeftOut,
    /// Nothing that can be stored; the trouble is listed.
    Failed,
}

type Cell = Arc<OnceLock<Outcome>>;

/// The assembler's half.
#[derive(Clone)]
pub(super) struct Ticket(Cell);

impl Ticket {
    /// Waits until the file was read.
    pub(super) fn wait(&self) -> Outcome {
        self.0.wait().clone()
    }
}

/// The readers' half: files to read in a row, so that neighbours share blocks.
#[derive(Default)]
pub(super) struct Batch {
    jobs: Vec<(FileJob, Cell)>,
    bytes: u64,
    directories: usize,
}

/// Files and bytes after which a batch goes to the readers: about one block.
const JOBS_MAX: usize = 64;
const BYTES_MAX: u64 = 512 << 10;
/// Directories after which it does: each job holds its directory open.
const DIRECTORIES_MAX: usize = 16;

impl Batch {
    pub(super) fn push(&mut self, job: FileJob, bytes: u64) -> Ticket {
        let same = self.jobs.last().is_some_and(|(last, _)| Arc::ptr_eq(&last.dir, &job.dir));
        self.directories += usize::from(!same) + usize::from(job.pinned.is_some());
        let cell = Cell::default();
        self.jobs.push((job, Arc::clone(&cell)));
        self.bytes += bytes;
        Ticket(cell)
    }

    pub(super) fn is_full(&self) -> bool {
        self.jobs.len() >= JOBS_MAX
            || self.bytes >= BYTES_MAX
            || self.directories >= DIRECTORIES_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Reads every file and fulfils the tickets.
    pub(super) fn read(mut self, mut read: impl FnMut(FileJob) -> Outcome) {
        for (job, cell) in std::mem::take(&mut self.jobs) {
            let filled = Fill(cell);
            let outcome = read(job);
            // Nobody else fills it.
            let _ = filled.0.set(outcome);
        }
    }
}

/// Fulfils a ticket even where reading panics.
struct Fill(Cell);

impl Drop for Fill {
    fn drop(&mut self) {
        // After `set` this does nothing.
        let _ = self.0.set(Outcome::Failed);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        for (_, cell) in self.jobs.drain(..) {
            drop(Fill(cell));
        }
    }
}
