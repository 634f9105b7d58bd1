//! `icecore prune`.

use std::collections::HashSet;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::codec::Compression;
use crate::format::SnapshotId;
use crate::fsutil;
use crate::ops::OpError;
use crate::ops::prune::{self, OpenGeneration, PruneOptions, PrunePlan};
use crate::ops::repair::packs::is_lossy;
use crate::repo::{RepoError, Repository, SESSION_TIMEOUT};
use crate::report::prune as report;
use crate::storage::StorageError;
use crate::units::{self, chain};

use super::ask::confirm;
use super::context::Context;
use super::error::{CliError, GIVE_UP};
use super::exit::Exit;
use super::priority::Priority;

/// Give back the space of what no snapshot needs
///
/// Deletes forgotten snapshots, packs that nothing needs, and what stopped ingests left, packs and
/// temporary files (these an hour after the grace or, while any session lives, after a day and an
/// hour); writes anew what is needed of packs that hold little. Others may ingest, mount and prune at the same time,
/// here and on other machines. What is deleted is first named as a candidate: ingests that begin
/// then do without it, and those that run already are waited for. After the grace, which is for
/// readers of forgotten snapshots, it is deleted: where the grace is longer than a minute, prune
/// says when, and the next prune after that does it, and plans anew. Until then a prune has nothing
/// else to do. The default grace is shorter than a day, so that a prune a day frees something each
/// time.
///
/// Nothing is deleted where damage keeps anybody from knowing what is needed: see icecore-verify(1).
/// Nor is it where a pack that no index segment lists holds what a snapshot needs: `icecore repair
/// index` comes first. What a snapshot names as lost itself is passed over; while an ingest that stores
/// it again is at work, its packs stay.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup prune --dry-run
  icecore -r /backup prune --yes --max-unused 10%
  icecore -r /backup prune --yes --grace 0        # nobody else uses the repository")]
pub(crate) struct Prune {
    /// Show what would be done, and change nothing
    #[arg(short = 'n', long)]
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
    #[arg(long, value_name = "TIME", default_value = "18h", value_parser = units::parse_duration)]
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
        let repo = cx.repository_for(self.dry_run)?;
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
        if let Some(open) = prune::unfinished(&repo, &options)? {
            return self.go_on(cx, &repo, &options, &open);
        }
        let bar = cx.bar("marking");
        let planned = prune::plan(&repo, &options, cx.interrupt.flag());
        drop(bar);
        let planned = planned.map_err(|err| with_way_out(&repo, err))?;
        if self.dry_run {
            cx.report(
                || json!({ "dry_run": true, "plan": report::plan_json(&planned) }),
                || report::plan_text(&planned),
            )?;
            return Ok(Exit::Done);
        }
        cx.show_plan(self.yes, || report::plan_text(&planned))?;
        if !planned.is_idle() {
            confirm(&question(&planned), self.yes, cx.global.json)?;
        }
        let plan_json = report::plan_json(&planned);
        let bar = cx.bar("pruning");
        let done = prune::run(&repo, planned, &options, &bar, cx.interrupt.flag());
        drop(bar);
        let done = done.map_err(|err| with_way_out(&repo, err))?;
        cx.report(
            || json!({ "dry_run": false, "plan": plan_json, "done": report::json(&done) }),
            || report::text(&done),
        )?;
        Ok(Exit::Done)
    }
}

impl Prune {
    /// Nothing can be planned before that generation is gone.
    fn go_on(
        &self,
        cx: &mut Context,
        repo: &Repository,
        options: &PruneOptions,
        open: &OpenGeneration,
    ) -> anyhow::Result<Exit> {
        let plan = json!({ "open_generation": report::open_json(open) });
        let words = report::open_text(open);
        if self.dry_run {
            cx.report(|| json!({ "dry_run": true, "plan": plan }), || words)?;
            return Ok(Exit::Done);
        }
        cx.show_plan(self.yes, || words)?;
        if !open.decided {
            let question = format!("Decide generation {}?", open.number);
            confirm(&question, self.yes, cx.global.json)?;
        }
        let bar = cx.bar("deciding");
        let done = prune::go_on(repo, options, &bar, cx.interrupt.flag());
        drop(bar);
        let done = done.map_err(|err| with_way_out(repo, err))?;
        cx.report(
            || json!({ "dry_run": false, "plan": plan, "done": report::json(&done) }),
            || report::text(&done),
        )?;
        Ok(Exit::Done)
    }
}

/// What [`after_forget`] will do once these are forgotten, as JSON and in words.
pub(crate) fn before_forget(
    cx: &Context,
    repo: &Repository,
    forgetting: &HashSet<SnapshotId>,
) -> anyhow::Result<(serde_json::Value, String)> {
    let options = PruneOptions { host: fsutil::machine(), ..PruneOptions::default() };
    if let Some(open) = prune::unfinished(repo, &options)? {
        let plan = json!({ "plan": { "open_generation": report::open_json(&open) } });
        return Ok((plan, report::open_text(&open)));
    }
    let _bar = cx.bar("marking");
    let planned = prune::plan_without(repo, &options, forgetting, cx.interrupt.flag());
    let planned = planned.map_err(|err| with_way_out(repo, err))?;
    Ok((json!({ "plan": report::plan_json(&planned) }), report::plan_text(&planned)))
}

/// What `forget --prune` does when it has forgotten: a prune as without options. Returns what it
/// did, as JSON and in words.
pub(crate) fn after_forget(
    cx: &mut Context,
    repo: &Repository,
) -> anyhow::Result<(serde_json::Value, String)> {
    let options = PruneOptions { host: fsutil::machine(), ..PruneOptions::default() };
    let bar = cx.bar("pruning");
    if let Some(open) = prune::unfinished(repo, &options)? {
        let plan = json!({ "open_generation": report::open_json(&open) });
        let done = prune::go_on(repo, &options, &bar, cx.interrupt.flag());
        drop(bar);
        let done = done.map_err(|err| with_way_out(repo, err))?;
        let words = format!("{}{}", report::open_text(&open), report::text(&done));
        return Ok((json!({ "plan": plan, "done": report::json(&done) }), words));
    }
    let planned = prune::plan(repo, &options, cx.interrupt.flag());
    let planned = planned.map_err(|err| with_way_out(repo, err))?;
    let plan_json = report::plan_json(&planned);
    let done = prune::run(repo, planned, &options, &bar, cx.interrupt.flag());
    drop(bar);
    let done = done.map_err(|err| with_way_out(repo, err))?;
    Ok((json!({ "plan": plan_json, "done": report::json(&done) }), report::text(&done)))
}

/// What to do where there is no room to write anything anew, and where something is lost for good.
fn with_way_out(repo: &Repository, err: OpError) -> anyhow::Error {
    let has_lossy = || repo.snapshots().is_ok_and(|list| list.snapshots.iter().any(is_lossy));
    match err {
        OpError::Repo(RepoError::Unindexed { .. }) => err.into(),
        OpError::Repo(ref lost) if lost.missing_chunk().is_some() && has_lossy() => {
            CliError::damage(chain(&err)).hint(GIVE_UP).into()
        }
        OpError::Repo(RepoError::Storage(StorageError::Full { .. })) => {
            CliError::failed(chain(&err)).hint(room_hint(repo)).into()
        }
        err => err.into(),
    }
}

/// What can be done on a full disk.
fn room_hint(repo: &Repository) -> String {
    let mut hint = match prune::room_needed(repo) {
        Ok(bytes) => format!(
            "free {} on that disk, which `icecore prune --max-repack 0` needs to delete what nothing \
             needs: it writes no content anew; --grace 0 does so at once, where nobody else uses it",
            units::size(bytes)
        ),
        Err(_) => "free some space on that disk, and run it again".to_owned(),
    };
    let left = repo.storage().temporaries().unwrap_or_default();
    if !left.is_empty() {
        let bytes = left.iter().map(|file| file.len).sum();
        hint += &format!(
            "; {} with {} can be removed by hand where no icecore writes: find {} -name '.tmp-*'",
            crate::report::text::count(left.len() as u64, "temporary file"),
            units::size(bytes),
            repo.location()
        );
    }
    hint
}

fn question(plan: &PrunePlan) -> String {
    match &plan.open {
        Some(open) => format!("Go on with generation {}, and prune?", open.number),
        None => "Prune?".to_owned(),
    }
}

fn refuse_sessions(living: &[SnapshotId]) -> Result<(), CliError> {
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
