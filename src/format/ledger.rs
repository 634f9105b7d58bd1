//! The ledger: what was verified, when, with what result. Records are only ever added.
//!
//! Each record names those before it that no other named yet, with the BLAKE3 of their names and
//! payloads: a record that was changed or taken out is missed by the one after it. Writers that
//! append at the same time name the same ones, and the next record names both: the ledger is a
//! chain that may split and join, never one that somebody must lock.
//!
//! A record of a verification lists the packs that it read and found whole by the first 8 bytes of
//! their ids: a full run over 10 TB in 300,000 packs is one record of 2.4 MB. Ids are hashes, so
//! two packs of one repository that share a prefix are not to be expected before there are billions.

use serde::{Deserialize, Serialize};

use super::event::{Drilled, Ran, Replicated};
use super::marks::of_repository;
use super::{Malformed, ObjectKey, PackId, RecordId, RepositoryId, Time, limits, wire};

/// The first 8 bytes of a pack's id, the first one the most significant.
#[must_use]
pub const fn pack_prefix(id: &PackId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    u64::from_le_bytes([h, g, f, e, d, c, b, a])
}

/// A record that came before, and what its bytes were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LedgerLink {
    /// Seconds of its name.
    pub secs: u64,
    /// Id of its name.
    pub id: RecordId,
    /// BLAKE3 of its name and its payload, one after the other.
    pub hash: [u8; 32],
}

impl LedgerLink {
    /// The link to a record of that name and plain payload.
    #[must_use]
    pub fn to(secs: u64, id: RecordId, payload: &[u8]) -> Self {
        let name = ObjectKey::Ledger(secs, id).to_string();
        let mut hasher = blake3::Hasher::new();
        hasher.update(name.as_bytes()).update(payload);
        Self { secs, id, hash: *hasher.finalize().as_bytes() }
    }

    /// The record that it names.
    #[must_use]
    pub const fn object(&self) -> ObjectKey {
        ObjectKey::Ledger(self.secs, self.id)
    }
}

/// One record: the payload of `ledger/<seconds>-<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRecord {
    /// The repository: another one's record is told apart.
    pub repository: RepositoryId,
    /// Also in the object's name.
    pub id: RecordId,
    /// When it was written, by the clock of who wrote it; its seconds are in the object's name.
    pub at: Time,
    /// The host where that was.
    pub host: String,
    /// Program and version, like `icecore 0.1.0`.
    pub program: String,
    /// Records before it that no other named, sorted; without any it is the first one.
    pub previous: Vec<LedgerLink>,
    /// What happened.
    pub event: LedgerEvent,
}

/// What a record tells of. Later kinds are added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LedgerEvent {
    /// Stored objects were checked.
    Verified(Verified),
    /// Snapshots were copied into this repository.
    Replicated(Replicated),
    /// A trial restore out of this repository.
    Drilled(Box<Drilled>),
    /// A part of a run of the strategy.
    Ran(Ran),
}

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Verified {
    /// How long it took, in nanoseconds of the monotonic clock.
    pub duration_ns: u64,
    /// Whether it came to the end of what it was to do.
    pub complete: bool,
    /// Snapshots whose trees were walked.
    pub snapshots: u64,
    /// Packs that there were.
    pub packs_stored: u64,
    /// Their bytes.
    pub bytes_stored: u64,
    /// Bytes of the packs below.
    pub bytes_read: u64,
    /// Packs of which every byte was read and is what it should be, each by its
    /// [`pack_prefix`]: ascending, each once.
    pub packs: Vec<u64>,
    /// How many objects were found damaged or missing.
    pub damaged_count: u64,
    /// The first [`limits::LEDGER_DAMAGED_MAX`] of them by name, with the place where that is known.
    pub damaged: Vec<String>,
}

impl LedgerRecord {
    /// The seconds that its name has.
    #[must_use]
    pub fn secs(&self) -> u64 {
        u64::try_from(self.at.secs).unwrap_or(0)
    }

    /// Its name.
    #[must_use]
    pub fn object(&self) -> ObjectKey {
        ObjectKey::Ledger(self.secs(), self.id)
    }

    /// The payload of a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Decodes and checks the record of that name in `repository`.
    pub fn decode(
        payload: &[u8],
        repository: RepositoryId,
        secs: u64,
        id: RecordId,
    ) -> Result<Self, Malformed> {
        let record: Self = wire::decode(payload)?;
        of_repository(record.repository, repository)?;
        record.at.check()?;
        if (record.secs(), record.id) != (secs, id) {
            return Err(Malformed::at(0, format!("it states the name {}", record.object())));
        }
        if record.previous.len() > limits::LEDGER_PREVIOUS_MAX {
            return Err(Malformed::at(0, "it follows more records than it may"));
        }
        if !record.previous.is_sorted_by(|a, b| a < b) {
            return Err(Malformed::at(0, "the records it follows are not in order"));
        }
        match &record.event {
            LedgerEvent::Verified(verified) => verified.check()?,
            LedgerEvent::Replicated(replicated) => replicated.check()?,
            LedgerEvent::Drilled(drilled) => drilled.check()?,
            LedgerEvent::Ran(ran) => ran.check()?,
        }
        Ok(record)
    }
}

impl Verified {
    fn check(&self) -> Result<(), Malformed> {
        if self.packs.len() > limits::LEDGER_PACKS_MAX
            || self.damaged.len() > limits::LEDGER_DAMAGED_MAX
            || self.damaged.len() as u64 > self.damaged_count
        {
            return Err(Malformed::at(0, "it lists more than a record may"));
        }
        match self.packs.is_sorted_by(|a, b| a < b) {
            true => Ok(()),
            false => Err(Malformed::at(0, "its packs are not in order")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: RepositoryId = RepositoryId([1; 16]);
    const ID: RecordId = RecordId([7; 16]);

    fn record() -> LedgerRecord {
        let verified = Verified {
            complete: true,
            packs: vec![1, 5, u64::MAX],
            damaged_count: 2,
            damaged: vec!["data/00/x".into()],
            ..Verified::default()
        };
        LedgerRecord {
            repository: HERE,
            id: ID,
            at: Time { secs: 1_795_000_000, nanos: 3 },
            host: "h".into(),
            program: "icecore 0.1.0".into(),
            previous: vec![LedgerLink::to(5, RecordId([1; 16]), b"before")],
            event: LedgerEvent::Verified(verified),
        }
    }

    fn changed(change: impl Fn(&mut LedgerRecord, &mut Verified)) -> bool {
        let mut record = record();
        let LedgerEvent::Verified(mut verified) = record.event.clone() else { unreachable!() };
        change(&mut record, &mut verified);
        record.event = LedgerEvent::Verified(verified);
        LedgerRecord::decode(&record.encode(), HERE, 1_795_000_000, ID).is_ok()
    }

    #[test]
    fn records_belong_to_their_name_and_their_lists_are_in_order() {
        assert!(changed(|_, _| ()));
        assert!(!changed(|record, _| record.id = RecordId([8; 16])));
        assert!(!changed(|record, _| record.at.secs += 1));
        assert!(!changed(|record, _| record.repository = RepositoryId([2; 16])));
        assert!(!changed(|_, verified| verified.packs = vec![5, 1]));
        assert!(!changed(|_, verified| verified.packs = vec![5, 5]));
        assert!(!changed(|_, verified| verified.damaged_count = 0));
        assert!(!changed(|record, _| {
            record.previous = vec![record.previous[0]; 2];
        }));
        assert!(!changed(|_, verified| {
            verified.damaged = vec![String::new(); limits::LEDGER_DAMAGED_MAX + 1];
            verified.damaged_count = u64::MAX;
        }));
        let bytes = record().encode();
        for len in 0..bytes.len() {
            assert!(LedgerRecord::decode(&bytes[..len], HERE, 1_795_000_000, ID).is_err());
        }
    }

    #[test]
    fn a_record_with_all_that_it_may_list_fits_its_frame() {
        let long = 1024;
        let verified = Verified {
            packs: (0..limits::LEDGER_PACKS_MAX as u64).collect(),
            damaged: vec!["x".repeat(long); limits::LEDGER_DAMAGED_MAX],
            damaged_count: u64::MAX,
            ..Verified::default()
        };
        let previous = |n| LedgerLink { secs: n, id: ID, hash: [0; 32] };
        let full = LedgerRecord {
            previous: (0..limits::LEDGER_PREVIOUS_MAX as u64).map(previous).collect(),
            event: LedgerEvent::Verified(verified),
            ..record()
        };
        assert!(full.encode().len() + 4096 < limits::LEDGER_RECORD_MAX);
    }

    #[test]
    fn prefixes_sort_as_ids_do() {
        let mut id = PackId([0; 32]);
        id.0[..8].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(pack_prefix(&id), 0x0102_0304_0506_0708);
    }
}
