//! Diff: what differs between two snapshots, or between what they hold at one path.
//!
//! Told from tree pages alone; what has one page on both sides is passed over unread
//! ([`crate::repo::Changes`]), so the cost follows what differs and not what there is.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::{Body, Snapshot, Totals};
use crate::repo::{
    Change, Changes, Difference, DirectoryRef, NodeRef, PathChange, RepoError, Repository,
};

use super::path::{descend, joined};
use super::{OpError, Result};

/// What two snapshots hold at one path.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The path, from `/`, as it is written here.
    pub path: Vec<u8>,
    /// What the first snapshot holds there.
    pub old: Option<NodeRef>,
    /// What the second one does.
    pub new: Option<NodeRef>,
}

/// Finds a path in two snapshots.
///
/// # Errors
/// Where neither holds it.
pub fn pair(repo: &Repository, old: &Snapshot, new: &Snapshot, path: &[u8]) -> Result<Pair> {
    let find = |snapshot: &Snapshot| match descend(repo, snapshot, path) {
        Ok(found) => Ok(Ok(found)),
        Err(err @ (OpError::Input(_) | OpError::Repo(RepoError::NoSuchPath { .. }))) => {
            Ok(Err(err))
        }
        Err(err) => Err(err),
    };
    match (find(old)?, find(new)?) {
        (Ok((path, old)), Ok((_, new))) => Ok(Pair { path, old: Some(old), new: Some(new) }),
        (Ok((path, old)), Err(_)) => Ok(Pair { path, old: Some(old), new: None }),
        (Err(_), Ok((path, new))) => Ok(Pair { path, old: None, new: Some(new) }),
        (Err(_), Err(err)) => Err(err),
    }
}

/// Everything that differs, a directory before what is in it; paths are those in the snapshots.
/// After an error there is nothing more.
#[must_use]
pub fn changes<'r>(repo: &'r Repository, pair: &Pair) -> Differing<'r> {
    let below = |node: &Option<NodeRef>| {
        node.as_ref().and_then(|node| DirectoryRef::of(&node.body)).unwrap_or_default()
    };
    let first = match (pair.old.clone(), pair.new.clone()) {
        (None, None) => None,
        (None, Some(new)) => Some(Change::Added(new)),
        (Some(old), None) => Some(Change::Removed(old)),
        (Some(old), Some(new)) => {
            let how = Difference::between(&old, &new);
            how.any().then_some(Change::Changed { old, new, how })
        }
    };
    let changes = Some(repo.changes(below(&pair.old), below(&pair.new)));
    Differing { path: pair.path.clone(), first, changes }
}

/// Iterator of [`changes`].
#[derive(Debug)]
pub struct Differing<'r> {
    path: Vec<u8>,
    /// What became of the path itself.
    first: Option<Change>,
    /// What is below it; gone where nobody wants to know.
    changes: Option<Changes<'r>>,
}

impl Differing<'_> {
    /// Does not go into the directory that was told of last. To be called before the next one is
    /// asked for.
    fn pass_over(&mut self, is_top: bool) {
        match &mut self.changes {
            _ if is_top => self.changes = None,
            Some(changes) => changes.pass_over(),
            None => {}
        }
    }
}

impl Iterator for Differing<'_> {
    type Item = Result<PathChange, RepoError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(change) = self.first.take() {
            return Some(Ok(PathChange { path: self.path.clone(), change }));
        }
        let next = self.changes.as_mut()?.next()?;
        Some(next.map(|PathChange { path, change }| PathChange {
            path: joined(&self.path, &path),
            change,
        }))
    }
}

/// By which attributes two versions of an entry differ, in the words of reports. None exactly where
/// [`Difference::between`] finds nothing.
#[must_use]
pub fn attributes(old: &NodeRef, new: &NodeRef) -> Vec<&'static str> {
    let how = Difference::between(old, new);
    if how.kind {
        return vec!["type"];
    }
    let content = match &new.body {
        Body::Symlink { .. } => "target",
        Body::CharDevice { .. } | Body::BlockDevice { .. } => "device",
        _ => "content",
    };
    let is_directory = matches!(new.body, Body::Directory { .. });
    let all = [
        (content, how.content),
        ("mode", old.mode != new.mode),
        ("owner", old.owner() != new.owner()),
        ("mtime", !is_directory && old.mtime != new.mtime),
        ("xattrs", old.xattrs != new.xattrs),
    ];
    all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// Sums of a difference. An entry that became one of another kind was removed and added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiffSums {
    /// What only the second snapshot has.
    pub added: Totals,
    /// What only the first one has.
    pub removed: Totals,
    /// Files and others whose content differs, as they were.
    pub changed_from: Totals,
    /// The same as they are.
    pub changed_to: Totals,
    /// Entries of which only mode, owner, mtime or extended attributes differ.
    pub metadata: Totals,
}

impl DiffSums {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, change: &Change) {
        match change {
            Change::Added(node) => self.added.add(&node.body),
            Change::Removed(node) => self.removed.add(&node.body),
            Change::Changed { old, new, how } if how.kind => {
                self.removed.add(&old.body);
                self.added.add(&new.body);
            }
            Change::Changed { old, new, how } if how.content => {
                self.changed_from.add(&old.body);
                self.changed_to.add(&new.body);
            }
            // What lies below a directory is told on its own.
            Change::Changed { new, .. } => match &new.body {
                Body::Directory { .. } => self.metadata.directories += 1,
                body => self.metadata.add(body),
            },
        }
    }
}

/// Sums up what differs. What is below a directory that is on one side only is known from its node
/// and not read.
///
/// # Errors
/// Where a page cannot be read, or the user interrupts.
pub fn sums(repo: &Repository, pair: &Pair, interrupted: &AtomicBool) -> Result<DiffSums> {
    let mut sums = DiffSums::default();
    let mut changes = changes(repo, pair);
    while let Some(found) = changes.next() {
        let found = found?;
        if interrupted.load(Ordering::Relaxed) {
            return Err(OpError::Interrupted);
        }
        sums.add(&found.change);
        let is_whole = match &found.change {
            Change::Added(_) | Change::Removed(_) => true,
            Change::Changed { how, .. } => how.kind,
        };
        if is_whole {
            changes.pass_over(found.path == pair.path);
        }
    }
    Ok(sums)
}
