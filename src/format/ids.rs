//! Identifiers: 32-byte content hashes and 16-byte random names.
//!
//! Content ids ([`ChunkId`], [`PackId`], [`SegmentId`]) are BLAKE3 outputs, so whoever holds the
//! bytes can check the name. Random ids ([`SnapshotId`], [`KeyId`], [`RepositoryId`]) come from the
//! operating system's generator and are never used twice. In text every id is lower-case hex.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes; the text form has twice as many hex digits.
            pub const LEN: usize = $len;

            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Reads exactly `2 * LEN` lower-case hex digits; anything else is `None`.
            #[must_use]
            pub fn from_hex(text: &str) -> Option<Self> {
                if text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return None;
                }
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes).ok()?;
                Some(Self(bytes))
            }

            /// The first eight hex digits: enough for people, never stored.
            #[must_use]
            pub fn short(&self) -> String {
                hex::encode(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() {
                    s.collect_str(self)
                } else {
                    self.0.serialize(s)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    let text = String::deserialize(d)?;
                    Self::from_hex(&text).ok_or_else(|| {
                        de::Error::custom(concat!("not a ", stringify!($name)))
                    })
                } else {
                    <[u8; $len]>::deserialize(d).map(Self)
                }
            }
        }
    };
}

id_type!(
    /// Names a chunk: BLAKE3 of its plain bytes, keyed with a repository secret when encrypted.
    ChunkId,
    32
);
id_type!(
    /// Names a pack: BLAKE3 of its stored bytes, so `b3sum` of the file is its name.
    PackId,
    32
);
id_type!(
    /// Names an index segment: BLAKE3 of its stored bytes.
    SegmentId,
    32
);
id_type!(
    /// Names a writing session, and with it the snapshot that the session commits.
    SnapshotId,
    16
);
id_type!(
    /// Names one key slot.
    KeyId,
    16
);
id_type!(
    /// Names a repository; two repositories never share one.
    RepositoryId,
    16
);
id_type!(
    /// Names a reader that says what it needs.
    PinId,
    16
);
id_type!(
    /// Names one record of the ledger.
    RecordId,
    16
);

impl ChunkId {
    /// Stands for a hole in an extent list. No content has this id: finding some would be a
    /// BLAKE3 preimage of zero.
    pub const HOLE: Self = Self([0; 32]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_upper_case_is_refused() {
        let id = KeyId(*b"0123456789abcdef");
        assert_eq!(KeyId::from_hex(&id.to_string()), Some(id));
        assert_eq!(KeyId::from_hex(&"AB".repeat(16)), None);
        assert_eq!(KeyId::from_hex(&"ab".repeat(15)), None);
        assert_eq!(KeyId::from_hex(&"zz".repeat(16)), None);
        assert_eq!(id.short(), "30313233");
    }
}
