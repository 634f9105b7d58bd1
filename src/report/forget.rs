//! Which snapshots go, and why the others stay.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{json as as_json, text};
use crate::format::{Snapshot, SnapshotId};
use crate::ops::forget::{ForgetPlan, ForgetReport};
use crate::ops::tag::Tagged;
use crate::strategy::retention::{Group, GroupKey, Verdict};
use crate::units;

/// The plan, and what was done of it; `None` for a dry run.
#[must_use]
pub fn json(plan: &ForgetPlan, done: Option<&ForgetReport>) -> Value {
    let damaged = plan.damaged.iter().chain(&plan.damaged_marks);
    let ids = |ids: Option<&Vec<SnapshotId>>| ids.cloned().unwrap_or_default();
    json!({
        "dry_run": done.is_none(),
        "groups": plan.groups.iter().map(|group| group_json(plan, group)).collect::<Vec<_>>(),
        "kept_count": plan.kept(),
        "forget_count": plan.to_forget().count(),
        "forgotten": ids(done.map(|done| &done.forgotten)),
        "protected_meanwhile": ids(done.map(|done| &done.protected)),
        "damaged": damaged.map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn group_json(plan: &ForgetPlan, group: &Group) -> Value {
    let each = |verdict: &Verdict| {
        let snapshot = plan.snapshots.get(&verdict.id);
        let paths = snapshot.map(source_paths).unwrap_or_default();
        json!({
            "id": verdict.id,
            "time": snapshot.map(|snapshot| as_json::time(snapshot.time)),
            "host": snapshot.map(|snapshot| &snapshot.host),
            "tags": snapshot.map(|snapshot| &snapshot.tags),
            "sources": paths.iter().map(|path| as_json::path(path)).collect::<Vec<_>>(),
            "reasons": verdict.reasons.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    };
    let (keep, forget): (Vec<_>, Vec<_>) = group.verdicts.iter().partition(|v| v.is_kept());
    let key = &group.key;
    let paths = |paths: &Vec<Vec<u8>>| paths.iter().map(|path| as_json::path(path)).collect();
    json!({
        "host": key.host,
        "tags": key.tags,
        "sources": key.sources.as_ref().map(|list| -> Vec<Value> { paths(list) }),
        "keep": keep.into_iter().map(each).collect::<Vec<_>>(),
        "forget": forget.into_iter().map(each).collect::<Vec<_>>(),
    })
}

fn source_paths(snapshot: &Snapshot) -> Vec<&[u8]> {
    snapshot.sources.iter().map(|source| source.path.as_slice()).collect()
}

/// A table for each group, and how many stay and go.
#[must_use]
pub fn plan_text(plan: &ForgetPlan) -> String {
    let mut out = String::new();
    for group in plan.groups.iter().filter(|group| !group.verdicts.is_empty()) {
        if group.key != GroupKey::default() {
            let _ = writeln!(out, "{}:", text::escaped(group.key.to_string().as_bytes()));
        }
        let columns = Columns::of(&group.key);
        let rows = group.verdicts.iter().map(|verdict| columns.row(plan, verdict)).collect();
        out.push_str(&text::table(&columns.header(), &[], rows));
        out.push('\n');
    }
    let (kept, gone) = (plan.kept() as u64, plan.to_forget().count() as u64);
    out.push_str(&match kept {
        0 => format!("forget {}\n", text::count(gone, "snapshot")),
        _ => format!("keep {}, forget {}\n", text::count(kept, "snapshot"), text::number(gone)),
    });
    out
}

/// What a group's table shows besides: what its snapshots do not have in common.
struct Columns {
    host: bool,
    sources: bool,
}

impl Columns {
    const fn of(key: &GroupKey) -> Self {
        Self { host: key.host.is_none(), sources: key.sources.is_none() }
    }

    fn header(&self) -> Vec<&'static str> {
        let all = [
            (true, ""),
            (true, "id"),
            (true, "time"),
            (self.host, "host"),
            (true, "tags"),
            (self.sources, "sources"),
            (true, "why"),
        ];
        all.into_iter().filter(|(shown, _)| *shown).map(|(_, word)| word).collect()
    }

    fn row(&self, plan: &ForgetPlan, verdict: &Verdict) -> Vec<String> {
        let words = |bytes: &[u8]| text::escaped(bytes).into_owned();
        let snapshot = plan.snapshots.get(&verdict.id);
        let mut row = vec![if verdict.is_kept() { "keep".into() } else { "forget".into() }];
        let time = snapshot.map_or_else(String::new, |each| units::local_time(each.time));
        row.extend([verdict.id.short(), time]);
        if self.host {
            row.push(snapshot.map_or_else(String::new, |each| words(each.host.as_bytes())));
        }
        let tags = snapshot.map_or_else(String::new, |each| each.tags.join(","));
        row.push(words(tags.as_bytes()));
        if self.sources {
            row.push(snapshot.map_or_else(
                || "it cannot be read".into(),
                |each| source_paths(each).into_iter().map(words).collect::<Vec<_>>().join(" "),
            ));
        }
        let reasons: Vec<_> = verdict.reasons.iter().map(ToString::to_string).collect();
        row.push(words(reasons.join("; ").as_bytes()));
        row
    }
}

/// What was done.
#[must_use]
pub fn done_text(done: &ForgetReport) -> String {
    let mut out = format!("forgot {}\n", text::count(done.forgotten.len() as u64, "snapshot"));
    for id in &done.protected {
        let _ = writeln!(out, "kept {}: it was protected meanwhile", id.short());
    }
    out
}

/// Snapshots after their tags were changed, or would be.
#[must_use]
pub fn tagged_json(tagged: &[Tagged], dry_run: bool) -> Value {
    let each = |one: &Tagged| {
        json!({
            "id": one.id,
            "changed": one.changed,
            "tags": one.tags,
            "protected": one.protected,
        })
    };
    json!({ "dry_run": dry_run, "snapshots": tagged.iter().map(each).collect::<Vec<_>>() })
}

/// The same, a line each.
#[must_use]
pub fn tagged_text(tagged: &[Tagged]) -> String {
    let line = |one: &Tagged| {
        let tags = match one.tags.join(",") {
            none if none.is_empty() => "no tags".into(),
            tags => format!("tags {}", text::escaped(tags.as_bytes())),
        };
        let protected = if one.protected { ", protected" } else { "" };
        let changed = if one.changed { "" } else { " (as before)" };
        format!("{}  {tags}{protected}{changed}\n", one.id.short())
    };
    tagged.iter().map(line).collect()
}
