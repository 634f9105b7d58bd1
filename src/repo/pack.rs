//! Packs in motion: building one in memory, and reading blocks and footers of stored ones.

use crate::codec::block::{self, Base, DeltaError};
use crate::codec::{BlockEncoder, Element};
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
#[derive(Debug, Clone)]
pub struct BlockDraft {
    /// It is full with so many plain bytes.
    target: usize,
    /// The chunks' bytes, one after the other.
    pub plain: Vec<u8>,
    /// What lies there.
    pub chunks: Vec<ChunkEntry>,
    /// What numbers they hold, where their file says so.
    pub element: Option<Element>,
    /// A stored chunk for each of them, which it may be told from; empty for an ordinary block.
    bases: Vec<DraftBase>,
    /// Whether any of them is older than the version before.
    has_old_base: bool,
}

impl Default for BlockDraft {
    /// Of blocks as long as they usually are, [`limits::BLOCK_TARGET`].
    fn default() -> Self {
        Self::with_target(limits::BLOCK_TARGET)
    }
}

/// A base and its bytes.
#[derive(Debug, Clone)]
struct DraftBase {
    id: ChunkId,
    bytes: Vec<u8>,
}

/// A block in its coded form, before it is sealed.
pub(crate) struct CodedBlock {
    payload: Vec<u8>,
    /// Of a delta, the base of each chunk.
    bases: Vec<ChunkId>,
}

impl CodedBlock {
    /// A payload as it was coded before, and the base of each chunk where it is a delta.
    pub(crate) const fn new(payload: Vec<u8>, bases: Vec<ChunkId>) -> Self {
        Self { payload, bases }
    }
}

/// Plain bytes of a block with pages of databases and disk images, which are read here and there when
/// they are used out of a mount. Of an image of 4 GiB, 4 KiB at random and cold through a mount, turn
/// and turn about: with blocks of 512 KiB 860 to 1,500 reads/s (median 0.6 to 1.1 ms), of 256 KiB
/// 2,000 to 2,900 (0.33 to 0.51 ms), of 128 KiB 2,700 to 4,100 (0.25 to 0.35 ms), of 64 KiB 4,200 to
/// 5,500 (0.18 to 0.25 ms). Beside the first, 128 KiB store 4.8 % more of it, and 64 KiB 7.5 %.
const PAGED_TARGET: usize = 128 << 10;

impl BlockDraft {
    /// An empty one for chunks of databases and disk images.
    #[must_use]
    pub const fn paged() -> Self {
        Self::with_target(PAGED_TARGET)
    }

    /// An empty one that is full with so many plain bytes. The shorter blocks are, the less is decoded
    /// for a chunk, and the worse they compress.
    #[must_use]
    pub const fn with_target(target: usize) -> Self {
        Self {
            target,
            plain: Vec::new(),
            chunks: Vec::new(),
            element: None,
            bases: Vec::new(),
            has_old_base: false,
        }
    }

    /// Takes what is in it and leaves an empty one of the same target.
    pub fn take(&mut self) -> Self {
        std::mem::replace(self, Self::with_target(self.target))
    }

    /// Adds a chunk.
    pub fn push(&mut self, id: ChunkId, plain: &[u8]) {
        debug_assert!(!plain.is_empty());
        if self.chunks.is_empty() {
            // All of it at once: growing step by step copies the block once more.
            self.plain.reserve(self.target.max(plain.len()));
        }
        self.plain.extend_from_slice(plain);
        self.chunks.push(ChunkEntry { id, len: plain.len() as u32 });
    }

    /// Adds a chunk that may be told from a base, which must be stored itself, not as a delta, and
    /// is `old` where the version before is told from it too. All chunks of a draft have a base, or
    /// none.
    pub fn push_with_base(&mut self, chunk: (ChunkId, &[u8]), base: (ChunkId, &[u8]), old: bool) {
        debug_assert_eq!(self.bases.len(), self.chunks.len());
        let ((id, plain), (base_id, bytes)) = (chunk, base);
        self.push(id, plain);
        self.bases.push(DraftBase { id: base_id, bytes: bytes.to_vec() });
        self.has_old_base |= old;
    }

    /// Codes the block: told from its bases where that is clearly smaller.
    pub(crate) fn code(&self, encoder: &mut BlockEncoder) -> CodedBlock {
        if !self.bases.is_empty() {
            let with_len = self.bases.iter().zip(&self.chunks);
            let bases: Vec<_> = with_len
                .map(|(base, chunk)| Base { id: base.id, bytes: &base.bytes, chunk_len: chunk.len })
                .collect();
            if let Some(payload) =
                encoder.encode_delta(&self.plain, &bases, self.has_old_base, self.element)
            {
                return CodedBlock { payload, bases: self.bases.iter().map(|b| b.id).collect() };
            }
        }
        CodedBlock { payload: encoder.encode(&self.plain, self.element), bases: Vec::new() }
    }

    /// Whether `len` more bytes should rather start a new block.
    #[must_use]
    pub fn is_full_for(&self, len: usize) -> bool {
        !self.chunks.is_empty() && self.plain.len() + len > self.target
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

    /// Appends a coded block of these chunks, of so many plain bytes together.
    pub(crate) fn append(&mut self, chunks: &[ChunkEntry], plain_len: usize, coded: CodedBlock) {
        let CodedBlock { payload: mut coded, bases } = coded;
        let offset = self.bytes.len() as u64;
        self.cipher.seal(offset, &[], &mut coded);
        self.bytes.extend_from_slice(&coded);
        self.chunks += chunks.len();
        self.footer.blocks.push(BlockEntry {
            stored_len: coded.len() as u32,
            plain_len: plain_len as u32,
            chunks: chunks.to_vec(),
            bases,
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

/// What a record of that pack says as a place.
pub(crate) fn place(pack: PackInfo, record: &Record) -> Place {
    let Record { block_offset, block_len, chunk_offset, chunk_len, base, .. } = *record;
    Place { pack, block_offset, block_len, chunk_offset, chunk_len, base }
}

/// The index records of a pack that is number `pack` of its segment.
pub(crate) fn records(footer: &Footer, pack: u32) -> impl Iterator<Item = Record> + '_ {
    let mut block_offset = OBJECT_HEADER_LEN as u32;
    footer.blocks.iter().flat_map(move |block| {
        let at = block_offset;
        block_offset += block.stored_len;
        let mut chunk_offset = 0;
        block.chunks.iter().enumerate().map(move |(number, chunk)| {
            let record = Record {
                id: chunk.id,
                pack,
                block_offset: at,
                block_len: block.stored_len,
                chunk_offset,
                chunk_len: chunk.len,
                base: block.bases.get(number).copied(),
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

/// The payload of a block under its seal, and the block's name in messages.
pub(crate) struct OpenedBlock {
    name: String,
    payload: Vec<u8>,
}

impl OpenedBlock {
    /// Opens the seal of a block as it is stored at this offset of its pack.
    pub(crate) fn open(
        object: &ObjectKey,
        offset: u64,
        cipher: &PartCipher,
        mut stored: Vec<u8>,
    ) -> Result<Self> {
        let name = block_name(object, offset);
        if !cipher.open(offset, &[], &mut stored) {
            return Err(RepoError::corrupt(name, "its seal does not hold"));
        }
        Ok(Self { name, payload: stored })
    }

    /// What was sealed.
    pub(crate) fn into_payload(self) -> Vec<u8> {
        self.payload
    }

    /// Something that is wrong with it.
    pub(crate) fn corrupt(&self, what: impl Into<String>) -> RepoError {
        RepoError::corrupt(&self.name, what)
    }

    /// The chunks that it is told from, each with the length in bytes of the one that needs it.
    pub(crate) fn bases(&self) -> Result<Vec<(ChunkId, u32)>> {
        block::bases_of(&self.payload).map_err(|err| RepoError::malformed(&self.name, err))
    }

    /// Its first `len` plain bytes, where they come cheaper than all of them; else `None`.
    pub(crate) fn decode_start(&self, len: usize) -> Result<Option<Vec<u8>>> {
        block::decode_start(&self.payload, len).map_err(|err| RepoError::malformed(&self.name, err))
    }

    /// Its plain bytes; `base` gives the chunks that it is told from.
    pub(crate) fn decode<B: AsRef<[u8]>>(
        &self,
        mut base: impl FnMut(&ChunkId) -> Result<B>,
    ) -> Result<Vec<u8>> {
        let object = &self.name;
        let mut base = |id: &ChunkId| {
            let needed =
                |err| RepoError::Base { object: object.clone(), base: *id, cause: Box::new(err) };
            base(id).map_err(needed)
        };
        block::decode_with(&self.payload, &mut base).map_err(|err| match err {
            DeltaError::Payload(err) => RepoError::malformed(object, err),
            DeltaError::Base(err) => err,
        })
    }
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
    if stored_len < OBJECT_HEADER_LEN as u64 {
        return Err(RepoError::corrupt(object, format!("a pack of {stored_len} bytes")));
    }
    let header = storage.read_at(object, 0, OBJECT_HEADER_LEN)?;
    let header = ObjectHeader::decode(Contents::Pack(kind), &header).in_object(object)?;
    vault.check_header(object, &header)?;
    let info = PackInfo { id, kind, salt: header.salt, stored_len };
    Ok((info, footer_of(storage, vault, &info)?))
}

/// The footer of a pack of which the index tells.
pub(crate) fn footer_of(storage: &dyn Storage, vault: &Vault, pack: &PackInfo) -> Result<Footer> {
    let object = &ObjectKey::Pack(pack.kind, pack.id);
    let smallest = (OBJECT_HEADER_LEN + TRAILER_LEN) as u64;
    if !(smallest..=limits::PACK_MAX).contains(&pack.stored_len) {
        return Err(RepoError::corrupt(object, format!("a pack of {} bytes", pack.stored_len)));
    }
    let trailer_offset = pack.stored_len - TRAILER_LEN as u64;
    let trailer = storage.read_at(object, trailer_offset, TRAILER_LEN)?;
    let trailer = Trailer::decode(&trailer, pack.stored_len).in_object(object)?;
    let mut footer = storage.read_at(object, trailer.footer_offset, trailer.footer_len as usize)?;
    let cipher = vault.part_cipher(Contents::Pack(pack.kind), pack.salt);
    if !cipher.open(trailer.footer_offset, &[], &mut footer) {
        return Err(RepoError::corrupt(object, "its footer's seal does not hold"));
    }
    Footer::decode(&footer, trailer.footer_offset).in_object(object)
}
