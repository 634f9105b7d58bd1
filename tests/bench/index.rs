//! What the index costs at full size, on chunks that exist in the index only.
//!
//! `ICECORE_BENCH_CHUNKS` (default 10 million; 100 million takes 12 GB below `ICECORE_BENCH_FOLDER`,
//! default /var/tmp) chunks of 64 KiB in packs of 32 MiB, in `ICECORE_BENCH_SEGMENTS` (default 9,
//! what merging leaves on average; 16 is the most) segments: two of each tier, each tier three times
//! the one below. Prints times, rates of one thread and memory.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use icecore::format::index::{PackInfo, Record, SegmentBuilder};
use icecore::format::{
    ChunkId, Contents, ObjectHeader, ObjectKey, PackId, PackKind, RepositoryId, Seal, SegmentId,
};
use icecore::repo::{InitOptions, OpenOptions, Repository};
use icecore::storage::{LocalStorage, Storage};

const CHUNK_LEN: u32 = 64 << 10;
const CHUNKS_PER_BLOCK: u64 = 8;
const CHUNKS_PER_PACK: u64 = 512;
const LOOKUPS: u64 = 2_000_000;

fn main() {
    let chunks = from_environment("ICECORE_BENCH_CHUNKS", 10_000_000);
    let segments = from_environment("ICECORE_BENCH_SEGMENTS", 9);
    let parent = std::env::var_os("ICECORE_BENCH_FOLDER").map_or("/var/tmp".into(), PathBuf::from);
    let folder = tempfile::tempdir_in(parent).unwrap();
    let storage = Arc::new(LocalStorage::create(&folder.path().join("repository")).unwrap());
    let config = Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
    let repository = config.repository;
    let options =
        OpenOptions { cache: Some(folder.path().join("cache")), ..OpenOptions::default() };
    let open = || Repository::open(storage.clone(), None, &options).unwrap();

    println!("{chunks} chunks");
    timed("build", || build(&*storage, repository, chunks, segments));
    timed("first open, which fills the cache", open);
    measure(&format!("{segments} segments"), chunks, folder.path(), &open);
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn timed<T>(what: &str, action: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = action();
    println!("  {what}: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    result
}

/// Opening with nothing in the page cache, then look-ups with all of it there.
fn measure(title: &str, chunks: u64, folder: &Path, open: &impl Fn() -> Repository) {
    println!("{title}");
    forget_pages(folder);
    let repo = timed("open, cold", open);
    memory("after opening");
    for file in files(&folder.join("cache")) {
        std::io::copy(&mut File::open(file).unwrap(), &mut std::io::sink()).unwrap();
    }
    for (what, from) in [("present", 0), ("absent", chunks)] {
        let mut found = 0;
        for round in ["touching pages", "again"] {
            let start = cpu_seconds();
            let numbers = (0..LOOKUPS).map(|n| from + mix(n) % chunks);
            found = numbers.filter(|n| repo.has_chunk(&id(*n)).unwrap()).count() as u64;
            let rate = LOOKUPS as f64 / (cpu_seconds() - start) / 1e6;
            println!("  {what}, {round}: {rate:.2} million per second of one core");
        }
        assert_eq!(found, if from == 0 { LOOKUPS } else { 0 });
    }
    memory("after look-ups");
}

/// What this thread has used: other load of the machine does not count.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn build(storage: &dyn Storage, repository: RepositoryId, chunks: u64, segments: u64) {
    let weight = |segment: u64| 3_u64.pow(segment as u32 / 2);
    let total: u64 = (0..segments).map(weight).sum();
    let start = |segment| chunks * (0..segment).map(weight).sum::<u64>() / total;
    for segment in 0..segments {
        let range = start(segment)..start(segment + 1);
        let mut builder = SegmentBuilder::default();
        let (mut pack, mut last) = (0, None);
        for n in range {
            let number = n / CHUNKS_PER_PACK;
            if last != Some(number) {
                let (id, kind) = (PackId(id(u64::MAX - number).0), PackKind::Data);
                pack = builder.add_pack(PackInfo { id, kind, salt: [1; 16], stored_len: 32 << 20 });
                last = Some(number);
            }
            let block = n % CHUNKS_PER_PACK / CHUNKS_PER_BLOCK;
            builder.add(Record {
                id: id(n),
                pack,
                block_offset: 64 + block as u32 * 400_000,
                block_len: 400_000,
                chunk_offset: (n % CHUNKS_PER_BLOCK) as u32 * CHUNK_LEN,
                chunk_len: CHUNK_LEN,
                base: None,
            });
        }
        let header = ObjectHeader {
            contents: Contents::Segment,
            seal: Seal::Plain,
            salt: [2; 16],
            repository,
        };
        let mut stored = header.encode().to_vec();
        stored.append(&mut builder.encode());
        let id = SegmentId(*blake3::hash(&stored).as_bytes());
        storage.put_new(&ObjectKey::Segment(id), &stored).unwrap();
    }
}

/// The id of chunk number `n`: as even as a hash, and cheaper.
fn id(n: u64) -> ChunkId {
    let mut id = [0; 32];
    for (part, bytes) in id.chunks_mut(8).enumerate() {
        bytes.copy_from_slice(&mix(n.wrapping_add((part as u64) << 56)).to_le_bytes());
    }
    ChunkId(id)
}

/// SplitMix64's output function.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn forget_pages(folder: &Path) {
    for path in files(folder) {
        let file = File::open(path).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
}

/// Memory of the process that the kernel cannot take back, and mapped pages.
fn memory(when: &str) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mib = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
    };
    let (own, mapped) = (mib("VmRSS:") - mib("RssFile:"), mib("RssFile:"));
    println!("  memory {when}: {own} MiB, and {mapped} MiB of mapped pages");
}
