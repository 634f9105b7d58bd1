//! Verify: that what is stored can be read, or exactly what cannot.
//!
//! Structure, always: config, key slots, beats and snapshots decode; every index segment is what
//! its name says and refers to packs that are there; every pack's footer holds and agrees with the
//! index; every page of every snapshot is read, and every chunk that a file refers to has a place
//! in a pack. With `read_data` every stored byte is read as well: packs against their names,
//! blocks against their seals, chunks against their ids.
//!
//! What must stay true: no damage hides another. Whatever is wrong is listed and the check goes
//! on; only a medium that cannot be listed at all, and the user, end it early. Damage is listed by
//! object, and what it costs by snapshot and path. What parity heals is told apart from damage.

mod parity;
mod report;
mod trees;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::Receiver;

use crate::format::{Folder, ObjectKey, PackKind};
use crate::progress::Progress;
use crate::repo::{PackCheck, RepoError, Repository, StoredPack};

use super::{OpError, Result};

use trees::{Stored, Suspects, TreeCheck};

pub use report::{Affected, Damaged, Healed, VerifyReport};

/// Packs waiting for a worker.
const QUEUE: usize = 64;

/// How thorough to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Read every stored byte.
    pub read_data: bool,
    /// Workers, each with one pack in memory when data is read; 0 is one per processor.
    pub threads: usize,
    /// Leave damaged packs as they are, also where parity could heal them.
    pub no_heal: bool,
}

/// Verifies a repository.
///
/// # Errors
/// Where the storage cannot be listed, or the user interrupts. Damage is no error but the report.
pub fn run(
    repo: &Repository,
    options: VerifyOptions,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<VerifyReport> {
    let started = Instant::now();
    let mut report = VerifyReport { read_data: options.read_data, ..Default::default() };
    repo.set_healing(!options.no_heal);
    small_objects(repo, &mut report)?;
    parity::settings(repo, &mut report)?;
    let mut packs = packs(repo, &mut report)?;
    // Healing first: a pack that was cut has its length again when the index is held against it.
    let suspects = check_packs(repo, options, &packs, &mut report, progress, interrupted)?;
    if !repo.healed_packs().is_empty() {
        packs = self::packs(repo, &mut VerifyReport::default())?;
    }
    segments(repo, &packs, &mut report, interrupted)?;
    parity::objects(repo, &packs, options.read_data, &mut report, interrupted)?;
    let stored =
        Stored { packs: packs.into_iter().map(|pack| (pack.id, pack)).collect(), suspects };
    let list = repo.snapshots()?;
    for err in &list.damaged {
        report.damage(err);
    }
    let files: u64 = list.snapshots.last().map_or(0, |snapshot| snapshot.totals().files);
    progress.expect(files, 0);
    let mut trees = TreeCheck::new(repo, &stored, &mut report, progress, interrupted);
    for snapshot in list.snapshots.iter().rev() {
        trees.snapshot(snapshot)?;
    }
    parity::healed(repo, &mut report);
    report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

/// Config, key slots and beats; and the names in the small folders that mean nothing to us.
fn small_objects(repo: &Repository, report: &mut VerifyReport) -> Result<()> {
    if let Err(err) = repo.check_config() {
        report.damage(&err);
    }
    for slot in repo.key_slots(None)? {
        match slot {
            Err(err) => drop(report.damage(&err)),
            Ok(info) if info.slot.repository != repo.config().repository => {
                let object = ObjectKey::Key(info.slot.id).to_string();
                let what = format!("it belongs to repository {}", info.slot.repository);
                report.damage(&RepoError::Corrupt { object, what });
            }
            Ok(_) => {}
        }
    }
    let folders = [
        Folder::Keys,
        Folder::Sessions,
        Folder::Snapshots,
        Folder::Forgotten,
        Folder::Tags,
        Folder::Index,
        Folder::Gc,
        Folder::Settings,
    ];
    for folder in folders {
        for listed in repo.storage().list(folder).map_err(RepoError::from)? {
            match listed.key {
                None => report.stranger(listed.name),
                Some(ObjectKey::Beat(session, number)) => match repo.check_beat(session, number) {
                    Err(err) if !err.is_not_found() => drop(report.damage(&err)),
                    _ => {}
                },
                Some(mark) => match repo.check_mark(&mark) {
                    Err(err) if !err.is_not_found() => drop(report.damage(&err)),
                    _ => {}
                },
            }
        }
    }
    Ok(())
}

fn packs(repo: &Repository, report: &mut VerifyReport) -> Result<Vec<StoredPack>> {
    let mut packs = Vec::new();
    for kind in [PackKind::Meta, PackKind::Data] {
        let (found, strangers) = repo.stored_packs(kind)?;
        packs.extend(found);
        strangers.into_iter().for_each(|name| report.stranger(name));
    }
    Ok(packs)
}

fn segments(
    repo: &Repository,
    packs: &[StoredPack],
    report: &mut VerifyReport,
    interrupted: &AtomicBool,
) -> Result<()> {
    let lengths: HashMap<_, _> = packs.iter().map(|pack| (pack.id, pack.len)).collect();
    for id in repo.stored_segments()? {
        if interrupted.load(Ordering::Relaxed) {
            return Err(OpError::Interrupted);
        }
        let check = repo.check_segment(id, &lengths);
        report.segments += 1;
        report.indexed_chunks += check.chunks;
        for err in &check.errors {
            report.damage(err);
        }
    }
    Ok(())
}

/// Checks all packs, several at a time. Returns what has an unreadable copy.
fn check_packs(
    repo: &Repository,
    options: VerifyOptions,
    packs: &[StoredPack],
    report: &mut VerifyReport,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<Suspects> {
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let bytes = if options.read_data { packs.iter().map(|pack| pack.len).sum() } else { 0 };
    progress.expect(0, bytes);
    let merged = Mutex::new((report, Suspects::default()));
    let (sender, receiver) = crossbeam_channel::bounded::<StoredPack>(QUEUE);
    let work = |receiver: Receiver<StoredPack>| {
        for pack in receiver {
            let check = repo.check_and_heal(&pack, options.read_data);
            progress.done(0, if options.read_data { pack.len } else { 0 });
            // Whole between any two statements, so a panic elsewhere spoils nothing.
            let mut merged = merged.lock().unwrap_or_else(PoisonError::into_inner);
            let (report, suspects) = &mut *merged;
            merge(report, &pack, check, suspects);
        }
    };
    let panicked = std::thread::scope(|scope| {
        let worker = |_| {
            let receiver = receiver.clone();
            scope.spawn(|| work(receiver))
        };
        let workers: Vec<_> = (0..threads).map(worker).collect();
        // Only workers hold it now: when all have panicked, sending fails instead of waiting.
        drop(receiver);
        for pack in packs {
            if interrupted.load(Ordering::Relaxed) || sender.send(*pack).is_err() {
                break;
            }
        }
        drop(sender);
        let joined: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        joined.iter().any(Result::is_err)
    });
    if panicked {
        return Err(OpError::Panicked);
    }
    if interrupted.load(Ordering::Relaxed) {
        return Err(OpError::Interrupted);
    }
    Ok(merged.into_inner().unwrap_or_else(PoisonError::into_inner).1)
}

fn merge(report: &mut VerifyReport, pack: &StoredPack, check: PackCheck, suspects: &mut Suspects) {
    report.packs += 1;
    report.blocks += check.blocks;
    report.chunks += check.chunks;
    report.pack_bytes += check.bytes;
    report.unindexed_chunks += check.unindexed;
    suspects.chunks.extend(check.unreadable);
    if check.unseen {
        suspects.packs.insert(pack.id);
    }
    for err in &check.errors {
        report.damage(err);
    }
}
