//! A mount under load: many processes and threads at once, reading what others read, see what the
//! plain tree shows. Snapshots are made by `icecore ingest` of a tree on disk.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use common::compare::{CompareOptions, assert_same};
use common::{Mounted, Sandbox, run_ok};

/// Bytes that do not shrink much and differ from seed to seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    // Some of it is to be compressed and some not.
    if seed.is_multiple_of(2) {
        bytes.iter_mut().for_each(|byte| *byte &= 0x1f);
    }
    bytes
}

const BIG: usize = 24 << 20;

/// A folder `source` of small files and a big one, ingested.
fn ingested(sandbox: &Sandbox) -> PathBuf {
    let source = sandbox.folder("source");
    for file in 0..900_u64 {
        let folder = source.join(format!("d{}", file % 30));
        fs::create_dir_all(&folder).unwrap();
        let len = file * 37 % 9000;
        fs::write(folder.join(file.to_string()), noise(file, len as usize)).unwrap();
    }
    fs::write(source.join("big"), noise(2, BIG)).unwrap();
    sandbox.icecore().args(["init", "-q", "repository"]).assert().success();
    ingest(sandbox);
    source
}

fn ingest(sandbox: &Sandbox) {
    let ingest = ["-r", "repository", "ingest", "-q", "-C", "source", "."];
    sandbox.icecore().args(ingest).assert().success();
}

fn mount(sandbox: &Sandbox) -> Mounted {
    sandbox.mount(&sandbox.path().join("repository"), &[""; 0])
}

/// Reads every file of a tree, in the order of names.
fn sum(tree: &Path) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", "find . -type f | LC_ALL=C sort | xargs cat | cksum"]);
    command.current_dir(tree).stdout(Stdio::piped()).spawn().unwrap()
}

fn said(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn sixty_four_processes_that_read_the_tree_at_once_read_the_same() {
    let sandbox = Sandbox::new();
    let source = ingested(&sandbox);
    let mount = mount(&sandbox);
    let expected = said(sum(&source));
    let readers: Vec<_> = (0..64).map(|_| sum(&mount.latest())).collect();
    for reader in readers {
        assert_eq!(said(reader), expected);
    }
}

#[test]
#[expect(unsafe_code, reason = "nothing else maps a file")]
fn sixteen_threads_that_fault_one_mapped_file_see_its_bytes() {
    let sandbox = Sandbox::new();
    let source = ingested(&sandbox);
    let mount = mount(&sandbox);
    let plain = Arc::new(fs::read(source.join("big")).unwrap());
    let file = File::open(mount.latest().join("big")).unwrap();
    // SAFETY: the file is on a read-only mount and never changes.
    let map = Arc::new(unsafe { memmap2::Mmap::map(&file) }.unwrap());
    map.advise(memmap2::Advice::Random).unwrap();
    let threads: Vec<_> = (0..16_usize)
        .map(|thread| {
            let (plain, map) = (Arc::clone(&plain), Arc::clone(&map));
            thread::spawn(move || {
                for step in 0..400 {
                    let at = (step * 7919 + thread * 104_729) * 4099 % (BIG - 64);
                    assert!(map[at..at + 64] == plain[at..at + 64], "thread {thread} at {at}");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// The start of a block is enough for one who reads here and there; the rest comes when it is asked
/// for, in whatever order.
#[test]
fn small_reads_here_and_there_and_all_of_it_at_once_agree() {
    let sandbox = Sandbox::new();
    let source = ingested(&sandbox);
    let mount = mount(&sandbox);
    let plain = Arc::new(fs::read(source.join("big")).unwrap());
    let path = mount.latest().join("big");
    let threads: Vec<_> = (0..8_usize)
        .map(|thread| {
            let (plain, path) = (Arc::clone(&plain), path.clone());
            thread::spawn(move || {
                let file = File::open(path).unwrap();
                rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).unwrap();
                for step in 0..300 {
                    let len = if thread == 7 { 1 << 20 } else { 1 + step * 61 % 9000 };
                    let at = (step * 7907 + thread * 99_991) * 4099 % (BIG - len);
                    let mut read = vec![0; len];
                    file.read_exact_at(&mut read, at as u64).unwrap();
                    assert!(read == plain[at..at + len], "{len} bytes at {at}");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn copies_of_several_snapshots_at_once_are_each_their_own() {
    let sandbox = Sandbox::new();
    let source = ingested(&sandbox);
    let mut trees = Vec::new();
    for version in 0..3 {
        let kept = sandbox.path().join(format!("kept{version}"));
        if version > 0 {
            fs::write(source.join(format!("d3/new{version}")), noise(version, 5000)).unwrap();
            fs::write(source.join("d4/4"), noise(100 + version, 3000)).unwrap();
            ingest(&sandbox);
        }
        run_ok("cp", &[Path::new("-a"), &source, &kept]);
        trees.push(kept);
    }
    let mount = mount(&sandbox);
    let mut snapshots: Vec<_> =
        fs::read_dir(mount.path().join("snapshots")).unwrap().map(|entry| entry.unwrap()).collect();
    // Those of one second are told apart by what they hold.
    snapshots.sort_by_key(|entry| entry.file_name());
    let copies: Vec<_> = snapshots
        .iter()
        .map(|snapshot| {
            let to = sandbox.path().join("copies").join(snapshot.file_name());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            (Command::new("cp").arg("-a").args([&snapshot.path(), &to]).spawn().unwrap(), to)
        })
        .collect();
    for (mut copy, to) in copies {
        assert!(copy.wait().unwrap().success());
        let version = (1..3).rev().find(|n| to.join(format!("d3/new{n}")).exists()).unwrap_or(0);
        assert_same(&trees.remove(version as usize), &to, &CompareOptions::default());
        trees.insert(version as usize, PathBuf::new());
    }
}

#[test]
fn locks_of_readers_hold_against_each_other() {
    use rustix::fs::{FlockOperation, flock};
    let sandbox = Sandbox::new();
    ingested(&sandbox);
    let mount = mount(&sandbox);
    let path = mount.latest().join("big");
    let (a, b) = (File::open(&path).unwrap(), File::open(&path).unwrap());
    flock(&a, FlockOperation::NonBlockingLockExclusive).unwrap();
    assert!(flock(&b, FlockOperation::NonBlockingLockShared).is_err());
    flock(&a, FlockOperation::Unlock).unwrap();
    flock(&b, FlockOperation::NonBlockingLockShared).unwrap();
    flock(&a, FlockOperation::NonBlockingLockShared).unwrap();
    // POSIX locks of a whole file: one that reads is granted, one that writes needs a descriptor
    // that may write.
    let lock = "import fcntl, sys\nf = open(sys.argv[1], 'rb')\nfcntl.lockf(f, fcntl.LOCK_SH)\n\
                try: fcntl.lockf(f, fcntl.LOCK_EX)\nexcept OSError as e: sys.exit(e.errno != 9)\n\
                sys.exit(1)";
    run_ok("python3", &[Path::new("-c"), Path::new(lock), &path]);
}
