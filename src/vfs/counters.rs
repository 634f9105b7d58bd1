//! What the tree was asked so far.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{Result, VfsError};

/// Numbers that threads add to; no order between them is kept.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) lookups: AtomicU64,
    pub(super) listings: AtomicU64,
    pub(super) reads: AtomicU64,
    pub(super) read_bytes: AtomicU64,
    pub(super) errors: AtomicU64,
}

impl Counters {
    /// One question more of a kind; its answer goes through.
    pub(super) fn asked<T>(&self, counter: &AtomicU64, answer: Result<T>) -> Result<T> {
        counter.fetch_add(1, Ordering::Relaxed);
        if matches!(answer, Err(VfsError::Io { .. })) {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    pub(super) fn read(&self, answer: Result<usize>) -> Result<usize> {
        let bytes = answer.as_ref().map_or(0, |&count| count as u64);
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.asked(&self.reads, answer)
    }
}
