//! `icecore stats`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::format::{Body, Snapshot, SnapshotId, Totals};
use crate::ops::path::{self, Resolved};
use crate::ops::stats::{self, Alone, ClassCounter, ClassSums, Held, StatsReport, Sum};
use crate::repo::{RepoError, Repository, SnapshotFilter};
use crate::report::verify::coverage;
use crate::report::{json as as_json, text};
use crate::units;

use super::context::Context;
use super::error::show_damage;
use super::exit::Exit;
use super::snapshots::FilterOptions;

/// Tell what the repository, or one snapshot, holds and costs
///
/// Of the repository: all snapshots together, the distinct chunks they are made of, what those take
/// as stored, and how much of that was verified lately; and temporary files that writers left which
/// were stopped, or are writing, where there are any: `icecore prune` deletes old ones. Of a snapshot or a path in one: what it
/// holds, and what the snapshot added. Files are also summed up by how they were cut into chunks:
/// inline (too small for any), default and large (by content), database (at pages), tensor (at
/// tensors).
///
/// A whole snapshot is also told what it alone holds: what would be free once it was forgotten and
/// pruned, and no other. For that the directories of all snapshots are read. --snapshots gives one
/// line for each snapshot, and so how the repository grew: its size, how much of it was new to its
/// ingest, what is stored of it that none before it has, the sum of that, and what it alone holds.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup stats
  icecore -r /backup stats latest latest~1
  icecore -r /backup stats --snapshots")]
pub(crate) struct Stats {
    /// Snapshot, and a path in it [default: the whole repository]
    #[arg(value_name = "SNAP[:/PATH]", conflicts_with = "snapshots")]
    at: Vec<OsString>,

    /// A line for each snapshot
    #[arg(long)]
    snapshots: bool,

    #[command(flatten)]
    filter: FilterOptions,
}

impl Stats {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let repo = cx.repository()?;
        let filter = self.filter.clone().filter();
        if self.snapshots {
            return growth(cx, &repo, &filter);
        }
        if !self.at.is_empty() {
            return self.some(cx, &repo, &filter);
        }
        let report = stats::run(&repo, cx.interrupt.flag())?;
        report.damaged.iter().for_each(show_damage);
        cx.data(|| repository_json(&report), || repository_text(&report))?;
        Ok(if report.damaged.is_empty() { Exit::Done } else { Exit::Damage })
    }

    fn some(
        &self,
        cx: &mut Context,
        repo: &Repository,
        filter: &SnapshotFilter,
    ) -> anyhow::Result<Exit> {
        let names = self.at.iter().map(|name| path::resolve(repo, name.as_bytes(), filter));
        let all: Vec<_> = names.collect::<Result<_, _>>()?;
        let wants_alone = all.iter().any(|at| at.path == b"/");
        let (held, mut damaged) = match wants_alone {
            true => held_by_id(cx, repo)?,
            false => Default::default(),
        };
        for (number, at) in all.iter().enumerate() {
            let totals = totals(at);
            let mut counter = ClassCounter::new(repo, cx.interrupt.flag());
            let classes = counter.count(&at.node)?;
            damaged.extend(counter.into_damaged());
            let held = held.get(&at.snapshot.id).filter(|_| at.path == b"/");
            let alone = held.map(|held| &held.alone);
            let gap = if number > 0 { "\n" } else { "" };
            cx.data(
                || snapshot_json(at, &totals, &classes, alone),
                || format!("{gap}{}", snapshot_text(at, &totals, &classes, alone)),
            )?;
        }
        damaged.iter().for_each(show_damage);
        Ok(if damaged.is_empty() { Exit::Done } else { Exit::Damage })
    }
}

/// What each snapshot holds, and no other.
type ById = HashMap<SnapshotId, Held>;

fn held_by_id(cx: &Context, repo: &Repository) -> anyhow::Result<(ById, Vec<RepoError>)> {
    let list = repo.snapshots()?;
    let (held, mut damaged) = stats::held(repo, &list.snapshots, cx.interrupt.flag())?;
    let ids = list.snapshots.iter().map(|snapshot| snapshot.id);
    damaged.extend(list.damaged);
    Ok((ids.zip(held).collect(), damaged))
}

fn growth(cx: &mut Context, repo: &Repository, filter: &SnapshotFilter) -> anyhow::Result<Exit> {
    let (held, damaged) = held_by_id(cx, repo)?;
    let mut snapshots = repo.snapshots()?.snapshots;
    snapshots.retain(|snapshot| filter.fits(snapshot));
    damaged.iter().for_each(show_damage);
    let lines: Vec<_> = snapshots
        .iter()
        .map(|snapshot| (snapshot, held.get(&snapshot.id).copied().unwrap_or_default()))
        .collect();
    cx.data(|| growth_json(&lines), || growth_text(&lines))?;
    Ok(if damaged.is_empty() { Exit::Done } else { Exit::Damage })
}

fn growth_json(lines: &[(&Snapshot, Held)]) -> serde_json::Value {
    let mut stored = 0;
    let line = |(snapshot, held): &(&Snapshot, Held)| {
        stored += held.first_stored;
        json!({
            "id": snapshot.id,
            "time": as_json::time(snapshot.time),
            "host": snapshot.host,
            "totals": as_json::totals(&snapshot.totals()),
            "added": {
                "chunks": snapshot.added.chunks,
                "plain": snapshot.added.plain,
                "stored": snapshot.added.stored,
            },
            "alone": alone_json(&held.alone),
            "stored": held.first_stored,
            "sum": stored,
        })
    };
    json!({ "snapshots": lines.iter().map(line).collect::<Vec<_>>() })
}

fn growth_text(lines: &[(&Snapshot, Held)]) -> String {
    let mut stored = 0;
    let row = |(snapshot, held): &(&Snapshot, Held)| {
        stored += held.first_stored;
        vec![
            snapshot.id.short(),
            units::local_time(snapshot.time),
            units::size(snapshot.totals().size),
            units::size(snapshot.added.plain),
            units::size(held.first_stored),
            units::size(stored),
            units::size(held.alone.stored),
        ]
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
    let header = ["id", "time", "size", "new", "grew by", "sum", "alone"];
    let count = text::count(rows.len() as u64, "snapshot");
    format!("{}{count}\n", text::table(&header, &[2, 3, 4, 5, 6], rows))
}

fn alone_json(alone: &Alone) -> serde_json::Value {
    json!({ "chunks": alone.chunks, "plain": alone.plain, "stored": alone.stored })
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

fn snapshot_json(
    at: &Resolved,
    totals: &Totals,
    classes: &ClassSums,
    alone: Option<&Alone>,
) -> serde_json::Value {
    let mut snapshot = as_json::snapshot(&at.snapshot);
    if let Some(fields) = snapshot.as_object_mut() {
        fields.remove("troubles");
    }
    json!({
        "snapshot": snapshot,
        "path": as_json::path(&at.path),
        "totals": as_json::totals(totals),
        "classes": as_json::classes(classes),
        "alone": alone.map(alone_json),
    })
}

fn snapshot_text(
    at: &Resolved,
    totals: &Totals,
    classes: &ClassSums,
    alone: Option<&Alone>,
) -> String {
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
            "alone",
            alone.map_or_else(String::new, |alone| {
                let chunks = text::count(alone.chunks, "chunk");
                let (plain, stored) = (units::size(alone.plain), units::size(alone.stored));
                format!("{plain} in {chunks}, stored as {stored}")
            }),
        ),
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
        "temporaries": sum_json(report.temporaries),
        "coverage": report.coverage,
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
            "temporary",
            match report.temporaries.count {
                0 => String::new(),
                _ => format!("{}, beside the objects", sum(report.temporaries, "file")),
            },
        ),
        ("verified", coverage(&report.coverage)),
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
        (
            "all in all",
            times(report.totals.data, report.stored.bytes).trim_start_matches(", ").into(),
        ),
    ]);
    text::facts(&facts)
}
