//! What can go wrong with a repository. Every variant names the object it is about.

use crate::codec::CodecError;
use crate::format::{ChunkId, Folder, Malformed, ObjectKey, SnapshotId};
use crate::storage::StorageError;

/// Errors of the repository layer.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// The storage failed, or an object is missing.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Stored bytes are not what was written.
    #[error("{object} is damaged: {what}")]
    Corrupt {
        /// Which object, with the place inside it where that is known.
        object: String,
        /// What is wrong there.
        what: String,
    },
    /// The object was written by a later icecore.
    #[error("{object} has format {found}, this icecore reads up to {supported}")]
    Newer {
        /// Which object.
        object: String,
        /// The version it states.
        found: u32,
        /// The newest version this build reads.
        supported: u32,
    },
    /// The object holds something of a later icecore.
    #[error("{object} has {what}, which this icecore does not know")]
    Unknown {
        /// Which object.
        object: String,
        /// What this build does not know.
        what: String,
    },
    /// There is no repository at that place.
    #[error("no repository at {location}")]
    NoRepository {
        /// The storage.
        location: String,
    },
    /// There are objects of a repository and no config to read them by.
    #[error("{location} holds objects of a repository, and its config is missing")]
    ConfigMissing {
        /// The storage.
        location: String,
    },
    /// There is a repository at that place already.
    #[error("{location} holds a repository already")]
    RepositoryExists {
        /// The storage.
        location: String,
    },
    /// The repository is encrypted and no key was given.
    #[error("{location} is encrypted, and no key was given")]
    KeyNeeded {
        /// The storage.
        location: String,
    },
    /// A key was given, and the config says that there is no encryption: a config that somebody
    /// replaced must not make a writer store plain bytes.
    #[error("a key was given, and {location} is not encrypted")]
    NotEncrypted {
        /// The storage.
        location: String,
    },
    /// A record is longer than format 1 allows.
    #[error("{object} would have {len} bytes, at most {max} are allowed")]
    TooLarge {
        /// The object.
        object: String,
        /// Its length in bytes.
        len: usize,
        /// The cap.
        max: usize,
    },
    /// The key opens no slot.
    #[error("the key does not open {location}")]
    WrongKey {
        /// The storage.
        location: String,
    },
    /// No key slot of that name.
    #[error("no key slot {id}")]
    NoSuchKey {
        /// The name or prefix asked for.
        id: String,
    },
    /// The last slot that opens the repository would be removed.
    #[error("key slot {id} is the last one: without it the repository cannot be opened again")]
    LastKey {
        /// The slot.
        id: String,
    },
    /// The index knows no place of a chunk.
    #[error("chunk {chunk} is in no index segment")]
    ChunkMissing {
        /// The chunk.
        chunk: ChunkId,
    },
    /// The same, and a pack that no segment lists holds it: what is lost is a segment.
    #[error(
        "chunk {chunk} is in no index segment, and lies in one of {packs} packs that none lists"
    )]
    Unindexed {
        /// The chunk.
        chunk: ChunkId,
        /// How many packs no segment lists.
        packs: u64,
    },
    /// A block that is stored as a difference, and a chunk that it needs cannot be had.
    #[error("{object} is told from chunk {base}: {cause}")]
    Base {
        /// The block.
        object: String,
        /// The chunk that it needs.
        base: ChunkId,
        /// Why that is not to be had.
        cause: Box<RepoError>,
    },
    /// No snapshot goes by that name.
    #[error("no snapshot \"{name}\"")]
    NoSuchSnapshot {
        /// What was asked for.
        name: String,
    },
    /// A name that fits several snapshots.
    #[error("\"{name}\" fits {count} snapshots")]
    AmbiguousSnapshot {
        /// What was asked for.
        name: String,
        /// How many fit.
        count: usize,
    },
    /// A name that may mean a snapshot that cannot be read: what can be read may be older.
    #[error("\"{name}\" may mean a snapshot that cannot be read: {cause}")]
    UncertainSnapshot {
        /// What was asked for.
        name: String,
        /// Why one cannot be read.
        cause: Box<RepoError>,
    },
    /// More tags than a record may hold.
    #[error("snapshot {snapshot} would have {count} tags, at most {max} are allowed")]
    TooManyTags {
        /// The snapshot.
        snapshot: SnapshotId,
        /// How many they would be.
        count: usize,
        /// The cap.
        max: usize,
    },
    /// A prune may delete the snapshot already.
    #[error("snapshot {snapshot} is being pruned: {object} names it")]
    BeingPruned {
        /// The snapshot.
        snapshot: SnapshotId,
        /// The prune's record.
        object: ObjectKey,
    },
    /// A path that the snapshot does not hold.
    #[error("snapshot {snapshot} holds no {path}")]
    NoSuchPath {
        /// The snapshot.
        snapshot: SnapshotId,
        /// The path asked for.
        path: String,
    },
    /// A prune decided that this session was dead; nothing it wrote is lost, it must run again.
    #[error("session {session} was evicted by a prune before it could commit")]
    Evicted {
        /// The session.
        session: SnapshotId,
    },
    /// The machine cannot do the coding: no randomness, no memory for it.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Who called wants to stop.
    #[error("interrupted")]
    Interrupted,
    /// An earlier failure ended this session.
    #[error("session {session} failed before and writes nothing more")]
    SessionFailed {
        /// The session.
        session: SnapshotId,
    },
}

impl RepoError {
    /// Damage of one object.
    pub(crate) fn malformed(object: impl ToString, err: Malformed) -> Self {
        match err {
            Malformed::Newer { found, supported } => {
                Self::Newer { object: object.to_string(), found, supported }
            }
            Malformed::Unknown { what } => {
                Self::Unknown { object: object.to_string(), what: what.into_owned() }
            }
            damaged @ Malformed::Damaged { .. } => {
                Self::Corrupt { object: object.to_string(), what: damaged.to_string() }
            }
        }
    }

    pub(crate) fn corrupt(object: impl ToString, what: impl Into<String>) -> Self {
        Self::Corrupt { object: object.to_string(), what: what.into() }
    }

    /// What is damaged, missing or refused, with the place in it where that is known; not what
    /// needs it. Empty where it is no object.
    #[must_use]
    pub fn object(&self) -> String {
        match self {
            Self::Storage(err) => err.object(),
            Self::Corrupt { object, .. }
            | Self::Newer { object, .. }
            | Self::Unknown { object, .. }
            | Self::TooLarge { object, .. } => object.clone(),
            Self::ChunkMissing { chunk } | Self::Unindexed { chunk, .. } => {
                format!("chunk {chunk}")
            }
            Self::Base { cause, .. } | Self::UncertainSnapshot { cause, .. } => cause.object(),
            _ => String::new(),
        }
    }

    /// Whether it is a pack that is damaged or missing.
    #[must_use]
    pub fn is_about_pack(&self) -> bool {
        let object = self.object();
        let in_folder = |folder: Folder| {
            object.strip_prefix(folder.name()).is_some_and(|rest| rest.starts_with('/'))
        };
        self.is_damage() && [Folder::Data, Folder::Meta].into_iter().any(in_folder)
    }

    /// Whether a later icecore wrote what this build cannot read.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        match self {
            Self::Newer { .. } | Self::Unknown { .. } => true,
            Self::Base { cause, .. } | Self::UncertainSnapshot { cause, .. } => cause.is_newer(),
            _ => false,
        }
    }

    /// Whether stored state is wrong or missing, as against a failing medium or a wrong question.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Corrupt { .. } | Self::ChunkMissing { .. } | Self::Unindexed { .. } => true,
            Self::Base { cause, .. } | Self::UncertainSnapshot { cause, .. } => cause.is_damage(),
            Self::Storage(err) => err.is_damage() || err.is_not_found(),
            _ => false,
        }
    }

    /// Whether a pack or segment was not where the index said: it may have been rewritten.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Storage(err) => err.is_not_found(),
            Self::Base { cause, .. } => cause.is_not_found(),
            _ => false,
        }
    }

    /// The chunk that no segment knows, where that is what is wrong.
    #[must_use]
    pub fn missing_chunk(&self) -> Option<ChunkId> {
        match self {
            Self::ChunkMissing { chunk } | Self::Unindexed { chunk, .. } => Some(*chunk),
            Self::Base { cause, .. } => cause.missing_chunk(),
            _ => None,
        }
    }

    /// Whether the name that was to be given is taken.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::Storage(err) if err.is_already_exists())
    }

    /// Whether the index knew too little, or what is no longer so: another look at it may help.
    pub(crate) fn is_outdated(&self) -> bool {
        match self {
            Self::ChunkMissing { .. } => true,
            Self::Base { cause, .. } => cause.is_outdated(),
            err => err.is_not_found(),
        }
    }
}

/// Shorthand of this layer.
pub type Result<T, E = RepoError> = std::result::Result<T, E>;

/// Adds the object's identity to a parser's verdict.
pub(crate) trait InObject<T> {
    fn in_object(self, object: &ObjectKey) -> Result<T>;
}

impl<T> InObject<T> for Result<T, Malformed> {
    fn in_object(self, object: &ObjectKey) -> Result<T> {
        self.map_err(|err| RepoError::malformed(object, err))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{PackId, PackKind};

    #[test]
    fn an_error_is_about_what_is_wrong_not_about_what_needs_it() {
        let pack = ObjectKey::Pack(PackKind::Data, PackId([7; 32]));
        let missing = RepoError::Storage(StorageError::NotFound { object: pack });
        assert!(missing.is_about_pack());
        let cause = Box::new(missing);
        let base = ChunkId([1; 32]);
        let needs = RepoError::Base { object: "meta/1".into(), base, cause };
        assert_eq!(needs.object(), pack.to_string());
        assert!(needs.is_about_pack());
        let damaged = RepoError::corrupt(format!("{pack} (block at offset 64)"), "odd");
        assert!(damaged.is_about_pack());
        for other in [
            RepoError::corrupt("config", "odd"),
            RepoError::corrupt("database", "odd"),
            RepoError::ChunkMissing { chunk: base },
            RepoError::Newer { object: pack.to_string(), found: 2, supported: 1 },
        ] {
            assert!(!other.is_about_pack(), "{other}");
        }
    }
}
