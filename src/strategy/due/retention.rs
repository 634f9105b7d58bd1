//! What sources let go, and what must stay whatever their rules say.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::format::SnapshotId;
use crate::strategy::evidence::{Identity, SnapshotFact, elapsed};
use crate::strategy::file::{Keep, Source};
use crate::strategy::retention::{self, Fact, GroupBy, Period, Rules};

use super::{Asked, DAY, Due, Part, next_of, remedy};

impl Asked<'_> {
    /// What goes, by source and place.
    #[must_use]
    pub fn retention(&self) -> Vec<Due> {
        let mut due = Vec::new();
        for (name, source) in self.strategy.sources.iter().filter(|(_, it)| it.keep.is_some()) {
            let held_back = self.held_back(name, source);
            for place in self.strategy.places_of(source) {
                let Some(repository) = self.strategy.repositories.get(place) else { continue };
                if repository.immutable {
                    continue;
                }
                let forget = self.let_go(name, source, place, &held_back);
                if forget.is_empty() {
                    continue;
                }
                let count = forget.len();
                let plural = if count == 1 { "" } else { "s" };
                due.push(Due {
                    why: format!("{count} snapshot{plural} that keep lets go"),
                    held: self.damaged(source),
                    part: Part::Retention {
                        source: name.clone(),
                        repository: place.to_owned(),
                        forget,
                    },
                });
            }
        }
        due
    }

    /// Why nothing may go while there is known damage at one of the source's places.
    fn damaged(&self, source: &Source) -> Option<String> {
        let places = self.strategy.places_of(source).into_iter();
        let damaged = places.filter_map(|name| {
            let facts = self.evidence.repositories.get(name)?;
            let url = &self.strategy.repositories.get(name)?.url;
            let what = || {
                let remedy = remedy(facts, url);
                format!("nothing is forgotten while there is known damage in {name}: {remedy}")
            };
            (!facts.damage.is_empty()).then(what)
        });
        Some(damaged.collect::<Vec<_>>().join("; ")).filter(|it| !it.is_empty())
    }

    fn let_go(
        &self,
        name: &str,
        source: &Source,
        place: &str,
        held_back: &BTreeSet<Identity>,
    ) -> Vec<SnapshotId> {
        let own = self.evidence.snapshots_of(place, name, source);
        let kept = self.kept(name, source, &own);
        let goes = |each: &&&SnapshotFact| {
            !kept.contains(&each.id)
                && !held_back.contains(&each.identity)
                && !self.is_kept_by_another(name, place, each)
        };
        own.iter().filter(goes).map(|each| each.id).collect()
    }

    /// Of a source's snapshots those that its rules keep; all without rules, and where the rules
    /// would keep none. The newest whole one stays in any case.
    pub(super) fn kept(
        &self,
        name: &str,
        source: &Source,
        own: &[&SnapshotFact],
    ) -> BTreeSet<SnapshotId> {
        let all = || own.iter().map(|each| each.id).collect();
        let Some(mut rules) = source.keep.as_ref().map(rules) else { return all() };
        rules.gap_max = Some(self.gap_max(source, own));
        let fact = |each: &&SnapshotFact| Fact {
            id: each.id,
            time: each.time,
            host: each.host.clone(),
            tags: each.tags.clone(),
            sources: vec![name.as_bytes().to_vec()],
            protected: each.protected,
        };
        let facts: Vec<Fact> = own.iter().map(fact).collect();
        let groups = retention::plan(&facts, &rules, self.zone, self.evidence.now);
        if groups.iter().any(retention::Group::is_emptied) {
            return all();
        }
        let verdicts = groups.iter().flat_map(|group| &group.verdicts);
        let by_rule = verdicts.filter(|verdict| verdict.is_kept()).map(|verdict| verdict.id);
        // That newer ones are partial is no reason to let the last whole one go.
        let whole = own.iter().rev().find(|each| each.troubles == 0).map(|each| each.id);
        by_rule.chain(whole).collect()
    }

    /// The longest time between two snapshots that counts for *within*: a day, and twice what lies
    /// between two starts; by the schedule or, without one, as it usually was.
    fn gap_max(&self, source: &Source, own: &[&SnapshotFact]) -> Duration {
        let calendar = source.calendar.as_deref();
        let next = |after| next_of(calendar, after, self.zone);
        let by_calendar = || {
            let first = next(self.evidence.now)?;
            Some(elapsed(next(first)?, first))
        };
        let usual = || {
            let pairs = own.iter().zip(own.iter().skip(1));
            let mut gaps: Vec<Duration> =
                pairs.map(|(before, after)| elapsed(after.time, before.time)).collect();
            gaps.sort_unstable();
            gaps.get(gaps.len() / 2).copied()
        };
        let period = source.every.map(|every| every.0).or_else(by_calendar).or_else(usual);
        DAY.saturating_add(period.unwrap_or_default().saturating_mul(2))
    }

    /// Whether another source owns the snapshot as well, and keeps it. A group decides for its
    /// members.
    fn is_kept_by_another(&self, name: &str, place: &str, snapshot: &SnapshotFact) -> bool {
        let owners = self.owners(snapshot);
        let has_group = owners.iter().any(|(_, source)| source.group.is_some());
        if has_group && owners.iter().any(|(own, source)| *own == name && source.group.is_none()) {
            return true;
        }
        let decides = |source: &Source| !has_group || source.group.is_some();
        let others = owners.iter().filter(|(own, source)| *own != name && decides(source));
        others.into_iter().any(|(own, source)| {
            let all = self.evidence.snapshots_of(place, own, source);
            self.kept(own, source, &all).contains(&snapshot.id)
                || self.held_back(own, source).contains(&snapshot.identity)
        })
    }

    fn owners(&self, snapshot: &SnapshotFact) -> Vec<(&str, &Source)> {
        let sources = self.strategy.sources.iter();
        let own = sources.filter(|(name, source)| self.owns(snapshot, name, source));
        own.map(|(name, source)| (name.as_str(), source)).collect()
    }

    /// While the newest snapshot is not at all replicas: all that are not.
    fn held_back(&self, name: &str, source: &Source) -> BTreeSet<Identity> {
        let places = self.strategy.places_of(source);
        let held: Vec<BTreeSet<Identity>> = places
            .iter()
            .map(|place| {
                let own = self.evidence.snapshots_of(place, name, source);
                own.iter().map(|each| each.identity).collect()
            })
            .collect();
        let all = places.iter().flat_map(|place| self.evidence.snapshots_of(place, name, source));
        let all: Vec<_> = all.collect();
        let everywhere = |identity: &Identity| held.iter().all(|held| held.contains(identity));
        let newest = all.iter().max_by_key(|each| (each.taken(name), each.identity));
        match newest.is_none_or(|newest| everywhere(&newest.identity)) {
            true => BTreeSet::new(),
            false => {
                let missing = all.iter().map(|each| each.identity);
                missing.filter(|identity| !everywhere(identity)).collect()
            }
        }
    }
}

/// The rules that a strategy's `keep` stands for.
#[must_use]
pub(super) fn rules(keep: &Keep) -> Rules {
    let every = [
        (Period::Minute, keep.minutely),
        (Period::Hour, keep.hourly),
        (Period::Day, keep.daily),
        (Period::Week, keep.weekly),
        (Period::Month, keep.monthly),
        (Period::Quarter, keep.quarterly),
        (Period::Year, keep.yearly),
    ];
    Rules {
        last: keep.last,
        every: every.into_iter().filter(|(_, count)| *count > 0).collect(),
        within: keep.within.as_ref().and_then(|span| span.parse().ok()),
        tags: keep.tags.iter().map(|tag| vec![tag.clone()]).collect(),
        group_by: GroupBy { host: true, tags: false, sources: false },
        ..Rules::default()
    }
}
