//! From the number of a directory or a hard-linked inode to its place, by looking for it.
//!
//! These numbers are hashes (of the parent's number and the name; of the snapshot and the link
//! group), which lead nowhere. After a remount a network client may still come with one, so the
//! trees are gone through, newest snapshot first, until something is met that has the number. What
//! has been passed on the way down is put in the attic, as it is what is asked for next.
//!
//! What must stay true: bounded in time and memory whatever is asked for; a number that was looked
//! for in vain is not looked for again until snapshots come or go; one search at a time.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::format::{Body, ChunkId, Time};
use crate::repo::{DirectoryRef, NodeRef, Page, PageAt, RepoError};
use crate::sync::{about_to_block, lock};

use super::attic::Gone;
use super::inode::{self, Class, Directory, Link, Place};
use super::layout::Layout;
use super::snapshots::SnapshotRoot;
use super::{Ino, Vfs};

/// A client waits for about this long before it asks again.
const SEARCH_MAX: Duration = Duration::from_secs(20);
/// Numbers that were looked for in vain are remembered up to this many.
const VAIN_MAX: usize = 4096;

/// What was looked for in vain, and in which picture of the snapshots.
#[derive(Debug, Default)]
pub(super) struct Vain {
    changed: Option<Time>,
    numbers: HashSet<Ino>,
}

impl Vain {
    /// Whether a search for it would find nothing.
    fn has(&mut self, changed: Time, ino: Ino) -> bool {
        if self.changed != Some(changed) || self.numbers.len() >= VAIN_MAX {
            (self.changed, self.numbers) = (Some(changed), HashSet::new());
        }
        self.numbers.contains(&ino)
    }
}

/// A directory on the way down.
#[derive(Debug)]
struct Passed {
    ino: Ino,
    directory: Directory,
    page: Option<ChunkId>,
    above: Option<Rc<Self>>,
}

/// What a search has come to.
enum Step {
    Found(Gone),
    GoOn,
}

impl Vfs {
    /// What has that number in any snapshot that is shown; a directory or a hard-linked inode.
    pub(super) fn search(&self, ino: Ino) -> Option<Gone> {
        about_to_block();
        let _one = self.searches.take();
        let layout = self.snapshots.last();
        if lock(&self.vain).has(layout.changed, ino) {
            return None;
        }
        // The one before may have passed it.
        if let Some(gone) = self.inodes.gone(ino) {
            return Some(gone);
        }
        let end = Instant::now() + SEARCH_MAX;
        let found = self.tops(&layout).into_iter().find_map(|top| self.search_below(ino, top, end));
        if found.is_none() {
            lock(&self.vain).numbers.insert(ino);
        }
        found
    }

    /// Where a search begins: at the directory that is the root, else at every snapshot's.
    fn tops(&self, layout: &Layout) -> Vec<Passed> {
        let top = |ino, directory, node: &NodeRef| {
            let page = DirectoryRef::of(&node.body).and_then(|directory| directory.page);
            Passed { ino, directory, page, above: None }
        };
        if let Some(directory) = self.inodes.directory(self.root) {
            let node = self.directory_node(&directory);
            return node.map(|node| top(self.root, directory, &node)).into_iter().collect();
        }
        let newest_first = layout.snapshots.iter().rev();
        let of = |snapshot: &Arc<SnapshotRoot>| {
            let directory = Directory::of_snapshot(Arc::clone(snapshot));
            top(inode::of_root(snapshot), directory, &snapshot.node)
        };
        newest_first.map(of).collect()
    }

    /// Depth first; what cannot be read is passed over.
    fn search_below(&self, ino: Ino, top: Passed, end: Instant) -> Option<Gone> {
        let mut stack = vec![Rc::new(top)];
        while let Some(passed) = stack.pop() {
            if Instant::now() > end {
                tracing::warn!(
                    "a network client's handle was looked for in vain for {SEARCH_MAX:?}"
                );
                return None;
            }
            let mut pages: Vec<_> = passed.page.map(PageAt::top).into_iter().collect();
            while let Some(at) = pages.pop() {
                match self.search_page(ino, &passed, &at, &mut pages, &mut stack) {
                    Ok(Step::Found(gone)) => {
                        self.remember_way(&passed);
                        return Some(gone);
                    }
                    Ok(Step::GoOn) => {}
                    Err(err) => tracing::debug!("passed over while searching: {err}"),
                }
            }
        }
        None
    }

    fn search_page(
        &self,
        ino: Ino,
        passed: &Rc<Passed>,
        at: &PageAt,
        pages: &mut Vec<PageAt>,
        stack: &mut Vec<Rc<Passed>>,
    ) -> Result<Step, RepoError> {
        let leaf = match self.repo.page_at(at)? {
            Page::Inner(refs) => {
                pages.extend(at.below(&refs));
                return Ok(Step::GoOn);
            }
            Page::Leaf(leaf) => leaf,
        };
        let wants_link = ino.class() == Some(Class::Link);
        let nodes =
            (0..leaf.nodes.len()).filter_map(|n| NodeRef::new(Arc::clone(&leaf), Some(at.id), n));
        for node in nodes {
            let Body::Directory { page, totals, .. } = &node.body else {
                if wants_link && let Some(link) = link_of(passed, &node, ino) {
                    return Ok(Step::Found(Gone::Link(link)));
                }
                continue;
            };
            let Some(directory) = passed.directory.child(passed.ino, &node) else { continue };
            let child = inode::of_directory(passed.ino, &node.name);
            if child == ino {
                return Ok(Step::Found(Gone::Directory(directory)));
            }
            let has_more = if wants_link { totals.files > 0 || totals.others > 0 } else { false };
            if has_more || totals.directories > 0 {
                let above = Some(Rc::clone(passed));
                stack.push(Rc::new(Passed { ino: child, directory, page: *page, above }));
            }
        }
        Ok(Step::GoOn)
    }

    /// Directories from a place up to its snapshot.
    fn remember_way(&self, passed: &Rc<Passed>) {
        let mut at = Some(passed);
        while let Some(passed) = at {
            self.inodes.remember(passed.ino, Gone::Directory(passed.directory.clone()));
            at = passed.above.as_ref();
        }
    }
}

/// The hard-linked inode that a node is a name of, if it has the number.
fn link_of(passed: &Passed, node: &NodeRef, ino: Ino) -> Option<Link> {
    let (group, page) = (node.link?.group, node.page?);
    let snapshot = &passed.directory.snapshot;
    let place = Place { page, number: node.number as u16 };
    let is_it = inode::of_link(snapshot, group) == ino;
    is_it.then(|| Link { snapshot: Arc::clone(snapshot), group, place })
}
