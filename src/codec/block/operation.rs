//! How a delta is told from its bases, and what buffer of theirs that takes.

use super::difference::Difference;
use crate::format::limits;

/// How a block is told from its bases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// Place by place.
    Difference(Difference),
    /// As a text that refers to its bases.
    Prefix,
}

impl Operation {
    pub(super) const ALL: [Self; 4] = [
        Self::Difference(Difference::Xor),
        Self::Difference(Difference::Sub16),
        Self::Difference(Difference::Sub32),
        Self::Prefix,
    ];

    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Difference(Difference::Xor) => 0,
            Self::Difference(Difference::Sub16) => 1,
            Self::Difference(Difference::Sub32) => 2,
            Self::Prefix => 3,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.byte() == byte)
    }

    /// Adds the base of a chunk of `chunk_len` bytes to the base buffer; false where that would
    /// hold too much.
    pub(super) fn add_base(self, base: &[u8], chunk_len: u32, buffer: &mut Vec<u8>) -> bool {
        let start = buffer.len();
        let (part, end) = match self {
            Self::Prefix => (base, start + base.len()),
            Self::Difference(_) => {
                (base.get(..chunk_len as usize).unwrap_or(base), start + chunk_len as usize)
            }
        };
        if end > limits::BLOCK_PLAIN_MAX {
            return false;
        }
        buffer.extend_from_slice(part);
        buffer.resize(end, 0);
        true
    }
}
