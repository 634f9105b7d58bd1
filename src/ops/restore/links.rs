//! Hard links: the first name of an inode is restored, the others are linked to it when it is
//! complete, so that an inode never has two makers and a failed one never a second name.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::format::HardLink;
use crate::localfs::Found;

use super::lock;

/// The inodes with several names that were met so far.
#[derive(Debug, Default)]
pub(super) struct Links {
    groups: Mutex<HashMap<u64, Group>>,
    changed: Condvar,
    /// Which group an inode that stood in the target already was kept for.
    kept: Mutex<HashMap<(u64, u64), u64>>,
}

#[derive(Debug)]
struct Group {
    /// First name: the directory below the target, and the name in it.
    first: (Vec<u8>, Vec<u8>),
    state: State,
    names_left: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Pending,
    Complete,
    Failed,
}

/// How a further name of an inode is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// The first name is not complete yet.
    Pending,
    /// By a link to this name of this directory below the target.
    Link(Vec<u8>, Vec<u8>),
    /// Not at all: the first name could not be restored.
    Failed,
}

impl Links {
    /// Counts a name; whether it is the first of its inode, whose maker then says how it went by
    /// [`First`].
    pub(super) fn is_first(&self, link: HardLink, dir: &[u8], name: &[u8]) -> bool {
        match lock(&self.groups).entry(link.group) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                let first = (dir.to_vec(), name.to_vec());
                let names_left = link.count.saturating_sub(1);
                entry.insert(Group { first, state: State::Pending, names_left });
                true
            }
        }
    }

    /// What to link a further name to; with `wait`, never [`Target::Pending`].
    pub(super) fn target(&self, group: u64, wait: bool) -> Target {
        let mut groups = lock(&self.groups);
        loop {
            let Some(found) = groups.get_mut(&group) else { return Target::Failed };
            match found.state {
                State::Pending if wait => {
                    groups = self.changed.wait(groups).unwrap_or_else(PoisonError::into_inner);
                }
                State::Pending => return Target::Pending,
                State::Failed => return Target::Failed,
                State::Complete => {
                    let (dir, name) = found.first.clone();
                    found.names_left = found.names_left.saturating_sub(1);
                    // All names that the source had: no further one can come.
                    if found.names_left == 0 {
                        groups.remove(&group);
                    }
                    return Target::Link(dir, name);
                }
            }
        }
    }

    /// Whether an inode of the target may stay as one of this group: no other group has it.
    pub(super) fn may_keep(&self, found: &Found, group: u64) -> bool {
        let inode = (found.device, found.inode);
        *lock(&self.kept).entry(inode).or_insert(group) == group
    }

    fn settle(&self, group: u64, state: State) {
        if let Some(found) = lock(&self.groups).get_mut(&group) {
            found.state = state;
        }
        self.changed.notify_all();
    }
}

/// Held by the job that makes the first name; dropped before it is complete, the name failed.
pub(super) struct First<'a> {
    links: &'a Links,
    group: u64,
    complete: bool,
}

impl<'a> First<'a> {
    pub(super) fn new(links: &'a Links, group: u64) -> Self {
        Self { links, group, complete: false }
    }

    pub(super) const fn group(&self) -> u64 {
        self.group
    }

    /// The inode is there with content and metadata.
    pub(super) fn complete(mut self) {
        self.complete = true;
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        let state = if self.complete { State::Complete } else { State::Failed };
        self.links.settle(self.group, state);
    }
}
