//! `icecore prune`.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::codec::Compression;
use crate::fsutil;
use crate::ops::prune::{self, PruneOptions, PrunePlan};
use crate::repo::{Repository, SESSION_TIMEOUT};
use crate::report::prune as report;
use crate::units;

use super::ask::confirm;
use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::priority::Priority;

/// Give back the space of what no snapshot needs
///
/// Deletes forgotten snapshots, packs that nothing needs, and what stopped ingests left; writes anew
/// what is needed of packs that hold little. Others may ingest, mount and prune at the same time,
/// here and on other machines. What is deleted is first named as a candidate: ingests that begin
/// then do without it, and those that run already are waited for. After the grace, which is for
/// readers of forgotten snapshots, it is deleted: where the grace is longer than a minute, prune
/// says when, and the next prune after that does it.
///
/// Nothing is deleted where damage keeps anybody from knowing what is needed: see icecore-verify(1).
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup prune --dry-run
  icecore -r /backup prune --yes --max-unused 10%
  icecore -r /backup prune --yes --grace 0        # nobody else uses the repository")]
pub(crate) struct Prune {
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    /// How much of the stored bytes may stay unused
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = parse_percent)]
    #[arg(allow_hyphen_values = true)]
    max_unused: f64,

    /// Most bytes of packs to write anew [default: as many as it takes]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size, allow_hyphen_values = true)]
    max_repack: Option<u64>,

    /// How long readers may go on with what will be deleted, and an hour more since clocks may
    /// differ; 0 refuses while any session lives
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = units::parse_duration)]
    #[arg(allow_hyphen_values = true)]
    grace: Duration,

    /// After how long without a sign of life a session counts as dead: no shorter than any writer's
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration, hide = true)]
    session_timeout: Option<Duration>,

    /// How hard to compress what is coded again
    #[arg(long, value_name = "LEVEL", default_value_t, hide = true)]
    compression: Compression,

    #[command(flatten)]
    priority: Priority,
}

/// A share like `5%` or `0.05%`, as a part of 1.
fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim_end().parse::<f64>();
    let percent = number.map_err(|_| format!("\"{text}\" is not a percentage; examples: 5%, 0"))?;
    match (0.0..=100.0).contains(&percent) {
        true => Ok(percent / 100.0),
        false => Err(format!("\"{text}\" is not between 0% and 100%")),
    }
}

impl Prune {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        self.priority.apply()?;
        let repo = cx.repository()?;
        let options = PruneOptions {
            host: fsutil::machine(),
            max_unused: self.max_unused,
            max_repack: self.max_repack.unwrap_or(u64::MAX),
            grace: self.grace,
            session_timeout: self.session_timeout.unwrap_or(SESSION_TIMEOUT),
            compression: self.compression,
        };
        if self.grace.is_zero() && !self.dry_run {
            refuse_sessions(&prune::living_sessions(&repo, &options)?)?;
        }
        let bar = cx.bar("marking");
        let planned = prune::plan(&repo, &options, cx.interrupt.flag());
        drop(bar);
        let planned = planned?;
        if self.dry_run {
            cx.report(
                || json!({ "dry_run": true, "plan": report::plan_json(&planned) }),
                || report::plan_text(&planned),
            )?;
            return Ok(Exit::Done);
        }
        if !cx.global.json && !cx.global.quiet {
            cx.out.report(&report::plan_text(&planned))?;
        }
        if !planned.is_idle() {
            confirm(&question(&planned), self.yes)?;
        }
        let plan_json = report::plan_json(&planned);
        let bar = cx.bar("pruning");
        let done = prune::run(&repo, planned, &options, &bar, cx.interrupt.flag());
        drop(bar);
        let done = done?;
        cx.report(
            || json!({ "dry_run": false, "plan": plan_json, "done": report::json(&done) }),
            || report::text(&done),
        )?;
        Ok(Exit::Done)
    }
}

/// What `forget --prune` does when it has forgotten: a prune as without options. Returns what it
/// did, as JSON and in words.
pub(crate) fn after_forget(
    cx: &mut Context,
    repo: &Repository,
) -> anyhow::Result<(serde_json::Value, String)> {
    let options = PruneOptions { host: fsutil::machine(), ..PruneOptions::default() };
    let bar = cx.bar("pruning");
    let planned = prune::plan(repo, &options, cx.interrupt.flag())?;
    let plan_json = report::plan_json(&planned);
    let done = prune::run(repo, planned, &options, &bar, cx.interrupt.flag());
    drop(bar);
    let done = done?;
    Ok((json!({ "plan": plan_json, "done": report::json(&done) }), report::text(&done)))
}

fn question(plan: &PrunePlan) -> String {
    match &plan.open {
        Some(open) => format!("Go on with generation {}, and prune?", open.number),
        None => "Prune?".to_owned(),
    }
}

fn refuse_sessions(living: &[crate::format::SnapshotId]) -> Result<(), CliError> {
    let Some(first) = living.first() else { return Ok(()) };
    let err = CliError::in_use(format!(
        "{} live, {} among them: without grace there must be none",
        crate::report::text::count(living.len() as u64, "session"),
        first.short()
    ));
    Err(err.hint("wait for the ingests to end, or give a grace"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages() {
        assert_eq!(parse_percent("5%"), Ok(0.05));
        assert_eq!(parse_percent("0"), Ok(0.0));
        for bad in ["", "many", "-1%", "101", "nan"] {
            assert!(parse_percent(bad).is_err(), "{bad}");
        }
    }
}
