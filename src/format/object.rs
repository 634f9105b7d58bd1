//! Names of stored objects, and the object header that packs and segments share.
//!
//! A name is a path below the repository's root, with `/` between its parts:
//! ```text
//! config                      keys/<key id>               sessions/<snapshot id>/<beat>
//! snapshots/<snapshot id>     forgotten/<snapshot id>     tags/<snapshot id>/<number>
//! index/<segment id>          pins/<pin id>/<beat>        ledger/<seconds, 12 digits>-<record id>
//! gc/<generation>.candidates  gc/<generation>.decision    <generation>: counts from 0, 12 digits
//! data/<aa>/<pack id>         meta/<aa>/<pack id>         parity/<aa>/<pack id>
//! settings/<number>           <number>: counts from 0, 12 digits
//! <aa>: first two hex digits of the id
//! ```
//!
//! Header of packs and segments, 64 bytes:
//! ```text
//! offset size  field
//!      0    8  magic: "icepack\0" or "iceindex"
//!      8    1  version, 1
//!      9    1  kind: 1 data pack, 2 meta pack, 3 index segment
//!     10    1  seal: 0 plain, 1 AES-256-GCM
//!     11    5  zero
//!     16   16  salt, random: makes every object's bytes, id and sealing key its own
//!     32   16  repository id: an object of another repository is told apart without a key
//!     48   16  checksum: first 16 bytes of BLAKE3(header[0..48])
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    ChunkId, KeyId, Malformed, PackId, PinId, RecordId, RepositoryId, Seal, SegmentId, SnapshotId,
};

/// Names one stored object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKey {
    /// The repository's config.
    Config,
    /// One key slot.
    Key(KeyId),
    /// A beat of a live session, numbered from 0.
    Beat(SnapshotId, u64),
    /// A snapshot or tombstone: where session and snapshot meet.
    Snapshot(SnapshotId),
    /// An index segment.
    Segment(SegmentId),
    /// A pack of content or of tree pages.
    Pack(PackKind, PackId),
    /// Reed-Solomon parity of the pack of that id.
    Parity(PackId),
    /// The mark that a snapshot may be pruned.
    Forgotten(SnapshotId),
    /// What a snapshot's tags were changed to, and whether it is protected; numbered from 0, the
    /// highest number holds.
    Tags(SnapshotId, u64),
    /// A beat of a reader that needs what it can see now, numbered from 0.
    Pin(PinId, u64),
    /// What a generation of prune would delete; generations count from 0.
    Candidates(u64),
    /// What that generation deletes.
    Decision(u64),
    /// A record of verify, replicate or drill: seconds since 1970 and a random id.
    Ledger(u64, RecordId),
    /// What the repository's owner has set, numbered from 0; the highest number holds.
    Settings(u64),
}

/// Folders of the repository that can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Folder {
    /// `keys/`
    Keys,
    /// `sessions/`
    Sessions,
    /// `snapshots/`
    Snapshots,
    /// `index/`
    Index,
    /// `data/`
    Data,
    /// `meta/`
    Meta,
    /// `gc/`
    Gc,
    /// `forgotten/`
    Forgotten,
    /// `tags/`
    Tags,
    /// `pins/`
    Pins,
    /// `parity/`
    Parity,
    /// `ledger/`
    Ledger,
    /// `settings/`
    Settings,
}

impl Folder {
    /// Every folder, in the order of the format page.
    pub const ALL: [Self; 13] = [
        Self::Keys,
        Self::Sessions,
        Self::Snapshots,
        Self::Index,
        Self::Meta,
        Self::Data,
        Self::Gc,
        Self::Forgotten,
        Self::Tags,
        Self::Pins,
        Self::Parity,
        Self::Ledger,
        Self::Settings,
    ];

    /// The first part of the names in this folder, without a slash.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Sessions => "sessions",
            Self::Snapshots => "snapshots",
            Self::Index => "index",
            Self::Data => "data",
            Self::Meta => "meta",
            Self::Gc => "gc",
            Self::Forgotten => "forgotten",
            Self::Tags => "tags",
            Self::Pins => "pins",
            Self::Parity => "parity",
            Self::Ledger => "ledger",
            Self::Settings => "settings",
        }
    }
}

/// What a pack holds. Content and metadata never share one, so that content may go cold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum PackKind {
    /// File content.
    Data = 1,
    /// Tree pages and extent pages.
    Meta = 2,
}

impl PackKind {
    /// Reads the byte that headers and tables carry.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Data),
            2 => Some(Self::Meta),
            _ => None,
        }
    }

    /// The folder of this kind's packs.
    #[must_use]
    pub const fn folder(self) -> Folder {
        match self {
            Self::Data => Folder::Data,
            Self::Meta => Folder::Meta,
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("config"),
            Self::Key(id) => write!(f, "keys/{id}"),
            Self::Beat(session, beat) => write!(f, "sessions/{session}/{beat}"),
            Self::Snapshot(id) => write!(f, "snapshots/{id}"),
            Self::Segment(id) => write!(f, "index/{id}"),
            Self::Pack(kind, id) => write!(f, "{}/{:02x}/{id}", kind.folder().name(), id.0[0]),
            Self::Parity(id) => write!(f, "parity/{:02x}/{id}", id.0[0]),
            Self::Forgotten(id) => write!(f, "forgotten/{id}"),
            Self::Tags(id, number) => write!(f, "tags/{id}/{number}"),
            Self::Pin(id, beat) => write!(f, "pins/{id}/{beat}"),
            Self::Candidates(generation) => write!(f, "gc/{generation:012}.candidates"),
            Self::Decision(generation) => write!(f, "gc/{generation:012}.decision"),
            Self::Ledger(secs, id) => write!(f, "ledger/{secs:012}-{id}"),
            Self::Settings(number) => write!(f, "settings/{number:012}"),
        }
    }
}

impl ObjectKey {
    /// Reads a name; `None` for what no icecore of this format wrote.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let key = match name.split_once('/') {
            None if name == "config" => Self::Config,
            Some(("keys", id)) => Self::Key(KeyId::from_hex(id)?),
            Some(("sessions", rest)) => {
                let (session, beat) = numbered(rest)?;
                Self::Beat(SnapshotId::from_hex(session)?, beat)
            }
            Some(("snapshots", id)) => Self::Snapshot(SnapshotId::from_hex(id)?),
            Some(("index", id)) => Self::Segment(SegmentId::from_hex(id)?),
            Some(("data", rest)) => Self::Pack(PackKind::Data, pack_id(rest)?),
            Some(("meta", rest)) => Self::Pack(PackKind::Meta, pack_id(rest)?),
            Some(("parity", rest)) => Self::Parity(pack_id(rest)?),
            Some(("forgotten", id)) => Self::Forgotten(SnapshotId::from_hex(id)?),
            Some(("tags", rest)) => {
                let (snapshot, number) = numbered(rest)?;
                Self::Tags(SnapshotId::from_hex(snapshot)?, number)
            }
            Some(("pins", rest)) => {
                let (pin, beat) = numbered(rest)?;
                Self::Pin(PinId::from_hex(pin)?, beat)
            }
            Some(("gc", rest)) => match rest.split_once('.')? {
                (generation, "candidates") => Self::Candidates(generation.parse().ok()?),
                (generation, "decision") => Self::Decision(generation.parse().ok()?),
                _ => return None,
            },
            Some(("ledger", rest)) => {
                let (secs, id) = rest.split_once('-')?;
                Self::Ledger(secs.parse().ok()?, RecordId::from_hex(id)?)
            }
            Some(("settings", number)) => Self::Settings(number.parse().ok()?),
            _ => return None,
        };
        // One name per object: "sessions/…/07" or a pack in the wrong folder is a stranger.
        (key.to_string() == name).then_some(key)
    }
}

/// Splits `<id>/<number>`.
fn numbered(rest: &str) -> Option<(&str, u64)> {
    let (id, number) = rest.split_once('/')?;
    Some((id, number.parse().ok()?))
}

fn pack_id(rest: &str) -> Option<PackId> {
    let (_, id) = rest.split_once('/')?;
    PackId::from_hex(id)
}

/// What an object header says the object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// A pack.
    Pack(PackKind),
    /// An index segment.
    Segment,
}

/// Bytes of an object header.
pub const OBJECT_HEADER_LEN: usize = 64;
const VERSION: u8 = 1;

/// The first 64 bytes of a pack or segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectHeader {
    /// What follows.
    pub contents: Contents,
    /// How it is protected.
    pub seal: Seal,
    /// Random; the sealing key is derived from it.
    pub salt: [u8; 16],
    /// The repository that it belongs to.
    pub repository: RepositoryId,
}

impl ObjectHeader {
    fn magic_and_kind(contents: Contents) -> ([u8; 8], u8) {
        match contents {
            Contents::Pack(kind) => (*b"icepack\0", kind as u8),
            Contents::Segment => (*b"iceindex", 3),
        }
    }

    /// The stored bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; OBJECT_HEADER_LEN] {
        let (magic, kind) = Self::magic_and_kind(self.contents);
        let mut bytes = Vec::with_capacity(OBJECT_HEADER_LEN);
        bytes.extend_from_slice(&magic);
        bytes.extend_from_slice(&[VERSION, kind, self.seal as u8, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(&self.repository.0);
        let sum = checksum16(&bytes);
        bytes.extend_from_slice(&sum);
        let mut header = [0; OBJECT_HEADER_LEN];
        header.copy_from_slice(&bytes);
        header
    }

    /// Checks the header at the start of `bytes`.
    pub fn decode(expected: Contents, bytes: &[u8]) -> Result<Self, Malformed> {
        let (header, _) = bytes
            .split_first_chunk::<OBJECT_HEADER_LEN>()
            .ok_or_else(|| Malformed::at(bytes.len(), "object header is cut short"))?;
        let (head, sum) = header.split_at(48);
        if sum != checksum16(head) {
            return Err(Malformed::at(0, "object header checksum does not match"));
        }
        let (magic, kind) = Self::magic_and_kind(expected);
        let [found_magic @ .., version, found_kind, seal, z0, z1, z2, z3, z4] =
            *head.first_chunk::<16>().ok_or_else(|| Malformed::at(0, "header is cut short"))?;
        if found_magic != magic {
            return Err(Malformed::at(0, "object header has another magic"));
        }
        if version > VERSION {
            return Err(Malformed::Newer { found: version.into(), supported: VERSION.into() });
        }
        if found_kind != kind {
            return Err(Malformed::at(9, format!("object kind {found_kind}, expected {kind}")));
        }
        if version == 0 || [z0, z1, z2, z3, z4] != [0; 5] {
            return Err(Malformed::at(8, "object header has impossible fields"));
        }
        let seal = Seal::from_byte(seal)
            .ok_or_else(|| Malformed::at(10, format!("unknown seal {seal}")))?;
        let (_, rest) = head.split_at(16);
        let (salt, repository) = rest.split_at(16);
        let field = |bytes: &[u8]| -> Result<[u8; 16], Malformed> {
            bytes.first_chunk().copied().ok_or_else(|| Malformed::at(16, "header is cut short"))
        };
        let (salt, repository) = (field(salt)?, RepositoryId(field(repository)?));
        Ok(Self { contents: expected, seal, salt, repository })
    }
}

/// First 16 bytes of BLAKE3: the checksum of headers and trailers.
#[must_use]
pub fn checksum16(bytes: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    short
}

/// A chunk's length as stored in fixed layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkEntry {
    /// The chunk.
    pub id: ChunkId,
    /// Its plain length in bytes, at least 1.
    pub len: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_strangers_are_none() {
        let keys = [
            ObjectKey::Config,
            ObjectKey::Key(KeyId([1; 16])),
            ObjectKey::Beat(SnapshotId([2; 16]), 7),
            ObjectKey::Snapshot(SnapshotId([3; 16])),
            ObjectKey::Segment(SegmentId([4; 32])),
            ObjectKey::Pack(PackKind::Data, PackId([5; 32])),
            ObjectKey::Pack(PackKind::Meta, PackId([0xab; 32])),
            ObjectKey::Parity(PackId([0xab; 32])),
            ObjectKey::Forgotten(SnapshotId([3; 16])),
            ObjectKey::Tags(SnapshotId([3; 16]), 0),
            ObjectKey::Pin(PinId([6; 16]), 12),
            ObjectKey::Candidates(0),
            ObjectKey::Decision(u64::MAX),
            ObjectKey::Ledger(1_795_000_000, RecordId([8; 16])),
            ObjectKey::Settings(3),
        ];
        for key in keys {
            assert_eq!(ObjectKey::parse(&key.to_string()), Some(key), "{key}");
        }
        let stranger = format!("data/00/{}", PackId([5; 32]));
        for name in ["", "lost+found", "keys/", "config/x", "snapshots/../config", &stranger] {
            assert_eq!(ObjectKey::parse(name), None, "{name}");
        }
        let padded = format!("sessions/{}/07", SnapshotId([2; 16]));
        assert_eq!(ObjectKey::parse(&padded), None);
        for name in ["gc/1.candidates", "gc/000000000001", "gc/000000000001.decided", "ledger/1-"] {
            assert_eq!(ObjectKey::parse(name), None, "{name}");
        }
    }

    #[test]
    fn every_flipped_header_bit_is_noticed() {
        let contents = Contents::Pack(PackKind::Data);
        let header = ObjectHeader {
            contents,
            seal: Seal::Plain,
            salt: [9; 16],
            repository: RepositoryId([7; 16]),
        };
        let bytes = header.encode();
        assert_eq!(ObjectHeader::decode(contents, &bytes), Ok(header));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(ObjectHeader::decode(contents, &bad).is_err(), "bit {bit}");
        }
        assert!(ObjectHeader::decode(Contents::Segment, &bytes).is_err());
        assert!(ObjectHeader::decode(contents, &bytes[..63]).is_err());
    }
}
