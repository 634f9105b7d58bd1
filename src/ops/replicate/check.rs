//! Proving a copy before it is committed: every page that is new there is read, every chunk that a
//! new file refers to has a place that can be relied on, and is read back where that is asked.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::format::{Body, ChunkId, Extent, File};
use crate::ops::OpError;
use crate::repo::{NodeRef, RepoError, Repository, Session};
use crate::sync::lock;

use super::failure::Failure;
use super::{ReplicateOptions, check, threads};

/// Chunks that are read back at a time: those of one block are neighbours here too.
const BATCH: usize = 64;
/// Chunks that are known to be wanted before they are read back.
const WAITING_MAX: usize = 16 << 10;

/// Checks one tree at the destination.
pub(super) struct Check<'a> {
    pub(super) to: &'a Repository,
    pub(super) session: &'a Session<'a>,
    pub(super) options: &'a ReplicateOptions,
    pub(super) interrupted: &'a AtomicBool,
}

impl Check<'_> {
    /// Checks what is below the page and not below that of an older copy.
    pub(super) fn tree(&self, page: Option<ChunkId>, old: Option<NodeRef>) -> Result<(), Failure> {
        let old = old.and_then(|node| top(&node.body)).unwrap_or_default();
        let (mut stack, mut waiting) = (vec![(page, old)], Vec::new());
        while let Some((page, old)) = stack.pop() {
            check(self.interrupted)?;
            if page == old || page.is_none() {
                continue;
            }
            let mut before = self.to.entries(old).peekable();
            for node in self.to.entries(page) {
                let node = node?;
                let smaller = |other: &NodeRef| other.name < node.name;
                while before.next_if(|next| next.as_ref().map_or(true, smaller)).is_some() {}
                let is_same =
                    |next: &_| matches!(next, Ok::<NodeRef, _>(it) if it.name == node.name);
                let old = before.next_if(is_same).and_then(Result::ok);
                match &node.body {
                    Body::Directory { page, .. } => {
                        let old = old.and_then(|old| top(&old.body)).unwrap_or_default();
                        stack.push((*page, old));
                    }
                    Body::File(file) if old.is_none_or(|old| old.body != node.body) => {
                        self.file(file, &mut waiting)?;
                    }
                    _ => {}
                }
            }
        }
        self.read_back(&mut waiting)
    }

    fn file(&self, file: &File, waiting: &mut Vec<Extent>) -> Result<(), Failure> {
        let mut at = 0;
        while let Some(placed) = self.to.extent_at(file, at)? {
            let extent = placed.extent;
            at = placed.offset + extent.len;
            if extent.is_hole() {
                continue;
            }
            if !self.session.has_chunk(&extent.id) {
                return Err(RepoError::ChunkMissing { chunk: extent.id }.into());
            }
            if self.options.verify {
                waiting.push(extent);
                if waiting.len() >= WAITING_MAX {
                    self.read_back(waiting)?;
                }
            }
        }
        Ok(())
    }

    /// Reads chunks, several at a time.
    fn read_back(&self, waiting: &mut Vec<Extent>) -> Result<(), Failure> {
        let work: Vec<&[Extent]> = waiting.chunks(BATCH).collect();
        let (next, first) = (AtomicUsize::new(0), Mutex::new(None));
        let read = || {
            while let Some(extents) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(failure) = extents.iter().try_for_each(|extent| self.chunk(extent)) {
                    next.store(work.len(), Ordering::Relaxed);
                    lock(&first).get_or_insert(failure);
                }
            }
        };
        let count = threads(self.options).min(work.len());
        let panicked = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..count).map(|_| scope.spawn(read)).collect();
            let joined: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            joined.iter().any(Result::is_err)
        });
        if panicked {
            return Err(OpError::Panicked.into());
        }
        waiting.clear();
        let first = lock(&first).take();
        first.map_or(Ok(()), Err)
    }

    fn chunk(&self, extent: &Extent) -> Result<(), Failure> {
        check(self.interrupted)?;
        let len = self.to.chunk(&extent.id)?.len() as u64;
        if len == extent.len {
            return Ok(());
        }
        let what = format!("holds {len} bytes where {} are listed", extent.len);
        Err(RepoError::Corrupt { object: format!("chunk {}", extent.id), what }.into())
    }
}

/// The top page of a directory.
const fn top(body: &Body) -> Option<Option<ChunkId>> {
    match body {
        Body::Directory { page, .. } => Some(*page),
        _ => None,
    }
}
