//! Chunks that are stored as what differs from an older version.
//!
//! Guards against deltas of deltas, against deltas that save nothing, and against bases that are
//! lost, hostile or in a circle.

mod common;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use common::library::{content, find, ingest_tree, options, repository, try_ingest};
use common::torture::random_bytes as noise;
use icecore::format::{Body, ChunkClass, ChunkId, File};
use icecore::ops::ingest::{self, IngestOptions, IngestReport, Input, Stream};
use icecore::ops::verify::{self, VerifyOptions};
use icecore::progress::Silent;
use icecore::repo::{NodeRef, Repository};

/// A file of pages as SQLite makes them, of text that does not repeat.
fn database(pages: usize) -> Vec<u8> {
    let mut bytes = b"SQLite format 3\0\x10\x00\x01\x01\x00\x40\x20\x20".to_vec();
    for row in 0.. {
        if bytes.len() >= pages * 4096 {
            break;
        }
        let id = blake3::hash(&u64::to_le_bytes(row)).to_hex();
        bytes.extend_from_slice(format!("row {row}: {}, paid;", &id[..24]).as_bytes());
    }
    bytes.truncate(pages * 4096);
    bytes
}

/// Changes a few bytes in every so many pages.
fn update(bytes: &mut [u8], step: usize, with: u8) {
    for page in bytes.chunks_mut(4096 * step) {
        page[2000..2008].fill(with);
    }
}

fn file(node: &NodeRef) -> &File {
    let Body::File(file) = &node.body else { panic!("no file") };
    file
}

fn chunks(repo: &Repository, file: &File) -> Vec<ChunkId> {
    let (mut ids, mut offset) = (Vec::new(), 0);
    while let Some(placed) = repo.extent_at(file, offset).unwrap() {
        ids.push(placed.extent.id);
        offset = placed.offset + placed.extent.len;
    }
    ids
}

/// How many of a file's chunks are stored as deltas; each base must be stored itself.
fn deltas(repo: &Repository, file: &File) -> usize {
    let bases = chunks(repo, file).into_iter().flat_map(|id| repo.chunk_places(&id).unwrap());
    let bases: Vec<_> = bases.filter_map(|place| place.base).collect();
    for base in &bases {
        let whole = repo.chunk_places(base).unwrap().iter().any(|place| place.base.is_none());
        assert!(whole, "a base that is a delta");
    }
    bases.len()
}

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(dir.join(name), bytes).unwrap();
}

fn is_sound(repo: &Repository) {
    let options = VerifyOptions { read_data: true, ..VerifyOptions::default() };
    let report = verify::run(repo, options, &Silent, &AtomicBool::new(false)).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[test]
fn scattered_updates_of_a_database_cost_little_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let repo = repository();
    let mut bytes = database(1500);
    write(dir.path(), "shop.db", &bytes);
    let first = ingest_tree(&repo, dir.path());
    for version in 1..5 {
        update(&mut bytes, 16, version);
        write(dir.path(), "shop.db", &bytes);
        let report = ingest_tree(&repo, dir.path());
        let node = find(&repo, "shop.db").unwrap();
        assert!(content(&repo, &node) == bytes, "version {version}");
        assert!(deltas(&repo, file(&node)) > 80, "{}", deltas(&repo, file(&node)));
        assert!(report.added.stored * 10 < first.added.stored, "{:?}", report.added);
    }
    is_sound(&repo);
}

fn without_deltas() -> IngestOptions {
    IngestOptions { delta: false, ..options() }
}

#[test]
fn it_can_be_switched_off() {
    let dir = tempfile::tempdir().unwrap();
    let repo = repository();
    let mut bytes = database(300);
    write(dir.path(), "shop.db", &bytes);
    ingest_tree(&repo, dir.path());
    update(&mut bytes, 16, 1);
    write(dir.path(), "shop.db", &bytes);
    try_ingest(&repo, dir.path(), &without_deltas(), &Silent).unwrap();
    assert_eq!(deltas(&repo, file(&find(&repo, "shop.db").unwrap())), 0);
}

/// safetensors of one tensor of floats.
fn checkpoint(values: impl Iterator<Item = f32>) -> Vec<u8> {
    let data: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
    let header = format!(
        r#"{{"w":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{}]}}}}"#,
        data.len() / 4,
        data.len()
    );
    let header = format!("{header:<width$}", width = header.len().next_multiple_of(8));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// Weights, moved a little with each step.
fn weights(step: u32) -> impl Iterator<Item = f32> {
    noise(7, 3 << 20)
        .chunks_exact(2)
        .map(|pair| [pair[0], pair[1]])
        .collect::<Vec<_>>()
        .into_iter()
        .map(move |[a, b]| {
            let base = (f32::from(a) - 128.0) / 512.0 + f32::from(b) / 70_001.0;
            base * (1.0 + step as f32 * 1e-6 * f32::from(b & 7))
        })
}

#[test]
fn a_new_checkpoint_is_told_from_the_one_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let repo = repository();
    let mut added: Vec<IngestReport> = Vec::new();
    for step in 0..4 {
        write(dir.path(), &format!("step-{step:03}.safetensors"), &checkpoint(weights(step)));
        added.push(ingest_tree(&repo, dir.path()));
        let node = find(&repo, &format!("step-{step:03}.safetensors")).unwrap();
        assert!(content(&repo, &node) == checkpoint(weights(step)));
        // The header's chunk is too short for a base.
        assert_eq!(deltas(&repo, file(&node)) > 4, step > 0, "step {step}");
    }
    let [first, later @ ..] = added.as_slice() else { panic!("no reports") };
    for report in later {
        assert!(report.added.stored * 2 < first.added.stored, "{:?}", report.added);
    }
    is_sound(&repo);
}

#[test]
fn text_that_moved_is_told_from_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let repo = repository();
    let lines = |from: u32| {
        (from..from + 900).map(|n| {
            format!("fn f{n}() -> u64 {{ {} }}\n", u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15))
        })
    };
    write(dir.path(), "a.rs", lines(0).collect::<String>().as_bytes());
    let first = ingest_tree(&repo, dir.path());
    let moved = format!("//! One more line.\n{}", lines(0).collect::<String>());
    write(dir.path(), "a.rs", moved.as_bytes());
    let second = ingest_tree(&repo, dir.path());
    let node = find(&repo, "a.rs").unwrap();
    assert!(content(&repo, &node) == moved.as_bytes());
    assert!(deltas(&repo, file(&node)) > 0);
    assert!(second.added.stored * 3 < first.added.stored, "{:?}", second.added);
    is_sound(&repo);
}

#[test]
fn what_has_nothing_in_common_is_stored_whole() {
    let dir = tempfile::tempdir().unwrap();
    let repo = repository();
    for seed in 0..3 {
        write(dir.path(), "noise", &noise(seed, 1 << 20));
        ingest_tree(&repo, dir.path());
        let node = find(&repo, "noise").unwrap();
        assert!(content(&repo, &node) == noise(seed, 1 << 20));
        assert_eq!(deltas(&repo, file(&node)), 0);
    }
}

#[test]
fn a_base_that_is_far_behind_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let repo = repository();
    let mut bytes = database(600);
    let mut counts = Vec::new();
    for version in 0..12_usize {
        // A tenth of the file more is new each time.
        let at = version * bytes.len() / 12;
        let end = at + bytes.len() / 12;
        if version > 0 {
            let fresh = noise(version as u64, (end - at).div_ceil(2));
            for (place, byte) in bytes[at..end].iter_mut().zip(fresh.iter().cycle()) {
                *place = b'a' + (byte % 16);
            }
        }
        write(dir.path(), "shop.db", &bytes);
        ingest_tree(&repo, dir.path());
        let node = find(&repo, "shop.db").unwrap();
        assert!(content(&repo, &node) == bytes, "version {version}");
        counts.push(deltas(&repo, file(&node)));
    }
    // What was rewritten altogether is stored whole: few deltas of one gone version remain.
    assert!(counts.iter().all(|&count| count <= 4), "{counts:?}");
    is_sound(&repo);
}

/// Takes bytes in as `icecore ingest --stdin NAME` does.
fn ingest_stream(repo: &Repository, name: &str, bytes: &[u8]) -> IngestReport {
    let reader = Box::new(std::io::Cursor::new(bytes.to_vec()));
    let stream = Stream { name: name.into(), reader, finish: Box::new(|| Ok(())) };
    ingest::run(repo, Input::Stream(stream), &options(), &Silent, &AtomicBool::new(false)).unwrap()
}

#[test]
fn a_stream_is_told_from_the_one_before_it() {
    let repo = repository();
    let mut bytes = database(1500);
    let first = ingest_stream(&repo, "db/shop.db", &bytes);
    for version in 1..4 {
        update(&mut bytes, 16, version);
        let report = ingest_stream(&repo, "db/shop.db", &bytes);
        let node = find(&repo, "db/shop.db").unwrap();
        assert!(content(&repo, &node) == bytes, "version {version}");
        assert_eq!(file(&node).class, ChunkClass::Database);
        assert!(deltas(&repo, file(&node)) > 80, "{}", deltas(&repo, file(&node)));
        assert!(report.added.stored * 10 < first.added.stored, "{:?}", report.added);
        assert_eq!((report.files_new, report.files_changed), (0, 1));
    }
    let same = ingest_stream(&repo, "db/shop.db", &bytes);
    assert_eq!((same.files_changed, same.files_unchanged), (0, 1));
    is_sound(&repo);
}

#[test]
fn a_stream_of_weights_is_cut_as_the_file_would_be() {
    let repo = repository();
    let bytes = checkpoint(weights(1));
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "model.safetensors", &bytes);
    ingest_tree(&repo, dir.path());
    let of_file = find(&repo, "model.safetensors").unwrap();
    let report = ingest_stream(&repo, "model.safetensors", &bytes);
    assert!(report.added.plain < 1000, "a page and no content: {:?}", report.added);
    let of_stream = find(&repo, "model.safetensors").unwrap();
    assert_eq!(file(&of_stream), file(&of_file));
    assert_eq!(file(&of_stream).class, ChunkClass::Tensor);
    for (name, bytes) in [("a.safetensors", &bytes[..900]), ("a.txt", &noise(1, 200_000)[..])] {
        ingest_stream(&repo, name, bytes);
        let node = find(&repo, name).unwrap();
        assert_eq!(file(&node).class, ChunkClass::Default, "{name}");
        assert!(content(&repo, &node) == bytes);
    }
}
