//! The repository's config: what must be known before anything else can be read.

use serde::{Deserialize, Serialize};

use super::{Malformed, RepositoryId, Seal, Time, limits, wire};

/// What `config` holds. It is readable without a key and authenticated with one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Format version of the whole repository.
    pub format: u32,
    /// The repository's name.
    pub repository: RepositoryId,
    /// When it was made.
    pub created: Time,
    /// Whether objects are sealed.
    pub encrypted: bool,
    /// Sizes of content-defined chunks.
    pub chunking: Chunking,
}

/// Sizes of content-defined chunks of the default class, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunking {
    /// No chunk but a file's last is shorter.
    pub min: u32,
    /// What cuts aim at.
    pub average: u32,
    /// No chunk is longer.
    pub max: u32,
}

impl Chunking {
    /// The default: 16, 64 and 256 KiB.
    pub const DEFAULT: Self = Self::around(64 << 10);
    /// The averages that [`Self::around`] takes: any other would be cut with other sizes than these.
    pub const AVERAGES: std::ops::RangeInclusive<u32> = 4 << 10..=4 << 20;

    /// Sizes around an average out of [`Self::AVERAGES`]: from a quarter of it to four times as
    /// much.
    #[must_use]
    pub const fn around(average: u32) -> Self {
        Self { min: average / 4, average, max: average.saturating_mul(4) }
    }
}

/// The config with its authentication code: the payload of `config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredConfig {
    /// The config.
    pub config: Config,
    /// Keyed BLAKE3 of the encoded config under a key derived from the master key; zero in a
    /// repository without encryption.
    pub mac: [u8; 32],
}

impl Config {
    /// How this repository's objects are sealed.
    #[must_use]
    pub const fn seal(&self) -> Seal {
        if self.encrypted { Seal::Aes256Gcm } else { Seal::Plain }
    }

    /// The bytes that the authentication code covers.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }
}

impl StoredConfig {
    /// The payload of a config frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Decodes and checks the payload of a config frame.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        // The version comes first, so that a later format's other fields need not make sense.
        let format = payload
            .first_chunk()
            .map(|bytes| u32::from_le_bytes(*bytes))
            .ok_or_else(|| Malformed::at(0, "config is cut short"))?;
        if format > limits::FORMAT_VERSION {
            return Err(Malformed::Newer { found: format, supported: limits::FORMAT_VERSION });
        }
        let stored: Self = wire::decode(payload)?;
        let Chunking { min, average, max } = stored.config.chunking;
        let sane = 64 <= min && min <= average && average <= max;
        if format == 0 || !sane || max as usize > limits::CHUNK_MAX {
            return Err(Malformed::at(0, "config has impossible values"));
        }
        stored.config.created.check()?;
        Ok(stored)
    }
}
