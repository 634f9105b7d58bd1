//! One segment of many: their union, streamed.
//!
//! The inputs are read where they lie, in two passes: the first counts, the second writes ids and
//! places side by side. The heap holds a number for each pack and each base of the inputs, and the
//! fan-out table: at most 64 MiB, 100 MiB for 100 million chunks of which a tenth are differences.
//!
//! No place is lost: two inputs that know a chunk in two places give a segment that knows both.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, Write};

use zerocopy::IntoBytes;

use super::{BodyHeader, FANOUT_BITS_MAX, Layout, PackInfo, RawPack, RawPlace, Segment};
use super::{fanout_bits, prefix};
use crate::format::{Malformed, PackId, SegmentId};

/// A planned union of segments, whose length is known and whose bytes can be written.
pub struct SegmentMerge<'a, B> {
    inputs: Vec<Input<'a, B>>,
    packs: Vec<PackInfo>,
    replaces: Vec<SegmentId>,
    fanout: Vec<u32>,
    header: BodyHeader,
    layout: Layout,
}

/// A segment, and what its numbers become.
struct Input<'a, B> {
    segment: &'a Segment<B>,
    /// `None` for a pack that is left out, with all that lies in it.
    packs: Vec<Option<u32>>,
    bases: Vec<u32>,
    /// Which bases a place that stays needs; `None` where all places stay.
    used: Option<Vec<bool>>,
}

impl<'a, B: AsRef<[u8]>> SegmentMerge<'a, B> {
    /// Reads the inputs once. They should have passed [`Segment::check`]: what is wrong with one
    /// is not always noticed here. `Malformed` also where the union breaks a cap of the format.
    pub fn plan(segments: &[&'a Segment<B>], replaces: Vec<SegmentId>) -> Result<Self, Malformed> {
        Self::plan_without(segments, replaces, |_| true)
    }

    /// The same without the packs that `keeps` denies, and without what lies in them.
    pub fn plan_without(
        segments: &[&'a Segment<B>],
        replaces: Vec<SegmentId>,
        keeps: impl Fn(&PackId) -> bool,
    ) -> Result<Self, Malformed> {
        let mut packs = Packs::default();
        let mut inputs = Vec::with_capacity(segments.len());
        for segment in segments {
            let packs = packs.renumber(segment, &keeps)?;
            let used = packs.contains(&None).then(|| used_bases(segment, &packs)).transpose()?;
            inputs.push(Input { segment, packs, bases: Vec::new(), used });
        }
        let bases = renumber_bases(&mut inputs);
        let (records, mut fanout) = count(&inputs)?;
        let header = BodyHeader::new(records, packs.list.len(), replaces.len(), bases);
        let layout = Layout::of(&header)
            .ok_or_else(|| Malformed::at(0, "merged segment would break the limits"))?;
        coarsen(&mut fanout, layout.bits);
        Ok(Self { inputs, packs: packs.list, replaces, fanout, header, layout })
    }

    /// Length of the body in bytes.
    #[must_use]
    pub const fn body_len(&self) -> u64 {
        self.layout.end as u64
    }

    /// Where in the body the ids and the places start, in bytes.
    #[must_use]
    pub const fn offsets(&self) -> (u64, u64) {
        (self.layout.ids_at as u64, self.layout.places_at as u64)
    }

    /// Writes the body in three streams: what stands before the ids, the ids, the places. Each
    /// ends where the next begins.
    pub fn write(
        &self,
        head: &mut impl Write,
        ids: &mut impl Write,
        places: &mut impl Write,
    ) -> io::Result<()> {
        self.write_head(head)?;
        let mut walk = Walk::over(self.inputs.iter().map(|input| input.segment.ids()));
        let (mut group, mut raw) = (Vec::new(), Vec::new());
        while let Some(id) = walk.next_into(&mut group) {
            gather(&self.inputs, &group, &mut raw).map_err(invalid)?;
            for place in &raw {
                ids.write_all(id)?;
                places.write_all(place.as_bytes())?;
            }
        }
        Ok(())
    }

    fn write_head(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(self.header.as_bytes())?;
        for pack in &self.packs {
            out.write_all(RawPack::from(pack).as_bytes())?;
        }
        for id in &self.replaces {
            out.write_all(&id.0)?;
        }
        let mut walk = Walk::over(self.inputs.iter().map(|input| input.segment.bases()));
        let mut group = Vec::new();
        while let Some(id) = walk.next_into(&mut group) {
            if is_used(&self.inputs, &group) {
                out.write_all(id)?;
            }
        }
        for number in &self.fanout {
            out.write_all(&number.to_le_bytes())?;
        }
        let table = self.fanout.len() * size_of::<u32>();
        out.write_all([0; 8].get(..table.next_multiple_of(8) - table).unwrap_or_default())
    }
}

fn invalid(err: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, err)
}

/// The packs of all inputs, each once, in the order met.
#[derive(Default)]
struct Packs {
    list: Vec<PackInfo>,
    numbers: HashMap<PackInfo, u32>,
}

impl Packs {
    fn renumber<B: AsRef<[u8]>>(
        &mut self,
        segment: &Segment<B>,
        keeps: &impl Fn(&PackId) -> bool,
    ) -> Result<Vec<Option<u32>>, Malformed> {
        let number = |pack: Result<PackInfo, Malformed>| {
            let pack = pack?;
            if !keeps(&pack.id) {
                return Ok(None);
            }
            let next = self.list.len() as u32;
            Ok(Some(*self.numbers.entry(pack).or_insert_with(|| {
                self.list.push(pack);
                next
            })))
        };
        segment.packs().map(number).collect()
    }
}

/// Tells each input what its bases are numbered; returns how many there are.
fn renumber_bases<B: AsRef<[u8]>>(inputs: &mut [Input<'_, B>]) -> usize {
    let lists: Vec<_> = inputs.iter().map(|input| input.segment.bases()).collect();
    let mut walk = Walk::over(lists.into_iter());
    let (mut group, mut count) = (Vec::new(), 0);
    while walk.next_into(&mut group).is_some() {
        for &(list, _) in &group {
            if let Some(input) = inputs.get_mut(list) {
                input.bases.push(count);
            }
        }
        // The number of one that nothing needs is the next one's; no place has it.
        count += u32::from(is_used(inputs, &group));
    }
    count as usize
}

/// Whether a place that stays needs the base that stands there.
fn is_used<B>(inputs: &[Input<'_, B>], group: &[(usize, usize)]) -> bool {
    group.iter().any(|&(list, at)| {
        let used = inputs.get(list).and_then(|input| input.used.as_ref());
        used.is_none_or(|used| used.get(at).copied().unwrap_or(true))
    })
}

/// Which bases of a segment the places need whose packs stay.
fn used_bases<B: AsRef<[u8]>>(
    segment: &Segment<B>,
    packs: &[Option<u32>],
) -> Result<Vec<bool>, Malformed> {
    let mut used = vec![false; segment.bases().len()];
    for at in 0..segment.len() {
        let (raw, _) = segment.raw_place(at)?;
        let stays = packs.get(raw.pack.get() as usize).is_some_and(Option::is_some);
        if let Some(base) = raw.base.get().checked_sub(1)
            && stays
            && let Some(used) = used.get_mut(base as usize)
        {
            *used = true;
        }
    }
    Ok(used)
}

/// How many places the union has, and a fan-out table of as many bits as it can need.
fn count<B: AsRef<[u8]>>(inputs: &[Input<'_, B>]) -> Result<(u64, Vec<u32>), Malformed> {
    let most = inputs.iter().map(|input| input.segment.len() as u64).sum();
    let bits = fanout_bits(most);
    let mut fanout = Vec::with_capacity((1 << bits) + 1);
    let mut walk = Walk::over(inputs.iter().map(|input| input.segment.ids()));
    let (mut group, mut raw) = (Vec::new(), Vec::new());
    let (mut records, mut last) = (0_u64, None);
    while let Some(id) = walk.next_into(&mut group) {
        if last > Some(id) {
            return Err(Malformed::at(0, "chunk ids of a segment to merge are out of order"));
        }
        last = Some(id);
        fanout.resize((prefix(id, bits) as usize + 1).max(fanout.len()), records as u32);
        gather(inputs, &group, &mut raw)?;
        records += raw.len() as u64;
    }
    fanout.resize((1 << bits) + 1, records as u32);
    Ok((records, fanout))
}

/// Keeps what a table of `bits` bits has of one that has more.
fn coarsen(fanout: &mut Vec<u32>, bits: u32) {
    debug_assert!(bits <= FANOUT_BITS_MAX);
    let step = (fanout.len() - 1) >> bits;
    if step > 1 {
        *fanout = fanout.iter().copied().step_by(step).collect();
    }
}

/// The places of one chunk under their new numbers, sorted, each once.
fn gather<B: AsRef<[u8]>>(
    inputs: &[Input<'_, B>],
    group: &[(usize, usize)],
    places: &mut Vec<RawPlace>,
) -> Result<(), Malformed> {
    places.clear();
    for &(list, at) in group {
        let Some(input) = inputs.get(list) else { continue };
        places.extend(input.place(at)?);
    }
    if places.len() > 1 {
        places.sort_unstable_by_key(RawPlace::order);
        places.dedup_by_key(|place| place.order());
    }
    Ok(())
}

impl<B: AsRef<[u8]>> Input<'_, B> {
    /// The place there under its new numbers; `None` where its pack is left out.
    fn place(&self, at: usize) -> Result<Option<RawPlace>, Malformed> {
        let (mut raw, offset) = self.segment.raw_place(at)?;
        let unknown = || Malformed::at(offset, "place of an unknown pack or base");
        let Some(pack) = self.packs.get(raw.pack.get() as usize).ok_or_else(unknown)? else {
            return Ok(None);
        };
        raw.pack = (*pack).into();
        if let Some(base) = raw.base.get().checked_sub(1) {
            raw.base = (*self.bases.get(base as usize).ok_or_else(unknown)? + 1).into();
        }
        Ok(Some(raw))
    }
}

/// Walks ascending lists of ids together.
struct Walk<'a> {
    lists: Vec<&'a [[u8; 32]]>,
    /// The next id of each list: id, number of the list, position in it.
    next: BinaryHeap<Reverse<(&'a [u8; 32], usize, usize)>>,
}

impl<'a> Walk<'a> {
    fn over(lists: impl Iterator<Item = &'a [[u8; 32]]>) -> Self {
        let lists: Vec<_> = lists.collect();
        let first =
            |(number, list): (usize, &&'a [[u8; 32]])| Some(Reverse((list.first()?, number, 0)));
        let next = lists.iter().enumerate().filter_map(first).collect();
        Self { lists, next }
    }

    /// The next id, and in `group` where it stands: numbers of lists and positions in them.
    fn next_into(&mut self, group: &mut Vec<(usize, usize)>) -> Option<&'a [u8; 32]> {
        group.clear();
        let id = self.next.peek()?.0.0;
        while let Some(mut top) = self.next.peek_mut() {
            let Reverse((head, list, at)) = *top;
            if head != id {
                break;
            }
            group.push((list, at));
            match self.lists.get(list).and_then(|ids| ids.get(at + 1)) {
                Some(after) => *top = Reverse((after, list, at + 1)),
                None => drop(PeekMut::pop(top)),
            }
        }
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::format::index::{Record, SegmentBuilder};
    use crate::format::{ChunkId, PackKind};

    fn pack(n: u8) -> PackInfo {
        let kind = if n.is_multiple_of(2) { PackKind::Data } else { PackKind::Meta };
        PackInfo { id: PackId([n; 32]), kind, salt: [n; 16], stored_len: 1 << 20 }
    }

    fn id(n: u16) -> ChunkId {
        ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes())
    }

    /// A chunk's number, its pack's, its offset, and what it is a difference from.
    type Row = (u16, u8, u8, Option<u16>);

    /// What a builder makes of these rows, its packs in the order met.
    fn built<'a>(rows: impl IntoIterator<Item = &'a Row>, packs: &[u8]) -> SegmentBuilder {
        let mut builder = SegmentBuilder::default();
        for &n in packs {
            builder.add_pack(pack(n));
        }
        for &(chunk, n, offset, base) in rows {
            builder.add(Record {
                id: id(chunk),
                pack: packs.iter().position(|known| *known == n).unwrap() as u32,
                block_offset: 64,
                block_len: 100,
                chunk_offset: offset.into(),
                chunk_len: 1,
                base: base.filter(|base| *base != chunk).map(id),
            });
        }
        builder
    }

    fn packs_of(rows: &[Row]) -> Vec<u8> {
        let mut packs = Vec::new();
        for row in rows {
            if !packs.contains(&row.1) {
                packs.push(row.1);
            }
        }
        packs
    }

    fn merged(inputs: &[&Segment<Vec<u8>>], replaces: &[SegmentId]) -> Vec<u8> {
        let merge = SegmentMerge::plan(inputs, replaces.to_vec()).unwrap();
        let (mut head, mut ids, mut places) = (Vec::new(), Vec::new(), Vec::new());
        merge.write(&mut head, &mut ids, &mut places).unwrap();
        assert_eq!(merge.offsets().0, head.len() as u64);
        assert_eq!(merge.offsets().1, (head.len() + ids.len()) as u64);
        let body = [head, ids, places].concat();
        assert_eq!(merge.body_len(), body.len() as u64);
        body
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let base = prop::option::weighted(0.3, 0_u16..60);
        prop::collection::vec((0_u16..300, 0_u8..5, 0_u8..3, base), 0..80)
    }

    proptest! {
        /// The union is what a builder makes of all rows, byte for byte, and knows what a model
        /// knows.
        #[test]
        fn union_has_every_place_of_every_input(lists in prop::collection::vec(rows(), 0..10)) {
            let build = |rows: &Vec<Row>| built(rows, &packs_of(rows)).encode();
            let inputs: Vec<_> =
                lists.iter().map(|rows| Segment::open(build(rows)).unwrap()).collect();
            let replaces = [SegmentId([7; 32]), SegmentId([6; 32])];
            let body = merged(&inputs.iter().collect::<Vec<_>>(), &replaces);

            let all = lists.concat();
            let mut whole = built(&all, &packs_of(&all));
            replaces.iter().for_each(|id| whole.replace(*id));
            prop_assert!(body == whole.encode(), "other bytes than those of a builder");

            let segment = Segment::open(body).unwrap();
            segment.check().unwrap();
            let mut model: BTreeMap<u16, BTreeSet<_>> = BTreeMap::new();
            for (chunk, n, offset, base) in all {
                let base = base.filter(|base| *base != chunk).map(id);
                model.entry(chunk).or_default().insert((base, pack(n).id, u32::from(offset)));
            }
            for chunk in 0..300 {
                let places = segment.places(&id(chunk)).unwrap().map(|place| place.unwrap());
                let found: Vec<_> =
                    places.map(|p| (p.base, p.pack.id, p.chunk_offset)).collect();
                let wanted = model.remove(&chunk).unwrap_or_default();
                prop_assert_eq!(found.len(), wanted.len());
                prop_assert_eq!(found.first().map(|p| p.0), wanted.first().map(|p| p.0));
                prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), wanted);
            }
        }
    }

    #[test]
    fn inputs_that_are_damaged_fail_the_plan_or_the_write_and_never_panic() {
        let rows: Vec<Row> = (0..40).map(|n| (n, 1, 0, (n > 20).then_some(3))).collect();
        let body = built(&rows, &[1]).encode();
        let good = Segment::open(body.clone()).unwrap();
        for bit in 0..body.len() * 8 {
            let mut bad = body.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let Ok(bad) = Segment::open(bad) else { continue };
            if let Ok(merge) = SegmentMerge::plan(&[&good, &bad], Vec::new()) {
                merge.write(&mut io::sink(), &mut io::sink(), &mut io::sink()).unwrap();
            }
        }
    }
}
