//! `icecore restore`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;

use crate::ops::path;
use crate::ops::restore::{self, RestoreOptions, RestoreReport};
use crate::report::restore as report;

use super::context::Context;
use super::exit::Exit;
use super::misplaced;
use super::snapshots::FilterOptions;

/// Restore a snapshot, or a path of one, to a directory
///
/// DIR becomes what the path was, with all metadata: `restore latest:/srv --to /new` makes /new
/// what /srv was. What is right already is left alone, so a restore that was stopped goes on when
/// it is run again. Nothing is removed but what stands in the way, unless --delete.
///
/// The result is that of cp -a from the mount, in parallel. Owners, devices and some attributes
/// need root. Entries that cannot be restored are listed and never stop the rest: the exit code is
/// 4 where stored content was damaged or does not read back, else 1.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup restore latest:/srv/models --to /srv/models
  icecore -r /backup restore 2026-11-22 --host db1 --to /mnt/new --verify
  icecore -r /backup restore latest:/etc --to /etc --delete --dry-run")]
pub(crate) struct Restore {
    /// Snapshot, and a path in it
    #[arg(value_name = "SNAP[:/PATH]")]
    at: OsString,

    /// What becomes a copy of the path; made where only it is missing
    #[arg(long, value_name = "DIR")]
    to: PathBuf,

    /// Only tell what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// Compare the content of what looks right too, and read everything back at the end
    #[arg(long)]
    verify: bool,

    /// Remove what the snapshot does not have
    #[arg(long)]
    delete: bool,

    /// Take owners by name where this system knows the name, instead of by number
    #[arg(long)]
    owner_names: bool,

    /// Threads that write [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    #[arg(allow_hyphen_values = true)]
    threads: Option<u16>,

    #[command(flatten)]
    filter: FilterOptions,
}

impl Restore {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let repo = cx.repository_for(self.dry_run)?;
        let resolved = path::resolve(&repo, self.at.as_bytes(), &self.filter.filter());
        let resolved = resolved.map_err(|err| misplaced::explained(&repo, err.into()))?;
        let options = RestoreOptions {
            resolved,
            to: self.to,
            dry_run: self.dry_run,
            verify: self.verify,
            delete: self.delete,
            threads: self.threads.map_or(0, usize::from),
            owner_names: self.owner_names,
            any_owner: false,
            sample: None,
        };
        let bar = cx.bar("restoring");
        let done = restore::run(&repo, options, &bar, cx.interrupt.flag());
        drop(bar);
        let done = done?;
        cx.report(|| report::json(&done), || report::text(&done))?;
        if !cx.global.json {
            misplaced::hint(&repo, done.missing);
        }
        Ok(exit(&done))
    }
}

fn exit(report: &RestoreReport) -> Exit {
    match report {
        RestoreReport { damaged, differing, .. } if damaged + differing > 0 => Exit::Damage,
        RestoreReport { troubles_count: 1.., .. } => Exit::Failed,
        _ => Exit::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_outweighs_other_troubles() {
        let with = |damaged, differing, troubles_count| {
            exit(&RestoreReport { damaged, differing, troubles_count, ..Default::default() })
        };
        assert_eq!(with(0, 0, 0), Exit::Done);
        assert_eq!(with(0, 0, 3), Exit::Failed);
        assert_eq!(with(1, 0, 3), Exit::Damage);
        assert_eq!(with(0, 1, 1), Exit::Damage);
    }
}
