//! What reading a repository has cost so far: a few numbers that only grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::format::{Folder, ObjectKey};
use crate::storage::{Listed, Storage, StorageError, Temporary};

/// Numbers that threads add to; no order between them is kept.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    chunks: AtomicU64,
    blocks: AtomicU64,
    block_bytes: AtomicU64,
    reads: AtomicU64,
    read_bytes: AtomicU64,
    lists: AtomicU64,
    errors: AtomicU64,
}

/// What was read since a repository was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadCounts {
    /// Chunks and pages that were asked for where they are stored.
    pub chunks: u64,
    /// Blocks that were decoded, since no cache had them.
    pub blocks: u64,
    /// Their plain bytes.
    pub block_bytes: u64,
    /// Reads of the storage, listings and questions for a length left out.
    pub reads: u64,
    /// Bytes that these gave.
    pub read_bytes: u64,
    /// Listings of the storage.
    pub lists: u64,
    /// Questions to the storage that failed; that an object is not there is an answer.
    pub errors: u64,
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

impl Counters {
    /// A chunk is looked for in its block.
    pub(crate) fn chunk(&self) {
        add(&self.chunks, 1);
    }

    /// A block was decoded into so many bytes.
    pub(crate) fn block(&self, len: usize) {
        add(&self.blocks, 1);
        add(&self.block_bytes, len as u64);
    }

    pub(crate) fn now(&self) -> ReadCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReadCounts {
            chunks: get(&self.chunks),
            blocks: get(&self.blocks),
            block_bytes: get(&self.block_bytes),
            reads: get(&self.reads),
            read_bytes: get(&self.read_bytes),
            lists: get(&self.lists),
            errors: get(&self.errors),
        }
    }

    fn read(&self, result: Result<Vec<u8>, StorageError>) -> Result<Vec<u8>, StorageError> {
        add(&self.reads, 1);
        add(&self.read_bytes, result.as_ref().map_or(0, |bytes| bytes.len() as u64));
        self.failed(result)
    }

    fn failed<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        let is_failure = result.as_ref().is_err_and(|err| !err.is_not_found());
        add(&self.errors, is_failure.into());
        result
    }
}

/// Counts what is read, and passes everything on.
#[derive(Debug)]
pub(crate) struct CountedStorage {
    pub(crate) inner: Arc<dyn Storage>,
    pub(crate) counters: Arc<Counters>,
}

impl Storage for CountedStorage {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put_new(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        self.inner.put_new(key, bytes)
    }

    fn replace_damaged(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        self.inner.replace_damaged(key, bytes)
    }

    fn get(&self, key: &ObjectKey, max: u64) -> Result<Vec<u8>, StorageError> {
        self.counters.read(self.inner.get(key, max))
    }

    fn read_at(&self, key: &ObjectKey, offset: u64, len: usize) -> Result<Vec<u8>, StorageError> {
        self.counters.read(self.inner.read_at(key, offset, len))
    }

    fn len(&self, key: &ObjectKey) -> Result<u64, StorageError> {
        self.counters.failed(self.inner.len(key))
    }

    fn list(&self, folder: Folder) -> Result<Vec<Listed>, StorageError> {
        add(&self.counters.lists, 1);
        self.counters.failed(self.inner.list(folder))
    }

    fn names(&self, folder: Folder) -> Result<Vec<ObjectKey>, StorageError> {
        add(&self.counters.lists, 1);
        self.counters.failed(self.inner.names(folder))
    }

    fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
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
    use crate::storage::MemoryStorage;

    #[test]
    fn what_is_not_there_is_read_and_no_failure() {
        let counters = Arc::new(Counters::default());
        let inner = Arc::new(MemoryStorage::new());
        let storage = CountedStorage { inner, counters: Arc::clone(&counters) };
        storage.put_new(&ObjectKey::Config, b"abc").unwrap();
        storage.get(&ObjectKey::Config, 9).unwrap();
        storage.read_at(&ObjectKey::Config, 1, 9).unwrap_err();
        storage.list(Folder::Data).unwrap();
        storage.delete(&ObjectKey::Config).unwrap();
        storage.get(&ObjectKey::Config, 9).unwrap_err();
        let now = counters.now();
        assert_eq!((now.reads, now.read_bytes, now.lists, now.errors), (3, 3, 1, 1));
    }
}
