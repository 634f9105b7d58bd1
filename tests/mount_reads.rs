//! What reading through a mount costs of the storage, and what becomes of it when the storage
//! fails: each block is read once, damage stays where it is, and nothing waits for what hangs.

#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod mount_tree;

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use icecore as lib;
use icecore::format::pack::TRAILER_LEN;
use icecore::format::{Folder, ObjectKey, PackKind};
use icecore::fuse::{self, MountOptions, Mounted, Readers};
use icecore::repo::{InitOptions, OpenOptions, Repository};
use icecore::storage::{Listed, MemoryStorage, Operation, RecordStorage, Storage, StorageError};

use mount_tree::{Item, Piece, What, commit};

/// What is wrong with reads of data packs at the moment.
#[derive(Debug, Default)]
enum Trouble {
    #[default]
    None,
    /// Those that touch one of these bytes, by pack, fail.
    Bad(Vec<(ObjectKey, std::ops::Range<u64>)>),
    /// All objects of content are gone.
    Gone,
    /// Reads of content do not come back.
    Hangs,
}

/// A storage in memory with troubles.
#[derive(Debug, Default)]
struct Troubled {
    inner: MemoryStorage,
    trouble: Mutex<Trouble>,
    changed: Condvar,
    /// Whether it gives content only to those who answer a reader.
    answers_only: AtomicBool,
    /// Bytes of content that it gave.
    given: AtomicU64,
}

/// Whether this thread reads what nobody has asked for yet.
fn is_speculative() -> bool {
    let thread = thread::current();
    thread.name().is_some_and(|name| name.starts_with("ahead-") || name == "push")
}

impl Troubled {
    fn set(&self, trouble: Trouble) {
        *self.trouble.lock().unwrap() = trouble;
        self.changed.notify_all();
    }
}

impl Storage for Troubled {
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
        // The same medium, however it is asked.
        let len = usize::try_from(self.inner.len(key)?).unwrap();
        if len as u64 > max { self.inner.get(key, max) } else { self.read_at(key, 0, len) }
    }

    fn read_at(&self, key: &ObjectKey, offset: u64, len: usize) -> Result<Vec<u8>, StorageError> {
        if matches!(key, ObjectKey::Pack(PackKind::Data, _)) {
            if self.answers_only.load(Ordering::Relaxed) && is_speculative() {
                return Err(StorageError::NotFound { object: *key });
            }
            self.given.fetch_add(len as u64, Ordering::Relaxed);
            let trouble = self.trouble.lock().unwrap();
            let trouble = self.changed.wait_while(trouble, |now| matches!(now, Trouble::Hangs));
            let end = offset + len as u64;
            match &*trouble.unwrap() {
                Trouble::Gone => return Err(StorageError::NotFound { object: *key }),
                Trouble::Bad(bad)
                    if bad.iter().any(|(k, r)| k == key && offset < r.end && r.start < end) =>
                {
                    return Err(StorageError::Io {
                        action: "read",
                        what: key.to_string(),
                        location: self.location(),
                        source: std::io::Error::from_raw_os_error(libc::EIO),
                    });
                }
                _ => {}
            }
        }
        self.inner.read_at(key, offset, len)
    }

    fn len(&self, key: &ObjectKey) -> Result<u64, StorageError> {
        self.inner.len(key)
    }

    fn list(&self, folder: Folder) -> Result<Vec<Listed>, StorageError> {
        self.inner.list(folder)
    }

    fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.inner.delete(key)
    }
}

/// Bytes that do not shrink and differ from file to file.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

struct World {
    storage: Arc<RecordStorage<Troubled>>,
    mounted: Option<Mounted>,
    folder: tempfile::TempDir,
}

impl World {
    fn of(root: &Item) -> Self {
        Self::of_all(&[root])
    }

    fn of_all(roots: &[&Item]) -> Self {
        assert!(Path::new("/dev/fuse").exists(), "these tests need /dev/fuse");
        let storage = Arc::new(RecordStorage::new(Troubled::default()));
        Repository::init(&storage, None, "", InitOptions::default()).unwrap();
        let open = || Repository::open(storage.clone(), None, &OpenOptions::default()).unwrap();
        for (secs, root) in (1_795_349_045..).zip(roots) {
            commit(&open(), root, secs, &[]);
        }
        let folder = tempfile::tempdir().unwrap();
        let repo = Arc::new(open());
        let mounted = fuse::mount(repo, folder.path(), MountOptions::default()).unwrap();
        storage.take();
        Self { storage, mounted: Some(mounted), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("latest").join(name)
    }

    fn set(&self, trouble: Trouble) {
        self.storage.inner().set(trouble);
    }

    /// The ranges of data packs that were read, footers left out.
    fn blocks_read(&self) -> BTreeMap<ObjectKey, Vec<std::ops::Range<u64>>> {
        let mut found: BTreeMap<ObjectKey, Vec<_>> = BTreeMap::new();
        for operation in self.storage.operations() {
            let Operation::ReadAt { key, offset, len } = operation else { continue };
            let end = offset + len as u64;
            let trailer = self.storage.len(&key).unwrap() - TRAILER_LEN as u64;
            if matches!(key, ObjectKey::Pack(PackKind::Data, _)) && end < trailer {
                found.entry(key).or_default().push(offset..end);
            }
        }
        found
    }

    #[track_caller]
    fn assert_each_block_read_once(&self, bytes_min: u64) {
        let mut bytes = 0;
        for (pack, mut ranges) in self.blocks_read() {
            ranges.sort_by_key(|range| range.start);
            for two in ranges.windows(2) {
                assert!(two[0].end <= two[1].start, "{pack}: {:?} was read twice", two[1]);
            }
            bytes += ranges.iter().map(|range| range.end - range.start).sum::<u64>();
        }
        assert!(bytes >= bytes_min, "{bytes} bytes were read, the files have {bytes_min}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.storage.inner().set(Trouble::None);
        if let Some(mounted) = self.mounted.take() {
            let _ = mounted.unmount(Readers::Outlive);
            let _ = mounted.wait();
        }
    }
}

#[test]
fn reading_a_big_file_from_start_to_end_reads_each_block_once() {
    let content = noise(1, 40 << 20);
    let world = World::of(&Item::directory().with("big", Item::file(content.clone())));
    assert!(fs::read(world.path("big")).unwrap() == content);
    world.assert_each_block_read_once(40 << 20);
}

/// Directories of small files.
fn many(directories: u64, files: u64, len: usize) -> Item {
    let mut root = Item::directory();
    for d in 0..directories {
        let mut directory = Item::directory();
        for f in 0..files {
            directory.add(format!("{f:04}"), Item::file(noise(d * files + f, len)));
        }
        root.add(format!("d{d:02}"), directory);
    }
    root
}

#[test]
fn copying_many_small_files_reads_each_block_at_most_once() {
    let world = World::of(&many(12, 150, 6000));
    let copy = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .arg(world.path("."))
        .arg(copy.path().join("copy"))
        .status();
    assert!(copied.unwrap().success());
    for d in 0..12 {
        for f in 0..150 {
            let copied = fs::read(copy.path().join(format!("copy/d{d:02}/{f:04}"))).unwrap();
            assert!(copied == noise(d * 150 + f, 6000), "d{d:02}/{f:04}");
        }
    }
    world.assert_each_block_read_once(12 * 150 * 6000);
}

#[test]
fn listing_a_tree_reads_no_content() {
    let world = World::of(&many(12, 150, 3000));
    let mut find = std::process::Command::new("find");
    let listed = find.arg(world.path(".")).args(["-size", "+1c"]).output().unwrap();
    assert_eq!(listed.stdout.iter().filter(|&&byte| byte == b'\n').count(), 12 * 151 + 1);
    assert!(world.blocks_read().is_empty());
}

#[test]
fn comparing_two_snapshots_reads_no_directory_that_did_not_change() {
    let tree = |text: &str| {
        let changed = Item::directory().with("f", Item::file(noise(7, 9000)));
        let mut tree = many(6, 80, 20_000);
        tree.add("same", Item::directory().with("big", Item::file(noise(8, 20 << 20))));
        tree.add("changed", changed.with("g", Item::file(text.repeat(1000))));
        tree
    };
    let world = World::of_all(&[&tree("old"), &tree("new")]);
    // How far is read ahead before it is seen that nobody follows is up to the scheduler.
    let troubled = world.storage.inner();
    troubled.answers_only.store(true, Ordering::Relaxed);
    troubled.given.store(0, Ordering::Relaxed);
    let point = world.folder.path().join("snapshots");
    let snapshots = fs::read_dir(point).unwrap().map(|entry| entry.unwrap().path());
    let mut diff = std::process::Command::new("diff");
    let told = diff.arg("-rq").args(snapshots).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.ends_with("/changed/g differ\n") && told.lines().count() == 1, "{told}");
    let bytes = troubled.given.load(Ordering::Relaxed);
    // The blocks that hold what is in the directory that changed, on both sides; what does not
    // differ has 30 MB.
    assert!((1..4 << 20).contains(&bytes), "{bytes} bytes were read");
}

#[test]
fn a_huge_file_opens_and_reads_anywhere_in_a_few_reads() {
    const PIECES: u64 = 2000;
    const HOLE: u64 = 100 << 20;
    let data = noise(9, 4096);
    let pieces = (0..PIECES).flat_map(|_| [Piece::Hole(HOLE), Piece::Data(data.clone())]);
    let huge = Item::new(What::File(pieces.collect()));
    let world = World::of(&Item::directory().with("huge", huge));
    let file = File::open(world.path("huge")).unwrap();
    let size = file.metadata().unwrap().len();
    assert_eq!(size, PIECES * (HOLE + 4096));
    let mut page = vec![1; 4096];
    for piece in [PIECES - 1, 0, PIECES / 2] {
        let start = piece * (HOLE + 4096);
        file.read_exact_at(&mut page, start).unwrap();
        assert!(page.iter().all(|&byte| byte == 0));
        file.read_exact_at(&mut page, start + HOLE).unwrap();
        assert!(page == data);
    }
    let reads = world.storage.operations().len();
    assert!(reads <= 24, "{reads} reads of the storage for a file of {size} bytes");
}

/// Reads page by page; pages that are other than they should be, and those that fail.
fn pages(file: &File, content: &[u8]) -> (HashSet<u64>, HashSet<u64>) {
    let (mut wrong, mut failed) = (HashSet::new(), HashSet::new());
    for (number, page) in content.chunks(4096).enumerate() {
        let mut read = vec![0; page.len()];
        match file.read_exact_at(&mut read, number as u64 * 4096) {
            Ok(()) if read == page => {}
            Ok(()) => drop(wrong.insert(number as u64)),
            Err(err) => {
                assert_eq!(err.raw_os_error(), Some(libc::EIO), "page {number}: {err}");
                failed.insert(number as u64);
            }
        }
    }
    (wrong, failed)
}

#[test]
fn bad_range_is_an_error_there_only_and_heals_with_the_storage() {
    let content = noise(2, 6 << 20);
    let world = World::of(&Item::directory().with("big", Item::file(content.clone())));
    let packs = world.storage.list(Folder::Data).unwrap();
    let bad = packs.iter().map(|pack| (pack.key.unwrap(), pack.len / 2..pack.len / 2 + 1));
    world.set(Trouble::Bad(bad.collect()));
    let file = File::open(world.path("big")).unwrap();
    let (wrong, failed) = pages(&file, &content);
    assert!(wrong.is_empty() && !failed.is_empty());
    // One block of at most 512 KiB per pack, and the pages at its ends.
    let most = packs.len() as u64 * ((512 << 10) / 4096 + 2);
    assert!(failed.len() as u64 <= most, "{} pages of {most} failed", failed.len());
    world.set(Trouble::None);
    assert_eq!(pages(&file, &content), (HashSet::new(), HashSet::new()));
}

#[test]
fn missing_packs_are_errors_and_heal_when_they_are_back() {
    let content = noise(3, 2 << 20);
    let world = World::of(&Item::directory().with("big", Item::file(content.clone())));
    world.set(Trouble::Gone);
    let err = fs::read(world.path("big")).unwrap_err();
    assert_eq!(err.raw_os_error(), Some(libc::EIO));
    world.set(Trouble::None);
    assert!(fs::read(world.path("big")).unwrap() == content);
}

#[test]
fn storage_that_hangs_stops_only_who_needs_it() {
    let mut root = many(3, 40, 3000);
    root.add("big", Item::file(noise(4, 8 << 20)));
    root.add("tiny", Item::file("in the tree page"));
    let world = World::of(&root);
    world.set(Trouble::Hangs);
    // More readers than threads would do with; reads of one file come as several requests.
    let readers: Vec<_> = (0..2_u64)
        .map(|number| {
            let path = world.path("big");
            thread::spawn(move || {
                let mut page = vec![0; 4096];
                let file = File::open(path).unwrap();
                file.read_exact_at(&mut page, number * (4 << 20)).map(|()| page)
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(50));
    let others = {
        let (tiny, tree) = (world.path("tiny"), world.path("d01"));
        thread::spawn(move || (fs::read(tiny).unwrap(), fs::read_dir(tree).unwrap().count()))
    };
    let end = Instant::now() + Duration::from_secs(20);
    while !others.is_finished() && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    let answered = others.is_finished();
    world.set(Trouble::None);
    assert!(answered, "a listing waits for content");
    assert_eq!(others.join().unwrap(), (b"in the tree page".to_vec(), 40));
    let content = noise(4, 8 << 20);
    for (number, reader) in readers.into_iter().enumerate() {
        let page = reader.join().unwrap().unwrap();
        assert!(page == content[number * (4 << 20)..][..4096]);
    }
}
