//! The report as Prometheus reads it: text exposition format 0.0.4, for node_exporter's textfile
//! collector.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::Overview;
use crate::format::Ran;
use crate::strategy::comply::{Compliance, Judged, Verdict};
use crate::strategy::news::TOLD;

/// One metric with all its values.
struct Metric {
    name: &'static str,
    help: &'static str,
    values: Vec<(String, f64)>,
}

/// The text.
#[must_use]
pub fn prometheus(overview: &Overview<'_>) -> String {
    let mut out = String::new();
    for Metric { name, help, values } in metrics(overview) {
        if values.is_empty() {
            continue;
        }
        // Writing to a string does not fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in values {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    }
    out
}

/// `{name="value",…}` with the values escaped.
fn labels(pairs: &[(&str, &str)]) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pair = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escaped(value));
    format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(","))
}

fn metrics(overview: &Overview<'_>) -> Vec<Metric> {
    let now = overview.evidence.now.secs as f64;
    let mut all = vec![Metric {
        name: "icecore_report_timestamp_seconds",
        help: "When this was found out.",
        values: vec![(String::new(), now)],
    }];
    all.extend(spans(overview));
    all.extend(counts(overview));
    all.push(targets(overview));
    all.extend(repositories(overview));
    all.extend(runs(overview));
    all
}

fn of_sources(
    overview: &Overview<'_>,
    name: &'static str,
    help: &'static str,
    value: impl Fn(&Compliance) -> Option<f64>,
) -> Metric {
    let one = |it: &Compliance| Some((labels(&[("source", &it.source)]), value(it)?));
    Metric { name, help, values: overview.judged.iter().filter_map(one).collect() }
}

type SpanOf = fn(&Compliance) -> &Judged<Duration>;
type CountOf = fn(&Compliance) -> &Judged<u32>;

fn spans(overview: &Overview<'_>) -> Vec<Metric> {
    let all: [(SpanOf, [&'static str; 4]); 4] = [
        (
            |it| &it.age,
            [
                "icecore_source_snapshot_age_seconds",
                "Age of the newest snapshot.",
                "icecore_source_rpo_seconds",
                "How old the newest snapshot may be.",
            ],
        ),
        (
            |it| &it.verified,
            [
                "icecore_source_verified_age_seconds",
                "For how long the stored byte waits to be verified that waits longest.",
                "icecore_source_verified_target_seconds",
                "For how long it may wait.",
            ],
        ),
        (
            |it| &it.drilled,
            [
                "icecore_source_drilled_age_seconds",
                "Since a drill proved a restore.",
                "icecore_source_drilled_target_seconds",
                "How long ago that may be.",
            ],
        ),
        (
            |it| &it.rto,
            [
                "icecore_source_restore_seconds",
                "How long the newest drill took to restore.",
                "icecore_source_rto_seconds",
                "How long that may take.",
            ],
        ),
    ];
    let both = all.into_iter().flat_map(|(judged, [name, help, target, target_help])| {
        let secs = |span: Option<Duration>| span.map(|span| span.as_secs_f64());
        [
            of_sources(overview, name, help, |it| secs(judged(it).have)),
            of_sources(overview, target, target_help, |it| secs(judged(it).target)),
        ]
    });
    both.collect()
}

fn counts(overview: &Overview<'_>) -> Vec<Metric> {
    let all: [(CountOf, [&'static str; 4]); 4] = [
        (
            |it| &it.copies,
            [
                "icecore_source_copies",
                "Repositories that hold the snapshot that counts.",
                "icecore_source_copies_target",
                "How many should.",
            ],
        ),
        (
            |it| &it.media,
            [
                "icecore_source_media",
                "Classes of media that the copies are on.",
                "icecore_source_media_target",
                "How many there should be.",
            ],
        ),
        (
            |it| &it.offsite,
            [
                "icecore_source_offsite_copies",
                "Copies off site.",
                "icecore_source_offsite_copies_target",
                "How many there should be.",
            ],
        ),
        (
            |it| &it.replicas,
            [
                "icecore_source_current_replicas",
                "Replicas that hold what the source promises.",
                "icecore_source_replicas",
                "How many it has.",
            ],
        ),
    ];
    let both = all.into_iter().flat_map(|(judged, [name, help, target, target_help])| {
        [
            of_sources(overview, name, help, |it| judged(it).have.map(f64::from)),
            of_sources(overview, target, target_help, |it| judged(it).target.map(f64::from)),
        ]
    });
    both.collect()
}

fn targets(overview: &Overview<'_>) -> Metric {
    let of = |it: &Compliance| {
        let verdicts = [
            ("rpo", it.age.verdict),
            ("copies", it.copies.verdict),
            ("media", it.media.verdict),
            ("offsite", it.offsite.verdict),
            ("replicas", it.replicas.verdict),
            ("verified", it.verified.verdict),
            ("drilled", it.drilled.verdict),
            ("rto", it.rto.verdict),
        ];
        let source = it.source.clone();
        verdicts.into_iter().filter_map(move |(target, verdict)| {
            let labels = labels(&[("source", &source), ("target", target)]);
            Some((labels, f64::from(u8::from(verdict? == Verdict::Met))))
        })
    };
    Metric {
        name: "icecore_source_target_met",
        help: "1 where the target is met, 0 where it is missed or nobody can tell.",
        values: overview.judged.iter().flat_map(of).collect(),
    }
}

fn repositories(overview: &Overview<'_>) -> Vec<Metric> {
    let readable = overview.strategy.repositories.keys().map(|name| {
        let is_read = overview.evidence.repositories.contains_key(name);
        (labels(&[("repository", name)]), f64::from(u8::from(is_read)))
    });
    let mut all = vec![Metric {
        name: "icecore_repository_readable",
        help: "1 where the repository could be read.",
        values: readable.collect(),
    }];
    let sound = overview.strategy.repositories.keys().map(|name| {
        let is_sound = !overview.faults.iter().any(|fault| fault.repository == *name);
        (labels(&[("repository", name)]), f64::from(u8::from(is_sound)))
    });
    all.push(Metric {
        name: "icecore_repository_sound",
        help: "1 where it could be read, and no damage and no lost record of its ledger is known.",
        values: sound.collect(),
    });
    let known: Vec<_> = overview.repositories().collect();
    let figures: [(&'static str, &'static str, Vec<u64>); 5] = [
        (
            "icecore_repository_stored_bytes",
            "Bytes of all objects.",
            known.iter().map(|(_, facts)| facts.stored).collect(),
        ),
        (
            "icecore_repository_logical_bytes",
            "Bytes of all snapshots.",
            known
                .iter()
                .map(|(_, facts)| facts.snapshots.iter().map(|each| each.totals.data).sum())
                .collect(),
        ),
        (
            "icecore_repository_snapshots",
            "Snapshots that are not forgotten.",
            known.iter().map(|(_, facts)| facts.snapshots.len() as u64).collect(),
        ),
        (
            "icecore_repository_damaged_snapshots",
            "Snapshots that cannot be read.",
            known.iter().map(|(_, facts)| facts.damaged.len() as u64).collect(),
        ),
        (
            "icecore_repository_unverified_bytes",
            "Bytes of packs that were never verified.",
            known.iter().map(|(_, facts)| facts.verified.never()).collect(),
        ),
    ];
    all.extend(figures.into_iter().map(|(name, help, values)| {
        let values = known.iter().zip(values);
        let value =
            |((name, _), value): (&(&str, _), u64)| (labels(&[("repository", name)]), value as f64);
        Metric { name, help, values: values.map(value).collect() }
    }));
    all
}

fn runs(overview: &Overview<'_>) -> [Metric; 2] {
    let mut last: BTreeMap<(&str, &str), &Ran> = BTreeMap::new();
    for (_, told) in overview.told(|facts| &facts.runs).into_iter().filter(|(_, told)| {
        // The name says of what somebody was told.
        told.event.part != TOLD
    }) {
        let ran = &told.event;
        let known = last.entry((ran.part.as_str(), ran.name.as_str())).or_insert(ran);
        if ran.started > known.started {
            *known = ran;
        }
    }
    let of = |value: fn(&Ran) -> f64| {
        let one = |((part, name), ran): (&(&str, &str), &&Ran)| {
            (labels(&[("part", part), ("name", name)]), value(ran))
        };
        last.iter().map(one).collect::<Vec<_>>()
    };
    [
        Metric {
            name: "icecore_run_start_timestamp_seconds",
            help: "When a part of a run was last begun.",
            values: of(|ran| ran.started.secs as f64),
        },
        Metric {
            name: "icecore_run_success",
            help: "1 where it came to a good end, 0 where it failed.",
            values: of(|ran| f64::from(u8::from(ran.error.is_empty()))),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_end_early() {
        assert_eq!(labels(&[("a", "b\"\\\nc")]), "{a=\"b\\\"\\\\\\nc\"}");
    }
}
