//! Packs in motion: building one in memory, and reading blocks and footers of stored ones.

use crate::codec::block;
use crate::format::index::{PackInfo, Place, Record};
use crate::format::pack::{BlockEntry, Footer, TRAILER_LEN, Trailer};
use crate::format::{
    ChunkEntry, ChunkId, Contents, OBJECT_HEADER_LEN, ObjectHeader, ObjectKey, PackId, PackKind,
    limits,
};
use crate::storage::Storage;

use super::error::{InObject, RepoError, Result};
use super::vault::{PartCipher, Vault};

/// Chunks on their way into one block.
#[derive(Debug, Clone, Default)]
pub struct BlockDraft {
    /// The chunks' bytes, one after the other.
    pub plain: Vec<u8>,
    /// What lies there.
    pub chunks: Vec<ChunkEntry>,
}

impl BlockDraft {
    /// Adds a chunk.
    pub fn push(&mut self, id: ChunkId, plain: &[u8]) {
        debug_assert!(!plain.is_empty());
        self.plain.extend_from_slice(plain);
        self.chunks.push(ChunkEntry { id, len: plain.len() as u32 });
    }

    /// Whether `len` more bytes should rather start a new block.
    #[must_use]
    pub fn is_full_for(&self, len: usize) -> bool {
        !self.chunks.is_empty() && self.plain.len() + len > limits::BLOCK_TARGET
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

/// A pack under construction.
pub(crate) struct PackBuilder {
    kind: PackKind,
    header: ObjectHeader,
    cipher: PartCipher,
    bytes: Vec<u8>,
    footer: Footer,
    chunks: usize,
}

/// Chunks after which a pack is closed, however small they are: far below what a footer can list,
/// and a footer of at most a few MiB.
const CHUNKS_TARGET: usize = 1 << 17;

/// A pack whose bytes are complete.
pub(crate) struct FinishedPack {
    pub(crate) info: PackInfo,
    pub(crate) bytes: Vec<u8>,
    pub(crate) footer: Footer,
}

impl PackBuilder {
    pub(crate) fn new(vault: &Vault, kind: PackKind) -> Result<Self> {
        let header = vault.new_header(Contents::Pack(kind))?;
        let cipher = vault.part_cipher(header.contents, header.salt);
        let mut bytes = Vec::with_capacity(limits::BLOCK_TARGET);
        bytes.extend_from_slice(&header.encode());
        Ok(Self { kind, header, cipher, bytes, footer: Footer::default(), chunks: 0 })
    }

    /// Appends a coded block of `draft`.
    pub(crate) fn append(&mut self, draft: &BlockDraft, mut coded: Vec<u8>) {
        let offset = self.bytes.len() as u64;
        self.cipher.seal(offset, &[], &mut coded);
        self.bytes.extend_from_slice(&coded);
        self.chunks += draft.chunks.len();
        self.footer.blocks.push(BlockEntry {
            stored_len: coded.len() as u32,
            plain_len: draft.plain.len() as u32,
            chunks: draft.chunks.clone(),
            bases: Vec::new(),
        });
    }

    /// Whether it should be closed.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= limits::PACK_TARGET || self.chunks >= CHUNKS_TARGET
    }

    /// Adds footer and trailer, and names the pack.
    pub(crate) fn finish(mut self) -> FinishedPack {
        let footer_offset = self.bytes.len() as u64;
        let mut footer = self.footer.encode();
        self.cipher.seal(footer_offset, &[], &mut footer);
        let trailer = Trailer { footer_offset, footer_len: footer.len() as u64 };
        self.bytes.append(&mut footer);
        self.bytes.extend_from_slice(&trailer.encode());
        let id = PackId(*blake3::hash(&self.bytes).as_bytes());
        let info = PackInfo {
            id,
            kind: self.kind,
            salt: self.header.salt,
            stored_len: self.bytes.len() as u64,
        };
        FinishedPack { info, bytes: self.bytes, footer: self.footer }
    }
}

/// The index records of a pack that is number `pack` of its segment.
pub(crate) fn records(footer: &Footer, pack: u32) -> impl Iterator<Item = Record> + '_ {
    let mut block_offset = OBJECT_HEADER_LEN as u32;
    footer.blocks.iter().flat_map(move |block| {
        let at = block_offset;
        block_offset += block.stored_len;
        let mut chunk_offset = 0;
        block.chunks.iter().map(move |chunk| {
            let record = Record {
                id: chunk.id,
                pack,
                block_offset: at,
                block_len: block.stored_len,
                chunk_offset,
                chunk_len: chunk.len,
                base: None,
            };
            chunk_offset += chunk.len;
            record
        })
    })
}

/// Names a block in messages.
pub(crate) fn block_name(object: &ObjectKey, offset: u64) -> String {
    format!("{object} (block at offset {offset})")
}

/// Reads, opens and decodes one block.
pub(crate) fn read_block(storage: &dyn Storage, vault: &Vault, place: &Place) -> Result<Vec<u8>> {
    let object = ObjectKey::Pack(place.pack.kind, place.pack.id);
    let offset = u64::from(place.block_offset);
    let stored = storage.read_at(&object, offset, place.block_len as usize)?;
    let cipher = vault.part_cipher(Contents::Pack(place.pack.kind), place.pack.salt);
    open_block(&object, offset, &cipher, stored)
}

pub(crate) fn open_block(
    object: &ObjectKey,
    offset: u64,
    cipher: &PartCipher,
    mut stored: Vec<u8>,
) -> Result<Vec<u8>> {
    if !cipher.open(offset, &[], &mut stored) {
        return Err(RepoError::corrupt(block_name(object, offset), "its seal does not hold"));
    }
    block::decode(&stored).map_err(|err| RepoError::malformed(block_name(object, offset), err))
}

/// Reads a pack's header, trailer and footer: what the index is rebuilt from.
pub(crate) fn read_footer(
    storage: &dyn Storage,
    vault: &Vault,
    object: &ObjectKey,
    id: PackId,
    kind: PackKind,
) -> Result<(PackInfo, Footer)> {
    let stored_len = storage.len(object)?;
    let smallest = (OBJECT_HEADER_LEN + TRAILER_LEN) as u64;
    if stored_len < smallest || stored_len > limits::PACK_MAX {
        return Err(RepoError::corrupt(object, format!("a pack of {stored_len} bytes")));
    }
    let header = storage.read_at(object, 0, OBJECT_HEADER_LEN)?;
    let header = ObjectHeader::decode(Contents::Pack(kind), &header).in_object(object)?;
    vault.check_header(object, &header)?;
    let trailer = storage.read_at(object, stored_len - TRAILER_LEN as u64, TRAILER_LEN)?;
    let trailer = Trailer::decode(&trailer, stored_len).in_object(object)?;
    let mut footer = storage.read_at(object, trailer.footer_offset, trailer.footer_len as usize)?;
    let cipher = vault.part_cipher(header.contents, header.salt);
    if !cipher.open(trailer.footer_offset, &[], &mut footer) {
        return Err(RepoError::corrupt(object, "its footer's seal does not hold"));
    }
    let footer = Footer::decode(&footer, trailer.footer_offset).in_object(object)?;
    Ok((PackInfo { id, kind, salt: header.salt, stored_len }, footer))
}
