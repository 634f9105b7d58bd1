//! Which codec suits a block, told from a few windows of it.
//!
//! Windows spread over the block are 1/64 of it, and 1/16 of a short one: their byte entropies, of the block as it
//! is and of its planes, say what Huffman coding would do; level 1 of zstd over them says whether
//! there are matches. What is estimated for text is pessimistic, as matches reach farther in the
//! block than in a window; so zstd wins where estimates are near each other.
//!
//! The look at 1 MiB of noise took 35 µs (storing it with the look less storing it without), 3.5 % of
//! coding weights at 1 GB/s. On the weights of all-MiniLM-L6-v2 its choices leave 1/1.484 of bf16, 1/1.210 of fp32
//! and 1/1.179 of fp16; SQLite pages, C headers and Rust source all went to zstd.
//!
//! What must stay true: a sample only chooses. A wrong choice costs space or time, never bytes.

use std::sync::LazyLock;

use super::Element;
use super::frame::{Effort, FrameEncoder};
use super::transpose::Width;

/// Windows of a sample.
const WINDOWS: usize = 8;
/// Each window has this part of what it stands for, but this one up to so many bytes: windows of 256
/// bytes show too few of the matches. With them blocks of 128 KiB took 4 % more.
const WINDOW_SHARE: usize = 64;
const WINDOW_SHARE_SHORT: usize = 16;
const WINDOW_SHORT: usize = 1 << 10;
/// Bytes of a window; multiples of 8, so that planes of all windows have one phase.
const WINDOW_MIN: usize = 256;
const WINDOW_MAX: usize = 2 << 10;
/// Shorter blocks are tried with zstd without a look: their windows would be most of them.
pub(super) const SAMPLED_MIN: usize = 16 << 10;

/// Bits per byte from which on a plane is kept as it is.
const RAW_PLANE_MIN: f32 = 7.9;
/// Bits per byte up to which a plane is worth looking for matches: runs of zeroes.
const FAST_PLANE_MAX: f32 = 2.2;
/// Bits per byte below which a single window makes a block of noise worth a try.
const ODD_WINDOW_MAX: f32 = 7.5;
/// Where zstd finds this much more than entropy alone, it finds yet more in the whole block.
const MATCHES_MIN: f32 = 0.95;
const MATCHES_GAIN: f32 = 0.75;
/// What a codec must leave of what the one before it leaves to be taken in its place; stored comes
/// first, then literals, planes from narrow to wide, zstd.
const BETTER: f32 = 0.98;

/// How one plane is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlaneChoice {
    Raw,
    Fast,
    Literals,
}

/// How a block is coded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Choice {
    Stored,
    Zstd,
    Literals,
    /// As many choices count as there are planes.
    Planes(Width, [PlaneChoice; 8]),
}

/// A choice, and the part of the plain bytes that will be left of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    pub(super) choice: Choice,
    pub(super) share: f32,
}

/// Windows of a block, one after the other.
#[derive(Debug, Default)]
pub(super) struct Windows {
    pub(super) bytes: Vec<u8>,
    window_len: usize,
}

impl Windows {
    /// Takes the windows that represent `len` bytes; where `bytes` are fewer, the rest is zero.
    pub(super) fn take(&mut self, bytes: &[u8], len: usize) {
        let stride = len / WINDOWS / 8 * 8;
        let short = (stride / WINDOW_SHARE_SHORT).min(WINDOW_SHORT);
        let window = (stride / WINDOW_SHARE).max(short) / 8 * 8;
        self.window_len = window.clamp(WINDOW_MIN, WINDOW_MAX).min(stride);
        self.bytes.clear();
        for number in 0..WINDOWS {
            // From the middle: starts of files are headers more often than not.
            let start = number * stride + (stride - self.window_len) / 16 * 8;
            let found = bytes.get(start..).unwrap_or_default();
            let found = found.get(..self.window_len).unwrap_or(found);
            self.bytes.extend_from_slice(found);
            self.bytes.resize((number + 1) * self.window_len, 0);
        }
    }

    /// These bytes in place of those taken: a difference of windows.
    pub(super) fn replace(&mut self, like: &Self, fill: impl FnOnce(&mut [u8])) {
        self.window_len = like.window_len;
        self.bytes.resize(like.bytes.len(), 0);
        fill(&mut self.bytes);
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks(self.window_len.max(1))
    }
}

/// Looks at samples; its buffers are used again and again.
#[derive(Default)]
pub(super) struct Sampler {
    histograms: Histograms,
    coded: Vec<u8>,
}

impl Sampler {
    /// The choice for what these windows represent. With `frames`, matches are looked for too.
    pub(super) fn estimate(
        &mut self,
        windows: &Windows,
        element: Option<Element>,
        frames: Option<&mut FrameEncoder>,
    ) -> Estimate {
        self.histograms.count(&windows.bytes);
        let order0 = self.histograms.entropy(0, 1);
        let literals = Estimate { choice: Choice::Literals, share: coded_share(order0) };
        let mut best = Estimate { choice: Choice::Stored, share: 1.0 };
        let mut consider = |other: Estimate| {
            if other.share < best.share * BETTER {
                best = other;
            }
        };
        consider(literals);
        widths(element).for_each(|width| consider(self.planes(width)));
        if let Some(frames) = frames {
            let zstd = self.zstd(windows, frames, literals.share);
            if zstd.share < best.share * BETTER {
                best = zstd;
            }
        }
        if best.choice == Choice::Stored && self.has_odd_window(windows) {
            best = Estimate { choice: Choice::Zstd, share: BETTER };
        }
        best
    }

    fn planes(&self, width: Width) -> Estimate {
        let mut choices = [PlaneChoice::Raw; 8];
        let mut share = 0.0;
        for (plane, choice) in choices.iter_mut().enumerate().take(width.bytes()) {
            let bits = self.histograms.entropy(plane, width.bytes());
            *choice = match bits {
                bits if bits > RAW_PLANE_MIN => PlaneChoice::Raw,
                bits if bits < FAST_PLANE_MAX => PlaneChoice::Fast,
                _ => PlaneChoice::Literals,
            };
            share += coded_share(bits) / width.bytes() as f32;
        }
        Estimate { choice: Choice::Planes(width, choices), share }
    }

    fn zstd(&mut self, windows: &Windows, frames: &mut FrameEncoder, literals: f32) -> Estimate {
        let share = match frames.encode(Effort::Fast, &windows.bytes, &mut self.coded) {
            Ok(()) => self.coded.len() as f32 / windows.bytes.len().max(1) as f32,
            Err(_) => 1.0,
        };
        let share = if share < literals * MATCHES_MIN { share * MATCHES_GAIN } else { share };
        Estimate { choice: Choice::Zstd, share }
    }

    /// Whether something amid noise is none: one window of eight would hardly show in their sum.
    fn has_odd_window(&mut self, windows: &Windows) -> bool {
        windows.iter().any(|window| {
            self.histograms.count(window);
            self.histograms.entropy(0, 1) < ODD_WINDOW_MAX
        })
    }
}

/// The widths that an element's type leaves open.
fn widths(element: Option<Element>) -> impl Iterator<Item = Width> {
    Width::ALL.into_iter().filter(move |width| match element {
        None => true,
        Some(Element::Bytes) => false,
        Some(Element::F16) => *width == Width::Two,
        Some(Element::F32) => *width == Width::Four,
        Some(Element::F64) => *width == Width::Eight,
    })
}

/// What Huffman coding leaves of bytes of this entropy; runs go below a bit per byte.
fn coded_share(bits: f32) -> f32 {
    if bits > RAW_PLANE_MIN { 1.0 } else { (bits / 8.0 + 0.004).min(1.0) }
}

/// How often each byte occurs at each place of 8.
struct Histograms([[u32; 256]; 8]);

impl Default for Histograms {
    fn default() -> Self {
        Self([[0; 256]; 8])
    }
}

impl Histograms {
    /// Counts `bytes` alone; what does not fill 8 bytes at their end is left out.
    fn count(&mut self, bytes: &[u8]) {
        self.0 = [[0; 256]; 8];
        let [h0, h1, h2, h3, h4, h5, h6, h7] = &mut self.0;
        for &[b0, b1, b2, b3, b4, b5, b6, b7] in bytes.as_chunks::<8>().0 {
            h0[usize::from(b0)] += 1;
            h1[usize::from(b1)] += 1;
            h2[usize::from(b2)] += 1;
            h3[usize::from(b3)] += 1;
            h4[usize::from(b4)] += 1;
            h5[usize::from(b5)] += 1;
            h6[usize::from(b6)] += 1;
            h7[usize::from(b7)] += 1;
        }
    }

    /// Bits per byte of the plane that takes every `step`-th byte from `first` on.
    fn entropy(&self, first: usize, step: usize) -> f32 {
        let mut sum = [0; 256];
        for histogram in self.0.iter().skip(first).step_by(step) {
            for (sum, count) in sum.iter_mut().zip(histogram) {
                *sum += count;
            }
        }
        entropy(&sum)
    }
}

/// `c · G(c)` for counts of a sample's bytes, in bits: Grassberger's stand-in for `c · log2(c)`
/// (arXiv physics/0307138). With logarithms the noise of 1 KiB would seem to have 7.8 bits per byte,
/// and wider elements, whose planes hold fewer bytes, always win.
static WEIGHTS: LazyLock<Vec<f32>> = LazyLock::new(|| {
    const EULER: f64 = 0.577_215_664_901_532_9;
    let mut g = -EULER - std::f64::consts::LN_2;
    let mut weights = vec![0.0];
    for count in 1..=WINDOWS * WINDOW_MAX {
        if count.is_multiple_of(2) {
            g += 2.0 / (count - 1) as f64;
        }
        weights.push((count as f64 * g * std::f64::consts::LOG2_E) as f32);
    }
    weights
});

/// Bytes that are looked at to tell noise.
const NOISE_PART: usize = 4 << 10;
/// Fewer bytes tell nothing.
const NOISE_MIN: usize = 512;
/// Bits per byte from which on it is noise: text has 4 to 6, programs 5 to 6.5, images and archives
/// 7.9.
const NOISE_BITS: f32 = 7.6;

/// Whether short content will hardly shrink, by how often each byte occurs in its middle.
#[must_use]
pub fn is_noise(plain: &[u8]) -> bool {
    if plain.len() < NOISE_MIN {
        return false;
    }
    let start = plain.len().saturating_sub(NOISE_PART) / 2;
    let mut counts = [0; 256];
    for &byte in plain.iter().skip(start).take(NOISE_PART) {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    entropy(&counts) >= NOISE_BITS
}

/// Bits per byte.
fn entropy(counts: &[u32; 256]) -> f32 {
    let weights = WEIGHTS.as_slice();
    let total: u32 = counts.iter().sum();
    if total == 0 || counts.contains(&total) {
        return 0.0;
    }
    let weight = |&count: &u32| weights.get(count as usize).copied().unwrap_or_default();
    let sum: f32 = counts.iter().map(weight).sum();
    ((total as f32).log2() - sum / total as f32).clamp(0.0, 8.0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, noise, text, weights};
    use super::*;

    fn choose(plain: &[u8], element: Option<Element>) -> Estimate {
        let mut windows = Windows::default();
        windows.take(plain, plain.len());
        let mut frames = FrameEncoder::new(3).unwrap();
        Sampler::default().estimate(&windows, element, Some(&mut frames))
    }

    #[test]
    fn noise_is_told_from_text_and_numbers() {
        for len in [512, 700, 4096, 70_000] {
            assert!(is_noise(&noise(len)), "{len}");
            assert!(!is_noise(&text(len)), "{len}");
            assert!(!is_noise(&weights(&floats(len), Element::F32)), "{len}");
        }
        assert!(!is_noise(&noise(511)) && !is_noise(&[]));
    }

    #[test]
    fn windows_are_a_small_part_from_all_over_the_block() {
        let plain: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect();
        let mut windows = Windows::default();
        windows.take(&plain, plain.len());
        assert_eq!(windows.bytes.len(), 16 << 10);
        let firsts: Vec<u8> = windows.iter().map(|window| window[2]).collect();
        assert_eq!(firsts, [0, 0, 1, 1, 2, 2, 3, 3]);
        let full = windows.bytes.clone();
        windows.take(&plain[..300 << 10], plain.len());
        assert!(windows.bytes[..4 << 10] == full[..4 << 10]);
        assert!(windows.bytes[6 << 10..].iter().all(|&byte| byte == 0));
        windows.take(b"tiny", 4);
        assert_eq!(windows.bytes.len(), 0);
    }

    #[test]
    fn text_goes_to_zstd_and_noise_is_stored() {
        for len in [SAMPLED_MIN, 64 << 10, 512 << 10, 1 << 20] {
            assert_eq!(choose(&text(len), None).choice, Choice::Zstd, "{len}");
            assert_eq!(choose(&noise(len), None).choice, Choice::Stored, "{len}");
        }
    }

    #[test]
    fn weights_go_to_planes_of_their_width_with_and_without_being_told() {
        let floats = floats(1 << 17);
        for (element, width) in
            [(Element::F16, Width::Two), (Element::F32, Width::Four), (Element::F64, Width::Eight)]
        {
            let plain = weights(&floats, element);
            for told in [None, Some(element)] {
                let estimate = choose(&plain, told);
                assert!(
                    matches!(estimate.choice, Choice::Planes(found, _) if found == width),
                    "{element:?}, {told:?}: {estimate:?}"
                );
                assert!(estimate.share < 0.9);
            }
            let told_wrong = choose(&plain, Some(Element::Bytes));
            assert!(!matches!(told_wrong.choice, Choice::Planes(..)), "{told_wrong:?}");
        }
    }

    #[test]
    fn skewed_bytes_without_repeats_go_to_literals() {
        let skewed: Vec<u8> = noise(512 << 10).iter().map(|byte| (byte & 0x3f) * 3).collect();
        let estimate = choose(&skewed, None);
        assert_eq!(estimate.choice, Choice::Literals);
        assert!((estimate.share - 0.75).abs() < 0.02, "{estimate:?}");
    }

    #[test]
    fn one_window_of_text_amid_noise_is_enough_to_try() {
        for place in 0..WINDOWS {
            let mut plain = noise(512 << 10);
            plain[place << 16..(place + 1) << 16].copy_from_slice(&text(64 << 10));
            assert_ne!(choose(&plain, None).choice, Choice::Stored, "{place}");
        }
    }

    #[test]
    fn entropies_are_corrected_for_short_samples() {
        let of = |bytes: &[u8]| {
            let mut counts = [0; 256];
            bytes.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
            entropy(&counts)
        };
        assert_eq!(of(b""), 0.0);
        assert_eq!(of(&[5; 100]), 0.0);
        assert!((of(&noise(1 << 10)) - 8.0).abs() < 0.06);
        assert!((of(&noise(16 << 10)) - 8.0).abs() < 0.01);
        let nibbles: Vec<u8> = noise(4 << 10).iter().map(|byte| byte & 15).collect();
        assert!((of(&nibbles) - 4.0).abs() < 0.02);
    }
}
