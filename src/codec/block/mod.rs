//! The payload of a block: plain bytes coded by the codec that suits them.
//!
//! ```text
//! offset size  field
//!      0    1  codec: 0 stored, 1 zstd, 2 planes, 3 delta
//!      1    1  parameter of the codec; 0 for stored and zstd
//!      2    2  zero
//!      4    4  plain length in bytes, u32
//!      8    …  coded bytes
//! ```
//! All integers are little-endian. The coded bytes, by codec:
//!
//! - *stored*: the plain bytes.
//! - *zstd*: one frame that states its content's size and needs no dictionary.
//! - *planes*, parameter = width 2, 4 or 8: plane 0 holds the plain bytes 0, width, 2 × width and so
//!   on, plane 1 those after them, …; each has (plain length / width, rounded down) bytes. Per
//!   plane: kind (u8: 0 raw, 1 zstd frame as above), coded length (u32), coded bytes. Then the
//!   plain bytes at the end that fill no element, raw.
//! - *delta*, parameter = operation 0 XOR, 1 sub16, 2 sub32, 3 prefix: count of chunks (u32, at
//!   least 1); per chunk its base's id (32) and its own plain length in this block (u32, at least
//!   1; they add up to the plain length). Then for operations 0 to 2 the difference, which has the
//!   plain length, as a whole payload of codec 0, 1 or 2; for 3 a zstd frame that needs the base
//!   buffer as its raw prefix.
//!
//! The base buffer is, chunk after chunk, for operations 0 to 2 the base's plain bytes, cut or
//! extended with zeroes to the chunk's length; for 3 all bytes of the base. It has at most
//! [`limits::BLOCK_PLAIN_MAX`](crate::format::limits::BLOCK_PLAIN_MAX) bytes. Its elements are those
//! of the block: sub16 and sub32 take 2 and 4 bytes from the block's start on, and what fills no
//! element at its end is XORed. With `order(x)` = all bits of x inverted where its highest bit is
//! set, else the highest bit set, and `d = order(plain) - order(base)` modulo 2^16 or 2^32, the
//! difference is `2 d` where d as a signed number is not negative, and `-2 d - 1` where it is.
//!
//! An unknown codec, parameter or kind, or bytes 2 and 3 other than zero, are of a later icecore.
//!
//! What was coded is decoded and compared before it is trusted: other tools lost data to memory
//! faults and compressor bugs that a checksum of the coded bytes would have blessed (restic issues
//! 4523 and 4677).
//!
//! What must stay true: [`BlockEncoder::encode`] of anything decodes to the same bytes, and
//! decoding never allocates more than the stated length, which is capped, a few times.

mod anchors;
mod coder;
mod compression;
mod decoder;
pub mod delta;
mod difference;
mod encoder;
mod frame;
mod operation;
mod payload;
mod planes;
mod sample;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod transpose;

pub use compression::{Compression, UnknownCompression};
pub use decoder::{BlockDecoder, DeltaError, decode, decode_start, decode_with};
pub use delta::{Base, bases_of, promises_gain, rename_bases};
pub use encoder::BlockEncoder;
pub use payload::PAYLOAD_HEADER_LEN;
pub use sample::is_noise;

/// What the type of a file says of its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Floats of 2 bytes, bf16 or fp16.
    F16,
    /// Floats of 4 bytes.
    F32,
    /// Floats of 8 bytes.
    F64,
    /// No numbers.
    Bytes,
}
