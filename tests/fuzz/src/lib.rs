//! What each fuzz target asserts of one decoder.
//!
//! No input makes a decoder panic; what it accepts keeps the caps of format 1 and encodes to the
//! bytes that it was decoded from, so that no record has two forms. Where a checksum stands in the
//! way it is made right first: whoever damages bytes on purpose does the same.

// icecore, as far as decoders go.
pub mod classes;
#[path = "../../../src/codec/mod.rs"]
pub mod codec;
#[path = "../../../src/format/mod.rs"]
pub mod format;
#[path = "../../format_fixtures/mod.rs"]
mod format_fixtures;

extern crate self as icecore;

use std::cell::RefCell;
use std::convert::Infallible;
use std::path::Path;

use icecore::codec::parity::{ParityOf, rebuild};
use icecore::codec::{BlockEncoder, Chunker, Compression, block};
use icecore::format::index::{Record, Segment, SegmentBuilder};
use icecore::format::pack::{Footer, Trailer};
use icecore::format::parity::{HEAD_LEN, Parity, SUM_LEN};
use icecore::format::{
    Beat, ChunkId, Commit, Contents, ExtentPage, Forgotten, FrameKind, Generation, KeyId, KeySlot,
    LedgerRecord, RecordId,    OBJECT_HEADER_LEN, ObjectHeader, ObjectKey, PackKind, Pin, PinId, RepositoryId, Seal, Settings,
    SnapshotId, StoredConfig, Tagging, TreePage, checksum16, frame, limits,
};

/// Writes a target's seeds into the folder that `ICECORE_FUZZ_SEEDS` names, before it is read.
///
/// # Panics
/// Where the folder cannot be written.
pub fn write_seeds(target: &str) {
    let Some(folder) = std::env::var_os("ICECORE_FUZZ_SEEDS") else { return };
    let samples = format_fixtures::samples().into_iter().filter(|sample| sample.kind == target);
    for (number, sample) in samples.enumerate() {
        let path = Path::new(&folder).join(format!("seed-{number}"));
        let mut bytes = Vec::new();
        if matches!(target, "extent_page" | "footer" | "trailer") {
            bytes.extend_from_slice(&sample.context.to_le_bytes());
        }
        bytes.extend_from_slice(&sample.bytes);
        std::fs::write(&path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

/// The first bytes as a number that a decoder is told besides its bytes.
fn context(data: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = data.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}

/// An id that a record states at `at`: the one that it is expected to have.
fn id_at(data: &[u8], at: usize) -> [u8; 16] {
    data.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default()
}

pub fn frame(data: &[u8]) {
    let mut whole = data.to_vec();
    if let Some((head, payload)) = whole.split_first_chunk_mut::<{ frame::HEADER_LEN }>() {
        head[..4].copy_from_slice(b"ICEF");
        head[8..16].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        let hash = blake3::Hasher::new().update(&head[..16]).update(payload).finalize();
        head[16..].copy_from_slice(&hash.as_bytes()[..16]);
    }
    for bytes in [data, &whole] {
        for kind in FrameKind::ALL {
            if let Ok(found) = frame::decode(kind, bytes) {
                assert!(found.payload.len() <= kind.payload_max());
                assert_eq!(frame::encode(kind, found.seal, found.payload), bytes);
            }
        }
    }
}

/// The bytes, and the bytes with a checksum over the first 48 in the 16 after them.
fn with_checksum(data: &[u8]) -> [Vec<u8>; 2] {
    let mut whole = data.to_vec();
    if let Some((head, sum)) = whole.split_at_mut_checked(48)
        && let Some(sum) = sum.get_mut(..16)
    {
        sum.copy_from_slice(&checksum16(head));
    }
    [data.to_vec(), whole]
}

pub fn object_header(data: &[u8]) {
    let contents =
        [Contents::Pack(PackKind::Data), Contents::Pack(PackKind::Meta), Contents::Segment];
    for bytes in with_checksum(data) {
        for contents in contents {
            if let Ok(header) = ObjectHeader::decode(contents, &bytes) {
                assert_eq!(header.encode(), bytes[..OBJECT_HEADER_LEN]);
            }
        }
    }
}

pub fn config(data: &[u8]) {
    if let Ok(stored) = StoredConfig::decode(data) {
        assert_eq!(stored.encode(), data);
        assert_eq!(stored.config.encode(), data[..data.len() - 32]);
        let chunker = Chunker::new(stored.config.chunking, 1);
        assert!(chunker.max() <= limits::CHUNK_MAX);
    }
}

pub fn key_slot(data: &[u8]) {
    if let Ok(slot) = KeySlot::decode(data, KeyId(id_at(data, 0))) {
        assert_eq!(slot.encode(), data);
        assert_eq!(slot.associated_data(), data[..data.len() - 56]);
    }
}

pub fn beat(data: &[u8]) {
    if let Ok(beat) = Beat::decode(data) {
        assert_eq!(beat.encode(), data);
    }
}

/// A number that a record states at `at`.
fn number_at(data: &[u8], at: usize) -> u64 {
    let bytes = data.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
    u64::from_le_bytes(bytes)
}

pub fn forgotten(data: &[u8]) {
    let (repository, id) = (RepositoryId(id_at(data, 0)), SnapshotId(id_at(data, 16)));
    if let Ok(mark) = Forgotten::decode(data, repository, id) {
        assert_eq!(mark.encode(), data);
    }
}

pub fn tagging(data: &[u8]) {
    let (repository, id) = (RepositoryId(id_at(data, 0)), SnapshotId(id_at(data, 16)));
    if let Ok(tagging) = Tagging::decode(data, repository, id, number_at(data, 32)) {
        assert_eq!(tagging.encode(), data);
        assert!(tagging.tags.len() <= limits::TAGS_MAX);
    }
}

pub fn pin(data: &[u8]) {
    let (repository, id) = (RepositoryId(id_at(data, 0)), PinId(id_at(data, 16)));
    if let Ok(pin) = Pin::decode(data, repository, id, number_at(data, 32)) {
        assert_eq!(pin.encode(), data);
    }
}

pub fn generation(data: &[u8]) {
    let repository = RepositoryId(id_at(data, 0));
    if let Ok(record) = Generation::decode(data, repository, number_at(data, 16)) {
        assert_eq!(record.encode(), data);
        assert!(record.packs.is_sorted() && record.snapshots.is_sorted());
    }
}

pub fn settings(data: &[u8]) {
    let number = data.get(16..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
    let repository = RepositoryId(id_at(data, 0));
    if let Ok(settings) = Settings::decode(data, repository, u64::from_le_bytes(number)) {
        assert_eq!(settings.encode(), data);
        assert!(settings.parity_permille <= limits::PARITY_PERMILLE_MAX);
    }
}

/// The bytes, and the bytes with a checksum that holds in both heads.
pub fn parity(data: &[u8]) {
    let mut whole = data.to_vec();
    if let (Some(head), Some(end)) =
        (data.first_chunk::<HEAD_LEN>(), data.len().checked_sub(HEAD_LEN))
    {
        // The list is as long as the head says, where that fits.
        let count = |at: usize| u32::from_le_bytes(std::array::from_fn(|n| head[at + n])) as usize;
        let list = data.get(HEAD_LEN..HEAD_LEN + (count(20) + count(24)) * SUM_LEN);
        let sum = checksum16(&[&head[..HEAD_LEN - SUM_LEN], list.unwrap_or_default()].concat());
        whole[HEAD_LEN - SUM_LEN..HEAD_LEN].copy_from_slice(&sum);
        let first = whole[..HEAD_LEN].to_vec();
        whole[end..].copy_from_slice(&first);
    }
    for bytes in [data, &whole] {
        let Ok(parity) = Parity::decode(bytes) else { continue };
        let head = parity.head;
        assert!(parity.sums.len() == head.shards() && head.pack_len <= limits::PACK_MAX);
        let shards: Vec<_> = (0..head.recoveries as usize).map(|n| parity.recovery(n)).collect();
        if let (true, Some(shards)) =
            (parity.is_whole, shards.into_iter().collect::<Option<Vec<_>>>())
        {
            assert_eq!(head.encode(&parity.sums, &shards.concat()), bytes);
        }
        let of = ParityOf { kind: head.kind, repository: head.repository, pack: head.pack };
        for damaged in [&[][..], &bytes[..bytes.len() / 2]] {
            if head.pack_len < 1 << 16
                && let Ok(pack) = rebuild(of, damaged, bytes)
            {
                assert_eq!(blake3::hash(&pack).as_bytes(), &of.pack.0);
            }
        }
    }
}

pub fn ledger(data: &[u8]) {
    // A repository id, the record's id, and the seconds of its time.
    let repository = RepositoryId(id_at(data, 0));
    let secs = data.get(32..).and_then(|rest| rest.first_chunk()).map(|b| i64::from_le_bytes(*b));
    let secs = u64::try_from(secs.unwrap_or(0)).unwrap_or(0);
    if data.len() > FrameKind::Ledger.payload_max() {
        return;
    }
    if let Ok(record) = LedgerRecord::decode(data, repository, secs, RecordId(id_at(data, 16))) {
        assert_eq!(record.encode(), data);
    }
}

pub fn commit(data: &[u8]) {
    // A repository id, the variant, and for a snapshot its id.
    let repository = RepositoryId(id_at(data, 0));
    if data.len() > FrameKind::Snapshot.payload_max() {
        return;
    }
    if let Ok(commit) = Commit::decode(data, repository, SnapshotId(id_at(data, 20))) {
        assert_eq!(commit.encode(repository), data);
        if let Commit::Snapshot(snapshot) = &commit {
            assert!(snapshot.root_node().name.is_empty());
            let _ = (snapshot.totals(), snapshot.is_partial());
        }
    }
}

/// A frame of any payload that fits.
fn framed(kind: FrameKind, payload: &[u8]) -> Option<Vec<u8>> {
    (payload.len() <= kind.payload_max()).then(|| frame::encode(kind, Seal::Plain, payload))
}

pub fn tree_page(data: &[u8]) {
    let Some(bytes) = framed(FrameKind::TreePage, data) else { return };
    if let Ok(page) = TreePage::decode(&bytes) {
        assert_eq!(page.encode(), bytes);
        if let TreePage::Leaf(leaf) = &page {
            assert!(leaf.nodes.len() <= limits::PAGE_ENTRIES_MAX);
            assert!(leaf.nodes.iter().all(|node| leaf.owner(node).is_some()));
        }
    }
}

pub fn extent_page(data: &[u8]) {
    let Some((len, payload)) = context(data) else { return };
    let Some(bytes) = framed(FrameKind::ExtentPage, payload) else { return };
    let level = payload.first().copied().unwrap_or_default();
    if let Ok(page) = ExtentPage::decode(&bytes, level, len) {
        assert_eq!(page.encode(), bytes);
        assert_eq!(page.extents.iter().map(|extent| extent.len).sum::<u64>(), len);
        assert!(page.extents.len() <= limits::EXTENTS_MAX);
    }
}

pub fn footer(data: &[u8]) {
    let Some((footer_offset, bytes)) = context(data) else { return };
    if let Ok(footer) = Footer::decode(bytes, footer_offset) {
        assert_eq!(footer.encode(), bytes);
        let stored: u64 = footer.blocks.iter().map(|block| u64::from(block.stored_len)).sum();
        assert_eq!(OBJECT_HEADER_LEN as u64 + stored, footer_offset);
        for block in &footer.blocks {
            assert!(block.plain_len as usize <= limits::BLOCK_PLAIN_MAX);
            assert!(block.stored_len as usize <= limits::BLOCK_STORED_MAX);
        }
    }
}

pub fn trailer(data: &[u8]) {
    let Some((pack_len, data)) = context(data) else { return };
    for bytes in with_checksum(data) {
        if let Ok(trailer) = Trailer::decode(&bytes, pack_len) {
            assert_eq!(trailer.encode(), bytes);
            assert!(trailer.footer_offset + trailer.footer_len < pack_len);
        }
    }
}

pub fn segment(data: &[u8]) {
    for body in with_checksum(data) {
        let Ok(segment) = Segment::open(body.as_slice()) else { continue };
        let sound = segment.check().is_ok();
        // Ids that are there, near them, and anywhere.
        for found in segment.iter().take(64) {
            let Ok((id, place)) = found else {
                assert!(!sound);
                continue;
            };
            let end = u64::from(place.block_offset) + u64::from(place.block_len);
            assert!(end <= place.pack.stored_len && place.pack.stored_len <= limits::PACK_MAX);
            let known =
                segment.places(&id).and_then(|places| places.collect::<Result<Vec<_>, _>>());
            match known {
                Ok(places) if sound => assert!(places.contains(&place)),
                other => assert!(!sound, "{other:?}"),
            }
        }
        for byte in [0, 0x5a, 0x80, 0xff] {
            assert!(segment.find(&ChunkId([byte; 32])).is_ok() || !sound);
        }
        if sound {
            assert_rebuilds(&segment, &body);
        }
    }
}

/// A segment without a fault is what a builder makes of its records, but for the width of the
/// fan-out table, which a writer may choose, and for bases that nothing uses.
fn assert_rebuilds(segment: &Segment<&[u8]>, body: &[u8]) {
    let mut builder = SegmentBuilder::default();
    let packs: Vec<_> = segment.packs().collect::<Result<_, _>>().expect("checked");
    for pack in &packs {
        builder.add_pack(*pack);
    }
    segment.replaces().for_each(|id| builder.replace(id));
    for found in segment.iter() {
        let (id, place) = found.expect("checked");
        let pack = packs.iter().position(|pack| *pack == place.pack).expect("a listed pack");
        builder.add(Record {
            id,
            pack: pack as u32,
            block_offset: place.block_offset,
            block_len: place.block_len,
            chunk_offset: place.chunk_offset,
            chunk_len: place.chunk_len,
            base: place.base,
        });
    }
    let rebuilt = builder.encode();
    let distinct = packs.iter().enumerate().all(|(at, pack)| !packs[..at].contains(pack));
    if rebuilt[12..16] == body[12..16] && rebuilt[32..36] == body[32..36] && distinct {
        assert_eq!(rebuilt, body);
    }
}

thread_local! {
    static ENCODER: RefCell<BlockEncoder> =
        RefCell::new(BlockEncoder::new(Compression::Level(1)).expect("zstd starts"));
}

pub fn block(data: &[u8]) {
    let bases = block::bases_of(data);
    // A base of 32 bytes is shorter or longer than its chunk in turn.
    let decoded = block::decode_with(data, &mut |id| Ok::<_, Infallible>(id.0));
    let Ok(plain) = decoded else { return };
    assert!(plain.len() <= limits::BLOCK_PLAIN_MAX);
    let bases = bases.expect("what decodes has its bases listed");
    let lens = bases.iter().map(|(_, len)| *len as usize).sum::<usize>();
    assert!(bases.is_empty() || lens == plain.len());
    assert_eq!(block::decode(data).is_ok(), bases.is_empty());
    if plain.len() <= 1 << 20 {
        let again = ENCODER.with_borrow_mut(|encoder| encoder.encode(&plain, None));
        assert_eq!(block::decode(&again).as_ref(), Ok(&plain));
    }
}

pub fn object_key(data: &[u8]) {
    if let Ok(name) = std::str::from_utf8(data)
        && let Some(key) = ObjectKey::parse(name)
    {
        assert_eq!(key.to_string(), name);
        assert!(!name.contains(".."));
    }
}
