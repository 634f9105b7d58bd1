//! What all threads of an ingest share: whether to go on, and what went wrong at the sources.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::format::{Trouble, limits};
use crate::localfs::LocalError;
use crate::ops::error::{OpError, Result};
use crate::progress::Progress;
use crate::sync::lock;

/// Most bytes of the troubles that a snapshot lists; paths may be of any length.
const TROUBLES_BYTES_MAX: usize = 4 << 20;

/// Stops the threads, and collects troubles.
pub(super) struct Abort<'a> {
    stopped: AtomicBool,
    interrupted: &'a AtomicBool,
    first: Mutex<Option<OpError>>,
    progress: &'a dyn Progress,
    troubles: Mutex<Vec<Trouble>>,
    troubles_bytes: AtomicUsize,
    troubles_count: AtomicU64,
    bytes_read: AtomicU64,
}

impl<'a> Abort<'a> {
    pub(super) fn new(interrupted: &'a AtomicBool, progress: &'a dyn Progress) -> Self {
        Self {
            stopped: AtomicBool::new(false),
            interrupted,
            first: Mutex::new(None),
            progress,
            troubles: Mutex::default(),
            troubles_bytes: AtomicUsize::new(0),
            troubles_count: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
        }
    }

    /// Whether to stop: something failed, or the user asked.
    pub(super) fn is_set(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.interrupted.load(Ordering::Relaxed)
    }

    /// Stops everything; the first error is the one that is reported.
    pub(super) fn fail(&self, err: OpError) {
        let mut first = lock(&self.first);
        first.get_or_insert(err);
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// The verdict once all threads have ended.
    pub(super) fn verdict(&self) -> Result<()> {
        if let Some(err) = lock(&self.first).take() {
            return Err(err);
        }
        if self.interrupted.load(Ordering::SeqCst) { Err(OpError::Interrupted) } else { Ok(()) }
    }

    /// Lists something that could not be taken as it should.
    pub(super) fn trouble(&self, path: &[u8], what: impl Into<String>) {
        let what = what.into();
        self.progress.trouble(path, &what);
        self.troubles_count.fetch_add(1, Ordering::Relaxed);
        let mut troubles = lock(&self.troubles);
        let mut bytes = self.troubles_bytes.load(Ordering::Relaxed);
        bytes += path.len() + what.len();
        if troubles.len() < limits::TROUBLES_MAX && bytes <= TROUBLES_BYTES_MAX {
            self.troubles_bytes.store(bytes, Ordering::Relaxed);
            troubles.push(Trouble { path: path.to_vec(), what });
        }
    }

    /// Forgets the troubles of what is thrown away.
    pub(super) fn begin_anew(&self) {
        lock(&self.troubles).clear();
        self.troubles_bytes.store(0, Ordering::Relaxed);
        self.troubles_count.store(0, Ordering::SeqCst);
    }

    /// Lists an entry that could not be opened or inspected.
    pub(super) fn lost(&self, path: &[u8], err: &LocalError) {
        if err.is_not_found() {
            self.trouble(path, "vanished while it was ingested");
        } else if err.is_other_kind() {
            self.trouble(path, "replaced by another kind while it was ingested");
        } else {
            self.trouble(path, format!("cannot {}: {}", err.action, err.source));
        }
    }

    /// The troubles by path, and how many there were.
    pub(super) fn troubles(&self) -> (Vec<Trouble>, u64) {
        let troubles = lock(&self.troubles);
        let mut list = troubles.clone();
        list.sort_by(|a, b| a.path.cmp(&b.path));
        (list, self.troubles_count.load(Ordering::SeqCst))
    }

    pub(super) const fn progress(&self) -> &'a dyn Progress {
        self.progress
    }

    /// Counts bytes that were read from a source.
    pub(super) fn read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        self.progress.done(0, bytes);
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::SeqCst)
    }
}
