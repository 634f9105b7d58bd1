//! Captures a source of the strategy into one snapshot.
//!
//! Each kind of source is a `driver::Driver`, which gives the stages of an ingest
//! ([`crate::ops::ingest::Stages`]) and does between them what its store needs. A group is its
//! members' drivers in a row. Hooks and thaw are guards: what was stopped goes on, whatever became of
//! the capture.

mod driver;
mod files;
mod hooks;
mod members;
mod mlflow;
mod postgres;
mod program;
mod redis;
mod verify;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::capture::{scratch, undo};
use crate::progress::Progress;
use crate::repo::{RepoError, Repository};
use crate::strategy::file::{Source, Strategy};

use super::error::{OpError, Result};
use super::ingest::{self, IngestOptions, IngestReport};
use hooks::Around;
use members::Members;

/// So often a capture begins anew after a prune took its session for dead.
const EVICTIONS_MAX: usize = 3;

/// Takes one snapshot of the source of this name, with its hooks. Of `options`, tags and patterns
/// are added to.
///
/// # Errors
/// Where the source cannot be captured as it should: there is no snapshot then. What could not be
/// read of its files is in the report, and the snapshot is partial.
pub fn run(
    repo: &Repository,
    strategy: &Strategy,
    source: &str,
    options: IngestOptions,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<IngestReport> {
    let what = find(strategy, source)?;
    clean(interrupted);
    let around = Around::begin(source, &what.hooks, interrupted)?;
    let result = take(repo, (strategy, source), &options, progress, interrupted);
    match result {
        Ok(report) => around.end().map(|()| report),
        Err(err) => Err(around.end_failed(err)),
    }
}

/// Says which strategy file this process carries out: what captures leave undone is kept as that
/// one's.
pub fn serve(strategy: &Path) {
    undo::serve(strategy);
}

/// Sources of that strategy of which something could not be undone by this process, and why.
#[must_use]
pub fn left() -> Vec<(String, String)> {
    undo::left()
}

/// Undoes and removes what earlier captures left that were killed or could not: what they had
/// switched off at a store, and copies of databases.
pub fn clean(interrupted: &AtomicBool) {
    undo::sweep(interrupted);
    scratch::sweep();
}

/// Undoes what this process has switched off, for who ends it without waiting for the capture.
pub fn abandon() {
    undo::all();
}

fn take(
    repo: &Repository,
    (strategy, source): (&Strategy, &str),
    options: &IngestOptions,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<IngestReport> {
    let what = find(strategy, source)?;
    let mut options = IngestOptions { raw_sqlite: false, ..options.clone() };
    let named = what.group.iter().flat_map(|group| &group.members);
    let labels = named.filter_map(|name| strategy.sources.get(name)).chain([what]);
    for label in labels.flat_map(|source| &source.labels) {
        if !options.tags.contains(label) {
            options.tags.push(label.clone());
        }
    }
    options.excludes.patterns.extend(what.exclude.iter().cloned());
    let mut evictions = 0;
    loop {
        let mut members = Members::new(strategy, source, what, interrupted)?;
        match ingest::run_stages(repo, &mut members, &options, progress, interrupted) {
            Err(OpError::Repo(RepoError::Evicted { session })) if evictions < EVICTIONS_MAX => {
                tracing::warn!("a prune took session {session} for dead; capturing anew");
                evictions += 1;
            }
            result => return result,
        }
    }
}

/// A source by its name.
fn find<'s>(strategy: &'s Strategy, name: &str) -> Result<&'s Source> {
    let found = strategy.sources.get(name);
    found.ok_or_else(|| OpError::Input(format!("the strategy has no source {name}")))
}

/// An error of a store, with the source that it belongs to.
fn failed(source: &str, what: impl std::fmt::Display) -> OpError {
    OpError::Input(format!("source {source}: {what}"))
}
