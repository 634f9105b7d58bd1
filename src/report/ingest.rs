//! What an ingest did.

use serde_json::{Value, json};

use super::{captures, json as as_json, text};
use crate::format::Added;
use crate::ops::ingest::IngestReport;
use crate::units;

/// As JSON.
#[must_use]
pub fn json(report: &IngestReport) -> Value {
    let added = report.added;
    json!({
        "snapshot": report.snapshot,
        "parent": report.parent,
        "files_new": report.files_new,
        "files_changed": report.files_changed,
        "files_unchanged": report.files_unchanged,
        "files_failed": report.files_failed,
        "directories": report.directories,
        "others": report.others,
        "excluded": report.excluded,
        "bytes": report.bytes,
        "bytes_read": report.bytes_read,
        "added": { "chunks": added.chunks, "plain": added.plain, "stored": added.stored },
        "partial": report.snapshot.is_some() && report.troubles_count > 0,
        "troubles_count": report.troubles_count,
        "troubles": as_json::troubles(&report.troubles),
        "captures": as_json::captures(&report.captures),
        "skew": captures::skew(&report.captures).map(|skew| skew.as_secs_f64()),
        "duration": report.duration.as_secs_f64(),
    })
}

/// In words.
#[must_use]
pub fn text(report: &IngestReport) -> String {
    let number = text::number;
    let files = report.files_new + report.files_changed + report.files_unchanged;
    let some = |amount: u64, what: &str| match amount {
        0 => String::new(),
        amount => text::count(amount, what),
    };
    let added = |added: Added| {
        let chunks = text::count(added.chunks, "chunk");
        let (plain, stored) = (units::size(added.plain), units::size(added.stored));
        format!("{plain} in {chunks}, stored as {stored}")
    };
    text::facts(&[
        ("snapshot", report.snapshot.map_or("none: dry run".into(), |id| id.to_string())),
        (
            "files",
            format!(
                "{}: {} new, {} changed, {} unchanged",
                number(files),
                number(report.files_new),
                number(report.files_changed),
                number(report.files_unchanged)
            ),
        ),
        ("not read", some(report.files_failed, "file")),
        ("directories", number(report.directories)),
        ("others", if report.others == 0 { String::new() } else { number(report.others) }),
        ("left out", some(report.excluded, "entry")),
        ("size", format!("{}, {} read", units::size(report.bytes), units::size(report.bytes_read))),
        ("added", report.snapshot.map_or(String::new(), |_| added(report.added))),
        ("captured", captures::methods(&report.captures)),
        ("no database", captures::as_files(&report.captures)),
        ("skew", captures::skew(&report.captures).map_or(String::new(), text::duration)),
        ("took", text::duration(report.duration)),
        (
            "troubles",
            match report.troubles_count {
                0 => String::new(),
                count if report.snapshot.is_none() => number(count),
                count => format!("{}; the snapshot is partial", number(count)),
            },
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::SnapshotId;

    #[test]
    fn files_that_were_not_read_are_their_own_line() {
        let report = IngestReport { files_new: 2, ..IngestReport::default() };
        assert!(text(&report).contains("2: 2 new, 0 changed, 0 unchanged"));
        assert!(!text(&report).contains("not read"));
        let failed = IngestReport { files_failed: 1, ..report };
        assert!(text(&failed).contains("2: 2 new, 0 changed, 0 unchanged"));
        assert!(text(&failed).contains("not read     1 file\n"), "{}", text(&failed));
    }

    #[test]
    fn a_dry_run_makes_no_partial_snapshot() {
        let dry = IngestReport { troubles_count: 2, ..IngestReport::default() };
        assert!(text(&dry).contains("troubles"));
        assert!(!text(&dry).contains("partial"), "{}", text(&dry));
        let snapshot = Some(SnapshotId([1; 16]));
        assert!(text(&IngestReport { snapshot, ..dry }).contains("; the snapshot is partial"));
    }
}
