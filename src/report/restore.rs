//! What a restore did, or would do.

use std::time::Duration;

use serde_json::{Value, json};

use super::text;
use crate::ops::restore::RestoreReport;
use crate::units;

/// As JSON. Paths of troubles are escaped text: they are on the target, not in the snapshot.
#[must_use]
pub fn json(report: &RestoreReport) -> Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("duration_ms");
        fields.insert("duration".into(), json!(report.duration_ms as f64 / 1e3));
    }
    value
}

/// In words.
#[must_use]
pub fn text(report: &RestoreReport) -> String {
    let number = text::number;
    let pair = |new: u64, kept: u64| match (new, kept) {
        (0, 0) => String::new(),
        _ => format!("{} written, {} right already", number(new), number(kept)),
    };
    let some = |amount: u64| if amount == 0 { String::new() } else { number(amount) };
    let sizes = |new: u64, kept: u64| match (new, kept) {
        (0, 0) => String::new(),
        _ => format!("{} written, {} right already", units::size(new), units::size(kept)),
    };
    let verified = match report.files_verified {
        0 => String::new(),
        files => {
            format!("{} in {}", units::size(report.bytes_verified), text::count(files, "file"))
        }
    };
    text::facts(&[
        ("dry run", if report.dry_run { "nothing was changed".into() } else { String::new() }),
        ("files", pair(report.files_written, report.files_kept)),
        ("directories", pair(report.directories_made, report.directories_kept)),
        ("others", pair(report.others_made, report.others_kept)),
        ("hard links", pair(report.links_made, report.links_kept)),
        ("content", sizes(report.bytes_written, report.bytes_kept)),
        ("only metadata", some(report.metadata_set)),
        ("removed", some(report.removed)),
        ("read back", verified),
        ("took", text::duration(Duration::from_millis(report.duration_ms))),
        ("not restored", some(report.failed)),
        ("differing", some(report.differing)),
        ("troubles", some(report.troubles_count)),
    ])
}
