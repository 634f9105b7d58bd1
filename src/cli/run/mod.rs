//! `icecore run`.

mod lock;
mod notify;
mod outcome;
mod parts;

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::clock;
use crate::format::{LedgerEvent, Ran};
use crate::fsutil;
use crate::ops::capture;
use crate::report::{comply as report, text};
use crate::strategy::comply::{Compliance, Fault, comply, faults};
use crate::strategy::due::{Asked, Due, Part};
use crate::strategy::evidence::Evidence;
use crate::strategy::file::Strategy;
use crate::strategy::news::{self, Event, Wrong};
use crate::units;

use super::context::Context;
use super::error::{CliError, chain, talk_error};
use super::exit::Exit;
use super::places::Places;
use super::progress::talk;
use super::strategy::{FileOption, zone_of};

use lock::Lock;
use outcome::Outcome;

/// Program and version, as records of the ledger have them.
const PROGRAM: &str = concat!("icecore ", env!("CARGO_PKG_VERSION"));

/// Carry the strategy out: do what is due
///
/// Ingests the sources that are due, copies to replicas what they lack, lets go what keep does not
/// name and prunes once a day, verifies as much as [verify] allows, and drills what is due. What is
/// due follows from the strategy, the snapshots and the ledgers, not from any state of this machine:
/// another machine or a lost disk changes nothing. A part that fails stops no other one, and is tried
/// again after a quarter of an hour, or when its schedule comes.
///
/// Each part's outcome goes into a ledger. Then whoever the strategy names is notified, of failures,
/// missed targets and what could not be read at a source, and when all is well again. One run at a time carries a strategy file out; a
/// second one says who runs, and exits with 11.
///
/// A replica that cannot be read is a part that failed. So is what is held: while there is known
/// damage in a repository nothing is pruned there, and the sources that go there forget nothing.
///
/// The exit code is 1 when a part failed and 3 when something at a source could not be read. That a
/// target is missed although every part was done is told, and is the exit code of icecore status.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore run --dry-run
  icecore run
  icecore run --source models --json")]
pub(crate) struct Run {
    #[command(flatten)]
    file: FileOption,

    /// Do what is due, which is the default
    #[arg(long)]
    due: bool,

    /// Ingest this source now, copy its snapshots and apply its keep; nothing else
    #[arg(long, value_name = "NAME", conflicts_with = "due")]
    source: Option<String>,

    /// Only tell what is due, and why
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Run {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let strategy = self.file.read_sound()?;
        if let Some(name) = self.source.as_ref().filter(|it| !strategy.sources.contains_key(*it)) {
            return Err(CliError::usage(format!("the strategy has no source {name}"))
                .hint("`icecore strategy check` lists them")
                .into());
        }
        let lock = if self.dry_run { None } else { Some(Lock::take(self.file.path())?) };
        let places = Places::open(cx, &strategy);
        let zone = zone_of(&strategy);
        let only = self.source.as_deref();
        let mut running = Running { strategy: &strategy, places, zone, only, done: Vec::new() };
        if self.dry_run {
            return running.plan(cx);
        }
        capture::serve(self.file.path());
        capture::clean(cx.interrupt.flag());
        cx.interrupt.check()?;
        let before = running.evidence();
        running.carry_out(cx, before.clone())?;
        running.left(cx, &before)?;
        let after = running.evidence();
        let state = State::of(&strategy, &after);
        running.record_targets(&after, &state.judged);
        running.told(cx, &after, &state)?;
        running.notify(self.file.path(), &before, &after, &state);
        drop(lock);
        cx.interrupt.check()?;
        Ok(outcome::exit(&running.done))
    }
}

/// How things are after the run.
struct State {
    judged: Vec<Compliance>,
    faults: Vec<Fault>,
}

impl State {
    fn of(strategy: &Strategy, evidence: &Evidence) -> Self {
        Self { judged: comply(strategy, evidence), faults: faults(strategy, evidence) }
    }
}

/// Whether a part that is held says no more than a record of the last day does.
fn is_recorded(outcome: &Outcome, evidence: &Evidence) -> bool {
    let part = &outcome.due.part;
    let runs = evidence.runs(part.word(), &part.subject());
    outcome.due.held.is_some()
        && runs.last().is_some_and(|told| {
            told.event.error == outcome.error && evidence.age(told.event.started) < news::REMIND
        })
}

/// A run, and what it did so far.
struct Running<'a> {
    strategy: &'a Strategy,
    places: Places,
    zone: TimeZone,
    /// The one source that was asked for.
    only: Option<&'a str>,
    done: Vec<Outcome>,
}

impl Running<'_> {
    fn evidence(&self) -> Evidence {
        self.places.evidence(fsutil::machine())
    }

    fn asked<'s>(&'s self, evidence: &'s Evidence) -> Asked<'s> {
        Asked { strategy: self.strategy, evidence, zone: &self.zone }
    }

    /// What is due in one of the steps of a run, in their order; `None` after the last.
    fn step(&self, number: usize, evidence: &Evidence) -> Option<Vec<Due>> {
        let asked = self.asked(evidence);
        let own = |due: Vec<Due>, name: &str| {
            due.into_iter().filter(|it| it.part.name() == name).collect()
        };
        Some(match (number, self.only) {
            (0, Some(source)) => {
                let part = Part::Ingest { source: source.to_owned() };
                vec![Due::new(part, "it was asked for")]
            }
            (0, None) => asked.ingests(),
            (1, Some(name)) => asked.copies_of_one(name),
            (2, Some(name)) => own(asked.retention(), name),
            (_, Some(_)) => return None,
            (1, None) => asked.copies(),
            (2, None) => asked.retention(),
            (3, None) => asked.prunes(),
            (4, None) => asked.verifications(),
            (5, None) => asked.drills(),
            _ => return None,
        })
    }

    /// Step by step, each from what is known after the one before.
    fn carry_out(&mut self, cx: &mut Context, mut evidence: Evidence) -> anyhow::Result<()> {
        for number in 0.. {
            let Some(due) = self.step(number, &evidence) else { break };
            let any = !due.is_empty();
            for due in due {
                if cx.interrupt.check().is_err() {
                    return Ok(());
                }
                let outcome = self.part(cx, due, &evidence);
                outcome.tell(cx)?;
                self.done.push(outcome);
            }
            if any {
                evidence = self.evidence();
            }
        }
        Ok(())
    }

    /// What captures of this strategy switched off and nobody could undo is a failure of this run,
    /// whichever source it was for.
    fn left(&mut self, cx: &mut Context, evidence: &Evidence) -> anyhow::Result<()> {
        for (source, what) in capture::left() {
            let is_told = self.done.iter().any(|outcome| outcome.error.contains(&what));
            if is_told || cx.interrupt.check().is_err() {
                continue;
            }
            let due = Due::new(Part::Ingest { source }, "a capture left something undone");
            let (started, done) = (clock::now(), parts::Done::default());
            let outcome = Outcome { due, started, duration: Duration::ZERO, done, error: what };
            self.recorded(&outcome, evidence);
            outcome.tell(cx)?;
            self.done.push(outcome);
        }
        Ok(())
    }

    fn part(&self, cx: &mut Context, due: Due, evidence: &Evidence) -> Outcome {
        let (started, clock) = (clock::now(), Instant::now());
        let done = match &due.held {
            Some(held) => Err(anyhow::anyhow!("{held}")),
            None => parts::carry_out(cx, self.strategy, &self.places, &due.part),
        };
        let (done, error) = match done {
            Ok(done) => (done, String::new()),
            Err(err) => (parts::Done::default(), chain(&err)),
        };
        let outcome = Outcome { due, started, duration: clock.elapsed(), done, error };
        // Whoever interrupts knows; the part is begun again by the next run.
        if cx.interrupt.check().is_ok() {
            self.recorded(&outcome, evidence);
        }
        outcome
    }

    fn recorded(&self, outcome: &Outcome, evidence: &Evidence) {
        if !is_recorded(outcome, evidence) {
            self.record(&self.ledgers(&outcome.due.part), outcome.ran());
        }
    }

    /// Names of the repositories whose ledger may tell of a part, the best first.
    fn ledgers(&self, part: &Part) -> Vec<String> {
        let mut names: Vec<&str> = part.place().into_iter().collect();
        let drill = self.strategy.drills.get(part.name());
        match part {
            Part::Ingest { source }
            | Part::Replicate { source, .. }
            | Part::Retention { source, .. } => {
                let source = self.strategy.sources.get(source);
                names.extend(source.into_iter().flat_map(|it| self.strategy.places_of(it)));
            }
            Part::Drill { .. } => {
                names.extend(drill.and_then(|drill| drill.from.as_deref()));
                let components = drill.into_iter().flat_map(|drill| drill.components.values());
                let sources = components.filter_map(|it| self.strategy.sources.get(&it.source));
                names.extend(sources.flat_map(|source| self.strategy.places_of(source)));
            }
            Part::Prune { .. } | Part::Verify { .. } => {}
        }
        let mut all = names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        if all.is_empty() {
            all.extend(self.strategy.repositories.keys().cloned());
        }
        all
    }

    /// Into the first ledger that takes it. That none does is told, and stops nothing.
    fn record(&self, ledgers: &[String], ran: Ran) {
        let what = format!("{} {}", ran.part, ran.name);
        let mut last = "no repository of it can be opened".to_owned();
        for repo in ledgers.iter().filter_map(|name| self.places.get(name).ok()) {
            let event = LedgerEvent::Ran(ran.clone());
            match repo.append_ledger(clock::now(), &fsutil::machine(), PROGRAM, event) {
                Ok(_) => return,
                Err(err) => last = units::chain(&err),
            }
        }
        talk(&format!("  notice: {what} is not recorded in a ledger: {last}"));
    }

    /// Records of each source of which other targets are missed than at its last record.
    fn record_targets(&self, evidence: &Evidence, judged: &[Compliance]) {
        for it in judged {
            let lines = it.missed();
            let lines: Vec<_> = lines.iter().map(|(what, why)| format!("{what}: {why}")).collect();
            let error = lines.join("; ");
            let runs = evidence.runs("targets", &it.source);
            let last = runs.last().map_or("", |told| told.event.error.as_str());
            let is_news = news::missed_in(last) != news::missed_in(&error);
            let Some(source) = self.strategy.sources.get(&it.source).filter(|_| is_news) else {
                continue;
            };
            let places = self.strategy.places_of(source).into_iter().map(str::to_owned);
            let (part, name) = ("targets".to_owned(), it.source.clone());
            let ran =
                Ran { part, name, started: evidence.now, duration_ns: 0, snapshot: None, error };
            self.record(&places.collect::<Vec<_>>(), ran);
        }
    }

    /// Tells whoever is to be told of what they were not told yet, and records that.
    fn notify(&self, file: &Path, before: &Evidence, after: &Evidence, state: &State) {
        let (judged, faults) = (&state.judged, &state.faults);
        let failed = self.done.iter().filter(|it| !it.error.is_empty());
        let asked = self.asked(after);
        let failed = failed.map(|outcome| outcome.due.part.title());
        let wrong = Wrong::of(&asked, judged, faults, failed);
        let was = State::of(self.strategy, before);
        let was = Wrong::of(&self.asked(before), &was.judged, &was.faults, std::iter::empty());
        let told = notify::Told { file, outcomes: &self.done, judged, faults, after };
        let ledgers: Vec<String> = self.strategy.repositories.keys().cloned().collect();
        for notify in &self.strategy.notifications {
            let whom = notify::whom(notify);
            let was_wrong = !was.failed.is_empty();
            let event = news::event_for(&whom, &notify.on, &asked, &wrong, was_wrong);
            let Some(event) = event else { continue };
            let (started, clock) = (clock::now(), Instant::now());
            let error = notify::send(notify, &told, event).err().unwrap_or_default();
            if !error.is_empty() {
                talk_error(&format!("cannot notify by {}: {error}", notify::how(notify)));
            }
            let is_known = !error.is_empty() && news::is_known_to_fail(after, &whom);
            if event == Event::Run || is_known {
                continue;
            }
            let duration_ns = u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let name = news::record_name(&whom, &notify.on, event, &wrong);
            let part = news::TOLD.to_owned();
            let ran = Ran { part, name, started, duration_ns, snapshot: None, error };
            self.record(&ledgers, ran);
        }
    }

    /// What was done, and what is missed all the same.
    fn told(&self, cx: &mut Context, evidence: &Evidence, state: &State) -> anyhow::Result<()> {
        let State { judged, faults } = state;
        let failed = self.done.iter().filter(|it| !it.error.is_empty()).count() as u64;
        let next = self.asked(evidence).next();
        let json = || {
            json!({
                "dry_run": false,
                "parts": self.done.iter().map(Outcome::json).collect::<Vec<_>>(),
                "failed": failed,
                "sources": judged.iter().map(report::json).collect::<Vec<_>>(),
                "faults": faults.iter().map(report::fault_json).collect::<Vec<_>>(),
                "unreadable": evidence.unknown,
            })
        };
        cx.report(json, || {
            let parts = text::count(self.done.len() as u64, "part");
            let mut words = match (self.done.len(), failed) {
                (0, _) => "nothing is due".to_owned(),
                (_, 0) => format!("{parts} done"),
                (_, failed) => format!("{parts}, {} failed", text::number(failed)),
            };
            if let Some((at, name)) = next {
                words.push_str(&format!("; next is {name}, {}", units::local_time(at)));
            }
            format!("{words}\n{}", report::missed_lines(judged, faults).concat())
        })
    }

    /// `--dry-run`: what is due now. What follows from an ingest that was not made is not known.
    fn plan(&self, cx: &mut Context) -> anyhow::Result<Exit> {
        let evidence = self.evidence();
        let mut due: Vec<Due> = Vec::new();
        for number in 0.. {
            let Some(step) = self.step(number, &evidence) else { break };
            due.extend(step);
        }
        for (name, why) in evidence.unknown.iter().filter(|_| !cx.global.json) {
            talk_error(&format!("repository {name} cannot be read: {why}"));
        }
        let next = self.asked(&evidence).next();
        cx.data(
            || {
                json!({
                    "dry_run": true,
                    "parts": due.iter().map(outcome::due_json).collect::<Vec<_>>(),
                    "unreadable": evidence.unknown,
                    "next": next.map(|(at, name)| json!({
                        "name": name, "time": crate::report::json::time(at),
                    })),
                })
            },
            || outcome::plan_text(&due, next),
        )?;
        Ok(Exit::Done)
    }
}
