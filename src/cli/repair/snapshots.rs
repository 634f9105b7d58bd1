//! `icecore repair snapshots`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::ask::confirm;
use crate::cli::context::{Context, local_storage};
use crate::cli::exit::Exit;
use crate::ops::repair::snapshots::{self, Step};
use crate::report::repair as report;
use crate::storage::Storage;

use super::Consent;

/// Tell which snapshots cannot be read, and put right what a replica has
///
/// Lists snapshots that are damaged, and those of which directories cannot be read; the latter is
/// mended where the packs are. A damaged snapshot can only be taken from a copy of this repository:
/// --from names its folder, and the copy's object counts where it opens in this one. Damaged marks
/// are taken from there too; without it they are removed where that is safe: a snapshot that was
/// forgotten is there again, tags are what the record before says.
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

    /// Folder of a copy of this repository
    #[arg(long, value_name = "REPO")]
    from: Option<PathBuf>,
}

impl RepairSnapshots {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let repo = cx.repository()?;
        let replica = self.from.as_deref().map(local_storage).transpose()?;
        let replica = replica.as_ref().map(|replica| replica as &dyn Storage);
        let plan = snapshots::plan(&repo, replica, cx.interrupt.flag())?;
        let left = plan.findings.iter().any(|finding| finding.step == Step::Leave);
        let stays = left || !plan.incomplete.is_empty();
        let is_idle = plan.steps().next().is_none();
        if self.consent.dry_run || is_idle {
            cx.report(|| report::snapshots_json(&plan, None), || report::snapshots_text(&plan))?;
            let wrong = stays || !is_idle;
            return Ok(if wrong { Exit::Damage } else { Exit::Done });
        }
        if !cx.global.json {
            cx.report(|| report::snapshots_json(&plan, None), || report::snapshots_text(&plan))?;
        }
        confirm("Do that?", self.consent.yes)?;
        cx.interrupt.check()?;
        let done = snapshots::run(&repo, &plan, replica)?;
        let (replaced, removed) = done;
        cx.report(
            || report::snapshots_json(&plan, Some(done)),
            || format!("{replaced} replaced, {removed} removed\n"),
        )?;
        Ok(if stays { Exit::Damage } else { Exit::Done })
    }
}
