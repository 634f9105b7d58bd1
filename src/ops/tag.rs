//! Tag: what snapshots are found by, and whether they may ever be forgotten.

use crate::format::{Snapshot, SnapshotId};
use crate::repo::{Marker, Repository, SnapshotFilter, TagState};

use super::{Result, forget};

/// What to change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagEdit {
    /// These and no others, before any is added or removed.
    pub set: Option<Vec<String>>,
    /// To add.
    pub add: Vec<String>,
    /// To remove.
    pub remove: Vec<String>,
    /// Whether it must never be forgotten; `None` leaves that as it is.
    pub protect: Option<bool>,
}

/// One snapshot after the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// The snapshot.
    pub id: SnapshotId,
    /// Whether anything was changed.
    pub changed: bool,
    /// Its tags now.
    pub tags: Vec<String>,
    /// Whether it must never be forgotten.
    pub protected: bool,
}

impl TagEdit {
    /// Makes the change. A tag stands once, in the order in which it came.
    pub fn apply(&self, state: &mut TagState) {
        let before = self.set.as_ref().unwrap_or(&state.tags).iter().chain(&self.add);
        let mut tags: Vec<String> = Vec::new();
        for tag in before.filter(|tag| !self.remove.contains(tag)) {
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        state.tags = tags;
        state.protected = self.protect.unwrap_or(state.protected);
    }
}

/// What [`run`] would make of the snapshots of these names.
///
/// # Errors
/// Where a name means no snapshot or several; where there would be too many tags.
pub fn plan(
    repo: &Repository,
    names: &[String],
    filter: &SnapshotFilter,
    edit: &TagEdit,
) -> Result<Vec<Tagged>> {
    let snapshots = forget::named(&mut repo.snapshots()?, names, filter)?;
    let marks = repo.marks()?;
    let tagged = |snapshot: &Snapshot| -> Result<Tagged> {
        let (changed, state) = marks.after(snapshot, |state| edit.apply(state))?;
        Ok(Tagged { id: snapshot.id, changed, tags: state.tags, protected: state.protected })
    };
    snapshots.iter().map(tagged).collect()
}

/// Changes the snapshots of these names.
///
/// # Errors
/// Where a name means no snapshot or several, before anything is changed; where there would be too
/// many tags.
pub fn run(
    repo: &Repository,
    names: &[String],
    filter: &SnapshotFilter,
    edit: &TagEdit,
    by: &Marker,
) -> Result<Vec<Tagged>> {
    let snapshots = forget::named(&mut repo.snapshots()?, names, filter)?;
    let mut marks = repo.marks()?;
    let mut tagged = |snapshot: &Snapshot| -> Result<Tagged> {
        let changed = repo.retag(&mut marks, snapshot, by, |state| edit.apply(state))?;
        let id = snapshot.id;
        let tags = marks.tags(id).unwrap_or(&snapshot.tags).to_vec();
        Ok(Tagged { id, changed, tags, protected: marks.is_protected(id) })
    };
    snapshots.iter().map(&mut tagged).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(edit: &TagEdit, tags: &[&str]) -> Vec<String> {
        let tags = tags.iter().map(ToString::to_string).collect();
        let mut state = TagState { tags, protected: true };
        edit.apply(&mut state);
        assert!(state.protected, "left as it is");
        state.tags
    }

    #[test]
    fn tags_stand_once_in_the_order_in_which_they_came() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let add = TagEdit { add: words(&["b", "c", "c"]), ..TagEdit::default() };
        assert_eq!(after(&add, &["a", "b", "a"]), ["a", "b", "c"]);
        let remove = TagEdit { remove: words(&["a", "x"]), ..add.clone() };
        assert_eq!(after(&remove, &["a", "b"]), ["b", "c"]);
        let set = TagEdit { set: Some(Vec::new()), ..add };
        assert_eq!(after(&set, &["a"]), ["b", "c"]);
    }
}
