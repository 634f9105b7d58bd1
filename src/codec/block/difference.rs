//! What a block differs from its base by, byte for byte or float for float.
//!
//! Floats of one training run move by little steps. As integers in the order of their values (a
//! negative float's bits inverted, a positive one's sign bit set) they differ by small numbers,
//! whose upper bytes are zero: better than XOR, where a step across a power of 2 changes most bits
//! (FM-Delta, NeurIPS 2024). The difference's sign goes to the lowest bit ("zigzag"), so that the
//! upper bytes of small negative numbers are zero too.
//!
//! What must stay true: every difference is undone exactly, NaNs and all, for any two inputs of one
//! length; bytes at the end that fill no element are XORed.

/// How a difference is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    Xor,
    /// Of 2-byte floats, bf16 or fp16.
    Sub16,
    /// Of 4-byte floats.
    Sub32,
}

impl Difference {
    /// The difference of `plain` and `base`, which have the same length, as has `difference`.
    pub(super) fn take(self, plain: &[u8], base: &[u8], difference: &mut [u8]) {
        match self {
            Self::Xor => xor(plain, base, difference),
            Self::Sub16 => each(plain, base, difference, |a, b| {
                let step =
                    order16(u16::from_le_bytes(a)).wrapping_sub(order16(u16::from_le_bytes(b)));
                ((step << 1) ^ (0_u16.wrapping_sub(step >> 15))).to_le_bytes()
            }),
            Self::Sub32 => each(plain, base, difference, |a, b| {
                let step =
                    order32(u32::from_le_bytes(a)).wrapping_sub(order32(u32::from_le_bytes(b)));
                ((step << 1) ^ (0_u32.wrapping_sub(step >> 31))).to_le_bytes()
            }),
        }
    }

    /// What was `plain` when `difference` was taken with this base.
    pub(super) fn undo(self, difference: &[u8], base: &[u8], plain: &mut [u8]) {
        match self {
            Self::Xor => xor(difference, base, plain),
            Self::Sub16 => each(difference, base, plain, |d, b| {
                let folded = u16::from_le_bytes(d);
                let step = (folded >> 1) ^ (0_u16.wrapping_sub(folded & 1));
                unorder16(order16(u16::from_le_bytes(b)).wrapping_add(step)).to_le_bytes()
            }),
            Self::Sub32 => each(difference, base, plain, |d, b| {
                let folded = u32::from_le_bytes(d);
                let step = (folded >> 1) ^ (0_u32.wrapping_sub(folded & 1));
                unorder32(order32(u32::from_le_bytes(b)).wrapping_add(step)).to_le_bytes()
            }),
        }
    }
}

/// A float's bits as an integer in the order of the floats' values.
const fn order16(bits: u16) -> u16 {
    bits ^ (0_u16.wrapping_sub(bits >> 15) | 1 << 15)
}

const fn unorder16(order: u16) -> u16 {
    order ^ (0_u16.wrapping_sub(!order >> 15) | 1 << 15)
}

const fn order32(bits: u32) -> u32 {
    bits ^ (0_u32.wrapping_sub(bits >> 31) | 1 << 31)
}

const fn unorder32(order: u32) -> u32 {
    order ^ (0_u32.wrapping_sub(!order >> 31) | 1 << 31)
}

fn xor(a: &[u8], b: &[u8], out: &mut [u8]) {
    assert!(a.len() == out.len() && b.len() == out.len());
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = a ^ b;
    }
}

/// Applies an operation to whole elements, and XOR to the rest.
fn each<const N: usize>(
    a: &[u8],
    b: &[u8],
    out: &mut [u8],
    operation: impl Fn([u8; N], [u8; N]) -> [u8; N],
) {
    assert!(a.len() == out.len() && b.len() == out.len());
    let (whole_a, rest_a) = a.as_chunks::<N>();
    let (whole_b, rest_b) = b.as_chunks::<N>();
    let (whole_out, rest_out) = out.as_chunks_mut::<N>();
    for ((out, a), b) in whole_out.iter_mut().zip(whole_a).zip(whole_b) {
        *out = operation(*a, *b);
    }
    xor(rest_a, rest_b, rest_out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Difference; 3] = [Difference::Xor, Difference::Sub16, Difference::Sub32];

    #[test]
    fn orders_are_those_of_the_values_and_reversible() {
        for bits in 0..=u16::MAX {
            assert_eq!(unorder16(order16(bits)), bits);
        }
        let values = [f32::NEG_INFINITY, -2.5, -1e-30, -0.0, 0.0, 1e-30, 1.0, f32::INFINITY];
        let orders = values.map(|value| order32(value.to_bits()));
        assert!(orders.is_sorted());
        assert_eq!(orders.map(unorder32), values.map(f32::to_bits));
    }

    #[test]
    fn small_steps_of_either_sign_leave_upper_bytes_zero() {
        let base: Vec<u8> = [1.0_f32, -3.5, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let step = |value: f32, by: i32| (value.to_bits().cast_signed() + by).to_le_bytes();
        // 1.0 less one step crosses a power of 2.
        let plain = [step(1.0, -1), step(-3.5, 5), step(2.0, 100)].concat();
        let mut difference = vec![9; 12];
        Difference::Sub32.take(&plain, &base, &mut difference);
        assert_eq!(difference, [1, 0, 0, 0, 9, 0, 0, 0, 200, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn every_difference_is_undone(
            pairs in prop::collection::vec((any::<u8>(), any::<u8>()), 0..300),
        ) {
            let (plain, base): (Vec<u8>, Vec<u8>) = pairs.into_iter().unzip();
            let (mut taken, mut undone) = (vec![1; plain.len()], vec![2; plain.len()]);
            for difference in ALL {
                difference.take(&plain, &base, &mut taken);
                difference.undo(&taken, &base, &mut undone);
                prop_assert_eq!(&undone, &plain);
            }
        }
    }
}
