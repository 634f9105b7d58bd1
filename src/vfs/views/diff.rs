//! `/diff/<old>..<new>/{added,removed,changed}/…`: what differs between two snapshots.
//!
//! `added` and `changed` hold entries of the new snapshot, `removed` of the old one, each at its
//! path and as it is there, so that all of the old one but `removed`, with `added` and `changed` put
//! over it, is the new one. An entry that became one of another kind is in `removed` and in
//! `added`. What counts as changed is said in [`crate::repo::Difference`]. A directory that is on
//! both sides is shown where there is something in it to show, or in `changed` where it changed
//! itself; one that is on one side only is that snapshot's directory, whole.
//!
//! Snapshots go by their names below `/snapshots`, `latest`, `latest~N`, the start of an id, or the
//! start of a name from its day on (the newest that fits). Any name of a pair but the full one is
//! a link to that: no directory has two names.

use std::sync::Arc;

use crate::repo::{Difference, DirectoryRef, NodeRef};

use super::super::attr::{Attr, Lifetime};
use super::super::error::{Result, VfsError};
use super::super::inode::Directory;
use super::super::layout::{Layout, pair_name};
use super::super::list::FIRST;
use super::super::snapshots::SnapshotRoot;
use super::super::{Entry, Ino, Vfs};
use super::{Alias, Lister, Pair, Part, View, Which};

/// What a pair holds, in the order of listings.
const PARTS: [(&[u8], Which); 3] =
    [(b"added", Which::Added), (b"changed", Which::Changed), (b"removed", Which::Removed)];

/// Digits of an id that name a snapshot.
const ID_DIGITS_MIN: usize = 4;
/// Bytes of a name up to its day.
const DAY_LEN: usize = "2026-11-22".len();

/// What is shown for a name.
enum Shown {
    /// An entry of one of the snapshots, and all below it.
    Whole(NodeRef),
    /// A directory of both; of what is below, what differs.
    Part(NodeRef, NodeRef),
}

impl Pair {
    pub(in super::super) fn new(old: &Arc<SnapshotRoot>, new: &Arc<SnapshotRoot>) -> Self {
        let parent = Self::parent();
        let root = |snapshot: &Arc<SnapshotRoot>| Directory {
            parent,
            snapshot: Arc::clone(snapshot),
            place: None,
        };
        Self { parent, old: root(old), new: root(new) }
    }
}

impl Part {
    /// The directory that is shown, of the snapshot whose entries are.
    pub(super) const fn lead(&self) -> &Directory {
        if self.leads_old() { &self.old } else { &self.new }
    }

    /// Whether that is the old one.
    pub(super) const fn leads_old(&self) -> bool {
        matches!(self.which, Which::Removed)
    }
}

/// The snapshot that goes by `word`.
fn resolve<'l>(layout: &'l Layout, word: &str) -> Option<&'l Arc<SnapshotRoot>> {
    let all = &layout.snapshots;
    if let Some(back) = word.strip_prefix("latest") {
        let back = match back.strip_prefix('~') {
            Some(number) => number.parse::<usize>().ok()?,
            None if back.is_empty() => 0,
            None => return None,
        };
        return all.iter().rev().nth(back);
    }
    if let Some(exact) = all.iter().find(|snapshot| snapshot.name == word) {
        return Some(exact);
    }
    if word.len() >= ID_DIGITS_MIN {
        let mut fitting = all.iter().filter(|one| one.id.to_string().starts_with(word));
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => return Some(only),
            (Some(_), Some(_)) => return None,
            (None, _) => {}
        }
    }
    let is_day = word.len() >= DAY_LEN;
    all.iter().rev().find(|snapshot| is_day && snapshot.name.starts_with(word))
}

impl Vfs {
    /// A pair by one of the names that are not listed.
    pub(in super::super) fn lookup_pair(&self, layout: &Layout, name: &[u8]) -> Result<Entry> {
        let words = std::str::from_utf8(name).ok().and_then(|name| name.split_once(".."));
        let (old, new) = words.ok_or(VfsError::NotFound)?;
        let (old, new) =
            resolve(layout, old).zip(resolve(layout, new)).ok_or(VfsError::NotFound)?;
        let target = pair_name(old, new);
        let view = if target == name {
            View::Pair(Arc::new(Pair::new(old, new)))
        } else {
            View::Alias(Arc::new(Alias { name: name.to_vec(), target }))
        };
        let attr = self.hold_view(layout, view)?;
        Ok(Entry { attr, lifetime: Lifetime::Short })
    }

    fn hold_part_of_pair(
        &self,
        layout: &Layout,
        parent: Ino,
        pair: &Pair,
        (name, which): (&[u8], Which),
    ) -> Result<Attr> {
        let (old, new) = (pair.old.clone(), pair.new.clone());
        let part = Part { parent, name: name.to_vec(), which, old, new };
        self.hold_view(layout, View::Part(Arc::new(part)))
    }

    pub(super) fn lookup_in_pair(
        &self,
        layout: &Layout,
        parent: Ino,
        pair: &Pair,
        name: &[u8],
    ) -> Result<Entry> {
        let part = PARTS.into_iter().find(|(known, _)| *known == name);
        let attr = self.hold_part_of_pair(layout, parent, pair, part.ok_or(VfsError::NotFound)?)?;
        Ok(Entry { attr, lifetime: Lifetime::Forever })
    }

    pub(super) fn list_pair(
        &self,
        layout: &Layout,
        ino: Ino,
        pair: &Pair,
        lister: &mut Lister<'_, '_>,
    ) -> Result<()> {
        for (part, offset) in PARTS.into_iter().zip(FIRST..) {
            if offset < lister.offset {
                continue;
            }
            let attr = self.hold_part_of_pair(layout, ino, pair, part)?;
            if !self.offer_held(lister, part.0, attr, Lifetime::Forever, offset + 1) {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn part_node(&self, part: &Part) -> Result<NodeRef> {
        self.directory_node(part.lead())
    }

    /// Both directories that a part compares.
    fn part_directories(&self, part: &Part) -> Result<(DirectoryRef, DirectoryRef)> {
        let directory = |directory| -> Result<DirectoryRef> {
            let node = self.directory_node(directory)?;
            DirectoryRef::of(&node.body).ok_or(VfsError::NotDirectory)
        };
        Ok((directory(&part.old)?, directory(&part.new)?))
    }

    /// What a part shows of an entry that is as stated on either side.
    fn part_entry(
        &self,
        which: Which,
        old: Option<NodeRef>,
        new: Option<NodeRef>,
    ) -> Result<Option<Shown>> {
        let (old, new) = match (old, new, which) {
            (None, Some(node), Which::Added) | (Some(node), None, Which::Removed) => {
                return Ok(Some(Shown::Whole(node)));
            }
            (Some(old), Some(new), _) => (old, new),
            _ => return Ok(None),
        };
        let how = Difference::between(&old, &new);
        if how.kind {
            return Ok(match which {
                Which::Added => Some(Shown::Whole(new)),
                Which::Removed => Some(Shown::Whole(old)),
                Which::Changed => None,
            });
        }
        let Some((below_old, below_new)) =
            DirectoryRef::of(&old.body).zip(DirectoryRef::of(&new.body))
        else {
            let is_shown = which == Which::Changed && how.any();
            return Ok(is_shown.then_some(Shown::Whole(new)));
        };
        let below = || {
            let summary = self.summary(below_old, below_new);
            summary.map(|seen| seen.has(which)).map_err(VfsError::about(&new.name))
        };
        let is_shown = (which == Which::Changed && how.any()) || below()?;
        Ok(is_shown.then_some(Shown::Part(old, new)))
    }

    fn hold_shown(&self, layout: &Layout, parent: Ino, part: &Part, shown: &Shown) -> Result<Attr> {
        match shown {
            Shown::Whole(node) => self.hold_child(parent, part.lead(), node),
            Shown::Part(old, new) => {
                let name = new.name.clone();
                let (old, new) = (part.old.child(parent, old), part.new.child(parent, new));
                let (old, new) = old.zip(new).ok_or(VfsError::Invalid)?;
                let part = Part { parent, name, which: part.which, old, new };
                self.hold_view(layout, View::Part(Arc::new(part)))
            }
        }
    }

    pub(super) fn lookup_in_part(
        &self,
        layout: &Layout,
        parent: Ino,
        part: &Part,
        name: &[u8],
    ) -> Result<Entry> {
        let (old, new) = self.part_directories(part)?;
        let find = |directory: DirectoryRef| {
            self.repo.lookup(directory.page, name).map_err(VfsError::about(name))
        };
        let shown =
            self.part_entry(part.which, find(old)?, find(new)?)?.ok_or(VfsError::NotFound)?;
        let attr = self.hold_shown(layout, parent, part, &shown)?;
        Ok(Entry { attr, lifetime: Lifetime::Forever })
    }

    /// An entry's offset is its position in the directory that is shown, as in a snapshot.
    pub(super) fn list_part(
        &self,
        layout: &Layout,
        ino: Ino,
        part: &Part,
        lister: &mut Lister<'_, '_>,
    ) -> Result<()> {
        let about = || VfsError::about(b"directory");
        let (old, new) = self.part_directories(part)?;
        let lead = if part.which == Which::Removed { old } else { new };
        let begin = lister.offset - FIRST;
        let at = self.repo.leaf_at(lead.page, begin).map_err(about())?;
        let first = at
            .as_ref()
            .and_then(|at| at.leaf.nodes.get(usize::try_from(begin.checked_sub(at.first)?).ok()?));
        let Some(first) = first else { return Ok(()) };
        for found in self.repo.differences(old, new, &first.name) {
            let found = found.map_err(about())?;
            let lead = if part.which == Which::Removed { &found.old } else { &found.new };
            let Some(position) = lead.as_ref().map(|side| side.position) else { continue };
            if position < begin {
                continue;
            }
            let (old, new) = (found.old.map(|side| side.node), found.new.map(|side| side.node));
            let Some(shown) = self.part_entry(part.which, old, new)? else { continue };
            let attr = self.hold_shown(layout, ino, part, &shown)?;
            let (Shown::Whole(node) | Shown::Part(_, node)) = &shown;
            if !self.offer_held(lister, &node.name, attr, Lifetime::Forever, position + FIRST + 1) {
                break;
            }
        }
        Ok(())
    }
}
