//! Whether anything below two directories was added, removed or changed.
//!
//! A directory of `/diff` shows only those directories in which there is something to see, which
//! takes looking below each. The answers are kept by the two pages, so that going down through
//! a comparison reads each page once; and looking stops as soon as everything was seen.

use lru::LruCache;
use std::num::NonZeroUsize;

use crate::format::ChunkId;
use crate::repo::{Difference, Differences, Differing, DirectoryRef, RepoError};
use crate::sync::lock;

use super::super::Vfs;
use super::Which;

/// Answers kept: 6 MB.
const KEPT: NonZeroUsize = NonZeroUsize::new(1 << 16).unwrap();

/// The pages of a directory, old and new.
type Pages = (Option<ChunkId>, Option<ChunkId>);

pub(super) type Summaries = LruCache<Pages, Summary>;

pub(super) fn cache() -> Summaries {
    LruCache::new(KEPT)
}

/// What there is below a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Summary {
    added: bool,
    removed: bool,
    changed: bool,
}

impl Summary {
    const ALL: Self = Self { added: true, removed: true, changed: true };

    pub(super) const fn has(self, which: Which) -> bool {
        match which {
            Which::Added => self.added,
            Which::Removed => self.removed,
            Which::Changed => self.changed,
        }
    }

    const fn or(self, other: Self) -> Self {
        Self {
            added: self.added || other.added,
            removed: self.removed || other.removed,
            changed: self.changed || other.changed,
        }
    }

    /// What an entry of that kind of difference shows, and the two directories to look into where
    /// it is one on both sides.
    fn of(found: &Differing) -> (Self, Option<(DirectoryRef, DirectoryRef)>) {
        let (old, new) = match (&found.old, &found.new) {
            (Some(old), Some(new)) => (&old.node, &new.node),
            (old, new) => {
                let none = Self::default();
                return (Self { added: new.is_some(), removed: old.is_some(), ..none }, None);
            }
        };
        let how = Difference::between(old, new);
        let own = Self { added: how.kind, removed: how.kind, changed: !how.kind && how.any() };
        (own, DirectoryRef::of(&old.body).zip(DirectoryRef::of(&new.body)))
    }
}

/// A directory that is being looked through.
struct Level<'r> {
    pages: Pages,
    differences: Differences<'r>,
    seen: Summary,
}

impl Vfs {
    /// What differs below two directories.
    pub(super) fn summary(
        &self,
        old: DirectoryRef,
        new: DirectoryRef,
    ) -> Result<Summary, RepoError> {
        let mut levels: Vec<Level<'_>> = Vec::new();
        let mut answer = self.enter(old, new, &mut levels);
        while let Some(level) = levels.last_mut() {
            level.seen = level.seen.or(answer);
            answer = Summary::default();
            let next = if level.seen == Summary::ALL { None } else { level.differences.next() };
            let Some(found) = next.transpose()? else {
                answer = level.seen;
                lock(&self.views.summaries).put(level.pages, answer);
                levels.pop();
                continue;
            };
            let (own, below) = Summary::of(&found);
            level.seen = level.seen.or(own);
            if let Some((old, new)) = below {
                answer = self.enter(old, new, &mut levels);
            }
        }
        Ok(answer)
    }

    /// The answer where it is known, else nothing yet and one more level.
    fn enter<'r>(
        &'r self,
        old: DirectoryRef,
        new: DirectoryRef,
        levels: &mut Vec<Level<'r>>,
    ) -> Summary {
        let pages = (old.page, new.page);
        if old.page == new.page {
            return Summary::default();
        }
        if let Some(known) = lock(&self.views.summaries).get(&pages) {
            return *known;
        }
        let differences = self.repo.differences(old, new, b"");
        levels.push(Level { pages, differences, seen: Summary::default() });
        Summary::default()
    }
}
