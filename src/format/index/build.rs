//! Segments built in memory: those of a few packs.

use zerocopy::IntoBytes;

use super::{BodyHeader, PackInfo, RawPack, RawPlace, Record, prefix};
use crate::format::{ChunkId, SegmentId};

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
        debug_assert!(record.base != Some(record.id));
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

    /// The segment's body. A chunk keeps each place that it was added with, once.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let mut bases: Vec<ChunkId> = self.records.iter().filter_map(|r| r.base).collect();
        bases.sort_unstable();
        bases.dedup();
        let places = self.sorted_places(&bases);
        let (packs, replaces) = (self.packs.len(), self.replaces.len());
        let header = BodyHeader::new(places.len() as u64, packs, replaces, bases.len());
        let mut body = header.as_bytes().to_vec();
        for pack in &self.packs {
            body.extend_from_slice(RawPack::from(pack).as_bytes());
        }
        for id in &self.replaces {
            body.extend_from_slice(&id.0);
        }
        for id in &bases {
            body.extend_from_slice(&id.0);
        }
        encode_fanout(&places, header.fanout_bits.get(), &mut body);
        for (id, _) in &places {
            body.extend_from_slice(&id.0);
        }
        for (_, place) in &places {
            body.extend_from_slice(place.as_bytes());
        }
        body
    }

    fn sorted_places(&self, bases: &[ChunkId]) -> Vec<(ChunkId, RawPlace)> {
        let raw = |record: &Record| {
            // Every base is in the list.
            let number = |base| bases.binary_search(&base).map_or(0, |at| at as u32 + 1);
            let place = RawPlace {
                pack: record.pack.into(),
                block_offset: record.block_offset.into(),
                block_len: record.block_len.into(),
                chunk_offset: record.chunk_offset.into(),
                chunk_len: record.chunk_len.into(),
                base: record.base.map_or(0, number).into(),
            };
            (record.id, place)
        };
        let mut places: Vec<_> = self.records.iter().map(raw).collect();
        places.sort_unstable_by_key(|(id, place)| (*id, place.order()));
        places.dedup_by_key(|(id, place)| (*id, place.order()));
        places
    }
}

fn encode_fanout(places: &[(ChunkId, RawPlace)], bits: u32, body: &mut Vec<u8>) {
    let mut below = 0_u32;
    let mut ids = places.iter().map(|(id, _)| id).peekable();
    for bucket in 0..=(1_u64 << bits) {
        while ids.next_if(|id| u64::from(prefix(&id.0, bits)) < bucket).is_some() {
            below += 1;
        }
        body.extend_from_slice(&below.to_le_bytes());
    }
    body.resize(body.len().next_multiple_of(8), 0);
}
