//! What a verification found.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::format::{ObjectKey, SnapshotId, limits};
use crate::ops::path::escaped;
use crate::repo::{PACK_MISSING, RepoError};
use crate::storage::StorageError;

use super::Coverage;

/// Affected paths that are listed; the count goes on.
const AFFECTED_LISTED: usize = 100;
/// Damaged objects that are listed; the count goes on.
const DAMAGED_LISTED: usize = 10_000;
/// Strangers that are listed; the count goes on.
const STRANGERS_LISTED: usize = 100;

/// Something stored that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Damaged {
    /// The object's name, with the place in it where that is known; or a chunk.
    pub object: String,
    /// What is wrong.
    pub what: String,
}

/// A pack that was damaged and is not any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Healed {
    /// The pack's name.
    pub object: String,
    /// Whether it was written anew; else only its parity keeps it readable, and it counts as
    /// damaged.
    pub stored: bool,
}

/// A path of a snapshot that cannot be read whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Affected {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The file, or the directory of which entries are missing; not-text escaped as [`escaped`] does.
    pub path: String,
    /// Why.
    pub what: String,
}

/// What a verification found. Nothing is wrong where [`VerifyReport::is_clean`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Data of packs was read, not only the structure.
    pub read_data: bool,
    /// It came to its end.
    pub complete: bool,
    /// Packs that there are.
    pub packs_stored: u64,
    /// Their bytes.
    pub bytes_stored: u64,
    /// Packs of which every byte was read.
    pub packs_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// What the ledger and this run say of how recently packs were read.
    pub coverage: Option<Coverage>,
    /// The record in the ledger.
    pub recorded: Option<String>,
    /// Snapshots walked.
    pub snapshots: u64,
    /// Tree pages read, each once over all snapshots.
    pub pages: u64,
    /// Files of those pages.
    pub files: u64,
    /// Index segments checked.
    pub segments: u64,
    /// Chunks that they know; one that several know counts several times.
    pub indexed_chunks: u64,
    /// Packs checked.
    pub packs: u64,
    /// Blocks in them.
    pub blocks: u64,
    /// Chunks in them.
    pub chunks: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Chunks in packs that no segment knows: left by an ingest that was stopped, and no damage.
    pub unindexed_chunks: u64,
    /// Names that no icecore wrote; no damage.
    pub strangers_count: u64,
    /// The first 100 of them.
    pub strangers: Vec<String>,
    /// Packs without parity, where it is on; no damage.
    pub unprotected: u64,
    /// Packs that were healed from their parity.
    pub healed: Vec<Healed>,
    /// What is damaged or missing.
    pub damaged_count: u64,
    /// Whether packs are among that: what they held can be stored again from its sources.
    #[serde(skip)]
    pub damaged_packs: bool,
    /// The first 10,000 of them, each once.
    pub damaged: Vec<Damaged>,
    /// Paths of snapshots that cannot be read whole.
    pub affected_count: u64,
    /// The first 100 of them.
    pub affected: Vec<Affected>,
    /// The paths themselves, raw, the first 1000 of each snapshot.
    #[serde(skip)]
    pub lost: BTreeMap<SnapshotId, Vec<Vec<u8>>>,
    /// Wall time.
    pub duration_ms: u64,
    /// Packs of which every byte was read and is what it should be: prefix of the id, and length.
    #[serde(skip)]
    pub(super) read: Vec<(u64, u64)>,
    /// Packs that were read and are damaged, by prefix of the id.
    #[serde(skip)]
    pub(super) bad: Vec<u64>,
    #[serde(skip)]
    pub(super) seen: Seen,
}

/// Damage that was listed already: one object is met on many ways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen(HashSet<Damaged>);

impl VerifyReport {
    /// Whether nothing is damaged or missing.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.damaged_count == 0 && self.affected_count == 0
    }

    /// Whether this damage is new.
    pub(super) fn damage(&mut self, err: &RepoError) -> bool {
        let damaged = Damaged::of(err);
        if self.seen.0.contains(&damaged) {
            return false;
        }
        self.damaged_count += 1;
        self.damaged_packs |= err.is_about_pack();
        if self.damaged.len() < DAMAGED_LISTED {
            self.damaged.push(damaged.clone());
            self.seen.0.insert(damaged);
        }
        true
    }

    pub(super) fn stranger(&mut self, name: String) {
        self.strangers_count += 1;
        if self.strangers.len() < STRANGERS_LISTED {
            self.strangers.push(name);
        }
    }

    pub(super) fn affect(&mut self, snapshot: SnapshotId, path: &[u8], err: &RepoError) {
        self.affected_count += 1;
        let lost = self.lost.entry(snapshot).or_default();
        if lost.len() < limits::TROUBLES_MAX {
            lost.push(path.to_vec());
        }
        if self.affected.len() < AFFECTED_LISTED {
            let (path, what) = (escaped(path), err.to_string());
            self.affected.push(Affected { snapshot, path, what });
        }
    }
}

impl Damaged {
    fn of(err: &RepoError) -> Self {
        let (object, what) = match err {
            RepoError::Corrupt { object, what } => (object.clone(), what.clone()),
            RepoError::Newer { object, found, supported } => {
                (object.clone(), format!("has format {found}, this icecore reads {supported}"))
            }
            RepoError::Unknown { object, what } => {
                (object.clone(), format!("has {what}, which this icecore does not know"))
            }
            RepoError::ChunkMissing { chunk } => {
                (format!("chunk {chunk}"), "is in no index segment".into())
            }
            RepoError::Base { object, base, cause } => {
                (object.clone(), format!("is told from chunk {base}: {cause}"))
            }
            // In the words of the index's own check: it is one loss, however it was met.
            RepoError::Storage(StorageError::NotFound { object: object @ ObjectKey::Pack(..) }) => {
                (object.to_string(), PACK_MISSING.into())
            }
            RepoError::Storage(err) => (err.object(), with_cause(err)),
            err => (String::new(), with_cause(err)),
        };
        // Messages begin with the object's name, which stands beside them here.
        let rest = what.strip_prefix(&object).and_then(|rest| rest.strip_prefix(' '));
        let what = rest.map(str::to_owned).unwrap_or(what);
        Self { object, what }
    }
}

fn with_cause(err: &dyn std::error::Error) -> String {
    match err.source() {
        Some(cause) => format!("{err}: {cause}"),
        None => err.to_string(),
    }
}
