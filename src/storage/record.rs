//! A storage that remembers what was asked of it, for tests that hold the cost of an operation.
//!
//! The log has what was asked, whether or not it succeeded, in the order in which it was asked.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Listed, Storage, StorageError, Temporary};
use crate::format::{Folder, ObjectKey};

/// One call of a [`Storage`] method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `put_new` of `len` bytes.
    Put(ObjectKey, u64),
    /// `replace_damaged` with `len` bytes.
    Replace(ObjectKey, u64),
    /// `get` of at most `max` bytes.
    Get(ObjectKey, u64),
    /// `read_at`.
    ReadAt {
        /// The object.
        key: ObjectKey,
        /// First byte.
        offset: u64,
        /// Bytes.
        len: usize,
    },
    /// `len`.
    Len(ObjectKey),
    /// `list`.
    List(Folder),
    /// `delete`.
    Delete(ObjectKey),
}

impl Operation {
    /// The object; `None` for a listing.
    #[must_use]
    pub const fn key(&self) -> Option<ObjectKey> {
        match *self {
            Self::Put(key, _)
            | Self::Replace(key, _)
            | Self::Get(key, _)
            | Self::ReadAt { key, .. }
            | Self::Len(key)
            | Self::Delete(key) => Some(key),
            Self::List(_) => None,
        }
    }

    /// Whether this reads an object's bytes.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        matches!(self, Self::Get(..) | Self::ReadAt { .. })
    }
}

/// Logs each operation, then passes it on.
#[derive(Debug)]
pub struct RecordStorage<S> {
    inner: S,
    log: Mutex<Vec<Operation>>,
}

impl<S: Storage> RecordStorage<S> {
    /// With an empty log.
    pub const fn new(inner: S) -> Self {
        Self { inner, log: Mutex::new(Vec::new()) }
    }

    /// What was asked since the start, or since the last [`Self::take`].
    pub fn operations(&self) -> Vec<Operation> {
        self.log().clone()
    }

    /// The same, and empties the log.
    pub fn take(&self) -> Vec<Operation> {
        std::mem::take(&mut *self.log())
    }

    /// How many logged operations satisfy `which`.
    pub fn count(&self, which: impl Fn(&Operation) -> bool) -> usize {
        self.log().iter().filter(|operation| which(operation)).count()
    }

    /// The storage below.
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    fn log(&self) -> MutexGuard<'_, Vec<Operation>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Storage> Storage for RecordStorage<S> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put_new(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        self.log().push(Operation::Put(*key, bytes.len() as u64));
        self.inner.put_new(key, bytes)
    }

    fn replace_damaged(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        self.log().push(Operation::Replace(*key, bytes.len() as u64));
        self.inner.replace_damaged(key, bytes)
    }

    fn get(&self, key: &ObjectKey, max: u64) -> Result<Vec<u8>, StorageError> {
        self.log().push(Operation::Get(*key, max));
        self.inner.get(key, max)
    }

    fn read_at(&self, key: &ObjectKey, offset: u64, len: usize) -> Result<Vec<u8>, StorageError> {
        self.log().push(Operation::ReadAt { key: *key, offset, len });
        self.inner.read_at(key, offset, len)
    }

    fn len(&self, key: &ObjectKey) -> Result<u64, StorageError> {
        self.log().push(Operation::Len(*key));
        self.inner.len(key)
    }

    fn list(&self, folder: Folder) -> Result<Vec<Listed>, StorageError> {
        self.log().push(Operation::List(folder));
        self.inner.list(folder)
    }

    fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.log().push(Operation::Delete(*key));
        self.inner.delete(key)
    }

    fn folder_path(&self, folder: Folder) -> Option<std::path::PathBuf> {
        self.inner.folder_path(folder)
    }

    fn temporaries(&self) -> Result<Vec<Temporary>, StorageError> {
        self.inner.temporaries()
    }

    fn delete_temporary(&self, name: &str) -> Result<bool, StorageError> {
        self.inner.delete_temporary(name)
    }

    fn now(&self) -> Option<u64> {
        self.inner.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{MemoryStorage, conformance};

    #[test]
    fn keeps_the_promises_of_storage() {
        conformance::check(&RecordStorage::new(MemoryStorage::new()));
    }

    #[test]
    fn log_has_every_call_in_order_failed_ones_too() {
        let storage = RecordStorage::new(MemoryStorage::new());
        let key = ObjectKey::Config;
        storage.put_new(&key, b"abc").unwrap();
        storage.read_at(&key, 1, 9).unwrap_err();
        storage.list(Folder::Data).unwrap();
        assert_eq!(storage.count(Operation::is_read), 1);
        let expected = [
            Operation::Put(key, 3),
            Operation::ReadAt { key, offset: 1, len: 9 },
            Operation::List(Folder::Data),
        ];
        assert_eq!(storage.operations(), expected);
        assert_eq!(storage.take(), expected);
        assert_eq!(storage.operations(), []);
        assert_eq!(expected.map(|o| o.key()), [Some(key), Some(key), None]);
    }
}
