//! What is wrong with repositories as such, whatever they hold: told once, not for each source.

use crate::strategy::evidence::{Evidence, RepositoryFacts};
use crate::strategy::file::Strategy;
use crate::units;

use super::Verdict;

/// Objects that `repair snapshots` mends, by the folder that they are in.
const RECORDS: [&str; 8] =
    ["snapshots", "forgotten", "tags", "pins", "sessions", "gc", "settings", "ledger"];

/// Something wrong with a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its name in the strategy.
    pub repository: String,
    /// Whether it is wrong, or nobody can tell.
    pub verdict: Verdict,
    /// What, in words.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// All faults of the strategy's repositories.
#[must_use]
pub fn faults(strategy: &Strategy, evidence: &Evidence) -> Vec<Fault> {
    let mut all = Vec::new();
    for (name, place) in &strategy.repositories {
        let mut add = |verdict, what: String, remedy: String| {
            all.push(Fault { repository: name.clone(), verdict, what, remedy });
        };
        if let Some(why) = evidence.unknown.get(name) {
            let remedy = match why.contains("Permission denied") {
                true => "run this as root, or as the user whom the repository belongs to",
                false => "bring it back, or take it out of the strategy",
            };
            let remedy = remedy.to_owned();
            add(Verdict::Unknown, format!("cannot be read: {why}"), remedy);
        }
        let Some(facts) = evidence.repositories.get(name) else { continue };
        if let Some((what, remedy)) = damage(facts, &place.url, evidence) {
            add(Verdict::Missed, what, remedy);
        }
        let mend = format!("`icecore -r {} repair snapshots` says what can be done", place.url);
        if let Some(first) = facts.damaged.first() {
            let what =
                format!("{} cannot be read: {first}", counted(facts.damaged.len(), "snapshot"));
            add(Verdict::Missed, what, mend.clone());
        }
        let ahead = facts.snapshots.iter().filter(|each| evidence.is_future(each.time));
        if let Some(first) = ahead.clone().next() {
            let count = counted(ahead.count(), "snapshot");
            let time = units::local_time(first.time);
            let what = format!("{count} of a time to come, like {time}: a clock was, or is, wrong");
            let remedy = "set the clock; where it is right, `icecore forget` lets them go";
            add(Verdict::Unknown, what, remedy.to_owned());
        }
        if let Some(first) = facts.lost_records.first() {
            let count = counted(facts.lost_records.len(), "record");
            let what = format!(
                "{count} of its ledger cannot be read, and what they tell is not known: {first}"
            );
            add(Verdict::Unknown, what, mend);
        }
    }
    all
}

fn damage(facts: &RepositoryFacts, url: &str, evidence: &Evidence) -> Option<(String, String)> {
    let damage = &facts.damage;
    let ago = units::span(evidence.age(damage.at()?));
    let first = damage.first();
    let count = counted(usize::try_from(damage.count()).unwrap_or(usize::MAX), "damaged object");
    Some((format!("{count} found {ago} ago: {first}"), remedy(facts, url)))
}

/// How known damage is mended, and shown to be.
#[must_use]
pub(in crate::strategy) fn remedy(facts: &RepositoryFacts, url: &str) -> String {
    let folders = facts.damage.objects.keys().filter_map(|name| name.split_once('/'));
    let folders: Vec<&str> = folders.map(|(folder, _)| folder).collect();
    let verb = match folders.as_slice() {
        all if all.iter().any(|it| ["data", "meta"].contains(it)) => "repair packs",
        all if all.contains(&"index") => "repair index",
        all if all.iter().any(|it| RECORDS.contains(it)) => "repair snapshots",
        all if all.contains(&"parity") => "parity --build",
        _ => "repair packs",
    };
    let verify = format!("`icecore -r {url} verify --older-than 1d` shows it gone");
    match verb.starts_with("repair") {
        true => format!("`icecore -r {url} {verb}` mends and verifies; mended otherwise, {verify}"),
        false => format!("`icecore -r {url} {verb}`, then {verify}"),
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
