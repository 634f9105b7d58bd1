//! What a prune would do, and what it did.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{json as as_json, text};
use crate::format::ObjectKey;
use crate::ops::prune::{Fate, OpenGeneration, PackSums, PrunePlan, PruneReport, Temporaries};
use crate::units;

/// What a fate is called in JSON.
const fn name(fate: Fate) -> &'static str {
    match fate {
        Fate::Keep => "kept",
        Fate::Sparse => "sparse",
        Fate::Small => "small",
        Fate::Dead => "dead",
        Fate::Unindexed => "unindexed",
        Fate::Missing => "missing",
    }
}

/// The same for people, with the reason.
const fn words(fate: Fate) -> &'static str {
    match fate {
        Fate::Keep => "keep",
        Fate::Sparse => "rewrite: little of it is needed",
        Fate::Small => "rewrite: small, to be joined",
        Fate::Dead => "delete: nothing in it is needed",
        Fate::Unindexed => "delete: left by a stopped ingest",
        Fate::Missing => "drop from the index: gone, not needed",
    }
}

/// The plan as JSON, with every pack that does not stay.
#[must_use]
pub fn plan_json(plan: &PrunePlan) -> Value {
    let sums = |fate: Fate| {
        let PackSums { packs, bytes, unused } = plan.sum(fate);
        json!({ "packs": packs, "bytes": bytes, "unused": unused })
    };
    let by_fate: Map<String, Value> =
        Fate::ALL.into_iter().map(|fate| (name(fate).to_owned(), sums(fate))).collect();
    let leaving: Vec<Value> = plan
        .leaving()
        .map(|(kind, id, bytes, fate)| {
            let object = ObjectKey::Pack(kind, id).to_string();
            json!({ "object": object, "bytes": bytes, "fate": name(fate) })
        })
        .collect();
    let removed: Vec<String> = plan.snapshots_removed.iter().map(ToString::to_string).collect();
    let open = plan.open.as_ref().map(open_json);
    json!({
        "generation": plan.number,
        "open_generation": open,
        "snapshots_kept": plan.snapshots_kept,
        "snapshots_pinned": plan.snapshots_pinned,
        "snapshots_removed": removed,
        "packs": by_fate,
        "packs_leaving": leaving,
        "temporaries": { "files": plan.temporaries.files, "bytes": plan.temporaries.bytes },
        "freed": plan.freed(),
    })
}

/// An unfinished generation as JSON.
#[must_use]
pub fn open_json(open: &OpenGeneration) -> Value {
    json!({
        "number": open.number,
        "host": open.host,
        "time": as_json::time(open.at),
        "decided": open.decided,
        "packs": open.packs,
        "snapshots": open.snapshots,
        "waits_until": open.waits_until.map(as_json::time),
    })
}

/// An unfinished generation that is all that a prune goes on with.
#[must_use]
pub fn open_text(open: &OpenGeneration) -> String {
    let then = match (open.decided, open.waits_until) {
        (true, Some(until)) => {
            format!("nothing to do before {}, when its grace has passed", units::local_time(until))
        }
        _ => "decide which of them go, and wait for the grace; all else comes after that".into(),
    };
    text::facts(&[("unfinished", generation(open)), ("plan", then)])
}

fn generation(open: &OpenGeneration) -> String {
    let state = if open.decided { "decided" } else { "undecided" };
    format!(
        "generation {} of {}, {state}, {} at {}",
        open.number,
        text::escaped(open.host.as_bytes()),
        named(open.snapshots, open.packs),
        units::local_time(open.at)
    )
}

fn named(snapshots: u64, packs: u64) -> String {
    format!("{}, {}", text::count(snapshots, "snapshot"), text::count(packs, "pack"))
}

/// The plan in words.
#[must_use]
pub fn plan_text(plan: &PrunePlan) -> String {
    let mut rows = Vec::new();
    if let Some(open) = &plan.open {
        let then = match open.decided {
            true => "finished first",
            false => "decided and finished first, then all is planned anew",
        };
        rows.push(("unfinished", format!("{}: {then}", generation(open))));
    }
    let removed = plan.snapshots_removed.len() as u64;
    let pinned = match plan.snapshots_pinned {
        0 => String::new(),
        pinned => format!(", {} of them forgotten and being read", text::number(pinned)),
    };
    let kept = text::number(plan.snapshots_kept);
    rows.push(("snapshots", format!("keep {kept}{pinned}; delete {}", text::number(removed))));
    for fate in Fate::ALL {
        let PackSums { packs, bytes, unused } = plan.sum(fate);
        if packs == 0 {
            continue;
        }
        let unused = match fate {
            Fate::Keep if unused > 0 => format!(", {} of that unused", units::size(unused)),
            Fate::Sparse | Fate::Small => format!(", {} needed", units::size(bytes - unused)),
            _ => String::new(),
        };
        let packs = text::count(packs, "pack");
        rows.push(("packs", format!("{}: {packs}, {}{unused}", words(fate), units::size(bytes))));
    }
    if plan.temporaries.files > 0 {
        rows.push((
            "temporary",
            format!("delete: left by stopped writers: {}", files(plan.temporaries)),
        ));
    }
    rows.push(("frees", units::size(plan.freed())));
    text::facts(&rows)
}

fn files(temporaries: Temporaries) -> String {
    format!("{}, {}", text::count(temporaries.files, "file"), units::size(temporaries.bytes))
}

/// What was done, as JSON.
#[must_use]
pub fn json(report: &PruneReport) -> Value {
    json!({
        "generations": report.generations,
        "rewritten_chunks": report.rewritten.chunks,
        "rewritten_stored": report.rewritten.stored,
        "deleted_packs": report.swept.packs,
        "deleted_bytes": report.swept.bytes,
        "deleted_snapshots": report.swept.snapshots,
        "deleted_segments": report.swept.segments,
        "deleted_temporaries": report.temporaries.files,
        "deleted_temporary_bytes": report.temporaries.bytes,
        "evicted_sessions": report.evicted,
        "expired_records": report.expired,
        "waits_until": report.waits_until.map(as_json::time),
        "waiting_packs": report.waiting_packs,
        "waiting_snapshots": report.waiting_snapshots,
        "duration": report.duration_ms as f64 / 1e3,
    })
}

/// What was done, in words.
#[must_use]
pub fn text(report: &PruneReport) -> String {
    let mut rows = Vec::new();
    if report.rewritten.chunks > 0 {
        let chunks = text::count(report.rewritten.chunks, "chunk");
        rows.push(("rewritten", format!("{chunks}, {}", units::size(report.rewritten.stored))));
    }
    let swept = report.swept;
    rows.push((
        "deleted",
        format!(
            "{}, {}, {}",
            text::count(swept.snapshots, "snapshot"),
            text::count(swept.packs, "pack"),
            units::size(swept.bytes)
        ),
    ));
    if report.temporaries.files > 0 {
        rows.push(("temporary", format!("deleted {}", files(report.temporaries))));
    }
    if report.evicted > 0 {
        rows.push(("evicted", text::count(report.evicted, "session")));
    }
    if let Some(until) = report.waits_until {
        let what = named(report.waiting_snapshots, report.waiting_packs);
        let after = units::local_time(until);
        rows.push(("waits", format!("{what}: deleted by the first prune after {after}")));
    }
    rows.push(("took", text::duration(Duration::from_millis(report.duration_ms))));
    text::facts(&rows)
}
