//! What a verification found.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::format::{ChunkId, ObjectKey, SnapshotId, limits};
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
    /// Chunks that snapshots need and that no segment knows, in packs that no segment lists: the
    /// index is to be built anew, and nothing of that is lost.
    pub misplaced_chunks: u64,
    /// Chunks that successors name as lost, and that lie in packs that no segment lists: a writer has
    /// stored them again and lives, or was stopped. No damage.
    pub returning_chunks: u64,
    /// Names that no icecore wrote; no damage.
    pub strangers_count: u64,
    /// The first 100 of them.
    pub strangers: Vec<String>,
    /// Packs without parity, where it is on; no damage.
    pub unprotected: u64,
    /// Packs that were healed from their parity.
    pub healed: Vec<Healed>,
    /// Whether a healed pack could not be written anew for want of space.
    #[serde(skip)]
    pub lacked_room: bool,
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
    /// Paths that cannot be read whole and of which a successor says so: lost for good, and no news.
    pub known_count: u64,
    /// The first 100 of them.
    pub known: Vec<Affected>,
    /// Snapshots that lost content and have a successor which says so.
    pub succeeded_snapshots: u64,
    /// Blocks of whole packs that are told from what was lost, where successors name losses: no damage
    /// unless a snapshot needs them of which no successor says so.
    pub orphaned_blocks: u64,
    /// Paths of which content is lost, known or not, raw, the first 1000 of each snapshot, and one more
    /// where there are more. What the medium does not give now is not lost.
    #[serde(skip)]
    pub lost: BTreeMap<SnapshotId, Vec<Vec<u8>>>,
    /// Whether what no segment knows is among what is lost, and no successor says so.
    #[serde(skip)]
    pub lacks_chunks: bool,
    /// Chunks that snapshots need, and that are in no segment: of each path the first.
    #[serde(skip)]
    pub(in crate::ops) missing: HashSet<ChunkId>,
    /// Of those, the ones of paths of which no successor says so.
    #[serde(skip)]
    pub(super) missing_unnamed: HashSet<ChunkId>,
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
    /// Whether nothing is damaged or missing, but for what a successor names as lost.
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

    /// Takes note of a path that cannot be read whole.
    pub(super) fn affect(&mut self, snapshot: SnapshotId, path: &[u8], err: &RepoError) {
        self.damage(err);
        self.affected_count += 1;
        self.lacks_chunks |= err.missing_chunk().is_some();
        self.missing_unnamed.extend(err.missing_chunk());
        self.lose(snapshot, path, err);
        if self.affected.len() < AFFECTED_LISTED {
            self.affected.push(Affected::new(snapshot, path, err));
        }
    }

    /// Takes note of a path of which a successor says that it is lost.
    pub(super) fn know(&mut self, snapshot: SnapshotId, path: &[u8], err: &RepoError) {
        self.known_count += 1;
        self.lose(snapshot, path, err);
        if self.known.len() < AFFECTED_LISTED {
            self.known.push(Affected::new(snapshot, path, err));
        }
    }

    fn lose(&mut self, snapshot: SnapshotId, path: &[u8], err: &RepoError) {
        if !err.is_damage() {
            return;
        }
        self.missing.extend(err.missing_chunk());
        let lost = self.lost.entry(snapshot).or_default();
        if lost.len() <= limits::TROUBLES_MAX {
            lost.push(path.to_vec());
        }
    }
}

impl Affected {
    fn new(snapshot: SnapshotId, path: &[u8], err: &RepoError) -> Self {
        Self { snapshot, path: escaped(path), what: err.to_string() }
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
            RepoError::ChunkMissing { chunk } | RepoError::Unindexed { chunk, .. } => {
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
