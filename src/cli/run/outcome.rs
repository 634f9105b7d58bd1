//! What became of the parts of a run, in words, as JSON and as an exit code.

use std::time::Duration;

use serde_json::{Value, json};

use crate::format::{Ran, Time};
use crate::report::{json as as_json, text};
use crate::strategy::due::{Due, Part};
use crate::units;

use super::super::context::Context;
use super::super::error::talk_error;
use super::super::exit::Exit;
use super::parts::Done;

/// One part that came to its end.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What it was, and why.
    pub due: Due,
    /// When it started.
    pub started: Time,
    /// How long it took.
    pub duration: Duration,
    /// What it did; nothing where it failed.
    pub done: Done,
    /// Why it failed; empty where it did not.
    pub error: String,
}

impl Outcome {
    /// What it is about: `replicate models to far`.
    pub(super) fn what(&self) -> String {
        self.due.part.title()
    }

    /// The record of it.
    pub(super) fn ran(&self) -> Ran {
        Ran {
            part: self.due.part.word().to_owned(),
            name: self.due.part.subject(),
            started: self.started,
            duration_ns: u64::try_from(self.duration.as_nanos()).unwrap_or(u64::MAX),
            snapshot: self.done.snapshot,
            error: self.error.clone(),
        }
    }

    /// A line as soon as it is over.
    pub(super) fn tell(&self, cx: &mut Context) -> anyhow::Result<()> {
        if cx.global.json {
            return Ok(());
        }
        if !self.error.is_empty() {
            talk_error(&text::escaped(format!("{}: {}", self.what(), self.error).as_bytes()));
        } else if !cx.global.quiet {
            cx.out.report(&format!("{}\n", self.words()))?;
        }
        Ok(())
    }

    /// The same for a mail.
    pub(super) fn words(&self) -> String {
        let took = text::duration(self.duration);
        let told = match (self.error.as_str(), self.done.troubles) {
            ("", 0) => self.done.told.clone(),
            ("", troubles) => {
                let entries = text::count(troubles, "entry");
                format!("{}; {entries} could not be taken", self.done.told)
            }
            (error, _) => format!("FAILED: {error}"),
        };
        text::escaped(format!("{}: {told} ({took})", self.what()).as_bytes()).into_owned()
    }

    /// As JSON.
    pub(super) fn json(&self) -> Value {
        let mut value = due_json(&self.due);
        let more = json!({
            "started": as_json::time(self.started),
            "duration": self.duration.as_secs_f64(),
            "snapshot": self.done.snapshot.map(|id| id.to_string()),
            "troubles": self.done.troubles,
            "told": self.done.told,
            "error": Some(&self.error).filter(|error| !error.is_empty()),
        });
        if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
            value.extend(more);
        }
        value
    }
}

/// A part that is due.
pub(super) fn due_json(due: &Due) -> Value {
    let snapshots = match &due.part {
        Part::Replicate { snapshots, .. } => snapshots.as_slice(),
        Part::Retention { forget, .. } => forget.as_slice(),
        _ => &[],
    };
    json!({
        "part": due.part.word(),
        "name": due.part.name(),
        "repository": due.part.place(),
        "snapshots": snapshots.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "why": due.why,
        "held": due.held,
    })
}

/// All that is due, a line each.
pub(super) fn plan_text(due: &[Due], next: Option<(Time, &str)>) -> String {
    let shown = |words: &str| text::escaped(words.as_bytes()).into_owned();
    let why = |due: &Due| match &due.held {
        Some(held) => format!("{}; held: {held}", due.why),
        None => due.why.clone(),
    };
    let row = |due: &Due| vec![shown(&due.part.title()), shown(&why(due))];
    let table = text::table(&["due", "why"], &[], due.iter().map(row).collect());
    let next = next.map_or_else(String::new, |(at, name)| {
        format!("next by schedule: {}, {}\n", shown(name), units::local_time(at))
    });
    match due {
        [] => format!("nothing is due\n{next}"),
        _ => format!("{table}\n{next}"),
    }
}

/// What all of them together tell the shell.
pub(super) fn exit(all: &[Outcome]) -> Exit {
    if all.iter().any(|outcome| !outcome.error.is_empty()) {
        return Exit::Failed;
    }
    match all.iter().any(|outcome| outcome.done.troubles > 0) {
        true => Exit::Partial,
        false => Exit::Done,
    }
}
