//! What a strategy means, source by source.

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::clock::{from_timestamp, to_timestamp};
use crate::format::Time;
use crate::report::{json as as_json, text};
use crate::strategy::calendar::Calendar;
use crate::strategy::file::{Keep, Source, Strategy};
use crate::units::local_time;

/// One source in words.
pub(super) struct Explained {
    name: String,
    what: String,
    when: String,
    next: Option<Time>,
    places: Vec<String>,
    rpo: Option<std::time::Duration>,
    keeps: String,
}

/// Every source; `now` and `zone` decide when its calendar comes next.
pub(super) fn explain(strategy: &Strategy, now: Time, zone: &TimeZone) -> Vec<Explained> {
    let one = |(name, source): (&String, &Source)| Explained {
        name: name.clone(),
        what: what(source),
        when: when(source),
        next: next(source, now, zone),
        places: strategy.places_of(source).into_iter().map(str::to_owned).collect(),
        rpo: source.rpo.map(|span| span.0),
        keeps: source.keep.as_ref().map_or_else(|| "all".into(), keeps),
    };
    strategy.sources.iter().map(one).collect()
}

fn what(source: &Source) -> String {
    if let Some(postgres) = &source.postgres {
        return format!("postgres {}", postgres.connection).trim_end().to_owned();
    }
    if let Some(redis) = &source.redis {
        return format!("redis {}", redis.address);
    }
    if let Some(command) = &source.command {
        return format!("output of {}", command.run.argv().join(" "));
    }
    if let Some(group) = &source.group {
        return format!("group {}", group.members.join(", "));
    }
    let all: Vec<_> = source.paths.iter().chain(&source.sqlite).map(String::as_str).collect();
    all.join(" ")
}

fn when(source: &Source) -> String {
    match (&source.every, &source.calendar) {
        (Some(every), _) => format!("every {}", text::duration(every.0)),
        (None, Some(calendar)) => calendar.clone(),
        (None, None) => "-".into(),
    }
}

fn next(source: &Source, now: Time, zone: &TimeZone) -> Option<Time> {
    let calendar = Calendar::parse(source.calendar.as_ref()?).ok()?;
    calendar.next_after(to_timestamp(now)?, zone).map(from_timestamp)
}

fn keeps(keep: &Keep) -> String {
    let counts = [
        ("last", keep.last),
        ("minutely", keep.minutely),
        ("hourly", keep.hourly),
        ("daily", keep.daily),
        ("weekly", keep.weekly),
        ("monthly", keep.monthly),
        ("quarterly", keep.quarterly),
        ("yearly", keep.yearly),
    ];
    let counts = counts.iter().filter(|(_, count)| *count > 0);
    let mut parts: Vec<String> = counts.map(|(name, count)| format!("{count} {name}")).collect();
    parts.extend(keep.within.iter().map(|span| format!("within {span}")));
    parts.extend(keep.tags.iter().map(|tag| format!("tag {tag}")));
    parts.join(", ")
}

impl Explained {
    pub(super) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "what": self.what,
            "when": self.when,
            "next": self.next.map(as_json::time),
            "repositories": self.places,
            "rpo_s": self.rpo.map(|span| span.as_secs()),
            "keeps": self.keeps,
        })
    }
}

pub(super) fn table(explained: &[Explained]) -> String {
    let dash = || "-".to_owned();
    let row = |it: &Explained| {
        vec![
            it.name.clone(),
            text::escaped(it.what.as_bytes()).into_owned(),
            it.when.clone(),
            it.next.map_or_else(dash, local_time),
            it.rpo.map_or_else(dash, text::duration),
            it.places.join(", "),
            it.keeps.clone(),
        ]
    };
    let header = ["source", "what", "when", "next", "rpo", "repositories", "keeps"];
    text::table(&header, &[], explained.iter().map(row).collect())
}
