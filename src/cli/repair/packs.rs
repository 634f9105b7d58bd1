//! `icecore repair packs`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::ask::confirm;
use crate::cli::context::{Context, Opened};
use crate::cli::error::{CliError, GIVE_UP, talk_error};
use crate::cli::exit::Exit;
use crate::cli::progress::talk;

use crate::ops::repair::packs::{self, PacksOptions, PacksPlan};
use crate::repo::{OpenOptions, RepoError, Repository, SESSION_TIMEOUT, Secret};
use crate::report::repair as report;

use super::{Consent, Mended, verified, writer};

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
/// Nothing counts as lost that lies in a pack which no index segment lists: nothing is done then,
/// and `icecore repair index` comes first.
///
/// Exit code 0 where all is whole again, 4 where content was lost, or the index comes first.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup repair packs --dry-run
  icecore -r /backup repair packs
  icecore -r /backup repair packs --from /mnt/copy-of-backup --yes")]
pub(crate) struct Packs {
    #[command(flatten)]
    consent: Consent,

    /// Folder of another repository that may have what this one lost, opened with the same key
    #[arg(long, value_name = "REPOSITORY")]
    from: Option<PathBuf>,

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
        let done = if self.consent.dry_run {
            packs::dry_run(plan)
        } else {
            self.ask(&plan, cx.global.json)?;
            let (writer, session_timeout) = (writer(), SESSION_TIMEOUT);
            let options = PacksOptions { writer, forget: self.forget, session_timeout };
            packs::execute(&repo, from.as_ref(), plan, &options, cx.interrupt.flag())?
        };
        if !cx.global.json {
            report::packs_lost(&done).iter().for_each(|line| talk_error(line));
            if done.lost_paths > 0 && !self.forget {
                talk(&format!("  hint: {GIVE_UP}"));
            }
        }
        cx.report(|| report::packs_json(&done), || report::packs_text(&done))?;
        if !done.dry_run {
            verified(cx, &repo, Mended::Packs)?;
        }
        let bad = done.lost_paths > 0 || (done.dry_run && !done.plan.is_idle());
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
        let from = cx.open_with(path, secret, &OpenOptions::default()).map_err(no_replica)?;
        if !from.shares_ids_with(repo) {
            let what = format!("{} has other keys: its content has other ids", path.display());
            let err = CliError::failed(what);
            return Err(err.hint("restore from it and ingest what was lost").into());
        }
        from.set_healing(false);
        Ok(Some(from))
    }

    fn ask(&self, plan: &PacksPlan, json: bool) -> anyhow::Result<()> {
        confirm("Set these packs aside?", self.consent.yes || !plan.is_destructive(), json)
    }
}

/// A replica is not made here.
pub(super) fn no_replica(err: anyhow::Error) -> anyhow::Error {
    match err.downcast_ref::<RepoError>() {
        Some(RepoError::NoRepository { location }) => {
            let what = format!("no repository at {location}, which --from names");
            let hint =
                "--from names a replica: a copy of the files, or what `icecore replicate` wrote";
            CliError::no_repository(what).hint(hint).into()
        }
        _ => err,
    }
}
