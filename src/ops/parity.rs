//! Parity: what of a repository is protected, and building what is missing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde::Serialize;

use crate::format::PackKind;
use crate::progress::Progress;
use crate::repo::{RepoError, Repository, StoredPack};
use crate::sync::lock;
use crate::units::chain;

use super::{OpError, Result};

/// What is protected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ParityReport {
    /// Parity that writers add, in thousandths of the packs; 0 for none.
    pub permille: u16,
    /// Packs.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Packs that have parity.
    pub protected: u64,
    /// Bytes of all parity.
    pub parity_bytes: u64,
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
        let (parity, _) = repo.stored_parity()?;
        report.parity_bytes = parity.values().sum();
        let mut packs = Vec::new();
        for kind in [PackKind::Meta, PackKind::Data] {
            packs.extend(repo.stored_packs(kind)?.0);
        }
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

/// Builds parity for packs that have none, and anew where it is damaged. Reads these packs whole,
/// and all parity. The share is what the settings say.
///
/// # Errors
/// Where parity is off, the storage cannot be listed, or the user interrupts. A pack that cannot be
/// protected is in the report.
pub fn build(
    repo: &Repository,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<ParityReport> {
    let (report, packs) = ParityReport::look(repo)?;
    let permille = report.permille;
    if permille == 0 {
        return Err(OpError::Input("parity is off, so there is none to build".into()));
    }
    progress.expect(packs.len() as u64, report.pack_bytes);
    let (next, shared) = (AtomicUsize::new(0), Mutex::new(report));
    let work = || {
        while let Some(pack) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if interrupted.load(Ordering::Relaxed) {
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
                Err(err) => report.failed.push(chain(&err)),
            }
            drop(report);
            progress.done(1, pack.len);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let panicked = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        joined.iter().any(std::result::Result::is_err)
    });
    if panicked {
        return Err(OpError::Panicked);
    }
    if interrupted.load(Ordering::Relaxed) {
        return Err(OpError::Interrupted);
    }
    let done = lock(&shared).clone();
    let (now, _) = ParityReport::look(repo)?;
    let ParityReport { built, built_bytes, mut failed, .. } = done;
    failed.sort();
    Ok(ParityReport { built, built_bytes, failed, ..now })
}

/// `None` where the parity that is there is whole.
fn build_one(
    repo: &Repository,
    pack: &StoredPack,
    permille: u16,
) -> Result<Option<u64>, RepoError> {
    match repo.check_parity(pack.kind, pack.id) {
        Ok(()) => return Ok(None),
        // A later icecore's parity is not ours to replace.
        Err(err) if err.is_not_found() || err.is_damage() => {}
        Err(err) => return Err(err),
    }
    repo.build_parity(pack, permille).map(Some)
}
