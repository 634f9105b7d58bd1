//! Generations of prune: what each would delete, and what it deletes.
//!
//! A generation is *open* from the creation of its candidates until prune has removed them; it is
//! *decided* once its decision exists. What must stay true (DESIGN section 5):
//! - Creating `gc/<g>.candidates` is create-only and `g` is learned before marking begins, so at
//!   most one generation is open, and what a prune marked is not older than the one before.
//! - A decision stays when all is done: a writer that was evicted may still publish segments that
//!   name its packs, and a prune that slept may still create the candidates of a number that was
//!   used. The highest decision is never removed, so no number is used twice.
//! - A writer reads this before it lists the index.

mod execute;
mod rules;
mod sessions;

use std::collections::{BTreeMap, HashSet};

use crate::format::{Folder, FrameKind, Generation, ObjectKey, PackId, PackKind, SnapshotId};

pub use execute::Swept;
pub use rules::Rules;
pub use sessions::{OpenSession, Pinned};

use super::Repository;
use super::error::{InObject, RepoError, Result};

/// How far a generation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Writers that begin rely on none of its packs, and it is not known which will go.
    Undecided(Generation),
    /// The packs that it names go, or have gone.
    Decided {
        /// What goes.
        decision: Generation,
        /// Whether the candidates are gone: nothing is left to do.
        executed: bool,
    },
}

/// All generations that left a record, by number.
#[derive(Debug, Clone, Default)]
pub struct Generations {
    stages: BTreeMap<u64, Stage>,
}

impl Generations {
    /// The number of a generation that begins now.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.stages.last_key_value().map_or(0, |(number, _)| number + 1)
    }

    /// The lowest that is not executed.
    #[must_use]
    pub fn open(&self) -> Option<&Stage> {
        self.all_open().next()
    }

    /// All that are not executed, by number. At most the last of them is undecided.
    pub fn all_open(&self) -> impl Iterator<Item = &Stage> {
        let open = |stage: &&Stage| !matches!(stage, Stage::Decided { executed: true, .. });
        self.stages.values().filter(open)
    }

    /// How far a generation is; `None` where it left no record.
    #[must_use]
    pub fn stage(&self, number: u64) -> Option<&Stage> {
        self.stages.get(&number)
    }

    /// Packs that a writer may not rely on.
    #[must_use]
    pub fn banned(&self) -> HashSet<PackId> {
        self.stages.values().flat_map(Stage::packs).map(|(_, id)| *id).collect()
    }

    /// Packs that are gone or will go.
    #[must_use]
    pub fn doomed(&self) -> HashSet<PackId> {
        let decided = self.stages.values().filter(|stage| matches!(stage, Stage::Decided { .. }));
        decided.flat_map(Stage::packs).map(|(_, id)| *id).collect()
    }

    /// Snapshots that were decided to go.
    #[must_use]
    pub fn removed_snapshots(&self) -> HashSet<SnapshotId> {
        let decided = self.stages.values().filter_map(|stage| match stage {
            Stage::Decided { decision, .. } => Some(&decision.snapshots),
            Stage::Undecided(_) => None,
        });
        decided.flatten().copied().collect()
    }

    /// Snapshots that are gone or may go.
    #[must_use]
    pub fn snapshots(&self) -> HashSet<SnapshotId> {
        let records = self.stages.values().map(|stage| match stage {
            Stage::Undecided(record) | Stage::Decided { decision: record, .. } => record,
        });
        records.flat_map(|record| record.snapshots.iter().copied()).collect()
    }

    /// Executed generations whose decision was made before `secs` of its clock, without the highest.
    pub fn executed_before(&self, secs: i64) -> impl Iterator<Item = u64> + '_ {
        let highest = self.stages.last_key_value().map(|(number, _)| *number);
        self.stages.iter().filter_map(move |(number, stage)| match stage {
            Stage::Decided { decision, executed: true }
                if Some(*number) != highest && decision.at.secs < secs =>
            {
                Some(*number)
            }
            _ => None,
        })
    }
}

impl Stage {
    fn packs(&self) -> &[(PackKind, PackId)] {
        match self {
            Self::Undecided(record) | Self::Decided { decision: record, .. } => &record.packs,
        }
    }
}

/// What a listing of `gc/` shows of one generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Shown {
    candidates: bool,
    decision: bool,
}

impl Repository {
    /// All generations of prune.
    ///
    /// # Errors
    /// `Unknown` where a later icecore left a record that this one does not know.
    pub fn generations(&self) -> Result<Generations> {
        'again: loop {
            let mut stages = BTreeMap::new();
            for (number, shown) in self.shown_generations()? {
                match self.stage_of(number, shown)? {
                    Some(stage) => drop(stages.insert(number, stage)),
                    // Candidates that went while their decision came: it is listed now.
                    None if !shown.decision => continue 'again,
                    None => {} // a decision that went after its year
                }
            }
            return Ok(Generations { stages });
        }
    }

    /// Two listings in a row that are equal: a folder may be listed while it changes, and one look
    /// could miss both the candidates, as they go, and the decision, as it comes.
    fn shown_generations(&self) -> Result<BTreeMap<u64, Shown>> {
        let mut before = self.list_generations()?;
        loop {
            let now = self.list_generations()?;
            if now == before {
                return Ok(now);
            }
            before = now;
        }
    }

    fn list_generations(&self) -> Result<BTreeMap<u64, Shown>> {
        let mut shown: BTreeMap<u64, Shown> = BTreeMap::new();
        for listed in self.storage().list(Folder::Gc)? {
            match listed.key {
                Some(ObjectKey::Candidates(number)) => {
                    shown.entry(number).or_default().candidates = true;
                }
                Some(ObjectKey::Decision(number)) => {
                    shown.entry(number).or_default().decision = true;
                }
                _ => {
                    let what = "a name that is no record of prune".into();
                    return Err(RepoError::Unknown { object: listed.name, what });
                }
            }
        }
        Ok(shown)
    }

    fn stage_of(&self, number: u64, shown: Shown) -> Result<Option<Stage>> {
        if shown.decision {
            let decision = self.read_generation(ObjectKey::Decision(number), number)?;
            let executed = !shown.candidates;
            return Ok(decision.map(|decision| Stage::Decided { decision, executed }));
        }
        Ok(self.read_generation(ObjectKey::Candidates(number), number)?.map(Stage::Undecided))
    }

    fn read_generation(&self, object: ObjectKey, number: u64) -> Result<Option<Generation>> {
        let payload = match self.read_framed(&object, kind_of(&object)) {
            Err(err) if err.is_not_found() => return Ok(None),
            result => result?,
        };
        let repository = self.vault().repository();
        Generation::decode(&payload, repository, number).in_object(&object).map(Some)
    }

    /// Opens a generation; `false` where the number is taken.
    pub fn put_candidates(&self, record: &Generation) -> Result<bool> {
        self.put_generation(ObjectKey::Candidates(record.number), record)
    }

    /// Decides a generation. Returns the decision that stands: this one, or the one that another
    /// prune was faster with.
    pub fn put_decision(&self, record: &Generation) -> Result<Generation> {
        let object = ObjectKey::Decision(record.number);
        if self.put_generation(object, record)? {
            return Ok(record.clone());
        }
        let there = self.read_generation(object, record.number)?;
        there.ok_or_else(|| RepoError::corrupt(object, "it vanished within its year"))
    }

    /// Brings a generation of which a record is damaged to an end with nothing in it: one that has
    /// no decision, so that nothing of it goes, or one of which all has gone already.
    pub fn void_generation(&self, number: u64) -> Result<()> {
        let nothing = self.generation(number, &crate::fsutil::machine(), Vec::new(), Vec::new());
        let object = ObjectKey::Decision(number);
        if !self.put_generation(object, &nothing)? {
            let kind = kind_of(&object);
            match self.read_generation(object, number) {
                // Another prune was faster: its decision stands, and it removes the candidates.
                Ok(_) => return Ok(()),
                Err(err) if err.is_damage() => {
                    let bytes = self.vault().encode_object(&object, kind, nothing.encode())?;
                    self.storage().replace_damaged(&object, &bytes)?;
                }
                Err(err) => return Err(err),
            }
        }
        self.delete_if_there(&ObjectKey::Candidates(number)).map(drop)
    }

    fn put_generation(&self, object: ObjectKey, record: &Generation) -> Result<bool> {
        match self.put_framed(&object, kind_of(&object), record.encode()) {
            Err(err) if err.is_already_exists() => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// A record of generation `number` that names these.
    #[must_use]
    pub fn generation(
        &self,
        number: u64,
        host: &str,
        mut packs: Vec<(PackKind, PackId)>,
        mut snapshots: Vec<SnapshotId>,
    ) -> Generation {
        packs.sort_unstable();
        packs.dedup();
        snapshots.sort_unstable();
        snapshots.dedup();
        let repository = self.vault().repository();
        let (at, host) = (crate::clock::now(), host.to_owned());
        Generation { repository, number, at, host, packs, snapshots }
    }
}

const fn kind_of(object: &ObjectKey) -> FrameKind {
    match object {
        ObjectKey::Decision(_) => FrameKind::Decision,
        _ => FrameKind::Candidates,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::format::Time;
    use crate::repo::{InitOptions, OpenOptions, Session, Writer};
    use crate::storage::{MemoryStorage, Storage};

    fn repository() -> (Arc<MemoryStorage>, Repository) {
        let storage = Arc::new(MemoryStorage::new());
        Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
        let repo = Repository::open(storage.clone(), None, &OpenOptions::default()).unwrap();
        (storage, repo)
    }

    fn packs(range: std::ops::Range<u8>) -> Vec<(PackKind, PackId)> {
        range.map(|n| (PackKind::Data, PackId([n; 32]))).collect()
    }

    #[test]
    fn candidates_are_banned_until_a_decision_says_which_of_them_go() {
        let (storage, repo) = repository();
        assert_eq!(repo.generations().unwrap().next(), 0);
        let record = |packs| repo.generation(0, "h", packs, Vec::new());
        assert!(repo.put_candidates(&record(packs(1..4))).unwrap());
        assert!(!repo.put_candidates(&record(packs(7..9))).unwrap(), "one at a time");
        let open = repo.generations().unwrap();
        assert_eq!((open.next(), open.banned().len(), open.doomed().len()), (1, 3, 0));
        assert!(matches!(open.open(), Some(Stage::Undecided(it)) if it.packs.len() == 3));

        let stands = repo.put_decision(&record(packs(1..2))).unwrap();
        assert_eq!(repo.put_decision(&record(packs(1..4))).unwrap(), stands, "never twice");
        let decided = repo.generations().unwrap();
        assert_eq!((decided.banned().len(), decided.doomed().len()), (1, 1));
        assert!(matches!(decided.open(), Some(Stage::Decided { executed: false, .. })));

        storage.delete(&ObjectKey::Candidates(0)).unwrap();
        let done = repo.generations().unwrap();
        assert!(done.open().is_none());
        assert_eq!((done.banned().len(), done.next()), (1, 1), "banned for good");
        assert_eq!(done.executed_before(i64::MAX).count(), 0, "the highest is never removed");
    }

    #[test]
    fn a_damaged_generation_comes_to_an_end_with_nothing_in_it() {
        let (storage, repo) = repository();
        storage.put_new(&ObjectKey::Candidates(0), b"damaged").unwrap();
        assert!(repo.generations().is_err());
        repo.void_generation(0).unwrap();
        let done = repo.generations().unwrap();
        assert!(done.open().is_none() && done.banned().is_empty());
        assert_eq!(done.next(), 1, "its number is used");

        storage.put_new(&ObjectKey::Decision(1), b"damaged").unwrap();
        assert!(repo.generations().is_err());
        repo.void_generation(1).unwrap();
        assert_eq!(repo.generations().unwrap().next(), 2);
    }

    #[test]
    fn records_at_their_caps_are_read_again() {
        let (_, repo) = repository();
        let id = |n: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&(n as u64).to_le_bytes());
            id
        };
        let packs =
            (0..crate::format::limits::DOOMED_PACKS_MAX).map(|n| (PackKind::Data, PackId(id(n))));
        let snapshots = (0..crate::format::limits::DOOMED_SNAPSHOTS_MAX)
            .map(|n| SnapshotId(*id(n).first_chunk().unwrap()));
        let record = repo.generation(0, "h", packs.collect(), snapshots.collect());
        assert!(repo.put_candidates(&record).unwrap());
        assert!(repo.generations().unwrap().open() == Some(&Stage::Undecided(record)));
    }

    #[test]
    fn what_no_icecore_of_this_format_wrote_stops_writers_and_prunes() {
        let (storage, repo) = repository();
        storage.put_new(&ObjectKey::Candidates(0), b"no frame").unwrap();
        assert!(repo.generations().is_err());
        let writer = Writer { host: "h".into(), pid: 1 };
        assert!(Session::begin(&repo, writer, Time::default()).is_err());
        assert!(storage.list(Folder::Sessions).unwrap().is_empty(), "no beat stays");
    }
}
