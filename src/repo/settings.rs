//! What the owner of a repository has set: numbered records, of which the last one holds.

use crate::format::{Folder, FrameKind, ObjectKey, Settings, frame, limits};

use super::Repository;
use super::error::{InObject, Result};

/// Times that a number is tried again because somebody else took it.
const RACES_MAX: u32 = 8;

impl Repository {
    /// The settings that hold; `None` where nobody has set anything. A record that is damaged is
    /// logged, and the one before holds.
    pub fn settings(&self) -> Result<Option<Settings>> {
        for number in self.settings_numbers()? {
            match self.settings_record(number) {
                Err(err) if err.is_damage() => tracing::error!("{err}; the settings before hold"),
                result => return result.map(Some),
            }
        }
        Ok(None)
    }

    /// Parity that writers add to each pack, in thousandths of its bytes; 0 for none.
    pub fn parity_permille(&self) -> Result<u16> {
        Ok(self.settings()?.map_or(0, |settings| settings.parity_permille))
    }

    /// Sets the parity that later sessions add, in thousandths; 0 for none.
    pub fn set_parity(&self, permille: u16, host: &str) -> Result<Settings> {
        debug_assert!(permille <= limits::PARITY_PERMILLE_MAX);
        let mut races = 0;
        loop {
            let number = self.settings_numbers()?.first().map_or(0, |last| last + 1);
            let settings = Settings {
                repository: self.vault().repository(),
                number,
                at: crate::clock::now(),
                host: host.into(),
                parity_permille: permille,
            };
            let object = ObjectKey::Settings(number);
            let payload = settings.encode();
            let bytes = self.vault().encode_object(&object, FrameKind::Settings, payload)?;
            match self.storage().put_new(&object, &bytes) {
                Err(err) if err.is_already_exists() && races < RACES_MAX => races += 1,
                result => return result.map(|()| settings).map_err(Into::into),
            }
        }
    }

    /// Reads and checks one record.
    pub fn settings_record(&self, number: u64) -> Result<Settings> {
        let object = ObjectKey::Settings(number);
        let max = (limits::SETTINGS_MAX + frame::HEADER_LEN) as u64;
        let bytes = self.storage().get(&object, max)?;
        let payload = self.vault().decode_object(&object, FrameKind::Settings, &bytes)?;
        Settings::decode(&payload, self.vault().repository(), number).in_object(&object)
    }

    /// Numbers of all records, the last one first.
    pub fn settings_numbers(&self) -> Result<Vec<u64>> {
        let listed = self.storage().list(Folder::Settings)?.into_iter();
        let mut numbers: Vec<u64> = listed
            .filter_map(|listed| match listed.key {
                Some(ObjectKey::Settings(number)) => Some(number),
                _ => None,
            })
            .collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
    }
}
