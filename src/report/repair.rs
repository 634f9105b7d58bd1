//! Plans and results of repairs.

use serde_json::{Value, json};

use super::text;
use crate::ops::repair::packs::{PacksPlan, PacksReport, Way};
use crate::ops::repair::snapshots::{Finding, SnapshotsPlan, Step};
use crate::repo::{RebuildPlan, Rebuilt, RepoError};
use crate::units;

/// Lines of each kind that people get; JSON has all.
const LINES_MAX: usize = 25;

/// As JSON.
#[must_use]
pub fn packs_json(report: &PacksReport) -> Value {
    serde_json::to_value(report).unwrap_or_default()
}

/// A line for each pack: what is wrong, and what is to be done.
#[must_use]
pub fn packs_plan(plan: &PacksPlan) -> Vec<String> {
    let lines = plan.bad.iter().map(|pack| {
        let is = if pack.missing { "is lost" } else { "is damaged" };
        let way = match pack.way {
            Way::Parity => "to be healed from its parity".to_owned(),
            Way::Replica => "to be taken from the replica".to_owned(),
            Way::Rewrite => format!(
                "to be set aside, {} of {} can be read and will be written anew",
                text::number(pack.chunks - pack.lost_chunks),
                text::count(pack.chunks, "chunk")
            ),
        };
        format!("{} {is}: {way}", pack.object)
    });
    let mut lines: Vec<_> = lines.collect();
    if plan.returning_chunks > 0 {
        let chunks = text::count(plan.returning_chunks, "chunk");
        lines.push(format!("{chunks} that were lost before: to be taken from the replica"));
    }
    lines
}

/// A line for each path that lost content.
#[must_use]
pub fn packs_lost(report: &PacksReport) -> Vec<String> {
    let paths = report.lost.iter().take(LINES_MAX);
    let mut lines: Vec<_> =
        paths.map(|lost| format!("lost: {}:{}", lost.snapshot.short(), lost.path)).collect();
    let more = report.lost_paths.saturating_sub(lines.len() as u64);
    if more > 0 {
        lines.push(format!("and {} more", text::count(more, "lost path")));
    }
    lines
}

/// In words.
#[must_use]
pub fn packs_text(report: &PacksReport) -> String {
    let number = text::number;
    let some = |amount: u64| if amount == 0 { String::new() } else { number(amount) };
    let plan = &report.plan;
    let verdict = match (plan.bad.len() as u64, report.dry_run) {
        (0, true) if plan.returning_chunks > 0 => {
            "all packs are whole, and what was lost before can come back".to_owned()
        }
        (0, _) if report.returned_chunks > 0 && report.lost_paths == 0 => {
            "what was lost before is back".to_owned()
        }
        (0, _) if report.lost_paths == 0 => "all packs are whole".to_owned(),
        (0, _) => "all packs are whole, and content was lost before".to_owned(),
        (bad, true) => format!("{} to repair, nothing was changed", text::count(bad, "pack")),
        (_, false) if report.lost_paths > 0 => "repaired, and content was lost".to_owned(),
        (..) => "repaired, nothing was lost".to_owned(),
    };
    let successors = report.successors.iter();
    let successors: Vec<_> =
        successors.map(|(old, new)| format!("{} for {}", new.short(), old.short())).collect();
    text::facts(&[
        ("verdict", verdict),
        ("packs", format!("{}, {}", number(plan.packs), units::size(plan.bytes))),
        ("healed", some(report.healed)),
        ("set aside", some(report.set_aside)),
        (
            "written anew",
            match report.rewritten_chunks {
                0 => String::new(),
                chunks => text::count(chunks, "chunk"),
            },
        ),
        (
            "brought back",
            match report.returned_chunks {
                0 => String::new(),
                chunks => text::count(chunks, "chunk"),
            },
        ),
        ("lost paths", some(report.lost_paths)),
        ("successors", successors.join(" ")),
        ("forgotten", some(report.forgotten)),
        ("whole again", whole_again(report)),
    ])
}

/// Successors that name losses which are none any more.
fn whole_again(report: &PacksReport) -> String {
    match report.whole_again.as_slice() {
        [] => String::new(),
        ids => {
            let ids: Vec<_> = ids.iter().map(|id| id.short()).collect();
            format!("{}, made when content was lost; `icecore forget` them", ids.join(" "))
        }
    }
}

fn all(errors: &[RepoError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// A repair of the index; `done` where it was carried out.
#[must_use]
pub fn index_json(plan: &RebuildPlan, done: Option<&Rebuilt>, dry_run: bool) -> Value {
    let done = done.map(|done| {
        json!({
            "segments": done.segments,
            "places": done.places,
            "kept": done.kept,
            "deleted": done.deleted,
        })
    });
    json!({
        "dry_run": dry_run,
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
        Step::Void => "empty",
        Step::Return => "bring back",
        Step::Renew => "renew",
        Step::Record => "record as lost",
        Step::Leave => "leave",
    }
}

/// A repair of snapshots; `done`: how many objects were written and removed.
#[must_use]
pub fn snapshots_json(plan: &SnapshotsPlan, done: Option<(u64, u64)>, dry_run: bool) -> Value {
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
        "dry_run": dry_run,
        "snapshots": plan.snapshots,
        "damaged": plan.findings.iter().map(finding).collect::<Vec<_>>(),
        "incomplete": incomplete.collect::<Vec<_>>(),
        "postponed": plan.is_postponed,
        "done": done.map(|(replaced, removed)| json!({ "written": replaced, "removed": removed })),
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
    if plan.is_postponed {
        out.push_str("missing snapshots: not looked for while a record of prune cannot be read\n");
    }
    if plan.findings.is_empty() && plan.incomplete.is_empty() {
        out.push_str("all good\n");
    }
    out
}
