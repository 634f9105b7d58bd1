//! Why a snapshot is not copied, and whether that ends all.

use std::fmt;

use crate::ops::OpError;
use crate::ops::path::escaped;
use crate::repo::{RepoError, Repository};
use crate::storage::StorageError;
use crate::units::chain;

/// An error, and the path that it was met at.
#[derive(Debug)]
pub(super) struct Failure {
    /// Raw bytes; empty where it is no path.
    pub(super) path: Vec<u8>,
    pub(super) error: OpError,
}

impl Failure {
    /// An error at a path of the snapshot.
    pub(super) fn at(path: &[u8], error: impl Into<OpError>) -> Self {
        Self { path: path.to_vec(), error: error.into() }
    }

    /// Whether a prune took the session for dead.
    pub(super) const fn is_eviction(&self) -> bool {
        matches!(self.error, OpError::Repo(RepoError::Evicted { .. }))
    }

    /// Whether other snapshots would fail alike: the user stops it, or `to` takes no more.
    pub(super) fn ends_all(&self, to: &Repository) -> bool {
        match &self.error {
            OpError::Repo(RepoError::Storage(err)) => match err {
                StorageError::Full { location, .. }
                | StorageError::Io { location, .. }
                | StorageError::Poisoned { location } => *location == to.location(),
                _ => false,
            },
            OpError::Repo(err) => matches!(
                err,
                RepoError::SessionFailed { .. } | RepoError::Interrupted | RepoError::Codec(_)
            ),
            _ => true,
        }
    }

    /// The error with its causes, without the path.
    pub(super) fn error_chain(&self) -> String {
        chain(&self.error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", escaped(&self.path))?;
        }
        f.write_str(&self.error_chain())
    }
}

impl From<OpError> for Failure {
    fn from(error: OpError) -> Self {
        Self { path: Vec::new(), error }
    }
}

impl From<RepoError> for Failure {
    fn from(error: RepoError) -> Self {
        OpError::from(error).into()
    }
}
