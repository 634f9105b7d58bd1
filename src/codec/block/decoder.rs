//! Payloads back into plain bytes.

use std::cell::RefCell;

use super::delta::Delta;
use super::frame::FrameDecoder;
use super::operation::Operation;
use super::payload::{Codec, PAYLOAD_HEADER_LEN, Payload};
use super::planes::PlanesDecoder;
use crate::format::{ChunkId, Malformed};

/// Decodes payloads, keeping contexts and buffers between them.
#[derive(Default)]
pub struct BlockDecoder {
    frames: FrameDecoder,
    planes: PlanesDecoder,
    difference: Vec<u8>,
}

impl std::fmt::Debug for BlockDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlockDecoder")
    }
}

impl BlockDecoder {
    /// The plain bytes of a payload that has no bases. Offsets of errors count from the payload's
    /// start.
    pub fn decode(&mut self, payload: &[u8]) -> Result<Vec<u8>, Malformed> {
        let payload = Payload::parse(payload)?;
        if payload.codec == Codec::Stored {
            return Ok(payload.coded.to_vec());
        }
        let mut plain = Vec::new();
        self.decode_into(&payload, None, &mut plain)?;
        Ok(plain)
    }

    /// The first `len` plain bytes, where they come cheaper than all of them; else `None`.
    fn decode_start(&mut self, payload: &[u8], len: usize) -> Result<Option<Vec<u8>>, Malformed> {
        let payload = Payload::parse(payload)?;
        if payload.codec != Codec::Zstd || len >= payload.plain_len {
            return Ok(None);
        }
        let start = self.frames.decode_start(payload.coded, payload.plain_len, len);
        start.map(Some).map_err(in_payload)
    }

    /// Replaces what is in `plain`; `base` is the base buffer of a delta.
    pub(super) fn decode_into(
        &mut self,
        payload: &Payload<'_>,
        base: Option<&[u8]>,
        plain: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let Payload { codec, plain_len, coded } = *payload;
        match codec {
            Codec::Stored => {
                plain.clear();
                plain.extend_from_slice(coded);
                Ok(())
            }
            Codec::Zstd => self.frames.decode(coded, plain_len, plain).map_err(in_payload),
            Codec::Planes(width) => {
                set_len(plain, plain_len);
                let decoded = self.planes.decode(width, coded, &mut self.frames, plain);
                decoded.map_err(|err| err.shifted(PAYLOAD_HEADER_LEN))
            }
            Codec::Delta(operation) => {
                let needs_base = || Malformed::at(0, "block is told from others where none may be");
                let base = base.ok_or_else(needs_base)?;
                let delta = Delta::parse(coded, plain_len)?;
                self.decode_delta(operation, &delta, plain_len, base, plain)
            }
        }
    }

    fn decode_delta(
        &mut self,
        operation: Operation,
        delta: &Delta<'_>,
        plain_len: usize,
        base: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let Operation::Difference(operation) = operation else {
            let decoded = self.frames.decode_after(base, delta.inner, plain_len, plain);
            return decoded.map_err(|what| Malformed::at(delta.inner_at, what));
        };
        let mut difference = std::mem::take(&mut self.difference);
        let decoded = Payload::parse(delta.inner)
            .and_then(|inner| self.decode_into(&inner, None, &mut difference))
            .map_err(|err| err.shifted(delta.inner_at));
        self.difference = difference;
        decoded?;
        if self.difference.len() != plain_len || base.len() != plain_len {
            let what = format!("difference of {} bytes, not {plain_len}", self.difference.len());
            return Err(Malformed::at(delta.inner_at, what));
        }
        set_len(plain, plain_len);
        operation.undo(&self.difference, base, plain);
        Ok(())
    }
}

fn in_payload(what: String) -> Malformed {
    Malformed::at(PAYLOAD_HEADER_LEN, what)
}

/// Makes `bytes` this long, whatever they are, without writing them where that can be avoided.
fn set_len(bytes: &mut Vec<u8>, len: usize) {
    if bytes.capacity() < len {
        // Zeroed pages come from the system for nothing.
        *bytes = vec![0; len];
    } else {
        bytes.resize(len, 0);
    }
}

/// Why a block with bases is not decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError<E> {
    /// The payload is not what it should be.
    #[error(transparent)]
    Payload(#[from] Malformed),
    /// A base was not to be had.
    #[error("cannot read a base")]
    Base(#[source] E),
}

thread_local! {
    static DECODER: RefCell<BlockDecoder> = RefCell::default();
}

/// [`BlockDecoder::decode`] with this thread's decoder.
pub fn decode(payload: &[u8]) -> Result<Vec<u8>, Malformed> {
    DECODER.with_borrow_mut(|decoder| decoder.decode(payload))
}

/// The first `len` plain bytes of a payload, where they come cheaper than all of them; else `None`.
pub fn decode_start(payload: &[u8], len: usize) -> Result<Option<Vec<u8>>, Malformed> {
    DECODER.with_borrow_mut(|decoder| decoder.decode_start(payload, len))
}

/// As [`decode`], for payloads that may have bases: `base` gives the plain bytes of a chunk, all of
/// them. It may decode other blocks meanwhile. It is called once for each chunk of the block, so a
/// base of several chunks is asked for again.
pub fn decode_with<B: AsRef<[u8]>, E>(
    payload: &[u8],
    base: &mut dyn FnMut(&ChunkId) -> Result<B, E>,
) -> Result<Vec<u8>, DeltaError<E>> {
    let parsed = Payload::parse(payload)?;
    let Codec::Delta(operation) = parsed.codec else { return Ok(decode(payload)?) };
    // Before the decoder is borrowed, which `base` may need.
    let mut buffer = Vec::new();
    for (id, chunk_len) in Delta::parse(parsed.coded, parsed.plain_len)?.chunks() {
        let bytes = base(&id).map_err(DeltaError::Base)?;
        if !operation.add_base(bytes.as_ref(), chunk_len, &mut buffer) {
            let what = "bases hold more than a block may";
            return Err(Malformed::at(PAYLOAD_HEADER_LEN, what).into());
        }
    }
    let mut plain = Vec::new();
    DECODER.with_borrow_mut(|decoder| decoder.decode_into(&parsed, Some(&buffer), &mut plain))?;
    Ok(plain)
}
