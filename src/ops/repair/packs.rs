//! Damaged and lost packs: healed from parity or from a replica, else emptied and set aside.
//!
//! What must stay true: right bytes first. Only a pack that nobody has whole is set aside, after
//! each chunk that can still be read, of it or of the replica, was written anew by a session. What
//! was lost is named, by snapshot and path, and in a successor of each snapshot that it hits; the
//! snapshots themselves stay until they are forgotten.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde::Serialize;

use crate::codec::{BlockEncoder, Compression};
use crate::format::index::Place;
use crate::format::{
    ChunkId, ObjectKey, PackId, PackKind, Snapshot, SnapshotId, Time, Trouble, limits,
};
use crate::ops::path::escaped;
use crate::ops::verify::{self, VerifyOptions};
use crate::ops::{OpError, Result};
use crate::progress::{Progress, Silent};
use crate::repo::{BlockDraft, RepoError, Repository, Session, StoredPack, Writer};
use crate::sync::lock;

/// What a successor says of a file that lost content; successors are told by it.
pub const LOST: &str = "content was lost in the repository";

/// What is to become of a damaged or lost pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Its parity gives it back.
    Parity,
    /// The replica has it whole.
    Replica,
    /// Nobody has it: what can be read is written anew, and the pack is set aside.
    Rewrite,
}

/// A pack that is damaged or lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadPack {
    /// Its name.
    pub object: String,
    #[serde(skip)]
    kind: PackKind,
    #[serde(skip)]
    id: PackId,
    /// Whether it is not there at all.
    pub missing: bool,
    /// What is to become of it.
    pub way: Way,
    /// Chunks that are known to lie in it, where it is set aside.
    pub chunks: u64,
    /// Of those, the ones that neither it nor another pack nor the replica gives.
    pub lost_chunks: u64,
}

/// What is wrong and what is to be done about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PacksPlan {
    /// Packs that were read.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that are damaged or lost.
    pub bad: Vec<BadPack>,
}

impl PacksPlan {
    /// Whether something is removed: packs that are set aside.
    #[must_use]
    pub fn is_destructive(&self) -> bool {
        self.bad.iter().any(|pack| pack.way == Way::Rewrite)
    }

    fn set_aside(&self) -> HashMap<PackId, PackKind> {
        let aside = self.bad.iter().filter(|pack| pack.way == Way::Rewrite);
        aside.map(|pack| (pack.id, pack.kind)).collect()
    }
}

/// A path that lost content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LostPath {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The path, not-text escaped.
    pub path: String,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PacksReport {
    /// The plan.
    #[serde(flatten)]
    pub plan: PacksPlan,
    /// Nothing was written.
    pub dry_run: bool,
    /// Packs that have their right bytes again.
    pub healed: u64,
    /// Packs that were set aside.
    pub set_aside: u64,
    /// Chunks that were written anew.
    pub rewritten_chunks: u64,
    /// Paths of snapshots that lost content, after all of that.
    pub lost_paths: u64,
    /// The first 1000 of each snapshot.
    pub lost: Vec<LostPath>,
    /// Snapshots that lost content, and the successors that say so.
    pub successors: Vec<(SnapshotId, SnapshotId)>,
    /// Of those, the ones that were marked as forgotten.
    pub forgotten: u64,
}

/// Who repairs, and how far it goes.
#[derive(Debug, Clone)]
pub struct PacksOptions {
    /// The writer of what is written anew.
    pub writer: Writer,
    /// Mark snapshots that have a successor as forgotten.
    pub forget: bool,
}

/// Reads all packs and says what is to be done. Writes nothing.
///
/// # Errors
/// Where something of a later icecore is met, where only a damaged index segment may know what lies
/// in a pack that is to be set aside (the index is to be repaired first), or the storage fails.
pub fn plan(
    repo: &Repository,
    from: Option<&Repository>,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<PacksPlan> {
    repo.set_healing(false);
    let stored = stored(repo)?;
    let index_damage = refuse(repo, &stored)?;
    let bytes = stored.iter().map(|pack| pack.len).sum();
    progress.expect(0, bytes);
    let (damaged, mut failed) = scrub(repo, &stored, progress, interrupted)?;
    let lost = repo.lost_packs(&stored).into_iter().map(|(kind, id)| (kind, id, true));
    let bad = damaged.into_iter().map(|pack| (pack.kind, pack.id, false)).chain(lost);
    let mut plan = PacksPlan { packs: stored.len() as u64, bytes, bad: Vec::new() };
    for (kind, id, missing) in bad {
        let object = ObjectKey::Pack(kind, id).to_string();
        let way = way(repo, from, kind, id)?;
        // The medium fails: what it does not give now it may give another time.
        if way == Way::Rewrite
            && let Some(err) = failed.remove(&id)
        {
            return Err(err.into());
        }
        plan.bad.push(BadPack { object, kind, id, missing, way, chunks: 0, lost_chunks: 0 });
    }
    let is_mute = |pack: &BadPack| {
        pack.way == Way::Rewrite && !pack.missing && !repo.has_footer(pack.kind, pack.id)
    };
    if let Some(err) = index_damage.filter(|_| plan.bad.iter().any(is_mute)) {
        return Err(err.into());
    }
    plan.bad.sort_by(|a, b| a.object.cmp(&b.object));
    count_lost(repo, from, &mut plan, interrupted)?;
    Ok(plan)
}

fn stored(repo: &Repository) -> Result<Vec<StoredPack>> {
    let mut packs = Vec::new();
    for kind in [PackKind::Meta, PackKind::Data] {
        packs.extend(repo.stored_packs(kind)?.0);
    }
    Ok(packs)
}

/// What one does not understand one does not repair. Gives damage of the index itself.
fn refuse(repo: &Repository, stored: &[StoredPack]) -> Result<Option<RepoError>> {
    let damaged = repo.snapshots()?.damaged;
    if let Some(newer) = damaged.into_iter().find(RepoError::is_newer) {
        return Err(newer.into());
    }
    let lengths = stored.iter().map(|pack| (pack.id, pack.len)).collect();
    let mut damage = None;
    for id in repo.stored_segments()? {
        // What it says of packs is what this repair is about.
        for err in repo.check_segment(id, &lengths).errors {
            if err.is_newer() {
                return Err(err.into());
            }
            if !err.is_about_pack() {
                damage = Some(err);
            }
        }
    }
    Ok(damage)
}

/// Packs whose bytes are not what their names say, several read at a time; and of those why they
/// cannot be read, where that is so.
fn scrub(
    repo: &Repository,
    packs: &[StoredPack],
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<(Vec<StoredPack>, HashMap<PackId, RepoError>)> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new((Vec::new(), HashMap::new())));
    let work = || {
        while let Some(pack) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if interrupted.load(Ordering::Relaxed) {
                return;
            }
            match repo.is_pack_whole(pack.kind, pack.id) {
                Ok(true) => {}
                Ok(false) => lock(&found).0.push(*pack),
                Err(err) => {
                    let mut found = lock(&found);
                    found.0.push(*pack);
                    found.1.insert(pack.id, err);
                }
            }
            progress.done(0, pack.len);
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
    check(interrupted)?;
    Ok(found.into_inner().unwrap_or_default())
}

fn check(interrupted: &AtomicBool) -> Result<()> {
    if interrupted.load(Ordering::Relaxed) { Err(OpError::Interrupted) } else { Ok(()) }
}

fn way(
    repo: &Repository,
    from: Option<&Repository>,
    kind: PackKind,
    id: PackId,
) -> Result<Way, RepoError> {
    if repo.pack_by_parity(kind, id).is_ok() {
        return Ok(Way::Parity);
    }
    let replica = from.map(|from| from.is_pack_whole(kind, id)).transpose()?;
    Ok(if replica == Some(true) { Way::Replica } else { Way::Rewrite })
}

/// Chunks of packs that are to be set aside, with where they lie there.
fn chunks_aside(repo: &Repository, plan: &PacksPlan) -> Result<Vec<(ChunkId, Place)>> {
    let aside = plan.set_aside();
    if aside.is_empty() {
        return Ok(Vec::new());
    }
    Ok(repo.chunks_in(&aside)?)
}

/// A chunk's bytes, from its place or another one, or from the replica.
fn readable(
    repo: &Repository,
    from: Option<&Repository>,
    id: &ChunkId,
    place: &Place,
) -> Option<crate::repo::Chunk> {
    let here = repo.chunk_at(id, place).or_else(|_| repo.chunk(id));
    here.ok().or_else(|| from?.chunk(id).ok())
}

fn count_lost(
    repo: &Repository,
    from: Option<&Repository>,
    plan: &mut PacksPlan,
    interrupted: &AtomicBool,
) -> Result<()> {
    let chunks = chunks_aside(repo, plan)?;
    let mut sums: HashMap<PackId, (u64, u64)> = HashMap::new();
    for (id, place) in &chunks {
        check(interrupted)?;
        let lost = readable(repo, from, id, place).is_none();
        let sum = sums.entry(place.pack.id).or_default();
        *sum = (sum.0 + 1, sum.1 + u64::from(lost));
    }
    for pack in &mut plan.bad {
        (pack.chunks, pack.lost_chunks) = sums.get(&pack.id).copied().unwrap_or_default();
    }
    Ok(())
}

/// What the plan would come to.
pub fn dry_run(plan: PacksPlan) -> PacksReport {
    PacksReport { plan, dry_run: true, ..PacksReport::default() }
}

/// Does what was planned.
pub fn execute(
    repo: &Repository,
    from: Option<&Repository>,
    plan: PacksPlan,
    options: &PacksOptions,
    interrupted: &AtomicBool,
) -> Result<PacksReport> {
    let mut report = PacksReport::default();
    for pack in plan.bad.iter().filter(|pack| pack.way != Way::Rewrite) {
        check(interrupted)?;
        report.healed += u64::from(put_right(repo, from, pack)?);
    }
    let aside = plan.set_aside();
    if !aside.is_empty() {
        let chunks = chunks_aside(repo, &plan)?;
        report.rewritten_chunks = rewrite(repo, from, &aside, &chunks, options, interrupted)?;
        repo.set_aside(&aside)?;
        report.set_aside = aside.len() as u64;
    }
    // Also where all packs are whole: an earlier repair may have been stopped before this.
    succeed(repo, options, &mut report, interrupted)?;
    Ok(PacksReport { plan, ..report })
}

/// Whether the pack has its right bytes now.
fn put_right(repo: &Repository, from: Option<&Repository>, pack: &BadPack) -> Result<bool> {
    let bytes = match (pack.way, from) {
        (Way::Replica, Some(from)) => from.pack_bytes(pack.kind, pack.id)?,
        _ => repo.pack_by_parity(pack.kind, pack.id).ok(),
    };
    let Some(bytes) = bytes else { return Ok(false) };
    Ok(repo.put_right(pack.kind, pack.id, &bytes)?)
}

/// Writes anew what can be read of packs that are to go. Durable, and in the index, on return.
fn rewrite(
    repo: &Repository,
    from: Option<&Repository>,
    aside: &HashMap<PackId, PackKind>,
    chunks: &[(ChunkId, Place)],
    options: &PacksOptions,
    interrupted: &AtomicBool,
) -> Result<u64> {
    let session = Session::begin(repo, options.writer.clone(), crate::clock::now())?;
    let session = session.without(aside.keys().copied());
    let result = rewrite_in(&session, repo, from, chunks, interrupted);
    // A session that commits nothing: its packs are in the index, and that is all there is to it.
    session.abandon();
    result
}

fn rewrite_in(
    session: &Session<'_>,
    repo: &Repository,
    from: Option<&Repository>,
    chunks: &[(ChunkId, Place)],
    interrupted: &AtomicBool,
) -> Result<u64> {
    let mut encoder = BlockEncoder::new(Compression::default()).map_err(RepoError::from)?;
    let mut drafts = [BlockDraft::default(), BlockDraft::default()];
    let mut count = 0;
    for (id, place) in chunks {
        check(interrupted)?;
        if session.has_chunk(id) {
            continue;
        }
        let Some(bytes) = readable(repo, from, id, place) else { continue };
        if !session.claim(id)? {
            continue;
        }
        let kind = place.pack.kind;
        let [data, meta] = &mut drafts;
        let draft = if kind == PackKind::Data { data } else { meta };
        if draft.is_full_for(bytes.len()) {
            session.write_block(kind, &std::mem::take(draft), &mut encoder)?;
        }
        draft.push(*id, &bytes);
        count += 1;
    }
    let [data, meta] = &drafts;
    session.write_block(PackKind::Data, data, &mut encoder)?;
    session.write_block(PackKind::Meta, meta, &mut encoder)?;
    session.flush()?;
    Ok(count)
}

/// Names what is lost, in the report and in a successor of each snapshot that it hits.
fn succeed(
    repo: &Repository,
    options: &PacksOptions,
    report: &mut PacksReport,
    interrupted: &AtomicBool,
) -> Result<()> {
    let structure = VerifyOptions { no_heal: true, ..VerifyOptions::default() };
    let verified = verify::run(repo, structure, &Silent, interrupted)?;
    report.lost_paths = verified.affected_count;
    let snapshots = repo.snapshots()?.snapshots;
    let succeeded: HashSet<_> = snapshots
        .iter()
        .filter(|snapshot| snapshot.troubles.iter().any(|trouble| trouble.what == LOST))
        .filter_map(|snapshot| snapshot.parent)
        .collect();
    for (id, paths) in &verified.lost {
        let lost = |path: &Vec<u8>| LostPath { snapshot: *id, path: escaped(path) };
        report.lost.extend(paths.iter().map(lost));
        let Some(snapshot) = snapshots.iter().find(|snapshot| snapshot.id == *id) else { continue };
        let is_successor = snapshot.troubles.iter().any(|trouble| trouble.what == LOST);
        if is_successor {
            continue;
        }
        if !succeeded.contains(id) {
            let session = Session::begin(repo, options.writer.clone(), crate::clock::now())?;
            let describe = |new, added| Snapshot { added, ..successor(snapshot, new, paths) };
            report.successors.push((*id, session.commit(describe)?.id));
        }
        if options.forget {
            repo.mark_forgotten(*id, &options.writer.host)?;
            report.forgotten += 1;
        }
    }
    Ok(())
}

/// The same snapshot, a nanosecond later, with a trouble for each path that lost content.
fn successor(snapshot: &Snapshot, id: SnapshotId, paths: &[Vec<u8>]) -> Snapshot {
    let lost = paths.iter().map(|path| Trouble { path: path.clone(), what: LOST.into() });
    let mut troubles: Vec<_> = lost.chain(snapshot.troubles.iter().cloned()).collect();
    let troubles_count = snapshot.troubles_count + paths.len() as u64;
    troubles.truncate(limits::TROUBLES_MAX);
    let Time { secs, nanos } = snapshot.time;
    let time = match nanos {
        999_999_999.. => Time { secs: secs.saturating_add(1), nanos: 0 },
        nanos => Time { secs, nanos: nanos + 1 },
    };
    let parent = Some(snapshot.id);
    Snapshot { id, time, parent, troubles, troubles_count, ..snapshot.clone() }
}
