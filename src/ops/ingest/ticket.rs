//! Tickets: how the assembler gets what the readers found, in the walker's order.
//!
//! One ticket stands for a batch of files. Whatever happens to the batch (read, given up, dropped
//! with its queue), its ticket is fulfilled, so the assembler never waits for ever.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::format::File;
use crate::localfs::{Dir, Found};

/// A file that must be read.
pub(super) struct FileJob {
    pub(super) dir: Arc<Dir>,
    pub(super) name: Vec<u8>,
    /// Path in the snapshot, for messages.
    pub(super) path: Vec<u8>,
}

/// What reading a file gave.
#[derive(Clone)]
pub(super) enum Outcome {
    /// Its content, and its attributes when it was opened.
    Read { file: Box<File>, found: Found, unstable: bool },
    /// Nothing that can be stored; the trouble is listed.
    Lost,
}

#[derive(Default)]
struct Shared {
    outcomes: Mutex<Option<Vec<Outcome>>>,
    ready: Condvar,
}

impl Shared {
    fn fulfil(&self, outcomes: Vec<Outcome>) {
        let mut slot = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert(outcomes);
        self.ready.notify_all();
    }
}

/// The assembler's half: one file of a batch.
#[derive(Clone)]
pub(super) struct Ticket {
    shared: Arc<Shared>,
    number: usize,
}

impl Ticket {
    /// Waits until the batch was read. `None` where it was given up.
    pub(super) fn wait(&self) -> Option<Outcome> {
        let mut slot = self.shared.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcomes) = &*slot {
                return outcomes.get(self.number).cloned();
            }
            slot = self.shared.ready.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The readers' half: files to read in a row, so that neighbours share blocks.
#[derive(Default)]
pub(super) struct Batch {
    jobs: Vec<FileJob>,
    bytes: u64,
    shared: Arc<Shared>,
}

/// Files and bytes after which a batch goes to the readers: about one block.
const JOBS_MAX: usize = 64;
const BYTES_MAX: u64 = 512 << 10;

impl Batch {
    pub(super) fn push(&mut self, job: FileJob, bytes: u64) -> Ticket {
        let number = self.jobs.len();
        self.jobs.push(job);
        self.bytes += bytes;
        Ticket { shared: Arc::clone(&self.shared), number }
    }

    pub(super) fn is_full(&self) -> bool {
        self.jobs.len() >= JOBS_MAX || self.bytes >= BYTES_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Reads every file and fulfils the tickets.
    pub(super) fn read(mut self, mut read: impl FnMut(FileJob) -> Outcome) {
        let outcomes = std::mem::take(&mut self.jobs).into_iter().map(&mut read).collect();
        self.shared.fulfil(outcomes);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // After `read` this does nothing: the first outcomes stay.
        self.shared.fulfil(Vec::new());
    }
}
