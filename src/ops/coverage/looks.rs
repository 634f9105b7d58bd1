//! What a file or folder looks like, by name and first bytes.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::capture::sqlite;

/// Kinds of assets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Looks {
    /// Model weights, checkpoints, arrays.
    Weights,
    /// A SQLite database.
    Sqlite,
    /// A table in Parquet, or in another format of columns.
    Parquet,
    /// A database of DuckDB.
    Duckdb,
    /// A data directory of PostgreSQL.
    Postgres,
    /// What Redis keeps.
    Redis,
    /// A file store of MLflow.
    Mlflow,
    /// A Lance dataset.
    Lance,
    /// A table of Delta or Iceberg.
    Table,
    /// A data directory of MySQL or MariaDB.
    Mysql,
    /// A database of RocksDB or LevelDB.
    Rocksdb,
}

impl fmt::Display for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weights => "weights",
            Self::Sqlite => "sqlite",
            Self::Parquet => "parquet",
            Self::Duckdb => "duckdb",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Mlflow => "mlflow",
            Self::Lance => "lance",
            Self::Table => "table",
            Self::Mysql => "mysql",
            Self::Rocksdb => "rocksdb",
        })
    }
}

const WEIGHTS: [&str; 20] = [
    "safetensors",
    "gguf",
    "ggml",
    "onnx",
    "pt",
    "pth",
    "ckpt",
    "npz",
    "npy",
    "h5",
    "hdf5",
    "keras",
    "tflite",
    "joblib",
    "pkl",
    "pdparams",
    "engine",
    "faiss",
    "nemo",
    "mlmodel",
];
const TABLES: [&str; 4] = ["parquet", "arrow", "feather", "orc"];
/// Bytes of a file that are looked at.
const FIRST: u64 = 16;
/// Longest header of a safetensors file, in bytes (the library's own limit).
const HEADER_MAX: u64 = 100_000_000;

/// By extension, else by its first bytes.
pub(super) fn of_file(path: &Path) -> io::Result<Option<Looks>> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let extension = extension.to_ascii_lowercase();
    if WEIGHTS.contains(&extension.as_str()) {
        return Ok(Some(Looks::Weights));
    }
    if TABLES.contains(&extension.as_str()) {
        return Ok(Some(Looks::Parquet));
    }
    let mut first = Vec::new();
    // Never waiting for a pipe's other end.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    file.take(FIRST).read_to_end(&mut first)?;
    let has_weights_name = || {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        extension == "bin" && ["model", "adapter", "optimizer"].iter().any(|it| name.contains(it))
    };
    Ok(of_bytes(&first).or_else(|| has_weights_name().then_some(Looks::Weights)))
}

fn of_bytes(first: &[u8]) -> Option<Looks> {
    Some(match first {
        first if first.starts_with(sqlite::MAGIC) => Looks::Sqlite,
        [b'P', b'A', b'R', b'1', ..] => Looks::Parquet,
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => Looks::Parquet,
        [b'G', b'G', b'U', b'F', ..] | [0x89, b'H', b'D', b'F', ..] => Looks::Weights,
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Looks::Weights,
        [b'R', b'E', b'D', b'I', b'S', b'0', ..] => Looks::Redis,
        [_, _, _, _, _, _, _, _, b'D', b'U', b'C', b'K', ..] => Looks::Duckdb,
        [a, b, c, d, e, f, g, h, b'{', b'"', ..]
            if u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) <= HEADER_MAX =>
        {
            Looks::Weights
        }
        _ => return None,
    })
}

/// By the names in it.
pub(super) fn of_folder(has: impl Fn(&str) -> bool) -> Option<Looks> {
    if has("PG_VERSION") && has("global") && has("base") {
        Some(Looks::Postgres)
    } else if has("_versions") && has("data") {
        Some(Looks::Lance)
    } else if has("_delta_log") || (has("metadata") && has("data") && has("version-hint.text")) {
        Some(Looks::Table)
    } else if has("ibdata1") {
        Some(Looks::Mysql)
    } else if has("CURRENT") && has("LOCK") {
        Some(Looks::Rocksdb)
    } else if has("appendonly.aof.manifest") {
        Some(Looks::Redis)
    } else if has("meta.yaml") && (has("artifacts") || has("tags") || has("params")) {
        Some(Looks::Mlflow)
    } else {
        None
    }
}
