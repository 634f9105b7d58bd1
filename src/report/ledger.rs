//! Records of the ledger.

use std::time::Duration;

use serde_json::{Value, json};

use super::{json as as_json, text};
use crate::format::{LedgerEvent, LedgerRecord, Verified};
use crate::units;

/// A record as a line of JSON.
#[must_use]
pub fn json(record: &LedgerRecord) -> Value {
    let LedgerEvent::Verified(verified) = &record.event;
    let Verified { duration_ns, complete, snapshots, packs_stored, bytes_stored, .. } = verified;
    as_json::document(json!({
        "record": record.object().to_string(),
        "time": as_json::time(record.at),
        "host": record.host,
        "program": record.program,
        "follows": record.previous.iter().map(|link| link.object().to_string()).collect::<Vec<_>>(),
        "event": "verified",
        "duration": *duration_ns as f64 / 1e9,
        "complete": complete,
        "snapshots": snapshots,
        "packs_stored": packs_stored,
        "bytes_stored": bytes_stored,
        "packs_read": verified.packs.len(),
        "bytes_read": verified.bytes_read,
        "damaged_count": verified.damaged_count,
        "damaged": verified.damaged,
    }))
}

/// A record as a row of [`table`].
#[must_use]
pub fn row(record: &LedgerRecord) -> Vec<String> {
    let LedgerEvent::Verified(verified) = &record.event;
    let read = match verified.packs.len() as u64 {
        0 => "the structure".to_owned(),
        packs => format!(
            "{} of {} in {}",
            units::size(verified.bytes_read),
            units::size(verified.bytes_stored),
            text::count(packs, "pack")
        ),
    };
    let result = match (verified.damaged_count, verified.complete) {
        (0, true) => "good".to_owned(),
        (0, false) => "good as far as it went".to_owned(),
        (count, _) => text::count(count, "damaged object"),
    };
    vec![
        units::local_time(record.at),
        "verified".to_owned(),
        read,
        text::duration(Duration::from_nanos(verified.duration_ns)),
        result,
        text::escaped(record.host.as_bytes()).into_owned(),
    ]
}

/// All rows.
#[must_use]
pub fn table(rows: Vec<Vec<String>>) -> String {
    match rows.len() {
        0 => "no records\n".into(),
        count => {
            let count = text::count(count as u64, "record");
            let header = ["time", "event", "what was read", "took", "result", "host"];
            format!("{}{count}\n", text::table(&header, &[], rows))
        }
    }
}
