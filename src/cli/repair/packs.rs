//! `icecore repair packs`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::ask::confirm;
use crate::cli::context::{Context, Opened};
use crate::cli::error::{CliError, talk_error};
use crate::cli::exit::Exit;

use crate::ops::repair::packs::{self, PacksOptions, PacksPlan};
use crate::repo::{OpenOptions, Repository, Secret, Writer};
use crate::report::repair as report;

/// Heal damaged and lost packs, and do without those that nobody has
///
/// Reads every pack. One whose bytes are not what its name says is healed from its parity, or, with
/// --from, taken from a replica that has it whole. Of one that neither gives, every chunk that can
/// still be read is written anew, here or in a replica with the same keys; then the pack is set
/// aside: removed, and the index says nothing of it any more.
///
/// Files that lost content are listed. Each snapshot that has such files gets a successor, a
/// nanosecond younger, that names them as troubles: all else in it is whole, and reading what was
/// lost gives an error. The snapshot itself stays; --forget marks it as one that prune may remove.
///
/// Exit code 0 where all is whole again, 4 where content was lost.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup repair packs --dry-run
  icecore -r /backup repair packs
  icecore -r /backup repair packs --from /mnt/copy-of-backup --yes")]
pub(crate) struct Packs {
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Folder of another repository that may have what this one lost, opened with the same key
    #[arg(long, value_name = "REPOSITORY")]
    from: Option<PathBuf>,

    /// Do not ask before packs are set aside
    #[arg(long)]
    yes: bool,

    /// Mark snapshots that lost content as forgotten once they have a successor
    #[arg(long)]
    forget: bool,
}

impl Packs {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let Opened { repo, secret } = cx.open()?;
        let from = self.open_from(cx, &repo, secret.as_ref())?;
        let bar = cx.bar("reading packs");
        let plan = packs::plan(&repo, from.as_ref(), &bar, cx.interrupt.flag());
        drop(bar);
        let plan = plan?;
        if !cx.global.json {
            report::packs_plan(&plan).iter().for_each(|line| talk_error(line));
        }
        let done = if self.dry_run {
            packs::dry_run(plan)
        } else {
            self.ask(&plan)?;
            let writer = Writer { host: crate::fsutil::machine(), pid: std::process::id() };
            let options = PacksOptions { writer, forget: self.forget };
            packs::execute(&repo, from.as_ref(), plan, &options, cx.interrupt.flag())?
        };
        if !cx.global.json {
            report::packs_lost(&done).iter().for_each(|line| talk_error(line));
        }
        cx.report(|| report::packs_json(&done), || report::packs_text(&done))?;
        let bad = done.lost_paths > 0 || (done.dry_run && !done.plan.bad.is_empty());
        Ok(if bad { Exit::Damage } else { Exit::Done })
    }

    /// The replica: of the same repository, or one whose chunks have the same ids.
    fn open_from(
        &self,
        cx: &Context,
        repo: &Repository,
        secret: Option<&Secret>,
    ) -> anyhow::Result<Option<Repository>> {
        let Some(path) = &self.from else { return Ok(None) };
        let from = cx.open_with(path, secret, &OpenOptions::default())?;
        let (theirs, ours) = (from.config(), repo.config());
        if theirs.repository != ours.repository && (theirs.encrypted || ours.encrypted) {
            let what = format!("{} has other keys: its content has other ids", path.display());
            let err = CliError::failed(what);
            return Err(err.hint("restore from it and ingest what was lost").into());
        }
        from.set_healing(false);
        Ok(Some(from))
    }

    fn ask(&self, plan: &PacksPlan) -> anyhow::Result<()> {
        confirm("Set these packs aside?", self.yes || !plan.is_destructive())
    }
}
