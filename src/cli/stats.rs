//! `icecore stats`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::format::{Body, Totals};
use crate::ops::path::{self, Resolved};
use crate::ops::stats::{self, ClassCounter, ClassSums, StatsReport, Sum};
use crate::report::{json as as_json, text};
use crate::units;

use super::context::Context;
use super::error::show_damage;
use super::exit::Exit;
use super::snapshots::FilterOptions;

/// Tell what the repository, or one snapshot, holds and costs
///
/// Of the repository: all snapshots together, the distinct chunks they are made of, and what those
/// take as stored. Of a snapshot or a path in one: what it holds, and what the snapshot added.
/// Files are also summed up by how they were cut into chunks: inline (too small for any), default
/// and large (by content), database (at pages), tensor (at tensors).
#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Snapshot, and a path in it [default: the whole repository]
    #[arg(value_name = "SNAP[:/PATH]")]
    at: Option<OsString>,

    #[command(flatten)]
    filter: FilterOptions,
}

impl Stats {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let repo = cx.repository()?;
        let filter = self.filter.filter();
        if let Some(name) = &self.at {
            let at = path::resolve(&repo, name.as_bytes(), &filter)?;
            let totals = totals(&at);
            let mut counter = ClassCounter::new(&repo, cx.interrupt.flag());
            let classes = counter.count(&at.node)?;
            let damaged = counter.into_damaged();
            damaged.iter().for_each(show_damage);
            cx.data(
                || snapshot_json(&at, &totals, &classes),
                || snapshot_text(&at, &totals, &classes),
            )?;
            return Ok(if damaged.is_empty() { Exit::Done } else { Exit::Damage });
        }
        let report = stats::run(&repo, cx.interrupt.flag())?;
        report.damaged.iter().for_each(show_damage);
        cx.data(|| repository_json(&report), || repository_text(&report))?;
        Ok(if report.damaged.is_empty() { Exit::Done } else { Exit::Damage })
    }
}

/// Sums of what is at a path, a directory itself left out.
fn totals(at: &Resolved) -> Totals {
    match &at.node.body {
        Body::Directory { totals, .. } => *totals,
        Body::File(file) => {
            Totals { files: 1, size: file.size, data: file.data, ..Totals::default() }
        }
        _ => Totals { others: 1, ..Totals::default() },
    }
}

fn sizes(totals: &Totals) -> String {
    if totals.data == totals.size {
        return units::size(totals.size);
    }
    format!("{}, {} without holes", units::size(totals.size), units::size(totals.data))
}

fn snapshot_json(at: &Resolved, totals: &Totals, classes: &ClassSums) -> serde_json::Value {
    let mut snapshot = as_json::snapshot(&at.snapshot);
    if let Some(fields) = snapshot.as_object_mut() {
        fields.remove("troubles");
    }
    json!({
        "snapshot": snapshot,
        "path": as_json::path(&at.path),
        "totals": as_json::totals(totals),
        "classes": as_json::classes(classes),
    })
}

fn snapshot_text(at: &Resolved, totals: &Totals, classes: &ClassSums) -> String {
    let snapshot = &at.snapshot;
    let added = snapshot.added;
    let whole = at.path == b"/";
    let only_whole = |fact: String| if whole { fact } else { String::new() };
    let mut facts = vec![
        ("snapshot", snapshot.id.to_string()),
        ("path", only_path(at)),
        ("time", units::local_time(snapshot.time)),
        ("took", only_whole(text::duration(Duration::from_nanos(snapshot.duration_ns)))),
        ("files", text::number(totals.files)),
        ("directories", text::number(totals.directories)),
        ("others", if totals.others == 0 { String::new() } else { text::number(totals.others) }),
        ("size", sizes(totals)),
        (
            "added",
            only_whole(format!(
                "{} in {}",
                units::size(added.plain),
                text::count(added.chunks, "chunk")
            )),
        ),
        ("stored as", only_whole(units::size(added.stored))),
        (
            "troubles",
            if snapshot.is_partial() {
                text::number(snapshot.troubles_count)
            } else {
                String::new()
            },
        ),
    ];
    facts.extend(class_facts(classes));
    text::facts(&facts)
}

/// A line for each class of which there are files.
fn class_facts(classes: &ClassSums) -> impl Iterator<Item = (&'static str, String)> {
    let labels = ["inline files", "default class", "large class", "database class", "tensor class"];
    labels.into_iter().zip(classes.by_name()).map(|(label, (_, sum))| {
        let totals = Totals { size: sum.size, data: sum.data, ..Totals::default() };
        let fact = format!("{} in {}", sizes(&totals), text::count(sum.files, "file"));
        (label, if sum.files == 0 { String::new() } else { fact })
    })
}

fn only_path(at: &Resolved) -> String {
    if at.path == b"/" { String::new() } else { text::escaped(&at.path).into_owned() }
}

fn sum_json(sum: Sum) -> serde_json::Value {
    json!({ "count": sum.count, "bytes": sum.bytes })
}

fn repository_json(report: &StatsReport) -> serde_json::Value {
    json!({
        "snapshots": report.snapshots,
        "oldest": report.span.map(|(oldest, _)| as_json::time(oldest)),
        "newest": report.span.map(|(_, newest)| as_json::time(newest)),
        "totals": as_json::totals(&report.totals),
        "classes": as_json::classes(&report.classes),
        "data_chunks": sum_json(report.data_chunks),
        "meta_chunks": sum_json(report.meta_chunks),
        "data_packs": sum_json(report.data_packs),
        "meta_packs": sum_json(report.meta_packs),
        "segments": sum_json(report.segments),
        "stored": sum_json(report.stored),
        "damaged": report.damaged.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn repository_text(report: &StatsReport) -> String {
    let span = report.span.map(|(oldest, newest)| {
        format!(", {} to {}", units::local_time(oldest), units::local_time(newest))
    });
    let sum = |sum: Sum, what: &str| {
        format!("{} in {}", units::size(sum.bytes), text::count(sum.count, what))
    };
    let times = |plain: u64, stored: u64| match text::ratio(plain, stored) {
        ratio if ratio.is_empty() => ratio,
        ratio => format!(", {ratio} smaller"),
    };
    let distinct = report.data_chunks.bytes + report.meta_chunks.bytes;
    let mut facts = vec![
        ("snapshots", format!("{}{}", text::number(report.snapshots), span.unwrap_or_default())),
        (
            "all together",
            format!("{} in {}", sizes(&report.totals), text::count(report.totals.files, "file")),
        ),
    ];
    facts.extend(class_facts(&report.classes));
    facts.extend([
        ("distinct content", sum(report.data_chunks, "chunk")),
        ("distinct metadata", sum(report.meta_chunks, "chunk")),
        ("content as stored", sum(report.data_packs, "pack")),
        ("metadata as stored", sum(report.meta_packs, "pack")),
        ("index", sum(report.segments, "segment")),
        (
            "repository",
            format!(
                "{} in {}",
                units::size(report.stored.bytes),
                text::count(report.stored.count, "object")
            ),
        ),
        (
            "by deduplication",
            times(report.totals.data, report.data_chunks.bytes).trim_start_matches(", ").into(),
        ),
        (
            "by compression",
            times(distinct, report.data_packs.bytes + report.meta_packs.bytes)
                .trim_start_matches(", ")
                .into(),
        ),
    ]);
    text::facts(&facts)
}
