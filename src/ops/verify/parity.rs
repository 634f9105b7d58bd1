//! What verify says of parity: settings decode, parity is there and whole, packs were healed.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::ops::{OpError, Result};
use crate::repo::{Repository, StoredPack};

use super::VerifyReport;
use super::report::Healed;

/// Records of settings.
pub(super) fn settings(repo: &Repository, report: &mut VerifyReport) -> Result<()> {
    for number in repo.settings_numbers()? {
        if let Err(err) = repo.settings_record(number) {
            report.damage(&err);
        }
    }
    Ok(())
}

/// That packs have parity where it is on, and with `read_data` that it is whole. Parity that is
/// missing is no damage: nothing is lost yet.
pub(super) fn objects(
    repo: &Repository,
    packs: &[StoredPack],
    read_data: bool,
    report: &mut VerifyReport,
    interrupted: &AtomicBool,
) -> Result<()> {
    let (parity, strangers) = repo.stored_parity()?;
    strangers.into_iter().for_each(|name| report.stranger(name));
    let is_on = repo.parity_permille()? > 0;
    for pack in packs {
        if interrupted.load(Ordering::Relaxed) {
            return Err(OpError::Interrupted);
        }
        if !parity.contains_key(&pack.id) {
            report.unprotected += u64::from(is_on);
        } else if read_data && let Err(err) = repo.check_parity(pack.kind, pack.id) {
            report.damage(&err);
        }
    }
    Ok(())
}

/// Packs that reading healed, here and in the walk.
pub(super) fn healed(repo: &Repository, report: &mut VerifyReport) {
    let packs = repo.healed_packs().into_iter();
    report.lacked_room = repo.lacked_room_to_heal();
    report.healed = packs
        .map(|pack| Healed { object: pack.object.to_string(), stored: pack.is_stored })
        .collect();
}
