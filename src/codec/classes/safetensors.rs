//! Safetensors: the length of a JSON header (u64, little-endian), the header, then the tensors.
//!
//! The header maps each name to `{"dtype", "shape", "data_offsets": [begin, end]}`, offsets from
//! the header's end; `"__metadata__"` holds words. The tensors cover all the rest of the file, each
//! byte once: what does not is odd. Of a stream the header alone tells how long it is.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::tensors::{Tensor, TensorMap};
use super::{HEADER_MAX, Stop, UNSIZED, bytes_at};
use crate::codec::Element;

/// The format's own cap.
const JSON_MAX: u64 = 100_000_000;
/// Bytes before the JSON.
const LEN_LEN: u64 = 8;

/// Where the tensors of a safetensors file of this size lie.
pub(super) fn map(first: &[u8], size: u64) -> Result<TensorMap, Stop> {
    let json_len = bytes_at(first, 0).map(u64::from_le_bytes).ok_or(Stop::Odd)?;
    if !(2..=JSON_MAX).contains(&json_len) || first.get(8) != Some(&b'{') {
        return Err(Stop::Odd);
    }
    let end = LEN_LEN + json_len;
    let data_len = size.checked_sub(end).ok_or(Stop::Odd)?;
    if end > HEADER_MAX as u64 {
        return Err(Stop::Long);
    }
    let json = first.get(LEN_LEN as usize..end as usize).ok_or(Stop::Short(end))?;
    let Header(mut tensors) = serde_json::from_slice(json).map_err(|_| Stop::Odd)?;
    tensors.sort_unstable_by_key(|info| info.data_offsets);
    let mut covered = 0;
    for Info { data_offsets: [begin, until], .. } in &tensors {
        if *begin != covered || until < begin || *until > data_len {
            return Err(Stop::Odd);
        }
        covered = *until;
    }
    if covered != data_len && size != UNSIZED {
        return Err(Stop::Odd);
    }
    Ok(TensorMap::new(end, tensors.iter().map(|info| info.tensor(end))))
}

/// What the header says of one tensor.
#[derive(Deserialize)]
struct Info {
    #[serde(deserialize_with = "element")]
    dtype: Option<Element>,
    data_offsets: [u64; 2],
}

impl Info {
    /// Its place in the file; the offsets are in order, and within the file's size.
    fn tensor(&self, data_start: u64) -> Tensor {
        let [begin, until] = self.data_offsets;
        Tensor { start: data_start + begin, len: until - begin, element: self.dtype }
    }
}

fn element<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Element>, D::Error> {
    deserializer.deserialize_str(Word(|word: &str| match word {
        "F16" | "BF16" => Some(Element::F16),
        "F32" => Some(Element::F32),
        "F64" => Some(Element::F64),
        _ => None,
    }))
}

/// The tensors of a header, without their names.
struct Header(Vec<Info>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries).map(Self)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<Info>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut infos = Vec::new();
        while let Some(IsMetadata(metadata)) = map.next_key()? {
            if metadata {
                map.next_value::<IgnoredAny>()?;
            } else {
                infos.push(map.next_value()?);
            }
        }
        Ok(infos)
    }
}

/// Whether a key is the one that names no tensor.
struct IsMetadata(bool);

impl<'de> Deserialize<'de> for IsMetadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Word(|word: &str| word == "__metadata__")).map(Self)
    }
}

/// What a function makes of a string, which is not copied.
struct Word<F>(F);

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Word<F> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<T, E> {
        Ok((self.0)(word))
    }
}
