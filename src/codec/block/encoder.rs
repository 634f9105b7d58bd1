//! Plain bytes into payloads.

use std::io;

use super::coder::{Coder, stored};
use super::delta::{self, Base};
use super::difference::Difference;
use super::frame::FrameEncoder;
use super::operation::Operation;
use super::payload::{Codec, Payload};
use super::{BlockDecoder, Compression, Element, anchors};
use crate::codec::{CodecError, TAG_LEN};
use crate::format::limits;

/// A delta must leave at most this part of what coding alone leaves: a base makes reading and
/// removing dearer.
const DELTA_SHARE_MAX: f32 = 0.9;
/// The same where the base is older than the version before. Else what changed long ago would be
/// stored again each time; coded alone, the block is the base of the versions to come.
const DELTA_SHARE_OLD: f32 = 0.5;
/// With a difference as good as this, other places are not looked at.
const DIFFERENCE_SHARE_GOOD: f32 = 0.5;

/// Codes blocks, one after the other; each thread has its own.
pub struct BlockEncoder {
    /// None where nothing is compressed.
    frames: Option<FrameEncoder>,
    coder: Coder,
    decoder: BlockDecoder,
    /// Reused, so that coding touches warm memory only.
    payload: Vec<u8>,
    trial: Vec<u8>,
    decoded: Vec<u8>,
    base: Vec<u8>,
}

impl std::fmt::Debug for BlockEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlockEncoder")
    }
}

impl BlockEncoder {
    /// Fails where zstd has no memory.
    pub fn new(compression: Compression) -> Result<Self, CodecError> {
        Ok(Self {
            frames: compression.level().map(FrameEncoder::new).transpose()?,
            coder: Coder::default(),
            decoder: BlockDecoder::default(),
            payload: Vec::new(),
            trial: Vec::new(),
            decoded: Vec::new(),
            base: Vec::new(),
        })
    }

    /// The payload for `plain`, with room reserved for a seal's tag. What `element` says of the
    /// content replaces part of the look at it.
    ///
    /// # Panics
    /// On more than [`limits::BLOCK_PLAIN_MAX`] bytes: the caller's own caps are broken.
    #[must_use]
    pub fn encode(&mut self, plain: &[u8], element: Option<Element>) -> Vec<u8> {
        assert!(plain.len() <= limits::BLOCK_PLAIN_MAX, "block of {} bytes", plain.len());
        if let Some(frames) = &mut self.frames {
            self.payload.clear();
            match self.coder.append(frames, plain, element, &mut self.payload) {
                Ok(true) if self.is_proven(plain, None) => return with_room(&self.payload),
                Ok(_) => (),
                Err(err) => tracing::error!(%err, "zstd failed, a block is stored uncompressed"),
            }
        }
        stored(plain)
    }

    /// The payload that tells `plain` from its chunks' bases, in the order of its chunks. `None`
    /// where it would not save 10 % over coding `plain` alone, or 50 % where a base is `old`: not of
    /// the version before, but what that one was told from. [`Self::encode`] it then.
    ///
    /// # Panics
    /// On more than [`limits::BLOCK_PLAIN_MAX`] bytes, or where the chunks do not add up to them.
    #[must_use]
    pub fn encode_delta(
        &mut self,
        plain: &[u8],
        bases: &[Base<'_>],
        old: bool,
        element: Option<Element>,
    ) -> Option<Vec<u8>> {
        assert!(plain.len() <= limits::BLOCK_PLAIN_MAX, "block of {} bytes", plain.len());
        let chunks_len: usize = bases.iter().map(|base| base.chunk_len as usize).sum();
        assert_eq!(chunks_len, plain.len(), "chunks of another block");
        let mut base = std::mem::take(&mut self.base);
        let delta = self.try_delta(plain, bases, old, element, &mut base);
        self.base = base;
        delta.unwrap_or_else(|err| {
            tracing::error!(%err, "zstd failed, a block is coded without its bases");
            None
        })
    }

    fn try_delta(
        &mut self,
        plain: &[u8],
        bases: &[Base<'_>],
        old: bool,
        element: Option<Element>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Option<Vec<u8>>> {
        let Some(frames) = &mut self.frames else { return Ok(None) };
        let alone = self.coder.alone(frames, plain, element)?;
        let share_max = alone.share * if old { DELTA_SHARE_OLD } else { DELTA_SHARE_MAX };
        if !fill(Operation::Difference(Difference::Xor), bases, buffer) {
            return Ok(None);
        }
        let (difference, share) = self.coder.best_difference(frames, plain, buffer, element, alone);
        let by_place = (share <= share_max).then_some(Operation::Difference(difference));
        let looks = by_place.is_none() || share > alone.share * DIFFERENCE_SHARE_GOOD;
        let moved =
            looks && alone.share * (1.0 - bases_shared(plain, bases)) < share.min(share_max);
        // What replaced a part of a page codes better by itself than mixed with what was there.
        let replaced = difference == Difference::Xor && by_place.is_some();
        let prefix = (moved || replaced).then_some(Operation::Prefix);
        let mut best = None;
        self.payload.clear();
        for operation in [by_place, prefix].into_iter().flatten() {
            if !fill(operation, bases, buffer) {
                continue;
            }
            let payload = &mut self.trial;
            payload.clear();
            payload.extend_from_slice(&Codec::Delta(operation).header(plain.len()));
            delta::append_bases(bases, payload);
            self.coder.append_delta(frames, operation, plain, buffer, payload)?;
            if self.payload.is_empty() || payload.len() < self.payload.len() {
                std::mem::swap(&mut self.payload, &mut self.trial);
                best = Some(operation);
            }
        }
        let Some(operation) = best else { return Ok(None) };
        let saves = self.payload.len() as f32 <= plain.len() as f32 * share_max;
        let kept = saves && fill(operation, bases, buffer) && self.is_proven(plain, Some(buffer));
        Ok(kept.then(|| with_room(&self.payload)))
    }

    /// Whether what was coded decodes to `plain`.
    fn is_proven(&mut self, plain: &[u8], base: Option<&[u8]>) -> bool {
        let decoded = Payload::parse(&self.payload)
            .and_then(|payload| self.decoder.decode_into(&payload, base, &mut self.decoded));
        let same = decoded.is_ok() && self.decoded == plain;
        if !same {
            tracing::error!(
                bytes = plain.len(),
                "a coded block does not decode to what it was made from and is coded plainly: \
                 suspect this machine's memory"
            );
        }
        same
    }
}

fn fill(operation: Operation, bases: &[Base<'_>], buffer: &mut Vec<u8>) -> bool {
    buffer.clear();
    bases.iter().all(|base| operation.add_base(base.bytes, base.chunk_len, buffer))
}

/// The part of `plain` whose chunks' bases hold it, at whatever place.
fn bases_shared(plain: &[u8], bases: &[Base<'_>]) -> f32 {
    let mut rest = plain;
    let mut shared = 0.0;
    for base in bases {
        let Some((chunk, after)) = rest.split_at_checked(base.chunk_len as usize) else { break };
        shared += anchors::shared(chunk, base.bytes) * chunk.len() as f32;
        rest = after;
    }
    shared / plain.len().max(1) as f32
}

fn with_room(payload: &[u8]) -> Vec<u8> {
    let mut copy = Vec::with_capacity(payload.len() + TAG_LEN);
    copy.extend_from_slice(payload);
    copy
}
