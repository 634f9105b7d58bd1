//! What complies with the strategy's targets, computed from evidence only.
//!
//! For each source, over all repositories that could be read (every one of the strategy, not only
//! those that the source names):
//! - *Age.* From the time that the newest snapshot holds of the source ([`SnapshotFact::taken`])
//!   until now, against `rpo`.
//! - *Copies, media, off site.* Of one snapshot: of those within `rpo` the one that meets most of
//!   these targets, of equals the newest; where none is within `rpo`, of the newest. A place counts
//!   when it lists a snapshot of the same identity that is not forgotten; two names of one folder count
//!   once. The promise is that so many copies exist of data that is not older than the source may
//!   lose: a snapshot that was made a minute ago, and is still being copied, breaks no promise while
//!   the one before it is recent enough.
//!   A place with damage that nothing shows to be gone ([`Damage`](super::evidence::Damage)) is
//!   none.
//! - *Replicas.* Each one that the source names holds the newest snapshot, or one within `rpo`
//!   unless the last copy to it failed. That is promised without any target.
//! - *Verified.* In each place that holds the snapshot every stored byte was written, or read and
//!   found whole, within the target, and no damage stands; the latter without any target.
//! - *Drilled.* A drill with a component of the source (or of all members of a group) came out as
//!   proven within the target, and no drill that the strategy has came out otherwise since.
//! - *RTO.* Of each drill that covers the source and has a target: what the newest one took.
//!
//! What is wrong with a repository whatever it holds is a [`Fault`] of its own, told once.
//!
//! What must stay true: nothing is assumed of a repository, or a record of its ledger, that could
//! not be read. Where it could change a verdict that verdict is [`Verdict::Unknown`], and unknown
//! counts as missed.

mod drills;
mod faults;
mod held;
mod replicas;

use std::time::Duration;

use crate::format::Time;
use crate::units;

use super::evidence::{Evidence, Identity, SnapshotFact};
use super::file::{Source, Strategy, Targets};

pub(super) use faults::remedy;
pub use faults::{Fault, faults};

/// Whether a target is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Met,
    /// It is not.
    Missed,
    /// Nobody can tell: a repository could not be read, or there is no evidence at all.
    Unknown,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::Unknown => "unknown",
        }
    }
}

/// One figure against its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged<T> {
    /// What it is; `None` where there is nothing to measure.
    pub have: Option<T>,
    /// What it should be; `None` where nothing is promised.
    pub target: Option<T>,
    /// `None` where nothing is promised.
    pub verdict: Option<Verdict>,
    /// Why, in words.
    pub why: String,
}

impl<T> Judged<T> {
    /// Whether a promise is not kept, as far as anybody knows.
    #[must_use]
    pub fn is_missed(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Missed | Verdict::Unknown))
    }
}

/// The snapshot that a source would be restored from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// What it and its copies are known by.
    pub identity: Identity,
    /// The time that it holds.
    pub taken: Time,
    /// What could not be taken; above zero it is partial.
    pub troubles: u64,
}

/// How one source complies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compliance {
    /// The source.
    pub source: String,
    /// Its newest snapshot.
    pub newest: Option<Newest>,
    /// Age of the newest snapshot against RPO.
    pub age: Judged<Duration>,
    /// Copies.
    pub copies: Judged<u32>,
    /// Classes of media that they are on.
    pub media: Judged<u32>,
    /// Copies off site.
    pub offsite: Judged<u32>,
    /// Its replicas that hold what the source promises; all of them should.
    pub replicas: Judged<u32>,
    /// The places that were counted.
    pub places: Vec<String>,
    /// How long ago the byte was verified that waits longest.
    pub verified: Judged<Duration>,
    /// How long ago a drill proved a restore.
    pub drilled: Judged<Duration>,
    /// How long a restore took in the newest drill.
    pub rto: Judged<Duration>,
}

impl Compliance {
    /// All promises that are not kept: what it is about, and why.
    #[must_use]
    pub fn missed(&self) -> Vec<(&'static str, &str)> {
        let parts = [
            ("rpo", self.age.is_missed(), &self.age.why),
            ("copies", self.copies.is_missed(), &self.copies.why),
            ("media", self.media.is_missed(), &self.media.why),
            ("off site", self.offsite.is_missed(), &self.offsite.why),
            ("replicas", self.replicas.is_missed(), &self.replicas.why),
            ("verified", self.verified.is_missed(), &self.verified.why),
            ("drilled", self.drilled.is_missed(), &self.drilled.why),
            ("rto", self.rto.is_missed(), &self.rto.why),
        ];
        let missed = parts.into_iter().filter(|(_, is_missed, _)| *is_missed);
        missed.map(|(name, _, why)| (name, why.as_str())).collect()
    }

    /// Whether any promise is not kept.
    #[must_use]
    pub fn is_missed(&self) -> bool {
        !self.missed().is_empty()
    }
}

/// Judges every source, in the order of their names.
#[must_use]
pub fn comply(strategy: &Strategy, evidence: &Evidence) -> Vec<Compliance> {
    let one = |(name, source): (&String, &Source)| {
        Asked { strategy, evidence, name, source, targets: strategy.targets_of(source) }.judge()
    };
    strategy.sources.iter().map(one).collect()
}

/// One source, and all that decides about it.
struct Asked<'a> {
    strategy: &'a Strategy,
    evidence: &'a Evidence,
    name: &'a str,
    source: &'a Source,
    targets: Targets,
}

impl Asked<'_> {
    fn judge(&self) -> Compliance {
        let all = self.snapshots();
        let newest = all.last().map(|each| Newest {
            identity: each.identity,
            taken: each.taken(self.name),
            troubles: each.troubles,
        });
        let held = self.counted(&all);
        let sound = self.sound(&held);
        Compliance {
            source: self.name.to_owned(),
            age: self.age(newest.as_ref()),
            newest,
            copies: self.copies(&held, &sound),
            media: self.media(&sound),
            offsite: self.offsite(&sound),
            replicas: self.replicas(&all),
            verified: self.verified(&held),
            drilled: self.drilled(),
            rto: self.rto(),
            places: sound.into_iter().map(str::to_owned).collect(),
        }
    }

    /// The source's snapshots, each identity once, oldest first.
    fn snapshots(&self) -> Vec<&SnapshotFact> {
        let known = self.evidence.repositories.keys();
        let own = |place: &String| self.evidence.snapshots_of(place, self.name, self.source);
        let mut all: Vec<_> = known.flat_map(own).collect();
        all.sort_by_key(|each| (each.taken(self.name), each.identity));
        all.dedup_by_key(|each| each.identity);
        all
    }

    fn age(&self, newest: Option<&Newest>) -> Judged<Duration> {
        let target = self.source.rpo.map(|span| span.0);
        let have = newest.map(|newest| self.evidence.age(newest.taken));
        let unread = self.unread();
        let (verdict, why) = match (have, target) {
            (Some(age), Some(most)) if age <= most => {
                let partial = newest.map_or(0, |newest| newest.troubles);
                let partial = match partial {
                    0 => String::new(),
                    count => format!("; it is partial: {count} entries could not be taken"),
                };
                (Verdict::Met, format!("the newest snapshot is {} old{partial}", units::span(age)))
            }
            (Some(age), _) if unread.is_none() => {
                (Verdict::Missed, format!("the newest snapshot is {} old", units::span(age)))
            }
            (None, _) if unread.is_none() => (Verdict::Missed, "there is no snapshot".to_owned()),
            _ => (Verdict::Unknown, unread.unwrap_or_default()),
        };
        Judged { have, target, verdict: target.map(|_| verdict), why }
    }

    /// Which of the source's places could not be read; `None` where all could. Why is told once, as
    /// a [`Fault`].
    fn unread(&self) -> Option<String> {
        let places = self.strategy.places_of(self.source).into_iter();
        unread(places.filter(|place| self.evidence.unknown.contains_key(*place)))
    }
}

fn unread<'a>(places: impl Iterator<Item = &'a str>) -> Option<String> {
    let places: Vec<&str> = places.collect();
    match places.as_slice() {
        [] => None,
        [place] => Some(format!("repository {place} cannot be read")),
        places => Some(format!("repositories {} cannot be read", places.join(", "))),
    }
}

#[cfg(test)]
mod tests;
