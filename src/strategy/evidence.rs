//! What is known, and how it was learnt: the facts from which is decided what is due and what
//! complies.
//!
//! Facts come from what repositories hold and from their ledgers, never from the strategy: a
//! repository that could not be read is [`Evidence::unknown`], and nothing is assumed of it.
//!
//! *Whose snapshot.* [`belongs`]: a snapshot is a source's when one of its captures names it; when
//! its captures name all members of a group, it is the group's as well. Snapshots without captures
//! are those of a source of `paths` whose paths are exactly theirs. Where several machines use one
//! repository, each asks for its own host: the same name elsewhere is another source.
//!
//! *Which snapshot.* A copy is known by its [`SnapshotFact::identity`]: where it was ingested, and
//! its id there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::format::{Capture, Drilled, Ran, RepositoryId, Snapshot, SnapshotId, Time, Totals};

use super::file::{Source, Strategy};

mod damage;

pub use damage::{Damage, prefix_of};

/// Clocks of machines differ by no more: a time further ahead is wrong, and proves nothing.
pub const CLOCKS_DIFFER: Duration = Duration::from_secs(3600);

/// Where a snapshot was ingested, and its id there: the same for all copies.
pub type Identity = (RepositoryId, SnapshotId);

/// What is known of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFact {
    /// Its id in the repository that holds it.
    pub id: SnapshotId,
    /// What it and all its copies are known by.
    pub identity: Identity,
    /// Its time.
    pub time: Time,
    /// Host of its sources.
    pub host: String,
    /// The tags that it has now.
    pub tags: Vec<String>,
    /// Paths of its sources, raw bytes.
    pub paths: Vec<Vec<u8>>,
    /// How sources of a strategy were captured.
    pub captures: Vec<Capture>,
    /// What it holds.
    pub totals: Totals,
    /// Bytes that its ingest stored.
    pub stored: u64,
    /// Troubles at its sources; above zero it is partial.
    pub troubles: u64,
    /// Whether it must never be forgotten.
    pub protected: bool,
}

/// A record of a ledger: when and where it was written, and what it tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Told<T> {
    /// When, by the clock of who wrote it.
    pub at: Time,
    /// The host where that was.
    pub host: String,
    /// Program and version.
    pub program: String,
    /// The record's name.
    pub record: String,
    /// What it tells.
    pub event: T,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Whether it came to its end.
    pub complete: bool,
    /// Bytes of all packs then.
    pub bytes_stored: u64,
    /// Bytes that it read and found whole.
    pub bytes_read: u64,
    /// Objects found damaged or missing.
    pub damaged_count: u64,
    /// Some of them.
    pub damaged: Vec<String>,
}

/// Stored bytes by when they were last read and found whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifiedBytes {
    /// Never, as far as the ledger knows, and nobody knows since when they are there.
    pub never: u64,
    /// Never, by when they were written, in seconds since 1970.
    pub written: BTreeMap<u64, u64>,
    /// By seconds since 1970.
    pub at: BTreeMap<u64, u64>,
}

impl VerifiedBytes {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.never() + self.at.values().sum::<u64>()
    }

    /// Those that never were, as far as the ledger knows.
    #[must_use]
    pub fn never(&self) -> u64 {
        self.never + self.written.values().sum::<u64>()
    }

    /// Those that were verified not longer ago than `window`.
    #[must_use]
    pub fn within(&self, now: Time, window: Duration) -> u64 {
        let from = u64::try_from(now.secs).unwrap_or(0).saturating_sub(window.as_secs());
        self.at.range(from..).map(|(_, bytes)| *bytes).sum()
    }

    /// When the bytes were verified that wait longest; `None` where some never were, or there are
    /// none.
    #[must_use]
    pub fn oldest(&self) -> Option<Time> {
        let (secs, _) = self.at.first_key_value().filter(|_| self.never() == 0)?;
        Some(Time { secs: i64::try_from(*secs).ok()?, nanos: 0 })
    }

    /// Since when the bytes wait that wait longest: since they were verified or, where they never
    /// were, written; `None` where nobody knows of some, or there are none.
    #[must_use]
    pub fn waiting_since(&self) -> Option<Time> {
        let first = |bytes: &BTreeMap<u64, u64>| bytes.keys().next().copied();
        let secs = [first(&self.at), first(&self.written)].into_iter().flatten().min();
        let secs = secs.filter(|_| self.never == 0)?;
        Some(Time { secs: i64::try_from(secs).ok()?, nanos: 0 })
    }
}

/// What is known of one repository.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RepositoryFacts {
    /// Its folder, without links: two names for one folder are one copy.
    pub location: String,
    /// Snapshots that are not forgotten, oldest first.
    pub snapshots: Vec<SnapshotFact>,
    /// Snapshots that are forgotten, and not pruned yet.
    pub forgotten: u64,
    /// Snapshots that cannot be read.
    pub damaged: Vec<String>,
    /// Bytes of all objects.
    pub stored: u64,
    /// When its packs were verified.
    pub verified: VerifiedBytes,
    /// Damage that was found and that nothing shows to be gone.
    pub damage: Damage,
    /// Records of the ledger that cannot be read or are missing: what they told is not known.
    pub lost_records: Vec<String>,
    /// Verifications, oldest first, as all that follows.
    pub verifications: Vec<Told<Verification>>,
    /// Snapshots that were copied here at some time.
    pub replicated: BTreeSet<Identity>,
    /// Drills out of it.
    pub drills: Vec<Told<Box<Drilled>>>,
    /// Parts of runs.
    pub runs: Vec<Told<Ran>>,
}

/// All that is known at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    /// When.
    pub now: Time,
    /// The host whose sources the strategy's are.
    pub host: String,
    /// Repositories that could be read, by their names in the strategy.
    pub repositories: BTreeMap<String, RepositoryFacts>,
    /// Those that could not, and why.
    pub unknown: BTreeMap<String, String>,
}

impl SnapshotFact {
    /// Of a snapshot in a repository, with the tags that it has now.
    #[must_use]
    pub fn of(snapshot: &Snapshot, repository: RepositoryId, protected: bool) -> Self {
        let origin = snapshot.origin.map(|origin| (origin.repository, origin.snapshot));
        Self {
            id: snapshot.id,
            identity: origin.unwrap_or((repository, snapshot.id)),
            time: snapshot.time,
            host: snapshot.host.clone(),
            tags: snapshot.tags.clone(),
            paths: snapshot.sources.iter().map(|source| source.path.clone()).collect(),
            captures: snapshot.captures.clone(),
            totals: snapshot.totals(),
            stored: snapshot.added.stored,
            troubles: snapshot.troubles_count,
            protected,
        }
    }

    fn names(&self, source: &str) -> bool {
        self.captures.iter().any(|capture| capture.source == source)
    }

    /// The point in time that it holds of a source: nothing that was written later is in it for
    /// certain. For a group, that of its earliest member.
    #[must_use]
    pub fn taken(&self, source: &str) -> Time {
        let own = |capture: &&Capture| !self.names(source) || capture.source == source;
        let started = self.captures.iter().filter(own).map(|capture| capture.started);
        started.fold(self.time, Time::min)
    }
}

/// Whether a snapshot is one of a source; of any host where none is given.
#[must_use]
pub fn belongs(snapshot: &SnapshotFact, name: &str, source: &Source, host: Option<&str>) -> bool {
    if host.is_some_and(|host| snapshot.host != host) {
        return false;
    }
    if snapshot.names(name) {
        return true;
    }
    if let Some(group) = &source.group {
        return !group.members.is_empty() && group.members.iter().all(|it| snapshot.names(it));
    }
    let set = |paths: &mut dyn Iterator<Item = &[u8]>| paths.map(<[u8]>::to_vec).collect();
    let asked: BTreeSet<Vec<u8>> = set(&mut source.paths.iter().map(String::as_bytes));
    let held: BTreeSet<Vec<u8>> = set(&mut snapshot.paths.iter().map(Vec::as_slice));
    let unnamed = snapshot.captures.iter().all(|capture| capture.source.is_empty());
    unnamed && !asked.is_empty() && asked == held
}

impl Evidence {
    /// The snapshots of a source in a repository, oldest first by the time that they hold; without
    /// those of a time that no clock can have.
    #[must_use]
    pub fn snapshots_of<'a>(
        &'a self,
        repository: &str,
        name: &str,
        source: &Source,
    ) -> Vec<&'a SnapshotFact> {
        let facts = self.repositories.get(repository);
        let all = facts.into_iter().flat_map(|facts| &facts.snapshots);
        let own = |each: &&SnapshotFact| {
            belongs(each, name, source, Some(&self.host)) && !self.is_future(each.time)
        };
        let mut own: Vec<_> = all.filter(own).collect();
        own.sort_by_key(|each| (each.taken(name), each.identity));
        own
    }

    /// How long ago that was.
    #[must_use]
    pub fn age(&self, then: Time) -> Duration {
        elapsed(self.now, then)
    }

    /// Whether a time is ahead of all clocks.
    #[must_use]
    pub fn is_future(&self, time: Time) -> bool {
        elapsed(time, self.now) > CLOCKS_DIFFER
    }

    /// The places of a source that can be read.
    pub fn known_places<'a>(
        &'a self,
        strategy: &'a Strategy,
        source: &'a Source,
    ) -> impl Iterator<Item = &'a str> {
        let places = strategy.places_of(source).into_iter();
        places.filter(|place| self.repositories.contains_key(*place))
    }

    /// Parts of runs of this host, from all ledgers, oldest first.
    #[must_use]
    pub fn runs(&self, part: &str, name: &str) -> Vec<&Told<Ran>> {
        let all = self.repositories.values().flat_map(|facts| &facts.runs);
        let own = |told: &&Told<Ran>| {
            told.host == self.host && told.event.part == part && told.event.name == name
        };
        let mut own: Vec<_> = all.filter(own).collect();
        own.sort_by_key(|told| (told.event.started, told.at));
        own
    }
}

/// From `then` until `now`; nothing where that is no later.
#[must_use]
pub fn elapsed(now: Time, then: Time) -> Duration {
    let nanos = |time: Time| i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos);
    let between = u128::try_from(nanos(now) - nanos(then)).unwrap_or(0);
    let secs = u64::try_from(between / 1_000_000_000).unwrap_or(u64::MAX);
    Duration::new(secs, (between % 1_000_000_000) as u32)
}

#[cfg(test)]
#[path = "evidence/testing.rs"]
pub(super) mod testing;

#[cfg(test)]
mod tests {
    use super::testing::*;
    use super::*;

    fn source(text: &str) -> Source {
        toml::from_str(text).unwrap_or_else(|err| panic!("{err}"))
    }

    #[test]
    fn a_snapshot_is_of_the_source_that_its_capture_names_and_of_no_other_host() {
        let plain = source("paths = [\"/a\", \"/b\"]");
        let group = source("group = { members = [\"x\", \"y\"] }");
        let named = captured(snapshot(1, 100), &["x", "y"]);
        assert!(belongs(&named, "x", &plain, Some("here")));
        assert!(!belongs(&named, "z", &plain, Some("here")), "captured as others");
        assert!(!belongs(&named, "x", &plain, Some("there")));
        assert!(belongs(&named, "x", &plain, None));
        assert!(belongs(&named, "all", &group, None));
        assert!(!belongs(&captured(snapshot(1, 100), &["x"]), "all", &group, None));

        let mut paths = snapshot(2, 100);
        paths.paths = vec![b"/b".to_vec(), b"/a".to_vec()];
        assert!(belongs(&paths, "any", &plain, Some("here")));
        paths.paths.pop();
        assert!(!belongs(&paths, "any", &plain, Some("here")), "only a part of it");
        let nothing = source("command = { run = \"x\", name = \"y\" }");
        paths.paths.clear();
        assert!(!belongs(&paths, "any", &nothing, Some("here")));
    }

    #[test]
    fn what_a_snapshot_holds_is_as_old_as_its_earliest_capture() {
        let mut both = captured(snapshot(1, 100), &["x", "y"]);
        both.captures[0].started.secs = 90;
        both.captures[1].started.secs = 95;
        assert_eq!([both.taken("x").secs, both.taken("y").secs], [90, 95]);
        assert_eq!(both.taken("group").secs, 90);
        both.captures[0].started.secs = 120;
        assert_eq!(both.taken("x").secs, 100, "never newer than its own time");
    }

    #[test]
    fn bytes_are_told_by_when_they_were_verified() {
        let at = |secs| Time { secs, nanos: 0 };
        let mut bytes =
            VerifiedBytes { at: [(100, 5), (200, 7)].into(), ..VerifiedBytes::default() };
        assert_eq!(bytes.oldest(), Some(at(100)));
        let fresh = VerifiedBytes { written: [(90, 1), (300, 4)].into(), ..bytes.clone() };
        assert_eq!((fresh.oldest(), fresh.waiting_since()), (None, Some(at(90))));
        assert_eq!((fresh.never(), fresh.total()), (5, 17));
        assert_eq!(VerifiedBytes { never: 1, ..fresh }.waiting_since(), None);
        assert_eq!(bytes.within(at(210), Duration::from_secs(110)), 12);
        assert_eq!(bytes.within(at(210), Duration::from_secs(109)), 7);
        bytes.never = 1;
        assert_eq!((bytes.oldest(), bytes.total()), (None, 13));
        assert_eq!(elapsed(at(5), at(9)), Duration::ZERO);
        assert_eq!(elapsed(at(9), Time { secs: 5, nanos: 1 }), Duration::new(3, 999_999_999));
    }
}
