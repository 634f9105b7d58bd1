//! The report on a strategy: what complies, and how it came to be so.
//!
//! One [`Overview`] is made from the evidence; [`json`](Overview::json), [`prometheus`] and [`html`]
//! show it. What must stay true: nothing in it is from intent but the targets; all words that come
//! from a repository are escaped where they are shown.

mod history;
mod html;
mod plot;
mod prometheus;

use std::time::Duration;

use serde_json::{Value, json};

use super::{comply, json as as_json, ledger};
use crate::format::{Drilled, LedgerEvent, LedgerRecord, Ran, RecordId, RepositoryId, Time};
use crate::strategy::comply::{Compliance, Fault};
use crate::strategy::due::plus;
use crate::strategy::evidence::{Evidence, RepositoryFacts, Told};
use crate::strategy::file::Strategy;

pub use history::Skew;
pub use html::html;
pub use prometheus::prometheus;

/// All that a report shows.
#[derive(Debug, Clone, Copy)]
pub struct Overview<'a> {
    /// Where the strategy stands.
    pub file: &'a str,
    /// The strategy.
    pub strategy: &'a Strategy,
    /// What is known.
    pub evidence: &'a Evidence,
    /// What follows from it.
    pub judged: &'a [Compliance],
    /// What is wrong with repositories.
    pub faults: &'a [Fault],
    /// How far back histories go.
    pub since: Duration,
}

impl<'a> Overview<'a> {
    /// Where histories begin.
    #[must_use]
    pub fn from(&self) -> Time {
        let back = i64::try_from(self.since.as_secs()).unwrap_or(i64::MAX);
        Time { secs: self.evidence.now.secs.saturating_sub(back), nanos: 0 }
    }

    fn is_met(&self) -> bool {
        self.faults.is_empty() && !self.judged.iter().any(Compliance::is_missed)
    }

    fn is_shown(&self, time: Time) -> bool {
        time >= self.from() && time <= plus(self.evidence.now, Duration::from_secs(3600))
    }

    fn repositories(&self) -> impl Iterator<Item = (&'a str, &'a RepositoryFacts)> {
        self.evidence.repositories.iter().map(|(name, facts)| (name.as_str(), facts))
    }

    /// Records of all ledgers within the time that is shown, newest first.
    fn told<T>(
        &self,
        of: impl Fn(&'a RepositoryFacts) -> &'a Vec<Told<T>>,
    ) -> Vec<(&'a str, &'a Told<T>)> {
        let all = self.repositories().flat_map(|(name, facts)| {
            of(facts).iter().map(move |told| (name, told)).collect::<Vec<_>>()
        });
        let mut all: Vec<_> = all.filter(|(_, told)| self.is_shown(told.at)).collect();
        all.sort_by(|(_, a), (_, b)| (b.at, &b.record).cmp(&(a.at, &a.record)));
        all
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let rpo = |it: &Compliance| {
            let points = self.ages(&it.source);
            let point = |(time, age): &(Time, f64)| json!([as_json::time(*time), age]);
            json!({ "source": it.source, "ages": points.iter().map(point).collect::<Vec<_>>() })
        };
        let drills = self.told(|facts| &facts.drills);
        let drill = |(place, told): &(&str, &Told<Box<Drilled>>)| {
            record_json(place, told, LedgerEvent::Drilled(told.event.clone()))
        };
        let runs = self.told(|facts| &facts.runs);
        let run = |(place, told): &(&str, &Told<Ran>)| {
            record_json(place, told, LedgerEvent::Ran(told.event.clone()))
        };
        json!({
            "time": as_json::time(self.evidence.now),
            "host": self.evidence.host,
            "strategy": self.file,
            "since": as_json::time(self.from()),
            "met": self.is_met(),
            "sources": self.judged.iter().map(comply::json).collect::<Vec<_>>(),
            "faults": self.faults.iter().map(comply::fault_json).collect::<Vec<_>>(),
            "unreadable": self.evidence.unknown,
            "repositories": self.repositories().map(|(name, facts)| self.repository_json(name, facts))
                .collect::<Vec<_>>(),
            "rpo_history": self.judged.iter().map(rpo).collect::<Vec<_>>(),
            "drills": drills.iter().map(drill).collect::<Vec<_>>(),
            "runs": runs.iter().map(run).collect::<Vec<_>>(),
            "skews": self.skews().iter().map(Skew::json).collect::<Vec<_>>(),
        })
    }

    fn repository_json(&self, name: &str, facts: &RepositoryFacts) -> Value {
        let logical: u64 = facts.snapshots.iter().map(|each| each.totals.data).sum();
        let points = |sizes: Vec<(Time, u64)>| -> Vec<Value> {
            let point = |(time, bytes)| json!([as_json::time(time), bytes]);
            sizes.into_iter().map(point).collect()
        };
        json!({
            "name": name,
            "location": facts.location,
            "snapshots": facts.snapshots.len(),
            "forgotten": facts.forgotten,
            "damaged_snapshots": facts.damaged,
            "bytes_stored": facts.stored,
            "bytes_logical": logical,
            "verified": {
                "bytes": facts.verified.total(),
                "within_window": facts.verified.within(self.evidence.now, self.since),
                "never": facts.verified.never(),
                "oldest": facts.verified.oldest().map(as_json::time),
            },
            "logical_history": points(self.logical(facts)),
            "stored_history": points(self.stored(facts)),
        })
    }
}

/// A record as `icecore ledger --json` has it, and whose ledger it is in.
fn record_json<T>(place: &str, told: &Told<T>, event: LedgerEvent) -> Value {
    let record = LedgerRecord {
        repository: RepositoryId([0; 16]),
        id: RecordId([0; 16]),
        at: told.at,
        host: told.host.clone(),
        program: told.program.clone(),
        previous: Vec::new(),
        event,
    };
    let mut value = ledger::json(&record);
    if let Value::Object(fields) = &mut value {
        fields.remove("schema");
        fields.remove("follows");
        fields.insert("record".into(), told.record.as_str().into());
        fields.insert("repository".into(), place.into());
    }
    value
}
