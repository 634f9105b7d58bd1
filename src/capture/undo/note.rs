//! What a note tells: how to undo something, and whose it is.
//!
//! A hook's note is named after strategy file and source: there is never more than one of each, and
//! a capture of that source meets what the one before it left.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::Undo;

/// Hexadecimal digits of a hook's note's name.
const DIGITS: usize = 32;

/// The strategy file that this process carries out.
static STRATEGY: OnceLock<PathBuf> = OnceLock::new();

/// Says which strategy file this process carries out, once; what it notes is that one's.
pub fn serve(strategy: &Path) {
    let path = strategy.canonicalize().unwrap_or_else(|_| strategy.to_owned());
    STRATEGY.get_or_init(|| path);
}

/// The same file; empty where there is none.
pub(super) fn served() -> &'static Path {
    STRATEGY.get().map_or(Path::new(""), PathBuf::as_path)
}

/// Whose a note is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub(super) strategy: PathBuf,
    pub(super) source: String,
    /// What of it, in words.
    pub(super) what: String,
}

impl Owner {
    /// A source of the strategy that this process carries out.
    #[must_use]
    pub fn new(source: &str, what: &str) -> Self {
        let (source, what) = (source.to_owned(), what.to_owned());
        Self { strategy: served().to_owned(), source, what }
    }

    /// The name of the note that is the only one of a strategy's source, and of this kind.
    #[must_use]
    pub fn name(&self, kind: &str) -> String {
        let mut hash = blake3::Hasher::new();
        hash.update(self.strategy.as_os_str().as_bytes()).update(b"\0");
        let digits = hash.update(self.source.as_bytes()).finalize().to_hex();
        format!("{kind}-{}", digits.get(..DIGITS).unwrap_or_default())
    }
}

/// What stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    #[serde(default)]
    pub(super) owner: Option<Owner>,
    /// Carrying it out has failed.
    #[serde(default)]
    pub(super) failed: bool,
    #[serde(flatten)]
    pub(super) undo: Undo,
}

impl Note {
    /// Whether it was left by this strategy.
    pub(super) fn is_of(&self, strategy: &Path) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.strategy == strategy)
    }

    /// Whether a run of this strategy carries it out: what another one's has failed at it leaves to
    /// that one, but a server's setting concerns whoever needs the server.
    pub(super) fn is_for(&self, strategy: &Path) -> bool {
        let is_setting = matches!(self.undo, Undo::Redis { .. });
        !self.failed || is_setting || self.owner.is_none() || self.is_of(strategy)
    }

    /// What it is about, for messages.
    pub(super) fn subject(&self) -> String {
        let of = |owner: &Owner| {
            let (what, source) = (&owner.what, &owner.source);
            format!("{what} of source {source} ({})", owner.strategy.display())
        };
        self.owner.as_ref().map_or_else(|| "a command".to_owned(), of)
    }
}
