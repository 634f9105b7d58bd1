use std::fs;
use std::io::Write;

use super::*;
use proptest::prelude::*;

fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::File::create(&path).unwrap().write_all(bytes).unwrap();
    (folder, path)
}

fn judged(name: &str, bytes: &[u8]) -> Result<(), String> {
    let (_folder, path) = file(name, bytes);
    check_file(&path)
}

fn weights(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 7);
    bytes
}

const HEADER: &str = r#"{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#;

fn gguf_bytes(tensors: u64) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend_from_slice(&3_u32.to_le_bytes());
    bytes.extend_from_slice(&tensors.to_le_bytes());
    bytes.extend_from_slice(&0_u64.to_le_bytes());
    bytes.resize(256, 0);
    bytes
}

#[test]
fn whole_files_pass() {
    judged("a.safetensors", &weights(HEADER, 16)).unwrap();
    judged("a.json", b" {\"a\": [1, null]}\n").unwrap();
    judged("a.jsonl", b"{}\n\n[1]\n").unwrap();
    judged("a.toml", b"[a]\nb = 1\n").unwrap();
    judged("a.gguf", &gguf_bytes(0)).unwrap();
    let (folder, path) = file("a.db", b"");
    rusqlite::Connection::open(&path).unwrap().execute_batch("create table t (a)").unwrap();
    check_file(&path).unwrap();
    assert!(check(&format!("{}/*.db", folder.path().display())).unwrap().contains('1'));
    assert!(check(&format!("{}/*.x", folder.path().display())).unwrap_err().contains("no file"));
}

#[test]
fn broken_files_are_told() {
    let cut = weights(HEADER, 15);
    let huge = [u64::MAX.to_le_bytes().as_slice(), b"{}"].concat();
    let shape = HEADER.replace("[2,2]", "[2,3]");
    for (name, bytes) in [
        ("a.safetensors", cut.as_slice()),
        ("a.safetensors", &huge),
        ("a.safetensors", &weights(&shape, 16)),
        ("a.safetensors", b"\x01"),
        ("a.json", b"{\"a\": }"),
        ("a.json", b""),
        ("a.jsonl", b"{}\n{\n"),
        ("a.toml", b"a ="),
        ("a.toml", b"\xff"),
        ("a.parquet", b"PAR1\x00\x00\x00\x00\xff\xff\xff\x7fPAR1"),
        ("a.parquet", b"PAR1"),
        ("a.gguf", &gguf_bytes(u64::MAX)),
        ("a.gguf", b"GGUF"),
        ("a.gguf", b"GGML"),
        ("a.db", b"SQLite format 3\0 and no more"),
        ("a.db", b""),
        ("a.unknown", b"what"),
    ] {
        assert!(judged(name, bytes).is_err(), "{name}: {bytes:?} passes");
    }
}

/// A table of one column with a thousand numbers.
fn table() -> Vec<u8> {
    use parquet::data_type::Int64Type;
    use parquet::file::{properties::WriterProperties, writer::SerializedFileWriter};
    use parquet::schema::parser::parse_message_type;
    let schema = parse_message_type("message m { required int64 a; }").unwrap();
    let options = WriterProperties::builder().build().into();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema.into(), options).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let numbers: Vec<i64> = (0..1000).collect();
    column.typed::<Int64Type>().write_batch(&numbers, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn a_table_of_parquet_passes_and_its_parts_do_not() {
    let bytes = table();
    judged("a.parquet", &bytes).unwrap();
    judged("without-extension", &bytes).unwrap();
    for cut in [1, 8, bytes.len() / 2] {
        assert!(judged("a.parquet", &bytes[..bytes.len() - cut]).is_err());
        assert!(judged("a.parquet", &bytes[cut..]).is_err(), "without the first {cut} bytes");
    }
}

/// A field of protobuf with bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// A model with one tensor of two floats, made of these fields.
fn model(tensor: &[Vec<u8>]) -> Vec<u8> {
    let tensor = [vec![1 << 3, 2, 2 << 3, 1], tensor.concat()].concat();
    let graph = [field(2, b"main"), field(5, &tensor)].concat();
    [vec![1 << 3, 8], field(8, &[2 << 3, 17]), field(7, &graph)].concat()
}

#[test]
fn models_of_onnx_are_judged_by_their_weights_and_the_files_beside_them() {
    let raw = |len: usize| field(9, &vec![7; len]);
    let good = model(&[raw(8)]);
    judged("a.onnx", &good).unwrap();
    for cut in 0..good.len() {
        assert!(judged("a.onnx", &good[..cut]).is_err(), "cut to {cut}");
    }
    let told = judged("a.onnx", &model(&[raw(7)])).unwrap_err();
    assert_eq!(told, "a tensor of 2 elements of 4 bytes has 7 bytes");
    let entry = |key: &str, value: &str| {
        field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat())
    };
    let at = |location: &str, length: &str| {
        model(&[entry("location", location), entry("offset", "4"), entry("length", length)])
    };
    let (folder, path) = file("a.onnx", &at("a.data", "8"));
    assert!(check_file(&path).unwrap_err().contains("a.data"));
    fs::write(folder.path().join("a.data"), [7; 12]).unwrap();
    check_file(&path).unwrap();
    fs::write(folder.path().join("a.data"), [7; 11]).unwrap();
    assert!(check_file(&path).unwrap_err().contains("goes beyond"));
    for outside in ["/etc/passwd", "../a.data", ""] {
        assert!(judged("a.onnx", &at(outside, "8")).unwrap_err().contains("is said to be"));
    }
    let huge = [vec![1 << 3], vec![0xff; 9], vec![1]].concat();
    assert!(judged("a.onnx", &model(&[huge])).is_err());
}

#[test]
fn the_control_turns_every_kind_red() {
    for (name, bytes) in [
        ("a.safetensors", weights(HEADER, 16)),
        ("a.json", b"{}".to_vec()),
        ("a.toml", b"a = 1".to_vec()),
        ("a.gguf", gguf_bytes(0)),
        ("a.parquet", table()),
        ("a.onnx", model(&[field(9, &[7; 8])])),
    ] {
        judged(name, &bytes).unwrap();
        let mut bytes = bytes;
        bytes[0] ^= 0x80;
        assert!(judged(name, &bytes).is_err(), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_judged_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        start in prop::sample::select(vec!["", "GGUF\x03\0\0\0", "PAR1", "SQLite format 3\0", "\x20\0\0\0\0\0\0\0{", "\x08\x08\x42\x00\x3a", "\x3a\x7f\x2a\x7d"]),
        name in prop::sample::select(vec!["a.safetensors", "a.parquet", "a.gguf", "a.db", "a.json", "a.toml", "a.onnx"]),
    ) {
        let _ = judged(name, &[start.as_bytes(), &bytes].concat());
    }
}
