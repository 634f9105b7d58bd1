//! `icecore repair index`.

use clap::Args;

use crate::cli::ask::confirm;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::ops::repair::index;
use crate::report::repair as report;

use super::{Consent, Mended, verified, writer};

/// Build the index anew from the packs
///
/// Reads the footer of each pack, which says what the pack holds, and compares that with the index.
/// Where they differ, or index segments are damaged, new segments are written; the old ones are
/// deleted only after that. Of a pack whose own footer is damaged, the new index knows what the old
/// one did. Packs that are gone are left out: what they held counts as absent, and is stored again
/// by the next ingest that meets it.
///
/// Exit code 4 where something stays wrong: packs without a footer that can be read, or after
/// --dry-run whatever would be put right.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup repair index --dry-run
  icecore -r /backup repair index --yes")]
pub(crate) struct RepairIndex {
    #[command(flatten)]
    consent: Consent,

    /// Write a new index though the old one is sound
    #[arg(long)]
    force: bool,
}

impl RepairIndex {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let repo = cx.repository_for(self.consent.dry_run)?;
        let interrupt = cx.interrupt.clone();
        let plan = index::plan(&repo, interrupt.flag())?;
        let exit = if plan.unreadable.is_empty() { Exit::Done } else { Exit::Damage };
        let is_idle = plan.is_idle() && !self.force;
        if self.consent.dry_run || is_idle {
            let json = || report::index_json(&plan, None, self.consent.dry_run);
            cx.report(json, || report::index_text(&plan, None))?;
            if !self.consent.dry_run {
                verified(cx, &repo, Mended::Records)?;
            }
            return Ok(if plan.is_idle() { exit } else { Exit::Damage });
        }
        cx.show_plan(self.consent.yes, || report::index_text(&plan, None))?;
        confirm("Write the new index?", self.consent.yes, cx.global.json)?;
        let now = crate::clock::now();
        let done = index::run(&repo, &plan, writer(), now, interrupt.flag())?;
        let json = || report::index_json(&plan, Some(&done), false);
        cx.report(json, || report::rebuilt_text(&done))?;
        verified(cx, &repo, Mended::Records)?;
        Ok(exit)
    }
}
