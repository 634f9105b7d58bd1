//! Two small repositories, plain and encrypted, byte for byte the same at every run.
//!
//! Packs, segments and sealed objects are put together here a second time, as icecore-format(5) says
//! and without the library's own writers, which take their salts from the system.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of it")]

use icecore::codec::aead::{self, MasterKey, ObjectCipher, Purpose, SubKey};
use icecore::codec::kdf;
use icecore::format::index::{PackInfo, Record, SegmentBuilder};
use icecore::format::pack::{BlockEntry, Footer, Trailer};
use icecore::format::{
    Body, ChunkEntry, ChunkId, Commit, Content, Contents, Derivation, Extent, FrameKind, KeyId,
    KeySlot, Leaf, Node, OBJECT_HEADER_LEN, ObjectKey, PackId, PackKind, Seal, SegmentId,
    StoredConfig, Totals, TreePage, frame,
};

use super::format_fixtures::{
    BY_KEY_FILE, BY_PASSPHRASE, KEY, REPOSITORY, SNAPSHOT, beat, config, file, forgotten, header,
    key_slot, node, owner, snapshot, stored_block, tagging,
};

pub const PASSPHRASE: &[u8] = b"correct horse";
pub const KEY_FILE: &[u8] = b"32 bytes of a key file for tests";

type Make = fn() -> Vec<u8>;

/// Every regular file with what it holds: two chunks around a hole, and inline.
pub const FILES: [(&str, Make); 2] = [
    ("sparse", || [first(), vec![0; 8192], second()].concat()),
    ("sub/inline", || b"inline content".to_vec()),
];

fn first() -> Vec<u8> {
    (0..700_u32).map(|n| (n * n % 251) as u8).collect()
}

fn second() -> Vec<u8> {
    b"the end of the file".to_vec()
}

/// All objects of the golden repository.
pub fn repository(encrypted: bool) -> Vec<(ObjectKey, Vec<u8>)> {
    let maker = Maker { master: encrypted.then(|| MasterKey::new([0x4d; 32])) };
    let mut objects = maker.opening();
    let data = maker.pack(PackKind::Data, &[&first(), &second()]);
    let sub = maker.sub();
    let root = maker.root(&sub);
    let meta = maker.pack(PackKind::Meta, &[&sub, &root]);
    let segment = maker.segment(&[&data, &meta]);
    objects.extend([data, meta].map(|pack| (pack.key(), pack.bytes)));
    objects.push(segment);
    let totals = Totals { files: 2, directories: 1, others: 0, size: 8925, data: 733 };
    let top = Body::Directory { page: Some(maker.id(PackKind::Meta, &root)), entries: 2, totals };
    let commit = Commit::Snapshot(Box::new(snapshot(top)));
    let key = ObjectKey::Snapshot(SNAPSHOT);
    objects.push(maker.framed(key, FrameKind::Snapshot, commit.encode(REPOSITORY)));
    let key = ObjectKey::Beat(SNAPSHOT, beat().beat);
    objects.push(maker.framed(key, FrameKind::Beat, beat().encode()));
    objects.extend(maker.marks());
    objects
}

struct Maker {
    master: Option<MasterKey>,
}

struct Pack {
    info: PackInfo,
    chunks: Vec<ChunkEntry>,
    block_len: u32,
    bytes: Vec<u8>,
}

impl Pack {
    fn key(&self) -> ObjectKey {
        ObjectKey::Pack(self.info.kind, self.info.id)
    }
}

impl Maker {
    fn seal(&self) -> Seal {
        if self.master.is_some() { Seal::Aes256Gcm } else { Seal::Plain }
    }

    fn id(&self, kind: PackKind, plain: &[u8]) -> ChunkId {
        let keyed = |key| *blake3::keyed_hash(&key, plain).as_bytes();
        ChunkId(match (kind, &self.master) {
            (PackKind::Data, Some(master)) => keyed(master.derive(SubKey::ChunkId)),
            (PackKind::Meta, Some(master)) => keyed(master.derive(SubKey::PageId)),
            (PackKind::Data, None) => *blake3::hash(plain).as_bytes(),
            (PackKind::Meta, None) => {
                blake3::derive_key("icecore 1 page id of a plain repository", plain)
            }
        })
    }

    /// Config and key slots.
    fn opening(&self) -> Vec<(ObjectKey, Vec<u8>)> {
        let config = config(self.master.is_some());
        let mac = |master: &MasterKey| {
            *blake3::keyed_hash(&master.derive(SubKey::Config), &config.encode()).as_bytes()
        };
        let mac = self.master.as_ref().map_or([0; 32], mac);
        let stored = StoredConfig { config: config.clone(), mac };
        let bytes = frame::encode(FrameKind::Config, Seal::Plain, &stored.encode());
        let mut objects = vec![(ObjectKey::Config, bytes)];
        if let Some(master) = &self.master {
            let key = kdf::key_file_key(KEY_FILE, &[0x5b; 32]);
            objects.push(slot(KEY, BY_KEY_FILE, &key, master));
            let key = kdf::passphrase_key(PASSPHRASE, 64, 2, 3, &[0x5a; 32]).unwrap();
            objects.push(slot(KeyId([0x99; 16]), BY_PASSPHRASE, &key, master));
        }
        objects
    }

    /// Seals one part of a pack or segment; in a plain repository the part as it is.
    fn part(&self, purpose: Purpose, number: u64, associated: &[u8], mut part: Vec<u8>) -> Vec<u8> {
        if let Some(master) = &self.master {
            let salt = [&b"a salt, 16 bytes"[..], &REPOSITORY.0].concat().try_into().unwrap();
            ObjectCipher::new(master, purpose, &salt).seal(number, associated, &mut part);
        }
        part
    }

    /// A pack of one block.
    fn pack(&self, kind: PackKind, chunks: &[&[u8]]) -> Pack {
        let purpose = match kind {
            PackKind::Data => Purpose::DataPack,
            PackKind::Meta => Purpose::MetaPack,
        };
        let header = header(Contents::Pack(kind), self.seal());
        let plain = chunks.concat();
        let block = self.part(purpose, OBJECT_HEADER_LEN as u64, &[], stored_block(&plain));
        let entry =
            |chunk: &&[u8]| ChunkEntry { id: self.id(kind, chunk), len: chunk.len() as u32 };
        let chunks: Vec<_> = chunks.iter().map(entry).collect();
        let (block_len, plain_len) = (block.len() as u32, plain.len() as u32);
        let blocks = vec![BlockEntry {
            stored_len: block_len,
            plain_len,
            chunks: chunks.clone(),
            bases: Vec::new(),
        }];
        let footer_offset = (OBJECT_HEADER_LEN + block.len()) as u64;
        let footer = self.part(purpose, footer_offset, &[], Footer { blocks }.encode());
        let trailer = Trailer { footer_offset, footer_len: footer.len() as u64 }.encode();
        let bytes = [header.encode().to_vec(), block, footer, trailer].concat();
        let id = PackId(*blake3::hash(&bytes).as_bytes());
        let info = PackInfo { id, kind, salt: header.salt, stored_len: bytes.len() as u64 };
        Pack { info, chunks, block_len, bytes }
    }

    fn segment(&self, packs: &[&Pack]) -> (ObjectKey, Vec<u8>) {
        let mut builder = SegmentBuilder::default();
        for pack in packs {
            let number = builder.add_pack(pack.info);
            let mut chunk_offset = 0;
            for chunk in &pack.chunks {
                builder.add(Record {
                    id: chunk.id,
                    pack: number,
                    block_offset: OBJECT_HEADER_LEN as u32,
                    block_len: pack.block_len,
                    chunk_offset,
                    chunk_len: chunk.len,
                    base: None,
                });
                chunk_offset += chunk.len;
            }
        }
        let body = builder.encode();
        let len = (body.len() as u64).to_le_bytes();
        let mut bytes = header(Contents::Segment, self.seal()).encode().to_vec();
        bytes.extend(self.part(Purpose::Segment, 0, &len, body));
        (ObjectKey::Segment(SegmentId(*blake3::hash(&bytes).as_bytes())), bytes)
    }

    fn framed(&self, key: ObjectKey, kind: FrameKind, record: Vec<u8>) -> (ObjectKey, Vec<u8>) {
        let Some(master) = &self.master else {
            return (key, frame::encode(kind, Seal::Plain, &record));
        };
        let purpose = match kind {
            FrameKind::Beat => Purpose::Beat,
            FrameKind::Forgotten => Purpose::Forgotten,
            FrameKind::Tagging => Purpose::Tagging,
            FrameKind::Pin => Purpose::Pin,
            FrameKind::Candidates => Purpose::Candidates,
            FrameKind::Decision => Purpose::Decision,
            _ => Purpose::Snapshot,
        };
        let salt = [0xa5; 32];
        let associated = [&REPOSITORY.0[..], key.to_string().as_bytes()].concat();
        let mut sealed = record;
        ObjectCipher::new(master, purpose, &salt).seal(0, &associated, &mut sealed);
        let payload = [&salt[..], &sealed].concat();
        (key, frame::encode(kind, Seal::Aes256Gcm, &payload))
    }

    /// What stands beside the snapshot: it is forgotten, but protected by the second of two records.
    fn marks(&self) -> Vec<(ObjectKey, Vec<u8>)> {
        let mut objects = vec![self.framed(
            ObjectKey::Forgotten(SNAPSHOT),
            FrameKind::Forgotten,
            forgotten().encode(),
        )];
        for record in [tagging(0, &["nightly"], false), tagging(1, &["release"], true)] {
            let key = ObjectKey::Tags(SNAPSHOT, record.number);
            objects.push(self.framed(key, FrameKind::Tagging, record.encode()));
        }
        objects
    }

    /// The page of the directory `sub`.
    fn sub(&self) -> Vec<u8> {
        let bytes = FILES[1].1();
        let (len, hash) = (bytes.len() as u64, *blake3::hash(&bytes).as_bytes());
        leaf(vec![node(b"inline", file(len, len, Some(hash), Content::Inline(bytes)))])
    }

    /// The page of the root directory.
    fn root(&self, sub: &[u8]) -> Vec<u8> {
        let bytes = FILES[0].1();
        let (size, data) = (bytes.len() as u64, 719);
        let extents = [first(), second()]
            .map(|chunk| Extent { id: self.id(PackKind::Data, &chunk), len: chunk.len() as u64 });
        let extents = vec![extents[0], Extent::hole(8192), extents[1]];
        let content = Content::Extents { level: 0, extents };
        let sparse = file(size, data, Some(*blake3::hash(&bytes).as_bytes()), content);
        let totals = Totals { files: 1, directories: 0, others: 0, size: 14, data: 14 };
        let page = Some(self.id(PackKind::Meta, sub));
        leaf(vec![
            node(b"sparse", sparse),
            node(b"sub", Body::Directory { page, entries: 1, totals }),
        ])
    }
}

fn leaf(nodes: Vec<Node>) -> Vec<u8> {
    TreePage::Leaf(Leaf { owners: vec![owner(0, "root"), owner(1000, "ada")], nodes }).encode()
}

fn slot(
    id: KeyId,
    derivation: Derivation,
    key: &[u8; 32],
    master: &MasterKey,
) -> (ObjectKey, Vec<u8>) {
    let mut slot = KeySlot { id, ..key_slot(derivation) };
    slot.wrapped = aead::wrap(key, &slot.associated_data(), master);
    (ObjectKey::Key(id), frame::encode(FrameKind::Key, Seal::Plain, &slot.encode()))
}
