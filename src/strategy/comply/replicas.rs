//! Replicas: whether each holds what the source promises, asked of without any target.

use std::time::Duration;

use crate::strategy::evidence::SnapshotFact;
use crate::units;

use super::{Asked, Judged, Verdict};

impl Asked<'_> {
    /// How many replicas hold the newest snapshot, or one within RPO.
    pub(super) fn replicas(&self, all: &[&SnapshotFact]) -> Judged<u32> {
        let first = self.strategy.places_of(self.source).first().copied();
        let named = || self.source.replicas.iter().map(String::as_str);
        let named: Vec<&str> = named().filter(|name| Some(*name) != first).collect();
        if named.is_empty() {
            let why = "it has no replicas".to_owned();
            return Judged { have: None, target: None, verdict: None, why };
        }
        let wrong: Vec<_> = named.iter().filter_map(|name| self.lag(name, all)).collect();
        let count = |count: usize| Some(u32::try_from(count).unwrap_or(u32::MAX));
        let why = match wrong.is_empty() {
            true => format!("current: {}", named.join(", ")),
            false => wrong.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>().join("; "),
        };
        let is_missed = wrong.iter().any(|(verdict, _)| *verdict == Verdict::Missed);
        let verdict = match (wrong.is_empty(), is_missed) {
            (true, _) => Verdict::Met,
            (false, true) => Verdict::Missed,
            (false, false) => Verdict::Unknown,
        };
        let have = count(named.len() - wrong.len());
        Judged { have, target: count(named.len()), verdict: Some(verdict), why }
    }

    /// What is wrong with a replica; `None` where nothing is.
    fn lag(&self, name: &str, all: &[&SnapshotFact]) -> Option<(Verdict, String)> {
        let known = &self.evidence.repositories;
        let Some(there) = known.get(name) else {
            return Some((Verdict::Unknown, format!("repository {name} cannot be read")));
        };
        let first = self.strategy.places_of(self.source).first().copied();
        if first.and_then(|first| known.get(first)).is_some_and(|it| it.location == there.location)
        {
            return Some((Verdict::Missed, format!("{name} is the folder that it is a copy of")));
        }
        let newest = all.last()?;
        let held = self.evidence.snapshots_of(name, self.name, self.source);
        if held.iter().any(|each| each.identity == newest.identity) {
            return None;
        }
        let rpo = self.source.rpo.map_or(Duration::ZERO, |span| span.0);
        let last = held.last().map(|each| self.evidence.age(each.taken(self.name)));
        let copies = self.evidence.runs("replicate", &format!("{} to {name}", self.name));
        let error = copies.last().map(|told| told.event.error.as_str()).filter(|it| !it.is_empty());
        if error.is_none() && last.is_some_and(|age| age <= rpo) {
            return None;
        }
        let last = last.map_or_else(
            || "it holds none".to_owned(),
            |age| format!("its newest is {} old", units::span(age)),
        );
        let failed = error.map(|error| format!("; the last copy failed: {error}"));
        let failed = failed.unwrap_or_default();
        Some((Verdict::Missed, format!("{name} lacks the newest snapshot, {last}{failed}")))
    }
}
