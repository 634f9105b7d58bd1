//! What every storage must do, as one check that each implementation's tests run.

use super::{Storage, StorageError};
use crate::format::{Folder, KeyId, ObjectKey, PackId, PackKind, SegmentId, SnapshotId};

/// Walks an empty storage through every promise of the trait.
pub(crate) fn check(storage: &dyn Storage) {
    objects_are_written_once(storage);
    reads_are_exact(storage);
    damaged_objects_are_replaced(storage);
    listings_are_sorted_and_complete(storage);
    for key in keys() {
        storage.delete(&key).unwrap();
        assert!(storage.delete(&key).unwrap_err().is_not_found());
        assert!(storage.len(&key).unwrap_err().is_not_found());
        assert!(storage.read_at(&key, 0, 0).unwrap_err().is_not_found());
        assert!(storage.get(&key, 9).unwrap_err().is_not_found());
    }
    for folder in Folder::ALL {
        assert_eq!(storage.list(folder).unwrap(), []);
    }
}

/// One of each kind, and more than one where folders nest.
fn keys() -> Vec<ObjectKey> {
    vec![
        ObjectKey::Config,
        ObjectKey::Key(KeyId([1; 16])),
        ObjectKey::Beat(SnapshotId([2; 16]), 0),
        ObjectKey::Beat(SnapshotId([2; 16]), 10),
        ObjectKey::Beat(SnapshotId([1; 16]), 9),
        ObjectKey::Snapshot(SnapshotId([2; 16])),
        ObjectKey::Segment(SegmentId([3; 32])),
        ObjectKey::Pack(PackKind::Meta, PackId([4; 32])),
        ObjectKey::Pack(PackKind::Data, PackId([0xff; 32])),
        ObjectKey::Pack(PackKind::Data, PackId([4; 32])),
        ObjectKey::Pack(PackKind::Data, PackId([5; 32])),
    ]
}

fn objects_are_written_once(storage: &dyn Storage) {
    for key in keys() {
        let content = key.to_string();
        storage.put_new(&key, content.as_bytes()).unwrap();
        assert!(storage.put_new(&key, b"other").unwrap_err().is_already_exists());
        assert_eq!(storage.get(&key, 999).unwrap(), content.as_bytes());
        assert_eq!(storage.len(&key).unwrap(), content.len() as u64);
    }
}

fn damaged_objects_are_replaced(storage: &dyn Storage) {
    let key = ObjectKey::Pack(PackKind::Data, PackId([4; 32]));
    let content = storage.get(&key, 999).unwrap();
    assert_eq!(storage.read_at(&key, 0, 2).unwrap(), b"da");
    storage.replace_damaged(&key, b"other").unwrap();
    assert_eq!(storage.read_at(&key, 0, 5).unwrap(), b"other");
    assert_eq!(storage.len(&key).unwrap(), 5);
    storage.replace_damaged(&key, &content).unwrap();
    assert_eq!(storage.get(&key, 999).unwrap(), content);
    assert_eq!(storage.read_at(&key, 0, 2).unwrap(), b"da");
    let absent = ObjectKey::Pack(PackKind::Data, PackId([9; 32]));
    assert!(storage.replace_damaged(&absent, b"x").unwrap_err().is_not_found());
    assert!(storage.len(&absent).unwrap_err().is_not_found());
}

fn reads_are_exact(storage: &dyn Storage) {
    let key = ObjectKey::Config;
    assert_eq!(storage.get(&key, 6).unwrap(), b"config");
    assert!(matches!(
        storage.get(&key, 5),
        Err(StorageError::TooLong { object: ObjectKey::Config, len: 6, max: 5 })
    ));
    assert_eq!(storage.read_at(&key, 1, 3).unwrap(), b"onf");
    assert_eq!(storage.read_at(&key, 6, 0).unwrap(), b"");
    for (offset, len) in [(4, 3), (7, 0), (0, usize::MAX), (u64::MAX, 1), (u64::MAX, usize::MAX)] {
        let err = storage.read_at(&key, offset, len).unwrap_err();
        assert!(matches!(err, StorageError::Short { len: 6, .. }), "{offset} {len}: {err}");
    }
}

fn listings_are_sorted_and_complete(storage: &dyn Storage) {
    let mut found = Vec::new();
    for folder in Folder::ALL {
        let listed = storage.list(folder).unwrap();
        assert!(listed.is_sorted_by(|a, b| a.name < b.name), "{listed:?}");
        let keys: Vec<_> = listed.iter().filter_map(|entry| entry.key).collect();
        assert_eq!(storage.names(folder).unwrap(), keys);
        for entry in listed {
            assert_eq!(entry.key.map(|key| key.to_string()).as_ref(), Some(&entry.name));
            assert_eq!(entry.len, entry.name.len() as u64);
            found.extend(entry.key);
        }
    }
    let mut expected = keys();
    expected.retain(|key| *key != ObjectKey::Config);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}
