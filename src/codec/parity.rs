//! Reed-Solomon parity of packs: made from stored bytes, and the way back from damaged ones.
//!
//! Works on sealed bytes and knows no key. What must stay true: [`rebuild`] returns bytes whose
//! BLAKE3 is the pack's id, or an error; whatever the parity object says.

use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

use crate::format::parity::{Parity, ParityHead, SUM_LEN};
use crate::format::{Malformed, PackId, PackKind, RepositoryId, checksum16};

/// Shards of a large pack. Damage comes in sectors and pages of 4 KiB; a smaller shard means that
/// less is lost with one of them, and longer lists of checksums.
const SHARD_MAX: usize = 16 << 10;
/// Shards of a small pack: one sector.
const SHARD_MIN: usize = 512;
/// So many shards a pack has where neither bound comes first.
const SHARDS_AIM: usize = 256;

/// Which pack it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParityOf {
    /// What the pack holds.
    pub kind: PackKind,
    /// Its repository.
    pub repository: RepositoryId,
    /// Its id.
    pub pack: PackId,
}

/// Why a pack cannot be rebuilt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParityError {
    /// The parity object itself is no use.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It belongs to another pack.
    #[error("it belongs to pack {pack} of repository {repository}")]
    Foreign {
        /// The pack that it states.
        pack: PackId,
        /// The repository that it states.
        repository: RepositoryId,
    },
    /// More is damaged than the recovery shards make up for.
    #[error("{damaged} of {originals} shards are damaged, {recoveries} can be made up for")]
    TooMuch {
        /// Original shards that are damaged.
        damaged: usize,
        /// Original shards.
        originals: usize,
        /// Recovery shards that are good.
        recoveries: usize,
    },
    /// The shards fit their checksums and the pack does not fit its id.
    #[error("what it gives is not the pack")]
    OtherBytes,
    /// The coder refuses.
    #[error("the coder refuses: {0}")]
    Coder(String),
}

impl From<reed_solomon_simd::Error> for ParityError {
    fn from(err: reed_solomon_simd::Error) -> Self {
        Self::Coder(err.to_string())
    }
}

/// Bytes of a shard of a pack of that length.
fn shard_len(pack_len: usize) -> usize {
    let aimed = pack_len.div_ceil(SHARDS_AIM).next_multiple_of(64);
    aimed.clamp(SHARD_MIN, SHARD_MAX)
}

/// The parity object of a pack: recovery shards for `permille` thousandths of its shards, at least
/// one.
pub fn protect(of: ParityOf, stored: &[u8], permille: u16) -> Result<Vec<u8>, ParityError> {
    let shard_len = shard_len(stored.len());
    let originals = stored.len().div_ceil(shard_len);
    let recoveries = recoveries(originals, permille);
    let mut encoder = ReedSolomonEncoder::new(originals, recoveries, shard_len)?;
    let mut sums: Vec<[u8; SUM_LEN]> = Vec::with_capacity(originals + recoveries);
    for shard in shards(stored, shard_len) {
        sums.push(checksum16(&shard));
        encoder.add_original_shard(shard)?;
    }
    let result = encoder.encode()?;
    let mut recovery = Vec::with_capacity(recoveries * shard_len);
    for shard in result.recovery_iter() {
        sums.push(checksum16(shard));
        recovery.extend_from_slice(shard);
    }
    let head = ParityHead {
        kind: of.kind,
        shard_len: shard_len as u32,
        originals: originals as u32,
        recoveries: recoveries as u32,
        pack_len: stored.len() as u64,
        repository: of.repository,
        pack: of.pack,
    };
    Ok(head.encode(&sums, &recovery))
}

fn recoveries(originals: usize, permille: u16) -> usize {
    (originals * usize::from(permille)).div_ceil(1000).clamp(1, originals.max(1))
}

/// Whether a parity object makes up for less than one that [`protect`] would make now.
#[must_use]
pub fn is_less_than(head: &ParityHead, permille: u16) -> bool {
    let originals = head.originals as usize;
    (head.recoveries as usize) < recoveries(originals, permille)
}

/// All shards of a pack, the last one filled up.
fn shards(stored: &[u8], len: usize) -> impl Iterator<Item = std::borrow::Cow<'_, [u8]>> {
    stored.chunks(len).map(move |shard| {
        if shard.len() == len {
            return shard.into();
        }
        let mut last = shard.to_vec();
        last.resize(len, 0);
        last.into()
    })
}

/// Checks that a parity object is about that pack.
pub fn check_of(parity: &Parity<'_>, of: ParityOf) -> Result<(), ParityError> {
    let ParityHead { kind, repository, pack, .. } = parity.head;
    if (kind, repository, pack) == (of.kind, of.repository, of.pack) {
        return Ok(());
    }
    Err(ParityError::Foreign { pack, repository })
}

/// The pack, from what is left of it and its parity. `damaged` may be short, long or empty.
pub fn rebuild(of: ParityOf, damaged: &[u8], parity: &[u8]) -> Result<Vec<u8>, ParityError> {
    let parity = Parity::decode(parity)?;
    check_of(&parity, of)?;
    let head = parity.head;
    let (len, originals) = (head.shard_len as usize, head.originals as usize);
    let pack_len = usize::try_from(head.pack_len).unwrap_or(usize::MAX);
    let damaged = damaged.get(..pack_len).unwrap_or(damaged);
    let found: Vec<_> = shards(damaged, len).collect();
    let good = |number: usize| found.get(number).filter(|shard| parity.is_good(number, shard));
    let lost: Vec<usize> = (0..originals).filter(|number| good(*number).is_none()).collect();
    let recovery = (0..head.recoveries as usize)
        .filter_map(|number| Some((number, parity.recovery(number)?)))
        .take(lost.len());
    let recovery: Vec<_> = recovery.collect();
    if recovery.len() < lost.len() {
        let (damaged, recoveries) = (lost.len(), recovery.len());
        return Err(ParityError::TooMuch { damaged, originals, recoveries });
    }
    let mut pack = Vec::with_capacity(originals * len);
    if lost.is_empty() {
        found.iter().for_each(|shard| pack.extend_from_slice(shard));
    } else {
        let mut decoder = ReedSolomonDecoder::new(originals, head.recoveries as usize, len)?;
        for (number, shard) in recovery {
            decoder.add_recovery_shard(number, shard)?;
        }
        for (number, shard) in (0..originals).filter_map(|number| Some((number, good(number)?))) {
            decoder.add_original_shard(number, shard)?;
        }
        let result = decoder.decode()?;
        for number in 0..originals {
            let shard =
                good(number).map(AsRef::as_ref).or_else(|| result.restored_original(number));
            pack.extend_from_slice(shard.unwrap_or_default());
        }
    }
    pack.truncate(pack_len);
    if *blake3::hash(&pack).as_bytes() == of.pack.0 {
        Ok(pack)
    } else {
        Err(ParityError::OtherBytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(b"pack").finalize_xof().fill(&mut bytes);
        bytes
    }

    fn of(pack: &[u8]) -> ParityOf {
        let id = PackId(*blake3::hash(pack).as_bytes());
        ParityOf { kind: PackKind::Data, repository: RepositoryId([1; 16]), pack: id }
    }

    #[test]
    fn share_is_kept_and_small_packs_are_not_wasted() {
        for (len, most) in
            [(3000, 1000), (100_000, 17_000), (1 << 20, 75_000), (33 << 20, 1_850_000)]
        {
            let pack = noise(len);
            let parity = protect(of(&pack), &pack, 50).unwrap();
            assert!(parity.len() <= most, "{} bytes for {len}", parity.len());
            let head = Parity::decode(&parity).unwrap().head;
            assert!(u64::from(head.recoveries) * 20 >= u64::from(head.originals), "{head:?}");
        }
    }

    #[test]
    fn lost_pack_comes_back_from_parity_of_its_size() {
        let pack = noise(50_001);
        let parity = protect(of(&pack), &pack, 1000).unwrap();
        assert!(rebuild(of(&pack), &[], &parity).unwrap() == pack);
        let parity = protect(of(&pack), &pack, 500).unwrap();
        assert!(matches!(rebuild(of(&pack), &[], &parity), Err(ParityError::TooMuch { .. })));
    }

    #[test]
    fn pack_that_is_short_or_long_comes_back() {
        let pack = noise(200_000);
        let parity = protect(of(&pack), &pack, 50).unwrap();
        assert!(rebuild(of(&pack), &pack[..195_000], &parity).unwrap() == pack);
        let long = [&pack[..], &[7; 5000]].concat();
        assert!(rebuild(of(&pack), &long, &parity).unwrap() == pack);
        assert!(rebuild(of(&pack), &pack, &parity).unwrap() == pack);
        assert!(rebuild(of(&pack), &pack[..100_000], &parity).is_err());
    }

    #[test]
    fn parity_of_another_pack_is_refused() {
        let (a, b) = (noise(5000), noise(6000));
        let parity = protect(of(&a), &a, 50).unwrap();
        let err = rebuild(of(&b), &b, &parity).unwrap_err();
        assert!(matches!(err, ParityError::Foreign { .. }), "{err}");
        // One that claims the id of a pack which it was not made from gives an error, no bytes.
        let lie = protect(ParityOf { pack: of(&b).pack, ..of(&a) }, &a, 50).unwrap();
        assert_eq!(rebuild(of(&b), &a, &lie), Err(ParityError::OtherBytes));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_damage_up_to_the_share_heals_and_more_is_an_error(
            len in 1_usize..300_000,
            permille in 1_u16..=1000,
            picks in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
            to_recovery in any::<bool>(),
        ) {
            let pack = noise(len);
            let mut parity = protect(of(&pack), &pack, permille).unwrap();
            let head = Parity::decode(&parity).unwrap().head;
            let (size, shards) = (head.shard_len as usize, head.originals as usize);
            let mut lost: Vec<_> = picks.iter().map(|pick| pick.index(shards)).collect();
            lost.sort_unstable();
            lost.dedup();
            let mut bad = pack.clone();
            for number in &lost {
                let end = bad.len().min((number + 1) * size);
                bad[number * size..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
            }
            let mut good = head.recoveries as usize;
            if to_recovery {
                let at = (head.object_len() - good * size) / 2;
                parity[at] ^= 1;
                good -= 1;
            }
            match rebuild(of(&pack), &bad, &parity) {
                Ok(healed) => prop_assert!(lost.len() <= good && healed == pack),
                Err(ParityError::TooMuch { damaged, recoveries, .. }) => {
                    prop_assert!(damaged == lost.len() && recoveries == good && damaged > good);
                }
                Err(err) => prop_assert!(false, "{err}"),
            }
        }
    }
}
