//! Whether parts of one chunk lie in another, at whatever place.
//!
//! As rsync does it: the base's windows at regular places go into a table, and each place of a few
//! regions of the chunk is looked up there. A region as long as the distance of the base's places
//! meets one of them if the base holds it, wherever.

/// Bytes that must be the same to count.
const WINDOW: usize = 32;
/// Distance of the base's places in the table, at least. Long bases have them farther apart.
const STRIDE_MIN: usize = 64;
/// Most places of a base in the table.
const PLACES_MAX: usize = 8 << 10;
/// Regions of the chunk that are looked up.
const REGIONS: usize = 16;
/// Slots of the table. Places that fall into one slot replace each other: about a tenth is lost of a full table.
const SLOTS: usize = 4 * PLACES_MAX;

/// The part of the chunk that the base holds too, as far as a few regions tell. Runs of one pattern
/// do not count: they are coded in no space anyway.
pub(super) fn shared(chunk: &[u8], base: &[u8]) -> f32 {
    let stride = base.len().div_ceil(PLACES_MAX).max(STRIDE_MIN);
    let table = places(base, stride);
    let region_len = stride + WINDOW - 1;
    let distance = chunk.len() / REGIONS;
    if distance < region_len {
        return 0.0;
    }
    let found = chunk.chunks_exact(distance).filter(|part| {
        let middle = (part.len() - region_len) / 2;
        part[middle..][..region_len]
            .array_windows()
            .any(|window| !is_pattern(window) && holds(base, &table, stride, window))
    });
    found.count() as f32 / REGIONS as f32
}

/// Numbers of the base's places, counted from 1, by the hash of what lies there.
fn places(base: &[u8], stride: usize) -> Vec<u32> {
    let mut table = vec![0; SLOTS];
    let windows = base.chunks(stride).filter_map(|part| part.first_chunk::<WINDOW>());
    for (number, window) in windows.enumerate() {
        table[slot(window)] = number as u32 + 1;
    }
    table
}

fn holds(base: &[u8], table: &[u32], stride: usize, window: &[u8; WINDOW]) -> bool {
    let number = table[slot(window)] as usize;
    number > 0 && base[(number - 1) * stride..].starts_with(window)
}

fn words(window: &[u8; WINDOW]) -> [u64; 4] {
    let (words, _) = window.as_chunks::<8>();
    std::array::from_fn(|at| u64::from_le_bytes(words[at]))
}

/// Multiplicative hashing (Knuth, volume 3, section 6.4) of the first half, which tells enough.
fn slot(window: &[u8; WINDOW]) -> usize {
    let [a, b, ..] = words(window);
    let mixed = (a ^ b.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - SLOTS.ilog2())) as usize
}

fn is_pattern(window: &[u8; WINDOW]) -> bool {
    let [a, b, c, d] = words(window);
    a == b && b == c && c == d
}

#[cfg(test)]
mod tests {
    use super::super::testing::{noise, text};
    use super::*;

    #[test]
    fn shifted_content_is_found_and_strange_content_is_not() {
        let base = noise(300 << 10);
        for shift in [0, 1, 63, 1000, 70_000] {
            assert!(shared(&base[shift..], &base) > 0.7, "{shift}");
        }
        let halves = [&base[..100 << 10], &text(100 << 10)].concat();
        assert!((shared(&halves, &base) - 0.5).abs() < 0.2);
        assert_eq!(shared(&text(100 << 10), &base), 0.0);
    }

    #[test]
    fn long_bases_keep_the_table_small_and_are_found_all_the_same() {
        let base = noise(4 << 20);
        assert!(shared(&base[12_345..3 << 20], &base) > 0.7);
    }

    #[test]
    fn runs_and_tiny_chunks_do_not_count() {
        assert_eq!(shared(&[0; 100_000], &[0; 100_000]), 0.0);
        assert_eq!(shared(b"tiny", b"tiny"), 0.0);
        assert_eq!(shared(&noise(9000), b""), 0.0);
    }
}
