//! Writing anew what is needed of packs that hold little, in the order in which the newest snapshot
//! is read, so that a restore does not slow as a repository ages.
//!
//! It is a session like any other, that ends without a snapshot; what it wrote is in the index
//! before the packs become candidates. What cannot be read stays where it is, with its pack.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use crate::codec::BlockEncoder;
use crate::format::index::Place;
use crate::format::{Added, ChunkId, PackId};
use crate::ops::repair::packs::is_lossy;
use crate::ops::{OpError, Result};
use crate::repo::{BlockCopier, RepoError, Repository, Session, Writer};
use crate::units::chain;

use super::PruneOptions;
use super::bits::Bits;
use super::mark::walk;
use super::plan::PrunePlan;

/// What was written, and the packs that must stay after all.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    pub(super) added: Added,
    pub(super) unreadable: HashSet<PackId>,
}

/// Writes what the plan says.
pub(super) fn run(
    repo: &Repository,
    plan: &PrunePlan,
    options: &PruneOptions,
    interrupted: &AtomicBool,
) -> Result<Rewritten> {
    if !plan.fates.iter().any(|fate| fate.is_rewritten()) {
        return Ok(Rewritten::default());
    }
    let writer = Writer { host: options.host.clone(), pid: std::process::id() };
    let session = Session::begin(repo, writer, crate::clock::now())?;
    let result = copy_all(repo, &session, plan, options, interrupted)
        .and_then(|unreadable| session.flush().map(|()| unreadable).map_err(OpError::from));
    let added = session.added();
    session.abandon();
    Ok(Rewritten { added, unreadable: result? })
}

fn copy_all(
    repo: &Repository,
    session: &Session<'_>,
    plan: &PrunePlan,
    options: &PruneOptions,
    interrupted: &AtomicBool,
) -> Result<HashSet<PackId>> {
    let encoder = BlockEncoder::new(options.compression).map_err(RepoError::from)?;
    let copier = BlockCopier::new(repo, session, encoder);
    let mut copying = Copying::new(plan, copier, session)?;
    if let Some(newest) = &plan.newest {
        let (lossy, mut seen) = (is_lossy(newest), Bits::new(plan.marks.records.len()));
        walk(repo, newest, interrupted, &mut |id, _| {
            let Some(number) = plan.marks.number_for(lossy, id)? else { return Ok(false) };
            copying.chunk(number, id)?;
            Ok(seen.set(number))
        })?;
    }
    copying.rest(interrupted)?;
    copying.copier.finish()?;
    Ok(copying.unreadable)
}

struct Copying<'a, 's, 'r> {
    plan: &'a PrunePlan,
    copier: BlockCopier<'s, 'r>,
    session: &'s Session<'r>,
    todo: Bits,
    unreadable: HashSet<PackId>,
}

impl<'a, 's, 'r> Copying<'a, 's, 'r> {
    fn new(
        plan: &'a PrunePlan,
        copier: BlockCopier<'s, 'r>,
        session: &'s Session<'r>,
    ) -> Result<Self> {
        let mut todo = Bits::new(plan.marks.records.len());
        plan.marks.records.for_each(|number, _, places| -> Result<()> {
            if plan.marks.live.has(number)
                && plan.table.best(places).is_some_and(|place| is_rewritten(plan, place))
            {
                todo.set(number);
            }
            Ok(())
        })?;
        Ok(Self { plan, copier, session, todo, unreadable: HashSet::new() })
    }

    /// Copies the block of a chunk, unless that was done.
    fn chunk(&mut self, number: u64, id: &ChunkId) -> Result<()> {
        if !self.todo.has(number) {
            return Ok(());
        }
        let places = self.plan.marks.records.places(id)?;
        let Some(place) = self.plan.table.best(&places) else { return Ok(()) };
        self.block(place)
    }

    fn block(&mut self, place: &Place) -> Result<()> {
        if self.unreadable.contains(&place.pack.id) {
            return Ok(());
        }
        self.session.beat_when_due()?;
        let (plan, todo) = (self.plan, &self.todo);
        let key = (place.pack.id, place.block_offset);
        let wanted = |id: &ChunkId| {
            let records = &plan.marks.records;
            let number = records.number(id).ok().flatten();
            number.is_some_and(|number| todo.has(number))
                && records.places(id).is_ok_and(|places| {
                    let best = plan.table.best(&places);
                    best.is_some_and(|best| (best.pack.id, best.block_offset) == key)
                })
        };
        match self.copier.copy(place, wanted) {
            Ok(ids) => {
                for id in ids {
                    if let Some(number) = plan.marks.records.number(&id)? {
                        self.todo.clear(number);
                    }
                }
                Ok(())
            }
            Err(err) if err.is_damage() => {
                tracing::error!("{}; the pack stays as it is", chain(&err));
                self.unreadable.insert(place.pack.id);
                Ok(())
            }
            Err(err) => Err(err.into()),
        }
    }

    /// What the newest snapshot does not need, in the order in which it lies.
    fn rest(&mut self, interrupted: &AtomicBool) -> Result<()> {
        let plan = self.plan;
        let mut rest: Vec<(usize, u32, ChunkId)> = Vec::new();
        plan.marks.records.for_each(|number, id, places| -> Result<()> {
            if self.todo.has(number)
                && let Some(place) = plan.table.best(places)
                && let Some(pack) = plan.table.number(&place.pack.id)
            {
                rest.push((pack, place.block_offset, *id));
            }
            Ok(())
        })?;
        rest.sort_unstable();
        rest.dedup_by_key(|(pack, offset, _)| (*pack, *offset));
        for (_, _, id) in rest {
            if interrupted.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(OpError::Interrupted);
            }
            if let Some(number) = plan.marks.records.number(&id)? {
                self.chunk(number, &id)?;
            }
        }
        Ok(())
    }
}

fn is_rewritten(plan: &PrunePlan, place: &Place) -> bool {
    let fate = plan.table.number(&place.pack.id).and_then(|at| plan.fates.get(at));
    fate.is_some_and(|fate| fate.is_rewritten())
}
