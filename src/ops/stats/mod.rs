//! Stats: what a repository holds and what that costs, from listings, the index and the trees.
//!
//! No content is read. Segments are sorted, so distinct chunks are counted by merging them in place: the figures of
//! 100 million chunks take no memory and one pass over the index.

mod alone;
mod classes;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::{ChunkId, Folder, PackKind, Time, Totals};
use crate::repo::{RepoError, Repository};

use super::verify::Coverage;
use super::{OpError, Result};
pub use alone::{Alone, Held, alone, held};
pub use classes::{ClassCounter, ClassSums, FileSum};

/// A number of things and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// Bytes of all.
    pub bytes: u64,
}

impl Sum {
    const fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// What a repository holds.
#[derive(Debug, Default)]
pub struct StatsReport {
    /// Readable snapshots.
    pub snapshots: u64,
    /// Time of the oldest and of the newest.
    pub span: Option<(Time, Time)>,
    /// Sums over all snapshots: what restoring each of them would give.
    pub totals: Totals,
    /// Files of all snapshots by chunk class; their sums are those of `totals`.
    pub classes: ClassSums,
    /// Distinct chunks of content; plain bytes.
    pub data_chunks: Sum,
    /// Distinct chunks of metadata (tree and extent pages); plain bytes.
    pub meta_chunks: Sum,
    /// Packs of content; stored bytes.
    pub data_packs: Sum,
    /// Packs of metadata; stored bytes.
    pub meta_packs: Sum,
    /// Index segments; stored bytes.
    pub segments: Sum,
    /// All objects; stored bytes.
    pub stored: Sum,
    /// Files of writes that were stopped, or are under way; no objects.
    pub temporaries: Sum,
    /// How much of the packs was verified lately.
    pub coverage: Coverage,
    /// Snapshots and directories that cannot be read.
    pub damaged: Vec<RepoError>,
}

/// Adds it all up.
pub fn run(repo: &Repository, interrupted: &AtomicBool) -> Result<StatsReport> {
    let mut report = StatsReport::default();
    let list = repo.snapshots()?;
    let mut counter = ClassCounter::new(repo, interrupted);
    for snapshot in &list.snapshots {
        report.classes.add(&counter.count(&Repository::root(snapshot))?);
        let totals = snapshot.totals();
        report.snapshots += 1;
        report.totals.files += totals.files;
        report.totals.directories += totals.directories;
        report.totals.others += totals.others;
        report.totals.size += totals.size;
        report.totals.data += totals.data;
    }
    if let (Some(first), Some(last)) = (list.snapshots.first(), list.snapshots.last()) {
        report.span = Some((first.time, last.time));
    }
    report.damaged = list.damaged;
    report.damaged.extend(counter.into_damaged());
    count_objects(repo, &mut report)?;
    report.coverage = Coverage::now(repo, &repo.all_packs()?, crate::clock::now())?;
    count_chunks(repo, &mut report, interrupted)?;
    Ok(report)
}

fn count_objects(repo: &Repository, report: &mut StatsReport) -> Result<()> {
    for folder in Folder::ALL {
        let listed = repo.storage().list(folder).map_err(RepoError::from)?;
        for object in listed.iter().filter(|object| object.key.is_some()) {
            report.stored.add(object.len);
            match folder {
                Folder::Data => report.data_packs.add(object.len),
                Folder::Meta => report.meta_packs.add(object.len),
                Folder::Index => report.segments.add(object.len),
                _ => {}
            }
        }
    }
    for file in repo.storage().temporaries().map_err(RepoError::from)? {
        report.temporaries.add(file.len);
    }
    Ok(())
}

/// How many chunks pass between two looks at the interrupt flag.
const CHUNKS_PER_LOOK: u64 = 1 << 16;

fn count_chunks(
    repo: &Repository,
    report: &mut StatsReport,
    interrupted: &AtomicBool,
) -> Result<()> {
    let segments = repo.index().segments();
    let mut cursors: Vec<_> = segments.iter().map(|segment| segment.iter()).collect();
    let mut next = BinaryHeap::new();
    for (number, cursor) in cursors.iter_mut().enumerate() {
        if let Some(record) = cursor.next() {
            let (id, place) = record?;
            next.push(Reverse((id, number, place.pack.kind, place.chunk_len)));
        }
    }
    let mut last: Option<ChunkId> = None;
    let mut passed = 0_u64;
    while let Some(Reverse((id, number, kind, len))) = next.pop() {
        if last != Some(id) {
            match kind {
                PackKind::Data => report.data_chunks.add(u64::from(len)),
                PackKind::Meta => report.meta_chunks.add(u64::from(len)),
            }
            last = Some(id);
        }
        if let Some(record) = cursors.get_mut(number).and_then(Iterator::next) {
            let (id, place) = record?;
            next.push(Reverse((id, number, place.pack.kind, place.chunk_len)));
        }
        passed += 1;
        if passed.is_multiple_of(CHUNKS_PER_LOOK) && interrupted.load(Ordering::Relaxed) {
            return Err(OpError::Interrupted);
        }
    }
    Ok(())
}
