//! The vault: between plain records and stored bytes.
//!
//! Knows the repository's id and, when it is encrypted, its master key; everything that is sealed
//! or opened passes through here. What is bound to a sealed object: its purpose and salt and the
//! repository's id by the derived key, its name or position by associated data and nonce.

use std::fmt;

use crate::codec::aead::{MasterKey, ObjectCipher, Purpose, SubKey, TAG_LEN};
use crate::codec::random;
use crate::format::{
    ChunkId, Config, Contents, FrameKind, Malformed, ObjectHeader, ObjectKey, PackKind,
    RepositoryId, Seal, frame,
};

use super::error::{InObject, RepoError, Result};

const SALT_LEN: usize = 32;

/// Opens and seals the objects of one repository.
pub(crate) struct Vault {
    repository: RepositoryId,
    master: Option<MasterKey>,
    id_keys: Option<IdKeys>,
}

/// What keys the ids of content and of pages.
#[derive(PartialEq, Eq)]
struct IdKeys {
    chunk: [u8; 32],
    page: [u8; 32],
}

/// Context of page ids where no secret keys them.
const PLAIN_PAGE_CONTEXT: &str = "icecore 1 page id of a plain repository";

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("repository", &self.repository).finish_non_exhaustive()
    }
}

/// Seals and opens the parts of one pack or segment; in a plain repository it does nothing.
pub(crate) struct PartCipher(Option<ObjectCipher>);

impl PartCipher {
    /// Seals `buf` in place, adding a tag.
    pub(crate) fn seal(&self, nonce: u64, associated: &[u8], buf: &mut Vec<u8>) {
        if let Some(cipher) = &self.0 {
            cipher.seal(nonce, associated, buf);
        }
    }

    /// Opens in place and cuts the tag off; `false` where the bytes are not what was sealed.
    pub(crate) fn open(&self, nonce: u64, associated: &[u8], buf: &mut Vec<u8>) -> bool {
        let Some(cipher) = &self.0 else { return true };
        let Some(plain_len) = cipher.open(nonce, associated, buf).map(|plain| plain.len()) else {
            return false;
        };
        buf.truncate(plain_len);
        true
    }
}

impl Vault {
    pub(crate) fn new(config: &Config, master: Option<MasterKey>) -> Self {
        let id_keys = master.as_ref().map(|key| IdKeys {
            chunk: key.derive(SubKey::ChunkId),
            page: key.derive(SubKey::PageId),
        });
        Self { repository: config.repository, master, id_keys }
    }

    pub(crate) const fn repository(&self) -> RepositoryId {
        self.repository
    }

    pub(crate) const fn master(&self) -> Option<&MasterKey> {
        self.master.as_ref()
    }

    pub(crate) const fn seal(&self) -> Seal {
        if self.master.is_some() { Seal::Aes256Gcm } else { Seal::Plain }
    }

    /// The id, in this repository, of plain bytes that lie in packs of that kind. Content and pages
    /// have ids of their own kind: a file that happens to hold a page's bytes is stored as content,
    /// so a page is never found in a data pack, which may be cold.
    pub(crate) fn id(&self, kind: PackKind, plain: &[u8]) -> ChunkId {
        ChunkId(match (kind, &self.id_keys) {
            (PackKind::Data, Some(keys)) => *blake3::keyed_hash(&keys.chunk, plain).as_bytes(),
            (PackKind::Meta, Some(keys)) => *blake3::keyed_hash(&keys.page, plain).as_bytes(),
            (PackKind::Data, None) => *blake3::hash(plain).as_bytes(),
            (PackKind::Meta, None) => blake3::derive_key(PLAIN_PAGE_CONTEXT, plain),
        })
    }

    /// Whether both give the same ids.
    pub(crate) fn shares_ids_with(&self, other: &Self) -> bool {
        self.id_keys == other.id_keys
    }

    /// Shifts the chunker's cuts, so that chunk lengths tell an outsider nothing of the content.
    pub(crate) fn chunker_seed(&self) -> u64 {
        let Some(master) = &self.master else { return 0 };
        let [a, b, c, d, e, f, g, h, ..] = master.derive(SubKey::ChunkerSeed);
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// A header with a fresh salt.
    pub(crate) fn new_header(&self, contents: Contents) -> Result<ObjectHeader> {
        Ok(ObjectHeader {
            contents,
            seal: self.seal(),
            salt: random()?,
            repository: self.repository,
        })
    }

    /// Checks that a header belongs to this repository and is sealed as it must be.
    pub(crate) fn check_header(&self, object: &ObjectKey, header: &ObjectHeader) -> Result<()> {
        if header.repository != self.repository {
            let what = format!("it belongs to repository {}", header.repository);
            return Err(RepoError::corrupt(object, what));
        }
        if header.seal != self.seal() {
            return Err(RepoError::corrupt(object, "it is not sealed as this repository's are"));
        }
        Ok(())
    }

    /// What seals the parts of a pack or segment with this salt.
    pub(crate) fn part_cipher(&self, contents: Contents, salt: [u8; 16]) -> PartCipher {
        let purpose = match contents {
            Contents::Pack(PackKind::Data) => Purpose::DataPack,
            Contents::Pack(PackKind::Meta) => Purpose::MetaPack,
            Contents::Segment => Purpose::Segment,
        };
        PartCipher(self.master.as_ref().map(|master| {
            let mut full = [0; 32];
            let (left, right) = full.split_at_mut(16);
            left.copy_from_slice(&salt);
            right.copy_from_slice(&self.repository.0);
            ObjectCipher::new(master, purpose, &full)
        }))
    }

    /// What is bound to a sealed frame: the repository and the object's name.
    fn associated(&self, object: &ObjectKey) -> Vec<u8> {
        let mut bytes = self.repository.0.to_vec();
        bytes.extend_from_slice(object.to_string().as_bytes());
        bytes
    }

    /// A framed object, sealed where the repository is encrypted.
    pub(crate) fn encode_object(
        &self,
        object: &ObjectKey,
        kind: FrameKind,
        payload: Vec<u8>,
    ) -> Result<Vec<u8>> {
        let max = kind.payload_max() - SALT_LEN - TAG_LEN;
        if payload.len() > max {
            let (object, len) = (object.to_string(), payload.len());
            return Err(RepoError::TooLarge { object, len, max });
        }
        let Some(master) = &self.master else {
            return Ok(frame::encode(kind, Seal::Plain, &payload));
        };
        let salt: [u8; SALT_LEN] = random()?;
        let mut sealed = payload;
        ObjectCipher::new(master, purpose(kind), &salt).seal(
            0,
            &self.associated(object),
            &mut sealed,
        );
        let mut payload = salt.to_vec();
        payload.append(&mut sealed);
        Ok(frame::encode(kind, Seal::Aes256Gcm, &payload))
    }

    /// Checks a framed object and opens its payload.
    pub(crate) fn decode_object(
        &self,
        object: &ObjectKey,
        kind: FrameKind,
        bytes: &[u8],
    ) -> Result<Vec<u8>> {
        let frame = frame::decode(kind, bytes).in_object(object)?;
        let damaged = |what| Malformed::at(frame::HEADER_LEN, what);
        let opened = match (&self.master, frame.seal) {
            (None, Seal::Plain) => Ok(frame.payload.to_vec()),
            (Some(master), Seal::Aes256Gcm) => match frame.payload.split_first_chunk() {
                None => Err(damaged("sealed payload is cut short")),
                Some((salt, sealed)) => {
                    let mut sealed = sealed.to_vec();
                    ObjectCipher::new(master, purpose(kind), salt)
                        .open(0, &self.associated(object), &mut sealed)
                        .map(|plain| plain.to_vec())
                        .ok_or_else(|| damaged("seal does not hold: another object or repository"))
                }
            },
            _ => Err(damaged("not sealed as this repository's objects are")),
        };
        opened.in_object(object)
    }
}

/// The sealing purpose of a framed kind. Config and key slots are authenticated otherwise, and
/// pages are sealed in their block.
fn purpose(kind: FrameKind) -> Purpose {
    match kind {
        FrameKind::Beat => Purpose::Beat,
        FrameKind::Forgotten => Purpose::Forgotten,
        FrameKind::Tagging => Purpose::Tagging,
        FrameKind::Pin => Purpose::Pin,
        FrameKind::Candidates => Purpose::Candidates,
        FrameKind::Decision => Purpose::Decision,
        FrameKind::Ledger => Purpose::Ledger,
        FrameKind::Settings => Purpose::Settings,
        _ => Purpose::Snapshot,
    }
}
