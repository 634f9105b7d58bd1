//! Two versions of a few files that are stored in every way that format 1 has for content: planes of
//! each width, and the second version as each kind of difference from the first.

#![allow(unreachable_pub, reason = "a module of a test binary")]

use std::path::Path;

use crate::common::torture::{random_bytes, text_bytes};

/// Names of the codecs that the first version needs, as the reader lists them.
#[allow(dead_code, reason = "only one of the readers lists them")]
pub const CODECS: [&str; 5] = ["0.0", "1.0", "2.2", "2.4", "2.8"];
/// Those that the second version needs too, without what codes the difference.
#[allow(dead_code, reason = "only one of the readers lists them")]
pub const DELTAS: [&str; 4] = ["3.0", "3.1", "3.2", "3.3"];

/// Writes version 0 or 1 of all files.
pub fn write(dir: &Path, version: usize) {
    let files: [(&str, Vec<u8>); 7] = [
        // A longer and a shorter last chunk than the base's; what fills no element at the end.
        ("f32.safetensors", tensors("F32", 4, &weights(100_000 + version * 1000, version, 1e-5))),
        ("bf16.safetensors", tensors("BF16", 2, &weights(100_000 - version * 1000, version, 1e-3))),
        ("f64.npy", npy(&weights(20_000, 0, 0.0))),
        ("pages.db", pages(version)),
        ("moved.db", moved(version)),
        ("lines.txt", [[&b""[..], b"one more line\n"][version], &text_bytes(31, 90_000)].concat()),
        ("skewed", random_bytes(32, 100_000).iter().map(|byte| byte & 0x0f).collect()),
    ];
    for (name, bytes) in files {
        std::fs::write(dir.join(name), bytes).unwrap();
    }
}

/// Floats around 0 whose version 1 moved by up to `step` from version 0.
fn weights(count: usize, version: usize, step: f32) -> Vec<f32> {
    let uniform = |bytes: &[u8]| f32::from(u16::from_le_bytes([bytes[0], bytes[1]])) / 65536.0;
    let sum = |part: &[u8]| part.chunks_exact(2).map(uniform).sum::<f32>() - 4.0;
    let steps = random_bytes(34, count).into_iter();
    let moved = steps.map(|byte| (f32::from(byte) / 128.0 - 1.0) * step * version as f32);
    let noise = random_bytes(33, count * 16);
    noise.chunks_exact(16).zip(moved).map(|(part, moved)| sum(part) * 0.05 + moved).collect()
}

/// safetensors of the upper bytes of floats, and of a tensor that ends within an element.
fn tensors(dtype: &str, width: usize, values: &[f32]) -> Vec<u8> {
    let len = values.len() * width;
    let (count, rest) = (values.len(), width - 1);
    let end = len + rest;
    let header =
        format!(r#"{{"w":{{"dtype":"{dtype}","shape":[{count}],"data_offsets":[0,{len}]}},"#)
            + &format!(r#""z":{{"dtype":"U8","shape":[{rest}],"data_offsets":[{len},{end}]}}}}"#);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()[4 - width..].to_vec()));
    bytes.extend_from_slice(&[7, 8, 9][..rest]);
    bytes
}

fn npy(values: &[f32]) -> Vec<u8> {
    let header = format!("{{'descr': '<f8', 'shape': ({},), }}", values.len());
    let mut bytes = b"\x93NUMPY\x01\0".to_vec();
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| f64::from(*value).to_le_bytes()));
    bytes
}

/// A database in which version 1 changes a byte at many places. It is longer than a block and what
/// of other files may stand there before it.
fn pages(version: usize) -> Vec<u8> {
    let mut bytes = [&b"SQLite format 3\0"[..], &random_bytes(35, 1_100_000)].concat();
    bytes.iter_mut().skip(100).step_by(64).for_each(|byte| *byte ^= 0x55 * version as u8);
    bytes
}

/// One in which version 1 moves all that comes after a new row.
fn moved(version: usize) -> Vec<u8> {
    let noise = random_bytes(36, 200_000);
    let row = [&b""[..], b"a new row"][version];
    [b"SQLite format 3\0", &noise[..1000], row, &noise[1000..]].concat()
}
