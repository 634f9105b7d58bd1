//! A storage that moves at most so many bytes a second each way.
//!
//! Each transfer first waits until those before it have had their time. So the average holds from the
//! first byte on, whatever the sizes, and several threads share one limit. Listings and deletions are
//! not counted. Whoever was interrupted waits no longer: what is under way is finished at once.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Listed, Storage, StorageError, Temporary};
use crate::format::{Folder, ObjectKey};
use crate::sync::lock;

/// Most bytes a second; `None` is without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Of objects written.
    pub upload: Option<NonZeroU64>,
    /// Of objects read.
    pub download: Option<NonZeroU64>,
}

/// How often a waiting transfer looks whether it was interrupted.
const LOOK: Duration = Duration::from_millis(50);

/// One direction.
#[derive(Debug)]
struct Pace {
    rate: Option<NonZeroU64>,
    /// When the transfers so far will have had their time.
    free_at: Mutex<Instant>,
    interrupted: Arc<AtomicBool>,
}

impl Pace {
    fn new(rate: Option<NonZeroU64>, interrupted: &Arc<AtomicBool>) -> Self {
        let interrupted = Arc::clone(interrupted);
        Self { rate, free_at: Mutex::new(Instant::now()), interrupted }
    }

    /// Returns when `bytes` more may be under way.
    fn wait(&self, bytes: u64) {
        let Some(rate) = self.rate else { return };
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let until = {
            let mut free_at = lock(&self.free_at);
            *free_at = (*free_at).max(Instant::now()).checked_add(time).unwrap_or(*free_at);
            *free_at
        };
        while !self.interrupted.load(Ordering::Relaxed) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }
}

/// Another storage, slowed down.
#[derive(Debug)]
pub struct LimitedStorage<S> {
    inner: S,
    upload: Pace,
    download: Pace,
}

impl<S: Storage> LimitedStorage<S> {
    /// Slows `inner` down, until `interrupted` is set.
    pub fn new(inner: S, limits: Limits, interrupted: Arc<AtomicBool>) -> Self {
        let pace = |rate| Pace::new(rate, &interrupted);
        Self { inner, upload: pace(limits.upload), download: pace(limits.download) }
    }
}

impl<S: Storage> Storage for LimitedStorage<S> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put_new(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        self.upload.wait(bytes.len() as u64);
        self.inner.put_new(key, bytes)
    }

    fn replace_damaged(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        self.upload.wait(bytes.len() as u64);
        self.inner.replace_damaged(key, bytes)
    }

    fn get(&self, key: &ObjectKey, max: u64) -> Result<Vec<u8>, StorageError> {
        let bytes = self.inner.get(key, max)?;
        self.download.wait(bytes.len() as u64);
        Ok(bytes)
    }

    fn read_at(&self, key: &ObjectKey, offset: u64, len: usize) -> Result<Vec<u8>, StorageError> {
        let bytes = self.inner.read_at(key, offset, len)?;
        self.download.wait(bytes.len() as u64);
        Ok(bytes)
    }

    fn len(&self, key: &ObjectKey) -> Result<u64, StorageError> {
        self.inner.len(key)
    }

    fn list(&self, folder: Folder) -> Result<Vec<Listed>, StorageError> {
        self.inner.list(folder)
    }

    fn names(&self, folder: Folder) -> Result<Vec<ObjectKey>, StorageError> {
        self.inner.names(folder)
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
    use crate::format::SnapshotId;
    use crate::storage::{MemoryStorage, conformance};

    fn limited(rate: u64) -> (LimitedStorage<MemoryStorage>, Arc<AtomicBool>) {
        let interrupted = Arc::new(AtomicBool::new(false));
        let limits = Limits { upload: NonZeroU64::new(rate), download: NonZeroU64::new(rate) };
        let storage =
            LimitedStorage::new(MemoryStorage::default(), limits, Arc::clone(&interrupted));
        (storage, interrupted)
    }

    #[test]
    fn transfers_take_their_time_and_threads_share_it() {
        let (storage, _) = limited(1_000_000);
        let started = Instant::now();
        std::thread::scope(|scope| {
            for n in 0..4 {
                let storage = &storage;
                let put =
                    move || storage.put_new(&ObjectKey::Beat(SnapshotId([n; 16]), 0), &[n; 50_000]);
                scope.spawn(move || put().unwrap());
            }
        });
        assert!(started.elapsed() >= Duration::from_millis(200));
        let started = Instant::now();
        let object = ObjectKey::Beat(SnapshotId([1; 16]), 0);
        assert_eq!(storage.get(&object, 50_000).unwrap().len(), 50_000);
        assert_eq!(storage.read_at(&object, 0, 50_000).unwrap().len(), 50_000);
        assert!(started.elapsed() >= Duration::from_millis(100));
    }

    #[test]
    fn whoever_is_interrupted_waits_no_longer() {
        let (storage, interrupted) = limited(1);
        interrupted.store(true, Ordering::Relaxed);
        storage.put_new(&ObjectKey::Config, &[0; 1 << 20]).unwrap();
        assert_eq!(storage.len(&ObjectKey::Config).unwrap(), 1 << 20);
    }

    #[test]
    fn it_is_a_storage() {
        let (storage, _) = limited(1 << 40);
        conformance::check(&storage);
    }
}
