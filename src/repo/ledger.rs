//! The ledger in motion: adding a record, reading all, and what they say of each pack.
//!
//! Nothing relies on the ledger to read or to keep data: it is evidence. So a record that cannot be
//! read is told of and hides no other, and a repository that takes no record is still verified.

use std::collections::HashSet;

use crate::codec::random;
use crate::format::{
    Folder, FrameKind, LedgerEvent, LedgerLink, LedgerRecord, ObjectKey, Ran, RecordId, Time,
    Verified, pack_prefix,
};

use super::error::{InObject, RepoError, Result};
use super::index::is_io;
use super::{Repository, StoredPack};

/// The part of a run, as [`Ran`] has it, that says of a record, by its name, that it is lost.
pub const REPAIR: &str = "repair";

/// Records that are looked at for those that the next one follows.
const HEADS_LOOKED_AT: usize = 64;

/// A record, and the link that names it.
#[derive(Debug, Clone)]
pub struct LedgerEntry {
    /// The record.
    pub record: LedgerRecord,
    /// What the record after it should say of it.
    pub link: LedgerLink,
}

/// What checking the ledger's links found.
#[derive(Debug, Default)]
pub struct LedgerCheck {
    /// Records read.
    pub records: u64,
    /// Records that no other follows: more than one where writers met.
    pub heads: u64,
    /// Records that cannot be read, are not what those after them say, or are gone: unless a repair
    /// has recorded that.
    pub errors: Vec<(ObjectKey, RepoError)>,
}

impl Repository {
    /// Names of all records, by time.
    pub fn ledger_names(&self) -> Result<Vec<(u64, RecordId)>> {
        let name = |key| match key {
            ObjectKey::Ledger(secs, id) => Some((secs, id)),
            _ => None,
        };
        let listed = self.storage().names(Folder::Ledger)?;
        let mut names: Vec<_> = listed.into_iter().filter_map(name).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Reads one record.
    pub fn read_ledger(&self, secs: u64, id: RecordId) -> Result<LedgerEntry> {
        let bytes = self.get_framed(&ObjectKey::Ledger(secs, id), FrameKind::Ledger)?;
        self.open_ledger(secs, id, &bytes)
    }

    /// What these bytes say under the name of a record.
    pub(super) fn open_ledger(&self, secs: u64, id: RecordId, bytes: &[u8]) -> Result<LedgerEntry> {
        let object = ObjectKey::Ledger(secs, id);
        let payload = self.vault().decode_object(&object, FrameKind::Ledger, bytes)?;
        let repository = self.vault().repository();
        let record = LedgerRecord::decode(&payload, repository, secs, id).in_object(&object)?;
        Ok(LedgerEntry { record, link: LedgerLink::to(secs, id, &payload) })
    }

    /// All records by time, those of one second in memory at a time; one that cannot be read is an
    /// error behind the others of its second.
    pub fn ledger(&self) -> Result<impl Iterator<Item = Result<LedgerEntry>> + '_> {
        let mut names = self.ledger_names()?.into_iter().peekable();
        let seconds = std::iter::from_fn(move || {
            let (secs, _) = *names.peek()?;
            // The rest of a name is random.
            let of_second = std::iter::from_fn(|| names.next_if(|name| name.0 == secs));
            let mut entries: Vec<_> = of_second.map(|(_, id)| self.read_ledger(secs, id)).collect();
            entries.sort_by_key(|entry| {
                let nanos = entry.as_ref().map(|entry| entry.record.at.nanos);
                (nanos.is_err(), nanos.unwrap_or_default())
            });
            Some(entries)
        });
        Ok(seconds.flatten())
    }

    /// Adds a record that follows all that nothing follows yet; durable when this returns.
    pub fn append_ledger(
        &self,
        at: Time,
        host: &str,
        program: &str,
        event: LedgerEvent,
    ) -> Result<ObjectKey> {
        let record = LedgerRecord {
            repository: self.vault().repository(),
            id: RecordId(random()?),
            at,
            host: host.to_owned(),
            program: program.to_owned(),
            previous: self.ledger_heads()?,
            event,
        };
        let object = record.object();
        self.put_framed(&object, FrameKind::Ledger, record.encode())?;
        Ok(object)
    }

    /// Of the newest records those that no other of them follows, sorted.
    fn ledger_heads(&self) -> Result<Vec<LedgerLink>> {
        let (mut links, mut followed) = (Vec::new(), HashSet::new());
        for (secs, id) in self.ledger_names()?.into_iter().rev().take(HEADS_LOOKED_AT) {
            match self.read_ledger(secs, id) {
                Ok(entry) => {
                    followed.extend(entry.record.previous);
                    links.push(entry.link);
                }
                Err(err) if is_lost(&err) => tracing::warn!("{err}; the ledger goes on without it"),
                Err(err) => return Err(err),
            }
        }
        links.retain(|link| !followed.contains(link));
        links.sort_unstable();
        Ok(links)
    }

    /// Reads all records, and holds each against what those after it say of it.
    pub fn check_ledger(&self) -> Result<LedgerCheck> {
        let mut check = LedgerCheck::default();
        let (mut there, mut followed) = (HashSet::new(), HashSet::new());
        let (mut unread, mut recorded) = (HashSet::new(), HashSet::new());
        for (secs, id) in self.ledger_names()? {
            match self.read_ledger(secs, id) {
                Ok(entry) => {
                    check.records += 1;
                    if let LedgerEvent::Ran(Ran { part, name, .. }) = &entry.record.event
                        && part == REPAIR
                    {
                        recorded.insert(name.clone());
                    }
                    followed.extend(entry.record.previous);
                    there.insert(entry.link);
                }
                Err(err) if is_lost(&err) || err.is_newer() => {
                    let object = ObjectKey::Ledger(secs, id);
                    unread.insert(object);
                    check.errors.push((object, err));
                }
                Err(err) => return Err(err),
            }
        }
        let known: HashSet<ObjectKey> = there.iter().map(LedgerLink::object).collect();
        let mut wrong: Vec<&LedgerLink> = followed.difference(&there).collect();
        wrong.sort_unstable();
        for link in wrong.into_iter().filter(|link| !unread.contains(&link.object())) {
            let object = link.object();
            let what = match known.contains(&object) {
                false if recorded.contains(&object.to_string()) => continue,
                true => "is not what the record after it states: it was changed",
                false => "is missing: the record after it follows it",
            };
            check.errors.push((object, RepoError::corrupt(object, what)));
        }
        check.heads = there.difference(&followed).count() as u64;
        Ok(check)
    }
}

fn is_lost(err: &RepoError) -> bool {
    err.is_damage() || is_io(err)
}

/// When each stored pack was last read and found whole: 16 bytes a pack.
#[derive(Debug, Default)]
pub struct LastVerified {
    /// Prefixes, ascending, and seconds since 1970; 0 is never.
    times: Vec<(u64, u64)>,
}

impl LastVerified {
    /// Of these packs, without any record.
    #[must_use]
    pub fn of(packs: &[StoredPack]) -> Self {
        let mut times: Vec<_> = packs.iter().map(|pack| (pack_prefix(&pack.id), 0)).collect();
        times.sort_unstable();
        Self { times }
    }

    /// Takes a record in.
    pub fn add(&mut self, secs: u64, verified: &Verified) {
        self.add_all(secs, verified.packs.iter().copied());
    }

    /// Takes in that these packs, by their prefixes, were found whole.
    pub fn add_all(&mut self, secs: u64, packs: impl Iterator<Item = u64>) {
        for prefix in packs {
            let at = self.times.partition_point(|(other, _)| *other < prefix);
            if let Some((_, time)) = self.times.get_mut(at).filter(|(other, _)| *other == prefix) {
                *time = (*time).max(secs);
            }
        }
    }

    /// Takes in that these packs, by their prefixes, are damaged: nothing told of them holds.
    pub fn forget(&mut self, packs: &[u64]) {
        for prefix in packs {
            let at = self.times.partition_point(|(other, _)| *other < *prefix);
            if let Some((_, time)) = self.times.get_mut(at).filter(|(other, _)| *other == *prefix) {
                *time = 0;
            }
        }
    }

    /// Seconds since 1970; `None` where no record tells of the pack.
    #[must_use]
    pub fn get(&self, pack: &StoredPack) -> Option<u64> {
        let prefix = pack_prefix(&pack.id);
        let at = self.times.partition_point(|(other, _)| *other < prefix);
        self.times.get(at).filter(|(other, time)| *other == prefix && *time > 0).map(|it| it.1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::format::{PackId, PackKind, frame};
    use crate::repo::{InitOptions, OpenOptions, Secret};
    use crate::storage::{MemoryStorage, Storage};

    fn repository(secret: Option<&Secret>) -> (Arc<MemoryStorage>, Repository) {
        let storage = Arc::new(MemoryStorage::new());
        Repository::init(&*storage, secret, "", InitOptions::default()).unwrap();
        let repo = Repository::open(storage.clone(), secret, &OpenOptions::default()).unwrap();
        (storage, repo)
    }

    fn append(repo: &Repository, secs: i64, packs: &[u64]) -> ObjectKey {
        let verified = Verified { packs: packs.to_vec(), ..Verified::default() };
        let at = Time { secs, nanos: 0 };
        repo.append_ledger(at, "host", "test", LedgerEvent::Verified(verified)).unwrap()
    }

    fn wrong(repo: &Repository) -> Vec<String> {
        let check = repo.check_ledger().unwrap();
        check.errors.iter().map(|(_, err)| err.to_string()).collect()
    }

    #[test]
    fn each_record_follows_all_that_none_follows() {
        let secret = Secret::KeyFile(vec![7; 32].into());
        for secret in [None, Some(&secret)] {
            let (_, repo) = repository(secret);
            let first = append(&repo, 10, &[1]);
            // In one second, where a name says no more.
            for nanos in 1..3 {
                let event = LedgerEvent::Verified(Verified::default());
                repo.append_ledger(Time { secs: 20, nanos }, "host", "test", event).unwrap();
            }
            let check = repo.check_ledger().unwrap();
            assert_eq!((check.records, check.heads, check.errors.len()), (3, 1, 0));
            let entries: Vec<_> = repo.ledger().unwrap().map(Result::unwrap).collect();
            assert_eq!(entries[0].record.object(), first);
            assert_eq!(entries[0].record.previous, []);
            assert_eq!(entries[1].record.previous, [entries[0].link]);
            assert_eq!(entries[2].record.previous, [entries[1].link]);
        }
    }

    #[test]
    fn what_was_taken_out_or_replaced_is_missed_by_what_follows() {
        let (storage, repo) = repository(None);
        let keys: Vec<_> = (1..=4).map(|n| append(&repo, n * 10, &[n as u64])).collect();
        let second = storage.get(&keys[1], 1 << 20).unwrap();
        storage.delete(&keys[1]).unwrap();
        assert_eq!(wrong(&repo).len(), 1);
        assert!(wrong(&repo)[0].contains(&keys[1].to_string()));
        assert!(wrong(&repo)[0].contains("missing"), "{:?}", wrong(&repo));

        // A record of the same name that says something else, in a frame that holds.
        let payload = frame::decode(FrameKind::Ledger, &second).unwrap().payload;
        let ObjectKey::Ledger(secs, id) = keys[1] else { panic!("no record") };
        let here = repo.config().repository;
        let mut other = LedgerRecord::decode(payload, here, secs, id).unwrap();
        other.host = "elsewhere".into();
        let bytes =
            repo.vault().encode_object(&keys[1], FrameKind::Ledger, other.encode()).unwrap();
        storage.put_new(&keys[1], &bytes).unwrap();
        assert!(wrong(&repo)[0].contains("was changed"), "{:?}", wrong(&repo));

        // One that is damaged is told once, and the ledger goes on.
        storage.corrupt(&keys[1], |bytes| bytes[40] ^= 1);
        assert_eq!(wrong(&repo).len(), 1);
        append(&repo, 50, &[]);
        assert_eq!(repo.check_ledger().unwrap().records, 4);
    }

    #[test]
    fn writers_that_meet_are_both_followed() {
        let (storage, repo) = repository(None);
        append(&repo, 10, &[]);
        let second = append(&repo, 20, &[]);
        let bytes = storage.get(&second, 1 << 20).unwrap();
        storage.delete(&second).unwrap();
        append(&repo, 21, &[]); // did not see the second
        storage.put_new(&second, &bytes).unwrap();
        assert_eq!(repo.check_ledger().unwrap().heads, 2);
        append(&repo, 30, &[]);
        let check = repo.check_ledger().unwrap();
        assert_eq!((check.records, check.heads, check.errors.len()), (4, 1, 0));
    }

    #[test]
    fn the_last_verification_of_a_pack_is_the_latest() {
        let pack = |n| StoredPack { kind: PackKind::Data, id: PackId([n; 32]), len: 1 };
        let packs = [pack(3), pack(1), pack(2)];
        let mut last = LastVerified::of(&packs);
        let prefix = |n| pack_prefix(&PackId([n; 32]));
        let verified = |packs: &[u64]| Verified { packs: packs.to_vec(), ..Verified::default() };
        last.add(50, &verified(&[prefix(1), prefix(9)]));
        last.add(40, &verified(&[prefix(1), prefix(3)]));
        assert_eq!(packs.map(|pack| last.get(&pack)), [Some(40), Some(50), None]);
        assert_eq!(last.get(&pack(9)), None, "not among those that are stored");
    }
}
