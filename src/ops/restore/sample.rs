//! A sample of a tree's files, chosen so that it has at least a share of the files and of the bytes.
//!
//! Which files these are is decided by a hash of their path and a seed, so every part of a tree has
//! the same chance, and another seed draws others. Directories, links, devices and files with
//! several names are always in it: without them a sample would not be a tree.
//!
//! Memory does not grow with the tree: hashes fall into [`BUCKETS`], and the sample is the buckets
//! below a number.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::format::Body;
use crate::ops::path::{Resolved, walk};
use crate::ops::{OpError, Result};
use crate::repo::{NodeRef, Repository};

/// Classes of files, all about equally large.
const BUCKETS: u32 = 1 << 16;

/// Which files of a tree are restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    seed: u64,
    /// Buckets below this one are in it.
    below: u32,
}

/// How much of a tree a sample is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SampleSize {
    /// Files in it.
    pub files: u64,
    /// Bytes of content in it, holes left out.
    pub bytes: u64,
    /// Files of the tree.
    pub files_all: u64,
    /// Bytes of the tree.
    pub bytes_all: u64,
    /// Files that are in any sample: those of several names.
    pub files_always: u64,
    /// Their bytes.
    pub bytes_always: u64,
}

impl SampleSize {
    /// How many times what was drawn is all that could have been, by files or by bytes, whichever
    /// is more. What is in any sample grows with none.
    #[must_use]
    pub fn factor(&self) -> f64 {
        let times = |part: u64, all: u64, always: u64| match part.saturating_sub(always) {
            0 => 1.0,
            part => all.saturating_sub(always) as f64 / part as f64,
        };
        let by_files = times(self.files, self.files_all, self.files_always);
        let by_bytes = times(self.bytes, self.bytes_all, self.bytes_always);
        by_files.max(by_bytes).max(1.0)
    }

    /// That of two samples together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            files: self.files + other.files,
            bytes: self.bytes + other.bytes,
            files_all: self.files_all + other.files_all,
            bytes_all: self.bytes_all + other.bytes_all,
            files_always: self.files_always + other.files_always,
            bytes_always: self.bytes_always + other.bytes_always,
        }
    }
}

impl Sample {
    /// The smallest that there is: all directories and links, and what is in any sample.
    #[must_use]
    pub const fn nothing(self) -> Self {
        Self { below: 0, ..self }
    }

    /// Draws a sample that has `share` (above 0, up to 1) of files and bytes of what was resolved, or more;
    /// those that are in any sample do not count for that.
    ///
    /// # Errors
    /// Where a directory cannot be read: how much there is is not known then.
    pub fn draw(
        repo: &Repository,
        resolved: &Resolved,
        share: f64,
        seed: u64,
    ) -> Result<(Self, SampleSize)> {
        let mut buckets = vec![(0_u64, 0_u64); BUCKETS as usize];
        let (mut always, mut groups) = ((0_u64, 0_u64), HashSet::new());
        let root = joined_len(&resolved.path);
        for walked in walk(repo, &resolved.path, resolved.node.clone()) {
            let walked = walked.map_err(|err| OpError::Input(crate::units::chain(&err)))?;
            let Body::File(file) = &walked.node.body else { continue };
            let below = walked.path.get(root..).unwrap_or_default();
            let counted = match (is_drawn(&walked.node), walked.node.link) {
                (true, _) => buckets.get_mut(bucket(seed, below) as usize),
                (false, link) => {
                    let is_new = link.is_none_or(|link| groups.insert(link.group));
                    Some(&mut always).filter(|_| is_new)
                }
            };
            if let Some((files, bytes)) = counted {
                (*files, *bytes) = (*files + 1, *bytes + file.data);
            }
        }
        let (below, size) = choose(&buckets, always, share);
        Ok((Self { seed, below }, size))
    }

    /// Whether an entry is in the sample; `below` is its path below the root.
    pub(super) fn has(&self, below: &[u8], node: &NodeRef) -> bool {
        !is_drawn(node) || bucket(self.seed, below) < self.below
    }
}

/// Bytes of the root's path and the slash behind it.
fn joined_len(root: &[u8]) -> usize {
    if root.is_empty() || root.ends_with(b"/") { root.len() } else { root.len() + 1 }
}

/// Whether it is left to the draw.
fn is_drawn(node: &NodeRef) -> bool {
    matches!(node.body, Body::File(_)) && node.link.is_none()
}

fn bucket(seed: u64, below: &[u8]) -> u32 {
    let mut hasher = blake3::Hasher::new();
    let hash = hasher.update(&seed.to_le_bytes()).update(below).finalize();
    let [first, second, ..] = *hash.as_bytes();
    u32::from(first) << 8 | u32::from(second)
}

/// The least number of buckets that have the share, and how much that is with what is always there.
fn choose(buckets: &[(u64, u64)], always: (u64, u64), share: f64) -> (u32, SampleSize) {
    let all = buckets.iter().fold((0, 0), |all: (u64, u64), each| (all.0 + each.0, all.1 + each.1));
    let wanted = |all: u64| ((all as f64 * share).ceil() as u64).min(all);
    let (files_min, bytes_min) = (wanted(all.0), wanted(all.1));
    let (mut files, mut bytes, mut below) = (0, 0, 0);
    for (in_files, in_bytes) in buckets {
        if files >= files_min && bytes >= bytes_min {
            break;
        }
        (files, bytes, below) = (files + in_files, bytes + in_bytes, below + 1);
    }
    let (files_always, bytes_always) = always;
    let size = SampleSize {
        files: files + files_always,
        bytes: bytes + bytes_always,
        files_all: all.0 + files_always,
        bytes_all: all.1 + bytes_always,
        files_always,
        bytes_always,
    };
    (below, size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_slower_way_to_count_decides() {
        let size = SampleSize {
            files: 10,
            bytes: 50,
            files_all: 100,
            bytes_all: 1000,
            ..SampleSize::default()
        };
        assert_eq!(size.factor(), 20.0);
        assert_eq!(SampleSize { files: 2, ..size }.factor(), 50.0);
        assert_eq!(SampleSize::default().factor(), 1.0, "nothing is as long as all of it");
        let twice = size.and(size);
        assert_eq!((twice.files, twice.bytes_all, twice.factor()), (20, 2000, 20.0));
        // Five of ten files and 40 of 50 bytes are in any sample: 95 of 5 files, 960 of 10 bytes.
        let some = SampleSize { files_always: 5, bytes_always: 40, ..size };
        assert_eq!(some.factor(), 96.0);
        let only = SampleSize { files: 5, bytes: 40, ..some };
        assert_eq!(only.factor(), 1.0, "nothing was drawn");
    }

    #[test]
    fn paths_fall_into_all_buckets_and_other_seeds_draw_others() {
        let path = |number: u32| format!("a/{number}");
        let low = |seed: u64| {
            (0..2000)
                .filter(|n| bucket(seed, path(*n).as_bytes()) < BUCKETS / 4)
                .collect::<Vec<_>>()
        };
        assert!((400..600).contains(&low(1).len()), "{}", low(1).len());
        assert_ne!(low(1), low(2));
        assert!((0..2000).all(|n| bucket(1, path(n).as_bytes()) < BUCKETS));
    }

    proptest! {
        #[test]
        fn a_sample_has_its_share_and_no_bucket_more(
            buckets in proptest::collection::vec((0_u64..10, 0_u64..1_000_000), 1..50),
            always in (0_u64..5, 0_u64..1000),
            share in 0.001..=1.0,
        ) {
            let (below, size) = choose(&buckets, always, share);
            let has = |count: usize| buckets[..count].iter().fold(always, |a, b| (a.0 + b.0, a.1 + b.1));
            let enough = |(files, bytes): (u64, u64)| {
                let drawn = ((files - always.0) as f64, (bytes - always.1) as f64);
                let all = ((size.files_all - always.0) as f64, (size.bytes_all - always.1) as f64);
                drawn.0 >= all.0 * share && drawn.1 >= all.1 * share
            };
            let below = below as usize;
            prop_assert_eq!(has(below), (size.files, size.bytes));
            prop_assert_eq!(has(buckets.len()), (size.files_all, size.bytes_all));
            prop_assert!(enough(has(below)));
            prop_assert!(below == 0 || !enough(has(below - 1)));
        }
    }
}
