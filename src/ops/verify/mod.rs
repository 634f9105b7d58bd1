//! Verify: that what is stored can be read, or exactly what cannot.
//!
//! Structure, always: config, key slots, beats and snapshots decode; every index segment is what
//! its name says and refers to packs that are there; every pack's footer holds and agrees with the
//! index; every page of every snapshot is read, and every chunk that a file refers to has a place
//! in a pack. With `read_data` every stored byte is read as well: packs against their names,
//! blocks against their seals, chunks against their ids.
//!
//! Which packs' data is read can be narrowed: a random sample, those not verified for a while, as
//! many as a time allows. The least recently verified come first, so that runs with a budget get
//! round to all of them; the structure is checked in any case.
//!
//! What must stay true: no damage hides another. Whatever is wrong is listed and the check goes
//! on; only a medium that cannot be listed at all, and the user, end it early. Damage is listed by
//! object, and what it costs by snapshot and path. What parity heals is told apart from damage, and
//! so is what a repair gave up and named in a successor. Forgotten snapshots are not walked: nothing
//! is kept for them; the packs that hold their content are checked like all others.

mod choose;
mod coverage;
mod parity;
mod record;
mod report;
mod trees;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::format::{Folder, ObjectKey, PackKind, SegmentId, pack_prefix};
use crate::progress::Progress;
use crate::repo::{PackCheck, RepoError, Repository, StoredPack};

use super::repair::packs::{KnownLosses, is_lossy};
use super::{OpError, Result};

use trees::{Stored, Suspects, TreeCheck};

pub use choose::Sample;
pub use coverage::{Coverage, WINDOW, last_verified};
pub use record::record;
pub use report::{Affected, Damaged, Healed, VerifyReport};

/// Packs waiting for a worker.
const QUEUE: usize = 4;

/// How thorough to be. Where none of the choices says otherwise, no data is read.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct VerifyOptions {
    /// Read every stored byte, or every one of what the other choices leave.
    pub read_data: bool,
    /// Read a part of the packs.
    pub sample: Option<Sample>,
    /// Read packs that were not verified for so long.
    pub older_than: Option<Duration>,
    /// Begin to read no pack after so long.
    pub max_duration: Option<Duration>,
    /// Workers, each with one pack in memory when data is read; 0 is one per processor.
    pub threads: usize,
    /// Leave damaged packs as they are, also where parity could heal them.
    pub no_heal: bool,
}

impl VerifyOptions {
    /// Whether data of packs is read at all.
    #[must_use]
    pub const fn reads_data(&self) -> bool {
        self.read_data
            || self.sample.is_some()
            || self.older_than.is_some()
            || self.max_duration.is_some()
    }
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
    let mut report = VerifyReport::default();
    run_into(repo, options, &mut report, progress, interrupted)?;
    Ok(report)
}

/// The same into a report that tells, where it ends with an error, what was done until then.
///
/// # Errors
/// As [`run`].
pub fn run_into(
    repo: &Repository,
    options: VerifyOptions,
    report: &mut VerifyReport,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<()> {
    let started = Instant::now();
    report.read_data = options.reads_data();
    let result = check(repo, options, started, report, progress, interrupted);
    report.complete = result.is_ok();
    report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    result
}

fn check(
    repo: &Repository,
    options: VerifyOptions,
    started: Instant,
    report: &mut VerifyReport,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<()> {
    repo.set_healing(!options.no_heal);
    small_objects(repo, report)?;
    parity::settings(repo, report)?;
    let mut packs = packs(repo, report)?;
    report.packs_stored = packs.len() as u64;
    report.bytes_stored = packs.iter().map(|pack| pack.len).sum();
    let now = now_secs();
    let mut last = last_verified(repo, &packs)?;
    let are_lossy = repo.snapshots()?.snapshots.iter().any(is_lossy);
    let mut queue = Queue { read: Vec::new(), rest: packs.clone(), until: None, are_lossy };
    if options.reads_data() {
        (queue.read, queue.rest) = choose::split(packs.clone(), &last, &options, now);
        queue.until = options.max_duration.and_then(|most| started.checked_add(most));
    }
    let checked = check_packs(repo, options.threads, queue, report, progress, interrupted);
    last.add_all(now, report.read.iter().map(|(prefix, _)| *prefix));
    last.forget(&report.bad);
    let window = options.older_than.unwrap_or(coverage::WINDOW);
    report.coverage = Some(Coverage::of(&packs, &last, now, window));
    let suspects = checked?;
    // After healing: a pack that was cut has its length again when the index is held against it.
    // Segments are listed before packs: a pack is durable before a segment names it, and others
    // write and prune meanwhile.
    let listed = repo.stored_segments()?;
    packs = repo.all_packs()?;
    segments(repo, &listed, &packs, report, interrupted)?;
    parity::objects(repo, &packs, options.read_data, report, interrupted)?;
    let stored =
        Stored { packs: packs.into_iter().map(|pack| (pack.id, pack)).collect(), suspects };
    let list = repo.snapshots()?;
    for err in &list.damaged {
        report.damage(err);
    }
    let files: u64 = list.snapshots.last().map_or(0, |snapshot| snapshot.totals().files);
    progress.expect(files, 0);
    let known = KnownLosses::of(&list.snapshots);
    let mut trees = TreeCheck::new(repo, &stored, known, report, progress, interrupted);
    for snapshot in list.snapshots.iter().rev() {
        trees.snapshot(snapshot)?;
    }
    let lossy = list.snapshots.iter().filter(|snapshot| is_lossy(snapshot));
    let parents: HashSet<_> = lossy.filter_map(|snapshot| snapshot.parent).collect();
    let succeeded = report.lost.keys().filter(|id| parents.contains(id)).count();
    report.succeeded_snapshots = succeeded as u64;
    parity::healed(repo, report);
    misplaced(repo, report)
}

/// Whether what is in no segment lies in packs that no segment lists. Where a successor names it as
/// lost that is good news: a writer that lives, or that was stopped, has stored it again.
fn misplaced(repo: &Repository, report: &mut VerifyReport) -> Result<()> {
    if report.missing.is_empty() {
        return Ok(());
    }
    let unindexed = repo.unindexed()?;
    let (news, known): (Vec<_>, Vec<_>) = (report.missing.iter().copied())
        .filter(|id| unindexed.has(id))
        .partition(|id| report.missing_unnamed.contains(id));
    report.misplaced_chunks = news.len() as u64;
    report.returning_chunks = known.len() as u64;
    if let Err(err) = unindexed.refuse(&news) {
        report.damage(&err);
    }
    Ok(())
}

/// Seconds since 1970, as records of the ledger have them.
fn now_secs() -> u64 {
    u64::try_from(crate::clock::now().secs).unwrap_or(0)
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
    for folder in SMALL {
        for listed in repo.storage().list(folder).map_err(RepoError::from)? {
            let checked = match listed.key {
                None => {
                    report.stranger(listed.name);
                    continue;
                }
                Some(ObjectKey::Beat(session, number)) => repo.check_beat(session, number),
                Some(key) => repo.check_mark(&key),
            };
            match checked {
                Err(err) if !err.is_not_found() => drop(report.damage(&err)),
                _ => {}
            }
        }
    }
    for (_, err) in &repo.check_ledger()?.errors {
        report.damage(err);
    }
    Ok(())
}

/// Folders of small objects.
const SMALL: [Folder; 10] = [
    Folder::Keys,
    Folder::Sessions,
    Folder::Snapshots,
    Folder::Index,
    Folder::Gc,
    Folder::Forgotten,
    Folder::Tags,
    Folder::Pins,
    Folder::Settings,
    Folder::Ledger,
];

/// All packs, and the strangers among them.
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
    listed: &[SegmentId],
    packs: &[StoredPack],
    report: &mut VerifyReport,
    interrupted: &AtomicBool,
) -> Result<()> {
    let lengths: HashMap<_, _> = packs.iter().map(|pack| (pack.id, pack.len)).collect();
    for &id in listed {
        if interrupted.load(Ordering::Relaxed) {
            return Err(OpError::Interrupted);
        }
        let check = repo.check_segment(id, &lengths);
        report.segments += 1;
        report.indexed_chunks += check.chunks;
        // One that is gone was merged into another since it was listed.
        for err in check.errors.iter().filter(|err| err.is_about_pack() || !err.is_not_found()) {
            report.damage(err);
        }
    }
    Ok(())
}

/// Packs by what is done with them.
struct Queue {
    /// All of these is read, in this order, as long as there is time.
    read: Vec<StoredPack>,
    /// Of these, and of what there was no time for, the structure is checked.
    rest: Vec<StoredPack>,
    until: Option<Instant>,
    /// Successors name losses: what is told from one of those is damage only where a snapshot needs it
    /// of which no successor says so.
    are_lossy: bool,
}

/// Checks all packs, several at a time. Returns what has an unreadable copy.
fn check_packs(
    repo: &Repository,
    threads: usize,
    queue: Queue,
    report: &mut VerifyReport,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<Suspects> {
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let Queue { read, mut rest, until, are_lossy } = queue;
    progress.expect(0, read.iter().map(|pack| pack.len).sum());
    let merged = Mutex::new((report, Suspects::default()));
    let add = |pack: &StoredPack, mut check: PackCheck, is_read| {
        let all = check.errors.len();
        check.errors.retain(|err| !are_lossy || err.missing_chunk().is_none());
        let orphaned = all - check.errors.len();
        // Whole between any two statements, so a panic elsewhere spoils nothing.
        let mut merged = merged.lock().unwrap_or_else(PoisonError::into_inner);
        let (report, suspects) = &mut *merged;
        report.orphaned_blocks += orphaned as u64;
        merge(report, pack, check, is_read, suspects);
    };
    let is_late = || until.is_some_and(|until| Instant::now() >= until);
    let begun = in_threads(threads, &read, is_late, interrupted, |pack| {
        let check = repo.check_and_heal(pack, true);
        progress.done(0, pack.len);
        add(pack, check, true);
    })?;
    rest.extend_from_slice(read.get(begun..).unwrap_or_default());
    in_threads(
        threads,
        &rest,
        || false,
        interrupted,
        |pack| {
            add(pack, repo.check_and_heal(pack, false), false);
        },
    )?;
    Ok(merged.into_inner().unwrap_or_else(PoisonError::into_inner).1)
}

/// Does `work` for packs in their order until it `is_late`; returns how many were begun.
fn in_threads(
    threads: usize,
    packs: &[StoredPack],
    is_late: impl Fn() -> bool,
    interrupted: &AtomicBool,
    work: impl Fn(&StoredPack) + Sync,
) -> Result<usize> {
    let (sender, receiver) = crossbeam_channel::bounded::<StoredPack>(QUEUE);
    let is_over = || interrupted.load(Ordering::Relaxed);
    let work = |receiver: Receiver<StoredPack>| {
        receiver.iter().take_while(|_| !is_over()).for_each(|pack| work(&pack));
    };
    let mut begun = 0;
    let panicked = std::thread::scope(|scope| {
        let worker = |_| {
            let receiver = receiver.clone();
            scope.spawn(|| work(receiver))
        };
        let workers: Vec<_> = (0..threads).map(worker).collect();
        // Only workers hold it now: when all have panicked, sending fails instead of waiting.
        drop(receiver);
        for pack in packs {
            if is_over() || is_late() || sender.send(*pack).is_err() {
                break;
            }
            begun += 1;
        }
        drop(sender);
        let joined: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        joined.iter().any(Result::is_err)
    });
    if panicked {
        return Err(OpError::Panicked);
    }
    if is_over() {
        return Err(OpError::Interrupted);
    }
    Ok(begun)
}

fn merge(
    report: &mut VerifyReport,
    pack: &StoredPack,
    check: PackCheck,
    is_read: bool,
    suspects: &mut Suspects,
) {
    if is_read {
        report.packs_read += 1;
        report.bytes_read += pack.len;
        match check.errors.is_empty() {
            true => report.read.push((pack_prefix(&pack.id), pack.len)),
            false => report.bad.push(pack_prefix(&pack.id)),
        }
    }
    report.packs += 1;
    report.blocks += check.blocks;
    report.chunks += check.chunks;
    report.pack_bytes += check.bytes;
    report.unindexed_chunks += check.unindexed;
    suspects.chunks.extend(check.unreadable);
    if check.unseen {
        suspects.packs.insert(pack.id);
    }
    // One that is gone was pruned since it was listed; where the index needs it, that is told when
    // the index is held against the packs.
    for err in check.errors.iter().filter(|err| !err.is_not_found()) {
        report.damage(err);
    }
}
