//! What mounting and unmounting can fail with, and what the kernel is told of a failed question.

use std::io;
use std::path::PathBuf;

use fuser::Errno;

use crate::repo::RepoError;
use crate::vfs::VfsError;

/// Errors of mounting, unmounting and starting the daemon.
#[derive(Debug, thiserror::Error)]
pub enum FuseError {
    /// The mountpoint cannot be used.
    #[error("cannot mount on {}", mountpoint.display())]
    Mountpoint {
        /// As it was given.
        mountpoint: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The mountpoint is something else than a directory.
    #[error("cannot mount on {}: not a directory", mountpoint.display())]
    NotDirectory {
        /// As it was given.
        mountpoint: PathBuf,
    },
    /// A mount whose process is gone holds the mountpoint.
    #[error("{} holds a mount whose process has died", mountpoint.display())]
    Dead {
        /// As it was given.
        mountpoint: PathBuf,
    },
    /// icecore is mounted there already.
    #[error("{} holds a mount of {source_name} already", mountpoint.display())]
    AlreadyMounted {
        /// Absolute.
        mountpoint: PathBuf,
        /// What is mounted there.
        source_name: String,
    },
    /// Reading the repository would go through its own mount.
    #[error("cannot mount on {}: the repository {repository} would be read through it", mountpoint.display())]
    OverRepository {
        /// Absolute.
        mountpoint: PathBuf,
        /// Where the repository is.
        repository: String,
    },
    /// The kernel or fusermount3 refused.
    #[error("cannot mount on {}", mountpoint.display())]
    Mount {
        /// Absolute.
        mountpoint: PathBuf,
        /// What they said.
        source: io::Error,
    },
    /// The repository cannot be shown.
    #[error("cannot list the snapshots")]
    Repo(#[from] RepoError),
    /// Nothing of icecore's is mounted there.
    #[error("{} is not a mount of icecore", mountpoint.display())]
    NotMounted {
        /// As it was given.
        mountpoint: PathBuf,
    },
    /// Someone has an open file or their working directory in it.
    #[error("{} is in use", mountpoint.display())]
    Busy {
        /// Absolute.
        mountpoint: PathBuf,
    },
    /// Unmounting failed for another reason.
    #[error("cannot unmount {}", mountpoint.display())]
    Unmount {
        /// Absolute.
        mountpoint: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon's process could not be started, or could not leave its parent.
    #[error("cannot {action}")]
    Daemon {
        /// What was tried.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The threads that answer the kernel ended with an error.
    #[error("the mount on {} ended early", mountpoint.display())]
    Ended {
        /// Absolute.
        mountpoint: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl FuseError {
    /// Whether waiting for readers to finish may help.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }

    /// Whether there was nothing to unmount.
    #[must_use]
    pub const fn is_not_mounted(&self) -> bool {
        matches!(self, Self::NotMounted { .. })
    }
}

/// Shorthand of this layer.
pub type Result<T, E = FuseError> = std::result::Result<T, E>;

/// The number that the caller's system call fails with.
pub(super) fn errno(err: &VfsError) -> Errno {
    match err {
        VfsError::NotFound => Errno::ENOENT,
        VfsError::NameTooLong => Errno::ENAMETOOLONG,
        VfsError::Stale => Errno::ESTALE,
        VfsError::NotDirectory => Errno::ENOTDIR,
        VfsError::IsDirectory => Errno::EISDIR,
        VfsError::NoAttribute => Errno::ENODATA,
        VfsError::NoSuchOffset => Errno::ENXIO,
        VfsError::Invalid => Errno::EINVAL,
        VfsError::Io { .. } => Errno::EIO,
    }
}
