//! Content for the tests of block codecs.

use crate::codec::block::Element;

/// Bytes without any pattern, the same at each call.
pub(super) fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// Lines that zstd codes in a tenth.
pub(super) fn text(len: usize) -> Vec<u8> {
    (0..).flat_map(|n: u32| format!("line {n} of the log\n").into_bytes()).take(len).collect()
}

/// `count` floats around 0, like the weights of a model: a sum of uniform values is near enough to
/// a normal one.
pub(super) fn floats(count: usize) -> Vec<f32> {
    let uniform = |bytes: &[u8]| f32::from(u16::from_le_bytes([bytes[0], bytes[1]])) / 65536.0;
    let sum = |part: &[u8]| part.chunks_exact(2).map(uniform).sum::<f32>() - 4.0;
    noise(count * 16).chunks_exact(16).map(|part| sum(part) * 0.05).collect()
}

/// Floats as the little-endian bytes of this element.
pub(super) fn weights(floats: &[f32], element: Element) -> Vec<u8> {
    let bytes = |value: &f32| match element {
        Element::F16 => value.to_le_bytes()[2..].to_vec(),
        Element::F64 => f64::from(*value).to_le_bytes().to_vec(),
        Element::F32 | Element::Bytes => value.to_le_bytes().to_vec(),
    };
    floats.iter().flat_map(bytes).collect()
}
