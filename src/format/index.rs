//! Index segments: immutable sorted maps from chunk id to place, searched in place.
//!
//! Opening one checks 64 bytes and its length, whatever its size; nothing is loaded. Body, all
//! integers little-endian, each part right after the one before:
//! ```text
//!      0     64  body header:  0  8 magic "icesegm\0"     8  4 version, 1    12  4 fan-out bits b
//!                             16  8 records N            24  4 packs P       28  4 replaced R
//!                             32 16 zero                 48 16 checksum of [0..48]
//!     64    64P  packs: id (32), salt (16), stored length u64, kind u8, seven zeros
//!      …    32R  ids of the segments that this one replaces
//!      …  4(2^b + 1)  fan-out: how many ids have a prefix of b bits below i; padded to 8
//!      …    32N  chunk ids, ascending
//!      …    24N  places: pack u32, block offset u32, block stored length u32,
//!                chunk offset in the plain block u32, chunk length u32, zero u32
//! ```
//! As stored, a 64-byte object header comes first; a sealed body is cut into records of 1 MiB,
//! each followed by its tag, with the record's number as nonce and the body's length as associated
//! data. A place is a hint: what is read there is checked against the chunk's id.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{ChunkId, Malformed, PackId, PackKind, SegmentId, checksum16, limits};

const MAGIC: [u8; 8] = *b"icesegm\0";
const VERSION: u32 = 1;
const FANOUT_BITS_MAX: u32 = 24;
/// Average ids per fan-out bucket that a builder aims at: one or two cache lines of ids.
const BUCKET_TARGET: u64 = 8;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct BodyHeader {
    magic: [u8; 8],
    version: U32,
    fanout_bits: U32,
    records: U64,
    packs: U32,
    replaces: U32,
    zero: [u8; 16],
    checksum: [u8; 16],
}

/// One pack that a segment refers to, with what opening a block of it needs.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawPack {
    id: [u8; 32],
    salt: [u8; 16],
    stored_len: U64,
    kind: u8,
    zero: [u8; 7],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawPlace {
    pack: U32,
    block_offset: U32,
    block_len: U32,
    chunk_offset: U32,
    chunk_len: U32,
    zero: U32,
}

/// One pack that a segment refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PackInfo {
    /// The pack.
    pub id: PackId,
    /// What it holds.
    pub kind: PackKind,
    /// From its header: sealing keys derive from it.
    pub salt: [u8; 16],
    /// The whole pack's length in bytes.
    pub stored_len: u64,
}

/// Where a chunk is: a range of a plain block, and where that block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The pack.
    pub pack: PackInfo,
    /// Where the block starts in the pack.
    pub block_offset: u32,
    /// The block's stored length, seal included.
    pub block_len: u32,
    /// Where the chunk starts in the plain block.
    pub chunk_offset: u32,
    /// The chunk's length in bytes.
    pub chunk_len: u32,
}

/// A record under construction: the pack is a number into the builder's packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The chunk.
    pub id: ChunkId,
    /// Index into the packs added so far.
    pub pack: u32,
    /// See [`Place`].
    pub block_offset: u32,
    /// See [`Place`].
    pub block_len: u32,
    /// See [`Place`].
    pub chunk_offset: u32,
    /// See [`Place`].
    pub chunk_len: u32,
}

/// Collects records and lays them out.
#[derive(Debug, Default)]
pub struct SegmentBuilder {
    packs: Vec<PackInfo>,
    records: Vec<Record>,
    replaces: Vec<SegmentId>,
}

impl SegmentBuilder {
    /// Adds a pack and returns its number.
    pub fn add_pack(&mut self, pack: PackInfo) -> u32 {
        self.packs.push(pack);
        self.packs.len() as u32 - 1
    }

    /// Adds a record of a pack that was added.
    pub fn add(&mut self, record: Record) {
        debug_assert!((record.pack as usize) < self.packs.len());
        self.records.push(record);
    }

    /// Names a segment that this one makes superfluous.
    pub fn replace(&mut self, segment: SegmentId) {
        self.replaces.push(segment);
    }

    /// Records so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.replaces.is_empty()
    }

    /// The segment's body. A chunk that was added twice keeps its first place.
    #[must_use]
    pub fn encode(mut self) -> Vec<u8> {
        self.records.sort_by_key(|record| record.id);
        self.records.dedup_by_key(|record| record.id);
        let count = self.records.len() as u64;
        let bits = fanout_bits(count);
        let header = BodyHeader {
            magic: MAGIC,
            version: VERSION.into(),
            fanout_bits: bits.into(),
            records: count.into(),
            packs: (self.packs.len() as u32).into(),
            replaces: (self.replaces.len() as u32).into(),
            zero: [0; 16],
            checksum: [0; 16],
        };
        let mut body = header.as_bytes().to_vec();
        body.truncate(48); // up to the checksum
        let sum = checksum16(&body);
        body.extend_from_slice(&sum);
        for pack in &self.packs {
            let raw = RawPack {
                id: pack.id.0,
                salt: pack.salt,
                stored_len: pack.stored_len.into(),
                kind: pack.kind as u8,
                zero: [0; 7],
            };
            body.extend_from_slice(raw.as_bytes());
        }
        for id in &self.replaces {
            body.extend_from_slice(&id.0);
        }
        self.encode_records(bits, &mut body);
        body
    }

    fn encode_records(&self, bits: u32, body: &mut Vec<u8>) {
        let mut below = 0_u32;
        let mut records = self.records.iter().peekable();
        for bucket in 0..=(1_u64 << bits) {
            while records.next_if(|r| u64::from(prefix(&r.id, bits)) < bucket).is_some() {
                below += 1;
            }
            body.extend_from_slice(&below.to_le_bytes());
        }
        body.resize(body.len().next_multiple_of(8), 0);
        for record in &self.records {
            body.extend_from_slice(&record.id.0);
        }
        for record in &self.records {
            let raw = RawPlace {
                pack: record.pack.into(),
                block_offset: record.block_offset.into(),
                block_len: record.block_len.into(),
                chunk_offset: record.chunk_offset.into(),
                chunk_len: record.chunk_len.into(),
                zero: 0.into(),
            };
            body.extend_from_slice(raw.as_bytes());
        }
    }
}

fn fanout_bits(records: u64) -> u32 {
    (records / BUCKET_TARGET).checked_ilog2().map_or(0, |log| (log + 1).min(FANOUT_BITS_MAX))
}

/// The first `bits` (at most 24) bits of an id as a number, most significant first.
fn prefix(id: &ChunkId, bits: u32) -> u32 {
    let [a, b, c, ..] = id.0;
    let top = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
    top >> (24 - bits)
}

/// A segment's body, searched where it lies (mapped memory or a vector).
#[derive(Debug, Clone)]
pub struct Segment<B> {
    body: B,
    layout: Layout,
}

#[derive(Debug, Clone, Copy)]
struct Layout {
    bits: u32,
    records: usize,
    packs: usize,
    replaces: usize,
    packs_at: usize,
    replaces_at: usize,
    fanout_at: usize,
    ids_at: usize,
    places_at: usize,
    end: usize,
}

impl Layout {
    fn of(header: &BodyHeader) -> Option<Self> {
        let records = usize::try_from(header.records.get()).ok()?;
        let packs = header.packs.get() as usize;
        let replaces = header.replaces.get() as usize;
        let bits = header.fanout_bits.get();
        let capped = header.records.get() <= limits::SEGMENT_RECORDS_MAX
            && header.packs.get() <= limits::SEGMENT_PACKS_MAX
            && header.replaces.get() <= limits::SEGMENT_REPLACES_MAX
            && bits <= FANOUT_BITS_MAX;
        if !capped {
            return None;
        }
        let packs_at = size_of::<BodyHeader>();
        let replaces_at = packs_at + packs * size_of::<RawPack>();
        let fanout_at = replaces_at + replaces * SegmentId::LEN;
        let ids_at = fanout_at + (((1_usize << bits) + 1) * 4).next_multiple_of(8);
        let places_at = ids_at + records.checked_mul(ChunkId::LEN)?;
        let end = places_at.checked_add(records.checked_mul(size_of::<RawPlace>())?)?;
        Some(Self {
            bits,
            records,
            packs,
            replaces,
            packs_at,
            replaces_at,
            fanout_at,
            ids_at,
            places_at,
            end,
        })
    }
}

impl<B: AsRef<[u8]>> Segment<B> {
    /// Checks header and length; the rest is checked where it is read.
    pub fn open(body: B) -> Result<Self, Malformed> {
        let bytes = body.as_ref();
        let (header, _) = BodyHeader::ref_from_prefix(bytes)
            .map_err(|_| Malformed::at(bytes.len(), "segment is shorter than its header"))?;
        let head = bytes.get(..48).unwrap_or_default();
        if header.magic != MAGIC || header.checksum != checksum16(head) {
            return Err(Malformed::at(0, "segment header checksum does not match"));
        }
        if header.version.get() > VERSION {
            return Err(Malformed::Newer { found: header.version.get(), supported: VERSION });
        }
        let layout = Layout::of(header)
            .ok_or_else(|| Malformed::at(12, "segment header has impossible counts"))?;
        if header.version.get() == 0 || header.zero != [0; 16] || layout.end != bytes.len() {
            return Err(Malformed::at(16, "segment is not as long as its counts say"));
        }
        Ok(Self { body, layout })
    }

    /// How many chunks it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layout.records
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.layout.records == 0
    }

    fn table<T: FromBytes + KnownLayout + Immutable + Unaligned>(
        &self,
        at: usize,
        count: usize,
    ) -> &[T] {
        let bytes = self.body.as_ref().get(at..).unwrap_or_default();
        <[T]>::ref_from_prefix_with_elems(bytes, count).map_or(&[], |(table, _)| table)
    }

    fn ids(&self) -> &[[u8; 32]] {
        self.table(self.layout.ids_at, self.layout.records)
    }

    /// The segments that this one makes superfluous.
    pub fn replaces(&self) -> impl Iterator<Item = SegmentId> + '_ {
        self.table::<[u8; 32]>(self.layout.replaces_at, self.layout.replaces)
            .iter()
            .map(|id| SegmentId(*id))
    }

    /// The packs it refers to.
    pub fn packs(&self) -> impl Iterator<Item = Result<PackInfo, Malformed>> + '_ {
        (0..self.layout.packs).map(|number| self.pack(number))
    }

    fn pack(&self, number: usize) -> Result<PackInfo, Malformed> {
        let at = self.layout.packs_at + number * size_of::<RawPack>();
        let raw = self
            .table::<RawPack>(self.layout.packs_at, self.layout.packs)
            .get(number)
            .ok_or_else(|| Malformed::at(self.layout.places_at, "record of an unknown pack"))?;
        let kind = PackKind::from_byte(raw.kind)
            .ok_or_else(|| Malformed::at(at, format!("unknown pack kind {}", raw.kind)))?;
        let stored_len = raw.stored_len.get();
        if raw.zero != [0; 7] {
            return Err(Malformed::at(at, "entry of a pack has impossible fields"));
        }
        if stored_len > limits::PACK_MAX {
            return Err(Malformed::at(at, format!("pack of {stored_len} bytes")));
        }
        Ok(PackInfo { id: PackId(raw.id), kind, salt: raw.salt, stored_len })
    }

    /// Where a chunk is, if this segment knows it.
    pub fn find(&self, id: &ChunkId) -> Result<Option<Place>, Malformed> {
        self.position(id)?.map(|at| self.place(at)).transpose()
    }

    /// Whether this segment knows a chunk.
    pub fn contains(&self, id: &ChunkId) -> Result<bool, Malformed> {
        Ok(self.position(id)?.is_some())
    }

    fn position(&self, id: &ChunkId) -> Result<Option<usize>, Malformed> {
        let bucket = prefix(id, self.layout.bits) as usize;
        let fanout = self.table::<U32>(self.layout.fanout_at, (1 << self.layout.bits) + 1);
        let (Some(from), Some(to)) = (fanout.get(bucket), fanout.get(bucket + 1)) else {
            return Err(Malformed::at(self.layout.fanout_at, "fan-out table is cut short"));
        };
        let (from, to) = (from.get() as usize, to.get() as usize);
        let Some(ids) = self.ids().get(from..to) else {
            return Err(Malformed::at(
                self.layout.fanout_at + bucket * 4,
                "fan-out table points outside the segment",
            ));
        };
        Ok(ids.binary_search(&id.0).ok().map(|at| from + at))
    }

    fn place(&self, at: usize) -> Result<Place, Malformed> {
        let offset = self.layout.places_at + at * size_of::<RawPlace>();
        let raw = self
            .table::<RawPlace>(self.layout.places_at, self.layout.records)
            .get(at)
            .ok_or_else(|| Malformed::at(offset, "segment is cut short"))?;
        let pack = self.pack(raw.pack.get() as usize)?;
        let place = Place {
            pack,
            block_offset: raw.block_offset.get(),
            block_len: raw.block_len.get(),
            chunk_offset: raw.chunk_offset.get(),
            chunk_len: raw.chunk_len.get(),
        };
        let block_end = u64::from(place.block_offset) + u64::from(place.block_len);
        let chunk_end = u64::from(place.chunk_offset) + u64::from(place.chunk_len);
        let sane = raw.zero.get() == 0
            && block_end <= pack.stored_len
            && place.block_len as usize <= limits::BLOCK_STORED_MAX
            && chunk_end <= limits::BLOCK_PLAIN_MAX as u64
            && place.chunk_len > 0;
        if sane { Ok(place) } else { Err(Malformed::at(offset, "impossible place of a chunk")) }
    }

    /// Every chunk with its place, by id.
    pub fn iter(&self) -> impl Iterator<Item = Result<(ChunkId, Place), Malformed>> + '_ {
        self.ids().iter().enumerate().map(|(at, id)| Ok((ChunkId(*id), self.place(at)?)))
    }

    /// Checks what opening leaves out: order, fan-out, every place.
    pub fn check(&self) -> Result<(), Malformed> {
        if !self.ids().is_sorted_by(|a, b| a < b) {
            return Err(Malformed::at(self.layout.ids_at, "chunk ids are out of order"));
        }
        for pack in self.packs() {
            pack?;
        }
        self.check_fanout()?;
        for at in 0..self.len() {
            self.place(at)?;
        }
        Ok(())
    }

    /// Every number of the table, also those that no chunk needs: a wrong one would fail the search
    /// for a chunk that is not there.
    fn check_fanout(&self) -> Result<(), Malformed> {
        let Layout { bits, fanout_at, ids_at, .. } = self.layout;
        let fanout = self.table::<U32>(fanout_at, (1 << bits) + 1);
        let mut ids = self.ids().iter().map(|id| prefix(&ChunkId(*id), bits) as usize).peekable();
        let mut below = 0;
        for (bucket, number) in fanout.iter().enumerate() {
            while ids.next_if(|&prefix| prefix < bucket).is_some() {
                below += 1;
            }
            if number.get() != below {
                let at = fanout_at + bucket * size_of::<U32>();
                return Err(Malformed::at(at, "fan-out table miscounts the chunks"));
            }
        }
        let padding = fanout_at + size_of_val(fanout)..ids_at;
        if self.body.as_ref().get(padding).is_none_or(|bytes| bytes.iter().any(|&b| b != 0)) {
            return Err(Malformed::at(ids_at, "padding of the fan-out table is not zero"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(records: u32) -> Vec<u8> {
        let mut builder = SegmentBuilder::default();
        let pack = builder.add_pack(PackInfo {
            id: PackId([1; 32]),
            kind: PackKind::Data,
            salt: [2; 16],
            stored_len: 1 << 20,
        });
        for n in 0..records {
            let id = ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes());
            builder.add(Record {
                id,
                pack,
                block_offset: 64,
                block_len: 100,
                chunk_offset: n,
                chunk_len: 1,
            });
        }
        builder.replace(SegmentId([3; 32]));
        builder.encode()
    }

    #[test]
    fn every_chunk_is_found_and_no_other() {
        for count in [0, 1, 7, 8, 9, 100, 5000] {
            let segment = Segment::open(sample(count)).unwrap();
            segment.check().unwrap();
            assert_eq!(segment.replaces().collect::<Vec<_>>(), [SegmentId([3; 32])]);
            for n in 0..count {
                let id = ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes());
                assert_eq!(segment.find(&id).unwrap().unwrap().chunk_offset, n);
            }
            let absent = ChunkId(*blake3::hash(b"absent").as_bytes());
            assert_eq!(segment.find(&absent).unwrap(), None);
            assert_eq!(segment.find(&ChunkId([0xff; 32])).unwrap(), None);
        }
    }

    #[test]
    fn flipped_bits_never_panic_and_cuts_are_refused() {
        let body = sample(20);
        let id = ChunkId(*blake3::hash(&3_u32.to_le_bytes()).as_bytes());
        for bit in 0..body.len() * 8 {
            let mut bad = body.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(segment) = Segment::open(bad) {
                let _ = segment.find(&id);
                let _ = segment.check();
            } else {
                assert!(bit < 64 * 8, "only the header is checked on opening");
            }
        }
        for len in 0..body.len() {
            assert!(Segment::open(&body[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn check_finds_every_flipped_bit_of_the_fanout_table() {
        // Ids of one prefix, so that most of the table serves chunks that are not there.
        let mut builder = SegmentBuilder::default();
        let info =
            PackInfo { id: PackId([1; 32]), kind: PackKind::Data, salt: [2; 16], stored_len: 500 };
        let pack = builder.add_pack(info);
        let id = |n: u8| {
            let mut id = [n; 32];
            id[0] = 0x80;
            ChunkId(id)
        };
        for n in 0..40 {
            builder.add(Record {
                id: id(n),
                pack,
                block_offset: 64,
                block_len: 10,
                chunk_offset: n.into(),
                chunk_len: 1,
            });
        }
        let body = builder.encode();
        let Layout { fanout_at, ids_at, .. } = Segment::open(&body).unwrap().layout;
        for bit in fanout_at * 8..ids_at * 8 {
            let mut bad = body.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Segment::open(bad).unwrap().check().is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_chunk_added_twice_keeps_its_first_place() {
        let mut builder = SegmentBuilder::default();
        let kind = PackKind::Meta;
        let info = PackInfo { id: PackId([1; 32]), kind, salt: [2; 16], stored_len: 500 };
        let pack = builder.add_pack(info);
        let id = ChunkId([9; 32]);
        for chunk_offset in [5, 6] {
            builder.add(Record {
                id,
                pack,
                block_offset: 64,
                block_len: 10,
                chunk_offset,
                chunk_len: 1,
            });
        }
        let segment = Segment::open(builder.encode()).unwrap();
        assert_eq!(segment.len(), 1);
        assert_eq!(segment.find(&id).unwrap().unwrap().chunk_offset, 5);
    }
}
