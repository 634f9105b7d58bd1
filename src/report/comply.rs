//! What complies with the strategy: a row a source, and what is missed in words.

use std::time::Duration;

use serde_json::{Value, json};

use super::{json as as_json, text};
use crate::strategy::comply::{Compliance, Fault, Judged, Verdict};
use crate::units;

/// One source as JSON: spans in seconds.
#[must_use]
pub fn json(judged: &Compliance) -> Value {
    json!({
        "source": judged.source,
        "newest": judged.newest.as_ref().map(|newest| json!({
            "origin": newest.identity.0.to_string(),
            "snapshot": newest.identity.1.to_string(),
            "taken": as_json::time(newest.taken),
            "partial": newest.troubles > 0,
        })),
        "rpo": span_json(&judged.age),
        "copies": count_json(&judged.copies),
        "media": count_json(&judged.media),
        "offsite": count_json(&judged.offsite),
        "replicas": count_json(&judged.replicas),
        "repositories": judged.places,
        "verified": span_json(&judged.verified),
        "drilled": span_json(&judged.drilled),
        "rto": span_json(&judged.rto),
        "missed": judged.missed().iter().map(|(what, why)| json!({ "target": what, "why": why }))
            .collect::<Vec<_>>(),
    })
}

/// What is wrong with a repository, as JSON.
#[must_use]
pub fn fault_json(fault: &Fault) -> Value {
    json!({
        "repository": fault.repository,
        "verdict": fault.verdict.word(),
        "what": fault.what,
        "remedy": fault.remedy,
    })
}

fn span_json(judged: &Judged<Duration>) -> Value {
    let secs = |span: Option<Duration>| span.map(|span| span.as_secs_f64());
    value(secs(judged.have).into(), secs(judged.target).into(), judged.verdict, &judged.why)
}

fn count_json(judged: &Judged<u32>) -> Value {
    value(judged.have.into(), judged.target.into(), judged.verdict, &judged.why)
}

fn value(have: Value, target: Value, verdict: Option<Verdict>, why: &str) -> Value {
    json!({ "have": have, "target": target, "verdict": verdict.map(Verdict::word), "why": why })
}

/// A figure against its target: `48 min / 2 h`, with ` !` where that is missed and ` ?` where nobody
/// knows.
#[must_use]
pub fn cell<T: Copy>(judged: &Judged<T>, words: impl Fn(T) -> String) -> String {
    let have = judged.have.map_or_else(|| "-".to_owned(), &words);
    let target = judged.target.map(|target| format!(" / {}", words(target)));
    let mark = match judged.verdict {
        Some(Verdict::Missed) => " !",
        Some(Verdict::Unknown) => " ?",
        Some(Verdict::Met) | None => "",
    };
    format!("{have}{}{mark}", target.unwrap_or_default())
}

/// What a restore took, in words.
#[must_use]
pub fn took(span: Duration) -> String {
    if span.as_secs() < 60 { format!("{:.1} s", span.as_secs_f64()) } else { units::span(span) }
}

/// All sources, and below what is wrong with repositories, and what is missed.
#[must_use]
pub fn text(all: &[Compliance], faults: &[Fault]) -> String {
    let count = |count: u32| count.to_string();
    let row = |it: &Compliance| {
        let newest = it.newest.as_ref();
        vec![
            shown(&it.source),
            newest.map_or_else(|| "-".to_owned(), |newest| units::local_time(newest.taken)),
            cell(&it.age, units::span),
            cell(&it.copies, count),
            cell(&it.media, count),
            cell(&it.offsite, count),
            cell(&it.replicas, count),
            cell(&it.verified, units::span),
            cell(&it.drilled, units::span),
            cell(&it.rto, took),
        ]
    };
    let header = [
        "source", "newest", "age", "copies", "media", "off site", "replicas", "verified",
        "drilled", "rto",
    ];
    let table = text::table(&header, &[], all.iter().map(row).collect());
    match missed_lines(all, faults) {
        lines if lines.is_empty() => format!("{table}all targets are met\n"),
        lines => format!("{table}\n{}", lines.concat()),
    }
}

/// One line for each repository that something is wrong with, and for each promise that is not kept:
/// sources that miss the same for the same reason share it.
#[must_use]
pub fn missed_lines(all: &[Compliance], faults: &[Fault]) -> Vec<String> {
    let fault = |it: &Fault| format!("repository {}: {}\n", shown(&it.repository), shown(&it.what));
    let mut lines: Vec<String> = faults.iter().map(fault).collect();
    for (what, why, sources) in missed(all) {
        let sources: Vec<String> = sources.into_iter().map(shown).collect();
        lines.push(format!("{}: {what} is missed: {}\n", sources.join(", "), shown(why)));
    }
    lines
}

/// What is missed and why, and the sources of which that is so.
#[must_use]
pub fn missed(all: &[Compliance]) -> Vec<(&'static str, &str, Vec<&str>)> {
    let mut groups: Vec<(&'static str, &str, Vec<&str>)> = Vec::new();
    for it in all {
        for (what, why) in it.missed() {
            match groups.iter_mut().find(|(other, reason, _)| (*other, *reason) == (what, why)) {
                Some((.., sources)) => sources.push(&it.source),
                None => groups.push((what, why, vec![&it.source])),
            }
        }
    }
    groups
}

fn shown(words: &str) -> String {
    text::escaped(words.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_tell_figure_target_and_verdict() {
        let judged = |have, verdict| Judged { have, target: Some(3_u32), verdict, why: "w".into() };
        let words = |judged: &Judged<u32>| cell(judged, |count| count.to_string());
        assert_eq!(words(&judged(Some(3), Some(Verdict::Met))), "3 / 3");
        assert_eq!(words(&judged(Some(1), Some(Verdict::Missed))), "1 / 3 !");
        assert_eq!(words(&judged(None, Some(Verdict::Unknown))), "- / 3 ?");
        let none = Judged { have: Some(2), target: None, verdict: None, why: String::new() };
        assert_eq!(words(&none), "2");
        assert_eq!(took(Duration::from_millis(4250)), "4.2 s");
    }
}
