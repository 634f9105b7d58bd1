//! Packs: files of blocks, with a footer that says what they hold.
//!
//! ```text
//! offset       size   field
//!      0         64   object header (format::object)
//!     64          …   blocks, one after the other, each sealed with its own offset as nonce
//!      F          L   footer, sealed with F as nonce
//!  F + L         64   trailer: where the footer is
//! ```
//! Footer, before sealing (all integers little-endian):
//! ```text
//!      0    4  blocks B
//!      4    4  chunks C
//!      8    4  bases D
//!     12    4  zero
//!     16  16B  per block: stored length u32, plain length u32, chunks u32 (at least 1),
//!              kind u32: 0 whole, 1 delta
//!      …  36C  per chunk, block by block: chunk id (32), plain length u32
//!      …  32D  per chunk of the delta blocks, in the same order: id of its base chunk
//! ```
//! Trailer:
//! ```text
//!      0    8  magic "icefoot\0"
//!      8    8  F, u64
//!     16    8  L, u64
//!     24   24  zero
//!     48   16  checksum: first 16 bytes of BLAKE3(trailer[0..48])
//! ```
//! So the index can be rebuilt from packs alone, and `b3sum` of the file is its name.

use super::{ChunkEntry, ChunkId, Malformed, OBJECT_HEADER_LEN, checksum16, limits};

/// Bytes of a pack's trailer.
pub const TRAILER_LEN: usize = 64;
const FOOTER_HEAD: usize = 16;
const BLOCK_ENTRY: usize = 16;
const CHUNK_ENTRY: usize = 36;
const WHOLE: u32 = 0;
const DELTA: u32 = 1;
const MAGIC: [u8; 8] = *b"icefoot\0";

/// Longest footer before sealing.
pub const FOOTER_MAX: usize = FOOTER_HEAD
    + BLOCK_ENTRY * limits::PACK_BLOCKS_MAX as usize
    + (CHUNK_ENTRY + ChunkId::LEN) * limits::PACK_CHUNKS_MAX as usize;

/// One block of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEntry {
    /// Bytes in the pack, seal included.
    pub stored_len: u32,
    /// Bytes once decoded: the sum of its chunks' lengths.
    pub plain_len: u32,
    /// The chunks, one after the other from the block's start.
    pub chunks: Vec<ChunkEntry>,
    /// Of a delta block, the base of each chunk: it is read with their help. Empty otherwise.
    pub bases: Vec<ChunkId>,
}

/// What a pack holds, block by block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Footer {
    /// In file order; the first starts right after the header.
    pub blocks: Vec<BlockEntry>,
}

impl Footer {
    /// The footer's bytes before sealing.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let chunk_count: usize = self.blocks.iter().map(|b| b.chunks.len()).sum();
        let base_count: usize = self.blocks.iter().map(|b| b.bases.len()).sum();
        let mut bytes = Vec::with_capacity(
            FOOTER_HEAD
                + self.blocks.len() * BLOCK_ENTRY
                + chunk_count * CHUNK_ENTRY
                + base_count * ChunkId::LEN,
        );
        bytes.extend_from_slice(&(self.blocks.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(chunk_count as u32).to_le_bytes());
        bytes.extend_from_slice(&(base_count as u32).to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for block in &self.blocks {
            debug_assert!(block.bases.is_empty() || block.bases.len() == block.chunks.len());
            bytes.extend_from_slice(&block.stored_len.to_le_bytes());
            bytes.extend_from_slice(&block.plain_len.to_le_bytes());
            bytes.extend_from_slice(&(block.chunks.len() as u32).to_le_bytes());
            let kind = if block.bases.is_empty() { WHOLE } else { DELTA };
            bytes.extend_from_slice(&kind.to_le_bytes());
        }
        for chunk in self.blocks.iter().flat_map(|b| &b.chunks) {
            bytes.extend_from_slice(&chunk.id.0);
            bytes.extend_from_slice(&chunk.len.to_le_bytes());
        }
        for base in self.blocks.iter().flat_map(|b| &b.bases) {
            bytes.extend_from_slice(&base.0);
        }
        bytes
    }

    /// Decodes and checks a footer whose blocks must fill the pack from its header to
    /// `footer_offset`.
    pub fn decode(bytes: &[u8], footer_offset: u64) -> Result<Self, Malformed> {
        let mut cursor = Cursor { bytes, at: 0 };
        let (block_count, chunk_count) = (cursor.u32()?, cursor.u32()?);
        let base_count = cursor.u32()?;
        if cursor.u32()? != 0 {
            return Err(Malformed::at(12, "footer has impossible fields"));
        }
        let expected = (FOOTER_HEAD as u64)
            + u64::from(block_count) * BLOCK_ENTRY as u64
            + u64::from(chunk_count) * CHUNK_ENTRY as u64
            + u64::from(base_count) * ChunkId::LEN as u64;
        if block_count > limits::PACK_BLOCKS_MAX
            || chunk_count > limits::PACK_CHUNKS_MAX
            || base_count > chunk_count
        {
            return Err(Malformed::at(0, "footer has impossible counts"));
        }
        if expected != bytes.len() as u64 {
            return Err(Malformed::at(0, "footer is not as long as its counts say"));
        }
        let mut heads = Vec::with_capacity(block_count as usize);
        let mut offset = OBJECT_HEADER_LEN as u64;
        for _ in 0..block_count {
            let head = BlockHead::read(&mut cursor)?;
            offset += u64::from(head.stored_len);
            heads.push(head);
        }
        let listed: u64 = heads.iter().map(|head| u64::from(head.chunks)).sum();
        let delta: u64 = heads.iter().map(|head| u64::from(head.bases())).sum();
        if offset != footer_offset || (listed, delta) != (chunk_count.into(), base_count.into()) {
            return Err(Malformed::at(FOOTER_HEAD, "footer's blocks do not fill the pack"));
        }
        let mut blocks = Vec::with_capacity(heads.len());
        for head in &heads {
            blocks.push(read_block(&mut cursor, head)?);
        }
        for (block, head) in blocks.iter_mut().zip(&heads) {
            for number in 0..head.bases() as usize {
                let base = ChunkId(cursor.take()?);
                if block.chunks.get(number).is_some_and(|chunk| chunk.id == base) {
                    return Err(Malformed::at(cursor.at, "footer lists a chunk as its own base"));
                }
                block.bases.push(base);
            }
        }
        Ok(Self { blocks })
    }
}

/// The part of a block's entry that comes before all chunks.
struct BlockHead {
    stored_len: u32,
    plain_len: u32,
    chunks: u32,
    is_delta: bool,
}

impl BlockHead {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let (stored_len, plain_len, chunks) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let is_delta = match cursor.u32()? {
            WHOLE => false,
            DELTA => true,
            kind => {
                return Err(Malformed::at(cursor.at - 4, format!("unknown kind of block {kind}")));
            }
        };
        if chunks == 0 {
            return Err(Malformed::at(cursor.at - 8, "footer lists a block without chunks"));
        }
        Ok(Self { stored_len, plain_len, chunks, is_delta })
    }

    const fn bases(&self) -> u32 {
        if self.is_delta { self.chunks } else { 0 }
    }
}

fn read_block(cursor: &mut Cursor<'_>, head: &BlockHead) -> Result<BlockEntry, Malformed> {
    let at = cursor.at;
    let BlockHead { stored_len, plain_len, .. } = *head;
    let mut chunks = Vec::with_capacity(head.chunks as usize);
    let mut sum = 0_u64;
    for _ in 0..head.chunks {
        let entry = ChunkEntry { id: ChunkId(cursor.take()?), len: cursor.u32()? };
        if entry.len == 0 {
            return Err(Malformed::at(cursor.at, "footer lists an empty chunk"));
        }
        sum += u64::from(entry.len);
        chunks.push(entry);
    }
    let capped = plain_len as usize <= limits::BLOCK_PLAIN_MAX
        && stored_len as usize <= limits::BLOCK_STORED_MAX;
    if sum != u64::from(plain_len) || !capped {
        return Err(Malformed::at(at, "footer lists a block of impossible length"));
    }
    Ok(BlockEntry { stored_len, plain_len, chunks, bases: Vec::new() })
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let field = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let field = field.ok_or_else(|| Malformed::at(self.at, "footer is cut short"))?;
        self.at += N;
        Ok(*field)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_le_bytes)
    }
}

/// The last 64 bytes of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// Where the footer starts, in bytes from the pack's start.
    pub footer_offset: u64,
    /// The footer's stored length in bytes, seal included.
    pub footer_len: u64,
}

impl Trailer {
    /// The stored bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(TRAILER_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.footer_offset.to_le_bytes());
        bytes.extend_from_slice(&self.footer_len.to_le_bytes());
        bytes.extend_from_slice(&[0; 24]);
        let sum = checksum16(&bytes);
        bytes.extend_from_slice(&sum);
        bytes
    }

    /// Checks the trailer of a pack of `pack_len` bytes.
    pub fn decode(bytes: &[u8], pack_len: u64) -> Result<Self, Malformed> {
        let bytes: &[u8; TRAILER_LEN] =
            bytes.try_into().map_err(|_| Malformed::at(0, "pack is shorter than its trailer"))?;
        let (head, sum) = bytes.split_at(48);
        let mut cursor = Cursor { bytes: head, at: 0 };
        let magic: [u8; 8] = cursor.take()?;
        let footer_offset = cursor.take().map(u64::from_le_bytes)?;
        let footer_len = cursor.take().map(u64::from_le_bytes)?;
        let zero: [u8; 24] = cursor.take()?;
        if sum != checksum16(head) || magic != MAGIC || zero != [0; 24] {
            return Err(Malformed::at(0, "pack trailer is damaged, or the pack is cut short"));
        }
        let end = footer_offset
            .checked_add(footer_len)
            .and_then(|end| end.checked_add(TRAILER_LEN as u64));
        if end != Some(pack_len)
            || footer_offset < OBJECT_HEADER_LEN as u64
            || footer_len > FOOTER_MAX as u64 + 16
        {
            return Err(Malformed::at(8, "pack trailer points outside the pack"));
        }
        Ok(Self { footer_offset, footer_len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Footer {
        let chunk = |n: u8, len| ChunkEntry { id: ChunkId([n; 32]), len };
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

    #[test]
    fn footer_round_trips_and_must_fill_the_pack() {
        let bytes = sample().encode();
        assert_eq!(Footer::decode(&bytes, 64 + 57), Ok(sample()));
        assert!(Footer::decode(&bytes, 64 + 58).is_err());
        for kind in [0, 2] {
            let mut bad = bytes.clone();
            bad[FOOTER_HEAD + 12] = kind;
            assert!(Footer::decode(&bad, 64 + 57).is_err(), "kind {kind}");
        }
        for len in 0..bytes.len() {
            assert!(Footer::decode(&bytes[..len], 64 + 57).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn no_chunk_is_its_own_base() {
        let mut footer = sample();
        footer.blocks[0].bases[1] = ChunkId([2; 32]);
        assert!(Footer::decode(&footer.encode(), 64 + 57).is_err());
        footer.blocks[0].bases[1] = ChunkId([1; 32]);
        assert!(Footer::decode(&footer.encode(), 64 + 57).is_ok(), "another chunk's id");
    }

    #[test]
    fn a_block_holds_at_least_one_chunk() {
        for kind in [WHOLE, DELTA] {
            let mut bytes = sample().encode();
            bytes[0] += 1;
            let second = FOOTER_HEAD + BLOCK_ENTRY;
            let empty = [0, 0, 0, kind].map(u32::to_le_bytes).concat();
            bytes.splice(second..second, empty);
            let error = Footer::decode(&bytes, 64 + 57).unwrap_err();
            assert!(error.to_string().contains("without chunks"), "{error}");
        }
    }

    #[test]
    fn absurd_counts_allocate_nothing() {
        let mut bytes = sample().encode();
        bytes[0..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Footer::decode(&bytes, 64 + 57).is_err());
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Footer::decode(&bytes, 64 + 57).is_err());
    }

    #[test]
    fn every_flipped_trailer_bit_is_noticed() {
        let trailer = Trailer { footer_offset: 100, footer_len: 36 };
        let bytes = trailer.encode();
        assert_eq!(Trailer::decode(&bytes, 200), Ok(trailer));
        assert!(Trailer::decode(&bytes, 201).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Trailer::decode(&bad, 200).is_err(), "bit {bit}");
        }
    }
}
