//! What a repository can prove: its snapshots, when its bytes were verified, and what its ledger
//! tells of copies, drills and runs.
//!
//! Listings, and a read of each snapshot and record: no tree and no content. Records that cannot be
//! read, and those that others follow and that are gone, prove nothing and hide no others, but that
//! they are not known is a fact of its own.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use crate::format::{
    Folder, LedgerEvent, LedgerLink, LedgerRecord, ObjectKey, Snapshot, Verified, pack_prefix,
};
use crate::ops::repair::packs::is_lossy;
use crate::repo::{LastVerified, LedgerEntry, REPAIR, RepoError, Repository, StoredPack};
use crate::strategy::evidence::{
    CLOCKS_DIFFER, RepositoryFacts, SnapshotFact, Told, Verification, VerifiedBytes, elapsed,
    prefix_of,
};
use crate::units::chain;

use super::Result;

/// Reads it all.
///
/// # Errors
/// Where the storage cannot be listed or read: then nothing is known.
pub fn gather(repo: &Repository) -> Result<RepositoryFacts> {
    let list = repo.snapshots()?;
    let id = repo.config().repository;
    // What lost content is no copy of what it was made of, nor is what a successor names as hurt.
    let lossy = list.snapshots.iter().filter(|each| is_lossy(each));
    let hurt: BTreeSet<_> = lossy.flat_map(|each| [Some(each.id), each.parent]).flatten().collect();
    let fact = |each: &Snapshot| {
        let fact = SnapshotFact::of(each, id, list.protected.contains(&each.id));
        let is_hurt = hurt.contains(&each.id);
        SnapshotFact { identity: if is_hurt { (id, each.id) } else { fact.identity }, ..fact }
    };
    let mut facts = RepositoryFacts {
        location: place(&repo.location()),
        snapshots: list.snapshots.iter().map(fact).collect(),
        forgotten: repo.forgotten()?.len() as u64,
        damaged: list.damaged.iter().map(ToString::to_string).collect(),
        ..RepositoryFacts::default()
    };
    let packs = stored(repo, &mut facts)?;
    ledger(repo, &packs, &mut facts)?;
    Ok(facts)
}

/// What the records tell, the earliest first. Names of records order them by seconds only, and a
/// verification, a repair and a verification may all come within one.
fn ledger(repo: &Repository, packs: &Packs, facts: &mut RepositoryFacts) -> Result<()> {
    let mut told = Taken::new(packs);
    let mut links = Links::default();
    let mut copy = repo.ledger_copy();
    for (secs, id) in repo.ledger_names()? {
        match repo.read_ledger_with(&mut copy, secs, id) {
            Ok(entry) => {
                links.add(&entry);
                if told.second != secs {
                    told.flush(facts);
                    told.second = secs;
                }
                told.waiting.push(entry.record);
            }
            Err(err) => {
                links.unread.insert(ObjectKey::Ledger(secs, id));
                facts.lost_records.push(chain(&err));
            }
        }
    }
    told.flush(facts);
    copy.keep();
    facts.lost_records.extend(links.lost());
    facts.verified = told.verified();
    Ok(())
}

/// What the ledger's links say of records that are not there, or not what they were.
#[derive(Default)]
struct Links {
    there: HashSet<LedgerLink>,
    followed: HashSet<LedgerLink>,
    unread: HashSet<ObjectKey>,
    /// Those that a repair recorded as lost.
    recorded: HashSet<String>,
}

impl Links {
    fn add(&mut self, entry: &LedgerEntry) {
        self.there.insert(entry.link);
        self.followed.extend(entry.record.previous.iter().copied());
        if let LedgerEvent::Ran(ran) = &entry.record.event
            && ran.part == REPAIR
        {
            self.recorded.insert(ran.name.clone());
        }
    }

    fn lost(&self) -> Vec<String> {
        let known: HashSet<ObjectKey> = self.there.iter().map(LedgerLink::object).collect();
        let wrong = self.followed.difference(&self.there).map(LedgerLink::object);
        let mut wrong: Vec<ObjectKey> = wrong.filter(|it| !self.unread.contains(it)).collect();
        wrong.sort_unstable();
        let words = |object: ObjectKey| match known.contains(&object) {
            true => Some(format!("{object} was changed: others follow another record")),
            false if self.recorded.contains(&object.to_string()) => None,
            false => Some(format!("{object} is missing: others follow it")),
        };
        wrong.into_iter().filter_map(words).collect()
    }
}

/// Records as they are taken in.
struct Taken<'p> {
    packs: &'p Packs,
    last: LastVerified,
    second: u64,
    /// Those of one second.
    waiting: Vec<LedgerRecord>,
}

impl<'p> Taken<'p> {
    fn new(packs: &'p Packs) -> Self {
        let last = LastVerified::of(&packs.all);
        Self { packs, last, second: 0, waiting: Vec::new() }
    }

    fn flush(&mut self, facts: &mut RepositoryFacts) {
        self.waiting.sort_by_key(|record| (record.at, record.id));
        for record in std::mem::take(&mut self.waiting) {
            if let LedgerEvent::Verified(verified) = &record.event {
                // A time that no clock can have proves nothing; but damage is damage.
                let is_ahead = elapsed(record.at, crate::clock::now()) > CLOCKS_DIFFER;
                if is_ahead && verified.damaged_count == 0 {
                    continue;
                }
                if !is_ahead {
                    self.last.add(record.secs(), verified);
                }
                let damaged: Vec<_> =
                    verified.damaged.iter().filter_map(|it| prefix_of(it)).collect();
                self.last.forget(&damaged);
                facts.damage.add(record.at, verified, |prefix| self.packs.has(prefix));
            }
            add(facts, record);
        }
    }

    /// Stored bytes by when they were verified or, where they never were, written.
    fn verified(&self) -> VerifiedBytes {
        let mut bytes = VerifiedBytes::default();
        let now = u64::try_from(crate::clock::now().secs).unwrap_or(0);
        for (pack, written) in self.packs.all.iter().zip(&self.packs.written) {
            match (self.last.get(pack), written.filter(|at| *at <= now + CLOCKS_DIFFER.as_secs())) {
                (Some(at), _) => *bytes.at.entry(at).or_default() += pack.len,
                (None, Some(at)) => *bytes.written.entry(at).or_default() += pack.len,
                (None, None) => bytes.never += pack.len,
            }
        }
        bytes
    }
}

/// All packs, and when each was written, as the medium says.
#[derive(Default)]
struct Packs {
    all: Vec<StoredPack>,
    written: Vec<Option<u64>>,
    /// Of their ids, sorted.
    prefixes: Vec<u64>,
}

impl Packs {
    fn has(&self, prefix: u64) -> bool {
        self.prefixes.binary_search(&prefix).is_ok()
    }
}

/// The folder without links, so that two names for it are seen to be one.
fn place(location: &str) -> String {
    let path = Path::new(location).canonicalize();
    path.map_or_else(|_| location.to_owned(), |path| path.display().to_string())
}

fn stored(repo: &Repository, facts: &mut RepositoryFacts) -> Result<Packs> {
    let mut packs = Packs::default();
    for folder in Folder::ALL {
        let listed = repo.storage().list(folder).map_err(RepoError::from)?;
        for object in listed {
            match (folder, object.key) {
                (Folder::Data | Folder::Meta, Some(ObjectKey::Pack(kind, id))) => {
                    packs.all.push(StoredPack { kind, id, len: object.len });
                    packs.written.push(object.written);
                    packs.prefixes.push(pack_prefix(&id));
                }
                (Folder::Data | Folder::Meta, _) => continue,
                _ => {}
            }
            facts.stored += object.len;
        }
    }
    packs.prefixes.sort_unstable();
    Ok(packs)
}

fn add(facts: &mut RepositoryFacts, record: LedgerRecord) {
    let LedgerRecord { at, host, program, event, .. } = record.clone();
    let record = record.object().to_string();
    match event {
        LedgerEvent::Verified(verified) => {
            let event = verification(verified);
            facts.verifications.push(Told { at, host, program, record, event });
        }
        LedgerEvent::Drilled(event) => facts.drills.push(Told { at, host, program, record, event }),
        LedgerEvent::Ran(event) => facts.runs.push(Told { at, host, program, record, event }),
        LedgerEvent::Replicated(replicated) => {
            let from = replicated.from;
            let copied = replicated.snapshots.iter().map(|each| (from, each.origin));
            let copied: BTreeSet<_> = copied.collect();
            facts.replicated.extend(copied);
        }
    }
}

fn verification(verified: Verified) -> Verification {
    Verification {
        complete: verified.complete,
        bytes_stored: verified.bytes_stored,
        bytes_read: verified.bytes_read,
        damaged_count: verified.damaged_count,
        damaged: verified.damaged,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::format::Time;
    use crate::repo::{InitOptions, OpenOptions};
    use crate::storage::{MemoryStorage, Storage};

    fn repository(options: &OpenOptions) -> (Arc<MemoryStorage>, Repository) {
        let storage = Arc::new(MemoryStorage::new());
        Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
        let repo = Repository::open(storage.clone(), None, options).unwrap();
        (storage, repo)
    }

    fn append(repo: &Repository, nanos: u32, damaged: &[&str]) -> ObjectKey {
        let verified = Verified {
            complete: true,
            damaged_count: damaged.len() as u64,
            damaged: damaged.iter().map(|it| (*it).to_owned()).collect(),
            ..Verified::default()
        };
        let at = Time { secs: 1_790_000_000, nanos };
        repo.append_ledger(at, "host", "test", LedgerEvent::Verified(verified)).unwrap()
    }

    #[test]
    fn records_of_one_second_are_taken_in_by_their_times() {
        // Names of records are random, so every order comes up.
        for _ in 0..20 {
            let (_, repo) = repository(&OpenOptions::default());
            append(&repo, 1, &[]);
            append(&repo, 2, &["snapshots/00"]);
            append(&repo, 3, &[]);
            append(&repo, 4, &["snapshots/01"]);
            let facts = gather(&repo).unwrap();
            assert_eq!((facts.damage.count(), facts.damage.first()), (1, "snapshots/01"));
            let nanos: Vec<u32> = facts.verifications.iter().map(|told| told.at.nanos).collect();
            assert_eq!(nanos, [1, 2, 3, 4]);
        }
    }

    #[test]
    fn records_that_are_damaged_or_gone_are_known_to_be_lost() {
        let (storage, repo) = repository(&OpenOptions::default());
        let keys: Vec<_> = (1..=4).map(|nanos| append(&repo, nanos, &[])).collect();
        assert_eq!(gather(&repo).unwrap().lost_records, [] as [&str; 0]);
        storage.corrupt(&keys[1], |bytes| bytes[40] ^= 1);
        let lost = gather(&repo).unwrap().lost_records;
        assert!(lost.len() == 1 && lost[0].contains(&keys[1].to_string()), "{lost:?}");
        storage.delete(&keys[1]).unwrap();
        let lost = gather(&repo).unwrap().lost_records;
        assert_eq!(lost, [format!("{} is missing: others follow it", keys[1])]);
    }

    #[test]
    fn what_this_machine_has_a_copy_of_is_not_read_again() {
        let cache = tempfile::tempdir().unwrap();
        let options =
            OpenOptions { cache: Some(cache.path().to_owned()), ..OpenOptions::default() };
        let (storage, repo) = repository(&options);
        let keys: Vec<_> = (1..=20).map(|nanos| append(&repo, nanos, &[])).collect();
        let first = gather(&repo).unwrap();
        assert_eq!(first.verifications.len(), 20);
        for key in &keys {
            storage.corrupt(key, |bytes| bytes[40] ^= 1);
        }
        assert_eq!(gather(&repo).unwrap(), first, "from the copy");
        storage.delete(&keys[19]).unwrap();
        assert_eq!(
            gather(&repo).unwrap().verifications.len(),
            19,
            "the storage says which are there"
        );
    }
}
