//! `icecore status`.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::ops::verify::WINDOW;
use crate::report::{comply as report, json as as_json, verify};
use crate::strategy::comply::{Compliance, Fault, comply, faults};
use crate::strategy::evidence::{Evidence, RepositoryFacts};
use crate::strategy::file::Strategy;

use super::context::Context;
use super::exit::Exit;
use super::places::{HostOption, Places};
use super::progress::talk;
use super::strategy::FileOption;

/// Tell which targets of the strategy are met
///
/// One row a source: the age of its newest snapshot against its rpo; how many copies of it are held,
/// on how many classes of media, and how many off site; how many of its replicas hold what they
/// should; for how long the stored byte waits to be verified that waits longest, since it was written
/// or last verified; when a drill last proved a restore, and how long that took. A ! marks what is
/// missed, a ? what nobody can tell, which counts as missed. Below, of each
/// repository, how much of its bytes was verified within verified-within, or 30 days where the
/// strategy has none.
///
/// All of it comes from what the repositories hold and what their ledgers tell, never from what the
/// strategy intends. What is wrong with a repository is told below, once: that it cannot be read, and
/// proves nothing; damage that was found and that no later verification shows to be gone; records of
/// its ledger that are lost. icecore.toml(5) says how each figure is found. The exit code is 4 when
/// anything of this is wrong.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore status
  icecore status --json | jq '.sources[] | select(.missed != [])'")]
pub(crate) struct Status {
    #[command(flatten)]
    file: FileOption,

    #[command(flatten)]
    host: HostOption,
}

impl Status {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let strategy = self.file.read_sound()?;
        let places = Places::open(cx, &strategy);
        let evidence = places.evidence(self.host.name());
        let judged = comply(&strategy, &evidence);
        let faults = faults(&strategy, &evidence);
        let is_missed = judged.iter().any(Compliance::is_missed) || !faults.is_empty();
        let within = window(&strategy);
        cx.data(
            || status_json(&evidence, &judged, &faults, within),
            || format!("{}{}", report::text(&judged, &faults), verified_text(&evidence, within)),
        )?;
        if !cx.global.json && !cx.global.quiet {
            hints(&strategy, &judged, &faults)
                .iter()
                .for_each(|hint| talk(&format!("  hint: {hint}")));
        }
        Ok(if is_missed { Exit::Damage } else { Exit::Done })
    }
}

/// Within what the bytes of a repository should have been verified.
fn window(strategy: &Strategy) -> Duration {
    strategy.targets.verified_within.map_or(WINDOW, |span| span.0)
}

/// A line for each repository: how much of it was verified lately.
fn verified_text(evidence: &Evidence, within: Duration) -> String {
    let line = |(name, facts): (&String, &RepositoryFacts)| {
        verify::place(name, &facts.verified, evidence.now, within)
    };
    evidence.repositories.iter().map(line).collect()
}

fn verified_json(evidence: &Evidence, within: Duration) -> Value {
    let each = |(name, facts): (&String, &RepositoryFacts)| {
        let bytes = &facts.verified;
        let told = json!({
            "bytes": bytes.total(),
            "recent_bytes": bytes.within(evidence.now, within),
            "never_bytes": bytes.never,
            "window": within.as_secs(),
        });
        (name.clone(), told)
    };
    Value::from_iter(evidence.repositories.iter().map(each))
}

fn status_json(
    evidence: &Evidence,
    judged: &[Compliance],
    faults: &[Fault],
    within: Duration,
) -> Value {
    json!({
        "time": as_json::time(evidence.now),
        "host": evidence.host,
        "met": faults.is_empty() && !judged.iter().any(Compliance::is_missed),
        "sources": judged.iter().map(report::json).collect::<Vec<_>>(),
        "verified": verified_json(evidence, within),
        "faults": faults.iter().map(report::fault_json).collect::<Vec<_>>(),
        "unreadable": evidence.unknown,
    })
}

/// What to run, each once.
fn hints(strategy: &Strategy, judged: &[Compliance], faults: &[Fault]) -> Vec<String> {
    let fault = |it: &Fault| format!("repository {}: {}", it.repository, it.remedy);
    let mut hints: Vec<String> = faults.iter().map(fault).collect();
    // What is damaged or cannot be read is mended there, not by another run.
    let is_told = |why: &str| {
        faults.iter().any(|it| why.contains(it.repository.as_str()))
            && ["known damage", "cannot be read", "are lost"].iter().any(|it| why.contains(it))
    };
    for it in judged {
        for (what, why) in it.missed().into_iter().filter(|(_, why)| !is_told(why)) {
            let hint = match what {
                "rpo" => format!("`icecore run --source {}` takes a snapshot now", it.source),
                "copies" | "media" | "off site" | "replicas" => {
                    "`icecore run` copies what is missing at a replica; `icecore strategy check` \
                     tells whether the targets can be met"
                        .to_owned()
                }
                "verified" => format!(
                    "`icecore -r {} verify --older-than 1d` reads what waits, and [verify] in the \
                     strategy lets `icecore run` do it",
                    url_in(strategy, why)
                ),
                _ => match drill_of(strategy, &it.source) {
                    Some(drill) => format!("`icecore drill {drill}` proves a restore"),
                    None => format!("no drill of the strategy restores {}; add one", it.source),
                },
            };
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
    }
    hints
}

/// Where the repository is that a reason begins with: `in far, bytes wait for 3 days`.
fn url_in<'a>(strategy: &'a Strategy, why: &str) -> &'a str {
    let mut all = strategy.repositories.iter();
    let named = all.find(|(name, _)| why.starts_with(&format!("in {name}, ")));
    named.map_or("REPOSITORY", |(_, place)| place.url.as_str())
}

fn drill_of<'a>(strategy: &'a Strategy, source: &str) -> Option<&'a str> {
    let restores = |(_, drill): &(_, &crate::strategy::file::Drill)| {
        drill.components.values().any(|component| component.source == source)
    };
    strategy.drills.iter().find(restores).map(|(name, _)| name.as_str())
}
