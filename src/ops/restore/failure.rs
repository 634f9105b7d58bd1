//! Why one entry is not as it should be, and what that means for the others.

use std::io;

use crate::format::ChunkId;
use crate::localfs::LocalError;
use crate::repo::RepoError;

use super::is_full;

/// Why an entry is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{}", crate::units::chain(.0))]
    Repo(#[from] RepoError),
    #[error("the list of its chunks ends at byte {0}")]
    Listed(u64),
    #[error("cannot {}: {}", .0.action, .0.source)]
    Local(#[from] LocalError),
    #[error("cannot {action}: {source}")]
    Io { action: &'static str, source: io::Error },
    #[error("a directory is in its place, and only --delete removes it")]
    DirectoryInTheWay,
    #[error("the inode that it is a name of could not be restored")]
    FirstNameFailed,
    #[error("it does not read back as it should: {0}")]
    Differs(String),
    #[error("{0}; what is in its place was there before, with parts already replaced")]
    LeftInParts(Box<Failure>),
    #[error("stopped")]
    Stopped,
}

impl Failure {
    pub(super) const fn io(action: &'static str, source: io::Error) -> Self {
        Self::Io { action, source }
    }

    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::Local(err) => err.is_full(),
            Self::Io { source, .. } => is_full(source),
            _ => false,
        }
    }

    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Repo(err) => err.is_damage(),
            Self::Listed(_) => true,
            Self::LeftInParts(failure) => failure.is_damage(),
            _ => false,
        }
    }

    /// The chunk that is in no index segment, where that is why.
    pub(super) fn missing_chunk(&self) -> Option<ChunkId> {
        match self {
            Self::Repo(err) => err.missing_chunk(),
            Self::LeftInParts(failure) => failure.missing_chunk(),
            _ => None,
        }
    }

    pub(super) fn into_io(self) -> io::Error {
        match self {
            Self::Local(err) => err.source,
            Self::Io { source, .. } => source,
            other => io::Error::other(other.to_string()),
        }
    }

    /// Whether the content may be finished by a later run, from what there is.
    pub(super) fn is_resumable(&self) -> bool {
        matches!(self, Self::Stopped) || self.is_full()
    }
}
