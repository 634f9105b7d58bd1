//! Moving the blocks of a window, several at a time.
//!
//! First all blocks but those that are told from chunks which the destination does not have whole.
//! Then those chunks, in packs of their own that the index names before the last step, which moves
//! what waited.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::format::ChunkId;
use crate::ops::OpError;
use crate::repo::{ChunkTransfer, RepoError, Repository, Session, Taken, Waiting};
use crate::sync::lock;

use super::failure::Failure;
use super::window::{Job, Window};
use super::{ReplicateOptions, check, encoder, threads};

/// What moving needs.
#[derive(Clone, Copy)]
pub(super) struct Mover<'a> {
    pub(super) from: &'a Repository,
    pub(super) to: &'a Repository,
    pub(super) session: &'a Session<'a>,
    pub(super) options: &'a ReplicateOptions,
    pub(super) interrupted: &'a AtomicBool,
}

impl Mover<'_> {
    /// Moves all that a window wants, and learns the ids.
    pub(super) fn window(&self, window: &mut Window) -> Result<(), Failure> {
        let jobs: Vec<&Job> = window.jobs.iter().collect();
        let mut done = Vec::new();
        let waiting = self.jobs(window, &jobs, Waiting::Allowed, &mut done)?;
        if !waiting.is_empty() {
            let bases: HashSet<ChunkId> =
                waiting.iter().flat_map(|(_, bases)| bases.iter().copied()).collect();
            // What this session has written is to be found before more is.
            self.session.flush()?;
            self.bring(&bases.into_iter().collect::<Vec<_>>())?;
            self.session.flush()?;
            let jobs: Vec<&Job> = waiting.into_iter().map(|(job, _)| job).collect();
            self.jobs(window, &jobs, Waiting::Refused, &mut done)?;
        }
        window.ids.extend(done);
        window.jobs.clear();
        Ok(())
    }

    /// Moves blocks; gives those that wait, with what they wait for.
    fn jobs<'j>(
        &self,
        window: &Window,
        jobs: &[&'j Job],
        waiting: Waiting,
        done: &mut Vec<(ChunkId, ChunkId)>,
    ) -> Result<Vec<(&'j Job, Vec<ChunkId>)>, Failure> {
        let later = Mutex::new(Vec::new());
        let found = Mutex::new(std::mem::take(done));
        self.in_threads(jobs, |transfer, job| {
            let taken = transfer.take(job.place.as_ref(), &job.wanted, waiting);
            match taken.map_err(|err| Failure::at(&window.path_of(&job.wanted), err))? {
                Taken::Needs(bases) => lock(&later).push((*job, bases)),
                // Those are known already where both sides give the same ones.
                Taken::Chunks(_) if self.from.shares_ids_with(self.to) => {}
                Taken::Chunks(ids) => lock(&found).extend(ids),
            }
            Ok(())
        })?;
        *done = std::mem::take(&mut *lock(&found));
        let later = std::mem::take(&mut *lock(&later));
        Ok(later)
    }

    /// Stores chunks whole that others are told from.
    fn bring(&self, bases: &[ChunkId]) -> Result<(), Failure> {
        self.in_threads(bases, |transfer, base| {
            match transfer.bring(base) {
                // What needs it may be had from elsewhere; else it is named there.
                Err(err) if err.is_damage() => {
                    tracing::warn!("{err}; what is told from it is stored whole");
                }
                brought => brought?,
            }
            Ok(())
        })
    }

    fn in_threads<W: Sync>(
        &self,
        work: &[W],
        each: impl Fn(&mut ChunkTransfer<'_, '_, '_>, &W) -> Result<(), Failure> + Sync,
    ) -> Result<(), Failure> {
        let (next, first) = (AtomicUsize::new(0), Mutex::new(None));
        let run = || -> Result<(), Failure> {
            let encoder = encoder(self.options)?;
            let mut transfer = ChunkTransfer::new(self.from, self.to, self.session, encoder);
            while let Some(work) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                check(self.interrupted)?;
                self.session.beat_when_due()?;
                each(&mut transfer, work)?;
            }
            transfer.finish().map_err(Failure::from)
        };
        let keep = || {
            if let Err(failure) = run() {
                next.store(work.len(), Ordering::Relaxed);
                lock(&first).get_or_insert(failure);
            }
        };
        let count = threads(self.options).min(work.len());
        let panicked = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..count).map(|_| scope.spawn(keep)).collect();
            let joined: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            joined.iter().any(Result::is_err)
        });
        if panicked {
            return Err(OpError::Panicked.into());
        }
        let first = lock(&first).take();
        first.map_or(Ok(()), |failure| match failure.error {
            OpError::Repo(RepoError::Interrupted) => Err(OpError::Interrupted.into()),
            _ => Err(failure),
        })
    }
}
