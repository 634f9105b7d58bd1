//! A repository in a folder of a local or network file system.
//!
//! Objects are plain files under their own names, so `ls`, `b3sum` and `rsync` work on a
//! repository. Writing is [`crate::fsutil`]'s durable write; subfolders are made when first
//! needed and synced once per process.
//!
//! What must stay true: an object's folder is durable before the object; after a write whose
//! outcome is unknown (a failed write or fsync, for the kernel may drop dirty pages and forget)
//! nothing more is written or deleted through this value; a length from outside is compared with
//! the file's before anything is allocated; no lock is held over I/O.
//!
//! The root stays open as long as the storage, so that its file system cannot be unmounted and
//! new folders never land in the empty mount point below.

mod temporaries;

use std::{
    collections::HashSet,
    fs::{self, DirEntry, File},
    io,
    num::NonZeroUsize,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use lru::LruCache;

use super::{Listed, Storage, StorageError, Temporary};
use crate::sync::lock;
use crate::{
    format::{Folder, ObjectKey},
    fsutil::{self, NoSteps, WriteFailure, WriteStep, WriteSteps},
};

/// Packs kept open: enough for the threads of a mount, far below any limit of open files. Space
/// of a pruned pack is free only once its handle has gone.
const OPEN_PACKS_MAX: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// Who deletes temporary files is a prune, once their writer was silent for too long.
const TEMPORARY_GONE: &str = "its temporary file was deleted: a prune took this writer for dead, for \
                              it was silent for so long that its session had expired; run it again";

/// Objects as files below a root folder.
#[derive(Debug)]
pub struct LocalStorage {
    root: PathBuf,
    /// Keeps the file system mounted.
    _root_handle: File,
    steps: Arc<dyn WriteSteps>,
    poisoned: AtomicBool,
    /// Subfolders known to be durable, as paths below the root.
    folders: Mutex<HashSet<PathBuf>>,
    packs: Mutex<LruCache<ObjectKey, Arc<OpenFile>>>,
}

/// Immutable once published, so the length at opening stays right.
#[derive(Debug)]
struct OpenFile {
    file: File,
    len: u64,
}

impl LocalStorage {
    /// Makes the folder (one level: a missing parent is more likely a disk that is not mounted)
    /// and the layout of a repository in it.
    ///
    /// `AlreadyExists` where a repository stands; an error of kind `DirectoryNotEmpty` where
    /// anything else does. Left-overs of an interrupted `create` are no obstacle.
    pub fn create(root: &Path) -> Result<Self, StorageError> {
        let fail = |source| io_error("create", "the repository", root, source);
        fsutil::create_dir_durable(root).map_err(fail)?;
        check_vacant(root).map_err(fail)?;
        let storage = Self::open(root)?;
        if storage.root.join(ObjectKey::Config.to_string()).exists() {
            return Err(StorageError::AlreadyExists { object: ObjectKey::Config });
        }
        for folder in Folder::ALL {
            storage
                .ensure_folder(Path::new(folder.name()))
                .map_err(|failure| fail(failure.source))?;
        }
        Ok(storage)
    }

    /// Opens an existing folder; whether it holds a repository is for the reader of `config` to
    /// say. `NotFound` (of `config`) where there is no folder.
    pub fn open(root: &Path) -> Result<Self, StorageError> {
        let open = || -> io::Result<_> {
            let root = root.canonicalize()?;
            let handle = File::open(&root)?;
            if handle.metadata()?.is_dir() {
                Ok((root, handle))
            } else {
                Err(io::ErrorKind::NotADirectory.into())
            }
        };
        let (root, handle) = open().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StorageError::NotFound { object: ObjectKey::Config },
            _ => io_error("open", "the repository", root, source),
        })?;
        Ok(Self {
            root,
            _root_handle: handle,
            steps: Arc::new(NoSteps),
            poisoned: AtomicBool::new(false),
            folders: Mutex::default(),
            packs: Mutex::new(LruCache::new(OPEN_PACKS_MAX)),
        })
    }

    /// The same storage, announcing each step of its writes: for tests that stop one midway.
    #[must_use]
    pub fn with_steps(self, steps: Arc<dyn WriteSteps>) -> Self {
        Self { steps, ..self }
    }

    /// The root folder: absolute, without symbolic links.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.root.join(key.to_string())
    }

    fn io(&self, action: &'static str, what: impl ToString, source: io::Error) -> StorageError {
        io_error(action, what, &self.root, source)
    }

    fn object_error(
        &self,
        action: &'static str,
        key: &ObjectKey,
        source: io::Error,
    ) -> StorageError {
        match source.kind() {
            io::ErrorKind::NotFound => StorageError::NotFound { object: *key },
            _ => self.io(action, key, source),
        }
    }

    fn refuse_if_poisoned(&self) -> Result<(), StorageError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(StorageError::Poisoned { location: self.location() });
        }
        Ok(())
    }

    /// What a failed write means for this object and for all later ones.
    fn write_error(&self, key: &ObjectKey, failure: WriteFailure) -> StorageError {
        if failure.is_already_exists() {
            return StorageError::AlreadyExists { object: *key };
        }
        if failure.is_full() {
            let location = self.location();
            return StorageError::Full { object: *key, location, source: failure.source };
        }
        self.poisoned.store(true, Ordering::Release);
        let source = match failure.is_temporary_gone() {
            true => io::Error::new(io::ErrorKind::NotFound, TEMPORARY_GONE),
            false => failure.source,
        };
        self.io("write", key, source)
    }

    /// Makes a subfolder (a path below the root) and those above it, durable on return.
    fn ensure_folder(&self, folder: &Path) -> Result<(), WriteFailure> {
        if lock(&self.folders).contains(folder) {
            return Ok(());
        }
        match folder.parent() {
            Some(parent) if parent.as_os_str().is_empty() => {}
            Some(parent) => self.ensure_folder(parent)?,
            None => return Ok(()),
        }
        fsutil::create_dir_with(&*self.steps, &self.root.join(folder))?;
        lock(&self.folders).insert(folder.into());
        Ok(())
    }

    fn put_in_folder(&self, folder: &str, name: &str, bytes: &[u8]) -> Result<(), WriteFailure> {
        self.ensure_folder(Path::new(folder))?;
        let path = self.root.join(folder);
        match fsutil::write_new_with(&*self.steps, &path, name, bytes) {
            // Someone tidied the empty folder away since it was made.
            Err(failure) if failure.is_folder_missing() => {
                lock(&self.folders).clear();
                self.ensure_folder(Path::new(folder))?;
                fsutil::write_new_with(&*self.steps, &path, name, bytes)
            }
            other => other,
        }
    }

    fn open_object(&self, key: &ObjectKey) -> Result<OpenFile, StorageError> {
        let open = || -> io::Result<_> {
            let file = File::open(self.path(key))?;
            let len = file.metadata()?.len();
            Ok(OpenFile { file, len })
        };
        open().map_err(|err| self.object_error("read", key, err))
    }

    /// The object, from the open packs where it is one. Two threads may open the same pack at
    /// once; that costs less than a lock held over `open`.
    fn opened(&self, key: &ObjectKey) -> Result<Arc<OpenFile>, StorageError> {
        if !matches!(key, ObjectKey::Pack(..)) {
            return self.open_object(key).map(Arc::new);
        }
        if let Some(open) = lock(&self.packs).get(key) {
            return Ok(Arc::clone(open));
        }
        let open = Arc::new(self.open_object(key)?);
        // The one that falls out is closed after the lock is gone.
        let evicted = lock(&self.packs).push(*key, Arc::clone(&open));
        drop(evicted);
        Ok(open)
    }

    fn read_range(
        &self,
        key: &ObjectKey,
        open: &OpenFile,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, StorageError> {
        let end = offset.checked_add(len as u64);
        let short = |actual| StorageError::Short {
            object: *key,
            offset,
            end: end.unwrap_or(u64::MAX),
            len: actual,
        };
        if end.is_none_or(|end| end > open.len) {
            return Err(short(open.len));
        }
        let mut bytes = vec![0; len];
        match open.file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(bytes),
            // Cut short since it was opened: ask again how long it is.
            Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => {
                Err(short(open.file.metadata().map_or(offset, |meta| meta.len())))
            }
            Err(err) => Err(self.io("read", key, err)),
        }
    }

    fn remove(&self, key: &ObjectKey) -> io::Result<()> {
        self.steps.before(WriteStep::Delete)?;
        let path = self.path(key);
        fs::remove_file(&path)?;
        let Some(folder) = path.parent() else { return Ok(()) };
        self.steps.before(WriteStep::SyncFolder)?;
        fsutil::sync_dir(folder)?;
        let numbered =
            matches!(key, ObjectKey::Beat(..) | ObjectKey::Pin(..) | ObjectKey::Tags(..));
        // The folder of numbered objects goes with the last of them.
        if numbered
            && fs::remove_dir(folder).is_ok()
            && let Ok(below) = folder.strip_prefix(&self.root)
        {
            lock(&self.folders).remove(below);
        }
        Ok(())
    }
}

impl LocalStorage {
    /// Visits what is in a folder, but temporary files: its name below the root, and itself.
    fn visit(
        &self,
        folder: Folder,
        visit: &mut impl FnMut(&str, &DirEntry),
    ) -> Result<(), StorageError> {
        let depth = match folder {
            Folder::Data
            | Folder::Meta
            | Folder::Parity
            | Folder::Sessions
            | Folder::Tags
            | Folder::Pins => 1,
            Folder::Keys
            | Folder::Snapshots
            | Folder::Forgotten
            | Folder::Index
            | Folder::Gc
            | Folder::Ledger
            | Folder::Settings => 0,
        };
        let visited = walk(&self.root, folder.name(), depth, &mut |name, entry| {
            if !name.rsplit('/').next().is_some_and(fsutil::is_temporary) {
                visit(name, entry);
            }
        });
        visited.map_err(|err| self.io("list", folder.name(), err))
    }
}

impl Storage for LocalStorage {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn put_new(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        self.refuse_if_poisoned()?;
        let name = key.to_string();
        let (folder, name) = name.rsplit_once('/').unwrap_or(("", &name));
        self.put_in_folder(folder, name, bytes).map_err(|failure| self.write_error(key, failure))
    }

    fn replace_damaged(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        self.refuse_if_poisoned()?;
        // Behind links: packs may have been moved to another disk.
        let path = fs::canonicalize(self.path(key));
        let path = path.map_err(|err| self.object_error("replace", key, err))?;
        let (folder, name) = (path.parent(), path.file_name().and_then(|name| name.to_str()));
        let (Some(folder), Some(name)) = (folder, name) else {
            return Err(StorageError::NotFound { object: *key });
        };
        let replaced = fsutil::replace_with(&*self.steps, folder, name, bytes);
        // Whoever has the old file open reads the new one from now on.
        let open = lock(&self.packs).pop(key);
        drop(open);
        replaced.map_err(|failure| match failure.is_refused() {
            true => self.io("replace", key, failure.source),
            false => self.write_error(key, failure),
        })
    }

    fn get(&self, key: &ObjectKey, max: u64) -> Result<Vec<u8>, StorageError> {
        let open = self.open_object(key)?;
        // Whoever wants all of a pack doubts what was read of it: it may have been replaced.
        let old = lock(&self.packs).pop(key);
        drop(old);
        let too_long = StorageError::TooLong { object: *key, len: open.len, max };
        match usize::try_from(open.len) {
            Ok(len) if open.len <= max => self.read_range(key, &open, 0, len),
            _ => Err(too_long),
        }
    }

    fn read_at(&self, key: &ObjectKey, offset: u64, len: usize) -> Result<Vec<u8>, StorageError> {
        let open = self.opened(key)?;
        self.read_range(key, &open, offset, len)
    }

    fn len(&self, key: &ObjectKey) -> Result<u64, StorageError> {
        match fs::metadata(self.path(key)) {
            Ok(meta) => Ok(meta.len()),
            Err(err) => Err(self.object_error("look up", key, err)),
        }
    }

    fn list(&self, folder: Folder) -> Result<Vec<Listed>, StorageError> {
        let mut listed = Vec::new();
        self.visit(folder, &mut |name, entry| {
            // Follows links: packs may have been moved to another disk. What is no file has no
            // length.
            let (is_file, len, written) = match fs::metadata(entry.path()) {
                Ok(meta) if meta.is_file() => (true, meta.len(), u64::try_from(meta.mtime()).ok()),
                Ok(_) => (false, 0, None),
                // Deleted since the folder was read, unless it is a dangling link.
                Err(_) if entry.path().is_symlink() => (false, 0, None),
                Err(_) => return,
            };
            let key = ObjectKey::parse(name).filter(|_| is_file);
            listed.push(Listed { name: name.into(), key, len, written });
        })?;
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    fn names(&self, folder: Folder) -> Result<Vec<ObjectKey>, StorageError> {
        let mut names = Vec::new();
        self.visit(folder, &mut |name, entry| {
            let Some(key) = ObjectKey::parse(name) else { return };
            let is_file = match entry.file_type() {
                Ok(kind) if kind.is_symlink() => entry.path().is_file(),
                Ok(kind) => kind.is_file(),
                Err(_) => false,
            };
            if is_file {
                names.push((name.to_owned(), key));
            }
        })?;
        names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(names.into_iter().map(|(_, key)| key).collect())
    }

    fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.refuse_if_poisoned()?;
        let open = lock(&self.packs).pop(key);
        drop(open);
        self.remove(key).map_err(|err| self.object_error("delete", key, err))
    }

    fn folder_path(&self, folder: Folder) -> Option<PathBuf> {
        Some(self.root.join(folder.name()))
    }

    fn temporaries(&self) -> Result<Vec<Temporary>, StorageError> {
        self.list_temporaries()
    }

    fn delete_temporary(&self, name: &str) -> Result<bool, StorageError> {
        self.refuse_if_poisoned()?;
        self.remove_temporary(name)
    }

    fn now(&self) -> Option<u64> {
        fsutil::clock_of(&self.root).ok()
    }
}

fn io_error(
    action: &'static str,
    what: impl ToString,
    root: &Path,
    source: io::Error,
) -> StorageError {
    let location = root.display().to_string();
    StorageError::Io { action, what: what.to_string(), location, source }
}

/// A new repository may share its folder with nothing but what `create` itself makes, and the
/// `lost+found` of a fresh file system.
fn check_vacant(root: &Path) -> io::Result<()> {
    let config = ObjectKey::Config.to_string();
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let ours = name == config
            || name == "lost+found"
            || fsutil::is_temporary(&name)
            || Folder::ALL.iter().any(|folder| folder.name() == name);
        if !ours {
            let what = format!("the folder is not empty, it holds {name:?}");
            return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, what));
        }
    }
    Ok(())
}

/// Visits what stands in `folder` (a path below `root`, empty for the root itself) and `depth`
/// levels of folders below it. A missing folder is empty.
fn walk(
    root: &Path,
    folder: &str,
    depth: u32,
    visit: &mut impl FnMut(&str, &DirEntry),
) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(folder)) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err),
    };
    for entry in entries {
        let entry = entry?;
        let last = entry.file_name();
        let last = last.to_string_lossy();
        let name = if folder.is_empty() { last.into() } else { format!("{folder}/{last}") };
        if depth > 0 && is_folder(&entry) {
            walk(root, &name, depth - 1, visit)?;
        } else {
            visit(&name, &entry);
        }
    }
    Ok(())
}

/// Whether it is a folder or leads to one.
fn is_folder(entry: &DirEntry) -> bool {
    match entry.file_type() {
        Ok(kind) if !kind.is_symlink() => kind.is_dir(),
        _ => entry.path().is_dir(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        format::{KeyId, PackId, PackKind, SnapshotId},
        storage::{CutSteps, conformance},
    };

    const PACK: ObjectKey = ObjectKey::Pack(PackKind::Data, PackId([7; 32]));

    fn created() -> (tempfile::TempDir, LocalStorage) {
        let dir = tempfile::tempdir().unwrap();
        let storage = LocalStorage::create(dir.path()).unwrap();
        (dir, storage)
    }

    #[test]
    fn keeps_the_promises_of_storage() {
        let (_dir, storage) = created();
        conformance::check(&storage);
    }

    #[test]
    fn create_refuses_foreign_folders_and_repositories() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("lost+found")).unwrap();
        let storage = LocalStorage::create(dir.path()).unwrap();
        LocalStorage::create(dir.path()).expect("an interrupted create can be repeated");
        storage.put_new(&ObjectKey::Config, b"x").unwrap();
        assert!(LocalStorage::create(dir.path()).unwrap_err().is_already_exists());

        let foreign = tempfile::tempdir().unwrap();
        fs::write(foreign.path().join("thesis.tex"), "").unwrap();
        let err = LocalStorage::create(foreign.path()).unwrap_err();
        let source = std::error::Error::source(&err).unwrap().to_string();
        assert_eq!(source, "the folder is not empty, it holds \"thesis.tex\"");
        assert_eq!(fs::read_dir(foreign.path()).unwrap().count(), 1);
        assert!(LocalStorage::create(&foreign.path().join("a/b")).is_err());
    }

    #[test]
    fn open_tells_a_missing_folder_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        assert!(LocalStorage::open(&dir.path().join("gone")).unwrap_err().is_not_found());
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(LocalStorage::open(&file), Err(StorageError::Io { .. })));
    }

    #[test]
    fn strangers_are_listed_and_temporaries_are_not() {
        let (dir, storage) = created();
        storage.put_new(&PACK, b"pack").unwrap();
        let temporary = "data/07/.tmp-0123456789abcdef";
        fs::write(dir.path().join(temporary), "half").unwrap();
        fs::write(dir.path().join("data/note"), "12345").unwrap();
        fs::create_dir(dir.path().join("keys/folder")).unwrap();
        let key = ObjectKey::Key(KeyId([1; 16]));
        fs::create_dir(dir.path().join(key.to_string())).unwrap();

        let name = |listed: &[Listed]| -> Vec<_> {
            listed.iter().map(|l| (l.name.clone(), l.key, l.len)).collect()
        };
        let data = storage.list(Folder::Data).unwrap();
        let expected = [(PACK.to_string(), Some(PACK), 4), ("data/note".into(), None, 5)];
        assert_eq!(name(&data), expected);
        let keys = storage.list(Folder::Keys).unwrap();
        assert_eq!(name(&keys), [(key.to_string(), None, 0), ("keys/folder".into(), None, 0)]);
        let found = storage.temporaries().unwrap();
        assert_eq!((found.len(), found[0].name.as_str(), found[0].len), (1, temporary, 4));
    }

    #[test]
    fn last_beat_takes_its_folder_along_and_a_new_one_brings_it_back() {
        let (dir, storage) = created();
        let [first, second] = [0, 1].map(|beat| ObjectKey::Beat(SnapshotId([2; 16]), beat));
        storage.put_new(&first, b"0").unwrap();
        storage.delete(&first).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("sessions")).unwrap().count(), 0);
        storage.put_new(&second, b"1").unwrap();
        // Removed behind this process's back.
        fs::remove_dir_all(dir.path().join("sessions")).unwrap();
        assert_eq!(storage.list(Folder::Sessions).unwrap(), []);
        storage.put_new(&first, b"0").unwrap();
        assert_eq!(storage.get(&first, 1).unwrap(), b"0");
    }

    #[test]
    fn more_packs_than_handles_read_right_and_deleted_ones_are_gone() {
        let (_dir, storage) = created();
        let packs: Vec<_> =
            (0..70).map(|n| ObjectKey::Pack(PackKind::Data, PackId([n; 32]))).collect();
        for (n, pack) in packs.iter().enumerate() {
            storage.put_new(pack, &[n as u8; 9]).unwrap();
        }
        for _ in 0..2 {
            for (n, pack) in packs.iter().enumerate() {
                assert_eq!(storage.read_at(pack, 3, 2).unwrap(), [n as u8; 2]);
            }
        }
        assert_eq!(lock(&storage.packs).len(), OPEN_PACKS_MAX.get());
        storage.delete(&packs[69]).unwrap();
        assert!(storage.read_at(&packs[69], 0, 1).unwrap_err().is_not_found());
    }

    #[test]
    fn file_cut_short_while_open_is_short() {
        let (dir, storage) = created();
        storage.put_new(&PACK, b"0123456789").unwrap();
        storage.read_at(&PACK, 0, 10).unwrap();
        let file = File::options().write(true).open(dir.path().join(PACK.to_string())).unwrap();
        file.set_len(4).unwrap();
        let err = storage.read_at(&PACK, 2, 5).unwrap_err();
        assert!(matches!(err, StorageError::Short { len: 4, offset: 2, end: 7, .. }), "{err}");
    }

    #[test]
    fn failed_write_poisons_and_reading_goes_on() {
        let (dir, storage) = created();
        storage.put_new(&ObjectKey::Config, b"x").unwrap();
        fs::write(dir.path().join("data/07"), "in the way").unwrap();
        assert!(matches!(storage.put_new(&PACK, b"x"), Err(StorageError::Io { .. })));
        let key = ObjectKey::Key(KeyId([1; 16]));
        assert!(matches!(storage.put_new(&key, b"x"), Err(StorageError::Poisoned { .. })));
        let err = storage.delete(&ObjectKey::Config).unwrap_err();
        assert!(matches!(err, StorageError::Poisoned { .. }));
        assert_eq!(storage.get(&ObjectKey::Config, 1).unwrap(), b"x");
    }

    #[test]
    fn wherever_a_put_is_cut_the_object_is_whole_or_absent() {
        let mut published = 0;
        for cut in 0.. {
            let (dir, storage) = created();
            let steps = Arc::new(CutSteps::new(cut));
            let storage = storage.with_steps(steps.clone());
            let put = storage.put_new(&PACK, b"whole");
            // What the next process finds.
            let after = LocalStorage::open(dir.path()).unwrap();
            match after.get(&PACK, 99) {
                Ok(bytes) => assert_eq!(bytes, b"whole"),
                Err(err) => assert!(err.is_not_found() && put.is_err(), "{err}"),
            }
            published += usize::from(after.len(&PACK).is_ok());
            assert!(after.list(Folder::Data).unwrap().iter().all(|l| l.key == Some(PACK)));
            let again = after.put_new(&PACK, b"whole");
            assert!(again.is_ok() || again.is_err_and(|err| err.is_already_exists()));
            if put.is_ok() {
                // data/07, its sync, and five for the file.
                assert_eq!((cut, steps.taken()), (7, 7));
                break;
            }
        }
        assert_eq!(published, 2, "once the name was given, and at the end");
    }
}
