//! `icecore forget`.

use std::collections::BTreeMap;

use clap::Args;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::clock;
use crate::ops::OpError;
use crate::ops::forget::{self, ForgetOptions, ForgetPlan};
use crate::repo::{Marker, Repository};
use crate::report::forget as report;
use crate::report::text;
use crate::strategy::retention::{CalendarSpan, GroupBy, Period, Rules, UNLIMITED};

use super::ask::confirm;
use super::context::Context;
use super::error::{CliError, show_damage};
use super::exit::Exit;
use super::snapshots::FilterOptions;

/// Let snapshots go: by name, or by rules that say what to keep
///
/// Snapshots are judged in groups, of the same host and sources unless --group-by says otherwise.
/// Of each group stays what any rule keeps: --keep-daily 7 keeps the newest snapshot of each of the
/// last 7 days that have one, and where there are fewer than 7, the oldest snapshot as well, so
/// that the history can grow. Spans count back from the newest snapshot of the group, so what is
/// backed up no longer keeps its last ones. Protected snapshots always stay.
///
/// The plan is shown first, each snapshot with all reasons why it stays. What is forgotten is shown
/// by no command and no mount from then on, and gives its space back at the next prune; until then
/// --undo brings it back. A snapshot whose record is damaged, and that no replica has, is given up
/// by its id.
///
/// Rules that would keep nothing of a group are refused. Spans are written like 30d, 12h or 5y6m,
/// with the longer unit first: years (y), months (m), weeks (w), days (d), hours (h), minutes (min)
/// and seconds (s).
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup forget --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --dry-run
  icecore -r /backup forget --keep-within 30d --keep-tag release --group-by host --yes
  icecore -r /backup forget 5bd1f3a2
  icecore -r /backup forget --undo 5bd1f3a2")]
pub(crate) struct Forget {
    /// Forget these, whatever any rule says; protected ones are refused
    #[arg(value_name = "SNAP")]
    names: Vec<String>,

    /// What snapshots of a group have in common: any of host, tags and sources, or none
    #[arg(long, value_name = "WHAT", default_value = "host,sources")]
    group_by: GroupBy,

    /// Time zone of days, weeks and so on, like Europe/Berlin [default: the system's]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    time_zone: Option<TimeZone>,

    /// Let rules forget all snapshots of a group
    #[arg(long)]
    unsafe_allow_remove_all: bool,

    /// Bring these back: what was forgotten and is not pruned yet
    #[arg(long, requires = "names", conflicts_with_all = ["keep", "prune", "unsafe_allow_remove_all"])]
    undo: bool,

    /// Give the space back as well, as icecore-prune(1) does without options
    #[arg(long)]
    prune: bool,

    /// Only tell what would be forgotten, and why the rest stays
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    keep: KeepOptions,

    #[command(flatten)]
    filter: FilterOptions,
}

/// What to keep.
#[derive(Debug, Args)]
#[group(id = "keep", multiple = true, conflicts_with = "names")]
#[command(next_help_heading = "What to keep")]
struct KeepOptions {
    /// The newest N snapshots; N may be "unlimited", here and below
    #[arg(long, value_name = "N", value_parser = count, allow_hyphen_values = true)]
    keep_last: Option<u64>,

    /// The newest of each of the last N minutes that have one
    #[arg(long, value_name = "N", value_parser = count, allow_hyphen_values = true)]
    keep_minutely: Option<u64>,

    /// The newest of each of the last N hours that have one
    #[arg(long, value_name = "N", value_parser = count, allow_hyphen_values = true)]
    keep_hourly: Option<u64>,

    /// The newest of each of the last N days that have one
    #[arg(long, value_name = "N", value_parser = count, allow_hyphen_values = true)]
    keep_daily: Option<u64>,

    /// The newest of each of the last N weeks that have one; they begin on Monday
    #[arg(long, value_name = "N", value_parser = count, allow_hyphen_values = true)]
    keep_weekly: Option<u64>,

    /// The newest of each of the last N months that have one
    #[arg(long, value_name = "N", value_parser = count, allow_hyphen_values = true)]
    keep_monthly: Option<u64>,

    /// The newest of each of the last N quarters of a year that have one
    #[arg(long, value_name = "N", value_parser = count, allow_hyphen_values = true)]
    keep_quarterly: Option<u64>,

    /// The newest of each of the last N years that have one
    #[arg(long, value_name = "N", value_parser = count, allow_hyphen_values = true)]
    keep_yearly: Option<u64>,

    /// All that are less than that older than the newest
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true)]
    keep_within: Option<CalendarSpan>,

    /// The newest of each minute within that span
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true)]
    keep_within_minutely: Option<CalendarSpan>,

    /// The newest of each hour within that span
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true)]
    keep_within_hourly: Option<CalendarSpan>,

    /// The newest of each day within that span
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true)]
    keep_within_daily: Option<CalendarSpan>,

    /// The newest of each week within that span
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true)]
    keep_within_weekly: Option<CalendarSpan>,

    /// The newest of each month within that span
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true)]
    keep_within_monthly: Option<CalendarSpan>,

    /// The newest of each quarter of a year within that span
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true)]
    keep_within_quarterly: Option<CalendarSpan>,

    /// The newest of each year within that span
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true)]
    keep_within_yearly: Option<CalendarSpan>,

    /// Those with this tag; with all of several that commas part
    #[arg(long, value_name = "TAG[,TAG…]", value_parser = tag_list)]
    keep_tag: Vec<TagList>,
}

impl Forget {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        if self.undo {
            return self.undo(cx);
        }
        let dry_run = self.dry_run;
        let (yes, prune) = (self.yes, self.prune);
        if cx.global.json && !yes && !dry_run {
            return Err(CliError::usage("with --json nobody is asked")
                .hint("give --yes, or --dry-run")
                .into());
        }
        let options = self.options()?;
        let repo = cx.repository_for(dry_run)?;
        let plan = forget::plan(&repo, &options, clock::now())?;
        plan.damaged.iter().chain(&plan.damaged_marks).for_each(show_damage);
        let sound = plan.damaged.is_empty() && plan.damaged_marks.is_empty();
        let exit = if sound { Exit::Done } else { Exit::Damage };
        let forgetting = plan.to_forget().collect();
        let tells = prune && (dry_run || cx.shows_plan(yes));
        let pruned = tells.then(|| super::prune::before_forget(cx, &repo, &forgetting));
        let pruned = pruned.transpose()?;
        let text = || format!("{}{}", report::plan_text(&plan), words(pruned.as_ref()));
        if dry_run {
            cx.data(|| with_prune(report::json(&plan, None), pruned.clone()), text)?;
            check(&plan)?;
            return Ok(exit);
        }
        cx.show_plan(yes, text)?;
        check(&plan)?;
        carry_out(cx, &repo, &plan, yes, prune)?;
        Ok(exit)
    }

    fn options(self) -> anyhow::Result<ForgetOptions> {
        let rules = self.keep.rules(self.group_by);
        let filter = self.filter.filter();
        if self.names.is_empty() && rules.is_empty() {
            let none = "no rule says what to keep, so nothing is forgotten";
            if !self.unsafe_allow_remove_all {
                let hint = "give --keep-daily 7 and the like, or name snapshots";
                return Err(CliError::usage(none).hint(hint).into());
            }
            if filter == Default::default() {
                let hint = "say of which snapshots with --host, --tag or --source";
                let what = "--unsafe-allow-remove-all without a rule would forget everything";
                return Err(CliError::usage(what).hint(hint).into());
            }
        }
        Ok(ForgetOptions {
            names: self.names,
            filter,
            rules,
            zone: self.time_zone.unwrap_or_else(TimeZone::system),
            allow_remove_all: self.unsafe_allow_remove_all,
        })
    }

    fn undo(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let repo = cx.repository()?;
        let (names, filter) = (&self.names, self.filter.filter());
        let (back, what) = match self.dry_run {
            true => (forget::undoable(&repo, names, &filter)?, "would be back"),
            false => (forget::undo(&repo, names, &filter, &marker())?, "is back"),
        };
        let lines = || back.iter().map(|id| format!("{} {what}\n", id.short())).collect();
        cx.report(|| json!({ "dry_run": self.dry_run, "brought_back": back }), lines)?;
        Ok(Exit::Done)
    }
}

/// Asks, marks, and says what was done.
fn carry_out(
    cx: &mut Context,
    repo: &Repository,
    plan: &ForgetPlan,
    yes: bool,
    prune: bool,
) -> anyhow::Result<()> {
    let count = plan.to_forget().count() as u64;
    if count > 0 || prune {
        let and = if prune { " and prune" } else { "" };
        let question = format!("Forget {}{and}?", text::count(count, "snapshot"));
        confirm(&question, yes, cx.global.json)?;
    }
    let done = forget::run(repo, plan, &marker(), cx.interrupt.flag())?;
    let pruned = if prune { Some(super::prune::after_forget(cx, repo)?) } else { None };
    cx.report(
        || with_prune(report::json(plan, Some(&done)), pruned.clone()),
        || format!("{}{}", report::done_text(&done), words(pruned.as_ref())),
    )
}

/// What a prune will do or did, as JSON and in words.
type Pruned = (Value, String);

fn words(pruned: Option<&Pruned>) -> &str {
    pruned.map_or("", |(_, words)| words)
}

fn with_prune(mut forget: Value, pruned: Option<Pruned>) -> Value {
    if let (Some(fields), Some((pruned, _))) = (forget.as_object_mut(), pruned) {
        fields.insert("prune".into(), pruned);
    }
    forget
}

/// Says what a plan that empties a group needs.
fn check(plan: &ForgetPlan) -> anyhow::Result<()> {
    plan.check().map_err(|err| match err {
        OpError::Input(what) => CliError::failed(what)
            .hint("nothing was forgotten; if that is meant, add --unsafe-allow-remove-all")
            .into(),
        err => err.into(),
    })
}

/// Who marks, and when.
pub(crate) fn marker() -> Marker {
    Marker { host: crate::fsutil::machine(), now: clock::now() }
}

impl KeepOptions {
    fn rules(self, group_by: GroupBy) -> Rules {
        use Period as P;
        let every = [
            (P::Minute, self.keep_minutely),
            (P::Hour, self.keep_hourly),
            (P::Day, self.keep_daily),
            (P::Week, self.keep_weekly),
            (P::Month, self.keep_monthly),
            (P::Quarter, self.keep_quarterly),
            (P::Year, self.keep_yearly),
        ];
        let every_within = [
            (P::Minute, self.keep_within_minutely),
            (P::Hour, self.keep_within_hourly),
            (P::Day, self.keep_within_daily),
            (P::Week, self.keep_within_weekly),
            (P::Month, self.keep_within_monthly),
            (P::Quarter, self.keep_within_quarterly),
            (P::Year, self.keep_within_yearly),
        ];
        Rules {
            last: self.keep_last.unwrap_or(0),
            every: given(every),
            within: self.keep_within,
            every_within: given(every_within),
            tags: self.keep_tag.iter().map(|list| list.0.clone()).collect(),
            group_by,
            gap_max: None,
        }
    }
}

/// Tags that one snapshot must all have.
#[derive(Debug, Clone)]
struct TagList(Vec<String>);

fn tag_list(text: &str) -> Result<TagList, String> {
    let tags: Vec<String> = text.split(',').map(|tag| tag.trim().to_owned()).collect();
    match tags.iter().any(String::is_empty) {
        true => Err(format!("\"{text}\" names no tag, or has a comma too many")),
        false => Ok(TagList(tags)),
    }
}

fn given<T>(options: [(Period, Option<T>); 7]) -> BTreeMap<Period, T> {
    options.into_iter().filter_map(|(period, value)| Some((period, value?))).collect()
}

fn count(text: &str) -> Result<u64, String> {
    match text {
        "unlimited" => Ok(UNLIMITED),
        _ => text.parse().map_err(|_| format!("\"{text}\" is neither a number nor \"unlimited\"")),
    }
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .map_err(|_| format!("\"{name}\" is not a time zone; examples: UTC, Europe/Berlin"))
}
