//! Snapshots and tombstones: what stands under `snapshots/<S>`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{
    FrameKind, Leaf, Malformed, Node, RepositoryId, SnapshotId, Time, Totals, limits, wire,
};

/// The commit point of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// A commit as it is stored. Later kinds are added at the end.
#[derive(Serialize, Deserialize)]
enum Stored<'a> {
    Snapshot(Cow<'a, Snapshot>),
    Tombstone {
        at: Time,
        host: Cow<'a, str>,
    },
    /// A snapshot of which there is more to tell.
    Told(Cow<'a, Snapshot>, Option<Origin>, Cow<'a, [Capture]>),
}

/// The snapshot that a copy was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The repository where it was ingested.
    pub repository: RepositoryId,
    /// Its id there.
    pub snapshot: SnapshotId,
}

/// How one source of the strategy was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// The source's name in the strategy.
    pub source: String,
    /// Like `files`, `sqlite`, `sqlite as file` (no database after all), `postgres physical`, `postgres
    /// logical`, `redis rdb`, `redis aof`, `command`, `group`.
    pub method: String,
    /// Path in the snapshot, without the leading `/`, raw bytes.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
    /// When it started.
    pub started: Time,
    /// When it was over: what it holds is not newer.
    pub ended: Time,
    /// Versions, positions and counts as the store's own tools name them, like
    /// `("start_lsn", "0/2000028")`, sorted by name.
    pub facts: Vec<(String, String)>,
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
    /// The snapshot that this one is a copy of. Where there is none and no capture either, neither
    /// is stored.
    #[serde(skip)]
    pub origin: Option<Origin>,
    /// How the sources were captured, where a strategy said so.
    #[serde(skip)]
    pub captures: Vec<Capture>,
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
        wire::encode(&(repository, self.stored()))
    }

    /// Decodes and checks the record that stands under `id` in `repository`.
    pub fn decode(
        payload: &[u8],
        repository: RepositoryId,
        id: SnapshotId,
    ) -> Result<Self, Malformed> {
        debug_assert!(payload.len() <= FrameKind::Snapshot.payload_max());
        let (stated, stored): (RepositoryId, Stored<'_>) = wire::decode(payload)?;
        if stated != repository {
            return Err(Malformed::at(0, format!("it belongs to repository {stated}")));
        }
        let snapshot = match stored {
            Stored::Snapshot(snapshot) => snapshot.into_owned(),
            Stored::Told(_, None, captures) if captures.is_empty() => {
                return Err(Malformed::at(RepositoryId::LEN, "it says that it tells more"));
            }
            Stored::Told(snapshot, origin, captures) => {
                Snapshot { origin, captures: captures.into_owned(), ..snapshot.into_owned() }
            }
            Stored::Tombstone { at, host } => {
                at.check()?;
                return Ok(Self::Tombstone { at, host: host.into_owned() });
            }
        };
        snapshot.check(id).map_err(|what| Malformed::at(0, what))?;
        Ok(Self::Snapshot(Box::new(snapshot)))
    }

    fn stored(&self) -> Stored<'_> {
        match self {
            Self::Tombstone { at, host } => Stored::Tombstone { at: *at, host: host.into() },
            Self::Snapshot(snapshot) => {
                let told = Cow::Borrowed(&**snapshot);
                match (snapshot.origin, snapshot.captures.as_slice()) {
                    (None, []) => Stored::Snapshot(told),
                    (origin, captures) => Stored::Told(told, origin, captures.into()),
                }
            }
        }
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
        if self.captures.len() > limits::CAPTURES_MAX
            || self.captures.iter().any(|capture| capture.facts.len() > limits::CAPTURE_FACTS_MAX)
        {
            return Err("snapshot lists more captures or facts than it may".into());
        }
        let times = |capture: &Capture| capture.started.is_normal() && capture.ended.is_normal();
        if !self.captures.iter().all(times) {
            return Err("snapshot has a capture with too many nanoseconds".into());
        }
        self.root.check(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Body, Owner};

    const HERE: RepositoryId = RepositoryId([1; 16]);

    fn snapshot(origin: Option<Origin>) -> Snapshot {
        let root = Node {
            name: Vec::new(),
            mode: 0o755,
            owner: 0,
            mtime: Time::default(),
            ctime: Time::default(),
            atime: None,
            btime: None,
            inode: 1,
            link: None,
            xattrs: Vec::new(),
            unstable: false,
            body: Body::Directory { page: None, entries: 0, totals: Totals::default() },
        };
        let owner = Owner { uid: 0, gid: 0, user: String::new(), group: String::new() };
        Snapshot {
            id: SnapshotId([2; 16]),
            time: Time::default(),
            duration_ns: 1,
            host: "h".into(),
            user: "u".into(),
            program: "p".into(),
            tags: Vec::new(),
            sources: Vec::new(),
            parent: None,
            root: Leaf { owners: vec![owner], nodes: vec![root] },
            troubles: Vec::new(),
            troubles_count: 0,
            added: Added::default(),
            origin,
            captures: Vec::new(),
        }
    }

    #[test]
    fn origin_comes_back_and_what_tells_nothing_has_one_form() {
        let origin = Origin { repository: RepositoryId([3; 16]), snapshot: SnapshotId([4; 16]) };
        let id = SnapshotId([2; 16]);
        let bytes = |origin| Commit::Snapshot(Box::new(snapshot(origin))).encode(HERE);
        for origin in [None, Some(origin)] {
            let read = Commit::decode(&bytes(origin), HERE, id).unwrap();
            assert_eq!(read, Commit::Snapshot(Box::new(snapshot(origin))));
        }
        assert!(bytes(None).len() < bytes(Some(origin)).len());
        // The longer form that says nothing more.
        let whole = snapshot(None);
        let empty = Stored::Told(Cow::Borrowed(&whole), None, Cow::Borrowed(&[]));
        assert!(Commit::decode(&wire::encode(&(HERE, empty)), HERE, id).is_err());
    }
}
