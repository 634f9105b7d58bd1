//! Parity: what of a repository is protected, and building what is missing.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use crate::codec::parity::is_less_than;
use crate::progress::Progress;
use crate::repo::{RepoError, Repository, StoredPack};
use crate::storage::StorageError;
use crate::sync::lock;
use crate::units::chain;

use super::threads::for_each;
use super::{OpError, Result};

/// What is protected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ParityReport {
    /// Parity that writers add, in thousandths of the packs; 0 for none.
    pub permille: u16,
    /// Records of settings that cannot be read: what they set is not known.
    pub settings_damaged: Vec<String>,
    /// Packs.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Packs that have parity.
    pub protected: u64,
    /// Bytes of all parity.
    pub parity_bytes: u64,
    /// Parity objects that a build would make: told by a dry run only.
    pub to_build: u64,
    /// Parity objects that were built.
    pub built: u64,
    /// Their bytes.
    pub built_bytes: u64,
    /// What could not be protected, in words: packs that are damaged, mostly.
    pub failed: Vec<String>,
}

impl ParityReport {
    fn look(repo: &Repository) -> Result<(Self, Vec<StoredPack>)> {
        let mut report = Self { permille: repo.parity_permille()?, ..Self::default() };
        report.settings_damaged =
            repo.damaged_settings()?.iter().map(ToString::to_string).collect();
        let (parity, _) = repo.stored_parity()?;
        report.parity_bytes = parity.values().sum();
        let packs = repo.all_packs()?;
        report.packs = packs.len() as u64;
        report.pack_bytes = packs.iter().map(|pack| pack.len).sum();
        report.protected = packs.iter().filter(|pack| parity.contains_key(&pack.id)).count() as u64;
        Ok((report, packs))
    }
}

/// Tells what is protected, from listings.
pub fn status(repo: &Repository) -> Result<ParityReport> {
    Ok(ParityReport::look(repo)?.0)
}

/// Tells how many packs [`build`] would protect at a share of so many thousandths. Reads all parity.
///
/// # Errors
/// Where the storage cannot be listed, or holds what a later icecore wrote.
pub fn plan_build(repo: &Repository, permille: u16) -> Result<ParityReport> {
    let (mut report, packs) = ParityReport::look(repo)?;
    for pack in &packs {
        report.to_build += u64::from(is_wanting(repo, pack, permille)?);
    }
    Ok(ParityReport { permille, ..report })
}

/// Builds parity for packs that have none, and anew where it is damaged or of a lower share. Reads these packs whole,
/// and all parity. The share is what the settings say.
///
/// # Errors
/// Where parity is off, the storage cannot be listed or is full, or the user interrupts: what was
/// built by then stays. A pack that cannot be protected is in the report.
pub fn build(
    repo: &Repository,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<ParityReport> {
    let (report, packs) = ParityReport::look(repo)?;
    let permille = report.permille;
    if permille == 0 && !report.settings_damaged.is_empty() {
        let what = "what parity was set to cannot be read, so none is built: set it again";
        return Err(OpError::Input(what.into()));
    }
    if permille == 0 {
        return Err(OpError::Input("parity is off, so there is none to build".into()));
    }
    progress.expect(packs.len() as u64, report.pack_bytes);
    let (shared, full) = (Mutex::new(report), Mutex::new(None));
    for_each(&packs, interrupted, |pack| {
        if lock(&full).is_some() {
            return;
        }
        let built = build_one(repo, pack, permille);
        let mut report = lock(&shared);
        match built {
            Ok(Some(bytes)) => {
                report.built += 1;
                report.built_bytes += bytes;
            }
            Ok(None) => {}
            Err(err @ RepoError::Storage(StorageError::Full { .. })) => {
                lock(&full).get_or_insert(err);
            }
            Err(err) => report.failed.push(chain(&err)),
        }
        drop(report);
        progress.done(1, pack.len);
    })?;
    if let Some(err) = lock(&full).take() {
        return Err(err.into());
    }
    let done = lock(&shared).clone();
    let (now, _) = ParityReport::look(repo)?;
    let ParityReport { built, built_bytes, mut failed, .. } = done;
    failed.sort();
    Ok(ParityReport { built, built_bytes, failed, ..now })
}

/// Whether a pack has no parity, or damaged parity, or some that makes up for less.
fn is_wanting(repo: &Repository, pack: &StoredPack, permille: u16) -> Result<bool, RepoError> {
    match repo.check_parity(pack.kind, pack.id) {
        Ok(head) => Ok(is_less_than(&head, permille)),
        // A later icecore's parity is not ours to replace.
        Err(err) if err.is_not_found() || err.is_damage() => Ok(true),
        Err(err) => Err(err),
    }
}

/// `None` where the parity that is there is whole and makes up for no less than new one would.
fn build_one(
    repo: &Repository,
    pack: &StoredPack,
    permille: u16,
) -> Result<Option<u64>, RepoError> {
    match is_wanting(repo, pack, permille)? {
        true => repo.build_parity(pack, permille).map(Some),
        false => Ok(None),
    }
}
