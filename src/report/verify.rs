//! What a verification found.

use std::time::Duration;

use serde_json::{Value, json};

use super::text;
use crate::format::Time;
use crate::ops::verify::{Coverage, VerifyReport};
use crate::strategy::evidence::VerifiedBytes;
use crate::units;

/// As JSON. Paths are escaped text, as `ops::path::escaped` makes it.
#[must_use]
pub fn json(report: &VerifyReport) -> Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("duration_ms");
        fields.insert("duration".into(), json!(report.duration_ms as f64 / 1e3));
        fields.insert("clean".into(), report.is_clean().into());
    }
    value
}

/// Lines of each kind that people get; JSON has more.
const LINES_MAX: usize = 25;

/// A line for each thing that is damaged and for each path that it costs, down to a limit.
#[must_use]
pub fn damage(report: &VerifyReport) -> Vec<String> {
    let mut lines = Vec::new();
    for damaged in report.damaged.iter().take(LINES_MAX) {
        lines.push(match damaged.object.as_str() {
            object if damaged.what.contains(object) => damaged.what.clone(),
            object => format!("{object}: {}", damaged.what),
        });
    }
    lines.extend(more(report.damaged_count, "damaged object"));
    for affected in report.affected.iter().take(LINES_MAX) {
        lines.push(format!("lost: {}:{}", affected.snapshot.short(), affected.path));
    }
    lines.extend(more(report.affected_count, "lost path"));
    lines
}

fn more(count: u64, what: &str) -> Option<String> {
    let more = count.saturating_sub(LINES_MAX as u64);
    (more > 0).then(|| format!("and {} more; --json lists them", text::count(more, what)))
}

/// How much of what is stored was verified lately: `99.2 % of bytes within 30 days`.
#[must_use]
pub fn coverage(coverage: &Coverage) -> String {
    let never = match coverage.never_bytes {
        0 => String::new(),
        bytes => format!(", {} never", units::size(bytes)),
    };
    let window = window(coverage.window_secs);
    format!("{} of bytes within {window}{never}", percent(coverage.recent_share()))
}

/// The same of a repository of a strategy: `near: 99.2 % of bytes verified within 30 days`.
#[must_use]
pub fn place(name: &str, bytes: &VerifiedBytes, now: Time, within: Duration) -> String {
    let (total, recent) = (bytes.total(), bytes.within(now, within));
    let share = if total == 0 { 1.0 } else { recent as f64 / total as f64 };
    let (name, window) = (text::escaped(name.as_bytes()), window(within.as_secs()));
    format!("{name}: {} of bytes verified within {window}\n", percent(share))
}

/// Rounded down: 100 % means all.
fn percent(share: f64) -> String {
    format!("{:.1} %", (share * 1000.0).floor() / 10.0)
}

fn window(secs: u64) -> String {
    match (secs / 86_400, secs % 86_400) {
        (days @ 1.., 0) => text::count(days, "day"),
        _ => text::duration(Duration::from_secs(secs)),
    }
}

fn returning(report: &VerifyReport) -> String {
    match report.returning_chunks {
        0 => String::new(),
        count => format!(
            "{} named as lost, in packs that no segment lists; unless an ingest is at work, \
             `icecore repair index` brings them back",
            text::count(count, "chunk")
        ),
    }
}

fn orphaned(report: &VerifyReport) -> String {
    match report.orphaned_blocks {
        0 => String::new(),
        blocks => format!("{}, of no use any more", text::count(blocks, "block")),
    }
}

/// In words, without the damage itself.
#[must_use]
pub fn text(report: &VerifyReport) -> String {
    let number = text::number;
    let some = |amount: u64| if amount == 0 { String::new() } else { number(amount) };
    let read = match report.read_data {
        true if report.packs_read == report.packs_stored => "every stored byte",
        true => "the structure, and data of some packs,",
        false => "the structure",
    };
    let was =
        if report.packs_read < report.packs_stored && report.read_data { "were" } else { "was" };
    let verdict = match report.is_clean() {
        true if report.healed.iter().any(|it| it.stored) => {
            format!("all good now: {read} {was} checked, damage was healed")
        }
        true if report.known_count > 0 => {
            format!("nothing new is lost: {read} {was} checked")
        }
        true => format!("all good: {read} {was} checked"),
        false => format!("damage was found, {read} {was} checked"),
    };
    let unprotected = match report.unprotected {
        0 => String::new(),
        packs => format!("{}; `icecore parity --build`", text::count(packs, "pack")),
    };
    let strangers = match report.strangers.as_slice() {
        [] => String::new(),
        names => {
            let names: Vec<_> = names.iter().map(|name| text::escaped(name.as_bytes())).collect();
            format!("{}: {}", number(report.strangers_count), names.join(" "))
        }
    };
    text::facts(&[
        ("verdict", verdict),
        ("snapshots", number(report.snapshots)),
        ("files", format!("{} in {}", number(report.files), text::count(report.pages, "page"))),
        (
            "index",
            format!(
                "{} in {}",
                text::count(report.indexed_chunks, "chunk"),
                text::count(report.segments, "segment")
            ),
        ),
        (
            "packs",
            format!(
                "{} with {}, {}",
                number(report.packs),
                text::count(report.chunks, "chunk"),
                units::size(report.pack_bytes)
            ),
        ),
        ("healed", some(report.healed.iter().filter(|it| it.stored).count() as u64)),
        ("without parity", unprotected),
        (
            "data read",
            match report.read_data {
                true => format!(
                    "{} in {}",
                    units::size(report.bytes_read),
                    text::count(report.packs_read, "pack")
                ),
                false => String::new(),
            },
        ),
        ("verified", report.coverage.as_ref().map_or_else(String::new, coverage)),
        ("not indexed", some(report.unindexed_chunks)),
        ("told from losses", orphaned(report)),
        ("stored again", returning(report)),
        ("strangers", strangers),
        ("took", text::duration(Duration::from_millis(report.duration_ms))),
        ("damaged", some(report.damaged_count)),
        ("lost paths", some(report.affected_count)),
        (
            "lost before",
            match report.known_count {
                0 => String::new(),
                count => format!("{}, which successors name", text::count(count, "path")),
            },
        ),
    ])
}
