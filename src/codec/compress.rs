//! The payload of a block: plain bytes coded by the codec that suits them.
//!
//! ```text
//! offset size  field
//!      0    1  codec: 0 stored, 1 zstd (one frame that states its content's size)
//!      1    3  zero
//!      4    4  plain length in bytes, u32 little-endian
//!      8    …  coded bytes
//! ```
//!
//! Content that will not shrink (images, archives, sealed files) is found by coding a few 4 KiB
//! windows at level 1 first; only blocks that promise something pay for the real thing. What was
//! coded is decoded and compared before it is trusted: other tools lost data to memory faults and
//! compressor bugs that a checksum of the coded bytes would have blessed (restic issues 4523
//! and 4677).
//!
//! What must stay true: [`BlockEncoder::encode`] of anything decodes to the same bytes, and
//! decoding never allocates more than the stated length, which is capped.

use std::cell::RefCell;

use zstd::{
    bulk::{Compressor, Decompressor},
    zstd_safe,
};

use super::{CodecError, TAG_LEN};
use crate::format::{Malformed, limits};

/// Bytes before the coded ones.
pub const PAYLOAD_HEADER_LEN: usize = 8;

const STORED: u8 = 0;
const ZSTD: u8 = 1;

/// Coded bytes must be at most this part of the plain ones, or the block is stored: reading back
/// is not worth 2 %.
const KEPT_MAX: (usize, usize) = (98, 100);

const SAMPLE: usize = 4 << 10;
/// One sample per this many bytes. Sampling 512 KiB of noise took 39 µs, coding it 310 µs, coding
/// as much C source 1.5 ms; windows of random floats showed 11 % gain where the block had 13 %.
const SAMPLE_STRIDE: usize = 128 << 10;
const SAMPLE_LEVEL: i32 = 1;

/// zstd's best: a run of 128 KiB is coded in 4 bytes.
const ZSTD_RATIO_MAX: usize = (128 << 10) / 4;

/// Codes blocks, one after the other; each thread has its own.
pub struct BlockEncoder {
    compressor: Compressor<'static>,
    sampler: Compressor<'static>,
    decoder: BlockDecoder,
    /// Reused, so that coding touches warm memory only.
    coded: Vec<u8>,
    decoded: Vec<u8>,
}

impl std::fmt::Debug for BlockEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlockEncoder")
    }
}

impl BlockEncoder {
    /// Codes at this zstd level; levels beyond zstd's own are brought to its nearest.
    pub fn new(level: i32) -> Result<Self, CodecError> {
        Ok(Self {
            compressor: Compressor::new(level).map_err(CodecError::Compression)?,
            sampler: Compressor::new(SAMPLE_LEVEL).map_err(CodecError::Compression)?,
            decoder: BlockDecoder::default(),
            coded: Vec::new(),
            decoded: Vec::new(),
        })
    }

    /// The payload for `plain`, with room reserved for a seal's tag.
    ///
    /// # Panics
    /// On more than [`limits::BLOCK_PLAIN_MAX`] bytes: the caller's own caps are broken.
    #[must_use]
    pub fn encode(&mut self, plain: &[u8]) -> Vec<u8> {
        assert!(plain.len() <= limits::BLOCK_PLAIN_MAX, "block of {} bytes", plain.len());
        if self.promises_gain(plain) && self.compress(plain) {
            payload(ZSTD, plain.len(), &self.coded)
        } else {
            payload(STORED, plain.len(), plain)
        }
    }

    /// Whether some part of the block shrinks by more than storing it would forgo. A small block
    /// is simply tried.
    fn promises_gain(&mut self, plain: &[u8]) -> bool {
        if plain.len() < SAMPLE_STRIDE {
            return true;
        }
        plain.chunks_exact(SAMPLE_STRIDE).any(|stride| {
            // From the middle: starts of files are headers more often than not.
            let window = &stride[(SAMPLE_STRIDE - SAMPLE) / 2..][..SAMPLE];
            self.coded.clear();
            self.coded.reserve(zstd::compress_bound(SAMPLE));
            match self.sampler.compress_to_buffer(window, &mut self.coded) {
                Ok(len) => is_gain(len, SAMPLE),
                Err(_) => false,
            }
        })
    }

    /// Compresses into `self.coded`; whether the result is smaller and proven.
    fn compress(&mut self, plain: &[u8]) -> bool {
        self.coded.clear();
        self.coded.reserve(zstd::compress_bound(plain.len()));
        match self.compressor.compress_to_buffer(plain, &mut self.coded) {
            Ok(len) => is_gain(len, plain.len()) && self.is_proven(plain),
            Err(err) => {
                tracing::error!(%err, "zstd failed, a block is stored uncompressed");
                false
            }
        }
    }

    fn is_proven(&mut self, plain: &[u8]) -> bool {
        let decoded = self.decoder.decompress(&self.coded, plain.len(), &mut self.decoded);
        let same = decoded.is_ok() && self.decoded == plain;
        if !same {
            tracing::error!(
                bytes = plain.len(),
                "a compressed block does not decode to what it was made from and is stored \
                 uncompressed: suspect this machine's memory"
            );
        }
        same
    }
}

fn is_gain(coded: usize, plain: usize) -> bool {
    coded * KEPT_MAX.1 <= plain * KEPT_MAX.0
}

fn payload(codec: u8, plain_len: usize, coded: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PAYLOAD_HEADER_LEN + coded.len() + TAG_LEN);
    bytes.extend_from_slice(&[codec, 0, 0, 0]);
    // At most BLOCK_PLAIN_MAX, asserted by the caller.
    bytes.extend_from_slice(&(plain_len as u32).to_le_bytes());
    bytes.extend_from_slice(coded);
    bytes
}

/// Decodes payloads, keeping zstd's context between them.
#[derive(Default)]
pub struct BlockDecoder(Decompressor<'static>);

impl std::fmt::Debug for BlockDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlockDecoder")
    }
}

impl BlockDecoder {
    /// The plain bytes of a payload. Offsets of errors count from the payload's start.
    pub fn decode(&mut self, payload: &[u8]) -> Result<Vec<u8>, Malformed> {
        let (codec, plain_len, coded) = parse(payload)?;
        if codec == STORED {
            return Ok(coded.to_vec());
        }
        let mut plain = Vec::new();
        self.decompress(coded, plain_len, &mut plain)
            .map_err(|what| Malformed::at(PAYLOAD_HEADER_LEN, what))?;
        Ok(plain)
    }

    /// Fills `plain` with exactly `plain_len` bytes from one zstd frame, or says why not.
    fn decompress(
        &mut self,
        frame: &[u8],
        plain_len: usize,
        plain: &mut Vec<u8>,
    ) -> Result<(), String> {
        let stated = zstd_safe::get_frame_content_size(frame).ok().flatten();
        if stated != Some(plain_len as u64) {
            return Err(format!("zstd frame states {stated:?} bytes instead of {plain_len}"));
        }
        if zstd_safe::find_frame_compressed_size(frame) != Ok(frame.len()) {
            return Err("zstd frame is cut short or followed by more".into());
        }
        plain.clear();
        plain.reserve_exact(plain_len);
        match self.0.decompress_to_buffer(frame, plain) {
            Ok(len) if len == plain_len => Ok(()),
            Ok(len) => Err(format!("zstd frame holds {len} bytes instead of {plain_len}")),
            Err(err) => Err(format!("zstd frame does not decode ({err})")),
        }
    }
}

thread_local! {
    static DECODER: RefCell<BlockDecoder> = RefCell::default();
}

/// [`BlockDecoder::decode`] with this thread's decoder.
pub fn decode(payload: &[u8]) -> Result<Vec<u8>, Malformed> {
    DECODER.with_borrow_mut(|decoder| decoder.decode(payload))
}

/// Codec, plain length and coded bytes; afterwards the length is capped and possible.
fn parse(payload: &[u8]) -> Result<(u8, usize, &[u8]), Malformed> {
    let (header, coded) = payload
        .split_first_chunk::<PAYLOAD_HEADER_LEN>()
        .ok_or_else(|| Malformed::at(payload.len(), "block payload is cut short"))?;
    let [codec, z0, z1, z2, l0, l1, l2, l3] = *header;
    if [z0, z1, z2] != [0; 3] {
        return Err(Malformed::at(1, "block payload has impossible fields"));
    }
    let plain_len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let possible = match codec {
        STORED => plain_len == coded.len(),
        ZSTD => plain_len / ZSTD_RATIO_MAX <= coded.len(),
        _ => return Err(Malformed::at(0, format!("unknown block codec {codec}"))),
    };
    if !possible || plain_len > limits::BLOCK_PLAIN_MAX {
        let what = format!("block states {plain_len} plain bytes for {} coded", coded.len());
        return Err(Malformed::at(4, what));
    }
    Ok((codec, plain_len, coded))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn text(len: usize) -> Vec<u8> {
        (0..).flat_map(|n: u32| format!("line {n} of the log\n").into_bytes()).take(len).collect()
    }

    fn encoder() -> BlockEncoder {
        BlockEncoder::new(3).unwrap()
    }

    #[test]
    fn text_is_compressed_and_noise_is_stored() {
        let mut encoder = encoder();
        for len in [20_000, 512 << 10] {
            let payload = encoder.encode(&text(len));
            assert_eq!(payload[0], ZSTD);
            assert!(payload.len() < len / 3);
            assert_eq!(decode(&payload).unwrap(), text(len));
            let payload = encoder.encode(&noise(len));
            assert_eq!((payload[0], payload.len()), (STORED, len + PAYLOAD_HEADER_LEN));
            assert_eq!(decode(&payload).unwrap(), noise(len));
        }
    }

    #[test]
    fn some_text_amid_noise_is_enough_to_try() {
        let mut plain = noise(512 << 10);
        plain[128 << 10..256 << 10].copy_from_slice(&text(128 << 10));
        assert_eq!(encoder().encode(&plain)[0], ZSTD);
        assert!(!encoder().promises_gain(&noise(512 << 10)));
    }

    #[test]
    fn tag_fits_without_moving_the_payload() {
        let mut encoder = encoder();
        for plain in [text(9000), noise(9000), Vec::new()] {
            let payload = encoder.encode(&plain);
            assert!(payload.capacity() - payload.len() >= TAG_LEN);
        }
    }

    #[test]
    fn wrong_compression_is_not_trusted() {
        let mut encoder = encoder();
        assert!(encoder.compress(&text(9000)));
        assert!(encoder.is_proven(&text(9000)));
        assert!(!encoder.is_proven(&noise(9000)));
        assert!(!encoder.is_proven(&text(8999)));
    }

    #[test]
    fn largest_and_most_compressible_block_round_trips() {
        let plain = vec![0; limits::BLOCK_PLAIN_MAX];
        let payload = encoder().encode(&plain);
        assert!(payload.len() < 8 << 10);
        assert_eq!(decode(&payload).unwrap(), plain);
    }

    #[test]
    fn lengths_that_cannot_be_are_refused_before_allocation() {
        let state = |payload: &mut Vec<u8>, len: u32| {
            payload[4..8].copy_from_slice(&len.to_le_bytes());
        };
        for plain in [text(9000), noise(9000)] {
            let good = encoder().encode(&plain);
            for len in [0, 8999, 9001, limits::BLOCK_PLAIN_MAX as u32 + 1, u32::MAX] {
                let mut bad = good.clone();
                state(&mut bad, len);
                assert!(decode(&bad).is_err(), "{len}");
            }
        }
        let mut tiny = payload(ZSTD, limits::BLOCK_PLAIN_MAX, b"short");
        assert!(matches!(decode(&tiny), Err(Malformed::Damaged { offset: 4, .. })));
        state(&mut tiny, 5);
        assert!(matches!(decode(&tiny), Err(Malformed::Damaged { offset: 8, .. })));
    }

    #[test]
    fn frames_that_are_cut_doubled_or_sizeless_are_refused() {
        let good = encoder().encode(&text(9000));
        for len in 0..good.len() {
            assert!(decode(&good[..len]).is_err(), "{len}");
        }
        let mut long = good.clone();
        long.push(0);
        assert!(decode(&long).is_err());
        let doubled = [good.as_slice(), &good[PAYLOAD_HEADER_LEN..]].concat();
        assert!(decode(&doubled).is_err());
        let mut sizeless = Compressor::new(3).unwrap();
        sizeless.include_contentsize(false).unwrap();
        let frame = sizeless.compress(&text(9000)).unwrap();
        assert!(decode(&payload(ZSTD, 9000, &frame)).is_err());
    }

    #[test]
    fn header_fields_are_checked() {
        let good = encoder().encode(b"x");
        assert_eq!(good, [0, 0, 0, 0, 1, 0, 0, 0, b'x']);
        for (at, value) in [(0, 2), (1, 1), (2, 1), (3, 1)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(decode(&bad).is_err(), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_decodes_to_itself(
            parts in prop::collection::vec((any::<u8>(), 0_usize..3000, any::<bool>()), 0..40),
        ) {
            let mut plain = Vec::new();
            for (byte, len, random) in parts {
                if random { plain.extend(noise(len)) } else { plain.resize(plain.len() + len, byte) }
            }
            prop_assert_eq!(decode(&encoder().encode(&plain)).unwrap(), plain);
        }

        #[test]
        fn no_bytes_make_decoding_panic(mut bytes: Vec<u8>, at: usize, value: u8) {
            let _ = decode(&bytes);
            bytes.splice(0..0, [1, 0, 0, 0]);
            let _ = decode(&bytes);
            let mut near = encoder().encode(&text(3000));
            let at = at % near.len();
            near[at] = value;
            if let Ok(plain) = decode(&near) {
                prop_assert_eq!(plain.len(), 3000);
            }
        }
    }
}
