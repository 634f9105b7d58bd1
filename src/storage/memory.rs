//! A storage in memory, for tests and protocol checks.
//!
//! It keeps the trait's promises exactly (create-only, whole objects, sorted listings), and lets
//! a test do what no caller can: damage an object, or take the whole state as it would be found
//! after a crash at this moment and go on from a copy of it.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::{Listed, Storage, StorageError};
use crate::format::{Folder, ObjectKey};

/// All objects of a storage; a clone shares their bytes.
pub type Objects = BTreeMap<ObjectKey, Arc<Vec<u8>>>;

/// Objects in a map. Clone an [`Arc`] of it to share it, [`Self::snapshot`] to copy it.
#[derive(Default)]
pub struct MemoryStorage {
    objects: RwLock<Objects>,
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStorage({} objects)", self.read().len())
    }
}

impl From<Objects> for MemoryStorage {
    fn from(objects: Objects) -> Self {
        Self { objects: RwLock::new(objects) }
    }
}

impl MemoryStorage {
    /// An empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state at this moment, cheap: a crash image to start another storage from.
    #[must_use]
    pub fn snapshot(&self) -> Objects {
        self.read().clone()
    }

    /// Changes an object's bytes in place, as bit rot would; images taken before keep theirs.
    /// `false` where there is no such object.
    pub fn corrupt(&self, key: &ObjectKey, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut objects = self.write();
        let Some(bytes) = objects.get_mut(key) else { return false };
        change(Arc::make_mut(bytes));
        true
    }

    fn read(&self) -> RwLockReadGuard<'_, Objects> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Objects> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn object(&self, key: &ObjectKey) -> Result<Arc<Vec<u8>>, StorageError> {
        self.read().get(key).cloned().ok_or(StorageError::NotFound { object: *key })
    }
}

impl Storage for MemoryStorage {
    fn location(&self) -> String {
        "memory".into()
    }

    fn put_new(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        match self.write().entry(*key) {
            Entry::Occupied(_) => Err(StorageError::AlreadyExists { object: *key }),
            Entry::Vacant(entry) => {
                entry.insert(Arc::new(bytes.to_vec()));
                Ok(())
            }
        }
    }

    fn replace_damaged(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        match self.write().get_mut(key) {
            Some(there) => {
                *there = Arc::new(bytes.to_vec());
                Ok(())
            }
            None => Err(StorageError::NotFound { object: *key }),
        }
    }

    fn get(&self, key: &ObjectKey, max: u64) -> Result<Vec<u8>, StorageError> {
        let bytes = self.object(key)?;
        let len = bytes.len() as u64;
        if len > max {
            return Err(StorageError::TooLong { object: *key, len, max });
        }
        Ok(bytes.to_vec())
    }

    fn read_at(&self, key: &ObjectKey, offset: u64, len: usize) -> Result<Vec<u8>, StorageError> {
        let bytes = self.object(key)?;
        let end = offset.saturating_add(len as u64);
        usize::try_from(offset)
            .ok()
            .and_then(|start| bytes.get(start..start.checked_add(len)?))
            .map(<[u8]>::to_vec)
            .ok_or(StorageError::Short { object: *key, offset, end, len: bytes.len() as u64 })
    }

    fn len(&self, key: &ObjectKey) -> Result<u64, StorageError> {
        Ok(self.object(key)?.len() as u64)
    }

    fn list(&self, folder: Folder) -> Result<Vec<Listed>, StorageError> {
        let prefix = format!("{}/", folder.name());
        let mut listed: Vec<_> = self
            .read()
            .iter()
            .map(|(key, bytes)| Listed {
                name: key.to_string(),
                key: Some(*key),
                len: bytes.len() as u64,
                written: None,
            })
            .filter(|entry| entry.name.starts_with(&prefix))
            .collect();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        match self.write().remove(key) {
            Some(_) => Ok(()),
            None => Err(StorageError::NotFound { object: *key }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::conformance;

    #[test]
    fn keeps_the_promises_of_storage() {
        conformance::check(&MemoryStorage::new());
        conformance::check(&Arc::new(MemoryStorage::new()));
    }

    #[test]
    fn damage_does_not_reach_images_taken_before() {
        let storage = MemoryStorage::new();
        storage.put_new(&ObjectKey::Config, b"abc").unwrap();
        let image = storage.snapshot();
        assert!(storage.corrupt(&ObjectKey::Config, |bytes| bytes[1] ^= 1));
        assert_eq!(storage.get(&ObjectKey::Config, 9).unwrap(), b"acc");
        let copy = MemoryStorage::from(image);
        assert_eq!(copy.get(&ObjectKey::Config, 9).unwrap(), b"abc");
        copy.delete(&ObjectKey::Config).unwrap();
        assert!(!copy.corrupt(&ObjectKey::Config, Vec::clear));
        assert_eq!(storage.len(&ObjectKey::Config).unwrap(), 3);
    }
}
