//! Whether files have the structure of their kind. That proves "usable", not "intact": a flipped
//! bit of a weight passes, which is what manifests are for.
//!
//! Files are hostile: headers are capped before they are read, and no length is believed that the
//! file does not have.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use rusqlite::{Connection, OpenFlags};
use safetensors::SafeTensors;
use serde::de::IgnoredAny;

use crate::codec::classes::{Layout, SNIFF_LEN, Sniffed, sniff};

use super::walk::matching;

/// Longest header of safetensors, as its own library has it.
const HEADER_MAX: u64 = 100_000_000;
/// Longest TOML file, which is read whole.
const TOML_MAX: u64 = 64 << 20;

/// Looks at every file that the pattern names.
pub(super) fn check(pattern: &str) -> Result<String, String> {
    let files = matching(pattern)?;
    for file in &files {
        check_file(file).map_err(|what| format!("{}: {what}", file.display()))?;
    }
    match files.len() {
        0 => Err(format!("no file is named by {pattern}")),
        count => Ok(format!("{count} files are what they should be")),
    }
}

fn check_file(path: &Path) -> Result<(), String> {
    let extension = path.extension().and_then(|ext| ext.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "safetensors" => safetensors(path),
        "parquet" => parquet(path),
        "gguf" => gguf(path),
        "onnx" => onnx::check(path),
        "json" => json(path),
        "jsonl" | "ndjson" => json_lines(path),
        "toml" => toml(path),
        "db" | "sqlite" | "sqlite3" | "db3" => sqlite(path),
        _ if begins(path, b"SQLite format 3\0") => sqlite(path),
        _ if begins(path, b"GGUF") => gguf(path),
        _ if begins(path, b"PAR1") => parquet(path),
        _ => Err("neither its name nor its first bytes say what structure it should have".into()),
    }
}

fn text(err: impl std::fmt::Display) -> String {
    err.to_string()
}

fn open(path: &Path) -> Result<(File, u64), String> {
    let file = File::open(path).map_err(text)?;
    let len = file.metadata().map_err(text)?.len();
    Ok((file, len))
}

fn begins(path: &Path, magic: &[u8]) -> bool {
    let mut first = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(magic.len() as u64).read_to_end(&mut first));
    read.is_ok() && first == magic
}

fn safetensors(path: &Path) -> Result<(), String> {
    let (file, len) = open(path)?;
    let mut first = [0; 8];
    (&file).read_exact(&mut first).map_err(|_| "it is too short for a header")?;
    let header = u64::from_le_bytes(first);
    let Some(end) = header.checked_add(8).filter(|end| header <= HEADER_MAX && *end <= len) else {
        return Err(format!("its header would have {header} bytes"));
    };
    let mut bytes = first.to_vec();
    (&file).take(header).read_to_end(&mut bytes).map_err(text)?;
    let data = len - end;
    // The library holds the tensors against the length of all, so it gets only the header's words.
    let stated = stated_len(&bytes)?;
    match stated == data {
        true => Ok(()),
        false => Err(format!("its tensors have {stated} bytes, the file has {data}")),
    }
}

/// Bytes of all tensors that a header lists, one behind the other.
fn stated_len(header: &[u8]) -> Result<u64, String> {
    match SafeTensors::read_metadata(header) {
        Ok((_, metadata)) => Ok(metadata.data_len() as u64),
        Err(safetensors::SafeTensorError::MetadataIncompleteBuffer) => {
            let json = header.get(8..).unwrap_or_default();
            let metadata: safetensors::tensor::Metadata =
                serde_json::from_slice(json).map_err(text)?;
            Ok(metadata.data_len() as u64)
        }
        Err(err) => Err(text(err)),
    }
}

fn parquet(path: &Path) -> Result<(), String> {
    // Its library looks at the end only.
    if !begins(path, b"PAR1") {
        return Err("it does not begin with PAR1".into());
    }
    let (file, len) = open(path)?;
    let reader = SerializedFileReader::new(file).map_err(text)?;
    for group in reader.metadata().row_groups() {
        for column in group.columns() {
            let (start, size) = (column.data_page_offset(), column.compressed_size());
            let start = column.dictionary_page_offset().map_or(start, |first| first.min(start));
            let ends = u64::try_from(start).ok().zip(u64::try_from(size).ok());
            let end = ends.and_then(|(start, size)| start.checked_add(size));
            if end.is_none_or(|end| end > len) {
                return Err(format!("column {} goes beyond the file", column.column_path()));
            }
        }
    }
    Ok(())
}

fn gguf(path: &Path) -> Result<(), String> {
    let (mut file, len) = open(path)?;
    let (mut first, mut wanted) = (Vec::new(), SNIFF_LEN);
    if !begins(path, b"GGUF") {
        return Err("it does not begin with GGUF".into());
    }
    loop {
        let missing = wanted.saturating_sub(first.len()) as u64;
        file.by_ref().take(missing).read_to_end(&mut first).map_err(text)?;
        match sniff(&first, b"x.gguf", len) {
            Sniffed::Layout(Layout::Tensor(_)) => return Ok(()),
            Sniffed::More(more) if more > first.len() => wanted = more,
            _ => return Err("its header lists tensors that are not there".into()),
        }
    }
}

fn json(path: &Path) -> Result<(), String> {
    let (file, _) = open(path)?;
    serde_json::from_reader::<_, IgnoredAny>(BufReader::new(file)).map(drop).map_err(text)
}

fn json_lines(path: &Path) -> Result<(), String> {
    let (file, _) = open(path)?;
    for (number, line) in BufReader::new(file).split(b'\n').enumerate() {
        let line = line.map_err(text)?;
        if !line.trim_ascii().is_empty() {
            serde_json::from_slice::<IgnoredAny>(&line)
                .map_err(|err| format!("line {}: {err}", number + 1))?;
        }
    }
    Ok(())
}

fn toml(path: &Path) -> Result<(), String> {
    let (file, len) = open(path)?;
    if len > TOML_MAX {
        return Err(format!("it has {len} bytes; that is no TOML"));
    }
    let mut content = String::new();
    file.take(TOML_MAX).read_to_string(&mut content).map_err(text)?;
    toml::from_str::<toml::Table>(&content).map(drop).map_err(|err| err.message().to_owned())
}

fn sqlite(path: &Path) -> Result<(), String> {
    if !begins(path, b"SQLite format 3\0") {
        return Err("it does not begin as an SQLite database does".into());
    }
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(text)?;
    let told: String =
        connection.query_row("pragma integrity_check(1)", [], |row| row.get(0)).map_err(text)?;
    if told == "ok" { Ok(()) } else { Err(told) }
}

mod onnx;
#[cfg(test)]
mod tests;
