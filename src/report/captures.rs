//! How the sources of a snapshot were captured, in words.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::text;
use crate::format::{Capture, Time};

/// From the first start to the last end, where several sources were captured: they are of
/// different moments, so far apart at most.
#[must_use]
pub fn skew(captures: &[Capture]) -> Option<Duration> {
    let single = || captures.iter().filter(|capture| capture.method != "group");
    let named = || single().filter(|capture| !capture.source.is_empty());
    let sources: BTreeSet<_> = named().map(|capture| &capture.source).collect();
    if sources.len() < 2 {
        return None;
    }
    let nanos = |time: Time| i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos);
    let first = named().map(|capture| nanos(capture.started)).min()?;
    let last = named().map(|capture| nanos(capture.ended)).max()?;
    Some(Duration::from_nanos(u64::try_from(last - first).unwrap_or_default()))
}

/// The methods, each with its number: `postgres physical, 3 sqlite`. Empty where there is none.
#[must_use]
pub fn methods(captures: &[Capture]) -> String {
    let mut counts = BTreeMap::<&str, u64>::new();
    for capture in captures.iter().filter(|capture| capture.method != "group") {
        *counts.entry(capture.method.as_str()).or_default() += 1;
    }
    let each = |(method, count): (&str, u64)| {
        let method = text::escaped(method.as_bytes());
        if count == 1 { method.into_owned() } else { format!("{} {method}", text::number(count)) }
    };
    counts.into_iter().map(each).collect::<Vec<_>>().join(", ")
}

/// Of files that begin like a database and were stored as they are: how many, and the first with the
/// reason. Empty where there is none.
#[must_use]
pub fn as_files(captures: &[Capture]) -> String {
    let mut all = captures.iter().filter(|capture| capture.method == "sqlite as file");
    let Some(first) = all.next() else { return String::new() };
    let reason = first.facts.iter().find(|(name, _)| name == "reason");
    let reason = reason.map_or("", |(_, reason)| reason.as_str());
    let (path, reason) = (text::escaped(&first.path), text::escaped(reason.as_bytes()));
    let more = match all.count() {
        0 => String::new(),
        more => format!(", and {}", text::count(more as u64, "other")),
    };
    format!("/{path} is stored as the file it is{more}: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(source: &str, method: &str, started: i64, ended: i64) -> Capture {
        let time = |secs| Time { secs, nanos: 500_000_000 };
        let (source, method) = (source.to_owned(), method.to_owned());
        let (started, ended) = (time(started), time(ended));
        Capture { source, method, path: Vec::new(), started, ended, facts: Vec::new() }
    }

    #[test]
    fn skew_is_between_sources() {
        let all = [
            capture("all", "group", -100, 100),
            capture("a", "sqlite", 5, 7),
            capture("b", "redis aof", 2, 4),
            capture("", "sqlite", 0, 50),
        ];
        assert_eq!(skew(&all), Some(Duration::from_secs(5)));
        assert_eq!(skew(&all[..2]), None);
        assert_eq!(methods(&all), "redis aof, 2 sqlite");
        assert_eq!(methods(&[]), "");
        assert_eq!(as_files(&all), "");
        let facts = vec![("reason".to_owned(), "it is encrypted".to_owned())];
        let odd = Capture { path: b"a".to_vec(), facts, ..capture("", "sqlite as file", 0, 1) };
        let one = "/a is stored as the file it is: it is encrypted";
        assert_eq!(as_files(std::slice::from_ref(&odd)), one);
        assert!(as_files(&[odd.clone(), odd]).contains(", and 1 other: it"));
    }
}
