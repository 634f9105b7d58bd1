//! What the owner of a repository has set and may change later; the config never changes.

use serde::{Deserialize, Serialize};

use super::marks::of_repository;
use super::{Malformed, RepositoryId, Time, limits, wire};

/// The payload of `settings/<number>`. Of several the one with the highest number holds, whole;
/// without any, everything is off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The repository that it belongs to.
    pub repository: RepositoryId,
    /// Counts from 0, also in the object's name.
    pub number: u64,
    /// When, by the clock of who set it.
    pub at: Time,
    /// The host where that was done.
    pub host: String,
    /// Parity that writers add to each pack, in thousandths of its bytes; 0 for none.
    pub parity_permille: u16,
}

impl Settings {
    /// The payload of a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Decodes and checks record `number` of `repository`.
    pub fn decode(
        payload: &[u8],
        repository: RepositoryId,
        number: u64,
    ) -> Result<Self, Malformed> {
        let settings: Self = wire::decode(payload)?;
        of_repository(settings.repository, repository)?;
        if settings.number != number {
            return Err(Malformed::at(0, format!("it states the number {}", settings.number)));
        }
        if settings.parity_permille > limits::PARITY_PERMILLE_MAX {
            let what = format!("parity of {} thousandths", settings.parity_permille);
            return Err(Malformed::at(0, what));
        }
        settings.at.check()?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_belong_to_their_number_and_are_capped() {
        let here = RepositoryId([1; 16]);
        let mut settings = Settings {
            repository: here,
            number: 2,
            at: Time { secs: 1, nanos: 0 },
            host: "h".into(),
            parity_permille: 50,
        };
        let bytes = settings.encode();
        assert_eq!(Settings::decode(&bytes, here, 2).as_ref(), Ok(&settings));
        assert!(Settings::decode(&bytes, here, 1).is_err());
        assert!(Settings::decode(&bytes, RepositoryId([2; 16]), 2).is_err());
        settings.parity_permille = limits::PARITY_PERMILLE_MAX + 1;
        assert!(Settings::decode(&settings.encode(), here, 2).is_err());
    }
}
