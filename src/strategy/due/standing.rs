//! Failures that stand: parts whose last attempt failed and that nothing has mended since.
//!
//! A part that came to a good end by itself, or by hand, is mended: a snapshot was taken, a copy is
//! not missing any more, a drill proved a restore. What the strategy does not name any more is not
//! asked for.

use std::collections::BTreeSet;

use crate::format::{DrillResult, Time};
use crate::strategy::file::Source;

use super::{Asked, Due, Last, Part};

impl Asked<'_> {
    /// What stands, each as [`Part::title`] has it.
    #[must_use]
    pub fn standing(&self) -> BTreeSet<String> {
        let ingest = |(name, source): (&String, &Source)| {
            let failed = self.last_ingest(name, source).is_some_and(|last| last.failed);
            failed.then(|| Part::Ingest { source: name.clone() }.title())
        };
        let ingests = self.strategy.sources.iter().filter_map(ingest);
        let again = self.copies().into_iter().chain(self.retention());
        let again = again.filter(|due| due.held.is_some() || self.has_failed(due).is_some());
        let again: Vec<String> = again.map(|due| due.part.title()).collect();
        let places = self.strategy.repositories.keys();
        let places = places.flat_map(|name| [self.prune_stands(name), self.verify_stands(name)]);
        let drills = self.strategy.drills.keys().filter_map(|name| self.drill_stands(name));
        ingests.chain(again).chain(places.flatten()).chain(drills).collect()
    }

    fn has_failed(&self, due: &Due) -> Option<Time> {
        self.failed_at(due.part.word(), &due.part.subject())
    }

    /// When the last attempt was begun, where that failed.
    fn failed_at(&self, part: &str, subject: &str) -> Option<Time> {
        let last: Option<Last> = self.last_run(part, subject);
        last.filter(|last| last.failed).map(|last| last.started)
    }

    fn prune_stands(&self, name: &str) -> Option<String> {
        self.failed_at("prune", name)?;
        let is_left = self.evidence.repositories.get(name).is_none_or(|facts| facts.forgotten > 0);
        is_left.then(|| format!("prune {name}"))
    }

    fn verify_stands(&self, name: &str) -> Option<String> {
        let failed = self.failed_at("verify", name)?;
        let facts = self.evidence.repositories.get(name);
        let is_mended = facts.is_some_and(|facts| {
            let good = |it: &crate::format::Time| *it > failed;
            let whole = facts.verifications.iter().filter(|told| told.event.complete);
            facts.damage.is_empty() && whole.map(|told| told.at).any(|at| good(&at))
        });
        (!is_mended).then(|| format!("verify {name}"))
    }

    fn drill_stands(&self, name: &str) -> Option<String> {
        let failed = self.failed_at("drill", name)?;
        let all = self.evidence.repositories.values().flat_map(|facts| &facts.drills);
        let mut later = all.filter(|it| it.event.name == name && it.event.started > failed);
        let is_mended = later.any(|it| it.event.result == DrillResult::Proven);
        (!is_mended).then(|| format!("drill {name}"))
    }
}
