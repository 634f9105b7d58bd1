//! What the tracking database of MLflow says of registered models.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use rusqlite::{Connection, OpenFlags};

use crate::capture::postgres::Server;
use crate::capture::scratch::Scratch;
use crate::ops::ingest::Drafted;
use crate::strategy::file::Source;

use super::verify::{content, lookup};

/// Largest SQLite database that is looked into, in bytes.
const DATABASE_MAX: u64 = 8 << 30;
/// What marks a version that was deleted.
const DELETED: &str = "Deleted_Internal";

/// A version of a registered model.
pub(super) struct Model {
    pub(super) name: String,
    pub(super) version: String,
    source: String,
}

impl Model {
    /// Where its artifacts lie, if that is on this machine.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let local = self.source.strip_prefix("file://").unwrap_or(&self.source);
        let local = local.strip_prefix("localhost").unwrap_or(local);
        local.starts_with('/').then(|| PathBuf::from(unescaped(local)))
    }
}

/// All versions that were not deleted, by the captured database.
pub(super) fn models(drafted: Drafted<'_>, source: &Source) -> Result<Vec<Model>, String> {
    let paths = source.sqlite.iter().chain(&source.paths).map(Path::new);
    let mut found = None;
    for path in paths {
        let Some(node) = lookup(drafted, path)? else { continue };
        let Ok(bytes) = content(drafted, &node, DATABASE_MAX) else { continue };
        if bytes.starts_with(crate::capture::sqlite::MAGIC) {
            found.get_or_insert_with(Vec::new).extend(of_file(&bytes)?);
        }
    }
    found.ok_or_else(|| "name it as sqlite or postgres, as the first member".to_owned())
}

fn of_file(bytes: &[u8]) -> Result<Vec<Model>, String> {
    let scratch = Scratch::new().map_err(|err| err.to_string())?;
    let file = scratch.path().join("tracking");
    std::fs::write(&file, bytes).map_err(|err| err.to_string())?;
    let uri = format!("file:{}?immutable=1", file.display());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let read = || {
        let database = Connection::open_with_flags(uri, flags)?;
        let newer = "SELECT count(*) FROM pragma_table_info('model_versions') \
                     WHERE name = 'storage_location'";
        let newer = database.query_row(newer, [], |row| row.get::<_, i64>(0))? > 0;
        let mut query = database.prepare(&query(newer))?;
        let models = query.query_map([], |row| {
            let (name, version, source) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Model { name, version, source })
        })?;
        models.collect::<Result<Vec<_>, _>>()
    };
    read().map_err(|err: rusqlite::Error| err.to_string())
}

/// The same by a server's database as it is now.
pub(super) fn of_server(connection: &str, interrupted: &AtomicBool) -> Result<Vec<Model>, String> {
    let mut server = Server::connect(connection, interrupted)?;
    let newer = "SELECT count(*) FROM information_schema.columns \
                 WHERE table_name = 'model_versions' AND column_name = 'storage_location'";
    let newer = server.one(newer)? != "0";
    let model = |row: Vec<String>| {
        let mut row = row.into_iter();
        Some(Model { name: row.next()?, version: row.next()?, source: row.next()? })
    };
    Ok(server.rows(&query(newer))?.into_iter().filter_map(model).collect())
}

/// Newer versions keep the artifacts' place in a column of its own where `source` is a model's id.
fn query(newer: bool) -> String {
    let place =
        if newer { "coalesce(storage_location, source, '')" } else { "coalesce(source, '')" };
    format!(
        "SELECT name, CAST(version AS TEXT), {place} FROM model_versions \
         WHERE current_stage IS NULL OR current_stage <> '{DELETED}'"
    )
}

/// Percent signs of a URI.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_places_are_told_from_remote_ones() {
        let path = |source: &str| {
            Model { name: String::new(), version: String::new(), source: source.into() }.path()
        };
        assert_eq!(path("file:///srv/a%20b/m"), Some("/srv/a b/m".into()));
        assert_eq!(path("/srv/m"), Some("/srv/m".into()));
        for remote in ["s3://bucket/m", "models:/m-1", "mlflow-artifacts:/1", ""] {
            assert_eq!(path(remote), None, "{remote}");
        }
    }
}
