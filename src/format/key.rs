//! Key slots and session beats.

use serde::{Deserialize, Serialize};

use super::{KeyId, Malformed, RepositoryId, SnapshotId, Time, limits, wire};

/// How the key that wraps the master key is made from what the user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Derivation {
    /// Argon2id (RFC 9106) of a passphrase.
    Passphrase {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes over the memory.
        passes: u32,
        /// Lanes.
        lanes: u32,
        /// Random salt.
        salt: [u8; 32],
    },
    /// BLAKE3 `derive_key` of a key file's bytes and a salt.
    KeyFile {
        /// Random salt.
        salt: [u8; 32],
    },
}

/// One way to the master key: the payload of `keys/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySlot {
    /// The slot's id, also the object's name.
    pub id: KeyId,
    /// The repository that it opens.
    pub repository: RepositoryId,
    /// When it was added.
    pub created: Time,
    /// Free words: by default user and host.
    pub label: String,
    /// How the wrapping key is made.
    pub derivation: Derivation,
    /// The master key (32 bytes) sealed with AES-256-GCM under the wrapping key, nonce zero: each
    /// slot's salt makes its wrapping key unique. Ciphertext and tag.
    #[serde(with = "serde_bytes")]
    pub wrapped: Vec<u8>,
}

impl KeySlot {
    /// What is authenticated along with the wrapped key: every other field of the slot.
    #[must_use]
    pub fn associated_data(&self) -> Vec<u8> {
        wire::encode(&(self.id, self.repository, self.created, &self.label, self.derivation))
    }

    /// The payload of a key frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Decodes and checks the slot that stands under `id`; its derivation's costs are capped.
    pub fn decode(payload: &[u8], id: KeyId) -> Result<Self, Malformed> {
        let slot: Self = wire::decode(payload)?;
        if slot.id != id {
            return Err(Malformed::at(0, format!("key slot states the id {}", slot.id)));
        }
        slot.created.check()?;
        if slot.wrapped.len() != 48 {
            return Err(Malformed::at(0, "wrapped key of the wrong length"));
        }
        if let Derivation::Passphrase { memory_kib, passes, lanes, .. } = slot.derivation {
            let sane = (1..=limits::ARGON2_LANES_MAX).contains(&lanes)
                && (8 * lanes..=limits::ARGON2_MEMORY_KIB_MAX).contains(&memory_kib)
                && (1..=limits::ARGON2_PASSES_MAX).contains(&passes);
            if !sane {
                return Err(Malformed::at(0, "key slot asks for an impossible derivation"));
            }
        }
        Ok(slot)
    }
}

/// A live writer says so: the payload of `sessions/<S>/<beat>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The repository that is written to: another one's beat is told apart.
    pub repository: RepositoryId,
    /// The session.
    pub session: SnapshotId,
    /// Counts from 0.
    pub beat: u64,
    /// The writer's clock: for people, never for decisions.
    pub at: Time,
    /// The writer's host.
    pub host: String,
    /// The writer's process id on that host.
    pub pid: u32,
}

impl Beat {
    /// The payload of a beat frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Decodes and checks a beat.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let beat: Self = wire::decode(payload)?;
        beat.at.check()?;
        Ok(beat)
    }
}
