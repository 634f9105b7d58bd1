//! `icecore ls`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::Args;

use crate::format::{Body, SnapshotId};
use crate::ops::ls::{self, ListOptions};
use crate::ops::path::{self, Walked};
use crate::report::{json, text};
use crate::units;

use super::context::Context;
use super::error::talk_error;
use super::exit::Exit;
use super::misplaced;
use super::snapshots::FilterOptions;
use crate::units::chain;

/// List what a snapshot holds
///
/// Of a directory its entries, of anything else itself. Names are printed one per line, on a
/// terminal with control characters escaped; --print0 ends raw names by NUL. With --json each entry
/// is one line with a JSON document.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup ls latest:/srv/models
  icecore -r /backup ls -lR 2026-11-22:/etc
  icecore -r /backup ls -R --json latest | jq -r 'select(.size > 1e9) | .path'")]
pub(crate) struct Ls {
    /// Snapshot, and a path in it
    #[arg(value_name = "SNAP[:/PATH]", default_value = "latest")]
    at: Vec<OsString>,

    #[command(flatten)]
    format: EntryFormat,

    #[command(flatten)]
    filter: FilterOptions,

    /// List everything below, by full path
    #[arg(short = 'R', long)]
    recursive: bool,

    /// List a directory itself instead of its entries
    #[arg(short, long, conflicts_with = "recursive")]
    directory: bool,
}

/// How one entry is printed.
#[derive(Debug, Args)]
pub(crate) struct EntryFormat {
    /// Mode, links, owner, size and time too
    #[arg(short, long, conflicts_with = "print0")]
    long: bool,

    /// Owners by number
    #[arg(short, long, requires = "long")]
    numeric: bool,

    /// Raw names ended by NUL, for xargs -0
    #[arg(short = '0', long, conflicts_with = "json")]
    print0: bool,
}

impl Ls {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let repo = cx.repository()?;
        let filter = self.filter.filter();
        let (mut exit, mut missing) = (Exit::Done, None);
        for name in &self.at {
            let at = path::resolve(&repo, name.as_bytes(), &filter);
            let at = at.map_err(|err| misplaced::explained(&repo, err.into()))?;
            let options = ListOptions { recursive: self.recursive, directory: self.directory };
            for entry in ls::list(&repo, &at, options) {
                cx.interrupt.check()?;
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(unread) => {
                        talk_error(&chain(&unread));
                        exit = Exit::Damage;
                        missing = missing.or(unread.source.missing_chunk());
                        continue;
                    }
                };
                let whole = self.recursive || entry.depth == 0;
                let shown = if whole { &entry.path } else { &entry.node.name };
                print_entry(cx, &self.format, at.snapshot.id, &entry, shown)?;
            }
        }
        misplaced::hint(&repo, missing);
        Ok(exit)
    }
}

/// One entry, as `shown`, in whatever form was asked for.
pub(crate) fn print_entry(
    cx: &mut Context,
    format: &EntryFormat,
    snapshot: SnapshotId,
    entry: &Walked,
    shown: &[u8],
) -> anyhow::Result<()> {
    if cx.global.json {
        let mut node = json::document(json::node(&entry.path, &entry.node, entry.node.owner()));
        if let Some(fields) = node.as_object_mut() {
            fields.insert("snapshot".into(), snapshot.to_string().into());
        }
        return Ok(cx.out.json(&node)?);
    }
    if format.print0 {
        cx.out.write(shown)?;
        return Ok(cx.out.write(b"\0")?);
    }
    if format.long {
        cx.out.write(long(entry, format.numeric).as_bytes())?;
    }
    cx.out.name(shown)?;
    if format.long
        && let Body::Symlink { target } = &entry.node.body
    {
        cx.out.write(b" -> ")?;
        cx.out.name(target)?;
    }
    Ok(cx.out.write(b"\n")?)
}

/// Everything of a long line but the name.
fn long(entry: &Walked, numeric: bool) -> String {
    let node = &entry.node;
    let owner = node.owner();
    let name = |name: &str, number: u32| match name {
        name if numeric || name.is_empty() => number.to_string(),
        name => text::escaped(name.as_bytes()).into_owned(),
    };
    let size = match &node.body {
        Body::File(file) => file.size.to_string(),
        Body::Directory { totals, .. } => totals.size.to_string(),
        Body::Symlink { target } => target.len().to_string(),
        Body::CharDevice { major, minor } | Body::BlockDevice { major, minor } => {
            format!("{major}, {minor}")
        }
        Body::Fifo | Body::Socket => "0".into(),
    };
    format!(
        "{} {:>3} {:<8} {:<8} {:>12} {} ",
        text::mode(&node.body, node.mode),
        node.link.map_or(1, |link| link.count),
        name(&owner.user, owner.uid),
        name(&owner.group, owner.gid),
        size,
        units::local_time(node.mtime),
    )
}
