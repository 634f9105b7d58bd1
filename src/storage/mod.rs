//! Where objects live: one small blocking trait over object names.
//!
//! Objects are written once, whole, create-only, under a name never used again; nothing is edited
//! in place. That one rule is what every protocol above relies on. The one exception keeps it in
//! spirit: a damaged object may be replaced by the very bytes that its name promises
//! ([`Storage::replace_damaged`]). Parsing and trust are not this layer's business: it moves bytes
//! and names failures.

use std::{fmt, path::PathBuf, sync::Arc};

use crate::format::{Folder, ObjectKey};

#[cfg(test)]
mod conformance;
mod fault;
mod limits;
mod local;
mod memory;
mod record;

pub use fault::{CutPoint, CutSteps, FaultStorage, When};
pub use limits::{LimitedStorage, Limits};
pub use local::LocalStorage;
pub use memory::{MemoryStorage, Objects};
pub use record::{Operation, RecordStorage};

/// What a storage can fail with. Each variant names the object.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// No such object.
    #[error("{object} does not exist")]
    NotFound {
        /// Which.
        object: ObjectKey,
    },
    /// An object of that name exists already; nothing was written.
    #[error("{object} exists already")]
    AlreadyExists {
        /// Which.
        object: ObjectKey,
    },
    /// The object is shorter than the range asked for.
    #[error("{object} ends at byte {len}, bytes {offset} to {end} were asked for")]
    Short {
        /// Which.
        object: ObjectKey,
        /// First byte asked for.
        offset: u64,
        /// One past the last byte asked for.
        end: u64,
        /// The object's real length.
        len: u64,
    },
    /// The object is longer than its kind may be.
    #[error("{object} has {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Which.
        object: ObjectKey,
        /// Its length.
        len: u64,
        /// The cap.
        max: u64,
    },
    /// The medium is full; nothing was written under the object's name.
    #[error("no space left for {object} in {location}")]
    Full {
        /// Which.
        object: ObjectKey,
        /// The storage.
        location: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// Any other failure of the medium.
    #[error("cannot {action} {what} in {location}")]
    Io {
        /// The verb: read, write, list, delete.
        action: &'static str,
        /// Object or folder.
        what: String,
        /// The storage.
        location: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// An earlier write or fsync failed; this writer refuses everything from then on, since what
    /// reached the disk is unknown.
    #[error("an earlier write to {location} failed, nothing more is written")]
    Poisoned {
        /// The storage.
        location: String,
    },
}

impl StorageError {
    /// What it is about: an object, or where there is none a folder or the storage.
    #[must_use]
    pub fn object(&self) -> String {
        match self {
            Self::NotFound { object }
            | Self::AlreadyExists { object }
            | Self::Short { object, .. }
            | Self::TooLong { object, .. }
            | Self::Full { object, .. } => object.to_string(),
            Self::Io { what, .. } => what.clone(),
            Self::Poisoned { location } => location.clone(),
        }
    }

    /// Whether the object simply is not there.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the name was taken.
    #[must_use]
    pub const fn is_already_exists(&self) -> bool {
        matches!(self, Self::AlreadyExists { .. })
    }

    /// Whether the object's own length is wrong: damage, not a failing medium.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Short { .. } | Self::TooLong { .. })
    }
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name below the repository's root.
    pub name: String,
    /// What the name means; `None` for a stranger.
    pub key: Option<ObjectKey>,
    /// Length in bytes.
    pub len: u64,
    /// When the medium says that it was last written, in seconds since 1970; `None` where it does
    /// not say. No more than a hint: whoever copies a repository may set it anew.
    pub written: Option<u64>,
}

/// A file of a write that has not come to its end, or never will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Temporary {
    /// The name below the repository's root.
    pub name: String,
    /// Length in bytes.
    pub len: u64,
    /// When it was last written to, in seconds since 1970 of the medium's clock.
    pub written: Option<u64>,
}

/// A place for objects. Methods block; implementations are shared between threads.
pub trait Storage: Send + Sync + fmt::Debug {
    /// For messages: a path or URL.
    fn location(&self) -> String;

    /// Writes a new object, durable when this returns. Never replaces: `AlreadyExists`.
    fn put_new(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError>;

    /// Puts bytes in the place of a damaged object, durable when this returns: whoever reads gets
    /// the old ones or the new ones, whole. `NotFound` where there is no object of that name.
    ///
    /// The caller has proved that `bytes` are those which the name promises: only objects whose id
    /// is the hash of their bytes may be replaced, so that all who do it write the same. That an
    /// object cannot be written here, for lack of rights or since the medium is read-only, ends
    /// nothing: later writes are tried.
    fn replace_damaged(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError>;

    /// Reads a whole object of at most `max` bytes; a longer one is `TooLong`, unread.
    fn get(&self, key: &ObjectKey, max: u64) -> Result<Vec<u8>, StorageError>;

    /// Reads exactly `len` bytes from `offset`; `Short` where the object ends before.
    fn read_at(&self, key: &ObjectKey, offset: u64, len: usize) -> Result<Vec<u8>, StorageError>;

    /// Length of an object in bytes.
    fn len(&self, key: &ObjectKey) -> Result<u64, StorageError>;

    /// All objects of a folder, sorted by name; temporary files of running writes are left out.
    fn list(&self, folder: Folder) -> Result<Vec<Listed>, StorageError>;

    /// The keys of all objects of a folder, sorted by name; for those who need no lengths, which
    /// cost a file system a look at each file.
    fn names(&self, folder: Folder) -> Result<Vec<ObjectKey>, StorageError> {
        Ok(self.list(folder)?.into_iter().filter_map(|listed| listed.key).collect())
    }

    /// Removes an object; `NotFound` where it is not there.
    fn delete(&self, key: &ObjectKey) -> Result<(), StorageError>;

    /// Where on this machine's file systems the objects of a folder are, for those who want to be
    /// told of new ones; `None` where they are elsewhere.
    fn folder_path(&self, _folder: Folder) -> Option<PathBuf> {
        None
    }

    /// Files of writes that are under way, or were stopped: which of them cannot be told here.
    /// None where writes leave nothing.
    fn temporaries(&self) -> Result<Vec<Temporary>, StorageError> {
        Ok(Vec::new())
    }

    /// Removes one of them; `false` where it is not there. The write that it is of fails, if that is
    /// still under way, and gives no object.
    fn delete_temporary(&self, _name: &str) -> Result<bool, StorageError> {
        Ok(false)
    }

    /// What the medium's own clock says, in seconds since 1970; `None` where it cannot be asked. May
    /// write, and leaves nothing.
    fn now(&self) -> Option<u64> {
        None
    }
}

impl<T: Storage + ?Sized> Storage for Arc<T> {
    fn location(&self) -> String {
        (**self).location()
    }

    fn put_new(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        (**self).put_new(key, bytes)
    }

    fn replace_damaged(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        (**self).replace_damaged(key, bytes)
    }

    fn get(&self, key: &ObjectKey, max: u64) -> Result<Vec<u8>, StorageError> {
        (**self).get(key, max)
    }

    fn read_at(&self, key: &ObjectKey, offset: u64, len: usize) -> Result<Vec<u8>, StorageError> {
        (**self).read_at(key, offset, len)
    }

    fn len(&self, key: &ObjectKey) -> Result<u64, StorageError> {
        (**self).len(key)
    }

    fn list(&self, folder: Folder) -> Result<Vec<Listed>, StorageError> {
        (**self).list(folder)
    }

    fn names(&self, folder: Folder) -> Result<Vec<ObjectKey>, StorageError> {
        (**self).names(folder)
    }

    fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        (**self).delete(key)
    }

    fn folder_path(&self, folder: Folder) -> Option<PathBuf> {
        (**self).folder_path(folder)
    }

    fn temporaries(&self) -> Result<Vec<Temporary>, StorageError> {
        (**self).temporaries()
    }

    fn delete_temporary(&self, name: &str) -> Result<bool, StorageError> {
        (**self).delete_temporary(name)
    }

    fn now(&self) -> Option<u64> {
        (**self).now()
    }
}
