//! Reading a segment where it lies.

use std::ops::Range;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{BodyHeader, Layout, MAGIC, PackInfo, Place, RawPack, RawPlace, VERSION, prefix};
use crate::format::{ChunkId, Malformed, PackId, PackKind, SegmentId, limits};

/// A segment's body, searched where it lies (mapped memory or a vector).
#[derive(Debug, Clone)]
pub struct Segment<B> {
    body: B,
    pub(super) layout: Layout,
}

/// The ids of a segment that begin with the same bits.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    from: u32,
    to: u32,
}

impl<B: AsRef<[u8]>> Segment<B> {
    /// Checks header and length; the rest is checked where it is read.
    pub fn open(body: B) -> Result<Self, Malformed> {
        let bytes = body.as_ref();
        let (header, _) = BodyHeader::ref_from_prefix(bytes)
            .map_err(|_| Malformed::at(bytes.len(), "segment is shorter than its header"))?;
        if header.magic != MAGIC || header.checksum != header.sum() {
            return Err(Malformed::at(0, "segment header checksum does not match"));
        }
        if header.version.get() > VERSION {
            return Err(Malformed::Newer { found: header.version.get(), supported: VERSION });
        }
        let layout = Layout::of(header)
            .ok_or_else(|| Malformed::at(12, "segment header has impossible counts"))?;
        if header.version.get() == 0 || header.zero != [0; 12] || layout.end != bytes.len() {
            return Err(Malformed::at(16, "segment is not as long as its counts say"));
        }
        Ok(Self { body, layout })
    }

    /// What [`Self::open`] was given.
    pub const fn body(&self) -> &B {
        &self.body
    }

    /// How many places it knows: at least one for each of its chunks.
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

    /// The chunk of each record, ascending.
    pub fn ids(&self) -> &[[u8; 32]] {
        self.table(self.layout.ids_at, self.layout.records)
    }

    /// The segments that this one makes superfluous.
    pub fn replaces(&self) -> impl ExactSizeIterator<Item = SegmentId> + '_ {
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

    pub(super) fn bases(&self) -> &[[u8; 32]] {
        self.table(self.layout.bases_at, self.layout.bases)
    }

    fn base(&self, number: usize) -> Result<ChunkId, Malformed> {
        let base = self.bases().get(number).map(|id| ChunkId(*id));
        base.ok_or_else(|| Malformed::at(self.layout.bases_at, "place with an unknown base"))
    }

    /// Where a chunk is, if this segment knows it: the first of its places.
    pub fn find(&self, id: &ChunkId) -> Result<Option<Place>, Malformed> {
        self.places(id)?.next().transpose()
    }

    /// All places of a chunk, those where it is stored whole first.
    pub fn places(
        &self,
        id: &ChunkId,
    ) -> Result<impl Iterator<Item = Result<Place, Malformed>> + '_, Malformed> {
        Ok(self.positions(id)?.map(|at| self.place(at)))
    }

    /// The number among all places, in the order of [`Self::iter`], of a chunk's first one, and that.
    pub fn position(&self, id: &ChunkId) -> Result<Option<(usize, Place)>, Malformed> {
        let Some(at) = self.positions(id)?.next() else { return Ok(None) };
        Ok(Some((at, self.place(at)?)))
    }

    /// Whether this segment knows a chunk.
    pub fn contains(&self, id: &ChunkId) -> Result<bool, Malformed> {
        Ok(!self.positions(id)?.is_empty())
    }

    /// Which ids a chunk's would be among. The first half of a look-up: it and
    /// [`Self::may_know`] read memory that is far apart, so who asks many segments does the first
    /// half in all of them, then the second.
    pub fn bucket(&self, id: &ChunkId) -> Result<Bucket, Malformed> {
        let bucket = prefix(&id.0, self.layout.bits) as usize;
        let fanout = self.table::<U32>(self.layout.fanout_at, (1 << self.layout.bits) + 1);
        let (Some(from), Some(to)) = (fanout.get(bucket), fanout.get(bucket + 1)) else {
            return Err(Malformed::at(self.layout.fanout_at, "fan-out table is cut short"));
        };
        Ok(Bucket { from: from.get(), to: to.get() })
    }

    fn ids_of(&self, bucket: Bucket) -> Option<&[[u8; 32]]> {
        self.ids().get(bucket.from as usize..bucket.to as usize)
    }

    /// Whether a chunk is in its bucket; also where that cannot be said of a damaged one, so that
    /// a look-up finds out.
    pub fn may_know(&self, bucket: Bucket, id: &ChunkId) -> bool {
        self.ids_of(bucket)
            .is_none_or(|ids| ids.get(first_of(ids, id)).is_some_and(|other| *other == id.0))
    }

    /// Ids from `first` on, each as often as it has places, as far as they begin with the same bits
    /// that this segment parts ids by: all that begin with the first 24 or more bits of it.
    pub fn ids_from(&self, first: &ChunkId) -> Result<impl Iterator<Item = ChunkId>, Malformed> {
        let ids = self.ids_of(self.bucket(first)?).unwrap_or_default();
        let from = ids.partition_point(|id| *id < first.0);
        Ok(ids.iter().skip(from).map(|id| ChunkId(*id)))
    }

    /// Where the records of a chunk are.
    fn positions(&self, id: &ChunkId) -> Result<Range<usize>, Malformed> {
        let bucket = self.bucket(id)?;
        let Some(ids) = self.ids_of(bucket) else {
            return Err(Malformed::at(
                self.layout.fanout_at,
                "fan-out table points outside the segment",
            ));
        };
        let from = bucket.from as usize;
        let first = first_of(ids, id);
        let same = ids.iter().skip(first).take_while(|other| **other == id.0).count();
        Ok(from + first..from + first + same)
    }

    pub(super) fn raw_place(&self, at: usize) -> Result<(RawPlace, usize), Malformed> {
        let offset = self.layout.places_at + at * size_of::<RawPlace>();
        self.table::<RawPlace>(self.layout.places_at, self.layout.records)
            .get(at)
            .map(|raw| (*raw, offset))
            .ok_or_else(|| Malformed::at(offset, "segment is cut short"))
    }

    /// The place that a record states.
    pub fn place(&self, at: usize) -> Result<Place, Malformed> {
        let (raw, offset) = self.raw_place(at)?;
        let pack = self.pack(raw.pack.get() as usize)?;
        let base = raw.base.get().checked_sub(1).map(|n| self.base(n as usize)).transpose()?;
        let place = Place {
            pack,
            block_offset: raw.block_offset.get(),
            block_len: raw.block_len.get(),
            chunk_offset: raw.chunk_offset.get(),
            chunk_len: raw.chunk_len.get(),
            base,
        };
        let block_end = u64::from(place.block_offset) + u64::from(place.block_len);
        let chunk_end = u64::from(place.chunk_offset) + u64::from(place.chunk_len);
        let sane = block_end <= pack.stored_len
            && place.block_len as usize <= limits::BLOCK_STORED_MAX
            && chunk_end <= limits::BLOCK_PLAIN_MAX as u64
            && place.chunk_len > 0
            && base.is_none_or(|base| self.ids().get(at) != Some(&base.0));
        if sane { Ok(place) } else { Err(Malformed::at(offset, "impossible place of a chunk")) }
    }

    /// Every place with its chunk, by chunk id.
    pub fn iter(&self) -> impl Iterator<Item = Result<(ChunkId, Place), Malformed>> + '_ {
        self.ids().iter().enumerate().map(|(at, id)| Ok((ChunkId(*id), self.place(at)?)))
    }

    /// Checks what opening leaves out: order, fan-out, every place.
    pub fn check(&self) -> Result<(), Malformed> {
        for pack in self.packs() {
            pack?;
        }
        if !self.bases().is_sorted_by(|a, b| a < b) {
            return Err(Malformed::at(self.layout.bases_at, "base ids are out of order"));
        }
        self.check_fanout()?;
        let mut before = None;
        for (at, id) in self.ids().iter().enumerate() {
            self.place(at)?;
            let (place, offset) = self.raw_place(at)?;
            let next = Some((id, place.order()));
            if before >= next {
                return Err(Malformed::at(offset, "chunk ids or places are out of order"));
            }
            before = next;
        }
        Ok(())
    }

    /// Every number of the table, also those that no chunk needs: a wrong one would fail the search
    /// for a chunk that is not there.
    fn check_fanout(&self) -> Result<(), Malformed> {
        let Layout { bits, fanout_at, ids_at, .. } = self.layout;
        let fanout = self.table::<U32>(fanout_at, (1 << bits) + 1);
        let mut ids = self.ids().iter().map(|id| prefix(id, bits) as usize).peekable();
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

/// Buckets of up to so many ids are searched from front to back.
const SCANNED_MAX: usize = 32;

/// Where the records of an id begin in a bucket, or could. In a bucket of usual size each id is
/// compared: where the id is absent, no branch is guessed wrong, so that a processor looks into
/// several segments at once.
fn first_of(ids: &[[u8; 32]], id: &ChunkId) -> usize {
    if ids.len() > SCANNED_MAX {
        return ids.partition_point(|other| *other < id.0);
    }
    ids.iter().position(|other| *other == id.0).unwrap_or(ids.len())
}
