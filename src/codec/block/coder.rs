//! Codes blocks by the choice that a sample makes.

use std::io;

use super::Element;
use super::delta;
use super::difference::Difference;
use super::frame::{Effort, FrameEncoder};
use super::operation::Operation;
use super::payload::{Codec, PAYLOAD_HEADER_LEN};
use super::planes::PlanesEncoder;
use super::sample::{Choice, Estimate, SAMPLED_MIN, Sampler, Windows};
use crate::codec::TAG_LEN;

/// Coded bytes must be at most this part of the plain ones, or the block is stored: reading back
/// is not worth 2 %.
const KEPT_MAX: (usize, usize) = (98, 100);

/// Bytes of a part that is coded to tell what coding all would leave.
const ALONE_PART: usize = 32 << 10;
/// What the user's level leaves of a whole block beside what level 1 leaves of its parts.
const WHOLE_SHARE: f32 = 0.85;

/// What codes apart from zstd's contexts.
#[derive(Default)]
pub(super) struct Coder {
    sampler: Sampler,
    windows: Windows,
    base_windows: Windows,
    difference_windows: Windows,
    planes: PlanesEncoder,
    frame: Vec<u8>,
    difference: Vec<u8>,
}

impl Coder {
    /// Appends a payload without bases; false, and nothing of use appended, where it would not gain
    /// enough over storing.
    pub(super) fn append(
        &mut self,
        frames: &mut FrameEncoder,
        plain: &[u8],
        element: Option<Element>,
        payload: &mut Vec<u8>,
    ) -> io::Result<bool> {
        let start = payload.len();
        let choice = self.estimate(frames, plain, element).choice;
        let effort = match choice {
            Choice::Stored => return Ok(false),
            Choice::Zstd => Effort::Level,
            Choice::Literals => Effort::Literals,
            Choice::Planes(width, choices) => {
                payload.extend_from_slice(&Codec::Planes(width).header(plain.len()));
                self.planes.append(width, &choices, plain, frames, payload)?;
                return Ok(is_gain(payload.len() - start, plain.len()));
            }
        };
        payload.extend_from_slice(&Codec::Zstd.header(plain.len()));
        frames.encode(effort, plain, &mut self.frame)?;
        payload.extend_from_slice(&self.frame);
        Ok(is_gain(payload.len() - start, plain.len()))
    }

    fn estimate(
        &mut self,
        frames: &mut FrameEncoder,
        plain: &[u8],
        element: Option<Element>,
    ) -> Estimate {
        if plain.len() < SAMPLED_MIN {
            return Estimate { choice: Choice::Zstd, share: 1.0 };
        }
        self.windows.take(plain, plain.len());
        self.sampler.estimate(&self.windows, element, Some(frames))
    }

    /// What coding alone would leave. Matches reach farther than a sample's windows, so that where
    /// they matter parts are coded at level 1.
    pub(super) fn alone(
        &mut self,
        frames: &mut FrameEncoder,
        plain: &[u8],
        element: Option<Element>,
    ) -> io::Result<Estimate> {
        let estimate = self.estimate(frames, plain, element);
        if estimate.choice != Choice::Zstd {
            return Ok(estimate);
        }
        let parts = match plain.len() {
            len if len <= 2 * ALONE_PART => vec![plain],
            len => [len / 4, len / 4 * 3].map(|middle| part_around(plain, middle)).to_vec(),
        };
        let (mut coded_len, mut plain_len) = (0, 0);
        for part in parts {
            frames.encode(Effort::Fast, part, &mut self.frame)?;
            coded_len += self.frame.len();
            plain_len += part.len();
        }
        let reach = if plain_len < plain.len() { WHOLE_SHARE } else { 1.0 };
        let share = coded_len as f32 / plain_len.max(1) as f32 * reach;
        Ok(Estimate { choice: Choice::Zstd, share: share.min(1.0) })
    }

    /// The difference whose sample becomes smallest, and the part of the plain bytes that it leaves.
    pub(super) fn best_difference(
        &mut self,
        frames: &mut FrameEncoder,
        plain: &[u8],
        base: &[u8],
        element: Option<Element>,
        alone: Estimate,
    ) -> (Difference, f32) {
        self.windows.take(plain, plain.len());
        self.base_windows.take(base, plain.len());
        let mut best = (Difference::Xor, f32::INFINITY);
        for difference in delta::differences(element, alone.choice) {
            let (old, new) = (&self.base_windows.bytes, &self.windows.bytes);
            let windows = &mut self.difference_windows;
            windows.replace(&self.windows, |out| difference.take(new, old, out));
            let share = self.sampler.estimate(windows, None, Some(frames)).share;
            if share < best.1 {
                best = (difference, share);
            }
        }
        best
    }

    /// Appends the difference as a payload of its own, or the frame after its base.
    pub(super) fn append_delta(
        &mut self,
        frames: &mut FrameEncoder,
        operation: Operation,
        plain: &[u8],
        base: &[u8],
        payload: &mut Vec<u8>,
    ) -> io::Result<()> {
        let Operation::Difference(operation) = operation else {
            frames.encode_after(base, plain, &mut self.frame)?;
            payload.extend_from_slice(&self.frame);
            return Ok(());
        };
        let mut difference = std::mem::take(&mut self.difference);
        difference.resize(plain.len(), 0);
        operation.take(plain, base, &mut difference);
        let start = payload.len();
        let appended = self.append(frames, &difference, None, payload);
        if !matches!(appended, Ok(true)) {
            payload.truncate(start);
            payload.extend_from_slice(&stored(&difference));
        }
        self.difference = difference;
        appended.map(|_| ())
    }
}

fn is_gain(coded: usize, plain: usize) -> bool {
    coded * KEPT_MAX.1 <= plain * KEPT_MAX.0
}

/// The payload of plain bytes as they are, with room for a seal's tag.
pub(super) fn stored(plain: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(PAYLOAD_HEADER_LEN + plain.len() + TAG_LEN);
    payload.extend_from_slice(&Codec::Stored.header(plain.len()));
    payload.extend_from_slice(plain);
    payload
}

/// The bytes around `middle`, which is farther from both ends than half of a part.
fn part_around(plain: &[u8], middle: usize) -> &[u8] {
    &plain[middle - ALONE_PART / 2..][..ALONE_PART]
}
