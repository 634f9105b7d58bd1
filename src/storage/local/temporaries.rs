//! Temporary files: what a write leaves that is stopped before its file has its name.
//!
//! Whoever deletes one that is still being written makes that write fail, and nothing else: its last
//! step, which gives the name, finds no file. How old one must be is not known here.

use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::{StorageError, Temporary};
use super::{LocalStorage, walk};
use crate::format::Folder;
use crate::fsutil;

/// Folders that have one for each session, snapshot or reader, which goes with the last in it.
const NUMBERED: [Folder; 3] = [Folder::Sessions, Folder::Tags, Folder::Pins];

impl LocalStorage {
    /// All of them, sorted by name.
    pub(super) fn list_temporaries(&self) -> Result<Vec<Temporary>, StorageError> {
        let mut found = Vec::new();
        let mut keep = |name: &str, entry: &DirEntry| {
            if !name.rsplit('/').next().is_some_and(fsutil::is_temporary) {
                return;
            }
            // One that is gone by now has its name.
            if let Ok(meta) = entry.metadata()
                && meta.is_file()
            {
                let written = u64::try_from(meta.mtime()).ok();
                found.push(Temporary { name: name.to_owned(), len: meta.len(), written });
            }
        };
        walk(&self.root, "", 0, &mut keep).map_err(|err| self.io("list", ".", err))?;
        for folder in Folder::ALL {
            walk(&self.root, folder.name(), 1, &mut keep)
                .map_err(|err| self.io("list", folder.name(), err))?;
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Removes one; `false` where it is gone, or is none.
    pub(super) fn remove_temporary(&self, name: &str) -> Result<bool, StorageError> {
        let path = Path::new(name);
        let is_temporary =
            path.file_name().and_then(|it| it.to_str()).is_some_and(fsutil::is_temporary);
        if !is_temporary || path.components().any(|part| part.as_os_str() == "..") {
            return Ok(false);
        }
        match fs::remove_file(self.root.join(path)) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
            result => result.map_err(|err| self.io("delete", name, err))?,
        }
        let above = path.parent().and_then(Path::parent);
        if NUMBERED.iter().any(|folder| above == Some(Path::new(folder.name())))
            && let Some(folder) = path.parent()
        {
            // Not where something else is in it. A writer that wants it makes it again.
            let _ = fs::remove_dir(self.root.join(folder));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::format::{ObjectKey, PackId, PackKind};
    use crate::fsutil::{WriteStep, WriteSteps};
    use crate::storage::Storage;

    /// Deletes all temporary files before a step.
    #[derive(Debug)]
    struct Deleting {
        storage: LocalStorage,
        at: WriteStep,
        deleted: Mutex<u64>,
    }

    impl WriteSteps for Deleting {
        fn before(&self, step: WriteStep) -> io::Result<()> {
            if step == self.at {
                for found in self.storage.temporaries().unwrap() {
                    *self.deleted.lock().unwrap() +=
                        u64::from(self.storage.delete_temporary(&found.name).unwrap());
                }
            }
            Ok(())
        }
    }

    #[test]
    fn a_write_whose_temporary_file_is_deleted_fails_and_gives_no_object() {
        for (at, works) in [
            (WriteStep::Write, false),
            (WriteStep::SyncFile, false),
            (WriteStep::Rename, false),
            (WriteStep::SyncFolder, true),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("r");
            let storage = LocalStorage::create(&root).unwrap();
            let steps = Arc::new(Deleting { storage, at, deleted: Mutex::default() });
            let writer = LocalStorage::open(&root).unwrap().with_steps(steps.clone());
            let pack = ObjectKey::Pack(PackKind::Data, PackId([7; 32]));
            let put = writer.put_new(&pack, b"pack");
            assert_eq!(put.is_ok(), works, "{at:?}");
            let said = put.err().map(|err| crate::units::chain(&err)).unwrap_or_default();
            assert_eq!(said.contains("run it again"), !works, "{at:?}: {said}");
            assert_eq!(steps.storage.len(&pack).is_ok(), works, "{at:?}");
            assert_eq!(*steps.deleted.lock().unwrap(), u64::from(!works), "{at:?}");
        }
    }

    #[test]
    fn nothing_else_is_deleted_and_empty_folders_of_sessions_go() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("r");
        let storage = LocalStorage::create(&root).unwrap();
        fs::write(root.join("config"), "x").unwrap();
        for name in ["config", "data/../.tmp-0123456789abcdef", "data/.tmp-0123456789abcdef"] {
            assert!(!storage.delete_temporary(name).unwrap(), "{name}");
        }
        fs::create_dir(root.join("sessions/one")).unwrap();
        for name in ["sessions/one/.tmp-0123456789abcdef", ".tmp-fedcba9876543210"] {
            fs::write(root.join(name), "half").unwrap();
        }
        let found = storage.temporaries().unwrap();
        assert_eq!(found.iter().map(|it| it.len).collect::<Vec<_>>(), [4, 4]);
        for found in found {
            assert!(storage.delete_temporary(&found.name).unwrap());
        }
        assert!(!root.join("sessions/one").exists() && root.join("config").exists());
        assert_eq!(storage.temporaries().unwrap(), []);
        let now = u64::try_from(crate::clock::now().secs).unwrap();
        assert!(storage.now().unwrap().abs_diff(now) < 60, "{:?}", storage.now());
        assert_eq!(storage.temporaries().unwrap(), [], "the clock leaves nothing");
    }
}
