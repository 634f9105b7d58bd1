//! The two records of a generation of prune: what it would delete, and what it deletes.
//!
//! Generations count from 0, and creating `gc/<g>.candidates` is create-only, so at most one is
//! open at a time, whoever prunes where (DESIGN section 5).

use serde::{Deserialize, Serialize};

use super::marks::of_repository;
use super::{Malformed, PackId, PackKind, RepositoryId, SnapshotId, Time, limits, wire};

/// A pack that a prune names.
pub type NamedPack = (PackKind, PackId);

/// What a prune would delete, or deletes: the payload of `gc/<g>.candidates` and of
/// `gc/<g>.decision`, which frame kind and seal tell apart.
///
/// From the creation of the candidates on, writers that begin rely on none of these packs. The
/// decision names a part of the candidates and stands for good: no writer relies on its packs again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// The repository.
    pub repository: RepositoryId,
    /// Counts from 0, also in the object's name.
    pub number: u64,
    /// When, by the pruner's clock: for people.
    pub at: Time,
    /// The pruner's host.
    pub host: String,
    /// Packs, sorted, each once.
    pub packs: Vec<NamedPack>,
    /// Forgotten snapshots that go with them, sorted, each once.
    pub snapshots: Vec<SnapshotId>,
}

impl Generation {
    /// The payload of a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Decodes and checks the record of generation `number` in `repository`.
    pub fn decode(
        payload: &[u8],
        repository: RepositoryId,
        number: u64,
    ) -> Result<Self, Malformed> {
        let record: Self = wire::decode(payload)?;
        of_repository(record.repository, repository)?;
        check(record.number, number, &record.packs, &record.snapshots)?;
        record.at.check()?;
        Ok(record)
    }
}

fn check(
    stated: u64,
    named: u64,
    packs: &[NamedPack],
    snapshots: &[SnapshotId],
) -> Result<(), Malformed> {
    if stated != named {
        return Err(Malformed::at(0, format!("it states the generation {stated}")));
    }
    if packs.len() > limits::DOOMED_PACKS_MAX || snapshots.len() > limits::DOOMED_SNAPSHOTS_MAX {
        return Err(Malformed::at(0, "it names more objects than a generation may"));
    }
    if !is_sorted_set(packs) || !is_sorted_set(snapshots) {
        return Err(Malformed::at(0, "its lists are not in order"));
    }
    Ok(())
}

fn is_sorted_set<T: Ord>(list: &[T]) -> bool {
    list.is_sorted_by(|a, b| a < b)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: RepositoryId = RepositoryId([1; 16]);

    fn generation(packs: Vec<NamedPack>) -> Generation {
        Generation {
            repository: HERE,
            number: 3,
            at: Time { secs: 1, nanos: 0 },
            host: "h".into(),
            packs,
            snapshots: vec![SnapshotId([1; 16]), SnapshotId([2; 16])],
        }
    }

    #[test]
    fn records_belong_to_their_generation_and_are_in_order() {
        let [a, b] = [1, 2].map(|n| (PackKind::Data, PackId([n; 32])));
        let good = generation(vec![a, b, (PackKind::Meta, PackId([0; 32]))]);
        let bytes = good.encode();
        assert_eq!(Generation::decode(&bytes, HERE, 3), Ok(good));
        assert!(Generation::decode(&bytes, HERE, 4).is_err());
        assert!(Generation::decode(&bytes, RepositoryId([2; 16]), 3).is_err());
        for packs in [vec![b, a], vec![a, a]] {
            assert!(Generation::decode(&generation(packs).encode(), HERE, 3).is_err());
        }
    }
}
