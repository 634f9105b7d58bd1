//! Marks beside snapshots: which are forgotten, what they are tagged now, which are protected.
//!
//! A snapshot is never changed, so what is decided about it later stands in objects of its own:
//! `forgotten/<S>` says that it may be pruned, and the `tags/<S>/<number>` with the highest number
//! says what its tags are now and whether it is protected. Who tags creates the next number, and
//! begins again from what holds then where another was faster.
//!
//! What must stay true: no damage and no race makes a snapshot go that somebody wants.
//! - *Protected wins*: a snapshot with both marks is there like any other.
//! - A mark that cannot be read counts as the safe side: a damaged `forgotten/<S>` as none, a
//!   damaged record of tags as "protected" (with the tags of the record before). Verify names both,
//!   and writing the mark again puts it right.
//! - Marks are listed before snapshots, so whoever lists sees a snapshot at most a moment longer
//!   than it is there, and reading it then says that it is gone.
//! - What takes a mark back, or protects, looks into `gc/` *afterwards*: a generation that names the
//!   snapshot by then may delete it, and so it fails. A generation that is created later reads the
//!   marks again before its decision.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::format::{
    Folder, Forgotten, FrameKind, Generation, ObjectKey, Snapshot, SnapshotId, Tagging, Time,
    limits,
};

use super::Repository;
use super::error::{InObject, RepoError, Result};

/// A mark that could not be read is tried again after this long: a repair may have put it right.
const DAMAGED_RETRY: Duration = Duration::from_secs(60);
/// Others who may tag the same snapshot at the same time before it is given up.
const TAGGERS_MAX: usize = 100;

/// All marks, as they were when last looked at.
#[derive(Debug, Default)]
pub struct Marks {
    forgotten: BTreeMap<SnapshotId, ForgottenMark>,
    tags: BTreeMap<SnapshotId, Tags>,
}

#[derive(Debug)]
enum ForgottenMark {
    Sound,
    Damaged(Damage),
}

/// What the records of one snapshot say.
#[derive(Debug)]
struct Tags {
    /// The highest there is.
    number: u64,
    /// `None` where no record can be read: the snapshot's own hold.
    tags: Option<Vec<String>>,
    protected: bool,
    /// Of the highest record.
    damage: Option<Damage>,
}

#[derive(Debug)]
struct Damage {
    error: RepoError,
    tried: Instant,
}

impl Damage {
    fn new(error: RepoError) -> Self {
        Self { error, tried: Instant::now() }
    }

    fn is_due(&self) -> bool {
        self.tried.elapsed() >= DAMAGED_RETRY
    }
}

/// Who writes a mark, and when.
#[derive(Debug, Clone)]
pub struct Marker {
    /// The host.
    pub host: String,
    /// The time, for people.
    pub now: Time,
}

/// Tags and protection of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagState {
    /// All its tags.
    pub tags: Vec<String>,
    /// Whether it must never be forgotten.
    pub protected: bool,
}

impl Marks {
    /// Whether a snapshot may be pruned, and is shown nowhere.
    #[must_use]
    pub fn is_forgotten(&self, id: SnapshotId) -> bool {
        matches!(self.forgotten.get(&id), Some(ForgottenMark::Sound)) && !self.is_protected(id)
    }

    /// Whether a snapshot must never be forgotten.
    #[must_use]
    pub fn is_protected(&self, id: SnapshotId) -> bool {
        self.tags.get(&id).is_some_and(|tags| tags.protected)
    }

    /// All snapshots that may be pruned.
    #[must_use]
    pub fn forgotten(&self) -> BTreeSet<SnapshotId> {
        self.forgotten.keys().copied().filter(|&id| self.is_forgotten(id)).collect()
    }

    /// All snapshots that must never be forgotten.
    #[must_use]
    pub fn protected(&self) -> BTreeSet<SnapshotId> {
        self.tags.iter().filter(|(_, tags)| tags.protected).map(|(id, _)| *id).collect()
    }

    /// The tags that a snapshot has now; `None` where those of its record hold.
    #[must_use]
    pub fn tags(&self, id: SnapshotId) -> Option<&[String]> {
        self.tags.get(&id)?.tags.as_deref()
    }

    /// Gives a snapshot, as stored, the tags that it has now.
    pub fn apply(&self, snapshot: &mut Snapshot) {
        if let Some(tags) = self.tags(snapshot.id) {
            snapshot.tags = tags.to_vec();
        }
    }

    /// What could not be read.
    pub fn into_damaged(self) -> impl Iterator<Item = RepoError> {
        let forgotten = self.forgotten.into_values().filter_map(|mark| match mark {
            ForgottenMark::Damaged(damage) => Some(damage.error),
            ForgottenMark::Sound => None,
        });
        let tags = self.tags.into_values().filter_map(|tags| Some(tags.damage?.error));
        forgotten.chain(tags)
    }

    /// Looks again: two listings, and a read of each mark that was not there before. Says whether
    /// anything changed. After an error it is as it was.
    pub fn refresh(&mut self, repo: &Repository) -> Result<bool> {
        let (marked, numbers) = (repo.listed_forgotten()?, repo.listed_tags()?);
        let gone = self.forgotten.len() + self.tags.len();
        self.forgotten.retain(|id, _| marked.contains(id));
        self.tags.retain(|id, _| numbers.contains_key(id));
        let mut changed = self.forgotten.len() + self.tags.len() != gone;
        for id in marked {
            let known = match self.forgotten.get(&id) {
                None => false,
                Some(ForgottenMark::Sound) => true,
                Some(ForgottenMark::Damaged(damage)) => !damage.is_due(),
            };
            if !known && let Some(mark) = repo.look_at_forgotten(id) {
                self.forgotten.insert(id, mark);
                changed = true;
            }
        }
        for (id, numbers) in numbers {
            let same = |tags: &Tags| {
                numbers.last() == Some(&tags.number)
                    && !tags.damage.as_ref().is_some_and(Damage::is_due)
            };
            if !self.tags.get(&id).is_some_and(same)
                && let Some(tags) = repo.look_at_tags(id, &numbers)
            {
                self.tags.insert(id, tags);
                changed = true;
            }
        }
        Ok(changed)
    }
}

impl Repository {
    /// All marks. Read them *before* listing snapshots.
    pub fn marks(&self) -> Result<Marks> {
        let mut marks = Marks::default();
        marks.refresh(self)?;
        Ok(marks)
    }

    /// Snapshots that may be pruned: marked as forgotten, readably, and not protected. A prune asks
    /// again before it decides.
    pub fn forgotten(&self) -> Result<BTreeSet<SnapshotId>> {
        Ok(self.marks()?.forgotten())
    }

    /// Marks a snapshot as one that may be pruned; whether it was not before. A damaged mark is
    /// replaced. The caller has seen that it is not protected; where somebody protects it now,
    /// protected wins.
    pub fn forget(&self, snapshot: SnapshotId, by: &Marker) -> Result<bool> {
        let object = ObjectKey::Forgotten(snapshot);
        let repository = self.vault().repository();
        let mark = Forgotten { repository, snapshot, at: by.now, host: by.host.clone() };
        match self.put_framed(&object, FrameKind::Forgotten, mark.encode()) {
            Err(err) if err.is_already_exists() => {}
            put => return put.map(|()| true),
        }
        match self.read_forgotten(snapshot) {
            Ok(_) => return Ok(false),
            Err(err) if err.is_not_found() => {}
            Err(err) if err.is_damage() => drop(self.delete_if_there(&object)?),
            Err(err) => return Err(err),
        }
        self.put_framed(&object, FrameKind::Forgotten, mark.encode())?;
        Ok(true)
    }

    /// Takes [`Self::forget`] back; whether there was a mark.
    ///
    /// # Errors
    /// [`RepoError::BeingPruned`] where a prune may delete it already: it stays forgotten then.
    pub fn unforget(&self, snapshot: SnapshotId, by: &Marker) -> Result<bool> {
        self.refuse_named_by_prune(snapshot)?;
        if !self.delete_if_there(&ObjectKey::Forgotten(snapshot))? {
            return Ok(false);
        }
        if let Err(err) = self.refuse_named_by_prune(snapshot) {
            self.forget(snapshot, by)?;
            return Err(err);
        }
        Ok(true)
    }

    /// Changes tags and protection of a snapshot as `edit` says, from what holds now; whether that
    /// was a change. `edit` is asked again where another was faster. `snapshot` has the tags of its
    /// record or those of `marks`, which are brought up to date.
    ///
    /// # Errors
    /// [`RepoError::TooManyTags`]; [`RepoError::BeingPruned`] where a snapshot is protected too
    /// late.
    pub fn retag(
        &self,
        marks: &mut Marks,
        snapshot: &Snapshot,
        by: &Marker,
        edit: impl Fn(&mut TagState),
    ) -> Result<bool> {
        let mut tries = 0..TAGGERS_MAX;
        loop {
            let (number, before, sound) = marks.state_of(snapshot);
            let mut after = before.clone();
            edit(&mut after);
            if sound && after == before {
                return Ok(false);
            }
            match self.put_tagging(snapshot.id, number, &after, by) {
                Err(err) if err.is_already_exists() && tries.next().is_some() => {
                    marks.refresh(self)?;
                }
                put => {
                    put?;
                    let TagState { tags, protected } = after;
                    let written = Tags { number, tags: Some(tags), protected, damage: None };
                    marks.tags.insert(snapshot.id, written);
                    return Ok(true);
                }
            }
        }
    }

    fn put_tagging(
        &self,
        snapshot: SnapshotId,
        number: u64,
        state: &TagState,
        by: &Marker,
    ) -> Result<()> {
        check_count(snapshot, state)?;
        let object = ObjectKey::Tags(snapshot, number);
        let TagState { tags, protected } = state.clone();
        let repository = self.vault().repository();
        let (at, host) = (by.now, by.host.clone());
        let record = Tagging { repository, snapshot, number, at, host, tags, protected };
        self.put_framed(&object, FrameKind::Tagging, record.encode())?;
        if protected { self.refuse_named_by_prune(snapshot) } else { Ok(()) }
    }

    fn listed_forgotten(&self) -> Result<BTreeSet<SnapshotId>> {
        let id = |key| match key {
            ObjectKey::Forgotten(id) => Some(id),
            _ => None,
        };
        Ok(self.storage().names(Folder::Forgotten)?.into_iter().filter_map(id).collect())
    }

    /// Numbers of the records by snapshot, in ascending order.
    fn listed_tags(&self) -> Result<BTreeMap<SnapshotId, BTreeSet<u64>>> {
        let mut numbers: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
        for key in self.storage().names(Folder::Tags)? {
            if let ObjectKey::Tags(id, number) = key {
                numbers.entry(id).or_default().insert(number);
            }
        }
        Ok(numbers)
    }

    fn look_at_forgotten(&self, id: SnapshotId) -> Option<ForgottenMark> {
        match self.read_forgotten(id) {
            Ok(_) => Some(ForgottenMark::Sound),
            Err(err) if err.is_not_found() => None,
            Err(err) => Some(ForgottenMark::Damaged(Damage::new(err))),
        }
    }

    /// What the highest of these records says; where it cannot be read, the tags of the next one
    /// that can, and that it is protected.
    fn look_at_tags(&self, id: SnapshotId, numbers: &BTreeSet<u64>) -> Option<Tags> {
        let mut found = Tags { number: 0, tags: None, protected: false, damage: None };
        let mut highest = None;
        for &number in numbers.iter().rev() {
            match self.read_tagging(id, number) {
                Ok(record) => {
                    highest = highest.or(Some(number));
                    found.protected |= record.protected;
                    found.tags = Some(record.tags);
                    break;
                }
                Err(err) if err.is_not_found() => {} // gone since it was listed
                Err(err) => {
                    highest = highest.or(Some(number));
                    found.protected = true;
                    found.damage.get_or_insert_with(|| Damage::new(err));
                }
            }
        }
        highest.map(|number| Tags { number, ..found })
    }

    fn read_forgotten(&self, id: SnapshotId) -> Result<Forgotten> {
        let object = ObjectKey::Forgotten(id);
        let payload = self.read_framed(&object, FrameKind::Forgotten)?;
        Forgotten::decode(&payload, self.vault().repository(), id).in_object(&object)
    }

    fn read_tagging(&self, id: SnapshotId, number: u64) -> Result<Tagging> {
        let object = ObjectKey::Tags(id, number);
        let payload = self.read_framed(&object, FrameKind::Tagging)?;
        Tagging::decode(&payload, self.vault().repository(), id, number).in_object(&object)
    }

    /// An error where a generation of prune names the snapshot: what it decided cannot be taken
    /// back.
    pub(crate) fn refuse_named_by_prune(&self, snapshot: SnapshotId) -> Result<()> {
        for entry in self.storage().list(Folder::Gc)? {
            let (object, kind, number) = match entry.key {
                Some(object @ ObjectKey::Candidates(n)) => (object, FrameKind::Candidates, n),
                Some(object @ ObjectKey::Decision(n)) => (object, FrameKind::Decision, n),
                _ => continue,
            };
            let payload = match self.read_framed(&object, kind) {
                Err(err) if err.is_not_found() => continue,
                payload => payload?,
            };
            let repository = self.vault().repository();
            let record = Generation::decode(&payload, repository, number).in_object(&object)?;
            if record.snapshots.binary_search(&snapshot).is_ok() {
                return Err(RepoError::BeingPruned { snapshot, object });
            }
        }
        Ok(())
    }
}

impl Marks {
    /// Whether an edit would change what holds of a snapshot, and what would hold then.
    ///
    /// # Errors
    /// Where there would be too many tags.
    pub fn after(
        &self,
        snapshot: &Snapshot,
        edit: impl Fn(&mut TagState),
    ) -> Result<(bool, TagState)> {
        let (_, before, sound) = self.state_of(snapshot);
        let mut after = before.clone();
        edit(&mut after);
        check_count(snapshot.id, &after)?;
        Ok((!sound || after != before, after))
    }

    /// The number of the next record, what holds now, and whether that could be read: what could
    /// not is replaced even by its like.
    fn state_of(&self, snapshot: &Snapshot) -> (u64, TagState, bool) {
        let own = || snapshot.tags.clone();
        match self.tags.get(&snapshot.id) {
            None => (0, TagState { tags: own(), protected: false }, true),
            Some(Tags { number, tags, protected, damage }) => {
                let tags = tags.clone().unwrap_or_else(own);
                let state = TagState { tags, protected: *protected };
                (number.saturating_add(1), state, damage.is_none())
            }
        }
    }
}

fn check_count(snapshot: SnapshotId, state: &TagState) -> Result<()> {
    let (count, max) = (state.tags.len(), limits::TAGS_MAX);
    match count > max {
        true => Err(RepoError::TooManyTags { snapshot, count, max }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
