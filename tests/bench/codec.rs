//! How near the codecs come to what they are made of: each stands beside the bare library call that
//! it makes, or beside memcpy.
//!
//! `cargo bench --bench codec` runs all on content from fixed seeds. With `ICECORE_BENCH_DATA` set to
//! a folder, its files come first: each is coded in blocks of 1 MiB, and the codecs chosen, the ratio
//! and the speed of one core are printed; a file NAME-next beside NAME is coded against it too.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use divan::Bencher;
use divan::counter::BytesCount;
use fastcdc::v2020;
use icecore::codec::aead::{MasterKey, ObjectCipher, Purpose};
use icecore::codec::block::transpose::{self, Width};
use icecore::codec::block::{self, Base, delta};
use icecore::codec::{BlockEncoder, Chunker, Compression, Element};
use icecore::format::{ChunkId, Chunking};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

const LEN: usize = 1 << 20;

fn main() {
    if let Some(folder) = std::env::var_os("ICECORE_BENCH_DATA") {
        files(Path::new(&folder));
    }
    divan::main();
}

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn text(len: usize) -> Vec<u8> {
    let words = noise(len / 2);
    let word = |byte: &u8| format!("{}_{} = {};\n", byte % 61, byte % 7, byte / 3).into_bytes();
    words.iter().flat_map(word).take(len).collect()
}

/// Sums of uniform values, like the weights of a model; `shift` moves each by a little.
fn weights(len: usize, element: Element, shift: f32) -> Vec<u8> {
    let skipped = if element == Element::F16 { 2 } else { 0 };
    let uniform = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes) as f32 / u32::MAX as f32;
    let floats = noise(len * 8);
    let floats = floats.chunks_exact(16).map(|part| {
        let (parts, _) = part.as_chunks();
        let sum: f32 = parts.iter().map(uniform).sum();
        (sum - 2.0) * 0.05 + (uniform(&parts[0]) - 0.5) * shift
    });
    floats.flat_map(|value| value.to_le_bytes()[skipped..].to_vec()).take(len).collect()
}

fn encoder(compression: Compression) -> BlockEncoder {
    BlockEncoder::new(compression).unwrap()
}

/// What became of a file's blocks.
#[derive(Default)]
struct Tally {
    codecs: BTreeMap<[u8; 2], usize>,
    plain: usize,
    coded: usize,
    encoding: Duration,
    decoding: Duration,
}

impl Tally {
    fn print(&self, name: &str, what: &str) {
        let speed = |time: Duration| self.plain as f64 / 1e6 / time.as_secs_f64();
        let ratio = self.plain as f64 / self.coded as f64;
        let (encode, decode) = (speed(self.encoding), speed(self.decoding));
        let codecs = &self.codecs;
        println!("{name:24} {what:6} {ratio:7.3} {encode:6.0} {decode:6.0} MB/s  {codecs:?}");
    }

    fn add(&mut self, plain: &[u8], coded: &[u8], encoding: Duration) {
        *self.codecs.entry([coded[0], coded[1]]).or_default() += 1;
        self.plain += plain.len();
        self.coded += coded.len();
        self.encoding += encoding;
    }
}

fn files(folder: &Path) {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    println!(
        "file                            ratio encode decode       codec and parameter: blocks"
    );
    for path in paths {
        let plain = fs::read(&path).unwrap();
        let name = path.file_name().and_then(OsStr::to_str).unwrap();
        for compression in [Compression::Fast, Compression::Level(3)] {
            whole_file(&plain, compression).print(name, &compression.to_string());
        }
        if let Ok(base) = name
            .strip_suffix("-next")
            .map_or(Err(()), |n| fs::read(path.with_file_name(n)).map_err(|_| ()))
        {
            against(&plain, &base).print(name, "delta");
        }
    }
}

fn whole_file(plain: &[u8], compression: Compression) -> Tally {
    let mut encoder = encoder(compression);
    let mut tally = Tally::default();
    for part in plain.chunks(LEN) {
        let start = Instant::now();
        let coded = encoder.encode(part, None);
        tally.add(part, &coded, start.elapsed());
        let start = Instant::now();
        assert!(block::decode(&coded).unwrap() == part);
        tally.decoding += start.elapsed();
    }
    tally
}

fn against(plain: &[u8], base: &[u8]) -> Tally {
    let mut encoder = encoder(Compression::Level(3));
    let mut tally = Tally::default();
    for (part, old) in plain.chunks(LEN).zip(base.chunks(LEN)) {
        let bases = [Base { id: ChunkId([1; 32]), bytes: old, chunk_len: part.len() as u32 }];
        let start = Instant::now();
        let promising = delta::promises_gain(part, old, None);
        let delta = promising.then(|| encoder.encode_delta(part, &bases, false, None)).flatten();
        let coded = delta.unwrap_or_else(|| encoder.encode(part, None));
        tally.add(part, &coded, start.elapsed());
        let start = Instant::now();
        let found = block::decode_with(&coded, &mut |_| Ok::<_, ()>(old)).unwrap();
        assert!(found == part);
        tally.decoding += start.elapsed();
    }
    tally
}

#[divan::bench_group]
mod transposition {
    use super::*;

    #[divan::bench]
    fn memcpy(bencher: Bencher<'_, '_>) {
        let (plain, mut copy) = (noise(LEN), vec![0; LEN]);
        bencher.counter(BytesCount::new(LEN)).bench_local(|| {
            copy.copy_from_slice(black_box(&plain));
            black_box(&mut copy);
        });
    }

    #[divan::bench(args = [2, 4, 8])]
    fn split(bencher: Bencher<'_, '_>, width: usize) {
        let (plain, mut planes) = (noise(LEN), vec![0; LEN]);
        bencher.counter(BytesCount::new(LEN)).bench_local(|| {
            transpose::split(named(width), black_box(&plain), &mut planes);
            black_box(&mut planes);
        });
    }

    #[divan::bench(args = [2, 4, 8])]
    fn merge(bencher: Bencher<'_, '_>, width: usize) {
        let (planes, mut plain) = (noise(LEN), vec![0; LEN]);
        let parts: Vec<&[u8]> = planes.chunks(LEN / width).collect();
        bencher.counter(BytesCount::new(LEN)).bench_local(|| {
            transpose::merge(named(width), black_box(&parts), &mut plain);
            black_box(&mut plain);
        });
    }

    fn named(width: usize) -> Width {
        match width {
            2 => Width::Two,
            4 => Width::Four,
            _ => Width::Eight,
        }
    }
}

#[divan::bench_group]
mod blocks {
    use super::*;

    const ELEMENTS: [Element; 2] = [Element::F16, Element::F32];

    #[divan::bench(args = ELEMENTS)]
    fn encode_weights(bencher: Bencher<'_, '_>, element: Element) {
        let plain = weights(LEN, element, 0.0);
        let mut encoder = encoder(Compression::Level(3));
        bencher
            .counter(BytesCount::new(LEN))
            .bench_local(|| encoder.encode(black_box(&plain), None));
    }

    #[divan::bench(args = ELEMENTS)]
    fn decode_weights(bencher: Bencher<'_, '_>, element: Element) {
        let payload = encoder(Compression::Level(3)).encode(&weights(LEN, element, 0.0), None);
        bencher
            .counter(BytesCount::new(LEN))
            .bench_local(|| block::decode(black_box(&payload)).unwrap());
    }

    #[divan::bench(args = ELEMENTS)]
    fn encode_delta_of_weights(bencher: Bencher<'_, '_>, element: Element) {
        let (base, plain) = (weights(LEN, element, 0.0), weights(LEN, element, 1e-4));
        let bases = [Base { id: ChunkId([1; 32]), bytes: &base, chunk_len: LEN as u32 }];
        let mut encoder = encoder(Compression::Level(3));
        bencher
            .counter(BytesCount::new(LEN))
            .bench_local(|| encoder.encode_delta(black_box(&plain), &bases, false, None).unwrap());
    }

    /// All there is to storing noise is the look at it and a copy.
    #[divan::bench]
    fn look_at_noise_and_store_it(bencher: Bencher<'_, '_>) {
        let plain = noise(LEN);
        let mut encoder = encoder(Compression::Level(3));
        bencher
            .counter(BytesCount::new(LEN))
            .bench_local(|| encoder.encode(black_box(&plain), None));
    }

    #[divan::bench]
    fn store_noise_without_a_look(bencher: Bencher<'_, '_>) {
        let plain = noise(LEN);
        let mut encoder = encoder(Compression::Off);
        bencher
            .counter(BytesCount::new(LEN))
            .bench_local(|| encoder.encode(black_box(&plain), None));
    }

    #[divan::bench]
    fn look_for_a_delta(bencher: Bencher<'_, '_>) {
        let (plain, base) = (text(LEN), noise(LEN));
        bencher
            .counter(BytesCount::new(LEN))
            .bench_local(|| delta::promises_gain(black_box(&plain), &base, None));
    }
}

#[divan::bench_group]
mod levels {
    use super::*;

    const LEVELS: [u8; 5] = [1, 3, 6, 9, 19];

    #[divan::bench(args = LEVELS, max_time = 2)]
    fn encode_text(bencher: Bencher<'_, '_>, level: u8) {
        let plain = text(LEN);
        let mut encoder = encoder(Compression::Level(level));
        bencher
            .counter(BytesCount::new(LEN))
            .bench_local(|| encoder.encode(black_box(&plain), None));
    }

    #[divan::bench(args = LEVELS, max_time = 2)]
    fn bare_zstd(bencher: Bencher<'_, '_>, level: u8) {
        let plain = text(LEN);
        let mut compressor = zstd::bulk::Compressor::new(level.into()).unwrap();
        let mut coded = Vec::with_capacity(zstd::zstd_safe::compress_bound(LEN));
        bencher.counter(BytesCount::new(LEN)).bench_local(|| {
            coded.clear();
            compressor.compress_to_buffer(black_box(&plain), &mut coded).unwrap()
        });
    }

    #[divan::bench]
    fn decode_text(bencher: Bencher<'_, '_>) {
        let payload = encoder(Compression::Level(3)).encode(&text(LEN), None);
        bencher
            .counter(BytesCount::new(LEN))
            .bench_local(|| block::decode(black_box(&payload)).unwrap());
    }

    #[divan::bench]
    fn decode_bare_zstd(bencher: Bencher<'_, '_>) {
        let coded = zstd::bulk::compress(&text(LEN), 3).unwrap();
        let mut decompressor = zstd::bulk::Decompressor::new().unwrap();
        let mut plain = Vec::with_capacity(LEN);
        bencher.counter(BytesCount::new(LEN)).bench_local(|| {
            plain.clear();
            decompressor.decompress_to_buffer(black_box(&coded), &mut plain).unwrap()
        });
    }
}

#[divan::bench_group]
mod hashes_seals_and_cuts {
    use super::*;

    #[divan::bench]
    fn blake3_hash(bencher: Bencher<'_, '_>) {
        let plain = noise(LEN);
        bencher.counter(BytesCount::new(LEN)).bench_local(|| blake3::hash(black_box(&plain)));
    }

    #[divan::bench]
    fn blake3_keyed(bencher: Bencher<'_, '_>) {
        let plain = noise(LEN);
        bencher
            .counter(BytesCount::new(LEN))
            .bench_local(|| blake3::keyed_hash(&[7; 32], black_box(&plain)));
    }

    #[divan::bench]
    fn seal(bencher: Bencher<'_, '_>) {
        let cipher = ObjectCipher::new(&MasterKey::new([1; 32]), Purpose::DataPack, &[2; 32]);
        let mut bytes = noise(LEN);
        bytes.reserve(16);
        bencher.counter(BytesCount::new(LEN)).bench_local(|| {
            bytes.truncate(LEN);
            cipher.seal(48, &[], black_box(&mut bytes));
        });
    }

    #[divan::bench]
    fn bare_ring(bencher: Bencher<'_, '_>) {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[1; 32]).unwrap());
        let mut bytes = noise(LEN);
        bencher.counter(BytesCount::new(LEN)).bench_local(|| {
            let nonce = Nonce::assume_unique_for_key([0; 12]);
            key.seal_in_place_separate_tag(nonce, Aad::empty(), black_box(&mut bytes)).unwrap()
        });
    }

    #[divan::bench]
    fn cuts(bencher: Bencher<'_, '_>) {
        let plain = noise(8 * LEN);
        let chunking = Chunking { min: 16 << 10, average: 64 << 10, max: 256 << 10 };
        let chunker = Chunker::new(chunking, 1);
        bencher.counter(BytesCount::new(8 * LEN)).bench_local(|| {
            let mut rest = black_box(plain.as_slice());
            while !rest.is_empty() {
                rest = &rest[chunker.next_cut(rest, true)..];
            }
        });
    }

    #[divan::bench]
    fn bare_fastcdc(bencher: Bencher<'_, '_>) {
        let plain = noise(8 * LEN);
        bencher.counter(BytesCount::new(8 * LEN)).bench_local(|| {
            v2020::FastCDC::new(black_box(&plain), 16 << 10, 64 << 10, 256 << 10).count()
        });
    }
}

mod healing {
    use icecore::codec::parity::{ParityOf, protect, rebuild};
    use icecore::format::{PackId, PackKind, RepositoryId};

    use super::*;

    const PACK: usize = 32 * LEN;

    fn of(pack: &[u8]) -> ParityOf {
        let id = PackId(*blake3::hash(pack).as_bytes());
        ParityOf { kind: PackKind::Data, repository: RepositoryId([0; 16]), pack: id }
    }

    #[divan::bench(args = [10, 50, 100])]
    fn parity_of_a_pack(bencher: Bencher<'_, '_>, permille: u16) {
        let pack = noise(PACK);
        let of = of(&pack);
        let bench = || protect(of, black_box(&pack), permille).unwrap();
        bencher.counter(BytesCount::new(PACK)).bench_local(bench);
    }

    /// As many shards damaged as can be healed, one after the other.
    #[divan::bench(args = [10, 50, 100])]
    fn heal_a_pack(bencher: Bencher<'_, '_>, permille: u16) {
        let pack = noise(PACK);
        let of = of(&pack);
        let parity = protect(of, &pack, permille).unwrap();
        let mut bad = pack;
        bad[..PACK / 1000 * usize::from(permille)].fill(0);
        bencher
            .counter(BytesCount::new(PACK))
            .bench_local(|| rebuild(of, black_box(&bad), &parity).unwrap());
    }
}
