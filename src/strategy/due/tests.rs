use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::Strategy as _;

use super::*;
use crate::format::Time;
use crate::strategy::evidence::testing::*;
use crate::strategy::evidence::{Identity, Verification};
use crate::strategy::file::Strategy;

const TWO: &str = r#"
[repositories.near]
url = "/near"
media = "disk"
[repositories.far]
url = "/far"
media = "tape"
[sources.models]
paths = ["/srv/models"]
repository = "near"
replicas = ["far"]
every = "1h"
keep = { last = 2 }
"#;

fn strategy(text: &str) -> Strategy {
    Strategy::parse(text).unwrap_or_else(|err| panic!("{err}"))
}

fn asked<T>(text: &str, evidence: &Evidence, ask: impl Fn(&Asked<'_>) -> T) -> T {
    let strategy = strategy(text);
    ask(&Asked { strategy: &strategy, evidence, zone: &TimeZone::UTC })
}

/// Parts as words: what, about what, where, how many.
fn words(due: &[Due]) -> Vec<String> {
    let one = |due: &Due| {
        let count = match &due.part {
            Part::Replicate { snapshots, .. } => snapshots.len(),
            Part::Retention { forget, .. } => forget.len(),
            _ => 0,
        };
        let part = &due.part;
        format!("{} {} {} {count}", part.word(), part.name(), part.place().unwrap_or("-"))
    };
    due.iter().map(one).collect()
}

fn at(secs: i64) -> Time {
    Time { secs, nanos: 0 }
}

fn models(number: u8, secs: i64) -> SnapshotFact {
    captured(snapshot(number, secs), &["models"])
}

#[test]
fn an_ingest_is_due_by_what_was_seen_or_told() {
    let mut evidence = evidence(10_000, vec![("near", facts(1, vec![models(1, 6_500)]))]);
    let due = |evidence: &Evidence| asked(TWO, evidence, |asked| words(&asked.ingests()));
    assert_eq!(due(&evidence), [] as [&str; 0], "58 minutes ago");
    evidence.now.secs += 101;
    assert_eq!(due(&evidence), ["ingest models - 0"]);
    // An attempt that failed counts as one, and is made again after a while.
    let near = evidence.repositories.get_mut("near").unwrap();
    near.runs.push(ran(10_000, "ingest", "models", "no such file"));
    assert_eq!(due(&evidence), [] as [&str; 0]);
    evidence.now.secs = 10_000 + 900;
    assert_eq!(due(&evidence), ["ingest models - 0"]);
    // Another machine's attempt, and one in the future, are none.
    let near = evidence.repositories.get_mut("near").unwrap();
    near.runs[0].host = "there".into();
    near.runs.push(ran(1_000_000, "ingest", "models", ""));
    assert_eq!(due(&evidence), ["ingest models - 0"]);
}

#[test]
fn copies_are_due_once_and_the_newest_always() {
    let near = facts(1, (1..=4).map(|n| models(n, i64::from(n) * 100)).collect());
    let mut far = facts(2, vec![]);
    let due = |far: &RepositoryFacts| {
        let evidence = evidence(1000, vec![("near", near.clone()), ("far", far.clone())]);
        asked(TWO, &evidence, |asked| asked.copies())
    };
    let ids = |due: &[Due]| match &due[0].part {
        Part::Replicate { snapshots, .. } => snapshots.iter().map(|id| id.0[0]).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    // Two are kept by the rules.
    let first = due(&far);
    assert_eq!((first.len(), ids(&first)), (1, vec![3, 4]));
    assert_eq!(first[0].why, "2 snapshots not there, the newest from 10 min ago");
    // What was there once and was let go is not copied again, but for the newest.
    far.replicated = [3, 4].map(|n| near.snapshots[n - 1].identity).into();
    assert_eq!(ids(&due(&far)), [4]);
    far.snapshots = vec![SnapshotFact { id: SnapshotId([9; 16]), ..near.snapshots[3].clone() }];
    assert_eq!(due(&far), []);
}

#[test]
fn what_is_not_copied_yet_stays() {
    let all: Vec<_> = (1..=5).map(|n| models(n, i64::from(n) * 100)).collect();
    let due = |far: Option<&[SnapshotFact]>| {
        let mut known = vec![("near", facts(1, all.clone()))];
        known.extend(far.map(|held| ("far", facts(2, held.to_vec()))));
        asked(TWO, &evidence(1000, known), |asked| words(&asked.retention()))
    };
    assert_eq!(due(Some(&all)), ["retention models near 3", "retention models far 3"]);
    assert_eq!(due(Some(&all[..2])), ["retention models near 2"], "the third is not copied");
    assert_eq!(due(Some(&all[3..])), ["retention models near 3"], "the newest is there");
    assert_eq!(due(None), [] as [&str; 0], "nobody knows what the replica holds");
}

#[test]
fn a_replica_that_cannot_be_read_is_a_part_that_is_held() {
    let mut evidence = evidence(1000, vec![("near", facts(1, vec![models(1, 900)]))]);
    evidence.unknown.insert("far".into(), "it is gone".into());
    let due = asked(TWO, &evidence, |asked| asked.copies());
    assert_eq!(words(&due), ["replicate models far 0"]);
    assert_eq!(due[0].held.as_deref(), Some("repository far cannot be read: it is gone"));
    assert_eq!(due[0].part.title(), "replicate models to far");
}

#[test]
fn who_asks_for_one_source_is_told_of_its_replicas_too() {
    let text = r#"
[repositories.near]
url = "/near"
media = "disk"
[repositories.far]
url = "/far"
media = "tape"
[repositories.third]
url = "/third"
media = "tape"
[sources.all]
group = { members = ["a", "b"] }
repository = "near"
replicas = ["far"]
every = "1h"
[sources.a]
paths = ["/a"]
[sources.b]
paths = ["/b"]
repository = "near"
replicas = ["third"]
"#;
    let both = captured(snapshot(1, 900), &["a", "b"]);
    let mut evidence = evidence(1000, vec![("near", facts(1, vec![both]))]);
    for name in ["far", "third"] {
        evidence.unknown.insert(name.into(), "it is gone".into());
    }
    let due = |name: &str| {
        asked(text, &evidence, |asked| {
            assert!(asked.copies_of_one(name).iter().all(|due| due.held.is_some()));
            words(&asked.copies_of_one(name))
        })
    };
    assert_eq!(due("a"), ["replicate a far 0"]);
    assert_eq!(due("b"), ["replicate b third 0"]);
    let group = ["replicate all far 0", "replicate b third 0"];
    assert_eq!(due("all"), group, "each replica once, those of members too");
    assert_eq!(asked(text, &evidence, |asked| words(&asked.copies())), group);
}

#[test]
fn what_is_damaged_holds_what_would_go() {
    let all: Vec<_> = (1..=5).map(|n| models(n, i64::from(n) * 100)).collect();
    let (near, mut far) = (facts(1, all.clone()), facts(2, all));
    let due = |far: &RepositoryFacts| {
        let known = vec![("near", near.clone()), ("far", far.clone())];
        let both = |asked: &Asked<'_>| [asked.retention(), asked.prunes()].concat();
        asked(TWO, &evidence(1000, known), both)
    };
    far.forgotten = 1;
    assert!(due(&far).iter().all(|due| due.held.is_none()));
    far.damage.objects = [("data/ab/cd".to_owned(), at(900))].into();
    let held = due(&far);
    assert_eq!(
        words(&held),
        ["retention models near 3", "retention models far 3", "prune far far 0"]
    );
    assert!(held.iter().all(|due| due.held.as_ref().is_some_and(|it| it.contains("repair packs"))));
}

#[test]
fn members_are_copied_with_their_group_or_by_themselves() {
    let text = r#"
[repositories.near]
url = "/near"
media = "disk"
[repositories.far]
url = "/far"
media = "tape"
[sources.a]
paths = ["/a"]
[sources.b]
paths = ["/b"]
[sources.both]
group = { members = ["a", "b"] }
repository = "near"
replicas = ["far"]
"#;
    let of = |number: u8, sources: &[&str]| captured(snapshot(number, i64::from(number)), sources);
    let all = vec![of(1, &["a", "b"]), of(2, &["a"])];
    let mut evidence = evidence(1000, vec![("near", facts(1, all)), ("far", facts(2, vec![]))]);
    let due = |evidence: &Evidence| asked(text, evidence, |asked| words(&asked.copies()));
    assert_eq!(due(&evidence), ["replicate a far 1", "replicate both far 1"]);
    evidence.repositories.remove("far");
    evidence.unknown.insert("far".into(), "it is gone".into());
    assert_eq!(due(&evidence), ["replicate both far 0"], "told once");
    let own = text.replace("replicas = [\"far\"]", "");
    let own = own.replace(
        "paths = [\"/a\"]",
        "paths = [\"/a\"]\nrepository = \"near\"\nreplicas = [\"far\"]",
    );
    evidence.unknown.clear();
    evidence.repositories.insert("far".into(), facts(2, vec![]));
    let due = asked(&own, &evidence, |asked| words(&asked.copies()));
    assert_eq!(due, ["replicate a far 2"], "the group is copied nowhere");
}

#[test]
fn what_another_source_holds_back_is_not_let_go() {
    let text = TWO.replace("keep = { last = 2 }", "keep = { last = 1 }");
    let text = format!(
        "{text}[sources.other]\npaths = [\"/o\"]\nrepository = \"near\"\nkeep = {{ last = 1 }}\n"
    );
    let both = |n: u8| captured(snapshot(n, i64::from(n) * 100), &["models", "other"]);
    let near = facts(1, (1..=3).map(both).collect());
    let known = vec![("near", near), ("far", facts(2, vec![]))];
    let due = asked(&text, &evidence(1000, known), |asked| words(&asked.retention()));
    assert_eq!(due, [] as [&str; 0], "the replica has none of them yet");
}

#[test]
fn a_clock_that_leaps_ahead_lets_nothing_go_by_that() {
    let day = 86_400;
    let text = TWO.replace("last = 2", "within = \"30d\"").replace("\"1h\"", "\"1d\"");
    let text = text.replace("replicas = [\"far\"]\n", "");
    let mut all: Vec<_> = (0..27).map(|n| models(n, i64::from(n) * day)).collect();
    let due = |all: &[SnapshotFact], now: i64| {
        let evidence = evidence(now, vec![("near", facts(1, all.to_vec()))]);
        asked(&text, &evidence, |asked| words(&asked.retention()))
    };
    let leap = 3650 * day;
    all.push(models(100, leap));
    assert_eq!(due(&all, leap + 10), [] as [&str; 0], "ten years count for three days");
    all.extend((1..10).map(|n| models(100 + n, leap + i64::from(n) * day)));
    assert_eq!(due(&all, leap + 10 * day), ["retention models near 9"], "30 days are 30 days");
}

#[test]
fn failures_stand_until_something_mends_them() {
    let mut evidence =
        evidence(10_000, vec![("near", facts(1, vec![])), ("far", facts(2, vec![]))]);
    let stands = |evidence: &Evidence| asked(TWO, evidence, |asked| asked.standing());
    let set = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<_>>();
    let runs = [
        ran(9_000, "ingest", "models", "no such file"),
        ran(9_000, "replicate", "models to far", "no space"),
        ran(9_000, "prune", "near", "no space"),
        ran(9_000, "verify", "far", "no route"),
        ran(9_000, "ingest", "gone", "the strategy has it no longer"),
    ];
    evidence.repositories.get_mut("near").unwrap().runs = runs.into();
    assert_eq!(stands(&evidence), set(&["ingest models", "verify far"]), "nothing else is due");
    let near = evidence.repositories.get_mut("near").unwrap();
    near.forgotten = 1;
    near.snapshots = vec![models(1, 9_500)];
    assert_eq!(stands(&evidence), set(&["prune near", "replicate models to far", "verify far"]));
    let copied = evidence.repositories["near"].snapshots.clone();
    let far = evidence.repositories.get_mut("far").unwrap();
    far.snapshots = copied;
    let verification = Verification { complete: true, ..Verification::default() };
    far.verifications = vec![told(9_900, verification)];
    assert_eq!(stands(&evidence), set(&["prune near"]));
}

#[test]
fn nothing_is_forgotten_where_nobody_may() {
    let text = TWO.replace("media = \"tape\"", "media = \"tape\"\nimmutable = true");
    let all: Vec<_> = (1..=5).map(|n| models(n, i64::from(n) * 100)).collect();
    let mut far = facts(2, all.clone());
    far.forgotten = 3;
    let evidence = evidence(1000, vec![("near", facts(1, all)), ("far", far)]);
    let due = asked(&text, &evidence, |asked| words(&asked.retention()));
    assert_eq!(due, ["retention models near 3"]);
    assert_eq!(asked(&text, &evidence, |asked| asked.prunes()), []);
}

#[test]
fn a_source_lets_go_only_what_is_its_own() {
    let text = r#"
[repositories.near]
url = "/near"
media = "disk"
[sources.a]
paths = ["/a"]
keep = { last = 1 }
[sources.b]
paths = ["/b"]
[sources.c]
paths = ["/c"]
keep = { last = 1 }
[sources.both]
group = { members = ["a", "c"] }
keep = { last = 2 }
"#;
    let of = |number: u8, sources: &[&str]| captured(snapshot(number, i64::from(number)), sources);
    let forgotten = |snapshots: Vec<SnapshotFact>| {
        let evidence = evidence(1000, vec![("near", facts(1, snapshots))]);
        let due = asked(text, &evidence, |asked| asked.retention());
        let ids = |due: Due| match due.part {
            Part::Retention { source, forget, .. } => {
                (source, forget.iter().map(|id| id.0[0]).collect::<Vec<_>>())
            }
            other => panic!("{other:?}"),
        };
        due.into_iter().map(ids).collect::<Vec<_>>()
    };
    // Snapshots that no source owns, or one without rules, or another host's.
    let other = SnapshotFact { host: "there".into(), ..of(1, &["a"]) };
    assert_eq!(forgotten(vec![other, snapshot(2, 2), of(3, &["b"]), of(4, &["a"])]), []);
    assert_eq!(forgotten(vec![of(1, &["a"]), of(2, &["a"])]), [("a".into(), vec![1])]);
    // Captured together with a source that keeps all.
    assert_eq!(forgotten(vec![of(1, &["a", "b"]), of(2, &["a"])]), []);
    // A group's snapshots go by the group's rules alone.
    let group = |n| of(n, &["a", "c"]);
    assert_eq!(forgotten(vec![group(1), group(2)]), []);
    assert_eq!(forgotten(vec![group(1), group(2), group(3)]), [("both".into(), vec![1])]);
}

#[test]
fn prunes_and_verifications_come_once_a_day() {
    let text = format!("{TWO}[verify]\nmax-duration = \"1h\"\nolder-than = \"10d\"\n");
    let day = 86_400;
    let mut near = facts(1, vec![]);
    near.forgotten = 2;
    near.verified.never = 10;
    let due = |near: &RepositoryFacts| {
        let evidence = evidence(20 * day, vec![("near", near.clone())]);
        asked(&text, &evidence, |asked| words(&[asked.prunes(), asked.verifications()].concat()))
    };
    assert_eq!(due(&near), ["prune near near 0", "verify near near 0"]);
    near.runs.push(ran(19 * day + 1, "prune", "near", "it failed"));
    near.runs.push(ran(19 * day + 1, "verify", "near", ""));
    assert_eq!(due(&near), [] as [&str; 0]);
    near.runs.clear();
    (near.forgotten, near.verified.never) = (0, 0);
    near.verified.at = [(10 * 86_400, 5)].into();
    assert_eq!(due(&near), [] as [&str; 0]);
    near.verified.at = [(10 * 86_400 - 1, 5)].into();
    assert_eq!(due(&near), ["verify near near 0"]);
}

/// Some snapshots, each held by some places.
fn held() -> impl proptest::strategy::Strategy<Value = Vec<(u8, bool, bool)>> {
    prop::collection::btree_map(1_u8..40, (any::<bool>(), any::<bool>()), 0..12)
        .prop_map(|map| map.into_iter().map(|(n, (near, far))| (n, near, far)).collect())
}

proptest! {
    #[test]
    fn retention_and_copies_come_to_rest_and_lose_nothing(
        all in held(), last in 1_u64..4, far_is_known: bool, immutable: bool,
    ) {
        let mut text = TWO.replace("last = 2", &format!("last = {last}"));
        if immutable {
            text = text.replace("media = \"tape\"", "media = \"tape\"\nimmutable = true");
        }
        let of = |place: fn(&(u8, bool, bool)) -> bool| -> Vec<SnapshotFact> {
            all.iter().filter(|it| place(it)).map(|it| models(it.0, i64::from(it.0))).collect()
        };
        let mut known = vec![("near", facts(1, of(|it| it.1)))];
        if far_is_known {
            known.push(("far", facts(2, of(|it| it.2))));
        }
        let mut evidence = evidence(1000, known);
        let identities = |evidence: &Evidence| -> BTreeSet<Identity> {
            let all = evidence.repositories.values().flat_map(|facts| &facts.snapshots);
            all.map(|each| each.identity).collect()
        };
        let before = identities(&evidence);
        let newest: Option<Identity> = before.iter().next_back().copied();
        let strategy = strategy(&text);
        for round in 0.. {
            prop_assert!(round < 5, "it never comes to rest");
            let mut parts = Vec::new();
            for is_copying in [true, false] {
                let asked = Asked { strategy: &strategy, evidence: &evidence, zone: &TimeZone::UTC };
                let due = if is_copying { asked.copies() } else { asked.retention() };
                due.iter().for_each(|due| carry_out(&mut evidence, &due.part));
                parts.extend(due);
            }
            if parts.is_empty() {
                break;
            }
        }
        let after = identities(&evidence);
        prop_assert_eq!(newest, after.iter().next_back().copied(), "the newest stays");
        prop_assert!(after.len() >= before.len().min(last as usize));
        if !far_is_known {
            prop_assert_eq!(before, after, "nothing goes while a replica is unknown");
        }
    }
}

/// Does to the facts what the part would do to the repositories.
fn carry_out(evidence: &mut Evidence, part: &Part) {
    match part {
        Part::Replicate { from, to, snapshots, .. } => {
            let all = evidence.repositories[from].snapshots.clone();
            let to = evidence.repositories.get_mut(to).unwrap();
            assert!(!snapshots.is_empty());
            for each in all.into_iter().filter(|each| snapshots.contains(&each.id)) {
                assert!(!to.snapshots.contains(&each), "it is there already");
                to.replicated.insert(each.identity);
                to.snapshots.push(each);
            }
        }
        Part::Retention { repository, forget, .. } => {
            let facts = evidence.repositories.get_mut(repository).unwrap();
            let count = facts.snapshots.len();
            facts.snapshots.retain(|each| !forget.contains(&each.id));
            assert_eq!(facts.snapshots.len() + forget.len(), count);
        }
        other => panic!("{other:?}"),
    }
}
