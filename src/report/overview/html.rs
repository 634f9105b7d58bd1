//! The report as one page that needs nothing else: no network, no scripts.
//!
//! The template escapes all that is put into it; control characters and marks that reorder text are
//! escaped before, as for a terminal.

use std::time::Duration;

use askama::Template;

use super::Overview;
use super::plot::{Axes, HEIGHT, Plot, Unit, Values, WIDTH, plot};
use crate::format::{DrillCheck, DrillResult, Drilled, Ran, Time};
use crate::report::comply::{cell, missed, took};
use crate::report::{ledger, text};
use crate::strategy::comply::{Compliance, Fault, Judged, Verdict};
use crate::strategy::evidence::{RepositoryFacts, Told};
use crate::units;

/// Parts of runs that are listed at most.
const RUNS_MAX: usize = 100;
/// Drills that are listed at most.
const DRILLS_MAX: usize = 50;
/// Windows that verification is shown by, in days.
const WINDOWS: [u64; 3] = [7, 30, 90];

/// The page.
#[derive(Template)]
#[template(path = "report.html", config = "src/report/overview/askama.toml")]
struct Page {
    file: String,
    host: String,
    now: String,
    from: String,
    program: &'static str,
    is_met: bool,
    sources: Vec<SourceRow>,
    missed: Vec<MissedRow>,
    /// Verdict, repository and what is wrong with it.
    faults: Vec<(&'static str, String, String)>,
    ages: Vec<Plot>,
    rtos: Vec<Plot>,
    repositories: Vec<RepositoryRow>,
    drills: Vec<DrillRow>,
    runs: Vec<RunRow>,
    skews: Vec<SkewRow>,
    width: f64,
    height: f64,
}

struct SourceRow {
    name: String,
    newest: String,
    is_met: bool,
    cells: Vec<Cell>,
}

struct Cell {
    words: String,
    /// `met`, `missed`, `unknown` or nothing.
    class: &'static str,
    why: String,
}

struct MissedRow {
    source: String,
    what: &'static str,
    why: String,
}

struct RepositoryRow {
    name: String,
    location: String,
    place: String,
    snapshots: usize,
    logical: String,
    stored: String,
    ratio: String,
    windows: Vec<Window>,
    never: String,
    damage: Vec<String>,
    growth: Option<Plot>,
}

struct Window {
    words: String,
    /// From 0 to 100.
    percent: u64,
}

struct DrillRow {
    name: String,
    when: String,
    place: String,
    host: String,
    mode: String,
    result: &'static str,
    is_proven: bool,
    cause: String,
    rto: String,
    rpo: String,
    record: String,
    program: String,
    components: Vec<String>,
    phases: Vec<(String, String)>,
    checks: Vec<CheckRow>,
}

struct CheckRow {
    name: String,
    kind: String,
    is_good: bool,
    words: &'static str,
    took: String,
    told: String,
}

struct RunRow {
    when: String,
    what: String,
    host: String,
    took: String,
    error: String,
}

struct SkewRow {
    group: String,
    when: String,
    skew: String,
    members: Vec<(String, String, String, String)>,
}

/// The whole page; the error is a defect of the template.
///
/// # Errors
/// Where the template cannot be filled in.
pub fn html(overview: &Overview<'_>) -> Result<String, std::fmt::Error> {
    overview.page().render().map_err(|_| std::fmt::Error)
}

fn shown(words: &str) -> String {
    text::escaped(words.as_bytes()).into_owned()
}

impl Overview<'_> {
    fn page(&self) -> Page {
        let missed = missed(self.judged).into_iter().map(|(what, why, sources)| MissedRow {
            source: sources.into_iter().map(shown).collect::<Vec<_>>().join(", "),
            what,
            why: shown(why),
        });
        let fault = |it: &Fault| (it.verdict.word(), shown(&it.repository), shown(&it.what));
        let drills = self.told(|facts| &facts.drills);
        let runs = self.told(|facts| &facts.runs);
        let failed = runs.iter().filter(|(_, told)| !told.event.error.is_empty());
        Page {
            file: shown(self.file),
            host: shown(&self.evidence.host),
            now: units::local_time(self.evidence.now),
            from: units::local_time(self.from()),
            program: concat!("icecore ", env!("CARGO_PKG_VERSION")),
            is_met: self.is_met(),
            sources: self.judged.iter().map(source_row).collect(),
            missed: missed.collect(),
            faults: self.faults.iter().map(fault).collect(),
            ages: self.judged.iter().filter_map(|it| self.age_plot(it)).collect(),
            rtos: self.strategy.drills.keys().filter_map(|name| self.rto_plot(name)).collect(),
            repositories: self
                .repositories()
                .map(|(name, it)| self.repository_row(name, it))
                .collect(),
            drills: drills.into_iter().take(DRILLS_MAX).map(|(at, it)| drill_row(at, it)).collect(),
            runs: failed.take(RUNS_MAX).map(|(_, told)| run_row(told)).collect(),
            skews: self.skew_rows(),
            width: WIDTH,
            height: HEIGHT,
        }
    }

    fn axes(&self, unit: Unit, target: Option<Duration>, first: Option<Time>) -> Axes {
        // A history that is shorter than the window has all of the width.
        let from = first.map_or(self.from(), |first| first.max(self.from()));
        Axes { from, to: self.evidence.now, unit, target: target.map(|it| it.as_secs_f64()) }
    }

    fn age_plot(&self, it: &Compliance) -> Option<Plot> {
        let points = self.ages(&it.source);
        let first = points.first().map(|(time, _)| *time);
        let axes = self.axes(Unit::Seconds, it.age.target, first);
        let values = Values { name: "age", class: "a", points, dots: None };
        plot(shown(&it.source), &axes, &[values])
    }

    fn rto_plot(&self, name: &str) -> Option<Plot> {
        let drills = self.drills_of(name);
        let good = drills.iter().map(|it| it.result == DrillResult::Proven).collect();
        let secs = |it: &&Drilled| (it.started, Duration::from_nanos(it.rto_ns).as_secs_f64());
        let points: Vec<(Time, f64)> = drills.iter().map(secs).collect();
        let target = self.strategy.drills.get(name)?.targets.rto.map(|span| span.0);
        let axes = self.axes(Unit::Seconds, target, points.first().map(|(time, _)| *time));
        let values = Values { name: "restore", class: "a", points, dots: Some(good) };
        plot(shown(name), &axes, &[values])
    }

    fn repository_row(&self, name: &str, facts: &RepositoryFacts) -> RepositoryRow {
        let logical: u64 = facts.snapshots.iter().map(|each| each.totals.data).sum();
        let total = facts.verified.total();
        let window = |days: u64| {
            let span = Duration::from_secs(days * 86_400);
            let bytes = facts.verified.within(self.evidence.now, span);
            Window { words: format!("{days} days"), percent: percent(bytes, total) }
        };
        let place = self.strategy.repositories.get(name).map(|place| {
            let mut words = vec![place.media.clone()];
            words.extend(place.site.clone());
            words.extend(place.offsite.then(|| "off site".to_owned()));
            words.extend(place.immutable.then(|| "immutable".to_owned()));
            shown(&words.join(", "))
        });
        let damage = facts.damaged.iter().chain(facts.damage.objects.keys());
        RepositoryRow {
            name: shown(name),
            location: shown(&facts.location),
            place: place.unwrap_or_default(),
            snapshots: facts.snapshots.len(),
            logical: units::size(logical),
            stored: units::size(facts.stored),
            ratio: Some(text::ratio(logical, facts.stored))
                .filter(|_| logical > facts.stored)
                .unwrap_or_default(),
            windows: WINDOWS.map(window).into(),
            never: units::size(facts.verified.never()),
            damage: damage.map(|words| shown(words)).collect(),
            growth: self.growth_plot(name, facts),
        }
    }

    fn growth_plot(&self, name: &str, facts: &RepositoryFacts) -> Option<Plot> {
        let (logical, stored) = (self.logical(facts), self.stored(facts));
        let first = logical.iter().chain(&stored).map(|(time, _)| *time).min();
        let line = |name, class, sizes: &[(Time, u64)]| {
            let points = sizes.iter().map(|(time, bytes)| (*time, *bytes as f64)).collect();
            // A single point is no line.
            let dots = (sizes.len() == 1).then(|| vec![true]);
            Values { name, class, points, dots }
        };
        let all = [line("all snapshots", "a", &logical), line("stored", "b", &stored)];
        plot(format!("{}: size", shown(name)), &self.axes(Unit::Bytes, None, first), &all)
    }

    fn skew_rows(&self) -> Vec<SkewRow> {
        let row = |skew: super::Skew| SkewRow {
            group: shown(&skew.group),
            when: units::local_time(skew.at),
            skew: took(skew.skew),
            members: skew
                .members
                .iter()
                .map(|(source, method, started, ended)| {
                    let (from, to) = (units::local_time(*started), units::local_time(*ended));
                    (shown(source), shown(method), from, to)
                })
                .collect(),
        };
        self.skews().into_iter().map(row).collect()
    }
}

/// Rounded down, so that only all of it is 100.
fn percent(part: u64, whole: u64) -> u64 {
    match whole {
        0 => 100,
        whole => u64::try_from(u128::from(part) * 100 / u128::from(whole)).unwrap_or(0),
    }
}

fn source_row(it: &Compliance) -> SourceRow {
    let count = |count: u32| count.to_string();
    let newest = it.newest.as_ref();
    SourceRow {
        name: shown(&it.source),
        newest: newest.map_or_else(|| "none".into(), |newest| units::local_time(newest.taken)),
        is_met: !it.is_missed(),
        cells: vec![
            cell_of(&it.age, units::span),
            cell_of(&it.copies, count),
            cell_of(&it.media, count),
            cell_of(&it.offsite, count),
            cell_of(&it.replicas, count),
            cell_of(&it.verified, units::span),
            cell_of(&it.drilled, units::span),
            cell_of(&it.rto, took),
        ],
    }
}

fn cell_of<T: Copy>(judged: &Judged<T>, words: impl Fn(T) -> String) -> Cell {
    let class = judged.verdict.map_or("", Verdict::word);
    let words = cell(judged, words);
    let words = words.trim_end_matches([' ', '!', '?']).to_owned();
    Cell { words, class, why: shown(&judged.why) }
}

fn drill_row(place: &str, told: &Told<Box<Drilled>>) -> DrillRow {
    let drilled = &told.event;
    let span = |ns: u64, target: Option<u64>| {
        let target = target.map(|ns| format!(" of {}", took(Duration::from_nanos(ns))));
        format!("{}{}", took(Duration::from_nanos(ns)), target.unwrap_or_default())
    };
    let check = |check: &DrillCheck, is_control: bool| CheckRow {
        name: shown(&check.name),
        kind: shown(&check.kind),
        // On damaged data a check must fail.
        is_good: check.passed != is_control,
        words: match (check.passed, is_control) {
            (true, _) => "passed",
            (false, false) => "failed",
            (false, true) => "failed, as it must on damaged data",
        },
        took: took(Duration::from_nanos(check.duration_ns)),
        told: shown(&check.told),
    };
    let checks = drilled.checks.iter().map(|it| check(it, false));
    let control = drilled.control.iter().map(|it| check(it, true));
    DrillRow {
        name: shown(&drilled.name),
        when: units::local_time(drilled.started),
        place: shown(place),
        host: shown(&told.host),
        mode: shown(&drilled.mode),
        result: ledger::drill_result(drilled.result),
        is_proven: drilled.result == DrillResult::Proven,
        cause: shown(&drilled.cause),
        rto: match drilled.extrapolated_ns() {
            0 => span(drilled.rto_ns, drilled.rto_target_ns),
            _ => format!(
                "{}, extrapolated from a sample",
                span(drilled.rto_ns, drilled.rto_target_ns)
            ),
        },
        rpo: span(drilled.rpo_ns, drilled.rpo_target_ns),
        record: shown(&told.record),
        program: shown(&told.program),
        components: drilled
            .components
            .iter()
            .map(|it| {
                let (id, time) = (it.snapshot.short(), units::local_time(it.time));
                format!(
                    "{}: source {}, snapshot {id} of {time}",
                    shown(&it.name),
                    shown(&it.source)
                )
            })
            .collect(),
        phases: drilled
            .phases
            .iter()
            .map(|it| (shown(&it.name), took(Duration::from_nanos(it.duration_ns))))
            .collect(),
        checks: checks.chain(control).collect(),
    }
}

fn run_row(told: &Told<Ran>) -> RunRow {
    let ran = &told.event;
    RunRow {
        when: units::local_time(ran.started),
        what: shown(&format!("{} {}", ran.part, ran.name)),
        host: shown(&told.host),
        took: took(Duration::from_nanos(ran.duration_ns)),
        error: shown(&ran.error),
    }
}
