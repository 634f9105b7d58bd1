//! The first bytes of files that are ingested: whoever can write a file chooses them.
//!
//! What is asserted is what the classes promise: the same decision however many bytes were at hand,
//! never more bytes asked for than a header may have, and cuts that go on whatever the header says.

use std::path::Path;

use icecore::codec::classes::{
    self, DATABASE_CHUNK, HEADER_MAX, SNIFF_LEN, Sniffed, TENSOR_CHUNK, TensorMap, UNSIZED,
};
use icecore::codec::{Chunker, Cutter, Layout};
use icecore::format::Chunking;

/// A name of each kind that decides something.
const NAMES: [&[u8]; 8] =
    [b"a", b"a.pt", b"model.bin", b"a.npz", b"a.ibd", b"ibdata1", b"a.onnx", b"."];
/// Bytes that are at hand at most.
const AT_HAND: usize = SNIFF_LEN + (16 << 10);
/// Cuts that are followed.
const CUTS: usize = 64;

/// An input is a size, the number of a name, and first bytes, which zeroes follow.
pub fn check(data: &[u8]) {
    let Some((size, data)) = crate::context(data) else { return };
    let Some((&name, first)) = data.split_first() else { return };
    let name = NAMES[usize::from(name) % NAMES.len()];
    let mut content = first[..first.len().min(AT_HAND)].to_vec();
    for size in [size, content.len() as u64, UNSIZED] {
        let size = size.max(content.len() as u64);
        content.resize(usize::try_from(size).unwrap_or(AT_HAND).min(AT_HAND), 0);
        if let Some(layout) = decide(&content, name, size) {
            cut(&content, layout, size);
        }
        content.truncate(first.len());
    }
}

/// The decision, unless it takes more bytes than there are.
fn decide(content: &[u8], name: &[u8], size: u64) -> Option<Layout> {
    let first = &content[..content.len().min(SNIFF_LEN)];
    let asked = match classes::sniff(first, name, size) {
        Sniffed::Layout(layout) => {
            let all = classes::sniff(content, name, size);
            assert_eq!(all, Sniffed::Layout(layout.clone()), "with more bytes at hand");
            return Some(layout);
        }
        Sniffed::More(asked) => asked,
    };
    assert!(asked > first.len() && asked <= HEADER_MAX && asked as u64 <= size);
    match classes::sniff(content, name, size) {
        Sniffed::Layout(layout) => Some(layout),
        Sniffed::More(asked) => {
            assert!(asked > content.len() && asked <= HEADER_MAX && asked as u64 <= size);
            None
        }
    }
}

/// Cuts at the content's start, and around any offset that a file may have.
fn cut(content: &[u8], layout: Layout, size: u64) {
    let cutter = match layout {
        Layout::Default => Cutter::ContentDefined(Chunker::new(Chunking::DEFAULT, 0)),
        Layout::Large => Cutter::ContentDefined(Chunker::new(classes::large(Chunking::DEFAULT), 0)),
        Layout::Database => Cutter::Fixed(DATABASE_CHUNK),
        Layout::Tensor(map) => {
            around(&map, size);
            Cutter::Tensors(map)
        }
    };
    let (mut at, mut count) = (0, 0);
    while at < content.len() && count < CUTS {
        let len = cutter.next_cut(&content[at..], true, at as u64);
        assert!((1..=cutter.max()).contains(&len) && at + len <= content.len());
        (at, count) = (at + len, count + 1);
    }
}

fn around(map: &TensorMap, size: u64) {
    let (mut at, mut cuts) = (0, 0);
    while at < size && cuts < CUTS {
        let len = map.until_cut(at);
        assert!((1..=TENSOR_CHUNK).contains(&len));
        // What a chunk holds is the same to its end: a region never begins inside.
        assert_eq!(map.element_at(at), map.element_at(at + (len - 1)));
        (at, cuts) = (at + len, cuts + 1);
    }
    for at in [size / 2, size.saturating_sub(1), size, u64::MAX - 1, u64::MAX] {
        assert!((1..=TENSOR_CHUNK).contains(&map.until_cut(at)));
        let _ = map.element_at(at);
    }
}

/// Writes beginnings of each kind into the folder that `ICECORE_FUZZ_SEEDS` names.
///
/// # Panics
/// Where the folder cannot be written.
pub fn write_seeds() {
    let Some(folder) = std::env::var_os("ICECORE_FUZZ_SEEDS") else { return };
    for (number, (name, first)) in seeds().into_iter().enumerate() {
        let path = Path::new(&folder).join(format!("seed-{number}"));
        let size = if number % 2 == 0 { first.len() as u64 } else { 1 << 30 };
        let bytes = [&size.to_le_bytes()[..], &[name], &first].concat();
        std::fs::write(&path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

/// Numbers of names, and first bytes, each twice: as all of a file, and as the start of a long one.
fn seeds() -> Vec<(u8, Vec<u8>)> {
    let json = r#"{"__metadata__":{"format":"pt"},
        "a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},
        "b":{"dtype":"BF16","shape":[2],"data_offsets":[16,20]}}"#;
    let safetensors = [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &[7; 20]].concat();
    let words = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }          \n";
    let npy =
        [&b"\x93NUMPY\x01\0"[..], &(words.len() as u16).to_le_bytes(), words, &[1; 8]].concat();
    let at = |offset: usize, magic: &[u8]| [&vec![0; offset][..], magic, &[0; 512]].concat();
    let mut postgres = vec![0; 8192];
    for (offset, value) in [(12, 40_u16), (14, 8000), (16, 8192), (18, 0x2004)] {
        postgres[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
    }
    let mut innodb = vec![0; 4096];
    innodb[25] = 8;
    let mut zip = b"PK\x03\x04\x14\0\0\0\0\0".to_vec();
    zip.resize(26, 0);
    zip.extend_from_slice(b"\x08\0\0\0data.npy\x93NUMPY");
    let long = [&(HEADER_MAX as u64).to_le_bytes()[..], b"{\"a\":"].concat();
    let kinds = [
        (0, safetensors),
        (0, long),
        (0, gguf()),
        (0, npy),
        (3, zip),
        (0, b"SQLite format 3\0\x10\0\x01\x01\0\x40\x20\x20".to_vec()),
        (0, postgres),
        (4, innodb),
        (0, at(16, b"\xde\xc0\xef\xbe\x01\0\0\0")),
        (0, at(510, b"\x55\xaaEFI PART")),
        (0, at(1080, b"\x53\xef")),
        (0, at(0x1_0040, b"_BHRfS_M")),
        (2, b"\x1f\x8b\x08".to_vec()),
        (6, b"\x08\x07\x12\x07pytorch".to_vec()),
    ];
    kinds.into_iter().flat_map(|seed| [seed.clone(), seed]).collect()
}

/// A word, an array of words, an alignment, and two tensors.
fn gguf() -> Vec<u8> {
    let text = |text: &[u8]| [&(text.len() as u64).to_le_bytes()[..], text].concat();
    let number = |number: u32| number.to_le_bytes().to_vec();
    let tensor = |name: &[u8], kind: u32, offset: u64| {
        let dimensions = [number(1), 4_u64.to_le_bytes().to_vec()].concat();
        [text(name), dimensions, number(kind), offset.to_le_bytes().to_vec()].concat()
    };
    let array = [number(9), number(8), 1_u64.to_le_bytes().to_vec(), text(b"word")].concat();
    let header = [
        b"GGUF\x03\0\0\0".to_vec(),
        2_u64.to_le_bytes().to_vec(),
        2_u64.to_le_bytes().to_vec(),
        [text(b"tokens"), array].concat(),
        [text(b"general.alignment"), number(4), number(32)].concat(),
        tensor(b"a", 0, 0),
        tensor(b"b", 1, 32),
    ];
    let mut bytes = header.concat();
    bytes.resize(bytes.len().next_multiple_of(32) + 64, 3);
    bytes
}
