//! What can go wrong on a source or target file system: the operation, the name, the system's word.
//!
//! One type for all of `localfs`, since a caller always does the same with it: list the entry as a
//! trouble and go on, or stop. This layer works on names below opened directories, so it knows
//! only the last part of a path; the caller puts its own in front ([`LocalError::under`]).

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// An operation on a local file system failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct LocalError {
    /// What was tried, as it reads after "cannot": `open directory`.
    pub action: Cow<'static, str>,
    /// On what: a name, or a path once a caller put its own in front; empty for an opened
    /// directory itself.
    pub path: PathBuf,
    /// The system's reason.
    pub source: io::Error,
}

impl LocalError {
    /// An error of `action` on the entry `name`.
    pub fn new(
        action: impl Into<Cow<'static, str>>,
        name: &[u8],
        source: impl Into<io::Error>,
    ) -> Self {
        let path = PathBuf::from(OsStr::from_bytes(name));
        Self { action: action.into(), path, source: source.into() }
    }

    /// The same error with `parent` in front of its path.
    #[must_use]
    pub fn under(mut self, parent: &Path) -> Self {
        self.path = if self.path.as_os_str().is_empty() {
            parent.to_path_buf()
        } else {
            parent.join(&self.path)
        };
        self
    }

    /// There is no such entry (any more).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// The caller may not do this (`EACCES` or `EPERM`).
    #[must_use]
    pub fn is_permission(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }

    /// The entry is now of another kind than the operation is for.
    #[must_use]
    pub fn is_other_kind(&self) -> bool {
        self.is(Errno::NOTDIR)
            || self.is(Errno::LOOP)
            || self.is(Errno::ISDIR)
            || self.is(Errno::NXIO)
    }

    /// The file system is full, or the quota is used up.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is(Errno::NOSPC) || self.is(Errno::DQUOT)
    }

    fn is(&self, errno: Errno) -> bool {
        self.source.raw_os_error() == Some(errno.raw_os_error())
    }
}

/// Lets `result.at("open", name)?` name the operation.
pub(crate) trait At<T> {
    /// The same result, its error with `action` and `name`.
    fn at(self, action: &'static str, name: &[u8]) -> Result<T, LocalError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, action: &'static str, name: &[u8]) -> Result<T, LocalError> {
        self.map_err(|source| LocalError::new(action, name, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_reads_as_one_line_with_its_whole_path() {
        let err = LocalError::new("open directory", b"c", Errno::ACCESS).under(Path::new("/a/b"));
        assert_eq!(err.to_string(), "cannot open directory /a/b/c");
        assert!(err.is_permission() && !err.is_not_found());
        let itself = LocalError::new("list", b"", Errno::NOENT).under(Path::new("/a"));
        assert_eq!(itself.to_string(), "cannot list /a");
        assert!(itself.is_not_found());
    }
}
