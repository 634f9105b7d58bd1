//! Setting packs aside: what can be read of them is written anew, then they go, as a generation of
//! prune does it.
//!
//! ```text
//! number ─▶ a session writes anew, and ends ─▶ gc/<g>.candidates ─▶ wait for sessions
//!     ─▶ is it still not whole, and all that it gives elsewhere? ─▶ gc/<g>.decision ─▶ delete
//! ```
//! What must stay true: who puts a pack right is a session that began before the candidates, and is
//! waited for, or sees them and leaves the pack alone; so a pack that is whole is never deleted.
//! Nobody decides anything between the candidates and the decision, for one generation is undecided
//! at a time: what is elsewhere then stays. A repair that was killed is gone on with by the next one,
//! or by a prune.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;

use crate::format::index::Place;
use crate::format::{Generation, PackId, PackKind};
use crate::ops::prune::Patience;
use crate::ops::{OpError, Result};
use crate::repo::{RepoError, Repository, Session, Stage};

use super::sources::{Rewriter, Sources};
use super::{PacksOptions, PacksPlan, check, chunks_aside};

/// So often it is begun again because a prune came in between.
const ROUNDS_MAX: usize = 8;

/// What was done about packs that nobody has whole.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Done {
    pub(super) rewritten_chunks: u64,
    pub(super) set_aside: u64,
}

/// Writes anew what can be read of packs that are to go, and removes them.
pub(super) fn set_aside(
    sources: &Sources<'_>,
    plan: &PacksPlan,
    options: &PacksOptions,
    interrupted: &AtomicBool,
) -> Result<Done> {
    let (repo, mut done) = (sources.repo, Done::default());
    for _ in 0..ROUNDS_MAX {
        done.set_aside += go_on(repo, options, interrupted)?;
        for stage in repo.generations()?.all_open() {
            if let Stage::Undecided(record) = stage {
                let (number, host) = (record.number, &record.host);
                tracing::warn!(
                    "the prune of {host}, generation {number}, is called off: it goes on after this repair"
                );
                repo.void_generation(number)?;
            }
        }
        // The number first: whatever is decided before it is known to what is written now.
        let number = repo.generations()?.next();
        done.rewritten_chunks += rewrite(sources, plan, options, interrupted)?;
        let packs = still_bad(sources)?;
        if packs.is_empty() {
            return Ok(done);
        }
        let record = repo.generation(number, &options.writer.host, packs, Vec::new());
        if !repo.put_candidates(&record)? {
            continue;
        }
        let gone = decide_and_delete(repo, &record, options, interrupted)?;
        done.set_aside += gone;
        if gone > 0 || still_bad(sources)?.is_empty() {
            return Ok(done);
        }
    }
    let what =
        "prunes came in between again and again; nothing is lost by that, run the repair again";
    Err(OpError::Input(what.into()))
}

/// Goes on with what a repair that was stopped has begun: generations of nothing but packs that are
/// not whole. Returns how many packs went.
pub(super) fn go_on(
    repo: &Repository,
    options: &PacksOptions,
    interrupted: &AtomicBool,
) -> Result<u64> {
    let mut gone = 0;
    for stage in repo.generations()?.all_open() {
        let (Stage::Undecided(record) | Stage::Decided { decision: record, .. }) = stage;
        if !is_of_repair(repo, record)? {
            continue;
        }
        gone += match stage {
            Stage::Undecided(record) => decide_and_delete(repo, record, options, interrupted)?,
            Stage::Decided { decision, .. } => delete(repo, decision)?,
        };
    }
    Ok(gone)
}

fn is_of_repair(repo: &Repository, record: &Generation) -> Result<bool> {
    if record.packs.is_empty() || !record.snapshots.is_empty() {
        return Ok(false);
    }
    for (kind, id) in &record.packs {
        if repo.is_pack_whole(*kind, *id)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Packs that are to go, without those that are whole by now or that a decision names.
fn still_bad(sources: &Sources<'_>) -> Result<Vec<(PackKind, PackId)>> {
    let doomed = sources.repo.generations()?.doomed();
    let mut bad = Vec::new();
    for (&id, &kind) in &sources.aside {
        if !doomed.contains(&id) && !sources.repo.is_pack_whole(kind, id)? {
            bad.push((kind, id));
        }
    }
    Ok(bad)
}

fn rewrite(
    sources: &Sources<'_>,
    plan: &PacksPlan,
    options: &PacksOptions,
    interrupted: &AtomicBool,
) -> Result<u64> {
    let session = Session::begin(sources.repo, options.writer.clone(), crate::clock::now())?;
    let session = session.without(sources.aside.keys().copied());
    let result = rewrite_in(&session, sources, plan, interrupted);
    // A session that commits nothing: its packs are in the index, and that is all there is to it.
    session.abandon();
    result
}

/// Durable, and in the index, on return.
fn rewrite_in(
    session: &Session<'_>,
    sources: &Sources<'_>,
    plan: &PacksPlan,
    interrupted: &AtomicBool,
) -> Result<u64> {
    let (mut rewriter, mut lost) = (Rewriter::new(session)?, 0);
    for (id, place) in &chunks_aside(sources.repo, plan)? {
        check(interrupted)?;
        session.beat_when_due()?;
        // Others may be told from a chunk that is whole here: one that is told itself is no base.
        let whole = place.base.is_none();
        let is_there = if whole { session.has_whole_chunk(id) } else { session.has_chunk(id) };
        if is_there || rewriter.has(id) {
            continue;
        }
        match sources.chunk(id, place)? {
            Some(bytes) => rewriter.put(place.pack.kind, *id, &bytes)?,
            None => {
                lost += 1;
                refuse_more_lost(lost, plan)?;
            }
        }
    }
    Ok(rewriter.finish()?)
}

/// Nothing is given up that was not said before.
fn refuse_more_lost(lost: u64, plan: &PacksPlan) -> Result<()> {
    let said = plan.lost_chunks();
    if lost <= said {
        return Ok(());
    }
    let what = format!(
        "more of it cannot be read now than the {said} chunks that were said to be lost; nothing was \
         set aside, run the repair again"
    );
    Err(RepoError::corrupt("what is to be set aside", what).into())
}

/// Waits for sessions that may put the packs right, decides which go, and deletes those; how many.
fn decide_and_delete(
    repo: &Repository,
    candidates: &Generation,
    options: &PacksOptions,
    interrupted: &AtomicBool,
) -> Result<u64> {
    let (host, timeout) = (options.writer.host.as_str(), options.session_timeout);
    Patience { host, timeout, interrupted }.wait_for_sessions(repo)?;
    let packs = deletable(repo, candidates)?;
    let decision = repo.generation(candidates.number, host, packs, Vec::new());
    delete(repo, &repo.put_decision(&decision)?)
}

fn delete(repo: &Repository, decision: &Generation) -> Result<u64> {
    let doomed = repo.generations()?.doomed();
    repo.execute(decision, &doomed)?;
    repo.index().reload()?;
    Ok(decision.packs.len() as u64)
}

/// Candidates that are not whole and give nothing that is not elsewhere.
fn deletable(repo: &Repository, candidates: &Generation) -> Result<Vec<(PackKind, PackId)>> {
    repo.index().reload()?;
    let aside: HashMap<_, _> = candidates.packs.iter().map(|(kind, id)| (*id, *kind)).collect();
    let mut going: HashSet<PackId> = aside.keys().copied().collect();
    going.extend(repo.generations()?.doomed());
    let there: HashSet<PackId> = repo.all_packs()?.into_iter().map(|pack| pack.id).collect();
    let stays = |place: &Place| there.contains(&place.pack.id) && !going.contains(&place.pack.id);
    let sources = Sources { repo, from: None, aside };
    let mut spared = HashSet::new();
    for (id, place) in repo.chunks_in(&sources.aside)? {
        let is_whole = |other: &Place| other.base.is_none() && stays(other);
        let is_elsewhere = match place.base {
            None => repo.index().has_place(&id, is_whole),
            Some(_) => repo.has_chunk_in(&id, stays),
        };
        if is_elsewhere || spared.contains(&place.pack.id) {
            continue;
        }
        match repo.chunk_at(&id, &place) {
            Ok(_) => drop(spared.insert(place.pack.id)),
            Err(err) if sources.is_loss(&err) => {}
            Err(err) => return Err(err.into()),
        }
    }
    let mut packs = Vec::new();
    for (kind, id) in &candidates.packs {
        if repo.is_pack_whole(*kind, *id)? || spared.contains(id) {
            tracing::warn!(
                "{} stays: it is whole, or gives what nothing else does",
                name(*kind, *id)
            );
        } else {
            packs.push((*kind, *id));
        }
    }
    Ok(packs)
}

fn name(kind: PackKind, id: PackId) -> String {
    crate::format::ObjectKey::Pack(kind, id).to_string()
}
