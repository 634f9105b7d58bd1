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
use crate::repo::{BlockDraft, Chunk, Marker, RepoError, Repository, Session, StoredPack, Writer};
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

    fn lost_chunks(&self) -> u64 {
        self.bad.iter().map(|pack| pack.lost_chunks).sum()
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
    let (mut damaged, mut failed) = scrub(repo, &stored, progress, interrupted)?;
    // A prune deletes packs meanwhile: nothing is lost with those.
    let doomed = repo.generations()?.doomed();
    damaged.retain(|pack| !doomed.contains(&pack.id));
    let lost = repo.lost_packs(&stored)?.into_iter().map(|(kind, id)| (kind, id, true));
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

/// Where chunks are read from, and which packs are to go.
struct Sources<'a> {
    repo: &'a Repository,
    from: Option<&'a Repository>,
    aside: HashMap<PackId, PackKind>,
}

impl Sources<'_> {
    /// A chunk's bytes, from its place or another one, or from the replica; `None` where they are
    /// lost.
    ///
    /// # Errors
    /// Where no place gives them and one may give them another time, or to a later icecore.
    fn chunk(&self, id: &ChunkId, place: &Place) -> Result<Option<Chunk>, RepoError> {
        let mut failure = None;
        let mut keep = |read: Result<Chunk, RepoError>| match read {
            Ok(chunk) => Some(chunk),
            Err(err) => {
                if !self.is_loss(&err) {
                    failure = Some(err);
                }
                None
            }
        };
        let known = self.repo.chunk_places(id).unwrap_or_default();
        let places = std::iter::once(place).chain(known.iter().filter(|known| *known != place));
        let here = places.map(|place| self.repo.chunk_at(id, place)).find_map(&mut keep);
        let here = here.or_else(|| keep(self.repo.chunk(id)));
        match here.or_else(|| keep(self.from?.chunk(id))) {
            None => failure.map_or(Ok(None), Err),
            found => Ok(found),
        }
    }

    /// Whether the bytes are gone for good. A damaged pack that is not sealed may say anything of
    /// itself, also that a later icecore wrote it.
    fn is_loss(&self, err: &RepoError) -> bool {
        let object = err.object();
        let mut names = self.aside.iter().map(|(&id, &kind)| ObjectKey::Pack(kind, id).to_string());
        let is_plain = !self.repo.config().encrypted;
        err.is_damage()
            || (is_plain && err.is_newer() && names.any(|name| object.starts_with(&name)))
    }
}

fn count_lost(
    repo: &Repository,
    from: Option<&Repository>,
    plan: &mut PacksPlan,
    interrupted: &AtomicBool,
) -> Result<()> {
    let chunks = chunks_aside(repo, plan)?;
    let sources = Sources { repo, from, aside: plan.set_aside() };
    let mut sums: HashMap<PackId, (u64, u64)> = HashMap::new();
    for (id, place) in &chunks {
        check(interrupted)?;
        let lost = sources.chunk(id, place)?.is_none();
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
    let sources = Sources { repo, from, aside: plan.set_aside() };
    if !sources.aside.is_empty() {
        let done = set_aside(&sources, &plan, options, interrupted)?;
        (report.rewritten_chunks, report.set_aside) = done;
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

/// Writes anew what can be read of packs that are to go, and removes them; how many chunks and packs
/// that were. The session lives until the packs are gone: a prune that waits for it then sees which
/// copies are left.
fn set_aside(
    sources: &Sources<'_>,
    plan: &PacksPlan,
    options: &PacksOptions,
    interrupted: &AtomicBool,
) -> Result<(u64, u64)> {
    let session = Session::begin(sources.repo, options.writer.clone(), crate::clock::now())?;
    let session = session.without(sources.aside.keys().copied());
    let result = rewrite_in(&session, sources, plan, interrupted)
        .and_then(|count| Ok((count, sources.repo.set_aside(&sources.aside, &session)?)));
    // A session that commits nothing: its packs are in the index, and that is all there is to it.
    session.abandon();
    result
}

/// Durable, and in the index, on return.
fn rewrite_in(
    session: &Session<'_>,
    sources: &Sources<'_>,
    plan: &PacksPlan,
    interrupted: &AtomicBool,
) -> Result<u64> {
    let mut encoder = BlockEncoder::new(Compression::default()).map_err(RepoError::from)?;
    let mut drafts = [BlockDraft::default(), BlockDraft::default()];
    let (mut written, mut lost) = (HashSet::new(), 0);
    for (id, place) in &chunks_aside(sources.repo, plan)? {
        check(interrupted)?;
        session.beat_when_due()?;
        // Others may be told from a chunk that is whole here: one that is told itself is no base.
        let whole = place.base.is_none();
        let is_there = if whole { session.has_whole_chunk(id) } else { session.has_chunk(id) };
        if is_there || written.contains(id) {
            continue;
        }
        let Some(bytes) = sources.chunk(id, place)? else {
            lost += 1;
            refuse_more_lost(lost, plan)?;
            continue;
        };
        written.insert(*id);
        let kind = place.pack.kind;
        let [data, meta] = &mut drafts;
        let draft = if kind == PackKind::Data { data } else { meta };
        if draft.is_full_for(bytes.len()) {
            session.write_block(kind, &std::mem::take(draft), &mut encoder)?;
        }
        draft.push(*id, &bytes);
    }
    let [data, meta] = &drafts;
    session.write_block(PackKind::Data, data, &mut encoder)?;
    session.write_block(PackKind::Meta, meta, &mut encoder)?;
    session.flush()?;
    Ok(written.len() as u64)
}

/// Nothing is given up that was not said before.
fn refuse_more_lost(lost: u64, plan: &PacksPlan) -> Result<()> {
    let said = plan.lost_chunks();
    if lost <= said {
        return Ok(());
    }
    let what = format!(
        "more of it cannot be read now than the {said} chunks that were said to be lost; nothing was \
         set aside, run the repair again"
    );
    Err(RepoError::corrupt("what is to be set aside", what).into())
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
            let successor = put_successor(repo, options, *id, paths)?;
            report.successors.extend(successor.map(|successor| (*id, successor)));
        }
        let marks = repo.marks()?;
        if options.forget && !marks.is_forgotten(*id) && !marks.is_protected(*id) {
            let by = Marker { host: options.writer.host.clone(), now: crate::clock::now() };
            report.forgotten += u64::from(repo.forget(*id, &by)?);
        }
    }
    Ok(())
}

/// `None`, and nothing is written, where the snapshot is forgotten or gone. It is looked at while
/// the session lives: a prune that begins later waits, and sees the successor.
fn put_successor(
    repo: &Repository,
    options: &PacksOptions,
    id: SnapshotId,
    paths: &[Vec<u8>],
) -> Result<Option<SnapshotId>> {
    let session = Session::begin(repo, options.writer.clone(), crate::clock::now())?;
    let found = still_there(repo, id);
    let Ok(Some(snapshot)) = found else {
        session.abandon();
        return found.map(|_| None).map_err(OpError::from);
    };
    let describe = |new, added| Snapshot { added, ..successor(&snapshot, new, paths) };
    Ok(Some(session.commit(describe)?.id))
}

/// The snapshot as it is stored with the tags that it has now, unless it may be pruned.
fn still_there(repo: &Repository, id: SnapshotId) -> Result<Option<Snapshot>, RepoError> {
    let marks = repo.marks()?;
    if marks.is_forgotten(id) {
        return Ok(None);
    }
    match repo.read_snapshot(id) {
        Ok(Some(mut snapshot)) => {
            marks.apply(&mut snapshot);
            Ok(Some(snapshot))
        }
        Err(err) if err.is_not_found() => Ok(None),
        other => other,
    }
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
