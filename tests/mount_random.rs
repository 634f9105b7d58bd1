//! A snapshot on a mount against the plain directory that it was made of: random operations from
//! many threads, while other snapshots come and go.

mod common;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::library::ingest_tree;
use common::{Mounted, Sandbox, require_fuse};
use icecore::format::Folder;
use icecore::fuse::{self, MountOptions, Readers};
use icecore::repo::{InitOptions, OpenOptions, Repository};
use icecore::storage::{LocalStorage, Storage};
use rustix::fs::{RawDir, SeekFrom, XattrFlags, getxattr, listxattr, seek, setxattr};
use rustix::io::Errno;

const THREADS: u64 = 6;
const LASTS: Duration = Duration::from_secs(6);

/// Numbers that look random; the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        if end == 0 { 0 } else { self.0 % end }
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let skew = if self.below(2) == 0 { 0xff } else { 0x0f };
        let mut hasher = blake3::Hasher::new();
        let mut bytes = vec![0; len];
        hasher.update(&self.0.to_le_bytes()).finalize_xof().fill(&mut bytes);
        self.below(2);
        bytes.iter_mut().for_each(|byte| *byte &= skew);
        bytes
    }
}

fn build(root: &Path, dice: &mut Dice) {
    for d in 0..12 {
        let directory = root.join(format!("d{d}"));
        fs::create_dir(&directory).unwrap();
        for f in 0..20 + dice.below(300) {
            let len = [0, 100, 512, 513, 4096, 20_000][dice.below(6) as usize] + dice.below(900);
            let path = directory.join(format!("f{f}"));
            fs::write(&path, dice.bytes(len as usize)).unwrap();
            if f % 7 == 0 {
                let value = dice.bytes(1 + f as usize % 50);
                setxattr(&path, "user.test", &value, XattrFlags::empty()).unwrap();
            }
        }
    }
    for (number, holes) in [(0, false), (1, true), (2, true)] {
        let file = File::create(root.join(format!("d0/big{number}"))).unwrap();
        for part in 0..24_u64 {
            if !holes || part % 3 == 0 {
                file.write_all_at(&dice.bytes(300 << 10), part * (1 << 20)).unwrap();
            }
        }
        file.set_len(24 << 20).unwrap();
    }
    for n in 0..20 {
        let target = root.join(format!("d1/f{n}"));
        std::os::unix::fs::symlink(&target, root.join(format!("d2/link{n}"))).unwrap();
        fs::hard_link(&target, root.join(format!("d3/hard{n}"))).unwrap();
    }
}

/// All paths below a directory, without it.
fn paths(root: &Path, below: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        found.push(path.clone());
        if entry.file_type().unwrap().is_dir() {
            paths(root, &path, found);
        }
    }
}

fn same_stat(plain: &Path, shown: &Path) {
    let (a, b) = (fs::symlink_metadata(plain).unwrap(), fs::symlink_metadata(shown).unwrap());
    let key = |m: &fs::Metadata| (m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec());
    assert_eq!(key(&a), key(&b), "{}", shown.display());
    if !a.is_dir() {
        assert_eq!((a.len(), a.nlink()), (b.len(), b.nlink()), "{}", shown.display());
    }
    if a.is_symlink() {
        assert_eq!(fs::read_link(plain).unwrap(), fs::read_link(shown).unwrap());
    }
}

fn same_range(plain: &Path, shown: &Path, dice: &mut Dice) {
    let (a, b) = (File::open(plain).unwrap(), File::open(shown).unwrap());
    let len = a.metadata().unwrap().len();
    for _ in 0..1 + dice.below(4) {
        let offset = dice.below(len + 5000);
        let size = [1, 100, 4096, 70_000, 1 << 20][dice.below(5) as usize];
        let (mut one, mut two) = (vec![0; size], vec![1; size]);
        let (n, m) = (a.read_at(&mut one, offset).unwrap(), b.read_at(&mut two, offset).unwrap());
        assert!(n == m && one[..n] == two[..m], "{} at {offset} + {size}", shown.display());
    }
}

#[expect(unsafe_code, reason = "nothing else maps a file")]
fn same_map(plain: &Path, shown: &Path, dice: &mut Dice) {
    let (a, b) = (fs::read(plain).unwrap(), File::open(shown).unwrap());
    if a.is_empty() {
        return;
    }
    // SAFETY: the file is on a read-only mount and never changes.
    let map = unsafe { memmap2::Mmap::map(&b) }.unwrap();
    assert_eq!(map.len(), a.len());
    for _ in 0..20 {
        let at = dice.below(a.len() as u64) as usize;
        let end = a.len().min(at + 5000);
        assert!(map[at..end] == a[at..end], "{} mapped at {at}", shown.display());
    }
}

/// Entries with the place where each listing goes on, from `from` on.
fn listing(path: &Path, from: u64) -> Vec<(OsString, u64)> {
    let directory = File::open(path).unwrap();
    seek(&directory, SeekFrom::Start(from)).unwrap();
    let mut buffer = Vec::with_capacity(8192);
    let mut raw = RawDir::new(directory.as_fd(), buffer.spare_capacity_mut());
    let mut found = Vec::new();
    while let Some(entry) = raw.next() {
        let entry = entry.unwrap();
        let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
        found.push((name, entry.next_entry_cookie()));
    }
    found
}

fn same_listing(plain: &Path, shown: &Path, dice: &mut Dice) {
    let all = listing(shown, 0);
    let mut names: Vec<_> = all.iter().map(|(name, _)| name.clone()).collect();
    let mut expected: Vec<_> = listing(plain, 0).into_iter().map(|(name, _)| name).collect();
    names.sort();
    expected.sort();
    assert!(names == expected, "{}", shown.display());
    let at = dice.below(all.len() as u64) as usize;
    assert_eq!(listing(shown, all[at].1), all[at + 1..], "{} from {at}", shown.display());
}

/// Where data and holes begin, found by `lseek`; a file system may say data where a hole is.
fn same_seek(plain: &Path, shown: &Path, dice: &mut Dice) {
    let (a, b) = (fs::read(plain).unwrap(), File::open(shown).unwrap());
    let offset = dice.below(a.len() as u64 + 10);
    match (seek(&b, SeekFrom::Data(offset)), seek(&b, SeekFrom::Hole(offset))) {
        (Err(Errno::NXIO), hole) => {
            let rest = a.get(offset as usize..).unwrap_or_default();
            assert!(rest.iter().all(|&byte| byte == 0), "data after {offset}");
            assert_eq!(hole.is_err(), rest.is_empty());
        }
        (Ok(data), Ok(hole)) => {
            assert!(a[offset as usize..data as usize].iter().all(|&byte| byte == 0));
            assert!(data == offset || hole == offset, "{data} and {hole} after {offset}");
            assert!(hole as usize <= a.len());
        }
        (data, hole) => panic!("{}: {data:?} and {hole:?}", shown.display()),
    }
}

fn attributes(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 4096];
    let len = listxattr(path, &mut names[..]).unwrap();
    let mut found = BTreeMap::new();
    for name in names[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 4096];
        let len = getxattr(path, name, &mut value[..]).unwrap();
        found.insert(name.to_vec(), value[..len].to_vec());
    }
    found
}

fn compare(plain: &Path, shown: &Path, dice: &mut Dice) {
    let kind = fs::symlink_metadata(plain).unwrap().file_type();
    match dice.below(6) {
        0 => same_stat(plain, shown),
        _ if kind.is_dir() => same_listing(plain, shown, dice),
        1 | 2 if kind.is_file() => same_range(plain, shown, dice),
        3 if kind.is_file() => same_map(plain, shown, dice),
        4 if kind.is_file() => same_seek(plain, shown, dice),
        5 if kind.is_file() => assert_eq!(attributes(plain), attributes(shown)),
        _ => same_stat(plain, shown),
    }
}

/// Makes snapshots of another tree and takes them away again, until told to stop.
fn come_and_go(storage: &Path, other: &Path, stop: &AtomicBool) -> u64 {
    let storage = Arc::new(LocalStorage::open(storage).unwrap());
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let repo = Repository::open(storage.clone(), None, &OpenOptions::default()).unwrap();
        let before = storage.list(Folder::Snapshots).unwrap();
        fs::write(other.join(format!("n{count}")), count.to_string()).unwrap();
        ingest_tree(&repo, other);
        thread::sleep(Duration::from_millis(150));
        for listed in storage.list(Folder::Snapshots).unwrap() {
            if count % 2 == 0 && !before.contains(&listed) {
                storage.delete(&listed.key.unwrap()).unwrap();
            }
        }
        count += 1;
    }
    count
}

#[test]
fn random_operations_show_what_the_plain_directory_shows() {
    require_fuse();
    let sandbox = Sandbox::new();
    let (plain, other) = (sandbox.folder("plain"), sandbox.folder("other"));
    build(&plain, &mut Dice(0x1234_5678_9abc_def1));
    let (location, point) = (sandbox.path().join("repo"), sandbox.folder("mnt"));
    let storage = Arc::new(LocalStorage::create(&location).unwrap());
    Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
    // A small cache, so that blocks are dropped and decoded again.
    let options = OpenOptions { block_cache_bytes: 8 << 20, ..OpenOptions::default() };
    let repo = Arc::new(Repository::open(storage, None, &options).unwrap());
    ingest_tree(&repo, &plain);
    let mounted = fuse::mount(repo, &point, MountOptions::default()).unwrap();
    let guard = Mounted::adopt(point.clone());
    let name = fs::read_link(point.join("latest")).unwrap();
    let shown = point.join(name);
    let mut all = Vec::new();
    paths(&plain, Path::new(""), &mut all);
    let (stop, done, end) = (AtomicBool::new(false), AtomicU64::new(0), Instant::now() + LASTS);
    thread::scope(|scope| {
        let others = scope.spawn(|| come_and_go(&location, &other, &stop));
        let compares: Vec<_> = (1..=THREADS)
            .map(|number| {
                let (all, plain, shown, done) = (&all, &plain, &shown, &done);
                scope.spawn(move || {
                    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ number << 40);
                    while Instant::now() < end {
                        let path = &all[dice.below(all.len() as u64) as usize];
                        compare(&plain.join(path), &shown.join(path), &mut dice);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let failed = compares.into_iter().filter_map(|thread| thread.join().err()).count();
        stop.store(true, Ordering::Relaxed);
        assert!(others.join().unwrap() > 1);
        assert_eq!(failed, 0, "threads that saw a difference");
    });
    assert!(done.load(Ordering::Relaxed) > 200);
    mounted.unmount(Readers::Respect).unwrap();
    mounted.wait().unwrap();
    drop(guard);
}
