//! Which packs are read, and in what order.
//!
//! The least recently verified come first, those that never were before all. A sample takes packs
//! by a hash of their ids and a seed, until it has its share of the bytes: large packs are as likely
//! as their size, and one seed always gives one sample.

use std::cmp::Reverse;

use crate::format::PackKind;
use crate::repo::{LastVerified, StoredPack};

use super::VerifyOptions;

/// A random part of the packs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Of the bytes, from 0 to 1.
    pub share: f64,
    /// Which of all samples of that size.
    pub seed: u64,
}

/// Splits packs into those to read, in order, and the others.
pub(super) fn split(
    packs: Vec<StoredPack>,
    last: &LastVerified,
    options: &VerifyOptions,
    now: u64,
) -> (Vec<StoredPack>, Vec<StoredPack>) {
    let is_due = |pack: &StoredPack| match options.older_than {
        Some(age) => last.get(pack).is_none_or(|at| at.saturating_add(age.as_secs()) < now),
        None => true,
    };
    let (mut read, mut rest): (Vec<_>, Vec<_>) = packs.into_iter().partition(is_due);
    if let Some(sample) = options.sample {
        rest.extend(sample.take_from(&mut read));
    }
    // Pages before content of the same age: a lost page costs more.
    let order = |pack: &StoredPack| {
        (last.get(pack).unwrap_or(0), Reverse(pack.kind == PackKind::Meta), pack.id)
    };
    read.sort_by_cached_key(order);
    (read, rest)
}

impl Sample {
    /// Keeps the sample in `packs`; returns what is left over.
    fn take_from(self, packs: &mut Vec<StoredPack>) -> Vec<StoredPack> {
        let total: u64 = packs.iter().map(|pack| pack.len).sum();
        let wanted = (total as f64 * self.share).ceil() as u64;
        packs.sort_by_cached_key(|pack| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&self.seed.to_le_bytes()).update(&pack.id.0);
            *hasher.finalize().as_bytes()
        });
        let mut taken = 0_u64;
        let before = packs.iter().position(|pack| {
            let is_enough = taken >= wanted;
            taken += pack.len;
            is_enough
        });
        packs.split_off(before.unwrap_or(packs.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::format::{PackId, Verified, pack_prefix};

    fn pack(n: u8, kind: PackKind) -> StoredPack {
        StoredPack { kind, id: PackId([n; 32]), len: 100 + u64::from(n) }
    }

    fn ids(packs: &[StoredPack]) -> Vec<u8> {
        packs.iter().map(|pack| pack.id.0[0]).collect()
    }

    fn last(packs: &[StoredPack], times: &[(u8, u64)]) -> LastVerified {
        let mut last = LastVerified::of(packs);
        for (n, secs) in times {
            let packs = vec![pack_prefix(&PackId([*n; 32]))];
            last.add(*secs, &Verified { packs, ..Verified::default() });
        }
        last
    }

    #[test]
    fn the_least_recently_verified_come_first_and_recent_ones_can_be_left_out() {
        let mut packs: Vec<_> = (1..=5).map(|n| pack(n, PackKind::Data)).collect();
        packs.push(pack(9, PackKind::Meta));
        let last = last(&packs, &[(1, 500), (2, 300), (3, 400)]);
        let mut options = VerifyOptions { read_data: true, ..VerifyOptions::default() };
        let (read, rest) = split(packs.clone(), &last, &options, 1000);
        assert_eq!((ids(&read), ids(&rest)), (vec![9, 4, 5, 2, 3, 1], vec![]));
        options.older_than = Some(Duration::from_secs(600));
        let (read, rest) = split(packs, &last, &options, 1000);
        assert_eq!((ids(&read), ids(&rest)), (vec![9, 4, 5, 2], vec![1, 3]));
    }

    #[test]
    fn a_sample_has_its_share_and_every_pack_is_in_some() {
        let packs: Vec<_> = (0..200).map(|n| pack(n, PackKind::Data)).collect();
        let none = LastVerified::of(&packs);
        let total: u64 = packs.iter().map(|pack| pack.len).sum();
        let sample = |seed| {
            let sample = Some(Sample { share: 0.1, seed });
            let options = VerifyOptions { sample, ..VerifyOptions::default() };
            let (read, rest) = split(packs.clone(), &none, &options, 0);
            assert_eq!(read.len() + rest.len(), 200);
            let bytes: u64 = read.iter().map(|pack| pack.len).sum();
            assert!((total / 10..total / 10 + 300).contains(&bytes), "{bytes} of {total}");
            ids(&read)
        };
        assert_eq!(sample(1), sample(1));
        assert_ne!(sample(1), sample(2));
        let mut seen: Vec<_> = (0..200).flat_map(sample).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 200);
        let all = Sample { share: 1.0, seed: 0 };
        assert!(all.take_from(&mut packs.clone()).is_empty());
    }
}
