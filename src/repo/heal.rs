//! Healing: packs whose stored bytes are wrong, made whole from their parity.
//!
//! Whoever finds something wrong in a pack asks here for its right bytes. What must stay true: what
//! is given out has the pack's id as its hash, so nothing that a parity object says can put other
//! bytes in a pack's place; one thread works on a pack, others that want it wait for that one; no
//! lock is held over I/O; a pack that cannot be healed costs one look a minute, not one a read.
//!
//! A healed pack is written anew in its place, by [`Storage::replace_damaged`], where the storage
//! allows it; else it is kept in memory, with few others. A pack that is not there at all is given
//! back but not written: a prune may have deleted it, and `repair packs` is who knows.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::codec::parity::{ParityOf, rebuild};
use crate::format::index::PackInfo;
use crate::format::parity::Parity;
use crate::format::{ObjectKey, PackId, PackKind, RepositoryId, limits};
use crate::storage::{Storage, StorageError};
use crate::sync::{about_to_block, first_said, lock};
use crate::units::chain;

use super::Repository;
use super::weighted::WeightedLru;

/// Right bytes of packs that are kept: two large ones.
const MEMORY_MAX: usize = 2 * limits::PACK_TARGET + (8 << 20);
/// A pack that could not be healed is not tried again for this long: parity may have come back.
const RETRY: Duration = Duration::from_secs(60);
/// Bytes read at a time where a medium fails at some of them.
const PIECE: usize = 4096;

/// The right bytes of a pack.
#[derive(Debug, Clone)]
pub(crate) struct Healed {
    pub(crate) bytes: Arc<Vec<u8>>,
    /// Whether the storage has them now, under the pack's name.
    pub(crate) is_stored: bool,
}

/// A pack that was healed since the repository was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HealedPack {
    /// The pack.
    pub object: ObjectKey,
    /// Whether it was written anew; else the storage still has what is damaged.
    pub is_stored: bool,
}

/// What is under way, and what was tried in vain.
#[derive(Debug, Default)]
struct Flights {
    busy: HashSet<PackId>,
    hopeless: HashMap<PackId, (Instant, Arc<str>)>,
}

/// Heals packs of one repository.
#[derive(Debug)]
pub(crate) struct Healer {
    storage: Arc<dyn Storage>,
    repository: RepositoryId,
    is_on: AtomicBool,
    /// Whether what is healed is written anew; else it is healed in memory, and nothing is told.
    writes: AtomicBool,
    flights: Mutex<Flights>,
    landed: Condvar,
    memory: Mutex<WeightedLru<PackId, Healed>>,
    healed: Mutex<Vec<HealedPack>>,
    /// Whether the medium was too full to write one anew.
    lacked_room: AtomicBool,
}

/// The right to work on a pack; dropped, it goes to who waits.
struct Flight<'h> {
    healer: &'h Healer,
    pack: PackId,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        lock(&self.healer.flights).busy.remove(&self.pack);
        self.healer.landed.notify_all();
    }
}

impl Healer {
    pub(crate) fn new(storage: Arc<dyn Storage>, repository: RepositoryId) -> Self {
        Self {
            storage,
            repository,
            is_on: AtomicBool::new(true),
            writes: AtomicBool::new(true),
            flights: Mutex::default(),
            landed: Condvar::new(),
            memory: Mutex::new(WeightedLru::new(MEMORY_MAX)),
            healed: Mutex::default(),
            lacked_room: AtomicBool::new(false),
        }
    }

    /// The right bytes of a pack in which something is wrong; else why there are none.
    pub(crate) fn heal(&self, kind: PackKind, pack: PackId) -> Result<Healed, Arc<str>> {
        if !self.is_on.load(Ordering::Relaxed) {
            return Err("healing is off".into());
        }
        let write = self.writes.load(Ordering::Relaxed);
        self.alone(pack, || self.try_heal(kind, pack, write))
    }

    /// The same, also where healing is off, and nothing is written or told: for plans.
    pub(crate) fn in_memory(&self, kind: PackKind, pack: PackId) -> Result<Healed, Arc<str>> {
        self.alone(pack, || self.try_heal(kind, pack, false))
    }

    /// Does it in one thread for each pack, and what was in vain not again and again.
    fn alone(
        &self,
        pack: PackId,
        heal: impl FnOnce() -> Result<Healed, Arc<str>>,
    ) -> Result<Healed, Arc<str>> {
        about_to_block();
        let mut flights = lock(&self.flights);
        while flights.busy.contains(&pack) {
            flights = self.landed.wait(flights).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(healed) = lock(&self.memory).get(&pack) {
            return Ok(healed.clone());
        }
        if let Some((when, why)) = flights.hopeless.get(&pack)
            && when.elapsed() < RETRY
        {
            return Err(Arc::clone(why));
        }
        flights.busy.insert(pack);
        drop(flights);
        let _flight = Flight { healer: self, pack };
        heal().inspect_err(|why| self.give_up(pack, why))
    }

    fn give_up(&self, pack: PackId, why: &Arc<str>) {
        lock(&self.flights).hopeless.insert(pack, (Instant::now(), Arc::clone(why)));
    }

    fn try_heal(&self, kind: PackKind, pack: PackId, write: bool) -> Result<Healed, Arc<str>> {
        let (object, parity) = (ObjectKey::Pack(kind, pack), ObjectKey::Parity(pack));
        let parity = match self.storage.get(&parity, limits::PARITY_MAX) {
            Ok(parity) => Some(parity),
            Err(err) if err.is_not_found() => None,
            Err(err) => return Err(chain(&err).into()),
        };
        let left = self.what_is_left(&object, parity.as_deref()).map_err(|err| chain(&err))?;
        let bytes = left.as_deref().unwrap_or_default();
        if *blake3::hash(bytes).as_bytes() == pack.0 {
            // Somebody healed it, or what is wrong is no damage. Who waits has it from memory.
            return Ok(self.keep(pack, left.unwrap_or_default(), true));
        }
        let Some(parity) = parity else { return Err("it has no parity".into()) };
        let of = ParityOf { kind, repository: self.repository, pack };
        let rebuilt = rebuild(of, bytes, &parity).map_err(|err| {
            if write && first_said(&format!("{object} beyond parity")) {
                tracing::error!("{object} is damaged beyond what its parity heals: {err}");
            }
            err.to_string()
        })?;
        if !write {
            return Ok(self.keep(pack, rebuilt, false));
        }
        let is_stored = left.is_some() && self.store(&object, &rebuilt);
        self.tell(object, is_stored);
        Ok(self.keep(pack, rebuilt, is_stored))
    }

    fn tell(&self, object: ObjectKey, is_stored: bool) {
        if first_said(&format!("{object} healed")) {
            let written = if is_stored { "written anew" } else { "served from memory" };
            tracing::warn!("{object} was damaged: healed from its parity and {written}");
        }
        let mut list = lock(&self.healed);
        list.retain(|before| before.object != object);
        list.push(HealedPack { object, is_stored });
    }

    fn keep(&self, pack: PackId, bytes: Vec<u8>, is_stored: bool) -> Healed {
        let weight = bytes.len();
        let healed = Healed { bytes: Arc::new(bytes), is_stored };
        lock(&self.memory).put(pack, healed.clone(), weight);
        healed
    }

    /// Whether the storage took it.
    fn store(&self, object: &ObjectKey, bytes: &[u8]) -> bool {
        match self.storage.replace_damaged(object, bytes) {
            Ok(()) => true,
            Err(err) => {
                let is_full = matches!(err, StorageError::Full { .. });
                self.lacked_room.fetch_or(is_full, Ordering::Relaxed);
                if first_said(&format!("{object} not written")) {
                    tracing::warn!("{object} cannot be written anew: {}", chain(&err));
                }
                false
            }
        }
    }

    /// The bytes that the storage still gives, zeroes where the medium fails; `None` where there is
    /// no such object.
    fn what_is_left(
        &self,
        object: &ObjectKey,
        parity: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        match self.storage.get(object, limits::PACK_MAX) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(err) if err.is_not_found() => Ok(None),
            Err(StorageError::TooLong { .. }) => {
                self.storage.read_at(object, 0, limits::PACK_MAX as usize).map(Some)
            }
            Err(err) => match parity.and_then(|parity| Parity::decode(parity).ok()) {
                Some(parity) => self.pieces(object, &parity, err).map(Some),
                None => Err(err),
            },
        }
    }

    /// Reads what can be read, until more has failed than the parity makes up for.
    fn pieces(
        &self,
        object: &ObjectKey,
        parity: &Parity<'_>,
        mut failure: StorageError,
    ) -> Result<Vec<u8>, StorageError> {
        let head = &parity.head;
        let mut may_fail = (head.recoveries as usize * head.shard_len as usize).div_ceil(PIECE);
        let len = self.storage.len(object)?.min(limits::PACK_MAX) as usize;
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let size = PIECE.min(len - bytes.len());
            match self.storage.read_at(object, bytes.len() as u64, size) {
                Ok(piece) => bytes.extend_from_slice(&piece),
                Err(err) if may_fail == 0 => return Err(err),
                Err(err) => {
                    failure = err;
                    may_fail -= 1;
                    bytes.resize(bytes.len() + size, 0);
                }
            }
        }
        tracing::debug!("{object} was read in pieces: {}", chain(&failure));
        Ok(bytes)
    }
}

impl Repository {
    /// Whether damaged packs are healed from their parity when they are met; they are by default.
    pub fn set_healing(&self, is_on: bool) {
        self.chunks.healer.is_on.store(is_on, Ordering::Relaxed);
    }

    /// Heals in memory only, and leaves what is stored as it is: for dry runs, which change nothing.
    pub fn set_read_only(&self) {
        self.chunks.healer.writes.store(false, Ordering::Relaxed);
    }

    /// Whether a pack that is not as long as the index says is so after healing.
    pub(crate) fn heals_to(&self, pack: &PackInfo) -> bool {
        let healed = self.chunks.healer.heal(pack.kind, pack.id);
        let may_write = self.chunks.healer.writes.load(Ordering::Relaxed);
        healed.is_ok_and(|it| {
            (it.is_stored || !may_write) && it.bytes.len() as u64 == pack.stored_len
        })
    }

    /// Packs that were healed since the repository was opened.
    #[must_use]
    pub fn healed_packs(&self) -> Vec<HealedPack> {
        let mut healed = lock(&self.chunks.healer.healed).clone();
        healed.sort_unstable();
        healed
    }

    /// Whether a healed pack could not be written anew for want of space.
    #[must_use]
    pub fn lacked_room_to_heal(&self) -> bool {
        self.chunks.healer.lacked_room.load(Ordering::Relaxed)
    }

    /// Heals a pack in which something is wrong. True where the storage has its right bytes now.
    ///
    /// # Errors
    /// Why it cannot be healed, in words.
    pub fn heal_pack(&self, kind: PackKind, pack: PackId) -> Result<bool, String> {
        let healed = self.chunks.healer.heal(kind, pack).map_err(|why| why.to_string())?;
        Ok(healed.is_stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{BlockEncoder, Compression};
    use crate::format::{ChunkId, Folder, Time};
    use crate::repo::{BlockDraft, InitOptions, OpenOptions, Session, Writer};
    use crate::storage::{Listed, MemoryStorage, Operation, RecordStorage};

    const CHUNKS: usize = 40;

    fn noise(seed: usize) -> Vec<u8> {
        let mut bytes = vec![0; 50_000];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn open(storage: Arc<dyn Storage>) -> Repository {
        Repository::open(storage, None, &OpenOptions::default()).unwrap()
    }

    /// A repository with one data pack, its chunks, and that pack.
    fn sample(permille: u16) -> (Arc<MemoryStorage>, Vec<ChunkId>, ObjectKey) {
        let storage = Arc::new(MemoryStorage::new());
        Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
        let repo = open(storage.clone());
        repo.set_parity(permille, "host").unwrap();
        let writer = Writer { host: "host".into(), pid: 1 };
        let session = Session::begin(&repo, writer, Time { secs: 1, nanos: 0 }).unwrap();
        let mut encoder = BlockEncoder::new(Compression::Fast).unwrap();
        let mut ids = Vec::new();
        for number in 0..CHUNKS {
            let (plain, mut draft) = (noise(number), BlockDraft::default());
            ids.push(session.id_of(PackKind::Data, &plain));
            draft.push(ids[number], &plain);
            session.write_block(PackKind::Data, &draft, &mut encoder).unwrap();
        }
        session.flush().unwrap();
        drop(session);
        let pack = storage.list(Folder::Data).unwrap()[0].key.unwrap();
        (storage, ids, pack)
    }

    fn damage(storage: &MemoryStorage, pack: &ObjectKey, places: &[usize]) -> Vec<u8> {
        let good = storage.get(pack, limits::PACK_MAX).unwrap();
        assert!(storage.corrupt(pack, |bytes| places.iter().for_each(|at| bytes[*at] ^= 0x40)));
        good
    }

    fn assert_reads(repo: &Repository, ids: &[ChunkId]) {
        for (number, id) in ids.iter().enumerate() {
            assert!(*repo.chunk(id).unwrap() == *noise(number), "chunk {number}");
        }
    }

    /// Takes no writes.
    #[derive(Debug)]
    struct ReadOnly(Arc<MemoryStorage>);

    impl ReadOnly {
        fn refuse(key: &ObjectKey) -> Result<(), StorageError> {
            let (what, location) = (key.to_string(), "here".into());
            let source = std::io::ErrorKind::ReadOnlyFilesystem.into();
            Err(StorageError::Io { action: "write", what, location, source })
        }
    }

    impl Storage for ReadOnly {
        fn location(&self) -> String {
            self.0.location()
        }
        fn put_new(&self, key: &ObjectKey, _: &[u8]) -> Result<(), StorageError> {
            Self::refuse(key)
        }
        fn replace_damaged(&self, key: &ObjectKey, _: &[u8]) -> Result<(), StorageError> {
            Self::refuse(key)
        }
        fn get(&self, key: &ObjectKey, max: u64) -> Result<Vec<u8>, StorageError> {
            self.0.get(key, max)
        }
        fn read_at(&self, key: &ObjectKey, at: u64, len: usize) -> Result<Vec<u8>, StorageError> {
            self.0.read_at(key, at, len)
        }
        fn len(&self, key: &ObjectKey) -> Result<u64, StorageError> {
            self.0.len(key)
        }
        fn list(&self, folder: Folder) -> Result<Vec<Listed>, StorageError> {
            self.0.list(folder)
        }
        fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
            Self::refuse(key)
        }
    }

    #[test]
    fn readers_heal_a_pack_once_and_it_is_written_anew() {
        let (storage, ids, pack) = sample(50);
        let good = damage(&storage, &pack, &[100, 500_000, 1_200_000, 1_999_000]);
        let record = Arc::new(RecordStorage::new(storage.clone()));
        let repo = open(record.clone());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_reads(&repo, &ids));
            }
        });
        assert!(storage.get(&pack, limits::PACK_MAX).unwrap() == good);
        let written = Operation::Replace(pack, good.len() as u64);
        assert_eq!(record.count(|it| *it == written), 1);
        assert_eq!(repo.healed_packs(), [HealedPack { object: pack, is_stored: true }]);
    }

    #[test]
    fn storage_without_writes_is_healed_in_memory() {
        let (storage, ids, pack) = sample(50);
        damage(&storage, &pack, &[100, 900_000]);
        let repo = open(Arc::new(ReadOnly(storage.clone())));
        assert_reads(&repo, &ids);
        assert_eq!(repo.healed_packs(), [HealedPack { object: pack, is_stored: false }]);
    }

    #[test]
    fn cut_pack_heals_and_a_lost_one_is_given_back_and_not_written() {
        let (storage, ids, pack) = sample(1000);
        storage.corrupt(&pack, |bytes| bytes.truncate(70_000));
        assert_reads(&open(storage.clone()), &ids);
        assert!(storage.len(&pack).unwrap() > 2_000_000);
        storage.delete(&pack).unwrap();
        assert_reads(&open(storage.clone()), &ids);
        assert!(storage.len(&pack).unwrap_err().is_not_found());
    }

    #[test]
    fn more_damage_than_the_share_names_the_pack_and_costs_one_look() {
        let (storage, ids, pack) = sample(20);
        let places: Vec<_> = (0..40).map(|n| n * 50_000 + 200).collect();
        let bad = {
            damage(&storage, &pack, &places);
            storage.get(&pack, 1 << 30).unwrap()
        };
        let record = Arc::new(RecordStorage::new(storage.clone()));
        let repo = open(record.clone());
        let errors: Vec<_> = ids.iter().filter_map(|id| repo.chunk(id).err()).collect();
        assert!(
            errors.len() >= 39
                && errors.iter().all(|err| err.to_string().contains(&pack.to_string()))
        );
        let looks = |it: &Operation| matches!(it, Operation::Get(ObjectKey::Parity(_), _));
        assert_eq!(record.count(looks), 1);
        assert!(storage.get(&pack, 1 << 30).unwrap() == bad, "left as it is");
        let ObjectKey::Pack(kind, id) = pack else { panic!() };
        assert!(repo.heal_pack(kind, id).unwrap_err().contains("shards are damaged"));
    }

    #[test]
    fn without_parity_or_switched_off_nothing_is_healed() {
        let (storage, ids, pack) = sample(0);
        assert!(storage.list(Folder::Parity).unwrap().is_empty());
        damage(&storage, &pack, &[100]);
        assert!(open(storage).chunk(&ids[0]).is_err());
        let (storage, ids, pack) = sample(50);
        damage(&storage, &pack, &[100]);
        let repo = open(storage);
        repo.set_healing(false);
        assert!(repo.chunk(&ids[0]).is_err());
        repo.set_healing(true);
        assert!(repo.chunk(&ids[0]).is_ok());
    }

    #[test]
    fn hostile_parity_gives_no_other_bytes() {
        let (storage, ids, pack) = sample(50);
        let ObjectKey::Pack(kind, id) = pack else { panic!() };
        damage(&storage, &pack, &[100]);
        let bytes = noise(1);
        let of = ParityOf { kind, repository: open(storage.clone()).config().repository, pack: id };
        let lie = crate::codec::parity::protect(of, &bytes, 1000).unwrap();
        storage.corrupt(&ObjectKey::Parity(id), |parity| *parity = lie);
        let repo = open(storage);
        assert!(repo.chunk(&ids[0]).is_err());
        assert!(repo.chunk(&ids[9]).is_ok());
    }
}
