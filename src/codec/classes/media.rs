//! Files told by their packaging: weights in zips or by name, archives and media.

use super::{bytes_at, has_any};

/// Endings of weights that are told by name, and bytes from which on they count as such.
const WEIGHTS: &[&[u8]] = &[
    b"onnx",
    b"onnx_data",
    b"tflite",
    b"pt",
    b"pth",
    b"ckpt",
    b"ggml",
    b"params",
    b"pdparams",
    b"caffemodel",
    b"mlmodel",
];
/// What a `.bin` must be called to count as one.
const BIN_WORDS: &[&[u8]] = &[b"model", b"weight", b"optimizer", b"adapter"];
const WEIGHTS_MIN: u64 = 16 << 20;

/// Offset and bytes that a compressed archive or medium begins with.
const COMPRESSED: &[(usize, &[u8])] = &[
    (0, b"PK\x03\x04"),
    (0, b"\x1f\x8b\x08"),       // gzip
    (0, b"\x28\xb5\x2f\xfd"),   // zstd
    (0, b"\x04\x22\x4d\x18"),   // lz4
    (0, b"\xfd7zXZ\0"),         // xz
    (0, b"BZh"),                // bzip2
    (0, b"7z\xbc\xaf\x27\x1c"), // 7-Zip
    (0, b"Rar!\x1a\x07"),       // RAR
    (4, b"ftyp"),               // MP4, MOV, HEIF
    (0, b"\x1a\x45\xdf\xa3"),   // Matroska, WebM
    (8, b"AVI "),               // AVI, after RIFF and a length
    (0, b"OggS"),               // Ogg
    (0, b"fLaC"),               // FLAC
    (0, b"\xff\xd8\xff"),       // JPEG
    (0, b"\x89PNG\r\n\x1a\n"),  // PNG
];
const LARGE_MIN: u64 = 1 << 30;

/// Whether a file is a zip of tensors that are stored as they are, or is called like weights.
pub(super) fn is_weights(first: &[u8], name: &[u8], size: u64) -> bool {
    let name = name.to_ascii_lowercase();
    let ending = name.iter().rposition(|&byte| byte == b'.').and_then(|dot| name.get(dot + 1..));
    let ending = ending.unwrap_or_default();
    match stored_member(first) {
        Some(member) => {
            [&b"pt"[..], b"pth", b"npz", b"ckpt", b"bin"].contains(&ending)
                || member.ends_with(b"/data.pkl")
                || member.ends_with(b".npy")
        }
        None if first.starts_with(b"PK\x03\x04") => false,
        None if ending == b"bin" => {
            let has = |word: &&[u8]| name.windows(word.len()).any(|part| part == *word);
            size >= WEIGHTS_MIN && BIN_WORDS.iter().any(has)
        }
        None => size >= WEIGHTS_MIN && WEIGHTS.contains(&ending),
    }
}

/// The name of a zip's first member where that is not compressed.
fn stored_member(first: &[u8]) -> Option<&[u8]> {
    let method = bytes_at(first, 8).map(u16::from_le_bytes)?;
    let len = bytes_at(first, 26).map(u16::from_le_bytes)?;
    let name = first.get(30..30 + usize::from(len))?;
    (first.starts_with(b"PK\x03\x04") && method == 0).then_some(name)
}

/// Whether a file is long and cannot be compressed further, as far as its first bytes tell.
pub(super) fn is_large(first: &[u8], size: u64) -> bool {
    size >= LARGE_MIN && has_any(first, COMPRESSED)
}
