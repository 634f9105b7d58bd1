//! What drills proved of a source, and how long they took.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::format::{DrillResult, Drilled};
use crate::strategy::evidence::Told;
use crate::units;

use super::{Asked, Judged, Verdict};

impl Asked<'_> {
    /// Whether a drill restored the source: by itself, or all members of the group.
    fn covers(&self, drilled: &Drilled) -> bool {
        let has = |source: &str| drilled.components.iter().any(|each| each.source == source);
        let members = self.source.group.as_ref().map(|group| group.members.as_slice());
        has(self.name) || members.is_some_and(|all| !all.is_empty() && all.iter().all(|it| has(it)))
    }

    /// Records of drills that cover the source, oldest first; none of the future.
    fn drills(&self) -> Vec<&Told<Box<Drilled>>> {
        let all = self.evidence.repositories.values().flat_map(|facts| &facts.drills);
        let own = all.filter(|told| {
            self.covers(&told.event) && !self.evidence.is_future(told.event.started)
        });
        let mut own: Vec<_> = own.collect();
        own.sort_by_key(|told| (told.event.started, told.at));
        own
    }

    pub(super) fn drilled(&self) -> Judged<Duration> {
        let target = self.targets.drilled_within.map(|span| span.0);
        let drills = self.drills();
        let proven = drills.iter().rev().find(|told| told.event.result == DrillResult::Proven);
        let have = proven.map(|told| self.evidence.age(told.event.started));
        let newest: BTreeMap<&str, &Drilled> =
            drills.iter().map(|told| (told.event.name.as_str(), &*told.event)).collect();
        let is_ours = |name: &str| self.strategy.drills.contains_key(name);
        let failed = newest
            .values()
            .find(|drilled| is_ours(&drilled.name) && drilled.result != DrillResult::Proven);
        let (verdict, why) = match (have, failed, self.untold()) {
            (_, Some(failed), _) => {
                let ago = units::span(self.evidence.age(failed.started));
                let what = match failed.result {
                    DrillResult::ProvesNothing => "proved nothing",
                    DrillResult::Failed | DrillResult::Proven => "failed",
                };
                let why = format!("drill {} {what} {ago} ago: {}", failed.name, failed.cause);
                (Verdict::Missed, why)
            }
            // It may tell of a drill, good or bad, since then.
            (_, None, Some(untold)) => (Verdict::Unknown, untold),
            (Some(age), None, None) => {
                let is_met = target.is_none_or(|most| age <= most);
                let verdict = if is_met { Verdict::Met } else { Verdict::Missed };
                (verdict, format!("a restore was proven {} ago", units::span(age)))
            }
            (None, None, None) => (Verdict::Missed, "no drill has proven a restore".to_owned()),
        };
        Judged { have, target, verdict: target.map(|_| verdict), why }
    }

    /// What nobody can read that may tell of a drill: the ledger of any repository; `None` where
    /// all can be read.
    fn untold(&self) -> Option<String> {
        let unread = super::unread(self.evidence.unknown.keys().map(String::as_str));
        let lost = self.evidence.repositories.iter().find(|(_, it)| !it.lost_records.is_empty());
        unread.or_else(|| Some(format!("records of the ledger of {} are lost", lost?.0)))
    }

    /// The drill that is furthest from its target, or without targets the slowest.
    pub(super) fn rto(&self) -> Judged<Duration> {
        let names = self.strategy.drills.iter().filter(|(_, drill)| {
            drill.components.values().any(|component| component.source == self.name)
        });
        let judged = names.map(|(name, drill)| {
            let target = drill.targets.rto.map(|span| span.0);
            let drills = self.drills();
            let newest = drills.iter().rev().find(|told| told.event.name == *name);
            self.rto_of(name, newest.map(|told| &*told.event), target)
        });
        let rank = |judged: &Judged<Duration>| {
            let verdict = match judged.verdict {
                Some(Verdict::Missed) => 3,
                Some(Verdict::Unknown) => 2,
                Some(Verdict::Met) => 1,
                None => 0,
            };
            (verdict, judged.have)
        };
        let none = || Judged {
            have: None,
            target: None,
            verdict: None,
            why: "no drill restores it".to_owned(),
        };
        judged.max_by_key(rank).unwrap_or_else(none)
    }

    fn rto_of(
        &self,
        name: &str,
        newest: Option<&Drilled>,
        target: Option<Duration>,
    ) -> Judged<Duration> {
        let proven = newest.filter(|drilled| drilled.result == DrillResult::Proven);
        let have = proven.map(|drilled| Duration::from_nanos(drilled.rto_ns));
        let (verdict, why) = match (have, newest, self.untold()) {
            (None, Some(_), _) => {
                (Verdict::Missed, format!("drill {name} did not prove a restore"))
            }
            (_, _, Some(untold)) => (Verdict::Unknown, untold),
            (Some(rto), ..) => {
                let is_met = target.is_none_or(|most| rto <= most);
                let verdict = if is_met { Verdict::Met } else { Verdict::Missed };
                let is_sample = proven.is_some_and(|drilled| drilled.extrapolated_ns() > 0);
                let how = if is_sample { "took, extrapolated," } else { "took" };
                (verdict, format!("drill {name} {how} {:.1} s", rto.as_secs_f64()))
            }
            (None, None, None) => (Verdict::Unknown, format!("drill {name} was never carried out")),
        };
        Judged { have, target, verdict: target.map(|_| verdict), why }
    }
}
