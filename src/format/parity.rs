//! Parity objects: recovery shards of one pack, and what tells good shards from damaged ones.
//!
//! A pack's stored bytes are cut into K original shards of S bytes, the last one filled up with
//! zeroes. R recovery shards of S bytes stand here; any K of all K + R give the pack back. A shard
//! whose checksum does not hold counts as missing.
//! ```text
//! offset       size      field
//!      0        112      head
//!    112   16(K + R)     list: first 16 bytes of BLAKE3 of each shard, originals first
//!      …         SR      recovery shards
//!      …   16(K + R)     the list again
//!      …        112      the head again
//! ```
//! Head:
//! ```text
//!      0    8  magic "icepari\0"
//!      8    1  version, 1
//!      9    1  kind of the pack: 1 data, 2 meta
//!     10    6  zero
//!     16    4  S, u32: a multiple of 64
//!     20    4  K, u32
//!     24    4  R, u32: at most K
//!     28    4  zero
//!     32    8  length of the pack, u64
//!     40   16  repository id
//!     56   32  pack id
//!     88    8  zero
//!     96   16  checksum: first 16 bytes of BLAKE3(head[0..96] ‖ list)
//! ```
//! So damage to one head and one list, whichever, costs nothing, and no key is needed to heal.

use super::{Malformed, PackId, PackKind, RepositoryId, checksum16, limits};

/// Bytes of one head.
pub const HEAD_LEN: usize = 112;
/// Bytes of a shard's checksum.
pub const SUM_LEN: usize = 16;
const MAGIC: [u8; 8] = *b"icepari\0";
const VERSION: u8 = 1;
const SIGNED: usize = 96;

/// What a parity object says of its pack and of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParityHead {
    /// What the pack holds.
    pub kind: PackKind,
    /// Bytes of a shard.
    pub shard_len: u32,
    /// Original shards.
    pub originals: u32,
    /// Recovery shards.
    pub recoveries: u32,
    /// Bytes of the pack.
    pub pack_len: u64,
    /// The repository of the pack.
    pub repository: RepositoryId,
    /// The pack.
    pub pack: PackId,
}

/// A parity object whose head and list hold; its recovery shards are not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parity<'a> {
    /// The head.
    pub head: ParityHead,
    /// Checksums of all shards, originals first.
    pub sums: Vec<[u8; SUM_LEN]>,
    /// Whether both copies of head and list hold, and the object is as long as it says.
    pub is_whole: bool,
    bytes: &'a [u8],
}

impl ParityHead {
    /// Shards of both kinds.
    #[must_use]
    pub const fn shards(&self) -> usize {
        self.originals as usize + self.recoveries as usize
    }

    const fn list_len(&self) -> usize {
        self.shards() * SUM_LEN
    }

    /// Bytes of the whole object.
    #[must_use]
    pub const fn object_len(&self) -> usize {
        2 * (HEAD_LEN + self.list_len()) + self.recoveries as usize * self.shard_len as usize
    }

    fn signed(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[VERSION, self.kind as u8, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&self.shard_len.to_le_bytes());
        bytes.extend_from_slice(&self.originals.to_le_bytes());
        bytes.extend_from_slice(&self.recoveries.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.pack_len.to_le_bytes());
        bytes.extend_from_slice(&self.repository.0);
        bytes.extend_from_slice(&self.pack.0);
        bytes.extend_from_slice(&[0; 8]);
        bytes
    }

    /// Puts an object together. `sums` has a checksum for each shard, `recovery` the recovery
    /// shards one after the other.
    #[must_use]
    pub fn encode(&self, sums: &[[u8; SUM_LEN]], recovery: &[u8]) -> Vec<u8> {
        debug_assert_eq!(sums.len(), self.shards());
        debug_assert_eq!(recovery.len(), self.recoveries as usize * self.shard_len as usize);
        let list = sums.concat();
        let mut head = self.signed();
        head.extend_from_slice(&signature(&head, &list));
        [&head, &list, recovery, &list, &head].concat()
    }

    /// The fields of a head, each possible, all that without the list's help can be said.
    fn decode(bytes: &[u8]) -> Result<(Self, u8, [u8; SUM_LEN]), Malformed> {
        let mut cursor = Cursor { rest: bytes };
        if cursor.take()? != MAGIC {
            return Err(Malformed::at(0, "parity has another magic"));
        }
        let [version, kind, zero @ ..] = cursor.take::<8>()?;
        let (shard_len, originals) = (cursor.u32()?, cursor.u32()?);
        let (recoveries, zero2) = (cursor.u32()?, cursor.u32()?);
        let pack_len = u64::from_le_bytes(cursor.take()?);
        let (repository, pack) = (RepositoryId(cursor.take()?), PackId(cursor.take()?));
        let zero3: [u8; 8] = cursor.take()?;
        let sum = cursor.take()?;
        let kind = PackKind::from_byte(kind)
            .ok_or_else(|| Malformed::at(9, format!("parity of an unknown kind of pack {kind}")))?;
        if version == 0 || zero != [0; 6] || zero2 != 0 || zero3 != [0; 8] {
            return Err(Malformed::at(8, "parity has impossible fields"));
        }
        let head = Self { kind, shard_len, originals, recoveries, pack_len, repository, pack };
        head.check()?;
        Ok((head, version, sum))
    }

    /// Capped sizes: what is computed from them neither overflows nor allocates without bounds.
    fn check(&self) -> Result<(), Malformed> {
        let shard = u64::from(self.shard_len);
        let sized = shard > 0 && shard.is_multiple_of(64) && shard <= limits::PARITY_SHARD_MAX;
        if !sized || self.pack_len > limits::PACK_MAX {
            return Err(Malformed::at(16, "parity has impossible lengths"));
        }
        let counted = u64::from(self.originals) == self.pack_len.div_ceil(shard)
            && (1..=limits::PARITY_SHARDS_MAX).contains(&self.originals)
            && (1..=self.originals).contains(&self.recoveries);
        if !counted {
            return Err(Malformed::at(20, "parity has impossible counts"));
        }
        Ok(())
    }
}

fn signature(signed: &[u8], list: &[u8]) -> [u8; SUM_LEN] {
    checksum16(&[signed, list].concat())
}

impl<'a> Parity<'a> {
    /// Reads a parity object by whichever head and list hold.
    ///
    /// # Errors
    /// Where no head and list hold together; a later format is told as such.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let last = bytes.len().saturating_sub(HEAD_LEN);
        let mut failure = Malformed::at(bytes.len(), "parity is cut short");
        for at in [0, last] {
            let Some(head) = bytes.get(at..at + HEAD_LEN) else { continue };
            match Self::with_head(bytes, head) {
                Ok(parity) => return Ok(parity),
                // A later format says so, whatever the other head is.
                Err(err @ Malformed::Newer { .. }) => failure = err,
                Err(err) if !matches!(failure, Malformed::Newer { .. }) => failure = err,
                Err(_) => {}
            }
        }
        Err(failure)
    }

    fn with_head(bytes: &'a [u8], raw: &[u8]) -> Result<Self, Malformed> {
        let (head, version, sum) = ParityHead::decode(raw)?;
        let signed = raw.get(..SIGNED).unwrap_or_default();
        let ends = [HEAD_LEN, head.object_len() - HEAD_LEN - head.list_len()];
        // Cut short at its beginning, it still ends with a list and a head.
        let from_end = bytes.len().checked_sub(HEAD_LEN + head.list_len());
        let lists = ends.into_iter().chain(from_end).map(|at| bytes.get(at..at + head.list_len()));
        let holds = |list: &&[u8]| signature(signed, list) == sum;
        let list = lists.flatten().find(holds);
        let list =
            list.ok_or_else(|| Malformed::at(HEAD_LEN, "parity's checksum does not hold"))?;
        // Under a checksum that holds, so that damage never looks like a later version.
        if version > VERSION {
            return Err(Malformed::Newer { found: version.into(), supported: VERSION.into() });
        }
        let sums = list.as_chunks::<SUM_LEN>().0.to_vec();
        let [front, back] = ends.map(|at| bytes.get(at..at + head.list_len()));
        let is_whole = bytes.len() == head.object_len()
            && (front, back) == (Some(list), Some(list))
            && bytes.starts_with(raw)
            && bytes.ends_with(raw);
        Ok(Self { head, sums, is_whole, bytes })
    }

    /// The recovery shard of that number, where its checksum holds.
    #[must_use]
    pub fn recovery(&self, number: usize) -> Option<&'a [u8]> {
        let len = self.head.shard_len as usize;
        let start = HEAD_LEN + self.head.list_len() + number * len;
        let shard = self.bytes.get(start..start + len)?;
        self.is_good(self.head.originals as usize + number, shard).then_some(shard)
    }

    /// Whether these bytes are the shard of that number, originals first.
    #[must_use]
    pub fn is_good(&self, number: usize, shard: &[u8]) -> bool {
        self.sums.get(number) == Some(&checksum16(shard))
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (field, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| Malformed::at(0, "parity's head is cut short"))?;
        self.rest = rest;
        Ok(*field)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (ParityHead, Vec<u8>) {
        let head = ParityHead {
            kind: PackKind::Data,
            shard_len: 64,
            originals: 3,
            recoveries: 2,
            pack_len: 150,
            repository: RepositoryId([7; 16]),
            pack: PackId([9; 32]),
        };
        let recovery = [vec![1; 64], vec![2; 64]].concat();
        let mut sums = vec![[5; 16]; 3];
        sums.extend(recovery.chunks(64).map(checksum16));
        let bytes = head.encode(&sums, &recovery);
        (head, bytes)
    }

    #[test]
    fn either_head_with_either_list_is_enough() {
        let (head, bytes) = sample();
        assert_eq!(bytes.len(), head.object_len());
        let whole = Parity::decode(&bytes).unwrap();
        assert!(whole.is_whole && whole.head == head);
        assert_eq!(whole.recovery(1), Some(&[2; 64][..]));
        let (list, end) = (5 * SUM_LEN, bytes.len());
        for at in [5, 60, 100, HEAD_LEN + 1, end - 3, end - 50, end - HEAD_LEN - list + 2] {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            let parity = Parity::decode(&bad).unwrap();
            assert!(!parity.is_whole && parity.head == head, "byte {at}");
            assert_eq!(parity.recovery(0), Some(&[1; 64][..]), "byte {at}");
        }
        for (a, b) in [(5, end - HEAD_LEN - 1), (HEAD_LEN, end - 1)] {
            let mut bad = bytes.clone();
            bad[a] ^= 1;
            bad[b] ^= 1;
            assert!(Parity::decode(&bad).is_ok(), "bytes {a} and {b}");
        }
        let mut bad = bytes.clone();
        (bad[0], bad[end - 1]) = (0, 0xff);
        assert!(Parity::decode(&bad).is_err(), "both heads");
    }

    #[test]
    fn damaged_recovery_shard_is_no_shard() {
        let (_, mut bytes) = sample();
        bytes[HEAD_LEN + 5 * SUM_LEN + 70] ^= 1;
        let parity = Parity::decode(&bytes).unwrap();
        assert!(parity.is_whole, "head and lists are");
        assert_eq!((parity.recovery(0).is_some(), parity.recovery(1)), (true, None));
        assert_eq!(parity.recovery(2), None);
    }

    #[test]
    fn cut_object_is_read_from_what_is_left() {
        let (head, bytes) = sample();
        for cut in 0..bytes.len() {
            if let Ok(parity) = Parity::decode(&bytes[..cut]) {
                assert!(!parity.is_whole && parity.head == head);
            } else {
                assert!(cut < HEAD_LEN + 5 * SUM_LEN, "cut to {cut}");
            }
        }
        let tail = Parity::decode(&bytes[90..]).unwrap();
        assert!(!tail.is_whole && tail.head == head && tail.recovery(0).is_none());
    }

    #[test]
    fn absurd_heads_are_refused_under_checksums_that_hold() {
        let (good, _) = sample();
        let bad = [
            ParityHead { shard_len: 0, ..good },
            ParityHead { shard_len: 65, ..good },
            ParityHead { shard_len: u32::MAX - 63, ..good },
            ParityHead { originals: 4, ..good },
            ParityHead { originals: u32::MAX, recoveries: 1, pack_len: u64::MAX, ..good },
            ParityHead { recoveries: 0, ..good },
            ParityHead { recoveries: 4, ..good },
            ParityHead { pack_len: 0, originals: 0, recoveries: 0, ..good },
        ];
        for head in bad {
            let mut bytes = head.signed();
            bytes.extend_from_slice(&signature(&bytes, &[]));
            assert!(Parity::decode(&bytes).is_err(), "{head:?}");
        }
    }

    #[test]
    fn later_version_is_newer_and_no_damage() {
        let (_, mut bytes) = sample();
        bytes[8] = 2;
        let list = bytes[HEAD_LEN..HEAD_LEN + 5 * SUM_LEN].to_vec();
        let sum = signature(&bytes[..SIGNED], &list);
        bytes[SIGNED..HEAD_LEN].copy_from_slice(&sum);
        let last = bytes.len() - HEAD_LEN;
        bytes[last + 8] = 2;
        assert!(matches!(Parity::decode(&bytes[..last]), Err(Malformed::Newer { .. })));
        assert!(matches!(Parity::decode(&bytes), Err(Malformed::Newer { found: 2, .. })));
    }
}
