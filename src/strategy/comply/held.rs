//! Copies of a source's snapshot that are really held, and whether they were verified.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::format::Time;
use crate::strategy::evidence::{Identity, RepositoryFacts, SnapshotFact};
use crate::strategy::file::Repository;
use crate::units;

use super::{Asked, Judged, Verdict};

impl<'a> Asked<'a> {
    /// The places of the snapshot that counts: of those within RPO the one that meets most of the
    /// targets of copies, of equals the newest.
    pub(super) fn counted(&self, all: &[&SnapshotFact]) -> Vec<&'a str> {
        let Some(newest) = all.last() else { return Vec::new() };
        let rpo = self.source.rpo.map_or(Duration::ZERO, |span| span.0);
        let recent = all.iter().rev().filter(|each| {
            let is_newest = each.identity == newest.identity;
            is_newest || self.evidence.age(each.taken(self.name)) <= rpo
        });
        let met = |held: &Vec<&str>| {
            let held = &self.sound(held);
            let counts = [
                (self.targets.copies, held.len()),
                (self.targets.media, self.media_of(held).len()),
                (self.targets.offsite, self.offsite_of(held).len()),
            ];
            counts
                .iter()
                .filter(|(target, have)| target.is_none_or(|most| *have >= most as usize))
                .count()
        };
        let held: Vec<_> = recent.map(|each| self.places_of(each.identity)).collect();
        // The last of equals, which is the newest.
        held.into_iter().rev().max_by_key(met).unwrap_or_default()
    }

    /// Repositories that hold it, each folder once.
    fn places_of(&self, identity: Identity) -> Vec<&'a str> {
        let mut folders = BTreeSet::new();
        let holds =
            |facts: &RepositoryFacts| facts.snapshots.iter().any(|each| each.identity == identity);
        let known = self.evidence.repositories.iter();
        let held = known.filter(|(name, facts)| {
            self.strategy.repositories.contains_key(*name)
                && holds(facts)
                && folders.insert(facts.location.as_str())
        });
        held.map(|(name, _)| name.as_str()).collect()
    }

    /// Those without known damage: what is damaged is no copy that anybody could count on.
    pub(super) fn sound(&self, held: &[&'a str]) -> Vec<&'a str> {
        held.iter().copied().filter(|name| !self.is_damaged(name)).collect()
    }

    fn is_damaged(&self, name: &str) -> bool {
        self.evidence.repositories.get(name).is_some_and(|facts| !facts.damage.is_empty())
    }

    fn repositories<'s>(
        &'s self,
        held: &'s [&str],
    ) -> impl Iterator<Item = (&'s str, &'s Repository)> {
        held.iter().filter_map(|name| Some((*name, self.strategy.repositories.get(*name)?)))
    }

    fn media_of<'s>(&'s self, held: &'s [&str]) -> BTreeSet<&'s str> {
        self.repositories(held).map(|(_, place)| place.media.as_str()).collect()
    }

    fn offsite_of<'s>(&'s self, held: &'s [&'s str]) -> Vec<&'s str> {
        self.repositories(held).filter(|(_, place)| place.offsite).map(|(name, _)| name).collect()
    }

    pub(super) fn copies(&self, held: &[&str], sound: &[&str]) -> Judged<u32> {
        let words = ["held by", "no repository holds it"];
        let mut judged = self.count(self.targets.copies, sound.len(), words, sound);
        let damaged: Vec<&str> =
            held.iter().copied().filter(|name| !sound.contains(name)).collect();
        if !damaged.is_empty() {
            judged.why = format!("{}; known damage in {}", judged.why, damaged.join(", "));
        }
        judged
    }

    pub(super) fn media(&self, held: &[&str]) -> Judged<u32> {
        let media: Vec<&str> = self.media_of(held).into_iter().collect();
        self.count(self.targets.media, media.len(), ["on", "no medium holds it"], &media)
    }

    pub(super) fn offsite(&self, held: &[&str]) -> Judged<u32> {
        let offsite = self.offsite_of(held);
        self.count(
            self.targets.offsite,
            offsite.len(),
            ["off site in", "no copy is off site"],
            &offsite,
        )
    }

    fn count(
        &self,
        target: Option<u32>,
        have: usize,
        [how, none]: [&str; 2],
        names: &[&str],
    ) -> Judged<u32> {
        let have = u32::try_from(have).unwrap_or(u32::MAX);
        let mut why = match names {
            [] => none.to_owned(),
            names => format!("{how} {}", names.join(", ")),
        };
        let verdict = target.map(|target| match (have >= target, self.unread()) {
            (true, _) => Verdict::Met,
            (false, None) => Verdict::Missed,
            (false, Some(unread)) => {
                why = format!("{why}; {unread}");
                Verdict::Unknown
            }
        });
        Judged { have: Some(have), target, verdict, why }
    }

    /// The worst of the places that hold it.
    pub(super) fn verified(&self, held: &[&'a str]) -> Judged<Duration> {
        let target = self.targets.verified_within.map(|span| span.0);
        let place = |name: &&'a str| {
            let facts = self.evidence.repositories.get(*name)?;
            Some(Place::of(name, facts, |at| self.evidence.age(at)))
        };
        let places: Vec<Place<'_>> = held.iter().filter_map(place).collect();
        let ages: Option<Vec<Duration>> = places.iter().map(|place| place.age).collect();
        let have = ages.and_then(|ages| ages.into_iter().max());
        if let Some(damaged) = places.iter().find(|place| place.is_damaged) {
            // Red without any target too.
            let why = format!("in {}, there is known damage", damaged.name);
            return Judged { have, target, verdict: Some(Verdict::Missed), why };
        }
        let within = target.unwrap_or(Duration::MAX);
        let late = places.iter().find(|place| place.age.is_none_or(|age| age > within));
        let lost = places.iter().find(|place| place.has_lost_records);
        let (verdict, why) = match (late, self.unread(), lost) {
            (Some(late), ..) => (Verdict::Missed, late.why(within)),
            (None, Some(unread), _) => (Verdict::Unknown, unread),
            (None, None, Some(lost)) => {
                (Verdict::Unknown, format!("records of the ledger of {} are lost", lost.name))
            }
            _ if places.is_empty() => (Verdict::Missed, "there is nothing to verify".into()),
            _ => {
                let age = units::span(have.unwrap_or_default());
                (Verdict::Met, format!("no byte waits for longer than {age}"))
            }
        };
        Judged { have, target, verdict: target.map(|_| verdict), why }
    }
}

/// How one repository was verified.
struct Place<'a> {
    name: &'a str,
    facts: &'a RepositoryFacts,
    /// For how long the byte waits that waits longest, since it was verified or written; `None`
    /// where nobody knows of some.
    age: Option<Duration>,
    /// For how long the byte was never verified that was written first.
    unverified: Option<Duration>,
    is_damaged: bool,
    has_lost_records: bool,
}

impl<'a> Place<'a> {
    fn of(name: &'a str, facts: &'a RepositoryFacts, age: impl Fn(Time) -> Duration) -> Self {
        let bytes = &facts.verified;
        let written = bytes.written.keys().next().and_then(|secs| i64::try_from(*secs).ok());
        Self {
            name,
            facts,
            age: match bytes.total() {
                0 => Some(Duration::ZERO),
                _ => bytes.waiting_since().map(&age),
            },
            unverified: written.map(|secs| age(Time { secs, nanos: 0 })),
            is_damaged: !facts.damage.is_empty(),
            has_lost_records: !facts.lost_records.is_empty(),
        }
    }

    /// Why it is too late.
    fn why(&self, within: Duration) -> String {
        let (name, bytes) = (self.name, &self.facts.verified);
        let [never, total] = [bytes.never(), bytes.total()].map(units::size);
        match (self.age, self.unverified) {
            (Some(_), Some(age)) if age > within => {
                let age = units::span(age);
                format!("in {name}, bytes that were written {age} ago were never verified")
            }
            (Some(age), _) => format!("in {name}, bytes wait for {}", units::span(age)),
            (None, _) => format!("in {name}, {never} of {total} were never verified"),
        }
    }
}
