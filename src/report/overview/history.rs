//! What became of ages, sizes and groups over time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::Overview;
use crate::format::{Drilled, SnapshotId, Time};
use crate::report::json as as_json;
use crate::strategy::evidence::{RepositoryFacts, elapsed};

/// How far the captures of a group's newest snapshot are apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Skew {
    /// The group.
    pub group: String,
    /// The snapshot's time.
    pub at: Time,
    /// From the end of the first capture to that of the last: what one member holds may be so much
    /// newer than what another does.
    pub skew: Duration,
    /// Members with their methods, starts and ends, in their order.
    pub members: Vec<(String, String, Time, Time)>,
}

impl Skew {
    pub(super) fn json(&self) -> Value {
        let member = |(source, method, started, ended): &(String, String, Time, Time)| {
            json!({
                "source": source, "method": method,
                "started": as_json::time(*started), "ended": as_json::time(*ended),
            })
        };
        json!({
            "group": self.group,
            "time": as_json::time(self.at),
            "skew": self.skew.as_secs_f64(),
            "members": self.members.iter().map(member).collect::<Vec<_>>(),
        })
    }
}

impl Overview<'_> {
    /// The age of a source's newest snapshot over time, in seconds: at each new one what it had
    /// come to, then nothing; and what it is now. From snapshots that are there, and from ingests
    /// that ledgers tell of: those of snapshots that are forgotten.
    pub(super) fn ages(&self, name: &str) -> Vec<(Time, f64)> {
        let Some(source) = self.strategy.sources.get(name) else { return Vec::new() };
        let held: BTreeMap<SnapshotId, Time> = self
            .repositories()
            .flat_map(|(place, _)| self.evidence.snapshots_of(place, name, source))
            .map(|each| (each.identity.1, each.taken(name)))
            .collect();
        let runs = self.evidence.runs("ingest", name);
        let told = runs.iter().filter_map(|told| {
            let is_gone = !held.contains_key(&told.event.snapshot?);
            is_gone.then_some(told.event.started)
        });
        let past = |time: &Time| *time <= self.evidence.now;
        let times: BTreeSet<Time> = held.values().copied().chain(told).filter(past).collect();
        let mut points = Vec::new();
        let mut before: Option<Time> = None;
        for time in times {
            if let Some(before) = before.filter(|_| self.is_shown(time)) {
                points.push((time, elapsed(time, before).as_secs_f64()));
            }
            if self.is_shown(time) {
                points.push((time, 0.0));
            }
            before = Some(time);
        }
        if let Some(before) = before {
            points.push((self.evidence.now, self.evidence.age(before).as_secs_f64()));
        }
        points
    }

    /// Bytes of all snapshots that are there, as they came.
    pub(super) fn logical(&self, facts: &RepositoryFacts) -> Vec<(Time, u64)> {
        let mut sum = 0_u64;
        let sums = facts.snapshots.iter().map(|snapshot| {
            sum = sum.saturating_add(snapshot.totals.data);
            (snapshot.time, sum)
        });
        sums.filter(|(time, _)| self.is_shown(*time)).collect()
    }

    /// Bytes of the packs that each verification found, and those of all objects now. What ingests
    /// stored tells less: of snapshots that are forgotten nothing is known, and what they brought is
    /// still used by others.
    pub(super) fn stored(&self, facts: &RepositoryFacts) -> Vec<(Time, u64)> {
        let told = facts.verifications.iter().map(|told| (told.at, told.event.bytes_stored));
        let shown = told.filter(|(time, _)| self.is_shown(*time));
        shown.chain([(self.evidence.now, facts.stored)]).collect()
    }

    /// The drill's records, oldest first.
    pub(super) fn drills_of(&self, name: &str) -> Vec<&Drilled> {
        let all = self.told(|facts| &facts.drills).into_iter().rev();
        all.map(|(_, told)| &*told.event).filter(|drilled| drilled.name == name).collect()
    }

    /// Of each group's newest snapshot with several captures.
    #[must_use]
    pub fn skews(&self) -> Vec<Skew> {
        let groups = self.strategy.sources.iter().filter(|(_, source)| source.group.is_some());
        let newest = groups.filter_map(|(name, source)| {
            let all = self.repositories();
            let all = all.flat_map(|(place, _)| self.evidence.snapshots_of(place, name, source));
            let newest = all.max_by_key(|each| (each.time, each.identity))?;
            let ends = newest.captures.iter().map(|capture| capture.ended);
            let (first, last) = (ends.clone().min()?, ends.max()?);
            let members = newest.captures.iter().map(|capture| {
                let (source, method) = (capture.source.clone(), capture.method.clone());
                (source, method, capture.started, capture.ended)
            });
            Some(Skew {
                group: name.clone(),
                at: newest.time,
                skew: elapsed(last, first),
                members: members.collect(),
            })
        });
        newest.collect()
    }
}
