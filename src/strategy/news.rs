//! What there is to tell, and to whom: a notification is sent for what it was not told yet.
//!
//! What was told stands in the ledgers, as parts [`TOLD`] of runs: the event, who was told, and of
//! what. So one that is added later hears of what was wrong before, one that could not be reached
//! hears of it as soon as it can be, and nobody hears of the same failure at each run, but once a
//! day while it stands. What went well in between, and failed again, is new.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::format::{Ran, Time};

use super::comply::{Compliance, Fault};
use super::due::Asked;
use super::evidence::{Evidence, Told};
use super::file::NotifyOn;

/// The part of a run that says that somebody was told.
pub const TOLD: &str = "notified";
/// What stays wrong is told again after so long.
pub const REMIND: Duration = Duration::from_secs(24 * 60 * 60);
/// Most of what is wrong that one record names; the rest counts as not told.
const NAMED_MAX: usize = 256;
/// How what is only partial begins.
const PARTIAL: &str = "partial ";

/// What a run is about, for those who are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Something failed, or is missed.
    Failure,
    /// Something at a source could not be taken.
    Partial,
    /// All is well again.
    Recovery,
    /// Nothing of these.
    Run,
}

impl Event {
    const ALL: [Self; 4] = [Self::Failure, Self::Partial, Self::Recovery, Self::Run];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Partial => "partial",
            Self::Recovery => "recovery",
            Self::Run => "run",
        }
    }
}

/// All that is wrong at one moment, each in a few words that stay the same while it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wrong {
    /// What failed or is missed.
    pub failed: BTreeSet<String>,
    /// Sources whose newest snapshot is partial.
    pub partial: BTreeSet<String>,
}

impl Wrong {
    /// What follows from what is known; `failed` are the parts of this run that did.
    #[must_use]
    pub fn of(
        asked: &Asked<'_>,
        judged: &[Compliance],
        faults: &[Fault],
        failed: impl Iterator<Item = String>,
    ) -> Self {
        let missed = |it: &Compliance| {
            let one = |(what, _): &(&str, &str)| format!("targets {}: {what}", it.source);
            it.missed().iter().map(one).collect::<Vec<_>>()
        };
        let partial =
            judged.iter().filter(|it| it.newest.as_ref().is_some_and(|it| it.troubles > 0));
        let faults = faults.iter().map(|fault| format!("repository {}", fault.repository));
        let all = failed.chain(asked.standing()).chain(faults);
        Self {
            failed: all.chain(judged.iter().flat_map(missed)).collect(),
            partial: partial.map(|it| format!("{PARTIAL}{}", it.source)).collect(),
        }
    }
}

/// What a notification heard last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Heard {
    at: Time,
    what: BTreeSet<String>,
}

/// What there is to tell to one notification; `None` where there is nothing.
#[must_use]
pub fn event_for(
    whom: &str,
    on: &[NotifyOn],
    asked: &Asked<'_>,
    wrong: &Wrong,
    was_wrong: bool,
) -> Option<Event> {
    let heard = heard(asked.evidence, whom);
    let is_old = heard.as_ref().is_some_and(|it| asked.evidence.age(it.at) >= REMIND);
    let is_told = |what: &String| {
        heard.as_ref().is_some_and(|it| it.what.contains(what) && !is_mended(asked, what, it.at))
    };
    let is_news = |all: &BTreeSet<String>| !all.is_empty() && (is_old || !all.iter().all(is_told));
    let wants = |what| on.contains(&what);
    let had_failed = match wants(NotifyOn::Failure) {
        true => heard.iter().flat_map(|it| &it.what).any(|what| !what.starts_with(PARTIAL)),
        false => was_wrong,
    };
    if wants(NotifyOn::Failure) && is_news(&wrong.failed) {
        Some(Event::Failure)
    } else if wants(NotifyOn::Partial) && is_news(&wrong.partial) {
        Some(Event::Partial)
    } else if wants(NotifyOn::Recovery) && wrong.failed.is_empty() && had_failed {
        Some(Event::Recovery)
    } else if wants(NotifyOn::Always) {
        Some(match (wrong.failed.is_empty(), wrong.partial.is_empty(), was_wrong) {
            (false, ..) => Event::Failure,
            (true, false, _) => Event::Partial,
            (true, true, true) => Event::Recovery,
            (true, true, false) => Event::Run,
        })
    } else {
        None
    }
}

/// The name of the record that says that somebody was told.
#[must_use]
pub fn record_name(whom: &str, on: &[NotifyOn], event: Event, wrong: &Wrong) -> String {
    let failed = wrong.failed.iter().filter(|_| on.contains(&NotifyOn::Failure));
    let partial = wrong.partial.iter().filter(|_| on.contains(&NotifyOn::Partial));
    let what: Vec<&str> = failed.chain(partial).map(String::as_str).take(NAMED_MAX).collect();
    format!("{} to {whom}: {}", event.word(), what.join("; "))
}

/// Whether the last attempt to tell somebody failed, not a day ago: that is in the ledger already.
#[must_use]
pub fn is_known_to_fail(evidence: &Evidence, whom: &str) -> bool {
    let last = told(evidence, whom).max_by_key(|it| (it.event.started, it.at));
    last.is_some_and(|it| !it.event.error.is_empty() && evidence.age(it.event.started) < REMIND)
}

fn told<'e>(evidence: &'e Evidence, whom: &str) -> impl Iterator<Item = &'e Told<Ran>> {
    let starts = Event::ALL.map(|event| format!("{} to {whom}: ", event.word()));
    let all = evidence.repositories.values().flat_map(|facts| &facts.runs);
    all.filter(move |it| {
        it.host == evidence.host
            && it.event.part == TOLD
            && !evidence.is_future(it.event.started)
            && starts.iter().any(|start| it.event.name.starts_with(start.as_str()))
    })
}

fn heard(evidence: &Evidence, whom: &str) -> Option<Heard> {
    let good = told(evidence, whom).filter(|it| it.event.error.is_empty());
    let last = good.max_by_key(|it| (it.event.started, it.at))?;
    let (_, what) = last.event.name.split_once(&format!("{whom}: "))?;
    let what = what.split("; ").filter(|it| !it.is_empty()).map(str::to_owned).collect();
    Some(Heard { at: last.event.started, what })
}

/// Whether it was well again after that time: then it is told anew.
fn is_mended(asked: &Asked<'_>, what: &str, since: Time) -> bool {
    let Some((part, name)) = what.split_once(' ') else { return false };
    if let Some(source) = what.strip_prefix(PARTIAL) {
        let Some(stated) = asked.strategy.sources.get(source) else { return false };
        let places = asked.evidence.known_places(asked.strategy, stated);
        let mut all = places.flat_map(|place| asked.evidence.snapshots_of(place, source, stated));
        return all.any(|each| each.troubles == 0 && each.taken(source) > since);
    }
    let (name, target) = match part {
        "targets" => name.rsplit_once(": ").unwrap_or((name, "")),
        _ => (name, ""),
    };
    let runs = asked.evidence.runs(part, name);
    let mut later = runs.iter().filter(|told| told.event.started > since);
    later.any(|told| match target {
        "" => told.event.error.is_empty(),
        target => !missed_in(&told.event.error).contains(&target),
    })
}

/// Which targets a record names as missed.
#[must_use]
pub fn missed_in(error: &str) -> BTreeSet<&str> {
    const NAMES: [&str; 8] =
        ["rpo", "copies", "media", "off site", "replicas", "verified", "drilled", "rto"];
    let starts = error.split("; ").filter_map(|piece| piece.split_once(": "));
    starts.map(|(name, _)| name).filter(|name| NAMES.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::strategy::evidence::testing::*;
    use crate::strategy::file::Strategy;

    const ON: [NotifyOn; 3] = [NotifyOn::Failure, NotifyOn::Partial, NotifyOn::Recovery];
    const NOW: i64 = 1_795_000_000;

    fn wrong(failed: &[&str], partial: &[&str]) -> Wrong {
        let set = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
        Wrong { failed: set(failed), partial: set(partial) }
    }

    /// What is told now, after these records: seconds ago, part, name, error.
    fn event(records: &[(i64, &str, &str, &str)], on: &[NotifyOn], now: &Wrong) -> Option<Event> {
        let text = "[repositories.near]\nurl = \"/near\"\nmedia = \"disk\"\n";
        let strategy = Strategy::parse(text).unwrap();
        let mut near = facts(1, vec![]);
        near.runs = records
            .iter()
            .map(|(ago, part, name, error)| ran(NOW - ago, part, name, error))
            .collect();
        let evidence = evidence(NOW, vec![("near", near)]);
        let asked = Asked { strategy: &strategy, evidence: &evidence, zone: &TimeZone::UTC };
        event_for("mail 12", on, &asked, now, !records.is_empty())
    }

    #[test]
    fn each_hears_once_of_what_it_was_not_told_and_again_after_a_day() {
        let bad = wrong(&["ingest a"], &[]);
        let name = record_name("mail 12", &ON, Event::Failure, &bad);
        assert_eq!(name, "failure to mail 12: ingest a");
        let heard = |ago| (ago, TOLD, name.as_str(), "");
        assert_eq!(event(&[], &ON, &bad), Some(Event::Failure));
        assert_eq!(event(&[heard(60)], &ON, &bad), None);
        assert_eq!(event(&[heard(86_400)], &ON, &bad), Some(Event::Failure), "a day later");
        assert_eq!(event(&[heard(60)], &ON, &wrong(&["ingest b"], &[])), Some(Event::Failure));
        let failed = (60, TOLD, name.as_str(), "no route");
        assert_eq!(event(&[failed], &ON, &bad), Some(Event::Failure), "it was not told");
        let other = (60, TOLD, "failure to mail 99: ingest a", "");
        assert_eq!(event(&[other], &ON, &bad), Some(Event::Failure), "another one was");
        // It went well in between.
        let good = (30, "ingest", "a", "");
        assert_eq!(event(&[heard(60), good], &ON, &bad), Some(Event::Failure));
        assert_eq!(event(&[good, heard(10)], &ON, &bad), None);
        assert_eq!(event(&[], &[NotifyOn::Recovery], &bad), None);
        assert_eq!(event(&[heard(60)], &[NotifyOn::Always], &bad), Some(Event::Failure));
    }

    #[test]
    fn recovery_is_for_those_who_heard_of_a_failure() {
        let heard = (60, TOLD, "failure to mail 12: ingest a; partial b", "");
        let well = wrong(&[], &["partial b"]);
        assert_eq!(event(&[heard], &ON, &well), Some(Event::Recovery), "b is known");
        assert_eq!(event(&[], &ON, &wrong(&[], &[])), None);
        let name = record_name("mail 12", &ON, Event::Recovery, &well);
        assert_eq!(event(&[heard, (30, TOLD, &name, "")], &ON, &well), None);
        assert_eq!(event(&[], &ON, &well), Some(Event::Partial));
        assert_eq!(event(&[], &[NotifyOn::Always], &wrong(&[], &[])), Some(Event::Run));
    }

    #[test]
    fn a_target_that_was_met_in_between_is_told_anew() {
        let bad = wrong(&["targets a: copies"], &[]);
        let heard = (60, TOLD, "failure to mail 12: targets a: copies", "");
        assert_eq!(event(&[heard], &ON, &bad), None);
        let other = (30, "targets", "a", "rpo: the newest is old");
        assert_eq!(event(&[heard, other], &ON, &bad), Some(Event::Failure));
        let same = (30, "targets", "a", "rpo: it is old; copies: held by x");
        assert_eq!(event(&[heard, same], &ON, &bad), None);
    }
}
