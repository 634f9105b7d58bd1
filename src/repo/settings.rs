//! What the owner of a repository has set: numbered records, of which the last one holds.

use crate::format::{Folder, FrameKind, ObjectKey, Settings, limits};

use super::Repository;
use super::error::{InObject, RepoError, Result};
use crate::sync::first_said;

/// Times that a number is tried again because somebody else took it.
const RACES_MAX: u32 = 8;

impl Repository {
    /// The settings that hold; `None` where nobody has set anything. A record that is damaged is
    /// logged, and the one before holds. Where none can be read, that is said in as many words, and
    /// parity is off: an ingest is worth more without it than not at all.
    pub fn settings(&self) -> Result<Option<Settings>> {
        let mut damaged = Vec::new();
        let mut found = None;
        for number in self.settings_numbers()? {
            match self.settings_record(number) {
                Err(err) if err.is_damage() => damaged.push(err),
                result => {
                    found = Some(result?);
                    break;
                }
            }
        }
        let so = match &found {
            Some(settings) if settings.parity_permille > 0 => {
                "the settings before hold, with parity"
            }
            Some(_) => "the settings before hold, without parity",
            None => "no settings can be read: new packs get NO PARITY until `icecore parity --set`",
        };
        for err in damaged.iter().filter(|err| first_said(&err.object())) {
            tracing::error!("{err}; {so}");
        }
        Ok(found)
    }

    /// Records that are damaged, of those that could hold: what came before one that can be read
    /// says nothing any more.
    pub fn damaged_settings(&self) -> Result<Vec<RepoError>> {
        let mut damaged = Vec::new();
        for number in self.settings_numbers()? {
            match self.settings_record(number) {
                Err(err) if err.is_damage() => damaged.push(err),
                result => return result.map(|_| damaged),
            }
        }
        Ok(damaged)
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
            match self.put_framed(&object, FrameKind::Settings, settings.encode()) {
                Err(err) if err.is_already_exists() && races < RACES_MAX => races += 1,
                result => return result.map(|()| settings),
            }
        }
    }

    /// Reads and checks one record.
    pub fn settings_record(&self, number: u64) -> Result<Settings> {
        let object = ObjectKey::Settings(number);
        let payload = self.read_framed(&object, FrameKind::Settings)?;
        Settings::decode(&payload, self.vault().repository(), number).in_object(&object)
    }

    /// Numbers of all records, the last one first.
    pub fn settings_numbers(&self) -> Result<Vec<u64>> {
        let number = |key| match key {
            ObjectKey::Settings(number) => Some(number),
            _ => None,
        };
        let listed = self.storage().names(Folder::Settings)?;
        let mut numbers: Vec<u64> = listed.into_iter().filter_map(number).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
    }
}
