//! Snapshots and tombstones: what stands under `snapshots/<S>`.

use serde::{Deserialize, Serialize};

use super::{
    FrameKind, Leaf, Malformed, Node, RepositoryId, SnapshotId, Time, Totals, limits, wire,
};

/// The commit point of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Commit {
    /// The session succeeded.
    Snapshot(Box<Snapshot>),
    /// The session was evicted before it committed; its name is burnt.
    Tombstone {
        /// When, by the evictor's clock.
        at: Time,
        /// Host of the evictor.
        host: String,
    },
}

/// One point in time of one or more sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The session's id, also the object's name.
    pub id: SnapshotId,
    /// The snapshot's time: when the ingest started, or what the user stated.
    pub time: Time,
    /// How long the ingest took, in nanoseconds of the monotonic clock.
    pub duration_ns: u64,
    /// Host that the sources belong to.
    pub host: String,
    /// User who ran the ingest.
    pub user: String,
    /// Program and version that wrote it, like `icecore 0.1.0`.
    pub program: String,
    /// Free words of the user.
    pub tags: Vec<String>,
    /// What was asked to be ingested: absolute paths, `.` below a root directory, or a stream's
    /// name. Raw bytes.
    pub sources: Vec<Source>,
    /// The snapshot that told what need not be read.
    pub parent: Option<SnapshotId>,
    /// The root: one directory node with an empty name.
    pub root: Leaf,
    /// What went wrong at the source, at most [`limits::TROUBLES_MAX`] entries.
    pub troubles: Vec<Trouble>,
    /// How many troubles there were in all; above zero the snapshot is partial.
    pub troubles_count: u64,
    /// What this session added to the repository.
    pub added: Added,
}

/// One thing that was asked to be ingested.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    /// Path at the source as raw bytes.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
}

/// One entry of a source that could not be taken as it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Path in the snapshot as raw bytes.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
    /// What happened.
    pub what: String,
}

/// What a session wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Added {
    /// New chunks of content and of metadata.
    pub chunks: u64,
    /// Their plain bytes.
    pub plain: u64,
    /// Bytes of the packs and segments written for them.
    pub stored: u64,
}

impl Snapshot {
    /// The root directory's node.
    ///
    /// # Panics
    /// Never on a decoded snapshot: its root was checked.
    #[must_use]
    pub fn root_node(&self) -> &Node {
        let [node] = self.root.nodes.as_slice() else { panic!("snapshot without a root") };
        node
    }

    /// Sums over the whole snapshot.
    #[must_use]
    pub fn totals(&self) -> Totals {
        match &self.root_node().body {
            super::Body::Directory { totals, .. } => *totals,
            _ => Totals::default(),
        }
    }

    /// Whether something at the source could not be taken as it should.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.troubles_count > 0
    }
}

impl Commit {
    /// The record as the payload of a [`FrameKind::Snapshot`] frame: the repository's id, so that
    /// another repository's snapshot is told apart, then the commit.
    #[must_use]
    pub fn encode(&self, repository: RepositoryId) -> Vec<u8> {
        wire::encode(&(repository, self))
    }

    /// Decodes and checks the record that stands under `id` in `repository`.
    pub fn decode(
        payload: &[u8],
        repository: RepositoryId,
        id: SnapshotId,
    ) -> Result<Self, Malformed> {
        debug_assert!(payload.len() <= FrameKind::Snapshot.payload_max());
        let (stated, commit): (RepositoryId, Self) = wire::decode(payload)?;
        if stated != repository {
            return Err(Malformed::at(0, format!("it belongs to repository {stated}")));
        }
        match &commit {
            Self::Snapshot(snapshot) => {
                snapshot.check(id).map_err(|what| Malformed::at(0, what))?;
            }
            Self::Tombstone { at, .. } => at.check()?,
        }
        Ok(commit)
    }
}

impl Snapshot {
    fn check(&self, id: SnapshotId) -> Result<(), String> {
        if self.id != id {
            return Err(format!("snapshot states the id {}", self.id));
        }
        if !self.time.is_normal() {
            return Err("snapshot has a time with too many nanoseconds".into());
        }
        if self.troubles.len() > limits::TROUBLES_MAX
            || (self.troubles.len() as u64) > self.troubles_count
        {
            return Err("snapshot lists more troubles than it counts".into());
        }
        self.root.check(true)
    }
}
