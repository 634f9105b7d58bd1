//! What a verb can fail with.

use std::io;

use crate::localfs::LocalError;
use crate::repo::RepoError;

/// Errors of the verbs.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// The repository.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The source's or the target's file system.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// Something the user named cannot be used as it was meant.
    #[error("{0}")]
    Input(String),
    /// Any other system call.
    #[error("cannot {action}")]
    Io {
        /// What was tried, as a verb and its object.
        action: String,
        /// The system's error.
        source: io::Error,
    },
    /// A worker thread died; its panic was printed.
    #[error("a worker thread panicked")]
    Panicked,
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
}

impl OpError {
    /// A system call's error with what was tried.
    pub fn io(action: impl Into<String>, source: io::Error) -> Self {
        Self::Io { action: action.into(), source }
    }
}

/// Shorthand of this layer.
pub type Result<T, E = OpError> = std::result::Result<T, E>;
