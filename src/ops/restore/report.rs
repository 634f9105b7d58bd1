//! What a restore did.

use serde::Serialize;

use crate::format::ChunkId;
use crate::ops::path::escaped;

/// Troubles that are listed; the count goes on.
const TROUBLES_LISTED: usize = 1000;

/// One entry that is not as it was at the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoreTrouble {
    /// Its path on the target, bytes that are no text escaped as [`escaped`] does.
    pub path: String,
    /// What happened.
    pub what: String,
}

/// What a restore did, or with `dry_run` would have done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// Nothing was changed.
    pub dry_run: bool,
    /// Regular files whose content was written, wholly or in part.
    pub files_written: u64,
    /// Regular files that were right already.
    pub files_kept: u64,
    /// Directories made.
    pub directories_made: u64,
    /// Directories that were there.
    pub directories_kept: u64,
    /// Symbolic links, pipes, sockets and devices made.
    pub others_made: u64,
    /// Those that were right already.
    pub others_kept: u64,
    /// Further names given to an inode.
    pub links_made: u64,
    /// Further names that were right already.
    pub links_kept: u64,
    /// Entries, directories left out, of which only metadata was set.
    pub metadata_set: u64,
    /// Bytes of content written.
    pub bytes_written: u64,
    /// Bytes of content that were right already.
    pub bytes_kept: u64,
    /// Entries removed since the snapshot does not have them; one for a directory with its contents.
    pub removed: u64,
    /// Files read back and found right.
    pub files_verified: u64,
    /// Bytes read back and found right.
    pub bytes_verified: u64,
    /// Entries that do not read back as they should, without being listed for another trouble.
    pub differing: u64,
    /// Entries that could not be restored.
    pub failed: u64,
    /// Those of them whose content or directory is damaged in the repository.
    pub damaged: u64,
    /// A chunk that one of them needs and that is in no index segment.
    #[serde(skip)]
    pub missing: Option<ChunkId>,
    /// All troubles; metadata that could not be set is one, and the entry is there.
    pub troubles_count: u64,
    /// The first 1000 of them.
    pub troubles: Vec<RestoreTrouble>,
    /// Wall time.
    pub duration_ms: u64,
}

impl RestoreReport {
    pub(super) fn trouble(&mut self, path: &[u8], what: &str) {
        self.troubles_count += 1;
        if self.troubles.len() < TROUBLES_LISTED {
            self.troubles.push(RestoreTrouble { path: escaped(path), what: what.to_owned() });
        }
    }
}
