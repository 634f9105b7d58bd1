//! Retention: which snapshots stay, each with all the reasons why.
//!
//! The words and what they mean are restic's, which users of borg and sanoid know too:
//! - snapshots are judged in groups, by host and sources unless told otherwise;
//! - *last N* keeps the newest N; *daily N* keeps the newest snapshot of each of the last N days
//!   *that have one*, and so on; days without a snapshot count for nothing;
//! - where a rule for periods finds fewer than N, the oldest snapshot of the group stays as well,
//!   so that a history grows to its full length instead of losing its end;
//! - *within* counts back from the newest snapshot of the group that is not in the future, not from
//!   now: a source that is backed up no longer keeps its last snapshots; where [`Rules::gap_max`]
//!   says so, of a longer time without a snapshot only so much counts;
//! - *tag* keeps what has all tags of one of the lists; what is protected always stays.
//!
//! Every rule looks at every snapshot of the group, and one reason is enough to stay. A partial
//! snapshot counts like any other.
//!
//! What must stay true: the answer does not depend on the order of the facts; who applies the rules
//! again to what was kept keeps all of it; a greater N keeps no less; a time that no calendar holds
//! is a reason to stay.

mod group;
mod period;
mod span;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::clock::to_timestamp;
use crate::format::{SnapshotId, Time};

pub use group::{GroupBy, GroupKey};
pub use period::{Period, PeriodName};
pub use span::CalendarSpan;

/// As many as there are.
pub const UNLIMITED: u64 = u64::MAX;

/// What is known of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The snapshot.
    pub id: SnapshotId,
    /// Its time.
    pub time: Time,
    /// Host of its sources.
    pub host: String,
    /// The tags that it has now.
    pub tags: Vec<String>,
    /// Paths of its sources, raw bytes.
    pub sources: Vec<Vec<u8>>,
    /// Whether it must never be forgotten.
    pub protected: bool,
}

/// What to keep.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// The newest so many; 0 is no rule, [`UNLIMITED`] all.
    pub last: u64,
    /// The newest of each of so many periods.
    pub every: BTreeMap<Period, u64>,
    /// All within this span.
    pub within: Option<CalendarSpan>,
    /// The newest of each period within this span.
    pub every_within: BTreeMap<Period, CalendarSpan>,
    /// Those with all tags of one of these lists.
    pub tags: Vec<Vec<String>>,
    /// Of a longer time between two snapshots only so much counts for [`Self::within`]: a clock that
    /// leaps ahead by years ages nothing by them.
    pub gap_max: Option<Duration>,
    /// What is judged together.
    pub group_by: GroupBy,
}

impl Rules {
    /// Whether they say nothing that could keep a snapshot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last == 0
            && self.every.values().all(|&count| count == 0)
            && self.within.as_ref().is_none_or(CalendarSpan::is_zero)
            && self.every_within.values().all(CalendarSpan::is_zero)
            && self.tags.is_empty()
    }
}

/// Why a snapshot stays.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// It is so manieth from the newest, which is 1.
    Last(u64),
    /// The newest of its period.
    Newest(PeriodName),
    /// The oldest of the group, while there are fewer periods than the rule asks for.
    Oldest(Period),
    /// It is not older than that.
    Within(CalendarSpan),
    /// The newest of its period, which is not older than that.
    NewestWithin(PeriodName, CalendarSpan),
    /// It has all these tags.
    Tags(Vec<String>),
    /// Somebody protected it.
    Protected,
    /// Its time is beyond what a calendar holds, so no rule can judge it.
    NoDate,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last(place) => write!(f, "last {place}"),
            Self::Newest(name) => write!(f, "{name}"),
            Self::Oldest(period) => write!(f, "oldest {}", period.adjective()),
            Self::Within(span) => write!(f, "within {span}"),
            Self::NewestWithin(name, span) => write!(f, "{name} within {span}"),
            Self::Tags(tags) => write!(f, "tag {}", tags.join(",")),
            Self::Protected => f.write_str("protected"),
            Self::NoDate => f.write_str("no date"),
        }
    }
}

/// What becomes of one snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The snapshot.
    pub id: SnapshotId,
    /// Its time.
    pub time: Time,
    /// Why it stays; none where it goes.
    pub reasons: Vec<Reason>,
}

impl Verdict {
    /// Whether it stays.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        !self.reasons.is_empty()
    }
}

/// The snapshots that were judged together.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// What they have in common.
    pub key: GroupKey,
    /// One for each of them, oldest first.
    pub verdicts: Vec<Verdict>,
}

impl Group {
    /// Whether something goes and the rules keep nothing: what stays does so whatever they say, and
    /// nobody can have meant that.
    #[must_use]
    pub fn is_emptied(&self) -> bool {
        let by_rule = |reason: &Reason| !matches!(reason, Reason::Protected | Reason::NoDate);
        let goes = |verdict: &Verdict| !verdict.is_kept();
        self.verdicts.iter().any(goes)
            && !self.verdicts.iter().flat_map(|verdict| &verdict.reasons).any(by_rule)
    }
}

/// Judges all snapshots: groups in the order of what they have in common. `now` only tells which
/// snapshots are in the future.
#[must_use]
pub fn plan(facts: &[Fact], rules: &Rules, zone: &TimeZone, now: Time) -> Vec<Group> {
    let mut groups: BTreeMap<GroupKey, Vec<&Fact>> = BTreeMap::new();
    for fact in facts {
        groups.entry(rules.group_by.key(fact)).or_default().push(fact);
    }
    let judged = |(key, facts)| Group { key, verdicts: judge(facts, rules, zone, now) };
    groups.into_iter().map(judged).collect()
}

fn judge(mut facts: Vec<&Fact>, rules: &Rules, zone: &TimeZone, now: Time) -> Vec<Verdict> {
    facts.sort_by_key(|fact| std::cmp::Reverse((fact.time, fact.id)));
    let mut history = History::new(&facts, zone, now);
    history.without_count(rules);
    history.last(rules.last);
    for (&period, &count) in &rules.every {
        history.every(period, count);
    }
    for (&period, span) in rules.every_within.iter().filter(|(_, span)| !span.is_zero()) {
        history.every_within(period, span);
    }
    let verdict = |(fact, reasons): (&Fact, _)| Verdict { id: fact.id, time: fact.time, reasons };
    facts.iter().copied().zip(history.reasons).rev().map(verdict).collect()
}

/// The snapshots of a group, newest first, with what speaks for each of them.
struct History<'f> {
    facts: &'f [&'f Fact],
    /// Their times in the zone; `None` where no calendar holds them.
    dates: Vec<Option<Zoned>>,
    /// Where spans are counted back from.
    newest: Zoned,
    reasons: Vec<Vec<Reason>>,
}

impl<'f> History<'f> {
    fn new(facts: &'f [&'f Fact], zone: &TimeZone, now: Time) -> Self {
        let date = |time| to_timestamp(time).map(|stamp| stamp.to_zoned(zone.clone()));
        let past = facts.iter().find(|fact| fact.time <= now);
        let newest = date(past.map_or(now, |fact| fact.time));
        Self {
            facts,
            dates: facts.iter().map(|fact| date(fact.time)).collect(),
            newest: newest.unwrap_or_else(|| Timestamp::MIN.to_zoned(zone.clone())),
            reasons: vec![Vec::new(); facts.len()],
        }
    }

    /// The rules that look at each snapshot by itself.
    fn without_count(&mut self, rules: &Rules) {
        let within = rules.within.as_ref().filter(|span| !span.is_zero());
        let from = within.map(|span| (span, span.before(&self.newest)));
        let skipped = self.skipped(rules.gap_max);
        let dated = self.facts.iter().zip(&self.dates).zip(skipped);
        for (((fact, date), skipped), reasons) in dated.zip(&mut self.reasons) {
            if fact.protected {
                reasons.push(Reason::Protected);
            }
            let fits = |list: &&Vec<String>| list.iter().all(|tag| fact.tags.contains(tag));
            reasons.extend(rules.tags.iter().filter(fits).cloned().map(Reason::Tags));
            match (date, &from) {
                (None, _) => reasons.push(Reason::NoDate),
                (Some(date), Some((span, from))) if later(date.timestamp(), skipped) > *from => {
                    reasons.push(Reason::Within((*span).clone()));
                }
                _ => {}
            }
        }
    }

    /// For each snapshot, how much of the time between it and the newest does not count.
    fn skipped(&self, gap_max: Option<Duration>) -> Vec<Duration> {
        let mut sum = Duration::ZERO;
        let mut newer: Option<Timestamp> = None;
        let newest = self.newest.timestamp();
        let each = self.dates.iter().map(|date| {
            let Some(date) = date.as_ref().map(Zoned::timestamp) else { return sum };
            let gap =
                newer.filter(|newer| *newer <= newest).map(|newer| newer.duration_since(date));
            let gap = gap.and_then(|gap| Duration::try_from(gap).ok()).unwrap_or_default();
            sum =
                sum.saturating_add(gap_max.map_or(Duration::ZERO, |most| gap.saturating_sub(most)));
            newer = Some(date);
            sum
        });
        each.collect()
    }

    fn last(&mut self, count: u64) {
        for (place, reasons) in (1..=count).zip(&mut self.reasons) {
            reasons.push(Reason::Last(place));
        }
    }

    /// The newest of each of `count` periods, and the oldest of all where there are fewer.
    fn every(&mut self, period: Period, count: u64) {
        // A set and not the last one seen: where a clock is put back over midnight, a day comes
        // twice.
        let mut seen = HashSet::new();
        for (date, reasons) in self.dates.iter().zip(&mut self.reasons) {
            let Some(name) = date.as_ref().map(|date| period.name(date)) else { continue };
            if (seen.len() as u64) < count && seen.insert(name.clone()) {
                reasons.push(Reason::Newest(name));
            }
        }
        if (seen.len() as u64) < count {
            self.keep_oldest(Reason::Oldest(period));
        }
    }

    fn every_within(&mut self, period: Period, span: &CalendarSpan) {
        let from = span.before(&self.newest);
        let mut seen = HashSet::new();
        for (date, reasons) in self.dates.iter().zip(&mut self.reasons) {
            let Some(date) = date.as_ref().filter(|date| date.timestamp() > from) else { continue };
            let name = period.name(date);
            if seen.insert(name.clone()) {
                reasons.push(Reason::NewestWithin(name, span.clone()));
            }
        }
        let oldest = self.dates.iter().rev().flatten().next();
        if oldest.is_some_and(|oldest| oldest.timestamp() > from) {
            self.keep_oldest(Reason::Oldest(period));
        }
    }

    /// Unless it stays for what is in this reason already.
    fn keep_oldest(&mut self, reason: Reason) {
        let dated = self.dates.iter().zip(&mut self.reasons).rev().find(|(date, _)| date.is_some());
        let Some((_, reasons)) = dated else { return };
        if !reasons.iter().any(|known| known.covers(&reason)) {
            reasons.push(reason);
        }
    }
}

/// So much later, up to the end of time.
fn later(stamp: Timestamp, span: Duration) -> Timestamp {
    stamp.saturating_add(span).unwrap_or(Timestamp::MAX)
}

impl Reason {
    /// Whether this says the same as `oldest`, and more.
    fn covers(&self, oldest: &Self) -> bool {
        let Self::Oldest(period) = oldest else { return false };
        match self {
            Self::Newest(name) | Self::NewestWithin(name, _) => name.period() == *period,
            Self::Oldest(own) => own == period,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
