//! The frame around every variable record: says what it is, how long, and whether it is whole.
//!
//! ```text
//! offset size  field
//!      0    4  magic "ICEF"
//!      4    1  kind (FrameKind)
//!      5    1  version of this kind's record, 1
//!      6    1  seal: 0 plain, 1 AES-256-GCM
//!      7    1  zero
//!      8    8  payload length, u64 little-endian
//!     16   16  checksum: first 16 bytes of BLAKE3(header[0..16] ‖ payload)
//!     32    …  payload; sealed: salt (32) ‖ ciphertext ‖ tag (16)
//! ```
//! The checksum needs no key, so damage and a wrong key are told apart. It is no protection
//! against an attacker: that is the seal's part.

use super::{Malformed, limits};

/// Bytes before the payload.
pub const HEADER_LEN: usize = 32;
const MAGIC: [u8; 4] = *b"ICEF";
const VERSION: u8 = 1;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// The repository's config.
    Config = 1,
    /// A key slot.
    Key = 2,
    /// One beat of a session.
    Beat = 3,
    /// A snapshot or a tombstone.
    Snapshot = 4,
    /// A page of a directory.
    TreePage = 5,
    /// A page of a file's extent list.
    ExtentPage = 6,
    /// The mark that a snapshot may be pruned.
    Forgotten = 7,
    /// New tags of a snapshot.
    Tagging = 8,
    /// One beat of a reader.
    Pin = 9,
    /// What a prune would delete.
    Candidates = 10,
    /// What a prune deletes.
    Decision = 11,
    /// A record of verify, replicate or drill.
    Ledger = 12,
    /// What the owner has set.
    Settings = 13,
}

impl FrameKind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 13] = [
        Self::Config,
        Self::Key,
        Self::Beat,
        Self::Snapshot,
        Self::TreePage,
        Self::ExtentPage,
        Self::Forgotten,
        Self::Tagging,
        Self::Pin,
        Self::Candidates,
        Self::Decision,
        Self::Ledger,
        Self::Settings,
    ];

    /// The longest payload of this kind.
    #[must_use]
    pub const fn payload_max(self) -> usize {
        match self {
            Self::Config => limits::CONFIG_MAX,
            Self::Key => limits::KEY_SLOT_MAX,
            Self::Beat => limits::BEAT_MAX,
            Self::Snapshot => limits::SNAPSHOT_MAX,
            Self::TreePage | Self::ExtentPage => limits::PAGE_MAX - HEADER_LEN,
            Self::Forgotten | Self::Tagging | Self::Pin => limits::MARK_MAX,
            Self::Candidates | Self::Decision => limits::GENERATION_MAX,
            Self::Ledger => limits::LEDGER_RECORD_MAX,
            Self::Settings => limits::SETTINGS_MAX,
        }
    }
}

/// How a payload is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Seal {
    /// Readable by anyone.
    Plain = 0,
    /// AES-256-GCM under a key derived from the master key and the object's salt.
    Aes256Gcm = 1,
}

impl Seal {
    /// Reads the byte that headers carry.
    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Plain),
            1 => Some(Self::Aes256Gcm),
            _ => None,
        }
    }
}

/// A frame that was checked: kind, length and checksum hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload holds.
    pub kind: FrameKind,
    /// How the payload is protected.
    pub seal: Seal,
    /// The payload as stored.
    pub payload: &'a [u8],
}

fn checksum(head: &[u8], payload: &[u8]) -> [u8; 16] {
    let hash = blake3::Hasher::new().update(head).update(payload).finalize();
    let mut short = [0; 16];
    short.copy_from_slice(&hash.as_bytes()[..16]);
    short
}

/// Puts a payload into a frame.
///
/// # Panics
/// When the payload is longer than its kind allows: the writer's own caps are broken.
#[must_use]
pub fn encode(kind: FrameKind, seal: Seal, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= kind.payload_max(), "{kind:?} payload of {} bytes", payload.len());
    let mut bytes = Vec::with_capacity(HEADER_LEN + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[kind as u8, VERSION, seal as u8, 0]);
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    let sum = checksum(&bytes, payload);
    bytes.extend_from_slice(&sum);
    bytes.extend_from_slice(payload);
    bytes
}

/// Checks a frame of the expected kind that fills all of `bytes`.
pub fn decode(expected: FrameKind, bytes: &[u8]) -> Result<Frame<'_>, Malformed> {
    let (header, payload) = bytes
        .split_first_chunk::<HEADER_LEN>()
        .ok_or_else(|| Malformed::at(bytes.len(), "frame header is cut short"))?;
    let [m0, m1, m2, m3, kind, version, seal, zero, l0, l1, l2, l3, l4, l5, l6, l7, sum @ ..] =
        *header;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(Malformed::at(0, "no frame magic"));
    }
    if kind != expected as u8 {
        return Err(Malformed::at(4, format!("frame kind {kind}, expected {}", expected as u8)));
    }
    let length = u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
    if length != payload.len() as u64 {
        return Err(Malformed::at(
            8,
            format!("frame states {length} payload bytes, {} are there", payload.len()),
        ));
    }
    let (head, _) = header.split_at(16);
    if sum != checksum(head, payload) {
        return Err(Malformed::at(16, "frame checksum does not match"));
    }
    // Only a whole frame may claim to be newer: damage must not look like an upgrade.
    if version > VERSION {
        return Err(Malformed::Newer { found: version.into(), supported: VERSION.into() });
    }
    if version == 0 || zero != 0 {
        return Err(Malformed::at(5, "frame header has an impossible version"));
    }
    let seal =
        Seal::from_byte(seal).ok_or_else(|| Malformed::at(6, format!("unknown seal {seal}")))?;
    if payload.len() > expected.payload_max() {
        return Err(Malformed::at(8, format!("payload of {length} bytes is over the limit")));
    }
    Ok(Frame { kind: expected, seal, payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let whole = encode(FrameKind::Snapshot, Seal::Plain, b"some payload");
        assert_eq!(decode(FrameKind::Snapshot, &whole).unwrap().payload, b"some payload");
        for bit in 0..whole.len() * 8 {
            let mut bad = whole.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let err = decode(FrameKind::Snapshot, &bad).unwrap_err();
            assert!(matches!(err, Malformed::Damaged { .. }), "bit {bit}: {err}");
        }
        for len in 0..whole.len() {
            assert!(decode(FrameKind::Snapshot, &whole[..len]).is_err());
        }
        assert!(decode(FrameKind::Config, &whole).is_err());
    }

    #[test]
    fn a_whole_frame_of_a_later_version_is_newer_not_damaged() {
        let mut bytes = encode(FrameKind::Config, Seal::Plain, b"x");
        bytes[5] = 9;
        let sum = checksum(&bytes[..16], b"x");
        bytes[16..32].copy_from_slice(&sum);
        assert_eq!(
            decode(FrameKind::Config, &bytes),
            Err(Malformed::Newer { found: 9, supported: 1 })
        );
    }
}
