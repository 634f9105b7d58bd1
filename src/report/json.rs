//! JSON of reports. Every document, and every line of a stream, has `"schema": 1`; fields are
//! only ever added under that number.
//!
//! Sizes are bytes, times RFC 3339 in UTC with nanoseconds, durations seconds, ids lower-case hex.

use serde_json::{Map, Value, json};

use crate::format::{Body, Capture, File, Node, Origin, Owner, Snapshot, Time, Totals, Trouble};
use crate::ops::stats::{ClassSums, FileSum};
use crate::units;

/// The number that every document carries.
pub const SCHEMA: u32 = 1;

/// A document: the fields and `schema`.
#[must_use]
pub fn document(fields: Value) -> Value {
    let mut document = Map::new();
    document.insert("schema".into(), SCHEMA.into());
    match fields {
        Value::Object(fields) => document.extend(fields),
        other => {
            document.insert("value".into(), other);
        }
    }
    Value::Object(document)
}

/// A path or name without loss: a string where it is UTF-8, else `{"bytes_hex": "…"}`.
#[must_use]
pub fn path(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "bytes_hex": hex::encode(bytes) }),
    }
}

/// A point in time.
#[must_use]
pub fn time(time: Time) -> Value {
    units::utc_time(time).into()
}

/// Sums over a tree.
#[must_use]
pub fn totals(totals: &Totals) -> Value {
    let Totals { files, directories, others, size, data } = *totals;
    json!({ "files": files, "directories": directories, "others": others, "size": size, "data": data })
}

/// Sums of files by chunk class.
#[must_use]
pub fn classes(sums: &ClassSums) -> Value {
    let sum = |sum: FileSum| json!({ "files": sum.files, "size": sum.size, "data": sum.data });
    Value::from_iter(sums.by_name().map(|(name, files)| (name, sum(files))))
}

/// A snapshot with all its record says, its troubles included.
#[must_use]
pub fn snapshot(snapshot: &Snapshot) -> Value {
    let added = snapshot.added;
    json!({
        "id": snapshot.id,
        "time": time(snapshot.time),
        "duration": snapshot.duration_ns as f64 / 1e9,
        "host": snapshot.host,
        "user": snapshot.user,
        "program": snapshot.program,
        "tags": snapshot.tags,
        "sources": snapshot.sources.iter().map(|source| path(&source.path)).collect::<Vec<_>>(),
        "parent": snapshot.parent,
        "origin": snapshot.origin.map(origin),
        "totals": totals(&snapshot.totals()),
        "added": { "chunks": added.chunks, "plain": added.plain, "stored": added.stored },
        "partial": snapshot.is_partial(),
        "troubles_count": snapshot.troubles_count,
        "troubles": troubles(&snapshot.troubles),
        "captures": captures(&snapshot.captures),
    })
}

/// The snapshot that a copy was made of.
fn origin(origin: Origin) -> Value {
    json!({ "repository": origin.repository, "snapshot": origin.snapshot })
}

/// How sources were captured.
#[must_use]
pub fn captures(captures: &[Capture]) -> Value {
    let facts = |capture: &Capture| {
        let fact = |(name, value): &(String, String)| (name.clone(), Value::from(value.clone()));
        Value::Object(capture.facts.iter().map(fact).collect())
    };
    let each = |capture: &Capture| {
        json!({
            "source": capture.source,
            "method": capture.method,
            "path": path(&capture.path),
            "started": time(capture.started),
            "ended": time(capture.ended),
            "facts": facts(capture),
        })
    };
    captures.iter().map(each).collect()
}

/// What went wrong at the sources.
#[must_use]
pub fn troubles(troubles: &[Trouble]) -> Value {
    let each = |trouble: &Trouble| json!({ "path": path(&trouble.path), "what": trouble.what });
    troubles.iter().map(each).collect()
}

/// A node with its metadata; `at` is its path in the snapshot.
#[must_use]
pub fn node(at: &[u8], node: &Node, owner: &Owner) -> Value {
    let mut fields = json!({
        "path": path(at),
        "type": super::text::kind(&node.body),
        "mode": format!("{:04o}", node.mode),
        "uid": owner.uid,
        "gid": owner.gid,
        "user": owner.user,
        "group": owner.group,
        "mtime": time(node.mtime),
        "ctime": time(node.ctime),
    });
    if let Value::Object(map) = &mut fields {
        for (name, value) in [("atime", node.atime), ("btime", node.btime)] {
            if let Some(value) = value {
                map.insert(name.into(), time(value));
            }
        }
        if let Some(link) = node.link {
            map.insert("links".into(), link.count.into());
        }
        if !node.xattrs.is_empty() {
            let names = node.xattrs.iter().map(|xattr| path(&xattr.name)).collect();
            map.insert("xattrs".into(), Value::Array(names));
        }
        if node.unstable {
            map.insert("unstable".into(), true.into());
        }
        body(map, &node.body);
    }
    fields
}

fn body(map: &mut Map<String, Value>, body: &Body) {
    match body {
        Body::File(File { size, data, hash, .. }) => {
            map.insert("size".into(), (*size).into());
            map.insert("data".into(), (*data).into());
            if let Some(hash) = hash {
                map.insert("blake3".into(), hex::encode(hash).into());
            }
        }
        Body::Directory { entries, totals: sums, .. } => {
            map.insert("entries".into(), (*entries).into());
            map.insert("totals".into(), totals(sums));
        }
        Body::Symlink { target } => {
            map.insert("target".into(), path(target));
        }
        Body::CharDevice { major, minor } | Body::BlockDevice { major, minor } => {
            map.insert("major".into(), (*major).into());
            map.insert("minor".into(), (*minor).into());
        }
        Body::Fifo | Body::Socket => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_a_schema_and_paths_lose_nothing() {
        let value = document(json!({ "path": path(b"caf\xc3\xa9"), "odd": path(b"\xff\n") }));
        assert_eq!(value["schema"], SCHEMA);
        assert_eq!(value["path"], "café");
        assert_eq!(value["odd"]["bytes_hex"], "ff0a");
    }

    #[test]
    fn times_keep_their_nanoseconds() {
        let before = Time { secs: -1, nanos: 5 };
        assert_eq!(time(before), "1969-12-31T23:59:59.000000005Z");
    }
}
