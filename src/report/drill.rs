//! What a drill showed.

use std::time::Duration;

use serde_json::Value;

use super::{ledger, text};
use crate::format::{COMPONENT, DrillCheck, DrillPhase, Drilled, SAMPLE};
use crate::ops::drill::Event;
use crate::units;

/// As JSON: what the ledger's record has.
#[must_use]
pub fn json(drilled: &Drilled) -> Value {
    ledger::drilled_json(drilled)
}

fn span(ns: u64) -> String {
    match ns {
        0..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => text::duration(Duration::from_nanos(ns)),
    }
}

fn with_target(is: u64, target: Option<u64>) -> String {
    match target {
        Some(target) if is > target => format!("{}, missed: {}", span(is), span(target)),
        Some(target) => format!("{}, target {}", span(is), span(target)),
        None => span(is),
    }
}

/// The RTO, and how much of it was measured.
fn rto(drilled: &Drilled) -> String {
    let whole = with_target(drilled.rto_ns, drilled.rto_target_ns);
    match drilled.extrapolated_ns() {
        0 => whole,
        extrapolated => {
            let measured = span(drilled.rto_ns.saturating_sub(extrapolated));
            format!("{whole}; extrapolated from {measured} with samples")
        }
    }
}

/// A line for what happens now; nothing for what is told at the end.
#[must_use]
pub fn line(event: &Event) -> Option<String> {
    match event {
        Event::Phase(DrillPhase { name, duration_ns, .. }) => {
            Some(format!("  {} in {}", text::escaped(name.as_bytes()), span(*duration_ns)))
        }
        Event::Check(DrillCheck { name, kind, passed, duration_ns, .. }) => {
            if kind == SAMPLE {
                let name = text::escaped(name.as_bytes());
                return Some(format!(
                    "  {name} is a sample; all of it takes {} more",
                    span(*duration_ns)
                ));
            }
            let result = if *passed { "holds" } else { "FAILS" };
            let name = text::escaped(name.as_bytes());
            Some(format!("  {kind} \"{name}\" {result} in {}", span(*duration_ns)))
        }
        _ => None,
    }
}

/// In words.
#[must_use]
pub fn text(drilled: &Drilled) -> String {
    let snapshots = drilled.components.iter().map(|component| {
        let time = units::local_time(component.time);
        format!("{} of {} ({time})", component.name, component.snapshot.short())
    });
    let assumed = drilled.samples().map(|sample| {
        let told = format!("{}: {}", sample.name, sample.told);
        text::escaped(told.as_bytes()).into_owned()
    });
    let failed = drilled.control.iter().filter(|check| !check.passed);
    let (alone, checks): (Vec<_>, Vec<_>) = failed.partition(|check| check.kind == COMPONENT);
    let mut control = match checks.len() as u64 {
        0 => "none".to_owned(),
        red => format!("{} failed on damaged data, as they should", text::count(red, "check")),
    };
    if !alone.is_empty() {
        let components = text::count(alone.len() as u64, "component");
        control.push_str(&format!("; the loss of {components} alone was seen"));
    }
    let facts = text::facts(&[
        ("drill", format!("{} ({})", drilled.name, drilled.mode)),
        ("result", ledger::drill_result(drilled.result).to_owned()),
        ("cause", text::escaped(drilled.cause.as_bytes()).into_owned()),
        ("components", snapshots.collect::<Vec<_>>().join(", ")),
        ("RTO", rto(drilled)),
        ("assumed", assumed.collect::<Vec<_>>().join("; ")),
        ("RPO", with_target(drilled.rpo_ns, drilled.rpo_target_ns)),
        ("control", control),
        ("took", span(drilled.duration_ns)),
    ]);
    let phases = drilled.phases.iter().map(|phase| {
        vec![
            text::escaped(phase.name.as_bytes()).into_owned(),
            span(phase.start_ns),
            span(phase.duration_ns),
        ]
    });
    let phases = text::table(&["phase", "from", "took"], &[1, 2], phases.collect());
    // What samples state is told above.
    let checks = drilled.checks.iter().filter(|check| check.kind != SAMPLE).map(|check| {
        vec![
            check.kind.clone(),
            text::escaped(check.name.as_bytes()).into_owned(),
            if check.passed { "holds" } else { "fails" }.to_owned(),
            span(check.duration_ns),
            text::escaped(check.told.as_bytes()).chars().take(200).collect(),
        ]
    });
    let checks = match drilled.checks.is_empty() {
        true => String::new(),
        false => text::table(&["check", "of", "", "took", "found"], &[3], checks.collect()),
    };
    format!("{facts}\n{phases}\n{checks}")
}
