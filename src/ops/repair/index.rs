//! The index, built anew from the packs.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::Time;
use crate::ops::{OpError, Result};
use crate::repo::{RebuildPlan, Rebuilt, RepoError, Repository, Session, Writer};

/// What is wrong with the index, from the footer of every pack.
///
/// # Errors
/// Where a later icecore wrote a segment or pack, the storage cannot be read, or the user
/// interrupts.
pub fn plan(repo: &Repository, interrupted: &AtomicBool) -> Result<RebuildPlan> {
    with_interrupt(interrupted, |look| repo.plan_rebuild(look))
}

/// Carries a plan out, as a session of its own.
///
/// # Errors
/// As [`plan`]; the old index is there then, or all of the new one.
pub fn run(
    repo: &Repository,
    plan: &RebuildPlan,
    writer: Writer,
    now: Time,
    interrupted: &AtomicBool,
) -> Result<Rebuilt> {
    let session = Session::begin(repo, writer, now)?;
    let rebuilt = with_interrupt(interrupted, |look| repo.rebuild_index(plan, &session, look));
    session.abandon();
    rebuilt
}

/// Calls `work` with a function that fails once the user wants to stop.
fn with_interrupt<T>(
    interrupted: &AtomicBool,
    work: impl FnOnce(&dyn Fn() -> Result<(), RepoError>) -> Result<T, RepoError>,
) -> Result<T> {
    let look = || match interrupted.load(Ordering::Relaxed) {
        true => Err(RepoError::Interrupted),
        false => Ok(()),
    };
    work(&look).map_err(|err| match err {
        RepoError::Interrupted => OpError::Interrupted,
        err => err.into(),
    })
}
