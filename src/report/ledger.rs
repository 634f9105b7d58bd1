//! Records of the ledger.

use std::time::Duration;

use serde_json::{Value, json};

use super::{json as as_json, text};
use crate::format::{
    DrillCheck, DrillPhase, DrillResult, Drilled, DrilledComponent, LedgerEvent, LedgerRecord, Ran,
    Replicated, ReplicatedSnapshot, Verified,
};
use crate::units;

/// A record as a line of JSON.
#[must_use]
pub fn json(record: &LedgerRecord) -> Value {
    let mut document = json!({
        "record": record.object().to_string(),
        "time": as_json::time(record.at),
        "host": record.host,
        "program": record.program,
        "follows": record.previous.iter().map(|link| link.object().to_string()).collect::<Vec<_>>(),
    });
    let told = match &record.event {
        LedgerEvent::Verified(verified) => verified_json(verified),
        LedgerEvent::Replicated(replicated) => replicated_json(replicated),
        LedgerEvent::Drilled(drilled) => drilled_json(drilled),
        LedgerEvent::Ran(ran) => ran_json(ran),
    };
    if let (Value::Object(document), Value::Object(told)) = (&mut document, told) {
        document.extend(told);
    }
    as_json::document(document)
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn verified_json(verified: &Verified) -> Value {
    json!({
        "event": "verified",
        "duration": seconds(verified.duration_ns),
        "complete": verified.complete,
        "snapshots": verified.snapshots,
        "packs_stored": verified.packs_stored,
        "bytes_stored": verified.bytes_stored,
        "packs_read": verified.packs.len(),
        "bytes_read": verified.bytes_read,
        "damaged_count": verified.damaged_count,
        "damaged": verified.damaged,
    })
}

fn replicated_json(replicated: &Replicated) -> Value {
    let pair = |each: &ReplicatedSnapshot| json!({ "origin": each.origin.to_string(), "copy": each.copy.to_string() });
    json!({
        "event": "replicated",
        "duration": seconds(replicated.duration_ns),
        "from": replicated.from.to_string(),
        "snapshots": replicated.snapshots.iter().map(pair).collect::<Vec<_>>(),
        "bytes_stored": replicated.bytes_stored,
        "error": none_if_empty(&replicated.error),
    })
}

/// A drill as JSON.
pub(super) fn drilled_json(drilled: &Drilled) -> Value {
    let component = |each: &DrilledComponent| {
        json!({
            "name": each.name, "source": each.source, "snapshot": each.snapshot.to_string(),
            "time": as_json::time(each.time),
        })
    };
    let phase = |each: &DrillPhase| {
        json!({
            "name": each.name, "start": seconds(each.start_ns), "duration": seconds(each.duration_ns),
        })
    };
    let check = |each: &DrillCheck| {
        json!({
            "name": each.name, "kind": each.kind, "passed": each.passed,
            "duration": seconds(each.duration_ns), "told": each.told,
        })
    };
    json!({
        "event": "drilled",
        "drill": drilled.name,
        "mode": drilled.mode,
        "started": as_json::time(drilled.started),
        "duration": seconds(drilled.duration_ns),
        "components": drilled.components.iter().map(component).collect::<Vec<_>>(),
        "phases": drilled.phases.iter().map(phase).collect::<Vec<_>>(),
        "checks": drilled.checks.iter().map(check).collect::<Vec<_>>(),
        "control": drilled.control.iter().map(check).collect::<Vec<_>>(),
        "rto": seconds(drilled.rto_ns),
        "rto_extrapolated": seconds(drilled.extrapolated_ns()),
        "rto_target": drilled.rto_target_ns.map(seconds),
        "rpo": seconds(drilled.rpo_ns),
        "rpo_target": drilled.rpo_target_ns.map(seconds),
        "result": drill_result(drilled.result),
        "cause": none_if_empty(&drilled.cause),
    })
}

fn ran_json(ran: &Ran) -> Value {
    json!({
        "event": "ran",
        "part": ran.part,
        "name": ran.name,
        "started": as_json::time(ran.started),
        "duration": seconds(ran.duration_ns),
        "snapshot": ran.snapshot.map(|id| id.to_string()),
        "error": none_if_empty(&ran.error),
    })
}

fn none_if_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// The word for what a drill showed.
#[must_use]
pub const fn drill_result(result: DrillResult) -> &'static str {
    match result {
        DrillResult::Proven => "proven",
        DrillResult::Failed => "failed",
        DrillResult::ProvesNothing => "proves nothing",
    }
}

/// A record as a row of [`table`].
#[must_use]
pub fn row(record: &LedgerRecord) -> Vec<String> {
    let (event, what, duration_ns, result) = match &record.event {
        LedgerEvent::Verified(verified) => verified_row(verified),
        LedgerEvent::Replicated(replicated) => {
            let copies = text::count(replicated.snapshots.len() as u64, "snapshot");
            let what = format!("{copies}, {} written", units::size(replicated.bytes_stored));
            ("replicated", what, replicated.duration_ns, good_or(&replicated.error))
        }
        LedgerEvent::Drilled(drilled) => {
            let what = format!("{} ({})", drilled.name, drilled.mode);
            let result = match drilled.result {
                DrillResult::Proven => {
                    let rto = text::duration(Duration::from_nanos(drilled.rto_ns));
                    match drilled.extrapolated_ns() {
                        0 => format!("proven: restored in {rto}"),
                        _ => format!("proven: restored a sample, all takes {rto}"),
                    }
                }
                other => format!("{}: {}", drill_result(other), drilled.cause),
            };
            ("drilled", what, drilled.duration_ns, result)
        }
        LedgerEvent::Ran(ran) => {
            let what = format!("{} {}", ran.part, ran.name);
            ("ran", what, ran.duration_ns, good_or(&ran.error))
        }
    };
    let shown = |words: &str| text::escaped(words.as_bytes()).into_owned();
    vec![
        units::local_time(record.at),
        event.to_owned(),
        shown(&what),
        text::duration(Duration::from_nanos(duration_ns)),
        shown(&result),
        shown(&record.host),
    ]
}

fn good_or(error: &str) -> String {
    none_if_empty(error).unwrap_or("good").to_owned()
}

fn verified_row(verified: &Verified) -> (&'static str, String, u64, String) {
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
    ("verified", read, verified.duration_ns, result)
}

/// All rows.
#[must_use]
pub fn table(rows: Vec<Vec<String>>) -> String {
    match rows.len() {
        0 => "no records\n".into(),
        count => {
            let count = text::count(count as u64, "record");
            let header = ["time", "event", "what", "took", "result", "host"];
            format!("{}{count}\n", text::table(&header, &[], rows))
        }
    }
}
