//! Key slots: who can open an encrypted repository.
//!
//! One random master key seals everything; each slot wraps it for one passphrase or key file.
//! Changing a passphrase therefore rewrites one small object and no data.

use secrecy::{ExposeSecret, SecretSlice};
use zeroize::Zeroizing;

use crate::codec::aead::{self, MasterKey};
use crate::codec::kdf;
use crate::format::{
    Derivation, Folder, FrameKind, KeyId, KeySlot, ObjectKey, RepositoryId, Seal, frame, limits,
};
use crate::storage::Storage;

use super::Repository;
use super::error::{InObject, RepoError, Result};
use crate::codec::random;

/// What a user has to open a repository with.
pub enum Secret {
    /// Any bytes; no trailing newline.
    Passphrase(SecretSlice<u8>),
    /// The contents of a key file.
    KeyFile(SecretSlice<u8>),
}

/// The key of an opened repository on its way to another process of ours; does not print itself.
pub struct PassedKey(pub Zeroizing<[u8; 32]>);

/// How much work a passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl KdfCost {
    /// The default for new slots.
    pub const DEFAULT: Self = Self {
        memory_kib: kdf::MEMORY_KIB_DEFAULT,
        passes: kdf::PASSES_DEFAULT,
        lanes: kdf::LANES_DEFAULT,
    };
}

/// Longest label of a slot in bytes.
const LABEL_MAX: usize = 4096;

/// A slot as shown to people.
#[derive(Debug, Clone)]
pub struct SlotInfo {
    /// The slot as stored.
    pub slot: KeySlot,
    /// Whether the key in use opens it.
    pub in_use: bool,
}

fn wrapping_key(secret: &Secret, derivation: &Derivation) -> Result<Option<Zeroizing<[u8; 32]>>> {
    Ok(match (secret, derivation) {
        (Secret::Passphrase(text), Derivation::Passphrase { memory_kib, passes, lanes, salt }) => {
            Some(kdf::passphrase_key(text.expose_secret(), *memory_kib, *passes, *lanes, salt)?)
        }
        (Secret::KeyFile(bytes), Derivation::KeyFile { salt }) => {
            Some(kdf::key_file_key(bytes.expose_secret(), salt))
        }
        _ => None,
    })
}

fn unwrap(secret: &Secret, slot: &KeySlot) -> Result<Option<MasterKey>> {
    let key = wrapping_key(secret, &slot.derivation)?;
    Ok(key.and_then(|key| aead::unwrap(&key, &slot.associated_data(), &slot.wrapped)))
}

/// Makes a slot and stores it.
pub(crate) fn add_slot(
    storage: &dyn Storage,
    repository: RepositoryId,
    master: &MasterKey,
    secret: &Secret,
    label: &str,
    cost: KdfCost,
) -> Result<KeyId> {
    if label.len() > LABEL_MAX {
        let (object, len) = ("the key's label".to_owned(), label.len());
        return Err(RepoError::TooLarge { object, len, max: LABEL_MAX });
    }
    let salt = random()?;
    let derivation = match secret {
        Secret::Passphrase(_) => {
            let KdfCost { memory_kib, passes, lanes } = cost;
            Derivation::Passphrase { memory_kib, passes, lanes, salt }
        }
        Secret::KeyFile(_) => Derivation::KeyFile { salt },
    };
    let mut slot = KeySlot {
        id: KeyId(random()?),
        repository,
        created: crate::clock::now(),
        label: label.to_owned(),
        derivation,
        wrapped: Vec::new(),
    };
    if let Some(key) = wrapping_key(secret, &slot.derivation)? {
        slot.wrapped = aead::wrap(&key, &slot.associated_data(), master);
    }
    let bytes = frame::encode(FrameKind::Key, Seal::Plain, &slot.encode());
    storage.put_new(&ObjectKey::Key(slot.id), &bytes)?;
    Ok(slot.id)
}

/// Every slot; a damaged one is an error of its own in the list.
fn slots(storage: &dyn Storage) -> Result<Vec<Result<KeySlot>>> {
    Ok(slot_ids(storage)?.into_iter().map(|id| read_slot(storage, id)).collect())
}

fn slot_ids(storage: &dyn Storage) -> Result<Vec<KeyId>> {
    let id = |key| match key {
        ObjectKey::Key(id) => Some(id),
        _ => None,
    };
    Ok(storage.names(Folder::Keys)?.into_iter().filter_map(id).collect())
}

fn read_slot(storage: &dyn Storage, id: KeyId) -> Result<KeySlot> {
    let object = ObjectKey::Key(id);
    let bytes = storage.get(&object, (limits::KEY_SLOT_MAX + frame::HEADER_LEN) as u64)?;
    let frame = frame::decode(FrameKind::Key, &bytes).in_object(&object)?;
    KeySlot::decode(frame.payload, id).in_object(&object)
}

/// The master key, from whichever slot the secret opens. A damaged slot is passed over, and named
/// if no other opens.
pub(crate) fn open_master(
    storage: &dyn Storage,
    repository: RepositoryId,
    secret: &Secret,
) -> Result<MasterKey> {
    let mut damage = None;
    for slot in slots(storage)? {
        match slot {
            Ok(slot) if slot.repository != repository => {
                // Which of the two is wrong cannot be told without a key.
                let what = format!(
                    "it belongs to repository {}, config states {repository}",
                    slot.repository
                );
                damage = Some(RepoError::corrupt(ObjectKey::Key(slot.id), what));
            }
            Ok(slot) => {
                if let Some(master) = unwrap(secret, &slot)? {
                    return Ok(master);
                }
            }
            Err(err) => damage = Some(err),
        }
    }
    Err(damage.unwrap_or_else(|| RepoError::WrongKey { location: storage.location() }))
}

impl Repository {
    fn need_master(&self) -> Result<&MasterKey> {
        let location = || self.storage().location();
        self.vault().master().ok_or_else(|| RepoError::KeyNeeded { location: location() })
    }

    /// All key slots, and which of them `secret` opens.
    pub fn key_slots(&self, secret: Option<&Secret>) -> Result<Vec<Result<SlotInfo>>> {
        Ok(slots(self.storage())?
            .into_iter()
            .map(|slot| {
                let slot = self.own(slot?)?;
                let in_use = match secret {
                    Some(secret) => unwrap(secret, &slot)?.is_some(),
                    None => false,
                };
                Ok(SlotInfo { slot, in_use })
            })
            .collect())
    }

    /// Lets through what is a slot of this repository: another one's opens nothing here.
    fn own(&self, slot: KeySlot) -> Result<KeySlot> {
        if slot.repository == self.config().repository {
            return Ok(slot);
        }
        let what = format!("it belongs to repository {}", slot.repository);
        Err(RepoError::corrupt(ObjectKey::Key(slot.id), what))
    }

    fn read_own_slot(&self, id: KeyId) -> Result<KeySlot> {
        self.own(read_slot(self.storage(), id)?)
    }

    /// Adds a slot for another secret.
    pub fn add_key(&self, secret: &Secret, label: &str, cost: KdfCost) -> Result<KeyId> {
        let master = self.need_master()?;
        add_slot(self.storage(), self.config().repository, master, secret, label, cost)
    }

    /// The slot that [`Self::remove_key`] removes, by its id or the start of it; never the last one
    /// that can be read.
    pub fn removable_key(&self, prefix: &str) -> Result<KeyId> {
        let ids = slot_ids(self.storage())?;
        let mut fitting = ids.iter().filter(|id| id.to_string().starts_with(prefix));
        let (Some(&id), None) = (fitting.next(), fitting.next()) else {
            return Err(RepoError::NoSuchKey { id: prefix.to_owned() });
        };
        let others_open = ids.iter().any(|&other| other != id && self.read_own_slot(other).is_ok());
        if !others_open {
            return Err(RepoError::LastKey { id: id.to_string() });
        }
        Ok(id)
    }

    /// Removes a slot by its id or the start of it; never the last one.
    pub fn remove_key(&self, prefix: &str) -> Result<KeyId> {
        let id = self.removable_key(prefix)?;
        self.storage().delete(&ObjectKey::Key(id))?;
        Ok(id)
    }

    /// Replaces the slots that `old` opens by one for `new`: the new one is durable first.
    pub fn change_key(
        &self,
        old: &Secret,
        new: &Secret,
        label: &str,
        cost: KdfCost,
    ) -> Result<KeyId> {
        let mut opened = Vec::new();
        for slot in slots(self.storage())?.into_iter().flatten() {
            if unwrap(old, &slot)?.is_some() {
                opened.push(slot.id);
            }
        }
        let id = self.add_key(new, label, cost)?;
        for old in opened {
            self.storage().delete(&ObjectKey::Key(old))?;
        }
        Ok(id)
    }
}
