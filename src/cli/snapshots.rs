//! `icecore snapshots`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::Args;
use serde_json::json;

use crate::format::Snapshot;
use crate::repo::{Repository, SnapshotFilter, SnapshotList};
use crate::report::{captures, json as as_json, text};
use crate::units;

use super::context::Context;
use super::error::show_damage;
use super::exit::Exit;

/// List snapshots
///
/// Oldest first. A snapshot goes by the start of its id (4 digits and more), by latest, latest~1
/// (the one before) and so on, or by a time: 2026-11-22 means the newest of that day.
///
/// An asterisk marks a partial snapshot: something at its sources could not be read; --json lists
/// what. A P marks a protected one. A copy shows the id that it has in the first repository. What was forgotten is left out, and shown by --forgotten until
/// a prune removes it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup snapshots --host db1 --tag nightly
  icecore -r /backup snapshots --forgotten
  icecore -r /backup snapshots --json latest | jq '.snapshots[0].troubles'")]
pub(crate) struct Snapshots {
    /// Only these [default: all]
    #[arg(value_name = "SNAP")]
    names: Vec<String>,

    /// Those that were forgotten, and no others
    #[arg(long)]
    forgotten: bool,

    #[command(flatten)]
    filter: FilterOptions,
}

/// Which snapshots count.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which snapshots count")]
pub(crate) struct FilterOptions {
    /// Only snapshots of this host
    #[arg(long)]
    host: Option<String>,

    /// Only snapshots with this tag; several times: with all of them
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,

    /// Only snapshots with this path among their sources
    #[arg(long, value_name = "PATH")]
    source: Option<OsString>,
}

impl FilterOptions {
    pub(crate) fn filter(self) -> SnapshotFilter {
        let Self { host, tags, source } = self;
        SnapshotFilter { host, tags, source: source.map(as_recorded) }
    }

    /// The same as arguments.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let host = self.host.iter().map(|host| ("--host", host.into()));
        let tags = self.tags.iter().map(|tag| ("--tag", tag.into()));
        let source = self.source.iter().map(|source| ("--source", source.clone()));
        let all = host.chain(tags).chain(source);
        all.flat_map(|(option, value)| [option.into(), value]).collect()
    }
}

impl Snapshots {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let repo = cx.repository()?;
        let list = chosen(&repo, &self.names, &self.filter.filter(), self.forgotten)?;
        cx.interrupt.check()?;
        cx.data(|| list_json(&list), || list_text(&list))?;
        Ok(said_damage(&list))
    }
}

/// Says what of a list is damaged, and gives the exit code for it.
pub(crate) fn said_damage(list: &SnapshotList) -> Exit {
    list.damaged.iter().chain(&list.damaged_marks).for_each(show_damage);
    let sound = list.damaged.is_empty() && list.damaged_marks.is_empty();
    if sound { Exit::Done } else { Exit::Damage }
}

fn chosen(
    repo: &Repository,
    names: &[String],
    filter: &SnapshotFilter,
    forgotten: bool,
) -> anyhow::Result<SnapshotList> {
    let mut list = if forgotten { repo.forgotten_snapshots()? } else { repo.snapshots()? };
    if names.is_empty() {
        list.retain(filter);
        return Ok(list);
    }
    let named = names.iter().map(|name| list.find(name, filter)).collect::<Result<_, _>>()?;
    Ok(SnapshotList { snapshots: named, damaged: Vec::new(), ..list })
}

fn list_json(list: &SnapshotList) -> serde_json::Value {
    let each = |snapshot: &Snapshot| {
        let mut fields = as_json::snapshot(snapshot);
        fields["protected"] = list.protected.contains(&snapshot.id).into();
        fields
    };
    let damaged = list.damaged.iter().chain(&list.damaged_marks);
    json!({
        "snapshots": list.snapshots.iter().map(each).collect::<Vec<_>>(),
        "damaged": damaged.map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// The column of what copies were made of, which only a replica has.
const ORIGIN: usize = 7;

fn list_text(list: &SnapshotList) -> String {
    let row = |snapshot: &Snapshot| {
        let totals = snapshot.totals();
        let paths = snapshot.sources.iter().map(|source| text::escaped(&source.path).into_owned());
        vec![
            snapshot.id.short(),
            units::local_time(snapshot.time),
            text::escaped(snapshot.host.as_bytes()).into_owned(),
            text::number(totals.files),
            units::size(totals.size),
            marks(snapshot.is_partial(), list.protected.contains(&snapshot.id)).into(),
            text::escaped(snapshot.tags.join(",").as_bytes()).into_owned(),
            snapshot.origin.map_or_else(String::new, |origin| origin.snapshot.short()),
            paths.chain(captured(snapshot)).collect::<Vec<_>>().join(" "),
        ]
    };
    let mut header = vec!["id", "time", "host", "files", "size", "", "tags", "copy of", "sources"];
    let mut rows: Vec<_> = list.snapshots.iter().map(row).collect();
    if list.snapshots.iter().all(|snapshot| snapshot.origin.is_none()) {
        header.remove(ORIGIN);
        rows.iter_mut().for_each(|row| drop(row.remove(ORIGIN)));
    }
    match rows.len() {
        0 => "no snapshots\n".into(),
        count => {
            let count = text::count(count as u64, "snapshot");
            format!("{}{count}\n", text::table(&header, &[3, 4], rows))
        }
    }
}

/// How its sources were captured, and how far apart, where there is something to tell.
fn captured(snapshot: &Snapshot) -> Option<String> {
    let methods = captures::methods(&snapshot.captures);
    let skew = captures::skew(&snapshot.captures);
    let skew = skew.map_or(String::new(), |skew| format!("; skew {}", text::duration(skew)));
    (!methods.is_empty()).then(|| format!("({methods}{skew})"))
}

/// What is special about a snapshot, in a column of its own.
const fn marks(partial: bool, protected: bool) -> &'static str {
    match (partial, protected) {
        (false, false) => "",
        (true, false) => "*",
        (false, true) => "P",
        (true, true) => "*P",
    }
}

/// A source as snapshots record it: absolute, without a slash at the end.
fn as_recorded(path: OsString) -> Vec<u8> {
    // The name of a stream is no path here.
    let full = match std::path::absolute(&path) {
        Ok(full) if full.exists() => full.into_os_string(),
        _ => path,
    };
    let mut bytes = full.into_vec();
    while bytes.len() > 1 && bytes.ends_with(b"/") {
        bytes.pop();
    }
    bytes
}
