//! What was copied from one repository into another.

use serde_json::{Value, json};

use super::{json as as_json, text};
use crate::ops::replicate::{CopiedSnapshot, FailedSnapshot, ReplicateReport};
use crate::units;

/// The report as JSON.
#[must_use]
pub fn json(report: &ReplicateReport) -> Value {
    let copied = |it: &CopiedSnapshot| {
        let added = it.added;
        json!({
            "snapshot": it.snapshot, "copy": it.copy, "time": as_json::time(it.time),
            "host": it.host, "files": it.files, "bytes": it.bytes,
            "added": { "chunks": added.chunks, "plain": added.plain, "stored": added.stored },
        })
    };
    let failed = |it: &FailedSnapshot| json!({ "snapshot": it.snapshot, "path": as_json::path(&it.path), "what": it.what });
    json!({
        "from": report.from,
        "to": report.to,
        "dry_run": report.dry_run,
        "same_ids": report.same_ids,
        "copied": report.copied.iter().map(copied).collect::<Vec<_>>(),
        "present": report.present,
        "forgotten": report.forgotten,
        "failed": report.failed.iter().map(failed).collect::<Vec<_>>(),
        "damaged": report.damaged,
        "bytes_stored": report.bytes_stored,
        "verified": report.verified,
        "recorded": report.recorded,
        "duration": report.duration.as_secs_f64(),
    })
}

/// In words, without what failed.
#[must_use]
pub fn text(report: &ReplicateReport) -> String {
    let row = |it: &CopiedSnapshot| {
        vec![
            it.snapshot.short(),
            it.copy.map_or_else(String::new, |copy| copy.short()),
            units::local_time(it.time),
            text::escaped(it.host.as_bytes()).into_owned(),
            text::number(it.files),
            units::size(it.bytes),
            if report.dry_run { String::new() } else { units::size(it.added.stored) },
        ]
    };
    let mut out = String::new();
    if !report.copied.is_empty() {
        let header = ["snapshot", "copy", "time", "host", "files", "size", "written"];
        out = text::table(&header, &[4, 5, 6], report.copied.iter().map(row).collect());
    }
    let count = text::count(report.copied.len() as u64, "snapshot");
    let verb = if report.dry_run { "would be copied" } else { "copied" };
    let some = |amount: u64, what: &str| match amount {
        0 => String::new(),
        amount => format!(", {} {what}", text::number(amount)),
    };
    let there = some(report.present, "there already");
    let forgotten = some(report.forgotten, "forgotten there");
    let failed = some((report.failed.len() + report.damaged.len()) as u64, "not copied");
    let took = match report.dry_run {
        true => String::new(),
        false => format!(
            "; {} written in {}{}",
            units::size(report.bytes_stored),
            text::duration(report.duration),
            if report.verified && !report.copied.is_empty() { ", all read back" } else { "" }
        ),
    };
    out + &format!("{count} {verb}{there}{forgotten}{failed}{took}\n")
}

/// What was not copied, a line each.
#[must_use]
pub fn failures(report: &ReplicateReport) -> Vec<String> {
    let failed = report.failed.iter().map(|it| {
        let path = match it.path.as_slice() {
            [] => String::new(),
            path => format!(" {}:", text::escaped(path)),
        };
        format!("snapshot {} is not copied:{path} {}", it.snapshot.short(), it.what)
    });
    let damaged = report.damaged.iter().map(|what| format!("{what}; it is not copied"));
    failed.chain(damaged).collect()
}
