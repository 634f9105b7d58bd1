//! Plans and results of repairs.

use serde_json::{Value, json};

use super::text;
use crate::ops::repair::snapshots::{Finding, SnapshotsPlan, Step};
use crate::repo::{RebuildPlan, Rebuilt, RepoError};

/// Lines of each kind that people get; JSON has all.
const LINES_MAX: usize = 25;

fn all(errors: &[RepoError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// A repair of the index; `done` where it was carried out.
#[must_use]
pub fn index_json(plan: &RebuildPlan, done: Option<&Rebuilt>) -> Value {
    let done = done.map(|done| {
        json!({
            "segments": done.segments,
            "places": done.places,
            "kept": done.kept,
            "deleted": done.deleted,
        })
    });
    json!({
        "segments": plan.old.len(),
        "damaged": all(&plan.damaged),
        "wrong": all(&plan.wrong),
        "packs": plan.packs,
        "chunks": plan.chunks,
        "unindexed_chunks": plan.unindexed,
        "unreadable": all(&plan.unreadable),
        "needed": !plan.is_idle(),
        "done": done,
    })
}

/// What is wrong with the index, in words.
#[must_use]
pub fn index_text(plan: &RebuildPlan, done: Option<&Rebuilt>) -> String {
    let number = |amount: usize| match amount {
        0 => String::new(),
        amount => text::number(amount as u64),
    };
    let verdict = match plan.is_idle() {
        true => "the index is what the packs say",
        false => "the index is to be built anew",
    };
    let mut out = text::facts(&[
        ("verdict", verdict.into()),
        ("segments", text::number(plan.old.len() as u64)),
        ("damaged segments", number(plan.damaged.len())),
        (
            "packs",
            format!("{} with {}", text::number(plan.packs), text::count(plan.chunks, "chunk")),
        ),
        ("not indexed", number(usize::try_from(plan.unindexed).unwrap_or(usize::MAX))),
        ("packs gone or changed", number(plan.wrong.len())),
        ("packs without a footer", number(plan.unreadable.len())),
    ]);
    for err in plan.damaged.iter().chain(&plan.wrong).chain(&plan.unreadable).take(LINES_MAX) {
        out.push_str(&format!("  {err}\n"));
    }
    if let Some(done) = done {
        out.push_str(&rebuilt_text(done));
    }
    out
}

/// What a repair of the index did, in words.
#[must_use]
pub fn rebuilt_text(done: &Rebuilt) -> String {
    let kept = match done.kept {
        0 => String::new(),
        kept => format!(", {} of them from old segments", text::number(kept)),
    };
    format!(
        "wrote {} with {}{kept}; deleted {}\n",
        text::count(done.segments, "segment"),
        text::count(done.places, "place"),
        text::count(done.deleted, "old segment"),
    )
}

const fn step(finding: &Finding) -> &'static str {
    match finding.step {
        Step::Replace => "replace",
        Step::Remove => "remove",
        Step::Leave => "leave",
    }
}

/// A repair of snapshots; `done`: how many objects were replaced and removed.
#[must_use]
pub fn snapshots_json(plan: &SnapshotsPlan, done: Option<(u64, u64)>) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "object": finding.object.to_string(),
            "what": finding.error.to_string(),
            "step": step(finding),
            "why": finding.why,
        })
    };
    let incomplete = plan.incomplete.iter();
    let incomplete = incomplete.map(|it| json!({ "snapshot": it.snapshot, "what": it.error }));
    json!({
        "snapshots": plan.snapshots,
        "damaged": plan.findings.iter().map(finding).collect::<Vec<_>>(),
        "incomplete": incomplete.collect::<Vec<_>>(),
        "done": done.map(|(replaced, removed)| json!({ "replaced": replaced, "removed": removed })),
    })
}

/// The plan in words.
#[must_use]
pub fn snapshots_text(plan: &SnapshotsPlan) -> String {
    let mut out = format!("{} read\n", text::count(plan.snapshots, "snapshot"));
    for finding in &plan.findings {
        out.push_str(&format!("{}: {} ({})\n", step(finding), finding.error, finding.why));
    }
    for incomplete in &plan.incomplete {
        let (id, what) = (incomplete.snapshot.short(), &incomplete.error);
        out.push_str(&format!("incomplete: snapshot {id}: {what}\n"));
    }
    if plan.findings.is_empty() && plan.incomplete.is_empty() {
        out.push_str("all good\n");
    }
    out
}
