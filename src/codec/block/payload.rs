//! The header of a payload.

use super::operation::Operation;
use super::transpose::Width;
use crate::format::{Malformed, limits};

/// Bytes before the coded ones.
pub const PAYLOAD_HEADER_LEN: usize = 8;

const STORED: u8 = 0;
const ZSTD: u8 = 1;
const PLANES: u8 = 2;
const DELTA: u8 = 3;

/// How a payload is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Stored,
    Zstd,
    Planes(Width),
    Delta(Operation),
}

impl Codec {
    const fn bytes(self) -> [u8; 2] {
        match self {
            Self::Stored => [STORED, 0],
            Self::Zstd => [ZSTD, 0],
            Self::Planes(width) => [PLANES, width as u8],
            Self::Delta(operation) => [DELTA, operation.byte()],
        }
    }

    fn from_bytes([codec, parameter]: [u8; 2]) -> Result<Self, Malformed> {
        let known = match codec {
            STORED => (parameter == 0).then_some(Self::Stored),
            ZSTD => (parameter == 0).then_some(Self::Zstd),
            PLANES => Width::from_byte(parameter).map(Self::Planes),
            DELTA => Operation::from_byte(parameter).map(Self::Delta),
            _ => return Err(Malformed::unknown(format!("block codec {codec}"))),
        };
        let unknown = || Malformed::unknown(format!("block codec {codec} with {parameter}"));
        known.ok_or_else(unknown)
    }

    /// The header before `plain_len` bytes coded so; at most [`limits::BLOCK_PLAIN_MAX`].
    pub(super) fn header(self, plain_len: usize) -> [u8; PAYLOAD_HEADER_LEN] {
        let [codec, parameter] = self.bytes();
        let [l0, l1, l2, l3] = (plain_len as u32).to_le_bytes();
        [codec, parameter, 0, 0, l0, l1, l2, l3]
    }
}

/// A payload with its header taken apart. The length is capped, and what follows from codec and
/// length alone was checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payload<'p> {
    pub(super) codec: Codec,
    pub(super) plain_len: usize,
    pub(super) coded: &'p [u8],
}

impl<'p> Payload<'p> {
    pub(super) fn parse(payload: &'p [u8]) -> Result<Self, Malformed> {
        let (header, coded) = payload
            .split_first_chunk::<PAYLOAD_HEADER_LEN>()
            .ok_or_else(|| Malformed::at(payload.len(), "block payload is cut short"))?;
        let [codec, parameter, z0, z1, l0, l1, l2, l3] = *header;
        let plain_len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let impossible = || {
            let what = format!("block states {plain_len} plain bytes for {} coded", coded.len());
            Malformed::at(4, what)
        };
        if plain_len > limits::BLOCK_PLAIN_MAX {
            return Err(impossible());
        }
        let codec = Codec::from_bytes([codec, parameter])?;
        if [z0, z1] != [0; 2] {
            return Err(Malformed::unknown("fields in a block's header"));
        }
        if codec == Codec::Stored && plain_len != coded.len() {
            return Err(impossible());
        }
        Ok(Self { codec, plain_len, coded })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<(Codec, usize, usize), Malformed> {
        Payload::parse(bytes).map(|found| (found.codec, found.plain_len, found.coded.len()))
    }

    #[test]
    fn every_codec_reads_back_as_itself() {
        let planes = Width::ALL.map(Codec::Planes);
        let deltas = Operation::ALL.map(Codec::Delta);
        for codec in [Codec::Stored, Codec::Zstd].into_iter().chain(planes).chain(deltas) {
            let bytes = [&codec.header(3)[..], b"xyz"].concat();
            assert_eq!(parse(&bytes), Ok((codec, 3, 3)));
        }
        assert_eq!(Codec::Planes(Width::Four).header(0x0102), [2, 4, 0, 0, 2, 1, 0, 0]);
    }

    #[test]
    fn what_later_versions_may_write_is_not_called_damage() {
        for (at, value) in [(0, 4), (0, 255), (1, 1), (2, 1), (3, 0x80)] {
            let mut bytes = [&Codec::Stored.header(3)[..], b"xyz"].concat();
            bytes[at] = value;
            let err = parse(&bytes).unwrap_err();
            assert!(matches!(err, Malformed::Unknown { .. }), "byte {at}: {err}");
        }
        for bytes in [[2, 0], [2, 1], [2, 3], [2, 16], [3, 4], [3, 255], [1, 1]] {
            let bytes = [&bytes[..], &[0, 0, 0, 0, 0, 0]].concat();
            assert!(matches!(parse(&bytes), Err(Malformed::Unknown { .. })), "{bytes:?}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_damage_whatever_the_codec() {
        for codec in [0, 1, 2, 3, 77] {
            let mut bytes = vec![codec, 0, 0, 0];
            bytes.extend_from_slice(&(limits::BLOCK_PLAIN_MAX as u32 + 1).to_le_bytes());
            assert!(matches!(parse(&bytes), Err(Malformed::Damaged { offset: 4, .. })));
            assert!(matches!(parse(&bytes[..7]), Err(Malformed::Damaged { offset: 7, .. })));
        }
        for len in [0, 2, 4] {
            let bytes = [&Codec::Stored.header(len)[..], b"xyz"].concat();
            assert!(matches!(parse(&bytes), Err(Malformed::Damaged { offset: 4, .. })), "{len}");
        }
    }
}
