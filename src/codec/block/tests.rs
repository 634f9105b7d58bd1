//! Round trips of whole payloads through every codec, and hostile ones.

use std::convert::Infallible;

use proptest::prelude::*;

use super::testing::{floats, noise, text, weights};
use super::*;
use crate::codec::TAG_LEN;
use crate::format::{ChunkId, Malformed, limits};

fn encoder() -> BlockEncoder {
    BlockEncoder::new(Compression::Level(3)).unwrap()
}

fn encode(plain: &[u8]) -> Vec<u8> {
    encoder().encode(plain, None)
}

/// The first bytes of a payload: codec and parameter.
fn codec(payload: &[u8]) -> [u8; 2] {
    [payload[0], payload[1]]
}

fn id(number: u8) -> ChunkId {
    ChunkId([number; 32])
}

/// Chunks of `plain` of these lengths, with bases numbered from 1.
fn bases<'b>(chunks: &[(&'b [u8], usize)]) -> Vec<Base<'b>> {
    let numbered = chunks.iter().zip(1..);
    numbered
        .map(|(&(bytes, len), number)| Base { id: id(number), bytes, chunk_len: len as u32 })
        .collect()
}

fn decode_from(payload: &[u8], bases: &[Base<'_>]) -> Result<Vec<u8>, DeltaError<&'static str>> {
    decode_with(payload, &mut |wanted| {
        let found = bases.iter().find(|base| base.id == *wanted);
        found.map(|base| base.bytes).ok_or("no such chunk")
    })
}

#[test]
fn text_is_compressed_and_noise_is_stored() {
    for len in [9000, 20_000, 512 << 10] {
        let payload = encode(&text(len));
        assert_eq!(codec(&payload), [1, 0]);
        assert!(payload.len() < len / 3);
        assert!(decode(&payload).unwrap() == text(len));
        let payload = encode(&noise(len));
        assert_eq!((codec(&payload), payload.len()), ([0, 0], len + PAYLOAD_HEADER_LEN));
        assert!(decode(&payload).unwrap() == noise(len));
    }
}

#[test]
fn weights_are_coded_in_planes_of_their_width() {
    let floats = floats(100_001);
    for (element, width, share) in
        [(Element::F16, 2, 72), (Element::F32, 4, 87), (Element::F64, 8, 60)]
    {
        let mut plain = weights(&floats, element);
        plain.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7][..usize::from(width) - 1]);
        let payload = encode(&plain);
        assert_eq!(codec(&payload), [2, width], "{element:?}");
        assert!(payload.len() < plain.len() * share / 100, "{element:?}: {}", payload.len());
        assert!(decode(&payload).unwrap() == plain);
    }
}

#[test]
fn every_compression_round_trips_and_off_stores() {
    let words = [Compression::Off, Compression::Fast, Compression::Level(9), Compression::Max];
    for compression in words {
        let mut encoder = BlockEncoder::new(compression).unwrap();
        for plain in [text(70_000), noise(20_000), weights(&floats(20_000), Element::F32)] {
            let payload = encoder.encode(&plain, None);
            assert!(decode(&payload).unwrap() == plain);
            assert!(compression != Compression::Off || codec(&payload) == [0, 0]);
        }
        let base = bases(&[(&[7; 70_000], 70_000)]);
        let delta = encoder.encode_delta(&[7; 70_000], &base, false, None);
        assert!(compression != Compression::Off || delta.is_none());
    }
}

#[test]
fn tag_fits_without_moving_the_payload() {
    let weights = weights(&floats(9000), Element::F32);
    let base = text(20_000);
    let bases = bases(&[(&base, 20_000)]);
    let delta = encoder().encode_delta(&base, &bases, false, None).unwrap();
    for payload in [encode(&text(9000)), encode(&noise(9000)), encode(&[]), encode(&weights), delta]
    {
        assert!(payload.capacity() - payload.len() >= TAG_LEN);
    }
}

#[test]
fn largest_and_most_compressible_block_round_trips() {
    let plain = vec![0; limits::BLOCK_PLAIN_MAX];
    let payload = encode(&plain);
    assert!(payload.len() < 8 << 10);
    assert!(decode(&payload).unwrap() == plain);
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    let weights = weights(&floats(3000), Element::F32);
    let planes = encoder().encode(&[weights.clone(), weights].concat(), Some(Element::F32));
    for good in [encode(&text(24_000)), encode(&noise(24_000)), planes] {
        assert!(decode(&good).is_ok());
        for len in [0, 23_999, 24_001, limits::BLOCK_PLAIN_MAX as u32, u32::MAX] {
            let mut bad = good.clone();
            bad[4..8].copy_from_slice(&len.to_le_bytes());
            assert!(matches!(decode(&bad), Err(Malformed::Damaged { .. })), "{len}");
        }
    }
}

#[test]
fn planes_that_are_cut_long_or_of_an_unknown_kind_are_refused() {
    let good = encode(&[weights(&floats(6000), Element::F32), vec![1]].concat());
    assert_eq!(codec(&good), [2, 4]);
    for len in (0..good.len()).step_by(97).chain([good.len() - 1]) {
        assert!(matches!(decode(&good[..len]), Err(Malformed::Damaged { .. })), "{len}");
    }
    let long = [good.as_slice(), &[0]].concat();
    assert!(matches!(decode(&long), Err(Malformed::Damaged { .. })));
    let mut newer = good.clone();
    newer[PAYLOAD_HEADER_LEN] = 2;
    assert!(matches!(decode(&newer), Err(Malformed::Unknown { .. })));
}

/// Floats that moved by up to `most` since `floats`.
fn trained(floats: &[f32], most: f32) -> Vec<f32> {
    let steps = noise(floats.len()).into_iter().map(|step| f32::from(step) / 128.0 - 1.0);
    floats.iter().zip(steps).map(|(value, step)| value + step * most).collect()
}

#[test]
fn moved_weights_are_told_by_integer_differences() {
    let old = floats(60_000);
    for (element, parameter, most) in [(Element::F16, 1, 1e-3), (Element::F32, 2, 1e-5)] {
        let (base, plain) = (weights(&old, element), weights(&trained(&old, most), element));
        // Two chunks whose bases have other lengths than they.
        let (first, second) = base.split_at(100_000);
        let longer = [first, b"and more"].concat();
        let shorter = &second[..second.len() - 1000];
        let bases = bases(&[(&longer, 100_000), (shorter, plain.len() - 100_000)]);
        for told in [None, Some(element)] {
            let delta = encoder().encode_delta(&plain, &bases, false, told).unwrap();
            assert_eq!(codec(&delta), [3, parameter]);
            let alone = encode(&plain);
            assert!(delta.len() < alone.len() * 9 / 10, "{} of {}", delta.len(), alone.len());
            assert!(decode_from(&delta, &bases).unwrap() == plain);
            assert!(delta::promises_gain(&plain, &base, told));
        }
    }
}

#[test]
fn scattered_changes_and_shifted_text_are_told_from_their_base() {
    let base = noise(200_000);
    let mut pages = base.clone();
    pages.iter_mut().step_by(4096).for_each(|byte| *byte ^= 0x55);
    let shifted = [b"a new first line\n", &base[..150_000], b"a new end"].concat();
    for (plain, parameters) in [(pages, &[0, 3][..]), (shifted, &[3])] {
        let bases = bases(&[(&base, plain.len())]);
        assert!(delta::promises_gain(&plain, &base, None));
        let delta = encoder().encode_delta(&plain, &bases, false, None).unwrap();
        let [codec, parameter] = codec(&delta);
        assert!(codec == 3 && parameters.contains(&parameter), "{codec} {parameter}");
        assert!(delta.len() < plain.len() / 20, "{}", delta.len());
        assert!(decode_from(&delta, &bases).unwrap() == plain);
        assert_eq!(bases_of(&delta).unwrap(), [(id(1), plain.len() as u32)]);
    }
}

#[test]
fn strange_bases_promise_nothing_and_make_no_delta() {
    let strange = noise(100_000);
    let other: Vec<u8> = strange.iter().rev().copied().collect();
    let (old, new) = (floats(50_000), floats(50_000).into_iter().rev().collect::<Vec<_>>());
    let weights = |floats: &[f32]| weights(floats, Element::F32);
    for (plain, base) in
        [(&strange, &other), (&text(100_000), &strange), (&weights(&new), &weights(&old))]
    {
        assert!(!delta::promises_gain(plain, base, None));
        let bases = bases(&[(base, plain.len())]);
        assert!(encoder().encode_delta(plain, &bases, false, None).is_none());
    }
}

#[test]
fn deltas_need_all_their_bases_and_never_nest() {
    let base = noise(60_000);
    let bases = bases(&[(&base, 20_000), (&base, 40_000)]);
    let plain = [&base[..20_000], &base[..40_000]].concat();
    let good = encoder().encode_delta(&plain, &bases, false, None).unwrap();
    assert!(matches!(decode(&good), Err(Malformed::Damaged { .. })));
    let missing = decode_from(&good, &bases[..1]);
    assert_eq!(missing, Err(DeltaError::Base("no such chunk")));
    let inner_at = PAYLOAD_HEADER_LEN + 4 + 2 * 36;
    let mut nested = good[..inner_at].to_vec();
    nested.extend_from_slice(&good);
    let nested = decode_from(&nested, &bases);
    assert!(matches!(nested, Err(DeltaError::Payload(Malformed::Damaged { .. }))));
    for len in (0..inner_at).chain(inner_at..good.len()) {
        assert!(decode_from(&good[..len], &bases).is_err(), "{len}");
        assert!(len < inner_at || bases_of(&good[..len]).is_ok());
        assert!(len >= inner_at || bases_of(&good[..len]).is_err());
    }
}

#[test]
fn chunks_of_a_delta_add_up_to_its_block() {
    let base = noise(60_000);
    let good = encoder().encode_delta(&base, &bases(&[(&base, 60_000)]), false, None).unwrap();
    let len_at = PAYLOAD_HEADER_LEN + 4 + 32;
    for len in [0_u32, 59_999, 60_001, u32::MAX] {
        let mut bad = good.clone();
        bad[len_at..len_at + 4].copy_from_slice(&len.to_le_bytes());
        assert!(matches!(bases_of(&bad), Err(Malformed::Damaged { offset: 8, .. })), "{len}");
    }
    let mut none = vec![0; PAYLOAD_HEADER_LEN + 4 + PAYLOAD_HEADER_LEN];
    none[0] = 3;
    assert!(matches!(bases_of(&none), Err(Malformed::Damaged { offset: 8, .. })));
    let mut many = good;
    many[PAYLOAD_HEADER_LEN..PAYLOAD_HEADER_LEN + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(bases_of(&many), Err(Malformed::Damaged { .. })));
}

#[test]
fn prefix_bases_that_are_too_long_together_are_refused() {
    let big = vec![1; limits::BLOCK_PLAIN_MAX / 2 + 1];
    let base = noise(60_000);
    let shifted = &base[1..];
    let two = bases(&[(&base, 30_000), (&base, 29_999)]);
    let delta = encoder().encode_delta(shifted, &two, false, None).unwrap();
    assert_eq!(codec(&delta), [3, 3]);
    let found = decode_with(&delta, &mut |_| Ok::<_, Infallible>(big.as_slice()));
    assert!(matches!(found, Err(DeltaError::Payload(Malformed::Damaged { .. }))));
}

#[test]
fn base_may_be_decoded_while_a_block_waits_for_it() {
    let base = text(60_000);
    let stored = encode(&base);
    let delta = encoder().encode_delta(&base, &bases(&[(&base, 60_000)]), false, None).unwrap();
    assert!(decode_with(&delta, &mut |_| decode(&stored)).unwrap() == base);
}

proptest! {
    #[test]
    fn whatever_is_encoded_decodes_to_itself(
        parts in prop::collection::vec((any::<u8>(), 0_usize..3000, any::<bool>()), 0..40),
        element in prop::sample::select(vec![
            None, Some(Element::F16), Some(Element::F32), Some(Element::F64), Some(Element::Bytes),
        ]),
        at in 0_usize..5000,
    ) {
        let mut plain = Vec::new();
        for (byte, len, random) in parts {
            if random { plain.extend(noise(len)) } else { plain.resize(plain.len() + len, byte) }
        }
        let payload = encoder().encode(&plain, element);
        prop_assert!(decode(&payload).unwrap() == plain);
        if !plain.is_empty() {
            let mut base = plain.clone();
            base.rotate_left(at % plain.len());
            let bases = bases(&[(&base, plain.len())]);
            if let Some(delta) = encoder().encode_delta(&plain, &bases, false, element) {
                prop_assert!(decode_from(&delta, &bases).unwrap() == plain);
            }
        }
    }

    #[test]
    fn no_bytes_make_decoding_panic(
        mut bytes: Vec<u8>,
        codec in 0_u8..4,
        parameter in prop::sample::select(vec![0_u8, 1, 2, 3, 4, 8]),
        at: usize,
        value: u8,
    ) {
        let any_base = |bytes: &[u8]| {
            let _ = bases_of(bytes);
            decode_with(bytes, &mut |id| Ok::<_, Infallible>(id.0))
        };
        let _ = any_base(&bytes);
        bytes.splice(0..0, [codec, parameter, 0, 0, 16, 0, 0, 0]);
        let _ = any_base(&bytes);
        let text = text(3000);
        let planes = encoder().encode(&weights(&floats(5000), Element::F32), None);
        let delta = encoder().encode_delta(&text, &bases(&[(&text, 3000)]), false, None).unwrap();
        for mut near in [encode(&text), planes, delta] {
            let at = at % near.len();
            near[at] = value;
            if let Ok(plain) = any_base(&near) {
                prop_assert!([3000, 20_000].contains(&plain.len()));
            }
        }
    }
}
