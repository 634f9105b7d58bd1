//! What a question to the tree can fail with.

use crate::repo::RepoError;

/// Errors of the tree. `fuse/` maps each to one errno.
#[derive(Debug, thiserror::Error)]
pub enum VfsError {
    /// The directory has no entry of that name.
    #[error("no such entry")]
    NotFound,
    /// A name longer than any file system here allows.
    #[error("name too long")]
    NameTooLong,
    /// The number belongs to nothing that is known now: the kernel has forgotten it, or its
    /// snapshot is gone.
    #[error("stale inode number")]
    Stale,
    /// A directory was needed.
    #[error("not a directory")]
    NotDirectory,
    /// Something else than a directory was needed.
    #[error("is a directory")]
    IsDirectory,
    /// No extended attribute of that name.
    #[error("no such attribute")]
    NoAttribute,
    /// No data or hole at or after that offset.
    #[error("no such offset")]
    NoSuchOffset,
    /// The question makes no sense for this kind of node.
    #[error("not possible for this kind of entry")]
    Invalid,
    /// The repository could not give what it should hold.
    #[error("cannot read {what}")]
    Io {
        /// Which entry, as far as it is known.
        what: String,
        /// Which object, and why.
        source: RepoError,
    },
}

impl VfsError {
    /// Makes a repository's error one about the entry `name`.
    pub(super) fn about(name: &[u8]) -> impl FnOnce(RepoError) -> Self {
        move |source| {
            let what = format!("\"{}\"", String::from_utf8_lossy(name).escape_debug());
            Self::Io { what, source }
        }
    }
}

/// Shorthand of this layer.
pub type Result<T, E = VfsError> = std::result::Result<T, E>;
