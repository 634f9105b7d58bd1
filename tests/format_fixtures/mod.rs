//! One fixed value of every structure of format 1.
//!
//! Golden tests hold their bytes, fuzz targets start from them.

#![allow(dead_code, unreachable_pub, reason = "each crate uses its own part of it")]

use icecore::codec::parity::{ParityOf, protect};
use icecore::format::index::{PackInfo, Record, SegmentBuilder};
use icecore::format::pack::{BlockEntry, Footer, Trailer};
use icecore::format::{
    Added, Beat, Body, Capture, ChunkClass, ChunkEntry, ChunkId, Chunking, Commit, Config, Content,
    Contents, Derivation, DrillCheck, DrillPhase, DrillResult, Drilled, DrilledComponent, Extent,
    ExtentPage, File, Forgotten, FrameKind, Generation, HardLink, KeyId, KeySlot, Leaf,
    LedgerEvent, LedgerLink, LedgerRecord, Node, ObjectHeader, ObjectKey, Owner, PackId, PackKind,
    PageRef, Pin, PinId, RecordId, RepositoryId, Seal, SegmentId, Settings, Snapshot, SnapshotId,
    Source, StoredConfig, Tagging, Time, Totals, TreePage, Trouble, Verified, Xattr, frame,
};
use icecore::format::{Origin, Replicated, ReplicatedSnapshot};

pub const REPOSITORY: RepositoryId = RepositoryId(*b"repository 16 by");
pub const SNAPSHOT: SnapshotId = SnapshotId(*b"snapshot 16 byte");
pub const KEY: KeyId = KeyId(*b"a key slot of 16");

/// A structure in its stored form.
pub struct Sample {
    /// What it is: the name of a golden file and of a fuzz target.
    pub kind: &'static str,
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// What the decoder needs to know besides the bytes: a length or an offset, else 0.
    pub context: u64,
}

/// Every structure, each kind's samples in a row.
pub fn samples() -> Vec<Sample> {
    let of = |kind, samples: Vec<(&'static str, Vec<u8>)>| {
        samples.into_iter().map(move |(name, bytes)| Sample { kind, name, bytes, context: 0 })
    };
    let mut all = Vec::new();
    all.extend(of("frame", frames()));
    all.extend(of("object_header", object_headers()));
    all.extend(of("config", configs()));
    all.extend(of("key_slot", key_slots()));
    all.extend(of("beat", vec![("beat", beat().encode())]));
    all.extend(of("ledger", vec![("verified", ledger().encode())]));
    all.extend(of("ledger", vec![("replicated", replicated().encode())]));
    all.extend(of("ledger", vec![("drilled", drilled().encode())]));
    all.extend(of("ledger", vec![("ran", ran().encode())]));
    all.extend(of("commit", commits()));
    all.extend(of("forgotten", vec![("forgotten", forgotten().encode())]));
    all.extend(of("tagging", taggings()));
    all.extend(of("pin", vec![("of one", pin(vec![SNAPSHOT])), ("of all", pin(Vec::new()))]));
    all.extend(of("generation", generations()));
    all.extend(of("tree_page", pages().map(|(name, page)| (name, payload(&page.encode()))).into()));
    all.extend(extent_pages().map(|(name, page)| {
        let context = page.extents.iter().map(|extent| extent.len).sum();
        Sample { kind: "extent_page", name, bytes: payload(&page.encode()), context }
    }));
    let bytes = footer().encode();
    all.push(Sample { kind: "footer", name: "two blocks", bytes, context: 64 + 57 });
    all.push(Sample { kind: "footer", name: "empty", bytes: vec![0; 16], context: 64 });
    let bytes = Trailer { footer_offset: 0x0102, footer_len: 0x30 }.encode();
    all.push(Sample { kind: "trailer", name: "trailer", bytes, context: 0x0102 + 0x30 + 64 });
    all.extend(of("segment", vec![("20 chunks", segment(20)), ("1 chunk", segment(1))]));
    all.extend(of("block", blocks()));
    all.extend(of("parity", vec![("pack of 1000 bytes, 50 %", parity())]));
    all.extend(of("settings", vec![("settings", settings().encode())]));
    let names = object_keys().map(|key| ("name", key.to_string().into_bytes()));
    all.extend(of("object_key", names.into()));
    all
}

/// A page without the frame around it.
fn payload(framed: &[u8]) -> Vec<u8> {
    framed[frame::HEADER_LEN..].to_vec()
}

pub const fn time(secs: i64, nanos: u32) -> Time {
    Time { secs, nanos }
}

pub fn object_keys() -> [ObjectKey; 15] {
    [
        ObjectKey::Config,
        ObjectKey::Key(KEY),
        ObjectKey::Beat(SNAPSHOT, 12),
        ObjectKey::Snapshot(SNAPSHOT),
        ObjectKey::Segment(SegmentId([0xab; 32])),
        ObjectKey::Pack(PackKind::Data, PackId([0x0c; 32])),
        ObjectKey::Pack(PackKind::Meta, PackId([0xde; 32])),
        ObjectKey::Parity(PackId([0xde; 32])),
        ObjectKey::Forgotten(SNAPSHOT),
        ObjectKey::Tags(SNAPSHOT, 3),
        ObjectKey::Pin(PinId([0x11; 16]), 1),
        ObjectKey::Candidates(2),
        ObjectKey::Decision(2),
        ObjectKey::Ledger(1_795_000_000, RecordId([0x22; 16])),
        ObjectKey::Settings(4),
    ]
}

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let names = [
        "config",
        "key",
        "beat",
        "snapshot",
        "tree page",
        "extent page",
        "forgotten",
        "tagging",
        "pin",
        "candidates",
        "decision",
        "ledger",
        "settings",
    ];
    let plain = FrameKind::ALL.map(|kind| frame::encode(kind, Seal::Plain, b"payload"));
    let mut frames: Vec<_> = names.into_iter().zip(plain).collect();
    frames.push(("sealed", frame::encode(FrameKind::Snapshot, Seal::Aes256Gcm, b"payload")));
    frames.push(("empty", frame::encode(FrameKind::Beat, Seal::Plain, b"")));
    frames
}

/// What the sample of parity protects: no pack, which matters to nobody.
pub fn protected() -> (ParityOf, Vec<u8>) {
    let bytes: Vec<u8> = (0..1000_u32).map(|n| ((n * n) >> 3) as u8).collect();
    let pack = PackId(*blake3::hash(&bytes).as_bytes());
    (ParityOf { kind: PackKind::Data, repository: REPOSITORY, pack }, bytes)
}

pub fn parity() -> Vec<u8> {
    let (of, bytes) = protected();
    protect(of, &bytes, 500).unwrap()
}

pub fn settings() -> Settings {
    Settings {
        repository: REPOSITORY,
        number: 4,
        at: time(1_795_000_004, 4),
        host: "host".into(),
        parity_permille: 50,
    }
}

pub fn header(contents: Contents, seal: Seal) -> ObjectHeader {
    ObjectHeader { contents, seal, salt: *b"a salt, 16 bytes", repository: REPOSITORY }
}

fn object_headers() -> Vec<(&'static str, Vec<u8>)> {
    let bytes = |contents, seal| header(contents, seal).encode().to_vec();
    vec![
        ("plain data pack", bytes(Contents::Pack(PackKind::Data), Seal::Plain)),
        ("sealed meta pack", bytes(Contents::Pack(PackKind::Meta), Seal::Aes256Gcm)),
        ("plain segment", bytes(Contents::Segment, Seal::Plain)),
        ("sealed segment", bytes(Contents::Segment, Seal::Aes256Gcm)),
    ]
}

pub const fn config(encrypted: bool) -> Config {
    Config {
        format: 1,
        repository: REPOSITORY,
        created: time(1_795_000_000, 123_456_789),
        encrypted,
        chunking: Chunking::DEFAULT,
    }
}

fn configs() -> Vec<(&'static str, Vec<u8>)> {
    let stored = |encrypted, mac| StoredConfig { config: config(encrypted), mac }.encode();
    vec![("plain", stored(false, [0; 32])), ("encrypted", stored(true, [0xcc; 32]))]
}

pub fn key_slot(derivation: Derivation) -> KeySlot {
    KeySlot {
        id: KEY,
        repository: REPOSITORY,
        created: time(1_795_000_001, 1),
        label: "ada@höst".into(),
        derivation,
        wrapped: (0..48).collect(),
    }
}

pub const BY_PASSPHRASE: Derivation =
    Derivation::Passphrase { memory_kib: 64, passes: 2, lanes: 3, salt: [0x5a; 32] };
pub const BY_KEY_FILE: Derivation = Derivation::KeyFile { salt: [0x5b; 32] };

fn key_slots() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("passphrase", key_slot(BY_PASSPHRASE).encode()),
        ("key file", key_slot(BY_KEY_FILE).encode()),
    ]
}

pub fn beat() -> Beat {
    Beat {
        repository: REPOSITORY,
        session: SNAPSHOT,
        beat: 0x0102,
        at: time(1_795_000_002, 2),
        host: "host".into(),
        pid: 0x0304_0506,
    }
}

pub fn forgotten() -> Forgotten {
    Forgotten {
        repository: REPOSITORY,
        snapshot: SNAPSHOT,
        at: time(1_795_000_004, 4),
        host: "host".into(),
    }
}

pub fn tagging(number: u64, tags: &[&str], protected: bool) -> Tagging {
    Tagging {
        repository: REPOSITORY,
        snapshot: SNAPSHOT,
        number,
        at: time(1_795_000_005, 5),
        host: "host".into(),
        tags: tags.iter().map(ToString::to_string).collect(),
        protected,
    }
}

fn taggings() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("no tags", tagging(0, &[], false).encode()),
        ("two tags, protected", tagging(0x0102, &["nightly", "ünïcode"], true).encode()),
    ]
}

fn pin(snapshots: Vec<SnapshotId>) -> Vec<u8> {
    Pin {
        repository: REPOSITORY,
        id: PinId([0x11; 16]),
        beat: 0x0102,
        snapshots,
        at: time(1_795_000_006, 6),
        host: "host".into(),
        pid: 0x0304_0506,
    }
    .encode()
}

fn generations() -> Vec<(&'static str, Vec<u8>)> {
    let generation = |packs, snapshots| {
        let at = time(1_795_000_007, 7);
        let host = "pruner".into();
        Generation { repository: REPOSITORY, number: 0x0102, at, host, packs, snapshots }.encode()
    };
    let packs = vec![
        (PackKind::Data, PackId([0x0c; 32])),
        (PackKind::Data, PackId([0x0d; 32])),
        (PackKind::Meta, PackId([0x01; 32])),
    ];
    vec![
        ("nothing", generation(Vec::new(), Vec::new())),
        ("packs and snapshots", generation(packs, vec![SNAPSHOT, SnapshotId([0x77; 16])])),
    ]
}

pub fn ledger() -> LedgerRecord {
    let before = LedgerLink::to(1_795_000_000, RecordId([0x22; 16]), b"payload");
    LedgerRecord {
        repository: REPOSITORY,
        id: RecordId([0x23; 16]),
        at: time(1_795_000_003, 3),
        host: "host".into(),
        program: "icecore 0.1.0".into(),
        previous: vec![before],
        event: LedgerEvent::Verified(Verified {
            duration_ns: 0x0102_0304,
            complete: true,
            snapshots: 2,
            packs_stored: 3,
            bytes_stored: 0x0506,
            bytes_read: 0x0405,
            packs: vec![0x0102_0304_0506_0708, 0x1112_1314_1516_1718],
            damaged_count: 2,
            damaged: vec!["data/ab/cd".into()],
        }),
    }
}

/// A record of copies that did not come to its end.
pub fn replicated() -> LedgerRecord {
    let copied = ReplicatedSnapshot { origin: SNAPSHOT, copy: SnapshotId([0x78; 16]) };
    LedgerRecord {
        event: LedgerEvent::Replicated(Replicated {
            duration_ns: 0x0103_0507,
            from: RepositoryId([0x24; 16]),
            snapshots: vec![copied],
            bytes_stored: 0x0709,
            error: "data/ab is damaged".into(),
        }),
        ..ledger()
    }
}

/// A snapshot that is the copy of another.
fn copy_of(snapshot: Snapshot) -> Snapshot {
    let origin = Origin { repository: RepositoryId([0x24; 16]), snapshot: SnapshotId([0x79; 16]) };
    Snapshot { origin: Some(origin), ..snapshot }
}

pub fn drilled() -> LedgerRecord {
    let check = |name: &str, passed| DrillCheck {
        name: name.into(),
        kind: "manifest".into(),
        passed,
        duration_ns: 0x0b0c,
        told: "3 files".into(),
    };
    let event = LedgerEvent::Drilled(Box::new(Drilled {
        name: "serving".into(),
        mode: "instant".into(),
        started: time(1_795_000_001, 1),
        duration_ns: 0x0102_0304,
        components: vec![DrilledComponent {
            name: "weights".into(),
            source: "models".into(),
            snapshot: SNAPSHOT,
            time: time(1_795_000_000, 2),
        }],
        phases: vec![DrillPhase { name: "mount".into(), start_ns: 0x0506, duration_ns: 0x0708 }],
        checks: vec![check("weights", true)],
        control: vec![check("weights", false)],
        rto_ns: 0x0a0b,
        rto_target_ns: Some(0x0c0d),
        rpo_ns: 0x0e0f,
        rpo_target_ns: None,
        result: DrillResult::Failed,
        cause: "stale".into(),
    }));
    LedgerRecord { event, ..ledger() }
}

/// A record of a part of a run.
pub fn ran() -> LedgerRecord {
    LedgerRecord {
        event: LedgerEvent::Ran(icecore::format::Ran {
            part: "ingest".into(),
            name: "models".into(),
            started: time(1_795_000_001, 2),
            duration_ns: 0x0305_0709,
            snapshot: Some(SNAPSHOT),
            error: String::new(),
        }),
        ..ledger()
    }
}

/// A snapshot whose root directory has this top page, entries and totals.
fn captures() -> Vec<Capture> {
    let capture = |source: &str, method: &str, path: &[u8], facts: &[(&str, &str)]| Capture {
        source: source.into(),
        method: method.into(),
        path: path.to_vec(),
        started: time(1_795_000_003, 7),
        ended: time(1_795_000_004, 8),
        facts: facts.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
    };
    vec![
        capture("stack", "group", b"", &[]),
        capture("features", "postgres physical", b"srv/pg", &[("start_lsn", "0/2000028")]),
        capture("", "sqlite", b"srv/\xff.db", &[("page_size", "4096"), ("wal", "none")]),
    ]
}

pub fn snapshot(root: Body) -> Snapshot {
    let mut node = node(b"", root);
    (node.mode, node.owner) = (0o755, 0);
    Snapshot {
        id: SNAPSHOT,
        time: time(1_795_000_003, 3),
        duration_ns: 0x0a0b_0c0d,
        host: "host".into(),
        user: "ada".into(),
        program: "icecore 0.1.0".into(),
        tags: vec!["nightly".into(), "ünïcode".into()],
        sources: vec![Source { path: b"/srv/models".to_vec() }, Source { path: vec![0xff, b'/'] }],
        parent: Some(SnapshotId([0x77; 16])),
        root: Leaf { owners: vec![owner(0, "root")], nodes: vec![node] },
        troubles: vec![Trouble { path: b"srv/\xfe".to_vec(), what: "cannot read: it".into() }],
        troubles_count: 2,
        added: Added { chunks: 4, plain: 5000, stored: 6000 },
        origin: None,
        captures: Vec::new(),
    }
}

fn commits() -> Vec<(&'static str, Vec<u8>)> {
    let empty = Body::Directory { page: None, entries: 0, totals: Totals::default() };
    let full = Snapshot { parent: None, ..snapshot(directory()) };
    let copy = copy_of(full.clone());
    let captured = Snapshot { captures: captures(), ..full.clone() };
    let tombstone = Commit::Tombstone { at: time(-1, 999_999_999), host: "evictor".into() };
    let encode = |commit: Commit| commit.encode(REPOSITORY);
    vec![
        ("empty snapshot", encode(Commit::Snapshot(Box::new(snapshot(empty))))),
        ("snapshot", encode(Commit::Snapshot(Box::new(full)))),
        ("tombstone", encode(tombstone)),
        ("copy", encode(Commit::Snapshot(Box::new(copy)))),
        ("captured snapshot", encode(Commit::Snapshot(Box::new(captured)))),
    ]
}

pub fn owner(number: u32, name: &str) -> Owner {
    Owner { uid: number, gid: number + 1, user: name.into(), group: format!("{name}s") }
}

pub fn node(name: &[u8], body: Body) -> Node {
    Node {
        name: name.to_vec(),
        mode: 0o644,
        owner: 1,
        mtime: time(1_600_000_000, 999_999_999),
        ctime: time(1_600_000_001, 0),
        atime: None,
        btime: None,
        inode: 0x0102_0304,
        link: None,
        xattrs: Vec::new(),
        unstable: false,
        body,
    }
}

fn directory() -> Body {
    let totals = Totals { files: 1, directories: 2, others: 3, size: 4, data: 5 };
    Body::Directory { page: Some(ChunkId([0x44; 32])), entries: 6, totals }
}

pub fn file(size: u64, data: u64, hash: Option<[u8; 32]>, content: Content) -> Body {
    Body::File(File { size, data, hash, class: ChunkClass::Default, content })
}

/// One node of every kind, every option both ways.
fn leaf() -> Leaf {
    let extents = vec![
        Extent { id: ChunkId([0x31; 32]), len: 1000 },
        Extent::hole(1 << 40),
        Extent { id: ChunkId([0x32; 32]), len: 24 },
    ];
    let size = (1 << 40) + 1024;
    let paged = vec![Extent { id: ChunkId([0x33; 32]), len: 1 << 33 }];
    let tensor = File {
        size: 1 << 33,
        data: 1 << 33,
        hash: Some([0x21; 32]),
        class: ChunkClass::Tensor,
        content: Content::Extents { level: 2, extents: paged },
    };
    let inline = file(5, 5, Some([0x20; 32]), Content::Inline(b"hello".to_vec()));
    let mut linked = node(b"c", inline);
    linked.link = Some(HardLink { group: 0x1122_3344_5566_7788, count: 3 });
    linked.atime = Some(time(-1, 500_000_000));
    linked.btime = Some(time(1 << 33, 1));
    linked.xattrs = vec![
        Xattr { name: b"user.empty".to_vec(), value: Vec::new() },
        Xattr { name: b"user.\xff".to_vec(), value: vec![0, 1, 2] },
    ];
    let mut torn = node(b"d", Body::File(tensor));
    torn.unstable = true;
    let nodes = vec![
        node(b"a", directory()),
        node(b"b", file(size, 1024, None, Content::Extents { level: 0, extents })),
        linked,
        torn,
        node(b"e", Body::Symlink { target: b"../\xff target".to_vec() }),
        node(b"f", Body::Fifo),
        node(b"g", Body::Socket),
        node(b"h", Body::CharDevice { major: 1, minor: 0x000f_ffff }),
        node(b"\xff", Body::BlockDevice { major: 0x0fff, minor: 2 }),
    ];
    Leaf { owners: vec![owner(0, "root"), owner(u32::MAX - 2, "")], nodes }
}

fn pages() -> [(&'static str, TreePage); 2] {
    let child = |name: &[u8], n| PageRef {
        first: name.to_vec(),
        page: ChunkId([n; 32]),
        entries: 300 + u64::from(n),
    };
    [
        ("leaf", TreePage::Leaf(leaf())),
        ("inner", TreePage::Inner(vec![child(b"a", 1), child(b"b\xff", 2)])),
    ]
}

fn extent_pages() -> [(&'static str, ExtentPage); 2] {
    let chunk = |n, len| Extent { id: ChunkId([n; 32]), len };
    [
        ("chunks", ExtentPage { level: 0, extents: vec![chunk(1, 65_536), Extent::hole(1 << 33)] }),
        ("pages", ExtentPage { level: 1, extents: vec![chunk(2, 1 << 34), chunk(3, 7)] }),
    ]
}

fn footer() -> Footer {
    let chunk = |n, len| ChunkEntry { id: ChunkId([n; 32]), len };
    Footer {
        blocks: vec![
            BlockEntry {
                stored_len: 50,
                plain_len: 30,
                chunks: vec![chunk(1, 10), chunk(2, 20)],
                bases: vec![ChunkId([8; 32]), ChunkId([9; 32])],
            },
            BlockEntry {
                stored_len: 7,
                plain_len: 5,
                chunks: vec![chunk(3, 5)],
                bases: Vec::new(),
            },
        ],
    }
}

/// A segment's body of so many chunks in two packs. One chunk is in both; every fourth is stored
/// as a difference from another.
pub fn segment(count: u32) -> Vec<u8> {
    let mut builder = SegmentBuilder::default();
    for (n, kind) in [(1, PackKind::Data), (2, PackKind::Meta)] {
        let info = PackInfo { id: PackId([n; 32]), kind, salt: [n + 2; 16], stored_len: 1 << 20 };
        let pack = builder.add_pack(info);
        for n in (u32::from(n - 1) * (count - 1)..).take(count as usize) {
            builder.add(Record {
                id: ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes()),
                pack,
                block_offset: 64,
                block_len: 0x0102,
                chunk_offset: 100 * n,
                chunk_len: 100,
                base: (n % 4 == 3).then_some(ChunkId([n as u8; 32])),
            });
        }
    }
    builder.replace(SegmentId([0xee; 32]));
    builder.encode()
}

/// What a block holds before it is sealed, not coded.
pub fn stored_block(plain: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, 0, 0, 0];
    payload.extend_from_slice(&u32::try_from(plain.len()).unwrap().to_le_bytes());
    payload.extend_from_slice(plain);
    payload
}

/// A zstd frame that states its size, made once by zstd 1.5: 300 bytes `a`, then `bcd`.
const ZSTD_FRAME: &str = "28b52ffd602f006500002861616263640100272ac002";
pub const ZSTD_PLAIN: (usize, &[u8]) = (300, b"bcd");

fn blocks() -> Vec<(&'static str, Vec<u8>)> {
    let mut zstd = vec![1, 0, 0, 0];
    let plain_len = (ZSTD_PLAIN.0 + ZSTD_PLAIN.1.len()) as u32;
    zstd.extend_from_slice(&plain_len.to_le_bytes());
    zstd.extend_from_slice(&hex::decode(ZSTD_FRAME).unwrap());
    vec![("stored", stored_block(b"plain bytes")), ("empty", stored_block(b"")), ("zstd", zstd)]
}
