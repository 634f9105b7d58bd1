//! Guards against a rule that forgets what somebody meant to keep: fixed histories with all their
//! reasons, and made-up ones against a second, slow reading of the rules.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::clock::from_timestamp;

const ZONES: [&str; 6] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    // Clocks were put back over midnight: the same day came twice.
    "America/St_Johns",
    // A day was left out: 2011-12-30.
    "Pacific/Apia",
];

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn id(number: u8) -> SnapshotId {
    SnapshotId([number; 16])
}

fn fact(number: u8, time: Time) -> Fact {
    Fact {
        id: id(number),
        time,
        host: "db1".into(),
        tags: Vec::new(),
        sources: vec![b"/srv".to_vec()],
        protected: false,
    }
}

fn at(text: &str) -> Time {
    from_timestamp(text.parse::<Zoned>().unwrap().timestamp())
}

/// Snapshots at these times, numbered from 0.
fn history(times: &[&str]) -> Vec<Fact> {
    (0..).zip(times).map(|(number, time)| fact(number, at(time))).collect()
}

fn every(period: Period, count: u64) -> Rules {
    Rules { every: [(period, count)].into(), ..Rules::default() }
}

/// What stands beside each snapshot, oldest first, reasons joined by `; `.
fn reasons(facts: &[Fact], rules: &Rules, zone_name: &str) -> Vec<String> {
    let far = Time { secs: 1 << 40, nanos: 0 };
    let groups = plan(facts, rules, &zone(zone_name), far);
    assert_eq!(groups.len(), 1);
    let words = |verdict: &Verdict| {
        verdict.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    groups[0].verdicts.iter().map(words).collect()
}

#[test]
fn the_newest_of_each_period_stays_and_says_of_which() {
    let facts = history(&[
        "2026-11-18T23:00[UTC]",
        "2026-11-20T10:00[UTC]",
        "2026-11-21T10:00[UTC]",
        "2026-11-21T11:00[UTC]",
        "2026-11-22T12:00[UTC]",
    ]);
    let words = reasons(&facts, &every(Period::Day, 3), "UTC");
    assert_eq!(words, ["", "daily 2026-11-20", "", "daily 2026-11-21", "daily 2026-11-22"]);
    // A day without a snapshot counts for nothing; the oldest stays while a day is wanting.
    let words = reasons(&facts, &every(Period::Day, 5), "UTC");
    assert_eq!(words[0], "daily 2026-11-18");
    assert_eq!(words[2], "");
    let words = reasons(&facts[2..], &every(Period::Day, 3), "UTC");
    assert_eq!(words, ["oldest daily", "daily 2026-11-21", "daily 2026-11-22"]);
    let mut rules = every(Period::Week, 1);
    rules.last = 2;
    rules.every.insert(Period::Quarter, 1);
    let words = reasons(&facts, &rules, "UTC");
    assert_eq!(
        words,
        ["", "", "", "last 2", "last 1; weekly 2026-W47; quarterly 2026-Q4"],
        "all reasons are told"
    );
}

#[test]
fn weeks_are_those_of_iso_8601() {
    let facts =
        history(&["2026-12-27T12:00[UTC]", "2026-12-28T12:00[UTC]", "2027-01-03T12:00[UTC]"]);
    let words = reasons(&facts, &every(Period::Week, 9), "UTC");
    assert_eq!(words, ["weekly 2026-W52", "", "weekly 2026-W53"]);
    let words = reasons(&facts, &every(Period::Year, 9), "UTC");
    assert_eq!(words, ["oldest yearly", "yearly 2026", "yearly 2027"]);
}

#[test]
fn days_and_hours_are_those_of_the_zone() {
    // 23:30 and 00:30 in Berlin are one day in UTC.
    let facts = history(&["2026-11-21T22:30[UTC]", "2026-11-21T23:30[UTC]"]);
    let one = every(Period::Day, 2);
    assert_eq!(reasons(&facts, &one, "UTC"), ["oldest daily", "daily 2026-11-21"]);
    let berlin = ["daily 2026-11-21", "daily 2026-11-22"];
    assert_eq!(reasons(&facts, &one, "Europe/Berlin"), berlin);
    // The hour from 02:00 to 03:00 that comes twice is two hours.
    let facts =
        history(&["2026-10-25T00:10[UTC]", "2026-10-25T00:20[UTC]", "2026-10-25T01:10[UTC]"]);
    let words = reasons(&facts, &every(Period::Hour, 2), "Europe/Berlin");
    assert_eq!(words, ["", "hourly 2026-10-25 02:00", "hourly 2026-10-25 02:00"]);
}

#[test]
fn a_day_that_comes_twice_is_one_day() {
    // 2010-11-07 00:00:30 in St John's, then again 23:30 of the 6th, then the 7th.
    let facts =
        history(&["2010-11-07T02:30:30[UTC]", "2010-11-07T03:00[UTC]", "2010-11-07T13:00[UTC]"]);
    let words = reasons(&facts, &every(Period::Day, 2), "America/St_Johns");
    assert_eq!(words, ["", "daily 2010-11-06", "daily 2010-11-07"]);
}

#[test]
fn spans_count_from_the_newest_that_is_not_in_the_future() {
    let facts = history(&[
        "2020-01-01T12:00[UTC]",
        "2020-02-10T12:00[UTC]",
        "2020-02-20T12:00[UTC]",
        "2020-02-20T13:00[UTC]",
        "2036-01-01T00:00[UTC]",
    ]);
    let rules = Rules { within: Some("10d1h".parse().unwrap()), ..Rules::default() };
    let shown = |rules| {
        let groups = plan(&facts, rules, &TimeZone::UTC, at("2026-11-22T12:00[UTC]"));
        let kept = groups[0].verdicts.iter().map(Verdict::is_kept);
        kept.collect::<Vec<_>>()
    };
    // Years after the last one, and exactly 10 days and an hour are over for the second.
    assert_eq!(shown(&rules), [false, false, true, true, true]);
    let span: CalendarSpan = "10d2h".parse().unwrap();
    let rules = Rules { every_within: [(Period::Day, span)].into(), ..Rules::default() };
    assert_eq!(shown(&rules), [false, true, false, true, true]);
}

#[test]
fn tags_protection_and_times_beyond_all_calendars_keep() {
    let mut facts = history(&["2026-11-20T10:00[UTC]", "2026-11-21T10:00[UTC]"]);
    facts.push(fact(2, at("2026-11-22T10:00[UTC]")));
    facts.push(fact(3, Time { secs: i64::MIN, nanos: 0 }));
    facts[0].tags = vec!["release".into(), "v2".into()];
    facts[1].tags = vec!["v2".into()];
    facts[2].protected = true;
    let list = |tags: &[&str]| tags.iter().map(ToString::to_string).collect::<Vec<_>>();
    let tags = vec![list(&["v2", "release"]), list(&["v3"])];
    let rules = Rules { tags, ..Rules::default() };
    let words = reasons(&facts, &rules, "UTC");
    assert_eq!(words, ["no date", "tag v2,release", "", "protected"]);
}

#[test]
fn groups_are_what_is_asked_for() {
    let mut facts = history(&["2026-11-20T10:00[UTC]"; 4]);
    facts[1].host = "db2".into();
    facts[2].sources.push(b"/etc".to_vec());
    facts[3].sources.insert(0, b"/etc".to_vec());
    facts[3].tags.push("t".into());
    let count = |by: &str| {
        let rules = Rules { group_by: by.parse().unwrap(), ..Rules::default() };
        plan(&facts, &rules, &TimeZone::UTC, Time::default()).len()
    };
    for (by, groups) in
        [("host,sources", 3), ("host", 2), ("none", 1), ("", 1), ("tags", 2), ("sources,tags", 3)]
    {
        assert_eq!(count(by), groups, "{by:?}");
    }
    assert_eq!(GroupBy::default().to_string(), "host,sources");
    assert!("hosts,colour".parse::<GroupBy>().is_err());
}

#[test]
fn rules_that_keep_nothing_are_told() {
    let none = |rules: &Rules| rules.is_empty();
    assert!(none(&Rules::default()) && none(&every(Period::Day, 0)));
    let zero: CalendarSpan = "0d".parse().unwrap();
    assert!(none(&Rules { within: Some(zero.clone()), ..Rules::default() }));
    assert!(none(&Rules { every_within: [(Period::Day, zero)].into(), ..Rules::default() }));
    assert!(!none(&every(Period::Day, 1)));
    let tags = Rules { tags: vec![vec!["x".into()]], ..Rules::default() };
    assert!(!none(&tags));
    let groups = plan(
        &history(&["2026-11-20T10:00[UTC]"]),
        &tags,
        &TimeZone::UTC,
        at("2026-11-22T00:00[UTC]"),
    );
    assert!(groups[0].is_emptied());
}

/// A mistyped tag, and somebody has protected one: the others would all go.
#[test]
fn what_is_protected_does_not_hide_that_the_rules_keep_nothing() {
    let mut facts = history(&["2026-11-20T10:00[UTC]", "2026-11-21T10:00[UTC]"]);
    facts[0].protected = true;
    let tags = Rules { tags: vec![vec!["relaese".into()]], ..Rules::default() };
    let is_emptied = |facts: &[Fact], rules: &Rules| {
        plan(facts, rules, &TimeZone::UTC, at("2026-11-22T00:00[UTC]"))[0].is_emptied()
    };
    assert!(is_emptied(&facts, &tags));
    assert!(!is_emptied(&facts, &every(Period::Day, 1)));
    facts[1].protected = true;
    assert!(!is_emptied(&facts, &tags), "nothing goes");
}

/// The rules read again, slowly: each snapshot by itself, periods compared by their fields.
mod slow {
    use super::*;

    fn same(period: Period, a: &Zoned, b: &Zoned) -> bool {
        let hour = |date: &Zoned| (date.date(), date.hour(), date.offset());
        match period {
            Period::Minute => hour(a) == hour(b) && a.minute() == b.minute(),
            Period::Hour => hour(a) == hour(b),
            Period::Day => a.date() == b.date(),
            Period::Week => {
                let monday = |date: &Zoned| {
                    let back = date.weekday().to_monday_zero_offset();
                    date.date().checked_sub(Span::new().days(back)).unwrap()
                };
                monday(a) == monday(b)
            }
            Period::Month => a.date().first_of_month() == b.date().first_of_month(),
            Period::Quarter => (a.year(), (a.month() - 1) / 3) == (b.year(), (b.month() - 1) / 3),
            Period::Year => a.year() == b.year(),
        }
    }

    use jiff::Span;

    /// Ids that stay of one group.
    pub(super) fn kept(
        facts: &[Fact],
        rules: &Rules,
        zone: &TimeZone,
        now: Time,
    ) -> BTreeSet<SnapshotId> {
        let date = |fact: &Fact| to_timestamp(fact.time).unwrap().to_zoned(zone.clone());
        let key = |fact: &Fact| (fact.time, fact.id);
        let past = facts.iter().filter(|fact| fact.time <= now).max_by_key(|fact| key(fact));
        let origin = past.map_or_else(|| to_timestamp(now).unwrap().to_zoned(zone.clone()), date);
        let inside = |fact: &Fact, span: &CalendarSpan| {
            !span.is_zero() && date(fact).timestamp() > span.before(&origin)
        };
        let oldest = facts.iter().min_by_key(|fact| key(fact)).map(key);
        let stays = |fact: &&Fact| {
            let newer: Vec<_> = facts.iter().filter(|other| key(other) > key(fact)).collect();
            let newest_of =
                |period| !newer.iter().any(|other| same(period, &date(other), &date(fact)));
            // One of each period among these.
            let periods = |among: &[&Fact], period| {
                let first = |at: usize| {
                    !among[..at].iter().any(|b| same(period, &date(among[at]), &date(b)))
                };
                (0..among.len()).filter(|&at| first(at)).count() as u64
            };
            let all: Vec<&Fact> = facts.iter().collect();
            let is_oldest = oldest == Some(key(fact));
            fact.protected
                || rules.tags.iter().any(|list| list.iter().all(|tag| fact.tags.contains(tag)))
                || (newer.len() as u64) < rules.last
                || rules.within.as_ref().is_some_and(|span| inside(fact, span))
                || rules.every.iter().any(|(&period, &count)| {
                    newest_of(period) && periods(&newer, period) < count
                        || is_oldest && periods(&all, period) < count
                })
                || rules
                    .every_within
                    .iter()
                    .any(|(&period, span)| inside(fact, span) && (newest_of(period) || is_oldest))
        };
        facts.iter().filter(stays).map(|fact| fact.id).collect()
    }
}

fn kept(facts: &[Fact], rules: &Rules, zone: &TimeZone, now: Time) -> BTreeSet<SnapshotId> {
    let groups = plan(facts, rules, zone, now);
    let all = groups.iter().flat_map(|group| &group.verdicts);
    all.filter(|verdict| verdict.is_kept()).map(|verdict| verdict.id).collect()
}

/// Around changes of clocks, ends of years, and far from them; some seconds to some years apart.
fn times() -> impl Strategy<Value = Vec<i64>> {
    let anchors = prop::sample::select(vec![
        1_792_890_000_i64, // 2026-10-25, Berlin puts clocks back
        1_774_746_000,     // 2026-03-29, and forward
        1_289_098_000,     // 2010-11-07, St John's
        1_325_239_200,     // 2011-12-30, Apia
        1_798_758_000,     // the last week of 2026
    ]);
    let scale = prop::sample::select(vec![90_i64, 4000, 90_000, 700_000, 9_000_000]);
    let steps = prop::collection::vec(-20_i64..20, 1..16);
    (anchors, scale, steps)
        .prop_map(|(anchor, scale, steps)| steps.iter().map(|step| anchor + step * scale).collect())
}

fn facts() -> impl Strategy<Value = Vec<Fact>> {
    let marks = prop::collection::vec((0_u8..2, prop::bool::weighted(0.1), 0_u8..3), 16);
    (times(), marks).prop_map(|(times, marks)| {
        let made = (0_u8..).zip(times).zip(marks);
        made.map(|((number, secs), (host, protected, tags))| Fact {
            host: format!("host{host}"),
            protected,
            tags: (0..tags).map(|tag| format!("t{tag}")).collect(),
            ..fact(number, Time { secs, nanos: u32::from(number) })
        })
        .collect()
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    let spans = prop::sample::select(vec!["0d", "90s", "2h", "3d", "1w", "2m", "1y6m"]);
    let span = spans.prop_map(|text| text.parse::<CalendarSpan>().unwrap());
    let period = || prop::sample::select(Period::ALL.to_vec());
    let tags = prop::sample::select(vec![vec![], vec!["t1"], vec!["t0", "t1"]]);
    (
        0_u64..4,
        prop::collection::btree_map(period(), 0_u64..5, 0..4),
        prop::option::of(span.clone()),
        prop::collection::btree_map(period(), span, 0..3),
        tags,
        any::<[bool; 3]>(),
        prop::option::of(0_u64..400_000),
    )
        .prop_map(
            |(last, every, within, every_within, tags, [host, by_tags, sources], gap)| {
                let gap_max = gap.map(std::time::Duration::from_secs);
                let tags: Vec<String> = tags.into_iter().map(str::to_owned).collect();
                let tags = if tags.is_empty() { Vec::new() } else { vec![tags] };
                let group_by = GroupBy { host, tags: by_tags, sources };
                Rules { last, every, within, every_within, tags, gap_max, group_by }
            },
        )
}

fn zones() -> impl Strategy<Value = TimeZone> {
    prop::sample::select(ZONES.to_vec()).prop_map(zone)
}

/// Before, among and after the snapshots.
fn nows() -> impl Strategy<Value = Time> {
    prop::sample::select(vec![0_i64, 1_774_746_000, 1_792_900_000, 1 << 40])
        .prop_map(|secs| Time { secs, nanos: 0 })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn both_readings_of_the_rules_agree(
        facts in facts(), mut rules in rules(), zone in zones(), now in nows(),
    ) {
        rules.group_by = GroupBy { host: false, tags: false, sources: false };
        rules.gap_max = None;
        let expected = slow::kept(&facts, &rules, &zone, now);
        prop_assert_eq!(kept(&facts, &rules, &zone, now), expected);
    }

    #[test]
    fn what_was_kept_is_kept_again(
        facts in facts(), rules in rules(), zone in zones(), now in nows(),
    ) {
        let first = kept(&facts, &rules, &zone, now);
        let left: Vec<_> = facts.into_iter().filter(|fact| first.contains(&fact.id)).collect();
        prop_assert_eq!(kept(&left, &rules, &zone, now), first);
    }

    #[test]
    fn the_order_of_the_facts_says_nothing(
        facts in facts(), rules in rules(), zone in zones(), now in nows(), turn in 0_usize..16,
    ) {
        let expected = plan(&facts, &rules, &zone, now);
        let mut other = facts;
        let len = other.len();
        other.rotate_left(turn % len);
        other.reverse();
        prop_assert_eq!(plan(&other, &rules, &zone, now), expected);
    }

    #[test]
    fn a_greater_number_keeps_no_less(
        facts in facts(), rules in rules(), zone in zones(), now in nows(), more in 1_u64..4,
        period in prop::sample::select(Period::ALL.to_vec()),
    ) {
        let mut greater = rules.clone();
        greater.last += more;
        *greater.every.entry(period).or_default() += more;
        let (less, more) = (kept(&facts, &rules, &zone, now), kept(&facts, &greater, &zone, now));
        prop_assert!(less.is_subset(&more), "{:?} and {:?}", less, more);
        greater.every = Period::ALL.map(|period| (period, UNLIMITED)).into();
        greater.last = UNLIMITED;
        prop_assert_eq!(kept(&facts, &greater, &zone, now).len(), facts.len());
    }

    #[test]
    fn no_group_is_emptied_by_a_number_or_a_span(
        facts in facts(), rules in rules(), zone in zones(), now in nows(),
    ) {
        let counts = rules.last > 0 || rules.every.values().any(|&count| count > 0);
        let groups = plan(&facts, &rules, &zone, now);
        prop_assert_eq!(groups.iter().map(|group| group.verdicts.len()).sum::<usize>(), facts.len());
        if counts {
            prop_assert!(!groups.iter().any(Group::is_emptied));
        }
        if rules.within.as_ref().is_some_and(|span| !span.is_zero()) {
            prop_assert!(!groups.iter().any(Group::is_emptied));
        }
        if rules.is_empty() {
            let kept = groups.iter().flat_map(|group| &group.verdicts).filter(|v| v.is_kept());
            let protected = facts.iter().filter(|fact| fact.protected);
            prop_assert_eq!(kept.count(), protected.count());
        }
    }
}
