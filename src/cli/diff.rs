//! `icecore diff`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::Args;

use crate::ops::diff;
use crate::repo::{Change, OpenOptions, PathChange};
use crate::report::diff as report;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::misplaced;
use super::snapshots::FilterOptions;

/// Tell what differs between two snapshots
///
/// One line for each entry that was added or removed or is not the same, in the order of the tree:
/// a letter, what differs, and the path, which begins at the first slash. A: added. D: removed
/// (deleted). M: its content differs, or where a link leads. P: only its properties do: mode,
/// owner, mtime, xattrs. T: it became something else, a file a directory say. Entries go by their
/// path: one that moved was removed and added. ctime, atime, link counts and the mtime of
/// directories do not count.
///
/// The directories of both snapshots are compared, no content is read, and what is equal on both
/// sides is passed over unread. A mounted repository shows the same as files under /diff.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup diff latest~1 latest
  icecore -r /backup diff 2026-11-01 latest /etc --name-only
  icecore -r /backup diff latest~7 latest --stat
  icecore -r /backup diff latest~1 latest --json | jq -r 'select(.change == \"removed\") | .path'")]
pub(crate) struct Diff {
    /// The snapshot to compare from
    #[arg(value_name = "A")]
    old: String,

    /// The snapshot to compare with
    #[arg(value_name = "B")]
    new: String,

    /// Only what is at or below this path
    #[arg(value_name = "PATH", default_value = "/", hide_default_value = true)]
    path: OsString,

    /// Sums only: how many files and bytes were added, removed and changed
    #[arg(long)]
    stat: bool,

    /// Paths only
    #[arg(long, conflicts_with = "stat")]
    name_only: bool,

    /// Raw paths ended by NUL, for xargs -0
    #[arg(short = '0', long, requires = "name_only", conflicts_with = "json")]
    print0: bool,

    #[command(flatten)]
    filter: FilterOptions,
}

/// Pages are come to in order, most blocks once: memory that is used again costs less than new.
const CACHE_BYTES: usize = 16 << 20;

impl Diff {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        self.refuse_paths_in_names()?;
        let options = OpenOptions { block_cache_bytes: CACHE_BYTES, ..cx.open_options() };
        let repo = cx.repository_with(options)?;
        let filter = self.filter.clone().filter();
        let old = repo.find_snapshot(&self.old, &filter)?;
        let new = repo.find_snapshot(&self.new, &filter)?;
        let explained = |err: anyhow::Error| misplaced::explained(&repo, err);
        let pair = diff::pair(&repo, &old, &new, self.path.as_bytes());
        let pair = pair.map_err(|err| explained(err.into()))?;
        if self.stat {
            let sums = diff::sums(&repo, &pair, cx.interrupt.flag());
            let sums = sums.map_err(|err| explained(err.into()))?;
            cx.data(|| report::sums_json(&old, &new, &pair, &sums), || report::sums_text(&sums))?;
            return Ok(Exit::Done);
        }
        for found in diff::changes(&repo, &pair) {
            cx.interrupt.check()?;
            self.print(cx, &found.map_err(|err| explained(err.into()))?)?;
        }
        Ok(Exit::Done)
    }

    /// `ls` and `cat` take `SNAP:/path`; here one path is for both snapshots.
    fn refuse_paths_in_names(&self) -> Result<(), CliError> {
        let split = |name: &str| {
            let (snapshot, path) = name.split_once(":/")?;
            Some((snapshot.to_owned(), format!("/{path}")))
        };
        let (old, new) = (split(&self.old), split(&self.new));
        let Some((_, path)) = old.clone().or_else(|| new.clone()) else { return Ok(()) };
        let snapshot = |found: Option<(String, String)>, name: &String| {
            found.map_or_else(|| name.clone(), |(snapshot, _)| snapshot)
        };
        let (a, b) = (snapshot(old, &self.old), snapshot(new, &self.new));
        let err = CliError::usage("snapshots are named without a path here, which comes last");
        Err(err.hint(format!("icecore diff {a} {b} {path}")))
    }

    fn print(&self, cx: &mut Context, found: &PathChange) -> anyhow::Result<()> {
        if cx.global.json {
            return Ok(cx.out.json(&report::json(found))?);
        }
        if self.print0 {
            cx.out.write(&found.path)?;
            return Ok(cx.out.write(b"\0")?);
        }
        if !self.name_only {
            let attributes = match &found.change {
                Change::Added(_) | Change::Removed(_) => "-".into(),
                Change::Changed { old, new, .. } => diff::attributes(old, new).join(","),
            };
            let letter = report::letter(&found.change);
            cx.out.write(format!("{letter} {attributes:<20} ").as_bytes())?;
        }
        cx.out.name(&found.path)?;
        Ok(cx.out.write(b"\n")?)
    }
}
