//! Deltas that nobody honest writes, and deltas whose base is lost.
//!
//! Guards against reads that go from delta to delta, that wait for themselves or for one another, or
//! that say nothing of which chunk is at fault; and against an ingest that relies on a lost base.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use common::library::{content, find, ingest_tree};
use common::torture::random_bytes as noise;
use icecore::format::index::{PackInfo, Record, SegmentBuilder};
use icecore::format::pack::{BlockEntry, Footer, Trailer};
use icecore::format::{
    Body, ChunkEntry, ChunkId, Contents, Folder, OBJECT_HEADER_LEN, ObjectHeader, ObjectKey,
    PackId, PackKind, Seal, SegmentId,
};
use icecore::ops::verify::{self, VerifyOptions, VerifyReport};
use icecore::progress::Silent;
use icecore::repo::{InitOptions, OpenOptions, RepoError, Repository, SnapshotFilter};
use icecore::storage::{Listed, MemoryStorage, Storage, StorageError};

const LEN: usize = 3000;

fn id(plain: &[u8]) -> ChunkId {
    ChunkId(*blake3::hash(plain).as_bytes())
}

/// The content of a crafted chunk.
fn plain(seed: u64) -> Vec<u8> {
    noise(seed, LEN)
}

fn chunk(seed: u64) -> ChunkId {
    id(&plain(seed))
}

/// A block as a forger writes it.
struct Block {
    payload: Vec<u8>,
    chunks: Vec<ChunkId>,
    /// What the footer says.
    bases: Vec<ChunkId>,
    /// What the index says of each chunk.
    indexed: Vec<Option<ChunkId>>,
}

fn stored(plain: &[u8]) -> Vec<u8> {
    [&[0; 4], &(plain.len() as u32).to_le_bytes()[..], plain].concat()
}

fn whole(seed: u64) -> Block {
    let payload = stored(&plain(seed));
    Block { payload, chunks: vec![chunk(seed)], bases: Vec::new(), indexed: vec![None] }
}

/// Chunks by seed, each with the seed of the chunk that it is told from by XOR.
fn delta(chunks: &[(u64, u64)]) -> Block {
    let mut payload = vec![3, 0, 0, 0];
    payload.extend_from_slice(&((chunks.len() * LEN) as u32).to_le_bytes());
    payload.extend_from_slice(&(chunks.len() as u32).to_le_bytes());
    for &(_, base) in chunks {
        payload.extend_from_slice(&chunk(base).0);
        payload.extend_from_slice(&(LEN as u32).to_le_bytes());
    }
    let xor = |&(own, base): &(u64, u64)| {
        plain(own).into_iter().zip(plain(base)).map(|(a, b)| a ^ b).collect::<Vec<_>>()
    };
    payload.extend(stored(&chunks.iter().flat_map(xor).collect::<Vec<_>>()));
    let bases: Vec<_> = chunks.iter().map(|&(_, base)| chunk(base)).collect();
    let indexed = bases.iter().copied().map(Some).collect();
    Block { payload, chunks: chunks.iter().map(|&(own, _)| chunk(own)).collect(), bases, indexed }
}

/// A plain repository whose only pack has these blocks.
struct Forged {
    storage: Arc<MemoryStorage>,
    pack: PackId,
    offsets: Vec<u32>,
}

impl Forged {
    fn new(blocks: &[Block]) -> Self {
        let storage = Arc::new(MemoryStorage::new());
        Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
        let repository = Repository::read_config(&*storage).unwrap().config.repository;
        let header =
            |contents| ObjectHeader { contents, seal: Seal::Plain, salt: [7; 16], repository };
        let kind = PackKind::Data;
        let mut bytes = header(Contents::Pack(kind)).encode().to_vec();
        let (mut footer, mut offsets) = (Footer::default(), Vec::new());
        for block in blocks {
            offsets.push(bytes.len() as u32);
            bytes.extend_from_slice(&block.payload);
            let entry = |id: &ChunkId| ChunkEntry { id: *id, len: LEN as u32 };
            footer.blocks.push(BlockEntry {
                stored_len: block.payload.len() as u32,
                plain_len: (block.chunks.len() * LEN) as u32,
                chunks: block.chunks.iter().map(entry).collect(),
                bases: block.bases.clone(),
            });
        }
        let footer = footer.encode();
        let trailer =
            Trailer { footer_offset: bytes.len() as u64, footer_len: footer.len() as u64 };
        bytes.extend_from_slice(&footer);
        bytes.extend_from_slice(&trailer.encode());
        let pack = PackId(*blake3::hash(&bytes).as_bytes());
        storage.put_new(&ObjectKey::Pack(kind, pack), &bytes).unwrap();
        let mut index = SegmentBuilder::default();
        let stored_len = bytes.len() as u64;
        let number = index.add_pack(PackInfo { id: pack, kind, salt: [7; 16], stored_len });
        for (block, &offset) in blocks.iter().zip(&offsets) {
            for (at, (&id, &base)) in block.chunks.iter().zip(&block.indexed).enumerate() {
                index.add(Record {
                    id,
                    pack: number,
                    block_offset: offset,
                    block_len: block.payload.len() as u32,
                    chunk_offset: (at * LEN) as u32,
                    chunk_len: LEN as u32,
                    base,
                });
            }
        }
        let segment = [&header(Contents::Segment).encode()[..], &index.encode()].concat();
        let key = ObjectKey::Segment(SegmentId(*blake3::hash(&segment).as_bytes()));
        storage.put_new(&key, &segment).unwrap();
        Self { storage, pack, offsets }
    }

    fn open(&self) -> Repository {
        Repository::open(self.storage.clone(), None, &OpenOptions::default()).unwrap()
    }

    /// How messages call a block.
    fn block(&self, number: usize) -> String {
        let pack = ObjectKey::Pack(PackKind::Data, self.pack);
        format!("{pack} (block at offset {})", self.offsets[number])
    }

    /// Reading the chunk, and verifying with data, must name all of these in one message each.
    #[track_caller]
    fn refuses(&self, seed: u64, named: &[&str]) {
        let repo = self.open();
        let err = repo.chunk(&chunk(seed)).unwrap_err();
        let said = err.to_string();
        assert!(err.is_damage() && named.iter().all(|name| said.contains(name)), "{said}");
        let found = damaged(&verified(&repo, true));
        let names = |line: &String| named.iter().all(|name| line.contains(name));
        assert!(found.iter().any(names), "{found:#?}");
    }

    #[track_caller]
    fn reads(&self, seed: u64) {
        assert!(*self.open().chunk(&chunk(seed)).unwrap() == *plain(seed), "chunk {seed}");
    }
}

fn verified(repo: &Repository, read_data: bool) -> VerifyReport {
    let options = VerifyOptions { read_data, threads: 2, ..VerifyOptions::default() };
    verify::run(repo, options, &Silent, &AtomicBool::new(false)).unwrap()
}

fn damaged(report: &VerifyReport) -> Vec<String> {
    report.damaged.iter().map(|it| format!("{}: {}", it.object, it.what)).collect()
}

#[test]
fn honest_blocks_made_here_are_read_and_clean() {
    let forged = Forged::new(&[whole(1), delta(&[(2, 1), (3, 1)])]);
    [1, 2, 3].into_iter().for_each(|seed| forged.reads(seed));
    let report = verified(&forged.open(), true);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.chunks, 3);
}

#[test]
fn a_base_that_is_a_delta_itself_is_refused() {
    let forged = Forged::new(&[whole(1), delta(&[(2, 1)]), delta(&[(3, 2)])]);
    forged.reads(2);
    forged.refuses(3, &[&forged.block(2), &chunk(2).to_string(), "stored as a difference itself"]);
    // Whatever the index says.
    let mut lied = delta(&[(2, 1)]);
    lied.indexed = vec![None];
    let forged = Forged::new(&[whole(1), lied, delta(&[(3, 2)])]);
    forged.refuses(3, &[&forged.block(2), &forged.block(1), "which the index denies"]);
    let report = verified(&forged.open(), false);
    let said = damaged(&report);
    assert!(said.len() == 1 && said[0].contains(&format!("chunk {}", chunk(2))), "{said:?}");
}

#[test]
fn a_base_in_the_block_that_needs_it_is_refused() {
    let forged = Forged::new(&[whole(1), delta(&[(2, 1), (3, 2)])]);
    let named = [&*forged.block(1), &chunk(2).to_string(), "in the block that needs it"];
    forged.refuses(3, &named);
    forged.refuses(2, &named);
    let mut lied = delta(&[(2, 1), (3, 2)]);
    lied.indexed[0] = None;
    let forged = Forged::new(&[whole(1), lied]);
    forged.refuses(3, &[&forged.block(1), &chunk(2).to_string(), "in the block that needs it"]);
    // Another copy of it will do.
    Forged::new(&[whole(1), whole(2), delta(&[(2, 1), (3, 2)])]).reads(3);
}

#[test]
fn deltas_of_each_other_are_refused() {
    let forged = Forged::new(&[delta(&[(1, 2)]), delta(&[(2, 1)])]);
    forged.refuses(1, &[&forged.block(0), &chunk(2).to_string()]);
    forged.refuses(2, &[&forged.block(1), &chunk(1).to_string()]);
}

#[test]
fn a_base_that_nobody_knows_is_named() {
    let forged = Forged::new(&[delta(&[(2, 1)])]);
    forged.refuses(2, &[&forged.block(0), &format!("chunk {} is in no index", chunk(1))]);
}

#[test]
fn a_damaged_base_is_named_with_the_block_that_needs_it() {
    let forged = Forged::new(&[whole(1), delta(&[(2, 1)])]);
    let pack = ObjectKey::Pack(PackKind::Data, forged.pack);
    forged.storage.corrupt(&pack, |bytes| bytes[OBJECT_HEADER_LEN + 50] ^= 1);
    forged.refuses(2, &[&forged.block(1), &forged.block(0), &chunk(1).to_string()]);
}

#[test]
fn a_footer_that_lists_other_bases_is_damage() {
    let mut other = delta(&[(2, 1)]);
    other.bases = vec![chunk(4)];
    other.indexed = vec![Some(chunk(4))];
    let mut none = delta(&[(3, 1)]);
    none.bases.clear();
    none.indexed = vec![None];
    let mut told = whole(5);
    told.bases = vec![chunk(1)];
    told.indexed = vec![Some(chunk(1))];
    let forged = Forged::new(&[whole(1), other, none, told]);
    assert!(verified(&forged.open(), false).is_clean(), "structure is not data");
    let said = damaged(&verified(&forged.open(), true));
    assert_eq!(said.len(), 3, "{said:#?}");
    for number in [1, 2, 3] {
        let expected = format!(
            "{}: it is told from other chunks than the pack's footer",
            forged.block(number)
        );
        assert!(said.iter().any(|line| line.starts_with(&expected)), "{number}: {said:#?}");
    }
    // The bytes are right wherever no base is hidden.
    forged.reads(2);
    forged.reads(5);
    let err = forged.open().chunk(&chunk(3)).unwrap_err().to_string();
    assert!(err.contains(&forged.block(2)) && err.contains("index denies"), "{err}");
}

#[test]
fn an_index_that_tells_another_base_than_the_footer_is_damage() {
    for lie in [None, Some(chunk(4))] {
        let mut block = delta(&[(2, 1)]);
        block.indexed = vec![lie];
        let forged = Forged::new(&[whole(1), whole(4), block]);
        let said = damaged(&verified(&forged.open(), false));
        assert_eq!(said.len(), 1, "{said:?}");
        let pack = ObjectKey::Pack(PackKind::Data, forged.pack).to_string();
        assert!(said[0].starts_with(&pack), "{said:?}");
        assert!(said[0].contains(&chunk(2).to_string()), "{said:?}");
    }
}

/// Whether the independent reader finds all blocks and the index as they should be.
fn python_accepts(forged: &Forged) -> bool {
    let folder = tempfile::tempdir().unwrap();
    for (key, bytes) in forged.storage.snapshot() {
        let path = folder.path().join(key.to_string());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &*bytes).unwrap();
    }
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader");
    let setup = Command::new(reader.join("setup")).output().unwrap();
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
    let python = String::from_utf8(setup.stdout).unwrap();
    let mut check = Command::new(python.trim_end());
    check.arg("-B").arg(reader.join("icecore_reader.py")).arg(folder.path()).arg("check");
    let output = check.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || said.contains("Malformed"), "{said}");
    output.status.success()
}

#[test]
fn the_independent_reader_refuses_what_verify_refuses() {
    let spoilt = |mut block: Block, spoil: fn(&mut Block)| {
        spoil(&mut block);
        block
    };
    let other_bases = |block: &mut Block| {
        block.bases = vec![chunk(4)];
        block.indexed = vec![Some(chunk(4))];
    };
    let no_bases = |block: &mut Block| {
        block.bases.clear();
        block.indexed.fill(None);
    };
    let other_length = |block: &mut Block| {
        let len_at = 8 + 4 + 32;
        block.payload[len_at] ^= 1;
    };
    let cases = [
        (true, vec![whole(1), delta(&[(2, 1), (3, 1)])]),
        (true, vec![whole(1), whole(2), delta(&[(2, 1), (3, 2)])]),
        (false, vec![whole(1), delta(&[(2, 1)]), delta(&[(3, 2)])]),
        (false, vec![whole(1), delta(&[(2, 1), (3, 2)])]),
        (false, vec![delta(&[(1, 2)]), delta(&[(2, 1)])]),
        (false, vec![delta(&[(2, 1)])]),
        (false, vec![whole(1), whole(4), spoilt(delta(&[(2, 1)]), other_bases)]),
        (false, vec![whole(1), spoilt(delta(&[(2, 1)]), no_bases)]),
        (false, vec![whole(4), spoilt(whole(1), other_bases)]),
        (false, vec![whole(1), spoilt(delta(&[(2, 1)]), |block| block.indexed.fill(None))]),
        (false, vec![whole(1), spoilt(delta(&[(2, 1)]), other_length)]),
    ];
    for (number, (sound, blocks)) in cases.iter().enumerate() {
        let forged = Forged::new(blocks);
        let report = verified(&forged.open(), true);
        assert_eq!(report.is_clean(), *sound, "case {number}: {report:?}");
        assert_eq!(python_accepts(&forged), *sound, "case {number}");
    }
}

/// The first two reads of blocks wait for each other.
#[derive(Debug)]
struct Meeting {
    inner: Arc<MemoryStorage>,
    reads: AtomicUsize,
    both: Barrier,
}

impl Storage for Meeting {
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
        self.inner.get(key, max)
    }
    fn read_at(&self, key: &ObjectKey, offset: u64, len: usize) -> Result<Vec<u8>, StorageError> {
        if matches!(key, ObjectKey::Pack(..)) && self.reads.fetch_add(1, Ordering::SeqCst) < 2 {
            self.both.wait();
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

#[test]
fn threads_that_read_deltas_of_each_other_do_not_wait_for_each_other() {
    let mut first = delta(&[(1, 4), (2, 4)]);
    let mut second = delta(&[(3, 2), (4, 2)]);
    // One chunk of each is said to be whole, so that it looks like a base.
    first.indexed[1] = None;
    second.indexed[1] = None;
    let forged = Forged::new(&[first, second]);
    let inner = forged.storage.clone();
    let storage = Meeting { inner, reads: AtomicUsize::new(0), both: Barrier::new(2) };
    let repo = Repository::open(Arc::new(storage), None, &OpenOptions::default()).unwrap();
    std::thread::scope(|scope| {
        for seed in [1, 3] {
            let repo = &repo;
            scope.spawn(move || {
                let err = repo.chunk(&chunk(seed)).unwrap_err();
                assert!(matches!(err, RepoError::Base { .. }), "{err}");
            });
        }
    });
}

// Bases that are lost.

/// A database of which version 1 changes each chunk a little.
fn database(version: u8) -> Vec<u8> {
    let mut bytes = [&b"SQLite format 3\0"[..], &noise(9, (1 << 20) - 16)].concat();
    for page in bytes.chunks_mut(4096) {
        page[2000..2008].fill(version);
    }
    bytes
}

fn places(repo: &Repository) -> Vec<icecore::format::index::Place> {
    let node = find(repo, "shop.db").unwrap();
    let Body::File(file) = &node.body else { panic!("no file") };
    let (mut found, mut offset) = (Vec::new(), 0);
    while let Some(placed) = repo.extent_at(file, offset).unwrap() {
        found.push(repo.chunk_places(&placed.extent.id).unwrap()[0]);
        offset = placed.offset + placed.extent.len;
    }
    found
}

/// Two snapshots of a database, the second of deltas only, and the pack that holds their bases.
fn with_deltas(source: &Path) -> (Arc<MemoryStorage>, ObjectKey) {
    let storage = Arc::new(MemoryStorage::new());
    Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
    let repo = open(&storage);
    std::fs::write(source.join("shop.db"), database(0)).unwrap();
    ingest_tree(&repo, source);
    let packs: BTreeSet<_> = places(&repo).iter().map(|place| place.pack.id.0).collect();
    let [pack] = packs.into_iter().collect::<Vec<_>>()[..] else { panic!("many packs") };
    std::fs::write(source.join("shop.db"), database(1)).unwrap();
    ingest_tree(&repo, source);
    let told = |place: &icecore::format::index::Place| place.base.is_some();
    assert!(places(&repo).iter().all(told), "some chunk is no delta");
    (storage, ObjectKey::Pack(PackKind::Data, PackId(pack)))
}

fn open(storage: &Arc<MemoryStorage>) -> Repository {
    Repository::open(storage.clone(), None, &OpenOptions::default()).unwrap()
}

/// The snapshots of which the database cannot be read, as far as structure tells.
fn affected(repo: &Repository) -> Vec<icecore::format::SnapshotId> {
    let report = verified(repo, false);
    assert!(report.affected.iter().all(|it| it.path == "/shop.db"), "{report:?}");
    report.affected.iter().map(|it| it.snapshot).collect()
}

#[test]
fn files_whose_bases_are_lost_are_affected_and_the_next_ingest_heals_what_it_sees() {
    let source = tempfile::tempdir().unwrap();
    let (storage, pack) = with_deltas(source.path());
    storage.delete(&pack).unwrap();
    let repo = open(&storage);
    assert_eq!(affected(&repo).len(), 2, "of both snapshots");
    let report = ingest_tree(&repo, source.path());
    assert!(report.added.plain >= 1 << 20, "{:?}", report.added);
    let repo = open(&storage);
    assert!(content(&repo, &find(&repo, "shop.db").unwrap()) == database(1));
    // The second snapshot has the same chunks, and is whole again too.
    let latest = repo.find_snapshot("latest", &SnapshotFilter::default()).unwrap().id;
    let left = affected(&repo);
    assert!(left.len() == 1 && !left.contains(&latest), "{left:?}");
}

#[test]
fn what_a_pack_that_was_cut_short_still_gives_is_no_base() {
    for version in [0, 2] {
        let source = tempfile::tempdir().unwrap();
        let (storage, pack) = with_deltas(source.path());
        storage.corrupt(&pack, |bytes| bytes.truncate(bytes.len() - 10));
        std::fs::write(source.path().join("shop.db"), database(version)).unwrap();
        ingest_tree(&open(&storage), source.path());
        storage.delete(&pack).unwrap();
        let repo = open(&storage);
        assert!(content(&repo, &find(&repo, "shop.db").unwrap()) == database(version));
        // Written whole again, the bases heal all snapshots.
        assert_eq!(affected(&repo).len(), if version == 0 { 0 } else { 2 }, "version {version}");
    }
}

fn objects(storage: &MemoryStorage, folder: Folder) -> BTreeSet<ObjectKey> {
    storage.list(folder).unwrap().into_iter().filter_map(|listed| listed.key).collect()
}

/// Two files whose first versions lie in packs of their own, and whose second versions are one block
/// of deltas. Then the pack of the first goes.
#[test]
fn a_chunk_whose_neighbour_lost_its_base_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    let storage = Arc::new(MemoryStorage::new());
    Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
    let (mut a, mut b) = (noise(1, 60_000), noise(2, 60_000));
    write("a", &a);
    ingest_tree(&open(&storage), dir.path());
    let lost = objects(&storage, Folder::Data);
    write("b", &b);
    ingest_tree(&open(&storage), dir.path());
    for bytes in [&mut a, &mut b] {
        bytes[30_000..30_007].copy_from_slice(b"changed");
    }
    write("a", &a);
    write("b", &b);
    ingest_tree(&open(&storage), dir.path());
    for key in &lost {
        storage.delete(key).unwrap();
    }
    let repo = open(&storage);
    let report = verified(&repo, false);
    let paths: BTreeSet<String> = report.affected.iter().map(|it| it.path.clone()).collect();
    assert_eq!(paths, ["/a", "/b"].map(str::to_owned).into());
    ingest_tree(&repo, dir.path());
    let repo = open(&storage);
    for (name, bytes) in [("a", &a), ("b", &b)] {
        assert!(content(&repo, &find(&repo, name).unwrap()) == *bytes, "{name}");
    }
}

#[test]
fn a_directory_whose_neighbour_lost_its_base_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let fill = |name: &str| {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        for n in 0..300 {
            let path = dir.path().join(name).join(format!("file-{n}-{name}"));
            std::fs::write(path, format!("{name}{n}")).unwrap();
        }
    };
    let storage = Arc::new(MemoryStorage::new());
    Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
    fill("p");
    ingest_tree(&open(&storage), dir.path());
    let lost = objects(&storage, Folder::Meta);
    fill("q");
    ingest_tree(&open(&storage), dir.path());
    for name in ["p/new", "q/new"] {
        std::fs::write(dir.path().join(name), "x").unwrap();
    }
    ingest_tree(&open(&storage), dir.path());
    for key in &lost {
        storage.delete(key).unwrap();
    }
    ingest_tree(&open(&storage), dir.path());
    let repo = open(&storage);
    for n in 0..300 {
        for name in ["p", "q"] {
            let node = find(&repo, &format!("{name}/file-{n}-{name}")).unwrap();
            assert_eq!(content(&repo, &node), format!("{name}{n}").as_bytes());
        }
    }
    assert!(find(&repo, "p/new").is_some() && find(&repo, "q/new").is_some());
}
