//! The one file that names bincode: variable records to bytes and back.
//!
//! Encoding (specified in icecore-format(5), held by golden tests): little-endian, fixed-width
//! integers, `u64` lengths before sequences and strings, one byte before an option, `u32` before
//! an enum's content. Trailing bytes are an error.

use serde::{Serialize, de::DeserializeOwned};

use super::Malformed;

/// Upper bound for what one decode may claim to hold, in bytes; frames are capped lower, by kind.
const DECODE_MAX: usize = super::limits::GENERATION_MAX;

fn layout() -> impl bincode::config::Config {
    bincode::config::standard()
        .with_little_endian()
        .with_fixed_int_encoding()
        .with_limit::<DECODE_MAX>()
}

/// Encodes one record.
///
/// # Panics
/// Only on a record that format 1 cannot hold (over 32 MiB); callers check their caps first.
pub(crate) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    match bincode::serde::encode_to_vec(record, layout()) {
        Ok(bytes) => bytes,
        Err(err) => panic!("record cannot be encoded: {err}"),
    }
}

/// Decodes exactly one record that fills all of `bytes`.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    let (record, used) = bincode::serde::decode_from_slice(bytes, layout())
        .map_err(|err| Malformed::at(0, format!("record does not decode ({err})")))?;
    if used == bytes.len() {
        Ok(record)
    } else {
        Err(Malformed::at(used, "bytes after the record's end"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_fixed_little_endian() {
        let record = (0x0102_u16, Some(3_u32), vec![4_u8, 5], "ab".to_string());
        let bytes = encode(&record);
        assert_eq!(hex::encode(&bytes), "020101030000000200000000000000040502000000000000006162");
        assert_eq!(decode::<(u16, Option<u32>, Vec<u8>, String)>(&bytes), Ok(record));
    }

    #[test]
    fn trailing_and_missing_bytes_are_errors() {
        let mut bytes = encode(&7_u32);
        bytes.push(0);
        assert!(decode::<u32>(&bytes).is_err());
        assert!(decode::<u32>(&bytes[..3]).is_err());
    }

    #[test]
    fn absurd_lengths_are_refused_before_allocation() {
        let bytes = u64::MAX.to_le_bytes();
        assert!(decode::<Vec<u8>>(&bytes).is_err());
        assert!(decode::<String>(&bytes).is_err());
        assert!(decode::<Vec<(u64, u64)>>(&bytes).is_err());
    }
}
