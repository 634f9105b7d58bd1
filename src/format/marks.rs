//! Small records beside snapshots: forgotten, tagged anew, pinned.
//!
//! None of them changes a snapshot, so ids, mounts and what refers to it stay valid; each is
//! written once under a name of its own.

use serde::{Deserialize, Serialize};

use super::{Malformed, PinId, RepositoryId, SnapshotId, Time, limits, wire};

/// The snapshot may be pruned: the payload of `forgotten/<S>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// The repository that it belongs to: another one's mark is told apart.
    pub repository: RepositoryId,
    /// The snapshot, also the object's name.
    pub snapshot: SnapshotId,
    /// When, by the clock of who forgot it.
    pub at: Time,
    /// The host where it was forgotten.
    pub host: String,
}

impl Forgotten {
    /// The payload of a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Decodes and checks the mark that stands under `snapshot` in `repository`.
    pub fn decode(
        payload: &[u8],
        repository: RepositoryId,
        snapshot: SnapshotId,
    ) -> Result<Self, Malformed> {
        let mark: Self = wire::decode(payload)?;
        of_repository(mark.repository, repository)?;
        of_snapshot(mark.snapshot, snapshot)?;
        mark.at.check()?;
        Ok(mark)
    }
}

/// What a snapshot's tags are from now on: the payload of `tags/<S>/<number>`. Of several the one
/// with the highest number holds; without any, the snapshot's own tags do and it is not protected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tagging {
    /// The repository that it belongs to.
    pub repository: RepositoryId,
    /// The snapshot, also in the object's name.
    pub snapshot: SnapshotId,
    /// Counts from 0, also in the object's name.
    pub number: u64,
    /// When, by the clock of who tagged.
    pub at: Time,
    /// The host where that was done.
    pub host: String,
    /// All tags that the snapshot has.
    pub tags: Vec<String>,
    /// Whether it must never be forgotten.
    pub protected: bool,
}

impl Tagging {
    /// The payload of a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Decodes and checks record `number` of `snapshot` in `repository`.
    pub fn decode(
        payload: &[u8],
        repository: RepositoryId,
        snapshot: SnapshotId,
        number: u64,
    ) -> Result<Self, Malformed> {
        let tagging: Self = wire::decode(payload)?;
        of_repository(tagging.repository, repository)?;
        of_snapshot(tagging.snapshot, snapshot)?;
        if tagging.number != number {
            return Err(Malformed::at(0, format!("it states the number {}", tagging.number)));
        }
        if tagging.tags.len() > limits::TAGS_MAX {
            return Err(Malformed::at(0, format!("{} tags", tagging.tags.len())));
        }
        tagging.at.check()?;
        Ok(tagging)
    }
}

/// A reader needs what it can see: the payload of `pins/<id>/<beat>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The repository that is read.
    pub repository: RepositoryId,
    /// The reader.
    pub id: PinId,
    /// Counts from 0.
    pub beat: u64,
    /// The snapshots that it needs; empty for all.
    pub snapshots: Vec<SnapshotId>,
    /// The reader's clock: for people, never for decisions.
    pub at: Time,
    /// The reader's host.
    pub host: String,
    /// The reader's process id on that host.
    pub pid: u32,
}

impl Pin {
    /// The payload of a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Decodes and checks a beat of the pin `id` in `repository`.
    pub fn decode(
        payload: &[u8],
        repository: RepositoryId,
        id: PinId,
        beat: u64,
    ) -> Result<Self, Malformed> {
        let pin: Self = wire::decode(payload)?;
        of_repository(pin.repository, repository)?;
        if (pin.id, pin.beat) != (id, beat) {
            return Err(Malformed::at(0, format!("it states the pin {} {}", pin.id, pin.beat)));
        }
        pin.at.check()?;
        Ok(pin)
    }
}

/// Another repository's record is told as such.
pub(super) fn of_repository(stated: RepositoryId, here: RepositoryId) -> Result<(), Malformed> {
    if stated == here {
        return Ok(());
    }
    Err(Malformed::at(0, format!("it belongs to repository {stated}")))
}

fn of_snapshot(stated: SnapshotId, named: SnapshotId) -> Result<(), Malformed> {
    if stated == named {
        return Ok(());
    }
    Err(Malformed::at(0, format!("it is about snapshot {stated}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: RepositoryId = RepositoryId([1; 16]);
    const THERE: RepositoryId = RepositoryId([2; 16]);
    const S: SnapshotId = SnapshotId([3; 16]);
    const OTHER: SnapshotId = SnapshotId([4; 16]);
    const AT: Time = Time { secs: 1_795_000_000, nanos: 5 };

    #[test]
    fn marks_belong_to_their_name_and_repository() {
        let mark = Forgotten { repository: HERE, snapshot: S, at: AT, host: "h".into() };
        let bytes = mark.encode();
        assert_eq!(Forgotten::decode(&bytes, HERE, S), Ok(mark));
        assert!(Forgotten::decode(&bytes, THERE, S).is_err());
        assert!(Forgotten::decode(&bytes, HERE, OTHER).is_err());
        assert!(Forgotten::decode(&bytes[..bytes.len() - 1], HERE, S).is_err());
    }

    #[test]
    fn tags_belong_to_their_number_and_are_capped() {
        let mut tagging = Tagging {
            repository: HERE,
            snapshot: S,
            number: 7,
            at: AT,
            host: "h".into(),
            tags: vec!["release".into()],
            protected: true,
        };
        let bytes = tagging.encode();
        assert_eq!(Tagging::decode(&bytes, HERE, S, 7).as_ref(), Ok(&tagging));
        assert!(Tagging::decode(&bytes, HERE, S, 8).is_err());
        assert!(Tagging::decode(&bytes, HERE, OTHER, 7).is_err());
        tagging.tags = vec![String::new(); limits::TAGS_MAX + 1];
        assert!(Tagging::decode(&tagging.encode(), HERE, S, 7).is_err());
    }

    #[test]
    fn pins_belong_to_their_beat() {
        let id = PinId([5; 16]);
        let pin = Pin {
            repository: HERE,
            id,
            beat: 2,
            snapshots: vec![S],
            at: AT,
            host: "h".into(),
            pid: 9,
        };
        let bytes = pin.encode();
        assert_eq!(Pin::decode(&bytes, HERE, id, 2), Ok(pin));
        assert!(Pin::decode(&bytes, HERE, id, 3).is_err());
        assert!(Pin::decode(&bytes, THERE, id, 2).is_err());
    }
}
