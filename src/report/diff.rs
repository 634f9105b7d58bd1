//! What differs between two snapshots.

use serde_json::{Value, json};

use super::{json as as_json, text};
use crate::format::{Snapshot, Totals};
use crate::ops::diff::{DiffSums, Pair, attributes};
use crate::repo::{Change, NodeRef, PathChange};
use crate::units;

/// The letter of a change, as `git diff --name-status` has them, and `P` for properties.
#[must_use]
pub const fn letter(change: &Change) -> char {
    match change {
        Change::Added(_) => 'A',
        Change::Removed(_) => 'D',
        Change::Changed { how, .. } if how.kind => 'T',
        Change::Changed { how, .. } if how.content => 'M',
        Change::Changed { .. } => 'P',
    }
}

/// One change as a line of JSON: the entry as it is (of what was removed, as it was), `change`,
/// and where there are two versions `attributes` and `old`.
#[must_use]
pub fn json(found: &PathChange) -> Value {
    let node = |node: &NodeRef| as_json::node(&found.path, node, node.owner());
    let (entry, change) = match &found.change {
        Change::Added(new) => (node(new), "added"),
        Change::Removed(old) => (node(old), "removed"),
        Change::Changed { new, how, .. } if how.kind => (node(new), "type"),
        Change::Changed { new, how, .. } if how.content => (node(new), "content"),
        Change::Changed { new, .. } => (node(new), "metadata"),
    };
    let mut line = as_json::document(entry);
    if let Some(fields) = line.as_object_mut() {
        fields.insert("change".into(), change.into());
        if let Change::Changed { old, new, .. } = &found.change {
            fields.insert("attributes".into(), attributes(old, new).into());
            let mut old = node(old);
            if let Some(fields) = old.as_object_mut() {
                fields.remove("path");
            }
            fields.insert("old".into(), old);
        }
    }
    line
}

/// The sums as a JSON document.
#[must_use]
pub fn sums_json(old: &Snapshot, new: &Snapshot, pair: &Pair, sums: &DiffSums) -> Value {
    json!({
        "old_snapshot": old.id,
        "new_snapshot": new.id,
        "path": as_json::path(&pair.path),
        "added": as_json::totals(&sums.added),
        "removed": as_json::totals(&sums.removed),
        "changed_from": as_json::totals(&sums.changed_from),
        "changed_to": as_json::totals(&sums.changed_to),
        "metadata": as_json::totals(&sums.metadata),
    })
}

/// The sums in words.
#[must_use]
pub fn sums_text(sums: &DiffSums) -> String {
    if sums.is_empty() {
        return "nothing differs\n".into();
    }
    let DiffSums { added, removed, changed_from, changed_to, metadata } = sums;
    let sized = |totals: &Totals| match entries(totals) {
        none if none.is_empty() => none,
        some => format!("{some}, {}", units::size(totals.size)),
    };
    let changed = match entries(changed_to) {
        none if none.is_empty() => none,
        some => {
            let (was, is) = (units::size(changed_from.size), units::size(changed_to.size));
            format!("{some}, {is} that were {was}")
        }
    };
    let (more, fewer) = (added.size + changed_to.size, removed.size + changed_from.size);
    let total = if more >= fewer {
        format!("{} more", units::size(more - fewer))
    } else {
        format!("{} less", units::size(fewer - more))
    };
    text::facts(&[
        ("added", sized(added)),
        ("removed", sized(removed)),
        ("content changed", changed),
        ("properties changed", entries(metadata)),
        ("all together", total),
    ])
}

/// How many entries of each kind; empty for none.
fn entries(totals: &Totals) -> String {
    let counts =
        [(totals.files, "file"), (totals.directories, "directory"), (totals.others, "other")];
    let some = counts.into_iter().filter(|(count, _)| *count > 0);
    some.map(|(count, what)| text::count(count, what)).collect::<Vec<_>>().join(", ")
}
