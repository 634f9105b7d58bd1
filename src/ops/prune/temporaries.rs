//! Temporary files that stopped writers left.
//!
//! They hold no object and nothing names them; but a writer that lives gives one a name with its
//! last step. So one goes only once it was not written to for as long as a writer may be silent: the
//! time-out of sessions where any lives, else the grace; and an hour in which clocks may differ. To
//! delete one too early would fail that write, and lose nothing (`storage/local/temporaries`). Age is
//! told by the medium's own clock, which stamped the file, where it can be asked. `explore` knows whole
//! objects only, and has no such files.

use std::time::Duration;

use crate::ops::Result;
use crate::repo::{RepoError, Repository};
use crate::storage::Temporary;
use crate::units::chain;

use super::{PruneOptions, living_sessions};

/// Most that two clocks may differ, and least that a file must be old.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60 * 60);

/// How many files, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Temporaries {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Temporaries {
    fn add(&mut self, file: &Temporary) {
        self.files += 1;
        self.bytes += file.len;
    }
}

/// Those that no writer that lives can be writing, at `now` in seconds since 1970.
fn stale(repo: &Repository, options: &PruneOptions, now: u64) -> Result<Vec<Temporary>> {
    // Files first: whoever begins after that has none among them.
    let mut found = repo.storage().temporaries().map_err(RepoError::from)?;
    if found.is_empty() {
        return Ok(found);
    }
    let silence = match living_sessions(repo, options)?.is_empty() {
        true => options.grace,
        false => options.session_timeout.max(options.grace),
    };
    let age = silence.saturating_add(CLOCKS_DIFFER).as_secs();
    found.retain(|file| file.written.is_some_and(|at| at.saturating_add(age) < now));
    Ok(found)
}

fn wall_clock() -> u64 {
    u64::try_from(crate::clock::now().secs).unwrap_or(0)
}

/// What a prune would delete now. Writes nothing.
pub(super) fn planned(repo: &Repository, options: &PruneOptions) -> Result<Temporaries> {
    let mut sum = Temporaries::default();
    stale(repo, options, wall_clock())?.iter().for_each(|file| sum.add(file));
    Ok(sum)
}

/// Deletes them, but for those that cannot be: that is told, and costs their room only. Comes before
/// whatever needs room.
pub(super) fn sweep(repo: &Repository, options: &PruneOptions) -> Result<Temporaries> {
    let (storage, mut sum) = (repo.storage(), Temporaries::default());
    if storage.temporaries().map_err(RepoError::from)?.is_empty() {
        return Ok(sum);
    }
    let now = storage.now().unwrap_or_else(wall_clock);
    for file in stale(repo, options, now)? {
        match storage.delete_temporary(&file.name) {
            Ok(true) => sum.add(&file),
            Ok(false) => {}
            Err(err) => tracing::warn!("the temporary file {} stays: {}", file.name, chain(&err)),
        }
    }
    Ok(sum)
}
