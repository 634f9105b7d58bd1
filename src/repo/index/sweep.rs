//! Segments without what a prune removes.
//!
//! A new segment is durable before those that it replaces go, and names them, so that a kill in
//! between leaves the index as it was or as it will be. A segment that another one in force has
//! replaced goes as well. Merges that run at the same time may bring records of doomed packs back:
//! nobody relies on them, for the decisions that name the packs stay, and the next prune sweeps
//! them.

use std::collections::HashSet;
use std::sync::Arc;

use crate::format::index::SegmentMerge;
use crate::format::{Folder, ObjectKey, PackId, SegmentId, limits};
use crate::repo::error::{InObject, RepoError, Result};

use super::Index;
use super::open::OpenSegment;

impl Index {
    /// Replaces the segments that name a doomed pack by ones that do not, and removes all that are
    /// replaced; returns how many were removed.
    pub(crate) fn sweep(&self, doomed: &HashSet<PackId>) -> Result<u64> {
        let mut group: Vec<Arc<OpenSegment>> = Vec::new();
        let mut sum = 0;
        for open in self.segments().iter() {
            if !open.names_any(doomed)? {
                continue;
            }
            open.check_whole().in_object(&open.object())?;
            let len = open.segment.len() as u64;
            if !group.is_empty() && sum + len > limits::SEGMENT_RECORDS_MAX {
                self.merge_group(&std::mem::take(&mut group), doomed)?;
                sum = 0;
            }
            sum += len;
            group.push(Arc::clone(open));
        }
        if !group.is_empty() {
            self.merge_group(&group, doomed)?;
        }
        self.delete_replaced()
    }

    /// Removes segments that another one, which is whole and in force, replaces.
    fn delete_replaced(&self) -> Result<u64> {
        let stored: HashSet<_> =
            self.storage.list(Folder::Index)?.into_iter().filter_map(|listed| listed.key).collect();
        let mut deleted = 0;
        for open in self.segments().iter() {
            let replaced: Vec<SegmentId> = open.segment.replaces().collect();
            let stored_ones =
                replaced.into_iter().map(ObjectKey::Segment).filter(|it| stored.contains(it));
            let stored_ones: Vec<_> = stored_ones.collect();
            if stored_ones.is_empty() || !stored.contains(&open.object()) {
                continue;
            }
            open.check_whole().in_object(&open.object())?;
            for object in stored_ones {
                match self.storage.delete(&object) {
                    Err(err) if err.is_not_found() => {}
                    result => {
                        result?;
                        deleted += 1;
                    }
                }
            }
        }
        Ok(deleted)
    }
}

impl OpenSegment {
    fn names_any(&self, packs: &HashSet<PackId>) -> Result<bool> {
        for pack in self.segment.packs() {
            if packs.contains(&pack.in_object(&self.object())?.id) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The union of segments without what lies in doomed packs.
pub(super) fn plan<'a>(
    group: &'a [Arc<OpenSegment>],
    replaces: Vec<SegmentId>,
    doomed: &HashSet<PackId>,
) -> Result<SegmentMerge<'a, super::open::Body>> {
    let segments: Vec<_> = group.iter().map(|open| &open.segment).collect();
    SegmentMerge::plan_without(&segments, replaces, |id| !doomed.contains(id))
        .map_err(|err| RepoError::malformed("the union of index segments", err))
}
