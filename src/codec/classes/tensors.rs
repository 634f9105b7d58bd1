//! Where tensors lie in a file, and the cuts that follow.

use crate::codec::Element;

/// Longest chunk of a tensor file.
pub const TENSOR_CHUNK: u64 = 1 << 20;
/// Where neither the chunk so far nor the tensor that comes is as long, they share a chunk.
const SMALL: u64 = 64 << 10;

/// A tensor's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tensor {
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) element: Option<Element>,
}

/// The places where a tensor file must be cut. Without any it is one region from byte 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TensorMap {
    /// By start, ascending; the first starts at 0.
    regions: Vec<Region>,
}

/// From a cut to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Region {
    start: u64,
    element: Option<Element>,
}

impl TensorMap {
    /// From the end of the header, and the tensors in the order of their starts, all at or after
    /// that end.
    ///
    /// A tensor begins a chunk where it, or the chunk so far, has 64 KiB; else it joins that.
    pub(super) fn new(header_end: u64, tensors: impl IntoIterator<Item = Tensor>) -> Self {
        let mut regions = vec![Region { start: 0, element: None }];
        let mut open = OpenRegion::at(header_end);
        for tensor in tensors.into_iter().filter(|tensor| tensor.len > 0) {
            let before = tensor.start.saturating_sub(open.start);
            let chunk = before % TENSOR_CHUNK;
            if before > 0 && (chunk == 0 || chunk >= SMALL || tensor.len >= SMALL) {
                regions.push(open.close());
                open = OpenRegion::at(tensor.start);
            }
            open.add(&tensor);
        }
        regions.push(open.close());
        regions.shrink_to_fit();
        Self { regions }
    }

    /// How far the chunk that starts at `offset` may go, 1 to [`TENSOR_CHUNK`] bytes.
    #[must_use]
    pub fn until_cut(&self, offset: u64) -> u64 {
        let next = self.regions.partition_point(|region| region.start <= offset);
        let start = next.checked_sub(1).and_then(|at| self.regions.get(at));
        let start = start.map_or(0, |region| region.start);
        let to_grid = TENSOR_CHUNK - (offset - start) % TENSOR_CHUNK;
        match self.regions.get(next) {
            Some(region) => to_grid.min(region.start - offset),
            None => to_grid,
        }
    }

    /// What numbers the chunk that starts at `offset` holds: those that take most of its region.
    #[must_use]
    pub fn element_at(&self, offset: u64) -> Option<Element> {
        let next = self.regions.partition_point(|region| region.start <= offset);
        let region = next.checked_sub(1).and_then(|at| self.regions.get(at));
        region.and_then(|region| region.element)
    }
}

/// A region that further tensors may join.
struct OpenRegion {
    start: u64,
    /// Bytes of each element type, unknown first.
    bytes: [(Option<Element>, u64); 4],
}

impl OpenRegion {
    fn at(start: u64) -> Self {
        let elements = [None, Some(Element::F16), Some(Element::F32), Some(Element::F64)];
        Self { start, bytes: elements.map(|element| (element, 0)) }
    }

    fn add(&mut self, tensor: &Tensor) {
        for (element, bytes) in &mut self.bytes {
            if *element == tensor.element {
                *bytes = bytes.saturating_add(tensor.len);
            }
        }
    }

    fn close(self) -> Region {
        let most = self.bytes.into_iter().max_by_key(|&(_, bytes)| bytes);
        let element = most.filter(|&(_, bytes)| bytes > 0).map(|(element, _)| element);
        Region { start: self.start, element: element.flatten() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;

    fn cuts(map: &TensorMap, size: u64) -> Vec<u64> {
        let mut cuts = vec![0];
        while let Some(&at) = cuts.last().filter(|&&at| at < size) {
            cuts.push((at + map.until_cut(at)).min(size));
        }
        cuts
    }

    fn tensors(start: u64, lens: &[u64]) -> Vec<Tensor> {
        let mut at = start;
        let tensor = |&len: &u64| {
            at += len;
            Tensor { start: at - len, len, element: Some(Element::F16) }
        };
        lens.iter().map(tensor).collect()
    }

    #[test]
    fn tensors_begin_chunks_where_they_or_the_chunk_so_far_are_long_enough() {
        let lens = [10, 20 * KIB, 60 * KIB, 5, 3072 * KIB + 7, 9, 64 * KIB, 2048 * KIB, 3];
        let map = TensorMap::new(100, tensors(100, &lens));
        let small = 100 + 10 + 80 * KIB; // the first three: only then are 64 KiB there
        let large = small + 5;
        let tail = large + 3072 * KIB;
        let next = tail + 7 + 9;
        let last = next + 64 * KIB;
        let size = last + 2048 * KIB + 3;
        let expected = [
            0,
            100,
            small,
            large,
            large + 1024 * KIB,
            large + 2048 * KIB,
            tail,
            next,
            last,
            last + 1024 * KIB,
            last + 2048 * KIB,
            size,
        ];
        assert_eq!(cuts(&map, size), expected);
    }

    #[test]
    fn a_map_without_regions_is_a_grid() {
        let map = TensorMap::default();
        assert_eq!(cuts(&map, (2 << 20) + 5), [0, 1 << 20, 2 << 20, (2 << 20) + 5]);
        assert_eq!(map.until_cut((1 << 20) - 1), 1);
        assert_eq!(map.until_cut(u64::MAX), 1);
        assert_eq!(map.element_at(7), None);
    }

    #[test]
    fn a_region_is_of_the_type_that_takes_most_of_it() {
        let of = |start, len, element| Tensor { start, len, element };
        let map = TensorMap::new(
            8,
            [
                of(8, 2 << 20, Some(Element::F32)),
                of(8 + (2 << 20), 100, None),
                of(108 + (2 << 20), 64 << 10, Some(Element::F64)),
            ],
        );
        assert_eq!(map.element_at(0), None);
        assert_eq!(map.element_at(8 + (1 << 20)), Some(Element::F32));
        assert_eq!(map.element_at(8 + (2 << 20)), None, "at a grid line");
        assert_eq!(map.element_at(108 + (2 << 20)), Some(Element::F64));
    }
}
