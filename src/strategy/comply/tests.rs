use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::format::{DrillResult, Drilled, DrilledComponent, SnapshotId};
use crate::strategy::evidence::Told;
use crate::strategy::evidence::testing::*;
use crate::strategy::file::Strategy;

const TEXT: &str = r#"
[repositories.near]
url = "/near"
media = "disk"
[repositories.far]
url = "/far"
media = "tape"
offsite = true
[sources.models]
paths = ["/srv/models"]
repository = "near"
replicas = ["far"]
every = "1h"
rpo = "2h"
[targets]
copies = 2
media = 2
offsite = 1
verified-within = "10d"
drilled-within = "7d"
[drills.serving]
components.weights = { source = "models" }
targets = { rto = "60s" }
"#;

/// Some time in 2026.
const NOW: i64 = 1_795_000_000;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn models(number: u8, secs: i64) -> SnapshotFact {
    captured(snapshot(number, secs), &["models"])
}

fn drilled(secs: i64, result: DrillResult, rto: u64) -> Told<Box<Drilled>> {
    let started = Time { secs, nanos: 0 };
    let component = DrilledComponent {
        name: "weights".into(),
        source: "models".into(),
        snapshot: SnapshotId([1; 16]),
        time: started,
    };
    let drilled = Drilled {
        name: "serving".into(),
        mode: "instant".into(),
        started,
        duration_ns: 0,
        components: vec![component],
        phases: Vec::new(),
        checks: Vec::new(),
        control: Vec::new(),
        rto_ns: rto * 1_000_000_000,
        rto_target_ns: None,
        rpo_ns: 0,
        rpo_target_ns: None,
        result,
        cause: "the answer differs".into(),
    };
    told(secs, Box::new(drilled))
}

/// Evidence of a source that keeps all its promises.
fn sound() -> Evidence {
    let held = vec![models(1, NOW - 3 * HOUR), models(2, NOW - HOUR)];
    let mut near = facts(1, held.clone());
    let mut far = facts(2, held);
    for facts in [&mut near, &mut far] {
        facts.verified.at = [((NOW - DAY) as u64, 1000)].into();
    }
    near.drills = vec![drilled(NOW - 2 * DAY, DrillResult::Proven, 30)];
    evidence(NOW, vec![("near", near), ("far", far)])
}

fn judge(evidence: &Evidence) -> Compliance {
    let strategy = Strategy::parse(TEXT).unwrap();
    comply(&strategy, evidence).remove(0)
}

/// What is missed after a change of sound evidence: what, whether unknown, why.
fn missed(change: impl Fn(&mut Evidence)) -> Vec<String> {
    let mut evidence = sound();
    change(&mut evidence);
    let judged = judge(&evidence);
    judged.missed().into_iter().map(|(name, why)| format!("{name}: {why}")).collect()
}

fn near(evidence: &mut Evidence) -> &mut crate::strategy::evidence::RepositoryFacts {
    evidence.repositories.get_mut("near").unwrap()
}

fn far(evidence: &mut Evidence) -> &mut crate::strategy::evidence::RepositoryFacts {
    evidence.repositories.get_mut("far").unwrap()
}

fn unread(evidence: &mut Evidence, name: &str) {
    evidence.repositories.remove(name);
    evidence.unknown.insert(name.into(), "it is gone".into());
}

#[test]
fn what_keeps_all_promises_misses_none() {
    let judged = judge(&sound());
    assert_eq!(judged.missed(), [], "{judged:#?}");
    assert_eq!(judged.age.have, Some(Duration::from_secs(3600)));
    assert_eq!([judged.copies.have, judged.media.have], [Some(2), Some(2)]);
    assert_eq!(judged.offsite.have, Some(1));
    assert_eq!(judged.verified.have, Some(Duration::from_secs(86_400)));
    assert_eq!(judged.rto.have, Some(Duration::from_secs(30)));
    let words: BTreeMap<_, _> = [("rto", &judged.rto.why), ("copies", &judged.copies.why)].into();
    assert_eq!(words["rto"], "drill serving took 30.0 s");
    assert_eq!(words["copies"], "held by far, near");
}

#[test]
fn the_age_is_that_of_the_newest_and_none_is_missed() {
    assert_eq!(missed(|it| it.now.secs += HOUR), [] as [&str; 0], "exactly as old as it may be");
    assert_eq!(missed(|it| it.now.secs += HOUR + 1), ["rpo: the newest snapshot is 2 h old"]);
    let none = missed(|it| {
        near(it).snapshots.clear();
        far(it).snapshots.clear();
    });
    assert_eq!(none[0], "rpo: there is no snapshot");
    assert_eq!(none[1], "copies: no repository holds it");
    assert_eq!(none.len(), 5, "{none:?}");
    // A snapshot that states a time to come proves nothing.
    let future = missed(|it| {
        it.now.secs += 2 * HOUR;
        near(it).snapshots.push(models(3, NOW + 10 * DAY));
    });
    assert_eq!(future, ["rpo: the newest snapshot is 3 h old"]);
}

#[test]
fn copies_are_of_one_snapshot_that_is_recent_enough() {
    let gone = missed(|it| far(it).snapshots.clear());
    let words = [
        "copies: held by near",
        "media: on disk",
        "off site: no copy is off site",
        "replicas: far lacks the newest snapshot, it holds none",
    ];
    assert_eq!(gone, words);
    // The newest is on its way; the one before it is within the target.
    let fresh = |it: &mut Evidence| near(it).snapshots.push(models(3, NOW - 60));
    assert_eq!(missed(fresh), [] as [&str; 0]);
    // Both places hold a recent snapshot, but not the same one, and the common one is too old.
    let split = missed(|it| {
        near(it).snapshots[1] = models(3, NOW - 60);
    });
    assert_eq!(split, ["copies: held by far", "media: on tape"], "it meets more than the newest");
    // Two names for one folder are one copy.
    let same = missed(|it| far(it).location = near(it).location.clone());
    assert_eq!(same[0], "copies: held by far");
}

#[test]
fn what_cannot_be_read_is_unknown_where_it_matters() {
    let words = missed(|it| unread(it, "far"));
    let why = "repository far cannot be read";
    assert_eq!(words[0], format!("copies: held by near; {why}"));
    let rest = ["replicas", "verified", "drilled", "rto"].map(|what| format!("{what}: {why}"));
    assert_eq!(words[3..], rest, "its ledger may tell of a drill that failed");
    let mut evidence = sound();
    unread(&mut evidence, "near");
    let judged = judge(&evidence);
    assert_eq!(judged.age.verdict, Some(Verdict::Met), "the copy shows it");
    assert_eq!(judged.copies.verdict, Some(Verdict::Unknown));
    assert_eq!(judged.drilled.verdict, Some(Verdict::Unknown), "its ledger may tell of a drill");
    assert_eq!(judged.rto.verdict, Some(Verdict::Unknown));
    evidence.now.secs += 2 * HOUR;
    assert_eq!(judge(&evidence).age.verdict, Some(Verdict::Unknown));
}

#[test]
fn every_byte_must_be_verified_lately_and_damage_stands_until_it_is_seen_gone() {
    let late = missed(|it| {
        far(it).verified.at = [((NOW - 10 * DAY - 1) as u64, 5)].into();
    });
    assert_eq!(late, ["verified: in far, bytes wait for 10 d"]);
    let never = missed(|it| near(it).verified.never = 24);
    assert_eq!(never, ["verified: in near, 24 B of 1.0 KiB were never verified"]);
    let written = |days: i64| {
        missed(|it| near(it).verified.written = [((NOW - days * DAY) as u64, 24)].into())
    };
    assert_eq!(written(10), [] as [&str; 0], "they cannot have missed it yet");
    let words = "verified: in near, bytes that were written 11 d ago were never verified";
    assert_eq!(written(11), [words]);
    let lost = missed(|it| near(it).lost_records = vec!["ledger/1 is gone".into()]);
    let why = "records of the ledger of near are lost";
    assert_eq!(lost, ["verified", "drilled", "rto"].map(|what| format!("{what}: {why}")));
}

#[test]
fn what_is_damaged_is_no_copy_and_red_without_any_target() {
    let damage = |it: &mut Evidence| {
        let at = Time { secs: NOW - DAY, nanos: 0 };
        far(it).damage.objects = [("data/ab/cd".to_owned(), at)].into();
    };
    let words = [
        "copies: held by near; known damage in far",
        "media: on disk",
        "off site: no copy is off site",
        "verified: in far, there is known damage",
    ];
    assert_eq!(missed(damage), words);
    let text = TEXT.split("[targets]").next().unwrap();
    let strategy = Strategy::parse(text).unwrap();
    let mut evidence = sound();
    assert_eq!(faults(&strategy, &evidence), []);
    damage(&mut evidence);
    let judged = comply(&strategy, &evidence).remove(0);
    assert_eq!(judged.missed(), [("verified", "in far, there is known damage")]);
    let all = faults(&strategy, &evidence);
    assert_eq!((all.len(), all[0].repository.as_str()), (1, "far"));
    assert_eq!(all[0].what, "1 damaged object found 1 d ago: data/ab/cd");
    assert!(all[0].remedy.starts_with("`icecore -r /far repair packs`"), "{all:?}");
}

#[test]
fn replicas_are_held_to_the_rpo_and_to_their_last_copy() {
    let without = TEXT.split("[targets]").next().unwrap();
    let lag = |text: &str, change: &dyn Fn(&mut Evidence)| {
        let mut evidence = sound();
        near(&mut evidence).snapshots.push(models(3, NOW - 60));
        change(&mut evidence);
        let judged = comply(&Strategy::parse(text).unwrap(), &evidence).remove(0);
        judged.missed().into_iter().map(|(_, why)| why.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(lag(without, &|_| ()), [] as [&str; 0], "it holds one within rpo");
    let none = without.replace("rpo = \"2h\"", "");
    let same = lag(without, &|it| far(it).location = near(it).location.clone());
    assert_eq!(same, ["far is the folder that it is a copy of"]);
    let mut ahead = sound();
    near(&mut ahead).snapshots.push(models(9, NOW + 10 * DAY));
    let all = faults(&Strategy::parse(TEXT).unwrap(), &ahead);
    assert!(all.len() == 1 && all[0].what.starts_with("1 snapshot of a time to come"), "{all:?}");
    assert_eq!(lag(&none, &|_| ()), ["far lacks the newest snapshot, its newest is 1 h old"]);
    let failed = |it: &mut Evidence| {
        near(it).runs.push(ran(NOW - 30, "replicate", "models to far", "no space"));
    };
    let words =
        "far lacks the newest snapshot, its newest is 1 h old; the last copy failed: no space";
    assert_eq!(lag(without, &failed), [words]);
    let gone = lag(without, &|it| unread(it, "far"));
    assert_eq!(gone, ["repository far cannot be read"]);
    for (why, remedy) in
        [("it is gone", "bring it back"), ("Permission denied", "run this as root")]
    {
        let mut evidence = sound();
        unread(&mut evidence, "far");
        evidence.unknown.insert("far".into(), why.into());
        let all = faults(&Strategy::parse(TEXT).unwrap(), &evidence);
        assert!(all.len() == 1 && all[0].remedy.starts_with(remedy), "{all:?}");
    }
}

#[test]
fn only_a_drill_that_proved_a_restore_counts() {
    let with = |drills: Vec<Told<Box<Drilled>>>| missed(|it| near(it).drills = drills.clone());
    let proven = |days| drilled(NOW - days * DAY, DrillResult::Proven, 30);
    let never =
        ["drilled: no drill has proven a restore", "rto: drill serving was never carried out"];
    assert_eq!(with(vec![]), never);
    assert_eq!(with(vec![proven(8)]), ["drilled: a restore was proven 8 d ago"]);
    let failed = drilled(NOW - DAY, DrillResult::Failed, 1);
    let words = [
        "drilled: drill serving failed 1 d ago: the answer differs",
        "rto: drill serving did not prove a restore",
    ];
    assert_eq!(with(vec![proven(2), failed.clone()]), words);
    assert_eq!(with(vec![failed, proven(0)]), [] as [&str; 0]);
    let nothing = drilled(NOW - DAY, DrillResult::ProvesNothing, 1);
    assert!(with(vec![nothing])[0].contains("proved nothing"));
    let mut other = proven(1);
    other.event.components[0].source = "other".into();
    assert_eq!(with(vec![other]), never);
    let slow = drilled(NOW - DAY, DrillResult::Proven, 61);
    assert_eq!(with(vec![slow]), ["rto: drill serving took 61.0 s"]);
}

#[test]
fn without_targets_nothing_is_missed() {
    let text = TEXT.split("[targets]").next().unwrap().replace("rpo = \"2h\"", "");
    let strategy = Strategy::parse(&text).unwrap();
    let empty = vec![("near", facts(1, vec![])), ("far", facts(2, vec![]))];
    let judged = comply(&strategy, &evidence(NOW, empty)).remove(0);
    assert_eq!(judged.missed(), []);
    assert_eq!(judged.age.verdict, None);
}

proptest! {
    /// Less evidence never makes a promise kept.
    #[test]
    fn losing_evidence_mends_nothing(
        ages in prop::collection::vec((0_i64..4 * HOUR, any::<[bool; 2]>()), 0..6),
        verified in prop::collection::vec(0_i64..20, 2),
        take in 0_usize..5,
    ) {
        let held = |place: usize| -> Vec<SnapshotFact> {
            let all = (1_u8..).zip(&ages).filter(|(_, (_, held))| held[place]);
            all.map(|(number, (age, _))| models(number, NOW - age)).collect()
        };
        let mut full = evidence(NOW, vec![("near", facts(1, held(0))), ("far", facts(2, held(1)))]);
        for (name, days) in ["near", "far"].iter().zip(&verified) {
            let facts = full.repositories.get_mut(*name).unwrap();
            facts.verified.at = [((NOW - days * DAY) as u64, 10)].into();
        }
        let mut less = full.clone();
        match take {
            0 => unread(&mut less, "near"),
            1 => unread(&mut less, "far"),
            2 => drop(near(&mut less).snapshots.pop()),
            3 => far(&mut less).snapshots.clear(),
            _ => near(&mut less).verified.never = 1,
        }
        let (before, after) = (judge(&full), judge(&less));
        let kept = |judged: &Compliance| {
            let missed = judged.missed();
            !missed.iter().any(|(what, _)| ["rpo", "copies", "media", "off site"].contains(what))
        };
        prop_assert!(!kept(&after) || kept(&before), "{before:?} against {after:?}");
    }
}
