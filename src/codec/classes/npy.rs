//! NumPy's `.npy`: magic, version, the length of a header in Python's words, the header, one array.

use super::tensors::{Tensor, TensorMap};
use super::{Stop, bytes_at};
use crate::codec::Element;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Headers are padded to a multiple of 64 and hold a type and a shape; a longer one is odd.
const HEADER_MAX: u64 = 64 << 10;

/// Where the array of an npy file of this size lies.
pub(super) fn map(first: &[u8], size: u64) -> Result<TensorMap, Stop> {
    if !first.starts_with(MAGIC) {
        return Err(Stop::Odd);
    }
    let (words_start, words_len) = match first.get(6) {
        Some(1) => (10, bytes_at(first, 8).map(|len| u64::from(u16::from_le_bytes(len)))),
        Some(2 | 3) => (12, bytes_at(first, 8).map(|len| u64::from(u32::from_le_bytes(len)))),
        _ => return Err(Stop::Odd),
    };
    let start = words_len.ok_or(Stop::Odd)? + words_start;
    if start > HEADER_MAX {
        return Err(Stop::Odd);
    }
    let words = first.get(words_start as usize..start as usize).ok_or(Stop::Odd)?;
    let len = size.checked_sub(start).ok_or(Stop::Odd)?;
    Ok(TensorMap::new(start, [Tensor { start, len, element: element(words) }]))
}

/// What `'descr': '<f4'` says.
fn element(words: &[u8]) -> Option<Element> {
    let words = String::from_utf8_lossy(words);
    let kind = words.split("'descr':").nth(1).and_then(|rest| rest.split('\'').nth(1));
    match kind {
        Some("<f2") => Some(Element::F16),
        Some("<f4") => Some(Element::F32),
        Some("<f8") => Some(Element::F64),
        _ => None,
    }
}
