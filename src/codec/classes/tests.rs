//! What is recognised, where it is cut, and that nothing hostile does worse than the default class.

use proptest::prelude::*;

use super::*;
use crate::codec::Element;
use crate::codec::{Chunker, Cutter, ReadChunks};

/// Decides with no more bytes at hand than were asked for.
fn layout(content: &[u8], name: &str, size: u64) -> Layout {
    let mut len = SNIFF_LEN;
    loop {
        let first = content.get(..len).unwrap_or(content);
        match sniff(first, name.as_bytes(), size) {
            Sniffed::Layout(layout) => {
                let all = sniff(content, name.as_bytes(), size);
                assert_eq!(all, Sniffed::Layout(layout.clone()), "{name}: more bytes at hand");
                return layout;
            }
            Sniffed::More(more) => {
                assert!(more > first.len() && more <= HEADER_MAX && more as u64 <= size);
                if len > content.len() {
                    return Layout::Default;
                }
                len = more;
            }
        }
    }
}

fn class(content: &[u8], name: &str) -> ChunkClass {
    layout(content, name, content.len() as u64).class()
}

fn put(content: &mut [u8], at: usize, bytes: &[u8]) {
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

fn with(len: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut content = vec![0; len];
    for (at, bytes) in parts {
        put(&mut content, *at, bytes);
    }
    content
}

fn postgres_page(lower: u16, upper: u16, special: u16) -> Vec<u8> {
    let mut page = vec![0xab; 8192];
    for (at, field) in [(10, 0), (12, lower), (14, upper), (16, special), (18, 0x2004)] {
        put(&mut page, at, &u16::to_le_bytes(field));
    }
    page
}

#[test]
fn page_files_are_told_by_their_signatures() {
    const IMAGE: usize = 16 << 20;
    let paged: [(&str, Vec<u8>); 13] = [
        ("app.db", with(4096, &[(0, b"SQLite format 3\0")])),
        ("data.mdb", with(8192, &[(16, b"\xde\xc0\xef\xbe\x01\0\0\0")])),
        ("db", with(8192, &[(16, b"\xed\xda\x0c\xed\x02\0\0\0")])),
        ("a.duckdb", with(12288, &[(8, b"DUCK")])),
        ("t.ibd", with(16384, &[(25, &[8]), (34, &[0, 0, 1, 2]), (38, &[0, 0, 1, 2])])),
        ("vm.qcow2", with(70_000, &[(0, b"QFI\xfb")])),
        ("vm.vdi", with(70_000, &[(64, b"\x7f\x10\xda\xbe")])),
        ("disk", with(IMAGE, &[(510, b"\x55\xaa")])),
        ("root.ext4", with(IMAGE, &[(1080, b"\x53\xef")])),
        ("home.img", with(IMAGE, &[(0x1_0040, b"_BHRfS_M")])),
        ("16384", postgres_page(28, 8000, 8192)),
        ("16385.1", [vec![0; 8192], postgres_page(24, 8176, 8176), vec![0; 8192]].concat()),
        ("16386", postgres_page(24, 24, 8192).repeat(20)),
    ];
    for (name, content) in paged {
        assert_eq!(class(&content, name), ChunkClass::Database, "{name}");
    }
    let others: [(&str, Vec<u8>); 9] = [
        ("zeroes", vec![0; 81_920]),
        ("16384", [postgres_page(28, 8000, 8192), vec![1]].concat()),
        ("16384", [postgres_page(28, 8000, 8192), vec![7; 8192]].concat()),
        ("16384", postgres_page(28, 20, 8192)),
        ("16384", postgres_page(28, 8000, 8200)),
        ("disk", with(IMAGE - 512, &[(510, b"\x55\xaa")])),
        ("disk", with(IMAGE + 1, &[(510, b"\x55\xaa")])),
        ("t.frm", with(16384, &[(25, &[8]), (34, &[0, 0, 1, 2]), (38, &[0, 0, 1, 2])])),
        ("t.ibd", with(16384, &[(25, &[8]), (34, &[0, 0, 1, 2]), (38, &[0, 0, 1, 3])])),
    ];
    for (name, content) in others {
        assert_eq!(class(&content, name), ChunkClass::Default, "{name}");
    }
}

fn zip(method: u16, member: &[u8]) -> Vec<u8> {
    let (method, len) = (method.to_le_bytes(), (member.len() as u16).to_le_bytes());
    with(200, &[(0, b"PK\x03\x04"), (8, &method), (26, &len), (30, member)])
}

#[test]
fn packaging_and_names_tell_weights_and_media() {
    const BIG: u64 = 2 << 30;
    const MIDDLE: u64 = 16 << 20;
    for (content, name, size, expected) in [
        (zip(0, b"archive/data.pkl"), "state", 200, ChunkClass::Tensor),
        (zip(0, b".format_version"), "model.PT", 200, ChunkClass::Tensor),
        (zip(0, b"arr_0.npy"), "a.npz", BIG, ChunkClass::Tensor),
        (zip(8, b"arr_0.npy"), "a.npz", BIG, ChunkClass::Large),
        (zip(8, b"arr_0.npy"), "a.npz", BIG / 2 - 1, ChunkClass::Default),
        (zip(0, b"word/document.xml"), "a.docx", 200, ChunkClass::Default),
        (vec![8; 99], "model.onnx", MIDDLE, ChunkClass::Tensor),
        (vec![8; 99], "model.onnx", MIDDLE - 1, ChunkClass::Default),
        (vec![8; 99], "Model-v2.bin", MIDDLE, ChunkClass::Tensor),
        (vec![8; 99], "firmware.bin", BIG, ChunkClass::Default),
        (vec![8; 99], "pt", BIG, ChunkClass::Default),
        (b"\x1f\x8b\x08....".to_vec(), "a.gz", BIG, ChunkClass::Large),
        (b"\0\0\0\x20ftypisom".to_vec(), "film", BIG, ChunkClass::Large),
        (b"plain words".to_vec(), "log", BIG, ChunkClass::Default),
        (Vec::new(), "", 0, ChunkClass::Default),
    ] {
        assert_eq!(layout(&content, name, size).class(), expected, "{name}");
    }
}

fn safetensors(json: &str, data: usize) -> Vec<u8> {
    let len = (json.len() as u64).to_le_bytes();
    [&len[..], json.as_bytes(), &vec![5; data]].concat()
}

fn cuts(content: &[u8], map: TensorMap) -> Vec<u64> {
    let (cutter, mut at, mut cuts) = (Cutter::Tensors(map), 0, Vec::new());
    while at < content.len() {
        at += cutter.next_cut(&content[at..], true, at as u64);
        cuts.push(at as u64);
    }
    cuts
}

#[test]
fn safetensors_are_cut_at_their_tensors() {
    let json = format!(
        r#"{{"__metadata__":{{"format":"pt","a":"b"}},
            "b\u0061":{{"dtype":"F32","shape":[2],"data_offsets":[{0},{1}]}},
            "a":{{"dtype":"BF16","shape":[1,2],"data_offsets":[0,{0}],"new":[{{}}]}},
            "empty":{{"dtype":"I64","shape":[0],"data_offsets":[{0},{0}]}}}}    "#,
        1_500_000,
        1_500_000 + 65_536,
    );
    let content = safetensors(&json, 1_500_000 + 65_536);
    let Layout::Tensor(map) = layout(&content, "any", content.len() as u64) else { panic!() };
    let start = 8 + json.len() as u64;
    assert_eq!(map.element_at(0), None);
    assert_eq!(map.element_at(start + (1 << 20)), Some(Element::F16));
    assert_eq!(map.element_at(start + 1_500_000), Some(Element::F32));
    let expected = [start, start + (1 << 20), start + 1_500_000, content.len() as u64];
    assert_eq!(cuts(&content, map), expected);
}

#[test]
fn odd_safetensors_are_of_the_default_class() {
    let tensor = |begin: i64, end: i64| {
        format!(r#"{{"dtype":"F32","shape":[1],"data_offsets":[{begin},{end}]}}"#)
    };
    let whole = safetensors(&format!(r#"{{"a":{}}}"#, tensor(0, 100)), 100);
    assert_eq!(class(&whole, "a"), ChunkClass::Tensor);
    for (what, json) in [
        ("overlap", format!(r#"{{"a":{},"b":{}}}"#, tensor(0, 60), tensor(50, 100))),
        ("gap", format!(r#"{{"a":{},"b":{}}}"#, tensor(0, 40), tensor(50, 100))),
        ("gap at the start", format!(r#"{{"a":{}}}"#, tensor(1, 100))),
        ("too short", format!(r#"{{"a":{}}}"#, tensor(0, 99))),
        ("too long", format!(r#"{{"a":{}}}"#, tensor(0, 101))),
        ("backwards", format!(r#"{{"a":{},"b":{}}}"#, tensor(0, 100), tensor(100, 0))),
        ("negative", format!(r#"{{"a":{}}}"#, tensor(-1, 100))),
        ("huge", r#"{"a":{"dtype":"F32","data_offsets":[0,99999999999999999999]}}"#.into()),
        ("no offsets", r#"{"a":{"dtype":"F32"}}"#.into()),
        ("three offsets", r#"{"a":{"dtype":"F32","data_offsets":[0,1,100]}}"#.into()),
        ("a number for a type", r#"{"a":{"dtype":4,"data_offsets":[0,100]}}"#.into()),
        ("no tensor", r#"{"a":7}"#.into()),
        ("cut short", r#"{"a":{"dtype":"F32","data_offsets":[0,100]}"#.into()),
        ("trailing words", format!(r#"{{"a":{}}} x"#, tensor(0, 100))),
        ("deep", format!(r#"{{"__metadata__":{}{}}}"#, "[".repeat(9999), "]".repeat(9999))),
        ("not text", "{\"\\ud800\":1}".into()),
    ] {
        assert_eq!(class(&safetensors(&json, 100), "a.safetensors"), ChunkClass::Default, "{what}");
    }
    for len in [0, 1, whole.len() as u64, 100_000_001, u64::MAX] {
        let mut content = whole.clone();
        put(&mut content, 0, &len.to_le_bytes());
        assert_eq!(class(&content, "a.safetensors"), ChunkClass::Default, "{len}");
    }
    assert_eq!(class(&whole[..whole.len() - 1], "a"), ChunkClass::Default);
}

#[test]
fn a_header_longer_than_is_looked_into_leaves_a_grid() {
    let mut content = vec![b' '; SNIFF_LEN];
    put(&mut content, 0, &(HEADER_MAX as u64).to_le_bytes());
    content[8] = b'{';
    let grid = Layout::Tensor(TensorMap::default());
    assert_eq!(layout(&content, "a", 1 << 40), grid);
    put(&mut content, 0, &(HEADER_MAX as u64 - 8).to_le_bytes());
    assert_eq!(sniff(&content, b"a", 1 << 40), Sniffed::More(HEADER_MAX));
    assert_eq!(sniff(&content, b"a", 1 << 20), Sniffed::Layout(Layout::Default));
}

fn gguf_string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

fn gguf(pairs: &[(&str, u32, Vec<u8>)], tensors: &[(u32, u64)]) -> Vec<u8> {
    let mut header = b"GGUF\x03\0\0\0".to_vec();
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend((pairs.len() as u64).to_le_bytes());
    for (key, kind, value) in pairs {
        header.extend(gguf_string(key.as_bytes()));
        header.extend(kind.to_le_bytes());
        header.extend(value);
    }
    for (number, (kind, offset)) in tensors.iter().enumerate() {
        header.extend(gguf_string(format!("blk.{number}.weight").as_bytes()));
        header.extend(2_u32.to_le_bytes());
        header.extend([7_u64.to_le_bytes(), 9_u64.to_le_bytes()].concat());
        header.extend(kind.to_le_bytes());
        header.extend(offset.to_le_bytes());
    }
    header
}

/// A tokenizer of so many words, as an array of strings.
fn words(count: u64) -> Vec<u8> {
    let mut array = [&8_u32.to_le_bytes()[..], &count.to_le_bytes()].concat();
    (0..count).for_each(|word| array.extend(gguf_string(format!("word {word}").as_bytes())));
    array
}

#[test]
fn gguf_is_cut_at_its_tensors() {
    for vocabulary in [3, 50_000] {
        let nested = [&9_u32.to_le_bytes()[..], &1_u64.to_le_bytes(), &words(2)].concat();
        let pairs = [
            ("tokens", 9, words(vocabulary)),
            ("general.alignment", 4, 64_u32.to_le_bytes().to_vec()),
            ("name", 8, gguf_string(b"a model")),
            ("flag", 7, vec![1]),
            ("nested", 9, nested),
        ];
        let mut content = gguf(&pairs, &[(1, 640_000), (12, 0), (28, 2 * 640_000)]);
        let start = (content.len() as u64).next_multiple_of(64);
        content.resize(start as usize + 3 * 640_000, 9);
        let Layout::Tensor(map) = layout(&content, "m", content.len() as u64) else { panic!() };
        assert_eq!(map.element_at(start), None);
        assert_eq!(map.element_at(start + 640_000), Some(Element::F16));
        assert_eq!(map.element_at(start + 2 * 640_000), Some(Element::F64));
        let ends = [640_000, 2 * 640_000, 3 * 640_000].map(|end| start + end);
        let cuts = cuts(&content, map);
        assert!(cuts.ends_with(&ends) && cuts.contains(&start), "{cuts:?}");
        assert!(cuts.len() <= 5, "{cuts:?}");
    }
}

#[test]
fn odd_gguf_is_of_the_default_class() {
    let u32 = |value: u32| value.to_le_bytes().to_vec();
    let array = |kind: u32, count: u64| [u32(kind), count.to_le_bytes().to_vec()].concat();
    let deep: Vec<u8> = (0..1000).flat_map(|_| array(9, 1)).collect();
    let padded = |mut content: Vec<u8>| {
        content.resize(content.len() + 4096, 0);
        content
    };
    let plain = padded(gguf(&[("a", 4, u32(1))], &[(0, 32)]));
    assert_eq!(class(&plain, "m"), ChunkClass::Tensor);
    let changed = |at: usize, bytes: &[u8]| {
        let mut content = plain.clone();
        put(&mut content, at, bytes);
        content
    };
    for (what, content) in [
        ("version 1", changed(4, &[1])),
        ("big-endian", changed(4, &[0, 0, 0, 3])),
        ("many tensors", changed(8, &[0xff; 8])),
        ("many pairs", changed(16, &[0xff; 8])),
        ("long key", changed(24, &[0xff; 8])),
        ("no such type", padded(gguf(&[("a", 13, u32(1))], &[]))),
        ("array of a billion", padded(gguf(&[("a", 9, array(0, 1 << 60))], &[]))),
        ("array of more than there are", padded(gguf(&[("a", 9, array(12, u64::MAX))], &[]))),
        ("strings without end", padded(gguf(&[("a", 9, array(8, u64::MAX))], &[]))),
        ("arrays in arrays", padded(gguf(&[("a", 9, deep)], &[]))),
        ("alignment 0", padded(gguf(&[("general.alignment", 4, u32(0))], &[]))),
        ("alignment 48", padded(gguf(&[("general.alignment", 4, u32(48))], &[]))),
        ("alignment of 2 GiB", padded(gguf(&[("general.alignment", 4, u32(1 << 31))], &[]))),
        ("unaligned tensor", padded(gguf(&[], &[(0, 33)]))),
        ("tensor beyond the end", padded(gguf(&[], &[(0, 1 << 40)]))),
        ("cut short", plain[..60].to_vec()),
    ] {
        assert_eq!(class(&content, "m.gguf"), ChunkClass::Default, "{what}");
    }
}

#[test]
fn npy_is_cut_after_its_header() {
    let header = |descr: &str| {
        let words = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (9,), }}");
        let words = format!("{words:<117}\n");
        [b"\x93NUMPY\x01\0\x76\0", words.as_bytes(), &[1; 3_000_000]].concat()
    };
    for (descr, element) in [
        ("'<f2'", Some(Element::F16)),
        ("'<f4'", Some(Element::F32)),
        ("'<f8'", Some(Element::F64)),
        ("'|u1'", None),
        ("[('a', '<f4')]", None),
    ] {
        let content = header(descr);
        let Layout::Tensor(map) = layout(&content, "x", content.len() as u64) else { panic!() };
        assert_eq!(map.element_at(128), element, "{descr}");
        let expected = [128, 128 + (1 << 20), 128 + (2 << 20), content.len() as u64];
        assert_eq!(cuts(&content, map), expected);
    }
    let mut cut_short = header("'<f4'");
    cut_short.truncate(100);
    assert_eq!(class(&cut_short, "a.npy"), ChunkClass::Default);
}

/// The map of a long stream is that of the same bytes as a file.
#[test]
fn streams_are_of_the_class_that_files_would_be() {
    let stream = |content: &[u8], name: &str| layout(content, name, UNSIZED);
    let json = r#"{"a":{"dtype":"F32","shape":[50000],"data_offsets":[0,200000]}}"#;
    let content = safetensors(json, 200_000);
    let of_file = layout(&content, "a", content.len() as u64);
    assert!(matches!(of_file, Layout::Tensor(_)));
    assert_eq!(stream(&content, "a"), of_file);
    let beyond = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,5000000000000000000]}}"#;
    assert_eq!(stream(&safetensors(beyond, 200_000), "a"), Layout::Default);
    let mut model = gguf(&[], &[(1, 0), (0, 640_000)]);
    model.resize(model.len().next_multiple_of(32) + 2 * 640_000, 9);
    let of_file = layout(&model, "a", model.len() as u64);
    assert_eq!((stream(&model, "a"), of_file.class()), (of_file, ChunkClass::Tensor));

    let pages: Vec<u8> = (0..9).flat_map(|_| postgres_page(40, 8000, 8192)).collect();
    let image = with(100_000, &[(510, b"\x55\xaa")]);
    let gzip = with(100_000, &[(0, b"\x1f\x8b\x08")]);
    let text = b"COPY public.orders FROM stdin;\n".repeat(4000);
    for (content, name, class) in [
        (&pages, "16384", ChunkClass::Database),
        (&image, "sda", ChunkClass::Database),
        (&gzip, "db.sql.gz", ChunkClass::Large),
        (&text, "model.onnx", ChunkClass::Tensor),
        (&text, "db.sql", ChunkClass::Default),
    ] {
        assert_eq!(stream(content, name).class(), class, "{name}");
    }
}

/// Bytes that begin like something that is looked into.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let seeds = [
        &b""[..],
        b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0",
        b"\x93NUMPY\x01\0",
        b"SQLite format 3\0",
        b"PK\x03\x04",
        b"\x20\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,",
    ];
    (0..seeds.len(), prop::collection::vec(any::<u8>(), 0..400)).prop_map(move |(seed, tail)| {
        [seeds.get(seed).copied().unwrap_or_default(), &tail].concat()
    })
}

proptest! {
    #[test]
    fn whatever_a_header_says_chunks_add_up_to_the_content(
        head in heads(),
        zeroes in 0_usize..200_000,
        name in prop::sample::select(vec!["a", "a.pt", "model.bin", "a.ibd", "a.npz"]),
        is_stream: bool,
    ) {
        let content = [head, vec![0; zeroes]].concat();
        let size = match content.len() {
            SNIFF_LEN.. if is_stream => UNSIZED,
            len => len as u64,
        };
        let cutter = match layout(&content, name, size) {
            Layout::Default => Cutter::ContentDefined(Chunker::new(Chunking::DEFAULT, 0)),
            Layout::Large => Cutter::ContentDefined(Chunker::new(large(Chunking::DEFAULT), 0)),
            Layout::Database => Cutter::Fixed(DATABASE_CHUNK),
            Layout::Tensor(map) => Cutter::Tensors(map),
        };
        let mut chunks = ReadChunks::new(content.as_slice());
        let mut whole = Vec::new();
        while let Some(chunk) = chunks.next_chunk(&cutter).unwrap() {
            prop_assert!(chunk.len() <= cutter.max());
            whole.extend_from_slice(chunk);
        }
        prop_assert!(whole == content);
    }

    /// Any map of tensors: each chunk ends at a tensor, a grid line or the end.
    #[test]
    fn chunks_of_safetensors_begin_and_end_with_tensors(
        lens in prop::collection::vec(prop_oneof![0_u64..200, 1000_u64..400_000], 0..40),
    ) {
        let (mut json, mut at, mut starts) = (String::from("{"), 0, vec![0]);
        for (number, len) in lens.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let end = at + len;
            json += &format!(r#"{comma}"{number}":{{"dtype":"F16","data_offsets":[{at},{end}]}}"#);
            at = end;
            starts.push(at);
        }
        json.push('}');
        let content = safetensors(&json, at as usize);
        let laid_out = layout(&content, "m", content.len() as u64);
        let Layout::Tensor(map) = laid_out else { panic!("{laid_out:?}") };
        let data = 8 + json.len() as u64;
        let ends = cuts(&content, map);
        for (number, &end) in ends.iter().enumerate() {
            let start = number.checked_sub(1).map_or(0, |before| ends[before]);
            let whole = end - start == TENSOR_CHUNK;
            prop_assert!(whole || starts.contains(&(end.wrapping_sub(data))), "{start}..{end}");
        }
    }
}
