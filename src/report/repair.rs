//! What a repair found and did.

use serde_json::Value;

use super::text;
use crate::ops::repair::packs::{PacksPlan, PacksReport, Way};
use crate::units;

/// Paths that people get; JSON has more.
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
    lines.collect()
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
        ("lost paths", some(report.lost_paths)),
        ("successors", successors.join(" ")),
        ("forgotten", some(report.forgotten)),
    ])
}
