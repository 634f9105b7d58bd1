//! Files cut by what they are: databases at pages, weights at tensors, all else by content.
//!
//! Guards against a class that is missed, against cuts that move when something before them changes,
//! and against a header that keeps a file from coming back as it was.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use common::Sandbox;
use common::library::{content, find, ingest_tree, options, repository, try_ingest};
use common::torture::random_bytes as noise;
use icecore::format::{Body, ChunkClass, Extent, Time};
use icecore::ops::ingest::{ChunkerChoice, IngestOptions};
use icecore::ops::prune::{self, PruneOptions};
use icecore::progress::Silent;
use icecore::repo::{Marker, NodeRef, Repository};
use serde_json::Value;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// A folder on the disk of the build, where holes are holes.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn class(node: &NodeRef) -> ChunkClass {
    let Body::File(file) = &node.body else { panic!("no file") };
    file.class
}

fn extents(repo: &Repository, node: &NodeRef) -> Vec<Extent> {
    let Body::File(file) = &node.body else { panic!("no file") };
    let (mut extents, mut at) = (Vec::new(), 0);
    while let Some(placed) = repo.extent_at(file, at).unwrap() {
        extents.push(placed.extent);
        at = placed.offset + placed.extent.len;
    }
    extents
}

/// The entry, whose content was compared with the file.
fn taken(repo: &Repository, dir: &Path, name: &str) -> NodeRef {
    let node = find(repo, name).unwrap();
    assert!(content(repo, &node) == fs::read(dir.join(name)).unwrap(), "{name}");
    node
}

/// How many extents of `after` are not in `before`.
fn new_extents(repo: &Repository, before: &NodeRef, after: &NodeRef) -> usize {
    let before = extents(repo, before);
    extents(repo, after).iter().filter(|extent| !before.contains(extent)).count()
}

#[test]
fn a_changed_row_of_sqlite_is_one_new_chunk_of_its_pages() {
    let dir = folder();
    let sql = |statement: &str| {
        let script = "import sqlite3, sys\n\
                      with sqlite3.connect(sys.argv[1]) as db: db.executescript(sys.argv[2])";
        let database = dir.path().join("app.db");
        common::run_ok("python3", &["-c", script, database.to_str().unwrap(), statement]);
    };
    sql("create table t(id integer primary key, body text);
         with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000)
         insert into t select i, hex(randomblob(200)) from n;");
    let repo = repository();
    ingest_tree(&repo, dir.path());
    let before = taken(&repo, dir.path(), "app.db");
    assert_eq!(class(&before), ChunkClass::Database);
    assert!(extents(&repo, &before).len() > 15);
    let (_, whole) = extents(&repo, &before).split_last().map(|(a, b)| (*a, b.to_vec())).unwrap();
    assert!(whole.iter().all(|extent| extent.len == 64 << 10));
    sql("update t set body = hex(randomblob(200)) where id = 2000;");
    ingest_tree(&repo, dir.path());
    let after = taken(&repo, dir.path(), "app.db");
    // The page of the row, and the first with the counter of changes.
    assert_eq!(new_extents(&repo, &before, &after), 2);
}

/// A heap of PostgreSQL, of noise with sound page headers.
fn heap(pages: usize) -> Vec<u8> {
    heap_of(noise(7, pages * 8192))
}

/// A heap of PostgreSQL that holds this.
fn heap_of(mut heap: Vec<u8>) -> Vec<u8> {
    for page in heap.chunks_exact_mut(8192) {
        for (at, field) in [(10, 4_u16), (12, 220), (14, 300), (16, 8192), (18, 0x2004)] {
            page[at..at + 2].copy_from_slice(&field.to_le_bytes());
        }
    }
    heap
}

#[test]
fn a_changed_page_of_postgres_is_one_new_chunk() {
    let dir = folder();
    let heap = heap(200);
    fs::write(dir.path().join("16384"), &heap).unwrap();
    let repo = repository();
    ingest_tree(&repo, dir.path());
    let before = taken(&repo, dir.path(), "16384");
    assert_eq!(class(&before), ChunkClass::Database);
    assert_eq!(extents(&repo, &before).len(), heap.len().div_ceil(64 * KIB));
    let file = File::options().write(true).open(dir.path().join("16384")).unwrap();
    file.write_all_at(&noise(8, 4000), 100 * 8192 + 1000).unwrap();
    ingest_tree(&repo, dir.path());
    let after = taken(&repo, dir.path(), "16384");
    assert_eq!(new_extents(&repo, &before, &after), 1);
}

/// One page of a database is read without most of its neighbours, and what the whole takes is known
/// without decoding it.
#[test]
fn blocks_of_databases_are_short() {
    let dir = folder();
    let words: Vec<u8> =
        (0_u32..).flat_map(|n| format!("row {n}\n").into_bytes()).take(8 * MIB).collect();
    fs::write(dir.path().join("16384"), heap_of(words.clone())).unwrap();
    fs::write(dir.path().join("words.txt"), &words).unwrap();
    let repo = repository();
    ingest_tree(&repo, dir.path());
    for (name, class_of, decoded) in
        [("16384", ChunkClass::Database, 128 * KIB), ("words.txt", ChunkClass::Default, 512 * KIB)]
    {
        let node = find(&repo, name).unwrap();
        assert_eq!(class(&node), class_of);
        let Body::File(file) = &node.body else { panic!("no file") };
        let (before, mut page) = (repo.read_counts(), [0; 10]);
        repo.read_at(file, 5 * MIB as u64, &mut page).unwrap();
        let after = repo.read_counts();
        let bytes = usize::try_from(after.block_bytes - before.block_bytes).unwrap();
        assert!(bytes <= decoded && bytes > decoded / 2, "{name}: {bytes} bytes were decoded");
        let stored = usize::try_from(repo.stored_len_of(file).unwrap()).unwrap();
        assert!(stored > 8 * MIB / 100 && stored < 8 * MIB / 2, "{name}: {stored}");
        if class_of == ChunkClass::Database {
            assert_eq!(repo.read_counts().block_bytes, after.block_bytes, "footers know");
        }
    }
}

/// A prune that keeps parts of blocks makes no long blocks of them.
#[test]
fn blocks_of_databases_stay_short_when_a_prune_writes_them_anew() {
    let dir = folder();
    let rows = (0_u32..).flat_map(|n| format!("row {n}\n").into_bytes()).take(8 * MIB).collect();
    let (path, mut heap) = (dir.path().join("16384"), heap_of(rows));
    fs::write(&path, &heap).unwrap();
    let repo = repository();
    let first = ingest_tree(&repo, dir.path()).snapshot.unwrap();
    // Of each two chunks, which are a block, one goes.
    for (n, chunk) in heap.chunks_mut(64 * KIB).enumerate().step_by(2) {
        chunk[8 * KIB - 4000..][..4000].copy_from_slice(&noise(n as u64, 4000));
        chunk[40 * KIB..][8000..8100].fill(n as u8);
    }
    fs::write(&path, &heap).unwrap();
    let without_deltas = IngestOptions { delta: false, ..options() };
    try_ingest(&repo, dir.path(), &without_deltas, &Silent).unwrap();
    let by = Marker { host: "h".into(), now: Time { secs: 1, nanos: 0 } };
    assert!(repo.forget(first, &by).unwrap());
    let (grace, go) = (Duration::ZERO, AtomicBool::new(false));
    let options = PruneOptions { grace, max_unused: 0.0, ..PruneOptions::default() };
    let mut rewritten = 0;
    for _ in 0..2 {
        let plan = prune::plan(&repo, &options, &go).unwrap();
        rewritten += prune::run(&repo, plan, &options, &Silent, &go).unwrap().rewritten.chunks;
    }
    assert_eq!(rewritten, 64, "half of the chunks");
    let node = find(&repo, "16384").unwrap();
    let Body::File(file) = &node.body else { panic!("no file") };
    for chunk in 0..128 {
        let (before, mut row) = (repo.read_counts(), [0; 10]);
        repo.read_at(file, chunk * 64 * KIB as u64 + 30_000, &mut row).unwrap();
        let bytes = repo.read_counts().block_bytes - before.block_bytes;
        assert!(bytes <= 128 * KIB as u64, "{chunk}: {bytes} bytes were decoded");
    }
    assert!(content(&repo, &node) == heap);
}

#[test]
fn cuts_of_a_sparse_database_keep_to_the_grid_and_holes_stay_holes() {
    let dir = folder();
    let sparse = File::create(dir.path().join("sparse.db")).unwrap();
    sparse.write_all_at(b"SQLite format 3\0\x10\0\x01\x01", 0).unwrap();
    sparse.write_all_at(&noise(1, 200 * KIB), 100 * KIB as u64).unwrap();
    sparse.set_len(4 * MIB as u64).unwrap();
    let full = fs::read(dir.path().join("sparse.db")).unwrap();
    fs::write(dir.path().join("full.db"), &full).unwrap();
    // btrfs has its signature behind what can be a hole.
    let image = File::create(dir.path().join("image")).unwrap();
    image.write_all_at(b"_BHRfS_M", 0x1_0040).unwrap();
    image.write_all_at(&noise(2, 100 * KIB), 9 * MIB as u64 + 4096).unwrap();
    image.set_len(16 * MIB as u64).unwrap();
    let repo = repository();
    ingest_tree(&repo, dir.path());
    for name in ["sparse.db", "full.db", "image"] {
        let node = taken(&repo, dir.path(), name);
        assert_eq!(class(&node), ChunkClass::Database, "{name}");
        let (mut at, mut inside) = (0, 0);
        for extent in extents(&repo, &node) {
            // Where no hole begins or ends there is a grid line.
            if !extent.is_hole() {
                assert!(at / (64 << 10) == (at + extent.len - 1) / (64 << 10), "{name}: {at}");
                inside += 1;
            }
            at += extent.len;
        }
        assert_eq!(at, fs::metadata(dir.path().join(name)).unwrap().len());
        assert_eq!(extents(&repo, &node).iter().any(Extent::is_hole), name != "full.db");
        assert!(inside >= 2);
    }
    let sparse = extents(&repo, &find(&repo, "sparse.db").unwrap());
    let full = extents(&repo, &find(&repo, "full.db").unwrap());
    let shared = sparse.iter().filter(|extent| full.contains(extent)).count();
    assert!(shared >= 2, "whole chunks of both are the same: {shared}");
}

/// A safetensors file of tensors with these names and lengths.
fn safetensors(tensors: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        let info = serde_json::json!({
            "dtype": "BF16", "shape": [bytes.len() / 2], "data_offsets": offsets,
        });
        header.insert((*name).to_owned(), info);
        data.extend_from_slice(bytes);
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

#[test]
fn a_tensor_that_is_added_before_others_moves_no_cut_of_theirs() {
    let dir = folder();
    let rest = [("b", noise(1, 3 * MIB + 10)), ("c", noise(2, 70_000)), ("d", noise(3, 2 * MIB))];
    let old = safetensors(&[&[("a", noise(4, 100_000))][..], &rest].concat());
    let new = [("0", noise(5, 30)), ("1", noise(6, 200_002)), ("a", noise(4, 100_000))];
    let new = safetensors(&[&new[..], &rest].concat());
    fs::write(dir.path().join("model.safetensors"), old).unwrap();
    let repo = repository();
    ingest_tree(&repo, dir.path());
    let before = taken(&repo, dir.path(), "model.safetensors");
    assert_eq!(class(&before), ChunkClass::Tensor);
    assert_eq!(extents(&repo, &before).len(), 1 + 1 + 4 + 1 + 2);
    fs::write(dir.path().join("model.safetensors"), new).unwrap();
    ingest_tree(&repo, dir.path());
    let after = taken(&repo, dir.path(), "model.safetensors");
    // The header, and what was added.
    assert_eq!(new_extents(&repo, &before, &after), 3);
    assert_eq!(extents(&repo, &after)[3..], extents(&repo, &before)[1..]);
}

#[test]
fn gguf_with_a_long_header_is_cut_at_its_tensors() {
    let dir = folder();
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    let string = |text: String| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    file.extend([2_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat());
    file.extend(string("tokenizer.ggml.tokens".into()));
    file.extend([9_u32.to_le_bytes(), 8_u32.to_le_bytes()].concat());
    file.extend(300_000_u64.to_le_bytes());
    (0..300_000).for_each(|word| file.extend(string(format!("a word, {word}"))));
    for (number, offset) in [0_u64, 1_500_000].into_iter().enumerate() {
        file.extend(string(format!("blk.{number}")));
        file.extend([1_u32.to_le_bytes().as_slice(), &750_000_u64.to_le_bytes()].concat());
        file.extend([1_u32.to_le_bytes().as_slice(), &(offset / 32 * 32).to_le_bytes()].concat());
    }
    assert!(file.len() > 4 * MIB, "more than one buffer");
    let start = file.len().next_multiple_of(32);
    file.resize(start, 0);
    file.extend(noise(1, 3_000_000));
    fs::write(dir.path().join("model"), &file).unwrap();
    let repo = repository();
    ingest_tree(&repo, dir.path());
    let node = taken(&repo, dir.path(), "model");
    assert_eq!(class(&node), ChunkClass::Tensor);
    let mut at = 0;
    let mut starts = Vec::new();
    for extent in extents(&repo, &node) {
        starts.push(at);
        at += extent.len as usize;
    }
    let second = start + 1_500_000 / 32 * 32;
    let expected = [start, start + MIB, second, second + MIB];
    assert!(starts.ends_with(&expected), "{starts:?}, not {expected:?}");
}

#[test]
fn whatever_a_header_claims_the_file_comes_back() {
    let dir = folder();
    let put = |name: &str, head: &[u8], len: usize| {
        let mut file = File::create(dir.path().join(name)).unwrap();
        file.write_all(head).unwrap();
        file.write_all(&noise(3, len)).unwrap();
    };
    let json = |len: u64, json: &str| [&len.to_le_bytes()[..], json.as_bytes()].concat();
    let overlapping = r#"{"a":{"dtype":"F32","data_offsets":[0,9000]},"b":{"dtype":"F32","data_offsets":[1,9000]}}"#;
    let negative = r#"{"a":{"dtype":"F32","data_offsets":[-5,9000]}}"#;
    let deep = format!("{{\"a\":{}", "[".repeat(60_000));
    put("overlapping.safetensors", &json(overlapping.len() as u64, overlapping), 9000);
    put("negative.safetensors", &json(negative.len() as u64, negative), 9000);
    put("deep.safetensors", &json(90_000, &deep), 200_000);
    put("endless.safetensors", &json(99_999_999, "{"), 200_000);
    put("huge.safetensors", &json(u64::MAX, "{"), 200_000);
    put("longer-than-a-buffer.safetensors", &json(5 * MIB as u64, "{"), 6 * MIB);
    put("endless.gguf", b"GGUF\x03\0\0\0\xff\xff\xff\xff\xff\xff\xff\x7f\0\0\0\0\0\0\0\0", 200_000);
    put(
        "long-key.gguf",
        b"GGUF\x02\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\xff\xff\x02\0",
        200_000,
    );
    put("array.npy", b"\x93NUMPY\x02\0\xff\xff\xff\xff", 200_000);
    put("weights.zip", b"PK\x03\x04\0\0\0\0\x08\0", 200_000);
    let repo = repository();
    let report = ingest_tree(&repo, dir.path());
    assert_eq!(report.troubles_count, 0);
    for entry in fs::read_dir(dir.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert_eq!(class(&taken(&repo, dir.path(), &name)), ChunkClass::Default, "{name}");
    }
}

#[test]
fn a_choice_overrides_what_files_are() {
    let dir = folder();
    fs::write(dir.path().join("16384"), heap(40)).unwrap();
    fs::write(dir.path().join("m"), safetensors(&[("a", noise(1, 2 * MIB)), ("b", noise(2, MIB))]))
        .unwrap();
    let repo = repository();
    use ChunkClass::{Database, Default, Tensor};
    for (chunker, classes, counts) in [
        (ChunkerChoice::Auto, [Database, Tensor], [Some(5), Some(4)]),
        (ChunkerChoice::ContentDefined, [Default, Default], [None, None]),
        (ChunkerChoice::Fixed(Some(32 << 10)), [Database, Database], [Some(10), Some(97)]),
        (ChunkerChoice::Fixed(None), [Database, Database], [Some(5), Some(49)]),
        (ChunkerChoice::Database, [Database, Database], [Some(5), Some(49)]),
        (ChunkerChoice::Tensor, [Tensor, Tensor], [Some(1), Some(4)]),
    ] {
        let options = IngestOptions { chunker, force: true, ..options() };
        try_ingest(&repo, dir.path(), &options, &Silent).unwrap();
        for ((name, class_expected), count) in ["16384", "m"].into_iter().zip(classes).zip(counts) {
            let node = taken(&repo, dir.path(), name);
            assert_eq!(class(&node), class_expected, "{chunker:?}: {name}");
            let chunks = extents(&repo, &node).len();
            assert!(count.is_none_or(|count| count == chunks), "{chunker:?}: {name}: {chunks}");
        }
    }
}

/// Runs icecore on the repository of that name.
fn json(sandbox: &Sandbox, repository: &str, arguments: &[&str]) -> Value {
    let mut command = sandbox.icecore();
    let output = command.args(["--json", "-r", repository]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn chunk_sizes_of_a_repository_are_those_of_its_init() {
    let sandbox = Sandbox::plain();
    let source = sandbox.folder("source");
    fs::write(source.join("noise"), noise(1, 16 * MIB)).unwrap();
    for (size, least, most) in [("8K", 4 * KIB, 16 * KIB), ("1MiB", 512 * KIB, 2 * MIB)] {
        sandbox.icecore().args(["init", "--plain", "--chunk-size", size, size]).assert().success();
        json(&sandbox, size, &["ingest", "source"]);
        let chunks = json(&sandbox, size, &["stats"])["data_chunks"]["count"].as_u64().unwrap();
        let average = 16 * MIB / chunks as usize;
        assert!((least..most).contains(&average), "{size}: {average}");
    }
    for (size, said) in [
        ("4095", "chunks of 4095 on average are not possible: 4.0 KiB to 4.0 MiB"),
        ("4097K", "chunks of 4097K on average are not possible"),
        ("8T", "chunks of 8T on average are not possible"),
        ("small", "is not a size"),
    ] {
        let output =
            sandbox.icecore().args(["init", "--chunk-size", size, "new"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(said), "{error}");
        assert!(!sandbox.path().join("new").exists());
    }
}

#[test]
fn stats_tell_files_by_class() {
    let sandbox = Sandbox::plain();
    let source = sandbox.folder("source");
    fs::create_dir(source.join("below")).unwrap();
    fs::write(source.join("16384"), heap(20)).unwrap();
    fs::write(source.join("below/m"), safetensors(&[("a", noise(1, MIB))])).unwrap();
    fs::write(source.join("below/text"), "some text ".repeat(9000)).unwrap();
    fs::write(source.join("tiny"), "tiny").unwrap();
    sandbox.icecore().args(["init", "--plain", "r"]).assert().success();
    for _ in 0..2 {
        json(&sandbox, "r", &["ingest", "-C", "source", "."]);
    }
    let sum = |files: u64, each: u64| serde_json::json!({ "files": files, "size": files * each, "data": files * each });
    let model = fs::metadata(source.join("below/m")).unwrap().len();
    let classes = &json(&sandbox, "r", &["stats"])["classes"];
    assert_eq!(classes["database"], sum(2, 20 * 8192));
    assert_eq!(classes["tensor"], sum(2, model));
    assert_eq!(classes["default"], sum(2, 90_000));
    assert_eq!(classes["inline"], sum(2, 4));
    assert_eq!(classes["large"], sum(0, 0));
    let below = &json(&sandbox, "r", &["stats", "latest:/below"])["classes"];
    assert_eq!((&below["tensor"], &below["database"]), (&sum(1, model), &sum(0, 0)));
    assert_eq!(json(&sandbox, "r", &["stats", "latest:/16384"])["classes"]["database"]["files"], 1);
    let output = sandbox.icecore().args(["-r", "r", "stats"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("database class      320.0 KiB in 2 files\n"), "{text}");
    assert!(!text.contains("large class"), "{text}");
    // Asked for on the command line, another class is recorded.
    json(&sandbox, "r", &["ingest", "-f", "--chunker", "fixed:32K", "-C", "source", "."]);
    let classes = &json(&sandbox, "r", &["stats", "latest"])["classes"];
    assert_eq!(classes["database"]["files"], 3);
    sandbox.icecore().args(["-r", "r", "ingest", "--chunker", "fixed:1", "."]).assert().code(2);
}
