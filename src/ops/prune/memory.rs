//! What planning a prune takes of memory: a bitmap, and no more than 64 bytes a chunk.
//!
//! Memory that belongs to this process alone is looked at while a plan is made, of repositories of
//! two sizes: what caches and the program itself take is the same in both, so the difference is what
//! chunks take. Files that are mapped do not count: the kernel takes those pages back at will.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::testing::*;
use super::*;
use crate::repo::{InitOptions, OpenOptions};
use crate::storage::LocalStorage;

/// Bytes a chunk, at most.
const PER_CHUNK_MAX: u64 = 64;

/// Names the folder to the process that plans.
const PLANNED: &str = "ICECORE_TEST_PLANNED";
/// Says how many chunks it has.
const COUNT: &str = "ICECORE_TEST_CHUNKS";
/// Begins the line of its answer, in bytes.
const MOST: &str = "most own memory: ";

/// Memory of its own that the process has now, in bytes.
fn own_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn open(folder: &Path) -> Repository {
    let options = OpenOptions {
        cache: Some(folder.join("cache")),
        block_cache_bytes: 0,
        session_timeout: SESSION_TIMEOUT,
    };
    let storage = LocalStorage::open(&folder.join("repository")).unwrap();
    Repository::open(Arc::new(storage), None, &options).unwrap()
}

/// The most that a new process has of its own while it plans a prune of so many chunks.
fn while_planning(count: u64, per_segment: u64) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let storage = LocalStorage::create(&folder.path().join("repository")).unwrap();
    Repository::init(&storage, None, "", InitOptions::default()).unwrap();
    large(&open(folder.path()), count, per_segment);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ops::prune::memory::plans_what_another_test_made", "--nocapture"])
        .env(PLANNED, folder.path())
        .env(COUNT, count.to_string())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}{}", String::from_utf8_lossy(&output.stderr));
    let most = words.lines().find_map(|line| line.trim().strip_prefix(MOST)).unwrap();
    most.parse().unwrap()
}

/// What [`while_planning`] runs in a process of its own; passes where nobody asked for it.
#[test]
#[expect(clippy::print_stdout, reason = "the other process reads it")]
fn plans_what_another_test_made() {
    let Some(folder) = std::env::var_os(PLANNED) else { return };
    let count: u64 = std::env::var(COUNT).unwrap().parse().unwrap();
    let is_done = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = 0;
            while !is_done.load(Ordering::Relaxed) {
                most = own_memory().max(most);
                std::thread::sleep(Duration::from_millis(1));
            }
            most
        });
        let repo = open(Path::new(&folder));
        let planned = plan(&repo, &options(), &AtomicBool::new(false)).unwrap();
        assert_eq!(planned.marks.records.len() / count, 1);
        let most = own_memory();
        is_done.store(true, Ordering::Relaxed);
        watcher.join().unwrap().max(most)
    });
    println!("\n{MOST}{most}");
}

#[test]
fn a_chunk_takes_no_more_than_64_bytes_of_a_plan() {
    // Enough to fill the caches of pages, and segments that are no more than a few MB each.
    const FEW: u64 = 450_000;
    const MANY: u64 = 1_050_000;
    const PER_SEGMENT: u64 = 50_000;
    let few = while_planning(FEW, PER_SEGMENT);
    let many = while_planning(MANY, PER_SEGMENT);
    assert!(many > few, "{many} {few}: it would measure nothing");
    let per_chunk = (many - few) / (MANY - FEW);
    assert!(per_chunk <= PER_CHUNK_MAX, "{per_chunk} bytes a chunk: {few}, then {many}");
}

/// Ten million chunks: `cargo test --release ten_million -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes and 2 GB of disk"]
#[expect(clippy::print_stdout, reason = "it measures")]
fn ten_million_chunks_take_less_than_a_gibibyte() {
    const CHUNKS: u64 = 10_000_000;
    let started = Instant::now();
    let most = while_planning(CHUNKS, 1_000_000);
    let (took, per_chunk) = (started.elapsed(), most / CHUNKS);
    println!("{CHUNKS} chunks: {} MiB, {per_chunk} bytes a chunk; all in {took:?}", most >> 20);
    assert!(most < 1 << 30 && per_chunk <= PER_CHUNK_MAX);
}
