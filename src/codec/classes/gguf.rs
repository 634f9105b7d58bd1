//! GGUF versions 2 and 3, little-endian: magic, version, numbers of tensors and of key-value pairs,
//! the pairs, then for each tensor its name, dimensions, type and offset from the data's start,
//! which is the header's end brought to the alignment.
//!
//! A tensor ends where the next begins: lengths by type and dimensions are not needed, and types
//! that do not exist yet are cut well too.

use super::tensors::{Tensor, TensorMap};
use super::{HEADER_MAX, Stop};
use crate::codec::Element;

const ALIGNMENT_KEY: &[u8] = b"general.alignment";
const ALIGNMENT_DEFAULT: u64 = 32;
const ALIGNMENT_MAX: u64 = 1 << 20;
/// Most dimensions of a tensor; ggml has 4.
const DIMENSIONS_MAX: u32 = 8;
/// Arrays in arrays deeper than this are odd.
const NESTING_MAX: u32 = 4;
/// Numbers of the types of values that the header's own rules need.
const TYPE_U32: u32 = 4;
const TYPE_STRING: u32 = 8;
const TYPE_ARRAY: u32 = 9;

/// Where the tensors of a GGUF file of this size lie.
pub(super) fn map(first: &[u8], size: u64) -> Result<TensorMap, Stop> {
    let mut header = Cursor { bytes: first, at: 0, size };
    if header.take(4).map_err(|_| Stop::Odd)? != b"GGUF" {
        return Err(Stop::Odd);
    }
    if !matches!(header.u32()?, 2 | 3) {
        return Err(Stop::Odd);
    }
    let (tensors_count, pairs_count) = (header.u64()?, header.u64()?);
    let mut alignment = ALIGNMENT_DEFAULT;
    for _ in 0..pairs_count {
        let is_alignment = header.string()? == ALIGNMENT_KEY;
        match header.u32()? {
            TYPE_U32 if is_alignment => alignment = u64::from(header.u32()?),
            kind => header.skip_value(kind, 0)?,
        }
    }
    if !alignment.is_power_of_two() || alignment > ALIGNMENT_MAX {
        return Err(Stop::Odd);
    }
    let mut starts = Vec::new();
    for _ in 0..tensors_count {
        starts.push(header.tensor()?);
    }
    let data_start = header.at.next_multiple_of(alignment);
    place(starts, data_start, alignment, size)
}

/// From offsets in the data to places in the file.
fn place(
    mut starts: Vec<(u64, Option<Element>)>,
    data_start: u64,
    alignment: u64,
    size: u64,
) -> Result<TensorMap, Stop> {
    let data_len = size.checked_sub(data_start).ok_or(Stop::Odd)?;
    starts.sort_unstable_by_key(|&(offset, _)| offset);
    let odd = |&(offset, _): &(u64, Option<Element>)| offset > data_len || offset % alignment != 0;
    if starts.iter().any(odd) {
        return Err(Stop::Odd);
    }
    let ends = starts.iter().skip(1).map(|&(offset, _)| offset).chain([data_len]);
    let tensors = starts.iter().zip(ends).map(|(&(offset, element), end)| Tensor {
        start: data_start + offset,
        len: end - offset,
        element,
    });
    Ok(TensorMap::new(data_start, tensors))
}

/// A header being read.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: u64,
    /// The file's: no header goes on beyond it.
    size: u64,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: u64) -> Result<&'a [u8], Stop> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.size).ok_or(Stop::Odd)?;
        if end > HEADER_MAX as u64 {
            return Err(Stop::Long);
        }
        let part = self.bytes.get(self.at as usize..end as usize).ok_or(Stop::Short(end))?;
        self.at = end;
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        self.take(N as u64)?.first_chunk().copied().ok_or(Stop::Odd)
    }

    fn u32(&mut self) -> Result<u32, Stop> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Stop> {
        self.array().map(u64::from_le_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8], Stop> {
        let len = self.u64()?;
        self.take(len)
    }

    fn skip_value(&mut self, kind: u32, depth: u32) -> Result<(), Stop> {
        match kind {
            TYPE_STRING => self.string().map(drop),
            TYPE_ARRAY if depth < NESTING_MAX => {
                let (kind, count) = (self.u32()?, self.u64()?);
                match value_len(kind) {
                    Some(len) => self.take(count.checked_mul(len).ok_or(Stop::Odd)?).map(drop),
                    // Each takes 8 bytes at least, so this ends with the bytes.
                    None => (0..count).try_for_each(|_| self.skip_value(kind, depth + 1)),
                }
            }
            kind => self.take(value_len(kind).ok_or(Stop::Odd)?).map(drop),
        }
    }

    /// A tensor's offset in the data, and what it holds.
    fn tensor(&mut self) -> Result<(u64, Option<Element>), Stop> {
        self.string()?;
        let dimensions = self.u32()?;
        if dimensions > DIMENSIONS_MAX {
            return Err(Stop::Odd);
        }
        self.take(u64::from(dimensions) * 8)?;
        let element = match self.u32()? {
            0 => Some(Element::F32),
            1 | 30 => Some(Element::F16),
            28 => Some(Element::F64),
            _ => None,
        };
        Ok((self.u64()?, element))
    }
}

/// Bytes of a value of a type with a fixed length.
const fn value_len(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}
