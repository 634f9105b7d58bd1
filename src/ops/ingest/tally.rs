//! What an ingest counts: each file by how it stands to the parent snapshot's of that name,
//! whether it was read for that or not.

use crate::format::{Body, Node, Owner};
use crate::repo::NodeRef;

use super::IngestOptions;

/// Counts of one ingest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) files_new: u64,
    pub(super) files_changed: u64,
    pub(super) files_unchanged: u64,
    pub(super) files_failed: u64,
    pub(super) directories: u64,
    pub(super) others: u64,
    pub(super) excluded: u64,
    /// Logical bytes of the files that are taken.
    pub(super) bytes: u64,
}

/// How a file stands to the parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The parent has nothing of that name.
    New,
    /// Content or metadata differ.
    Changed,
    /// Both are equal.
    Unchanged,
}

impl Tally {
    /// Counts a file of so many bytes.
    pub(super) const fn file(&mut self, change: Change, size: u64) {
        let count = match change {
            Change::New => &mut self.files_new,
            Change::Changed => &mut self.files_changed,
            Change::Unchanged => &mut self.files_unchanged,
        };
        *count += 1;
        self.bytes = self.bytes.saturating_add(size);
    }

    /// Both together.
    #[must_use]
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            files_new: self.files_new + other.files_new,
            files_changed: self.files_changed + other.files_changed,
            files_unchanged: self.files_unchanged + other.files_unchanged,
            files_failed: self.files_failed + other.files_failed,
            directories: self.directories + other.directories,
            others: self.others + other.others,
            excluded: self.excluded + other.excluded,
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// How a file whose content is known stands to the parent's entry of its name. Times of access are
/// no change, nor is what the user wants to be ignored.
pub(super) fn change(
    before: Option<&NodeRef>,
    node: &Node,
    owner: &Owner,
    options: &IngestOptions,
) -> Change {
    let Some(before) = before else { return Change::New };
    let same = has_content_of(&before.body, &node.body)
        && !node.unstable
        && (before.mode, before.mtime) == (node.mode, node.mtime)
        && before.xattrs == node.xattrs
        && before.owner() == owner
        && (options.ignore_ctime || before.ctime == node.ctime)
        && (options.ignore_inode || before.inode == node.inode);
    if same { Change::Unchanged } else { Change::Changed }
}

/// The same of a stream, whose metadata are made up.
pub(super) fn change_of_stream(before: Option<&NodeRef>, body: &Body) -> Change {
    match before {
        None => Change::New,
        Some(before) if has_content_of(&before.body, body) => Change::Unchanged,
        Some(_) => Change::Changed,
    }
}

/// Whether both are files of the same bytes.
fn has_content_of(before: &Body, now: &Body) -> bool {
    match (before, now) {
        (Body::File(before), Body::File(now)) => now.has_bytes_of(before),
        _ => false,
    }
}
