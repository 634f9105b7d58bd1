//! `icecore repair snapshots`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::ask::confirm;
use crate::cli::context::{Context, Opened, local_storage};
use crate::cli::exit::Exit;
use crate::cli::misplaced;
use crate::cli::progress::talk;
use crate::format::Folder;
use crate::ops::repair::snapshots::{self, Finding, Replica, Step};
use crate::repo::{OpenOptions, Repository, Secret};
use crate::report::repair as report;
use crate::storage::Storage;

use super::packs::no_replica;
use super::{Consent, Mended, verified, writer};

/// Tell which snapshots cannot be read, and put right what a replica has
///
/// Lists snapshots that are damaged, and those of which directories cannot be read; the latter is
/// mended where the packs are. A damaged snapshot can only be taken from a replica, whose folder
/// --from names: a copy of this repository's files, or a repository with the same keys, or none on
/// both sides, into which snapshots were replicated. Those that it has and that are not here any
/// more come back, unless a prune removed them, as far as all of their content is here.
///
/// Where a record of prune is damaged, nobody knows which snapshots were removed on purpose: it is put
/// right first, and those that are missing come back when the repair is run again.
///
/// Damaged marks are taken from a copy of the files too; without it they are removed where that is
/// safe: a snapshot that was forgotten is there again, tags are what the record before says, and so
/// are settings. A record of the ledger that cannot be read is removed, and a new one says that it
/// is lost.
///
/// Exit code 4 where something stays wrong.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup repair snapshots --dry-run
  icecore -r /backup repair snapshots --from /mnt/second/backup")]
pub(crate) struct RepairSnapshots {
    #[command(flatten)]
    consent: Consent,

    /// Folder of a replica
    #[arg(long, value_name = "REPO")]
    from: Option<PathBuf>,
}

impl RepairSnapshots {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let Opened { repo, secret } = cx.open()?;
        if self.consent.dry_run {
            repo.set_read_only();
        }
        let files = self.from.as_deref().map(local_storage).transpose();
        let files = files.map_err(|err| no_replica(err.into()))?;
        let other = match &files {
            Some(files) => self.open_from(cx, &repo, secret.as_ref(), files)?,
            None => None,
        };
        let replica = match (&files, &other) {
            (Some(files), Some(other)) => Some(Replica::repository(files, other, &repo)?),
            (Some(files), None) => Some(Replica::files(files)),
            _ => None,
        };
        let replica = replica.as_ref();
        let plan = snapshots::plan(&repo, replica, cx.interrupt.flag())?;
        if !cx.global.json {
            misplaced::hint(&repo, plan.missing);
        }
        // What only the replica has may have been pruned here, years ago.
        let is_wrong = |it: &Finding| it.step == Step::Leave && !it.error.is_not_found();
        let left = plan.findings.iter().any(is_wrong);
        let stays = left || !plan.incomplete.is_empty();
        let is_idle = plan.steps().next().is_none();
        if self.consent.dry_run || is_idle {
            let json = || report::snapshots_json(&plan, None, self.consent.dry_run);
            cx.report(json, || report::snapshots_text(&plan))?;
            if !self.consent.dry_run {
                verified(cx, &repo, Mended::Records)?;
            }
            let wrong = stays || !is_idle;
            return Ok(if wrong { Exit::Damage } else { Exit::Done });
        }
        cx.show_plan(self.consent.yes, || report::snapshots_text(&plan))?;
        confirm("Do that?", self.consent.yes, cx.global.json)?;
        cx.interrupt.check()?;
        let done = snapshots::run(&repo, &plan, replica, &writer(), cx.interrupt.flag())?;
        let (replaced, removed) = done;
        let short = replaced + removed < plan.steps().count() as u64;
        cx.report(
            || report::snapshots_json(&plan, Some(done), false),
            || format!("{replaced} written, {removed} removed\n"),
        )?;
        let more = plan.is_postponed && {
            let next = snapshots::plan(&repo, replica, cx.interrupt.flag())?;
            next.is_postponed || next.steps().next().is_some()
        };
        if more && !cx.global.json {
            talk("  hint: run it again: what the replica has can be looked for now");
        }
        verified(cx, &repo, Mended::Records)?;
        Ok(if stays || short || more { Exit::Damage } else { Exit::Done })
    }

    /// The replica where it is a repository of its own, and no copy of this one's files.
    fn open_from(
        &self,
        cx: &Context,
        repo: &Repository,
        secret: Option<&Secret>,
        files: &dyn Storage,
    ) -> anyhow::Result<Option<Repository>> {
        let Some(path) = self.from.as_deref() else { return Ok(None) };
        match cx.open_with(path, secret, &OpenOptions::default()) {
            Ok(other) if other.config().repository == repo.config().repository => Ok(None),
            Ok(other) => Ok(Some(other)),
            Err(err) if files.list(Folder::Snapshots)?.is_empty() => Err(no_replica(err)),
            Err(err) => {
                tracing::warn!("{} is taken for a copy of files only: {err}", path.display());
                Ok(None)
            }
        }
    }
}
