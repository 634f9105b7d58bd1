//! Sealing: one random master key, and from it a key of its own for every use and every object.
//!
//! Keys come from BLAKE3 `derive_key` (its paper, section 6.2), whose context strings are part of
//! format 1. Objects are sealed with AES-256-GCM under a key that the object's random 32-byte salt
//! makes unique, so nonces may simply count the object's parts; GCM's limits on random nonces
//! (NIST SP 800-38D, section 8.3) do not apply.
//!
//! ```text
//! sub-key     derive_key("icecore 1 <use>", master)
//! object key  derive_key("icecore 1 object", master (32) ‖ purpose (1) ‖ salt (32))
//! nonce       part number, u64 little-endian ‖ 4 zero bytes
//! sealed      ciphertext ‖ tag (16)
//! ```
//!
//! What must stay true: a salt is random and used for one object only; within an object no part
//! number is sealed twice; keys are wiped when dropped and have no Debug.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::CodecError;

/// Bytes that sealing adds.
pub const TAG_LEN: usize = 16;

const OBJECT_CONTEXT: &str = "icecore 1 object";

/// Keys for uses of which a repository has one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubKey {
    /// Keys the BLAKE3 that makes chunk ids, so ids tell nothing about content.
    ChunkId,
    /// Keys the BLAKE3 that makes the ids of tree and extent pages.
    PageId,
    /// Seeds the chunker, so chunk lengths tell less about content.
    ChunkerSeed,
    /// Authenticates the config.
    Config,
}

impl SubKey {
    const fn context(self) -> &'static str {
        match self {
            Self::ChunkId => "icecore 1 chunk id",
            Self::PageId => "icecore 1 page id",
            Self::ChunkerSeed => "icecore 1 chunker seed",
            Self::Config => "icecore 1 config",
        }
    }
}

/// Which kind of object a key seals; part of the key's derivation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Purpose {
    /// A pack of content.
    DataPack = 1,
    /// A pack of tree pages and extent pages.
    MetaPack = 2,
    /// An index segment.
    Segment = 3,
    /// A snapshot or tombstone.
    Snapshot = 4,
    /// A session's beat.
    Beat = 5,
    /// The mark that a snapshot may be pruned.
    Forgotten = 6,
    /// New tags of a snapshot.
    Tagging = 7,
    /// A reader's beat.
    Pin = 8,
    /// What a prune would delete.
    Candidates = 9,
    /// What a prune deletes.
    Decision = 10,
    /// A record of the ledger.
    Ledger = 11,
    /// What the owner has set.
    Settings = 12,
}

/// The repository's one secret, from which all others are derived. Wiped when dropped.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    /// From 32 secret bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A new one from the operating system's generator.
    pub fn generate() -> Result<Self, CodecError> {
        super::random().map(Self::new)
    }

    /// Its bytes, for another process of ours.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }

    /// The key for one use.
    #[must_use]
    pub fn derive(&self, key: SubKey) -> [u8; 32] {
        blake3::derive_key(key.context(), &*self.0)
    }
}

/// Seals and opens the parts of one object.
pub struct ObjectCipher(LessSafeKey);

impl fmt::Debug for ObjectCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectCipher(…)")
    }
}

impl ObjectCipher {
    /// The cipher of the one object of this kind that has this salt.
    #[must_use]
    pub fn new(master: &MasterKey, purpose: Purpose, salt: &[u8; 32]) -> Self {
        let key = blake3::Hasher::new_derive_key(OBJECT_CONTEXT)
            .update(&*master.0)
            .update(&[purpose as u8])
            .update(salt)
            .finalize();
        Self(aes_key(&Zeroizing::new(*key.as_bytes())))
    }

    /// Encrypts `buf` in place and appends the tag of [`TAG_LEN`] bytes. Reserve room for it.
    ///
    /// # Panics
    /// On more than 64 GiB, which AES-GCM cannot seal at once.
    pub fn seal(&self, counter: u64, associated: &[u8], buf: &mut Vec<u8>) {
        seal(&self.0, counter, associated, buf);
    }

    /// Decrypts in place; the plain bytes are `buf` without its tag. `None` when anything was
    /// changed: key, counter, associated data or bytes. `buf` is then worthless.
    #[must_use]
    pub fn open<'a>(
        &self,
        counter: u64,
        associated: &[u8],
        buf: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        self.0.open_in_place(nonce(counter), Aad::from(associated), buf).ok()
    }
}

/// Seals the master key for a key slot; 48 bytes.
///
/// The nonce is zero: `key` comes from the slot's own random salt and seals nothing else.
#[must_use]
pub fn wrap(key: &[u8; 32], associated: &[u8], master: &MasterKey) -> Vec<u8> {
    let mut wrapped = Vec::with_capacity(master.0.len() + TAG_LEN);
    wrapped.extend_from_slice(&*master.0);
    seal(&aes_key(key), 0, associated, &mut wrapped);
    wrapped
}

/// Opens what [`wrap`] made; `None` for a wrong key or a changed slot.
#[must_use]
pub fn unwrap(key: &[u8; 32], associated: &[u8], wrapped: &[u8]) -> Option<MasterKey> {
    let mut buf = Zeroizing::new(wrapped.to_vec());
    let plain = aes_key(key).open_in_place(nonce(0), Aad::from(associated), &mut buf).ok()?;
    <[u8; 32]>::try_from(&*plain).ok().map(MasterKey::new)
}

fn aes_key(key: &[u8; 32]) -> LessSafeKey {
    match UnboundKey::new(&AES_256_GCM, key) {
        Ok(key) => LessSafeKey::new(key),
        Err(_) => unreachable!("32 bytes are an AES-256 key"),
    }
}

fn seal(key: &LessSafeKey, counter: u64, associated: &[u8], buf: &mut Vec<u8>) {
    let sealed = key.seal_in_place_append_tag(nonce(counter), Aad::from(associated), buf);
    assert!(sealed.is_ok(), "{} bytes are too many to seal", buf.len());
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master() -> MasterKey {
        MasterKey::new([7; 32])
    }

    fn sealed(purpose: Purpose, salt: u8, counter: u64, associated: &[u8]) -> Vec<u8> {
        let mut buf = b"plain".to_vec();
        ObjectCipher::new(&master(), purpose, &[salt; 32]).seal(counter, associated, &mut buf);
        buf
    }

    #[test]
    fn sealed_bytes_open_again() {
        let mut buf = sealed(Purpose::DataPack, 1, 2, b"ad");
        assert_eq!(buf.len(), 5 + TAG_LEN);
        let cipher = ObjectCipher::new(&master(), Purpose::DataPack, &[1; 32]);
        assert_eq!(cipher.open(2, b"ad", &mut buf).unwrap(), b"plain");
    }

    #[test]
    fn sealing_in_reserved_room_does_not_move_the_buffer() {
        let mut buf = Vec::with_capacity(1000 + TAG_LEN);
        buf.resize(1000, 1);
        let before = buf.as_ptr();
        ObjectCipher::new(&master(), Purpose::Segment, &[1; 32]).seal(0, b"", &mut buf);
        assert_eq!((buf.as_ptr(), buf.len()), (before, 1016));
    }

    #[test]
    fn any_changed_input_is_noticed() {
        let good = sealed(Purpose::DataPack, 1, 2, b"ad");
        let open = |master: &MasterKey, purpose, salt, counter, ad: &[u8], buf: &[u8]| {
            let cipher = ObjectCipher::new(master, purpose, &[salt; 32]);
            cipher.open(counter, ad, &mut buf.to_vec()).is_some()
        };
        assert!(open(&master(), Purpose::DataPack, 1, 2, b"ad", &good));
        assert!(!open(&MasterKey::new([8; 32]), Purpose::DataPack, 1, 2, b"ad", &good));
        assert!(!open(&master(), Purpose::MetaPack, 1, 2, b"ad", &good));
        assert!(!open(&master(), Purpose::DataPack, 2, 2, b"ad", &good));
        assert!(!open(&master(), Purpose::DataPack, 1, 3, b"ad", &good));
        assert!(!open(&master(), Purpose::DataPack, 1, 2, b"da", &good));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!open(&master(), Purpose::DataPack, 1, 2, b"ad", &bad), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(!open(&master(), Purpose::DataPack, 1, 2, b"ad", &good[..len]), "{len}");
        }
    }

    #[test]
    fn wrapped_key_opens_with_its_key_and_slot_only() {
        let wrapped = wrap(&[1; 32], b"slot", &master());
        assert_eq!(wrapped.len(), 48);
        let opened = unwrap(&[1; 32], b"slot", &wrapped).unwrap();
        assert_eq!(opened.derive(SubKey::Config), master().derive(SubKey::Config));
        assert!(unwrap(&[2; 32], b"slot", &wrapped).is_none());
        assert!(unwrap(&[1; 32], b"tols", &wrapped).is_none());
        assert!(unwrap(&[1; 32], b"slot", &wrapped[..47]).is_none());
        assert!(unwrap(&[1; 32], b"slot", b"").is_none());
    }

    #[test]
    fn debug_shows_no_secret() {
        let cipher = ObjectCipher::new(&master(), Purpose::Beat, &[0; 32]);
        assert_eq!(format!("{:?} {cipher:?}", master()), "MasterKey(…) ObjectCipher(…)");
    }

    #[test]
    fn golden_derivations_and_sealed_bytes() {
        let keys = [SubKey::ChunkId, SubKey::ChunkerSeed, SubKey::Config]
            .map(|key| hex::encode(&master().derive(key)[..8]));
        assert_eq!(keys, ["9058405a265322ba", "167facfd57379087", "06bd187361bb1e13"]);
        let purposes = [
            Purpose::DataPack,
            Purpose::MetaPack,
            Purpose::Segment,
            Purpose::Snapshot,
            Purpose::Beat,
        ];
        let bytes = purposes.map(|purpose| hex::encode(sealed(purpose, 9, 0x0102, b"ad")));
        assert_eq!(
            bytes,
            [
                "98c2d570edcf5165106f039c5533fe5e8c4a0358cd",
                "e56d3d10b1470e36c5516dc97cd04785d458aedbf6",
                "b68ca5bbf12c7c6cdf862e6666380a5392ea5977b3",
                "9d6da7a080451053ac74fd11a110174c11c953a0f3",
                "ee539faf1fd7735727d55f3eef4efd07f94643ab4f"
            ]
        );
        // The same as AESGCM of Python's cryptography 48.
        assert_eq!(
            hex::encode(wrap(&[1; 32], b"slot", &master())),
            "b8329fdb723c04b8947e95427623c646b2c198b7829833fdcb2309d209d1691ca19e8e747d287db5528f2d2454fa9e0f"
        );
    }
}
