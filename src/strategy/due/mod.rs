//! What is due now, and why: facts, strategy and time zone in, parts of a run out.
//!
//! - *Ingests* as the sources' schedules say, from the last start that a ledger tells of or a
//!   snapshot shows.
//! - *Copies*: a snapshot that its source's first place holds and a replica does not. Of older ones
//!   only those that the source's rules keep, and that were never copied there: a replica that let
//!   one go does not get it again. The newest always, unless the replica holds a newer one. A
//!   replica that cannot be read is a part that is held: it fails.
//! - *Retention*: what a source's `keep` lets go, place by place. A snapshot that no source owns is
//!   never named; one of several sources goes when all of them let it go; one of a group by the
//!   group's rules. Nothing goes in immutable repositories. While a source's newest snapshot is not
//!   at all its replicas, what is not at all of them stays as well; a replica that cannot be read
//!   holds nothing that anybody could count on. While there is known damage at any of a source's
//!   places, what would go is held at all of them: it may be what a repair needs.
//! - *Prune*, once a day where something is forgotten, held where there is known damage. *Verify*,
//!   where the strategy gives a budget, once a day while something waits to be read. *Drills* as
//!   their schedules say.
//!
//! What must stay true: each part stands for itself, so that one that fails stops no other.

mod retention;
mod schedule;
mod standing;

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::format::{SnapshotId, Time};
use crate::units;

use super::comply::remedy;
use super::evidence::{Evidence, RepositoryFacts, SnapshotFact, belongs};
use super::file::{Drill, Source, Span, Strategy};

pub use schedule::{Last, RETRY, Schedule, When, next_of, plus};

/// How often a repository is pruned and verified at most.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How old a verification may be where the strategy does not say.
const VERIFIED_WITHIN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A snapshot of a source.
    Ingest {
        /// The source.
        source: String,
    },
    /// Copies of snapshots.
    Replicate {
        /// The source whose they are.
        source: String,
        /// The repository that holds them.
        from: String,
        /// The one that gets them.
        to: String,
        /// Their ids in `from`, oldest first.
        snapshots: Vec<SnapshotId>,
    },
    /// Snapshots that are let go.
    Retention {
        /// The source whose they are.
        source: String,
        /// Where.
        repository: String,
        /// Their ids there.
        forget: Vec<SnapshotId>,
    },
    /// Space that is given back.
    Prune {
        /// Where.
        repository: String,
    },
    /// Stored bytes that are read.
    Verify {
        /// Where.
        repository: String,
    },
    /// A trial restore.
    Drill {
        /// Its name.
        drill: String,
    },
}

/// A part of a run, and why it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// What is to be done.
    pub part: Part,
    /// Why.
    pub why: String,
    /// Why it is not carried out all the same, and what to do: that is a failure of the run.
    pub held: Option<String>,
}

impl Due {
    /// Of a part that can be carried out.
    #[must_use]
    pub fn new(part: Part, why: impl Into<String>) -> Self {
        Self { part, why: why.into(), held: None }
    }
}

impl Part {
    /// The word that the ledger has for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Ingest { .. } => "ingest",
            Self::Replicate { .. } => "replicate",
            Self::Retention { .. } => "retention",
            Self::Prune { .. } => "prune",
            Self::Verify { .. } => "verify",
            Self::Drill { .. } => "drill",
        }
    }

    /// The source, drill or repository that it is about.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Ingest { source }
            | Self::Replicate { source, .. }
            | Self::Retention { source, .. } => source,
            Self::Prune { repository } | Self::Verify { repository } => repository,
            Self::Drill { drill } => drill,
        }
    }

    /// What it is about, as the ledger names it: `models to far`.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Replicate { source, to, .. } => format!("{source} to {to}"),
            Self::Retention { source, repository, .. } => format!("{source} in {repository}"),
            _ => self.name().to_owned(),
        }
    }

    /// All of it in words: `replicate models to far`.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {}", self.word(), self.subject())
    }

    /// The repository that it changes or reads, where that is one.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        match self {
            Self::Replicate { to, .. } => Some(to),
            Self::Retention { repository, .. }
            | Self::Prune { repository }
            | Self::Verify { repository } => Some(repository),
            Self::Ingest { .. } | Self::Drill { .. } => None,
        }
    }
}

/// All that decides.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The strategy.
    pub strategy: &'a Strategy,
    /// What is known.
    pub evidence: &'a Evidence,
    /// The zone of calendars and of retention's days.
    pub zone: &'a TimeZone,
}

impl<'a> Asked<'a> {
    /// Sources whose snapshot is due.
    #[must_use]
    pub fn ingests(&self) -> Vec<Due> {
        let due = |(name, source): (&String, &Source)| match self.ingest_of(name, source) {
            When::Now(why) => Some(Due::new(Part::Ingest { source: name.clone() }, why)),
            _ => None,
        };
        self.strategy.sources.iter().filter_map(due).collect()
    }

    /// When a source's next snapshot is due.
    #[must_use]
    pub fn ingest_of(&self, name: &str, source: &Source) -> When {
        let schedule = Schedule { every: source.every, calendar: source.calendar.as_deref() };
        schedule.when(self.last_ingest(name, source), self.evidence.now, self.zone)
    }

    /// The last start of a source: what a ledger tells, or what a snapshot shows.
    fn last_ingest(&self, name: &str, source: &Source) -> Option<Last> {
        let own = |place| self.evidence.snapshots_of(place, name, source);
        let places = self.evidence.known_places(self.strategy, source);
        let shown = places.flat_map(own).map(|each| each.taken(name)).max();
        let shown = shown.map(|started| Last { started, failed: false });
        let told = self.last_run("ingest", name);
        [shown, told].into_iter().flatten().max_by_key(|last| (last.started, last.failed))
    }

    fn last_run(&self, part: &str, name: &str) -> Option<Last> {
        let runs = self.evidence.runs(part, name);
        let past = runs.iter().rev().find(|told| !self.evidence.is_future(told.event.started));
        past.map(|told| Last { started: told.event.started, failed: !told.event.error.is_empty() })
    }

    /// Snapshots that are missing at a replica, and replicas that cannot be read.
    #[must_use]
    pub fn copies(&self) -> Vec<Due> {
        let is_told = |name: &str, source: &Source, due: &Due| {
            // Once: by the group.
            let to = due.part.place().unwrap_or_default();
            let is_part = self.strategy.is_part(name, source);
            due.held.is_some() && is_part && self.has_group_to(name, to)
        };
        let of = |(name, source): (&'a String, &'a Source)| {
            let all = self.copies_from(name, source);
            all.filter(move |due| !is_told(name, source, due))
        };
        self.strategy.sources.iter().flat_map(of).collect()
    }

    /// The same of one source, for who asks for it alone; of a group with those of its members.
    #[must_use]
    pub fn copies_of_one(&self, asked: &str) -> Vec<Due> {
        let members = |name: &String| {
            let group = self.strategy.sources.get(asked).and_then(|it| it.group.as_ref());
            group.is_some_and(|group| group.members.contains(name))
        };
        let all = self.strategy.sources.iter();
        let own = all.filter(|(name, _)| *name == asked || members(name));
        let due: Vec<Due> = own.flat_map(|(name, source)| self.copies_from(name, source)).collect();
        // What the group tells of a replica its members need not tell again.
        let is_held_by_asked = |to: Option<&str>| {
            due.iter()
                .any(|it| it.held.is_some() && it.part.name() == asked && it.part.place() == to)
        };
        let is_told = |it: &Due| {
            it.held.is_some() && it.part.name() != asked && is_held_by_asked(it.part.place())
        };
        due.iter().filter(|it| !is_told(it)).cloned().collect()
    }

    fn copies_from(&self, name: &'a str, source: &'a Source) -> impl Iterator<Item = Due> {
        let from = self.strategy.places_of(source).first().copied();
        let replicas = source.replicas.iter().filter(move |to| Some(to.as_str()) != from);
        replicas.filter_map(move |to| self.copies_of(name, source, from?, to))
    }

    fn copies_of(&self, name: &str, source: &Source, from: &str, to: &str) -> Option<Due> {
        let part = |snapshots| Part::Replicate {
            source: name.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            snapshots,
        };
        let Some(there) = self.evidence.repositories.get(to) else {
            let why = self.evidence.unknown.get(to)?;
            let held = Some(format!("repository {to} cannot be read: {why}"));
            let why = "nobody knows what is there".to_owned();
            return Some(Due { part: part(Vec::new()), why, held });
        };
        let mut own = self.evidence.snapshots_of(from, name, source);
        // What a group's snapshot has of its members goes with that snapshot.
        own.retain(|each| !self.goes_with_a_group(each, name, to));
        let kept = self.kept(name, source, &own);
        // Unless the replica is ahead: it would let go at once what it gets.
        let last = self.evidence.snapshots_of(to, name, source).last().map(|each| each.taken(name));
        let newest = own.last().filter(|each| last.is_none_or(|last| last <= each.taken(name)));
        let newest = newest.map(|each| each.identity);
        let wanted = |each: &&&SnapshotFact| {
            let held = there.snapshots.iter().any(|other| other.identity == each.identity);
            let let_go = there.replicated.contains(&each.identity) || !kept.contains(&each.id);
            !held && (Some(each.identity) == newest || !let_go)
        };
        let missing: Vec<&&SnapshotFact> = own.iter().filter(wanted).collect();
        let age = units::span(self.evidence.age(missing.last()?.taken(name)));
        let count = missing.len();
        let plural = if count == 1 { "" } else { "s" };
        let why = format!("{count} snapshot{plural} not there, the newest from {age} ago");
        Some(Due::new(part(missing.iter().map(|each| each.id).collect()), why))
    }

    /// Whether a group of which the source is a member is copied there.
    fn has_group_to(&self, name: &str, to: &str) -> bool {
        self.strategy.groups_of(name).any(|group| group.replicas.iter().any(|it| it == to))
    }

    /// Whether another source, a group, has the snapshot copied there as well.
    fn goes_with_a_group(&self, snapshot: &SnapshotFact, name: &str, to: &str) -> bool {
        self.strategy.sources.iter().any(|(other, source)| {
            source.group.is_some()
                && other != name
                && source.replicas.iter().any(|it| it == to)
                && self.owns(snapshot, other, source)
        })
    }

    /// Repositories that are to be pruned.
    #[must_use]
    pub fn prunes(&self) -> Vec<Due> {
        let due = |(name, facts): (&String, &RepositoryFacts)| {
            let place = self.strategy.repositories.get(name)?;
            if facts.forgotten == 0 || place.immutable {
                return None;
            }
            let part = Part::Prune { repository: name.clone() };
            let why = format!("{} forgotten", facts.forgotten);
            let held = (!facts.damage.is_empty()).then(|| {
                let remedy = remedy(facts, &place.url);
                format!("nothing is deleted while there is known damage in {name}: {remedy}")
            });
            self.daily(DAY, &part).then_some(Due { part, why, held })
        };
        self.evidence.repositories.iter().filter_map(due).collect()
    }

    /// Repositories of which something waits to be verified.
    #[must_use]
    pub fn verifications(&self) -> Vec<Due> {
        let budget = &self.strategy.verify;
        if budget.max_duration.is_none() {
            return Vec::new();
        }
        let window = budget.older_than.map_or(VERIFIED_WITHIN, |span| span.0);
        let due = |(name, facts): (&String, &RepositoryFacts)| {
            self.strategy.repositories.get(name)?;
            let total = facts.verified.total();
            let waiting = total - facts.verified.within(self.evidence.now, window);
            let part = Part::Verify { repository: name.clone() };
            let why = format!(
                "{} of {} not verified within {}",
                units::size(waiting),
                units::size(total),
                units::span(window)
            );
            let is_due = waiting > 0 && self.daily(window.min(DAY), &part);
            is_due.then(|| Due::new(part, why))
        };
        self.evidence.repositories.iter().filter_map(due).collect()
    }

    /// Whether a part was not begun for so long.
    fn daily(&self, every: Duration, part: &Part) -> bool {
        let schedule = Schedule { every: Some(Span(every)), calendar: None };
        let last = self.last_run(part.word(), part.name());
        let last = last.map(|last| Last { failed: false, ..last });
        matches!(schedule.when(last, self.evidence.now, self.zone), When::Now(_))
    }

    /// Drills that are due.
    #[must_use]
    pub fn drills(&self) -> Vec<Due> {
        let due = |(name, drill): (&String, &Drill)| match self.drill_of(name, drill) {
            When::Now(why) => Some(Due::new(Part::Drill { drill: name.clone() }, why)),
            _ => None,
        };
        self.strategy.drills.iter().filter_map(due).collect()
    }

    /// When a drill is due. One that failed waits for its schedule: it may take an hour.
    #[must_use]
    pub fn drill_of(&self, name: &str, drill: &Drill) -> When {
        let all = self.evidence.repositories.values().flat_map(|facts| &facts.drills);
        let own = all.filter(|told| told.event.name == name).map(|told| told.event.started);
        let past = own.filter(|started| !self.evidence.is_future(*started)).max();
        let told = self.last_run("drill", name).map(|last| last.started);
        let last = past.max(told).map(|started| Last { started, failed: false });
        let schedule = Schedule { every: drill.every, calendar: drill.calendar.as_deref() };
        schedule.when(last, self.evidence.now, self.zone)
    }

    /// The first moment after now at which something is due by a schedule.
    #[must_use]
    pub fn next(&self) -> Option<(Time, &'a str)> {
        let sources = self.strategy.sources.iter();
        let sources = sources.map(|(name, source)| (name, self.ingest_of(name, source)));
        let drills = self.strategy.drills.iter();
        let drills = drills.map(|(name, drill)| (name, self.drill_of(name, drill)));
        let later = |(name, when): (&'a String, When)| match when {
            When::At(at) => Some((at, name.as_str())),
            _ => None,
        };
        sources.chain(drills).filter_map(later).min()
    }

    /// Whether a snapshot is one of a source of this host.
    fn owns(&self, snapshot: &SnapshotFact, name: &str, source: &Source) -> bool {
        belongs(snapshot, name, source, Some(&self.evidence.host))
    }
}

#[cfg(test)]
mod tests;
