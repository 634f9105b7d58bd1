//! Merging segments, so that a look-up asks few of them.
//!
//! Any number of writers may merge at once, also the same segments: a merged segment is one more
//! object, written create-only, that knows all places of those that it names as replaced. Whoever
//! sees it leaves those alone; whoever does not uses them, and both find the same. Two that replace
//! the same ones hold everything twice until the next merge. What is replaced stays stored until a
//! prune removes it. A writer merges while its session lives, so that a prune waits for it.
//!
//! A segment that is not whole is not merged and not replaced: a fresh copy of it, or a repair, may
//! know what the damaged bytes do not. What its places lie in is not asked: a union loses nothing,
//! but what lies in packs that a prune has decided to delete.

use std::collections::HashSet;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::format::index::{Segment, SegmentMerge};
use crate::format::{Folder, ObjectKey, PackId, SegmentId, limits};
use crate::repo::error::{RepoError, Result};

use super::Index;
use super::cache::{BodyFile, WriteAt, log_cache, map};
use super::open::{Body, OpenSegment};
use super::stored::{CopyError, UNNAMED, seal_into};
use super::sweep;

/// So many segments of one tier are merged, into one of a higher tier. By simulation, a first ingest
/// of 100 million chunks in early segments of 4096 writes each record 7.2 times and has 9.1 segments
/// in force on average, of which 3.7 have more than 400,000 records; with 4, 8.2 times and 11.0; with
/// 2, 8.0 times and 7.1, of which 4.9 are large, and each small ingest would merge.
const FACTOR: usize = 3;
/// Up to here each tier is so many times as wide as the one below. By simulation, 10,000 ingests of 3
/// records each with no prune between them write 31 MB of segments, of which 3 MB are lists of what
/// is replaced, and leave at most 12 in force; with one tier for all below 256, 119 MB, 16 MB and 6.
const SMALL_FACTOR: u64 = 8;
/// From this weight on each tier is [`FACTOR`] times as wide as the one below.
const LARGE: u64 = 4096;
/// Most segments in force that a merge leaves.
const SEGMENTS_MAX: usize = 16;

/// What a segment costs whoever writes it again: its records, and the segments that it lists as
/// replaced. So a list is copied once for each time that it grows by a factor, as records are, also
/// where many small ingests come before a prune and lists outgrow records.
fn weight(segment: &Segment<Body>) -> u64 {
    (segment.len() + segment.replaces().len()) as u64
}

fn tier(weight: u64) -> u32 {
    match weight.max(1) {
        small if small < LARGE * FACTOR as u64 => small.ilog(SMALL_FACTOR),
        large => LARGE.ilog(SMALL_FACTOR) + (large / LARGE).ilog(FACTOR as u64),
    }
}

/// Which segments to merge into one, as positions in `weights`, those of all of them: a tier
/// that is full, with what its union fills in turn; else, where there are too many segments, the
/// smallest ones. `None` where all is well.
fn group(weights: &[u64]) -> Option<Vec<usize>> {
    let cap = limits::SEGMENT_RECORDS_MAX;
    let mut order: Vec<(u64, usize)> = weights.iter().copied().zip(0..).collect();
    order.retain(|(len, _)| *len <= cap / 2);
    order.sort_unstable();
    let (mut chosen, mut sum) = (Vec::new(), 0);
    for of_tier in order.chunk_by(|a, b| tier(a.0) == tier(b.0)) {
        let own = of_tier.first().map_or(0, |(len, _)| tier(*len));
        let carried = usize::from(!chosen.is_empty() && tier(sum) == own);
        if of_tier.len() + carried >= FACTOR {
            take(of_tier, &mut chosen, &mut sum);
        }
    }
    if chosen.is_empty() && order.len() > SEGMENTS_MAX {
        let surplus = order.len() - SEGMENTS_MAX / 2;
        take(order.get(..surplus).unwrap_or_default(), &mut chosen, &mut sum);
    }
    (chosen.len() > 1).then_some(chosen)
}

/// Adds segments to a group as long as the union keeps to the cap.
fn take(segments: &[(u64, usize)], chosen: &mut Vec<usize>, sum: &mut u64) {
    for (len, at) in segments {
        if *sum + len <= limits::SEGMENT_RECORDS_MAX {
            *sum += len;
            chosen.push(*at);
        }
    }
}

impl Index {
    /// Merges segments until no tier is full, without what lies in `doomed` packs; returns how many
    /// merged segments it wrote. Needs a live session.
    pub(crate) fn merge(&self, doomed: &HashSet<PackId>) -> Result<u64> {
        let mut merged = 0;
        while let Some(group) = self.next_group() {
            self.merge_group(&group, doomed)?;
            merged += 1;
        }
        Ok(merged)
    }

    /// The next segments to merge, all of them whole.
    fn next_group(&self) -> Option<Vec<Arc<OpenSegment>>> {
        loop {
            let mut fit = self.segments().to_vec();
            fit.retain(|open| !open.unfit.load(Ordering::Relaxed));
            let weights: Vec<u64> = fit.iter().map(|open| weight(&open.segment)).collect();
            let chosen: Vec<_> =
                group(&weights)?.into_iter().filter_map(|at| fit.get(at).cloned()).collect();
            let mut all_whole = true;
            for open in &chosen {
                if let Err(what) = open.check_whole() {
                    tracing::warn!("{} is not merged: {what}", open.object());
                    open.unfit.store(true, Ordering::Relaxed);
                    all_whole = false;
                }
            }
            if all_whole {
                return Some(chosen);
            }
        }
    }

    /// Writes the union of segments that are whole, without what lies in `doomed` packs.
    pub(super) fn merge_group(
        &self,
        group: &[Arc<OpenSegment>],
        doomed: &HashSet<PackId>,
    ) -> Result<()> {
        let merge = sweep::plan(group, self.replaced_by(group)?, doomed)?;
        let folder = self.cache.as_deref();
        let written = self.write_merged(&merge, folder).or_else(|err| match (err, folder) {
            (CopyError::File(err), Some(path)) => {
                log_cache(path, &err);
                self.write_merged(&merge, None)
            }
            (err, _) => Err(err),
        });
        let open = written.map_err(|err| err.of_temporary(&UNNAMED))?;
        tracing::debug!("{} replaces {} segments", open.object(), group.len());
        self.insert(Arc::new(open));
        Ok(())
    }

    /// The members of a group, and what they replace themselves and is still there: it must not
    /// come back when they go.
    fn replaced_by(&self, group: &[Arc<OpenSegment>]) -> Result<Vec<SegmentId>> {
        let mut replaces: Vec<SegmentId> = group.iter().map(|open| open.id).collect();
        let stored = self.storage.list(Folder::Index)?.into_iter();
        let stored: HashSet<_> = stored.filter_map(|listed| listed.key).collect();
        for open in group {
            let there = |id: &SegmentId| stored.contains(&ObjectKey::Segment(*id));
            replaces.extend(open.segment.replaces().filter(there));
        }
        replaces.sort_unstable();
        replaces.dedup();
        Ok(replaces)
    }

    /// Writes, checks, seals and publishes.
    fn write_merged(
        &self,
        merge: &SegmentMerge<'_, Body>,
        folder: Option<&Path>,
    ) -> Result<OpenSegment, CopyError> {
        let file = BodyFile::create(folder)?;
        let (ids_at, places_at) = merge.offsets();
        let at = |offset| BufWriter::new(WriteAt { file: file.file(), offset });
        let (mut head, mut ids, mut places) = (at(0), at(ids_at), at(places_at));
        merge.write(&mut head, &mut ids, &mut places)?;
        for out in [&mut head, &mut ids, &mut places] {
            out.flush()?;
        }
        drop((head, ids, places));
        let body = Body::Mapped(file.finish()?);
        let unsound = |err| RepoError::malformed("a merged index segment", err);
        Segment::open(body.as_ref()).and_then(|segment| segment.check()).map_err(unsound)?;
        let id = self.publish(body.as_ref(), folder)?;
        if let Some(path) = self.cache_file(id)
            && let Err(err) = file.keep(&path)
        {
            log_cache(&path, &err);
        }
        Ok(OpenSegment::new(id, body).map_err(unsound)?)
    }

    /// Stores a body that is too long for the heap.
    fn publish(&self, body: &[u8], folder: Option<&Path>) -> Result<SegmentId, CopyError> {
        let folder = folder.map_or_else(std::env::temp_dir, Path::to_owned);
        let sealed = tempfile::tempfile_in(folder)?;
        let mut out = BufWriter::new(&sealed);
        let id = seal_into(&self.vault, body, &mut out)?;
        out.flush()?;
        let stored = map(&sealed)?;
        self.storage.put_new(&ObjectKey::Segment(id), &stored).map_err(RepoError::from)?;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What merging leaves, and how many records it wrote.
    fn settle(mut sizes: Vec<u64>) -> (Vec<u64>, u64) {
        let mut written = 0;
        while let Some(chosen) = group(&sizes) {
            let sum = chosen.iter().map(|at| sizes[*at]).sum();
            written += sum;
            let mut at = 0..;
            sizes.retain(|_| !chosen.contains(&at.next().unwrap()));
            sizes.push(sum);
        }
        (sizes, written)
    }

    #[test]
    fn a_tier_is_merged_when_it_is_full_and_not_before() {
        assert_eq!(group(&[]), None);
        assert_eq!(group(&[10; 2]), None);
        assert_eq!(group(&[10; 3]), Some((0..3).collect()));
        assert_eq!(group(&[40_000, 10, 10, 10]), Some((1..4).collect()));
        // What the lowest tier gives fills the next, so both are merged at once.
        let mut sizes = vec![10_000; 3];
        sizes.extend([20_000; 2]);
        assert_eq!(group(&sizes), Some((0..5).collect()));
    }

    #[test]
    fn segments_at_the_cap_are_left_alone() {
        let cap = limits::SEGMENT_RECORDS_MAX;
        assert_eq!(group(&[cap; 40]), None);
        let chosen = group(&[cap / 3; 9]).unwrap();
        assert_eq!(chosen.len(), 3, "as many as the cap allows");
    }

    #[test]
    fn a_large_first_ingest_writes_each_record_a_few_times() {
        let (mut sizes, mut written, mut most) = (Vec::new(), 0, 0);
        let (early, count) = (4096, 25_000); // 100 million chunks
        for _ in 0..count {
            sizes.push(early);
            most = most.max(sizes.len());
            let (left, now) = settle(sizes);
            sizes = left;
            written += now;
        }
        assert!(written <= 8 * early * count, "{} times", written / (early * count));
        assert!(most <= SEGMENTS_MAX + 1, "{most} segments");
    }

    #[test]
    fn many_small_ingests_write_each_record_a_few_times() {
        let (mut sizes, mut written) = (Vec::new(), 0);
        let (each, count) = (3, 1000);
        for _ in 0..count {
            sizes.push(each);
            let (left, now) = settle(sizes);
            sizes = left;
            written += now;
        }
        assert!(written <= 8 * each * count, "{} times", written / (each * count));
        assert!(sizes.len() <= 8, "{sizes:?}");
    }

    proptest! {
        #[test]
        fn few_segments_are_left_and_no_record_is_lost(
            sizes in prop::collection::vec((0_u32..30).prop_map(|bits| 1_u64 << bits), 0..200),
        ) {
            let sum: u64 = sizes.iter().sum();
            let (left, _) = settle(sizes);
            // What is near the cap is left alone, however much there is of it.
            let small = left.iter().filter(|len| **len <= limits::SEGMENT_RECORDS_MAX / 2);
            prop_assert!(small.count() <= SEGMENTS_MAX, "{:?}", left);
            prop_assert_eq!(left.iter().sum::<u64>(), sum);
        }
    }
}
