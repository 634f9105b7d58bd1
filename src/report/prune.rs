//! What a prune would do, and what it did.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{json as as_json, text};
use crate::format::ObjectKey;
use crate::ops::prune::{Fate, PackSums, PrunePlan, PruneReport};
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
    let open = plan.open.as_ref().map(|open| {
        json!({
            "number": open.number,
            "host": open.host,
            "time": as_json::time(open.at),
            "decided": open.decided,
            "packs": open.packs,
            "snapshots": open.snapshots,
        })
    });
    json!({
        "generation": plan.number,
        "open_generation": open,
        "snapshots_kept": plan.snapshots_kept,
        "snapshots_pinned": plan.snapshots_pinned,
        "snapshots_removed": removed,
        "packs": by_fate,
        "packs_leaving": leaving,
        "freed": plan.freed(),
    })
}

/// The plan in words.
#[must_use]
pub fn plan_text(plan: &PrunePlan) -> String {
    let mut rows = Vec::new();
    if let Some(open) = &plan.open {
        let state = if open.decided { "decided" } else { "undecided" };
        rows.push((
            "unfinished",
            format!(
                "generation {} of {}, {state}, {} at {}: gone on with first",
                open.number,
                text::escaped(open.host.as_bytes()),
                text::count(open.packs, "pack"),
                units::local_time(open.at)
            ),
        ));
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
    rows.push(("frees", units::size(plan.freed())));
    text::facts(&rows)
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
        "evicted_sessions": report.evicted,
        "expired_records": report.expired,
        "waits_until": report.waits_until.map(as_json::time),
        "waiting_packs": report.waiting_packs,
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
    if report.evicted > 0 {
        rows.push(("evicted", text::count(report.evicted, "session")));
    }
    if let Some(until) = report.waits_until {
        let packs = text::count(report.waiting_packs, "pack");
        rows.push((
            "waits",
            format!("{packs} go with the first prune after {}", units::local_time(until)),
        ));
    }
    rows.push(("took", text::duration(Duration::from_millis(report.duration_ms))));
    text::facts(&rows)
}
