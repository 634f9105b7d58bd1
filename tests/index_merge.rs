//! Merging of index segments: nothing that a segment knew is lost, whoever merges at the same time
//! and wherever a merge is stopped.
//!
//! Guards against a union that drops places, replaces a segment that it did not read whole, or
//! leaves a repository that only its own process can read.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use icecore::codec::{BlockEncoder, Compression};
use icecore::format::index::{PackInfo, Record, Segment, SegmentBuilder};
use icecore::format::{
    ChunkId, Contents, OBJECT_HEADER_LEN, ObjectHeader, ObjectKey, PackId, PackKind, Seal,
    SegmentId, Time,
};
use icecore::ops::verify::{VerifyOptions, run};
use icecore::progress::Silent;
use icecore::repo::{BlockDraft, OpenOptions, Repository, Session, Writer};
use icecore::storage::{CutPoint, FaultStorage, MemoryStorage, Storage, When};

mod restore_support;
use restore_support::*;

/// So many segments of a size are merged.
const FACTOR: u64 = 3;

fn begin(repo: &Repository) -> Session<'_> {
    let writer = Writer { host: "host".into(), pid: 1 };
    Session::begin(repo, writer, Time { secs: 1, nanos: 0 }).unwrap()
}

fn content(n: u64) -> Vec<u8> {
    noise(n, 3000)
}

/// Writes chunks of these numbers, each into a pack and a segment of its own.
fn write(session: &Session<'_>, numbers: impl Iterator<Item = u64>) {
    let mut encoder = BlockEncoder::new(Compression::Fast).unwrap();
    for n in numbers {
        let mut draft = BlockDraft::default();
        let id = session.id_of(PackKind::Data, &content(n));
        assert!(session.claim(&id).unwrap(), "chunk {n} is there already");
        draft.push(id, &content(n));
        session.write_block(PackKind::Data, &draft, &mut encoder).unwrap();
        session.flush().unwrap();
    }
}

/// A storage with so many chunks, packs and segments.
fn stored(encrypted: bool, chunks: u64) -> Arc<MemoryStorage> {
    let storage = Arc::new(MemoryStorage::new());
    let repo = init(storage.clone(), encrypted);
    let session = begin(&repo);
    write(&session, 0..chunks);
    session.abandon();
    storage
}

/// Opens with a cache and merges.
fn merge(storage: Arc<dyn Storage>, encrypted: bool, cache: Option<&Path>) {
    let repo = open_cached(storage, encrypted, cache);
    let session = begin(&repo);
    session.merge_index();
    session.abandon();
}

fn open_cached(storage: Arc<dyn Storage>, encrypted: bool, cache: Option<&Path>) -> Repository {
    let secret = encrypted.then(passphrase);
    let options = OpenOptions { cache: cache.map(Into::into), ..OpenOptions::default() };
    Repository::open(storage, secret.as_ref(), &options).unwrap()
}

/// Every chunk is read, and verify has nothing to say.
#[track_caller]
fn assert_whole(storage: Arc<dyn Storage>, encrypted: bool, chunks: u64) {
    let repo = open(storage, encrypted).unwrap();
    assert_chunks(&repo, chunks);
    let options = VerifyOptions { read_data: true, threads: 1, ..VerifyOptions::default() };
    let report = run(&repo, options, &Silent, &AtomicBool::new(false)).unwrap();
    assert!(report.is_clean() && report.unindexed_chunks == 0, "{report:?}");
}

#[track_caller]
fn assert_chunks(repo: &Repository, chunks: u64) {
    let session = begin(repo);
    for n in 0..chunks {
        let id = session.id_of(PackKind::Data, &content(n));
        assert!(*repo.chunk(&id).unwrap() == content(n)[..], "chunk {n}");
        assert!(session.has_chunk(&id));
    }
    assert!(!session.is_degraded());
    session.abandon();
}

fn segments(storage: &Arc<MemoryStorage>) -> usize {
    open(storage.clone(), false).unwrap().stored_segments().unwrap().len()
}

#[test]
fn a_full_tier_becomes_one_segment_that_replaces_it() {
    let cache = tempfile::tempdir().unwrap();
    for (encrypted, cache) in [(false, None), (true, None), (true, Some(cache.path()))] {
        let storage = stored(encrypted, FACTOR);
        let repo = open(storage.clone(), encrypted).unwrap();
        let before = repo.stored_segments().unwrap();
        merge(storage.clone(), encrypted, cache);
        let after = repo.stored_segments().unwrap();
        assert_eq!((before.len(), after.len()), (FACTOR as usize, FACTOR as usize + 1));
        assert_whole(storage.clone(), encrypted, FACTOR);
        // What was replaced is not needed.
        for id in before {
            storage.delete(&ObjectKey::Segment(id)).unwrap();
        }
        assert_whole(storage.clone(), encrypted, FACTOR);
        assert_chunks(&open_cached(storage, encrypted, cache), FACTOR);
    }
}

#[test]
fn fewer_segments_stay_as_they_are() {
    let storage = stored(false, FACTOR - 1);
    merge(storage.clone(), false, None);
    assert_eq!(segments(&storage), FACTOR as usize - 1);
}

#[test]
fn merging_goes_on_from_merged_segments() {
    let storage = stored(false, FACTOR);
    let repo = open(storage.clone(), false).unwrap();
    for round in 1..4 {
        let session = begin(&repo);
        session.merge_index();
        write(&session, FACTOR * round..FACTOR * (round + 1));
        session.abandon();
    }
    merge(storage.clone(), false, None);
    assert_whole(storage, false, FACTOR * 4);
}

#[test]
fn writers_that_merge_the_same_segments_do_not_disturb_each_other() {
    let storage = stored(false, FACTOR);
    let repos: Vec<_> = (0..3).map(|_| open(storage.clone(), false).unwrap()).collect();
    let sessions: Vec<_> = repos.iter().map(begin).collect();
    std::thread::scope(|scope| {
        for session in &sessions {
            scope.spawn(|| session.merge_index());
        }
    });
    assert_eq!(segments(&storage), FACTOR as usize + 3);
    sessions.into_iter().for_each(Session::abandon);
    let id = begin(&repos[0]).id_of(PackKind::Data, &content(0));
    let fresh = open(storage.clone(), false).unwrap();
    assert_eq!(fresh.chunk_places(&id).unwrap().len(), 1, "one place, however many know it");
    assert_whole(storage, false, FACTOR);
}

/// The merge is stopped at the write of the merged segment, or at what comes after it.
#[test]
fn a_merge_that_is_cut_leaves_a_good_repository() {
    for encrypted in [false, true] {
        let image = stored(encrypted, FACTOR).snapshot();
        for step in 0..3 {
            for when in When::ALL {
                let below = Arc::new(MemoryStorage::from(image.clone()));
                let fault = FaultStorage::cut_at(below.clone(), CutPoint { step, when });
                let repo = open(Arc::new(fault), encrypted).unwrap();
                let writer = Writer { host: "host".into(), pid: 1 };
                if let Ok(session) = Session::begin(&repo, writer, Time { secs: 1, nanos: 0 }) {
                    session.merge_index();
                    session.abandon();
                }
                let repo = open(below.clone(), encrypted).unwrap();
                let id = |n| begin(&repo).id_of(PackKind::Data, &content(n));
                for n in 0..FACTOR {
                    assert!(*repo.chunk(&id(n)).unwrap() == content(n)[..], "{step} {when:?}");
                }
                // Torn, the merged segment is damage and hides nothing.
                if when != When::Torn {
                    drop(repo);
                    merge(below.clone(), encrypted, None);
                    assert_whole(below, encrypted, FACTOR);
                }
            }
        }
    }
}

#[test]
fn a_damaged_segment_is_neither_merged_nor_replaced() {
    let storage = stored(false, FACTOR + 1);
    let all = open(storage.clone(), false).unwrap().stored_segments().unwrap();
    let damaged = ObjectKey::Segment(all[0]);
    let good = storage.get(&damaged, u64::MAX).unwrap();
    assert!(storage.corrupt(&damaged, |bytes| bytes[200] ^= 1));
    merge(storage.clone(), false, None);
    let merged = merged_segment(&*storage, &all);
    assert!(!merged.replaces().any(|id| id == all[0]));
    assert_eq!(merged.replaces().count(), FACTOR as usize);
    storage.corrupt(&damaged, |bytes| *bytes = good);
    assert_whole(storage, false, FACTOR + 1);
}

/// A cached copy goes bad while it is open: what it says is not copied into a merged segment.
#[test]
fn a_damaged_cached_copy_is_neither_merged_nor_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let storage = stored(false, FACTOR + 1);
    let repo = open_cached(storage.clone(), false, Some(folder.path()));
    let all = repo.stored_segments().unwrap();
    let session = begin(&repo);
    let config = Repository::read_config(&*storage).unwrap().config;
    let index = folder.path().join(config.repository.to_string()).join("index");
    let file = File::options().write(true).open(index.join(all[0].to_string())).unwrap();
    // The offset of the only chunk in its block: wrong, and not impossible.
    let place = file.metadata().unwrap().len() - 32 - 24;
    file.write_all_at(&[1], place + 12).unwrap();
    session.merge_index();
    session.abandon();
    let merged = merged_segment(&*storage, &all);
    assert_eq!(merged.len(), FACTOR as usize);
    assert!(!merged.replaces().any(|id| id == all[0]));
    assert_whole(storage, false, FACTOR + 1);
}

/// The one stored segment that is not among `known`.
fn merged_segment(storage: &dyn Storage, known: &[SegmentId]) -> Segment<Vec<u8>> {
    let repo = storage.list(icecore::format::Folder::Index).unwrap();
    let keys: Vec<_> = repo.into_iter().filter_map(|listed| listed.key).collect();
    let new: Vec<_> = keys
        .iter()
        .filter(|key| !known.iter().any(|id| **key == ObjectKey::Segment(*id)))
        .collect();
    assert_eq!(new.len(), 1);
    let bytes = storage.get(new[0], u64::MAX).unwrap();
    Segment::open(bytes[OBJECT_HEADER_LEN..].to_vec()).unwrap()
}

fn chunk(n: u32) -> ChunkId {
    ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

/// Stores a segment of made-up chunks, `places` of them each, in a pack that is not there.
fn put_segment(storage: &dyn Storage, builder: SegmentBuilder) -> SegmentId {
    let repository = Repository::read_config(storage).unwrap().config.repository;
    let header =
        ObjectHeader { contents: Contents::Segment, seal: Seal::Plain, salt: [1; 16], repository };
    let stored = [&header.encode()[..], &builder.encode()].concat();
    let id = SegmentId(*blake3::hash(&stored).as_bytes());
    storage.put_new(&ObjectKey::Segment(id), &stored).unwrap();
    id
}

fn pack(n: u8) -> PackInfo {
    PackInfo { id: PackId([n; 32]), kind: PackKind::Data, salt: [n; 16], stored_len: 1 << 20 }
}

fn record(id: ChunkId, chunk_offset: u32, base: Option<ChunkId>) -> Record {
    Record { id, pack: 0, block_offset: 64, block_len: 100, chunk_offset, chunk_len: 1, base }
}

/// A chunk is whole in one segment and a difference in others: after the merge it is both, the
/// whole one first, since it may be a base itself; and packs that are not there stay named.
#[test]
fn every_place_and_every_base_survives_a_merge() {
    let storage = Arc::new(MemoryStorage::new());
    init(storage.clone(), false);
    for n in 0..FACTOR as u8 {
        let mut builder = SegmentBuilder::default();
        builder.add_pack(pack(n));
        let base = (n != 2).then(|| chunk(100 + u32::from(n)));
        builder.add(record(chunk(1), 0, base));
        builder.add(record(chunk(100 + u32::from(n)), 1, None));
        put_segment(&*storage, builder);
    }
    let known = open(storage.clone(), false).unwrap().stored_segments().unwrap();
    merge(storage.clone(), false, None);
    for id in known {
        storage.delete(&ObjectKey::Segment(id)).unwrap();
    }
    let repo = open(storage, false).unwrap();
    let places = repo.chunk_places(&chunk(1)).unwrap();
    assert_eq!(places.len(), FACTOR as usize);
    assert_eq!((places[0].base, places[0].pack), (None, pack(2)));
    for place in &places[1..] {
        let n = place.pack.id.0[0];
        assert_eq!((place.base, place.pack), (Some(chunk(100 + u32::from(n))), pack(n)));
    }
}

/// More bytes than are held in memory: through a file, with a cache or without.
#[test]
fn a_large_segment_is_fetched_through_a_file() {
    let storage = Arc::new(MemoryStorage::new());
    init(storage.clone(), false);
    let count = 1_200_000;
    let mut builder = SegmentBuilder::default();
    builder.add_pack(pack(1));
    (0..count).for_each(|n| builder.add(record(chunk(n), n % 100, None)));
    let id = put_segment(&*storage, builder);
    assert!(storage.len(&ObjectKey::Segment(id)).unwrap() > 64 << 20);
    let folder = tempfile::tempdir().unwrap();
    for cache in [None, Some(folder.path()), Some(folder.path())] {
        let repo = open_cached(storage.clone(), false, cache);
        for n in (0..count).step_by(9973) {
            assert_eq!(repo.chunk_places(&chunk(n)).unwrap()[0].chunk_offset, n % 100);
        }
        assert!(!repo.has_chunk(&chunk(count)).unwrap());
    }
    // One byte of it is wrong: nothing is kept, and the rest of the repository is there.
    assert!(storage.corrupt(&ObjectKey::Segment(id), |bytes| bytes[50 << 20] ^= 1));
    let other = tempfile::tempdir().unwrap();
    for cache in [None, Some(other.path())] {
        let repo = open_cached(storage.clone(), false, cache);
        assert!(!repo.has_chunk(&chunk(1)).unwrap());
        assert!(begin(&repo).is_degraded());
    }
    let left: Vec<_> = fs::read_dir(other.path())
        .unwrap()
        .flat_map(|entry| fs::read_dir(entry.unwrap().path().join("index")).into_iter().flatten())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
