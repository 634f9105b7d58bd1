//! The index of a repository: all its segments, searched in place.
//!
//! Each segment is fetched once, checked against its name, opened where it is sealed, and written
//! to the cache folder; from there it is mapped, so that an index of any size costs no memory that
//! the kernel cannot take back. Files of the repository itself are never mapped: whoever cut one
//! short would kill the mount. Without a cache folder, or where it fails in whatever way, the body
//! stays in memory: the cache is a convenience and no reason to fail.
//!
//! What a segment says of a place is a hint: every chunk is checked against its id. A cached
//! segment that turns out malformed is dropped and fetched once more.
//!
//! One mutex makes changes of the list of segments follow one another. It is held while a reload
//! reads the storage: who waits for it wants just that reload. Lookups never take it.

mod cache;
mod open;
mod stored;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::format::index::{PackInfo, Place, Segment};
use crate::format::{ChunkId, Folder, Malformed, ObjectKey, SegmentId};
use crate::storage::{Storage, StorageError};
use crate::units::chain;

use super::error::{InObject, RepoError, Result};
use super::vault::Vault;

use cache::{checked, log_cache, map, write_cache};
use open::{Body, OpenSegment};
pub(crate) use stored::{fetch, seal};

/// What the mutex of changes guards, beside the right to change the list.
#[derive(Debug, Default)]
struct Reloads {
    /// When the last reload that succeeded began.
    began: Option<Instant>,
    /// Whether it had to go on without a segment.
    skipped: bool,
    /// Segments whose bytes are wrong, and when that was seen.
    damaged: HashMap<SegmentId, Instant>,
}

/// All segments that are in force.
#[derive(Debug)]
pub(crate) struct Index {
    storage: Arc<dyn Storage>,
    vault: Arc<Vault>,
    cache: Option<PathBuf>,
    segments: RwLock<Arc<Vec<Arc<OpenSegment>>>>,
    reloads: Mutex<Reloads>,
}

/// A segment whose bytes are wrong is not read whole again for each chunk that is missing, but
/// after this long: a repair may have put it right.
const DAMAGED_RETRY: Duration = Duration::from_secs(60);

impl Index {
    /// An index without segments that keeps opened ones in `cache`.
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        vault: Arc<Vault>,
        cache: Option<PathBuf>,
    ) -> Self {
        let (segments, reloads) = (RwLock::default(), Mutex::default());
        Self { storage, vault, cache, segments, reloads }
    }

    /// The segments as they are now.
    pub(crate) fn segments(&self) -> Arc<Vec<Arc<OpenSegment>>> {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The right to change the list. A panic elsewhere leaves the list whole: it is set as one.
    fn changes(&self) -> MutexGuard<'_, Reloads> {
        self.reloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, _changes: &MutexGuard<'_, Reloads>, segments: Vec<Arc<OpenSegment>>) {
        *self.segments.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(segments);
    }

    /// Looks again at what segments there are; those known stay open. One that is damaged or
    /// unreadable is logged: what the others know is still of use.
    pub(crate) fn reload(&self) -> Result<()> {
        let mut changes = self.changes();
        changes.damaged.clear();
        self.reload_under(&mut changes)
    }

    /// For a reader that missed something in a look-up that it began at `asked`: returns once the
    /// list of segments is younger than that. Of several that ask together, one reloads.
    pub(crate) fn reload_since(&self, asked: Instant) -> Result<()> {
        let mut changes = self.changes();
        if changes.began.is_some_and(|began| began > asked) {
            return Ok(());
        }
        self.reload_under(&mut changes)
    }

    fn reload_under(&self, changes: &mut MutexGuard<'_, Reloads>) -> Result<()> {
        let began = Instant::now();
        let known = self.segments();
        let mut segments = Vec::new();
        let mut skipped = false;
        for listed in self.storage.list(Folder::Index)? {
            let Some(ObjectKey::Segment(id)) = listed.key else { continue };
            if let Some(open) = known.iter().find(|open| open.id == id) {
                segments.push(Arc::clone(open));
                continue;
            }
            if changes.damaged.get(&id).is_some_and(|seen| seen.elapsed() < DAMAGED_RETRY) {
                skipped = true;
                continue;
            }
            match self.open_segment(id) {
                Ok(open) => segments.push(Arc::new(open)),
                Err(err) if err.is_damage() || is_io(&err) => {
                    tracing::error!("{}; going on without it", chain(&err));
                    skipped = true;
                    // What cannot be read now may be readable the next moment.
                    if matches!(err, RepoError::Corrupt { .. }) {
                        changes.damaged.insert(id, began);
                    }
                }
                Err(err) => return Err(err),
            }
        }
        let replaced: HashSet<SegmentId> =
            segments.iter().flat_map(|open| open.segment.replaces().collect::<Vec<_>>()).collect();
        segments.retain(|open| !replaced.contains(&open.id));
        self.set(changes, segments);
        changes.began = Some(began);
        changes.skipped = skipped;
        Ok(())
    }

    /// Adds a segment that this process has just written.
    pub(crate) fn add(&self, id: SegmentId, body: Vec<u8>) -> Result<()> {
        let open = Arc::new(self.keep(id, body).in_object(&ObjectKey::Segment(id))?);
        let changes = self.changes();
        let mut segments = self.segments().to_vec();
        // A reload may have seen it in the storage already.
        if !segments.iter().any(|known| known.id == id) {
            segments.push(open);
            self.set(&changes, segments);
        }
        Ok(())
    }

    /// Stored bytes of all packs, each counted once; places that do not parse are left out.
    pub(crate) fn stored_len(&self) -> u64 {
        self.packs().iter().map(|pack| pack.stored_len).sum()
    }

    /// All packs that it names, each once; what does not parse is left out.
    pub(crate) fn packs(&self) -> Vec<PackInfo> {
        let segments = self.segments();
        let packs = segments.iter().flat_map(|open| open.segment.packs().flatten());
        let by_id: HashMap<_, _> = packs.map(|pack| (pack.id, pack)).collect();
        by_id.into_values().collect()
    }

    /// Whether the last reload had to go on without a segment.
    pub(crate) fn is_damaged(&self) -> bool {
        self.changes().skipped
    }

    /// All places of a chunk, from every segment.
    pub(crate) fn places(&self, id: &ChunkId) -> Result<Vec<Place>> {
        let mut places = Vec::with_capacity(1);
        let mut damage = None;
        for open in self.segments().iter() {
            match self.ask(open, |segment| segment.places(id)?.collect::<Result<Vec<_>, _>>()) {
                Ok(found) => places.extend(found),
                Err(err) => damage = Some(err),
            }
        }
        match damage {
            Some(err) if places.is_empty() => Err(err),
            _ => Ok(places),
        }
    }

    /// Whether any segment knows a chunk. A damaged one knows nothing, so a writer writes again
    /// what only that one knew.
    pub(crate) fn contains(&self, id: &ChunkId) -> Result<bool> {
        for open in self.segments().iter() {
            match self.ask(open, |segment| segment.contains(id)) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(err) if err.is_damage() => tracing::debug!("{err}; going on without it"),
                Err(err) => return Err(err),
            }
        }
        Ok(false)
    }

    /// Asks one segment; where its cache file turns out malformed, asks the stored one.
    fn ask<T>(
        &self,
        open: &Arc<OpenSegment>,
        question: impl Fn(&Segment<Body>) -> Result<T, Malformed>,
    ) -> Result<T> {
        match question(&open.segment) {
            Ok(answer) => Ok(answer),
            Err(err) => match self.mended(open, &err) {
                Some(mended) => question(&mended.segment).in_object(&open.object()),
                None => Err(RepoError::malformed(open.object(), err)),
            },
        }
    }

    /// The same segment from the storage, once for each that was mapped. It stays in memory: the
    /// disk below the cache may be what is broken.
    fn mended(&self, open: &Arc<OpenSegment>, err: &Malformed) -> Option<Arc<OpenSegment>> {
        if !open.mapped {
            return None;
        }
        let changes = self.changes();
        let mut segments = self.segments().to_vec();
        let slot = segments.iter_mut().find(|known| known.id == open.id)?;
        if !Arc::ptr_eq(slot, open) {
            return Some(Arc::clone(slot)); // another thread was here before
        }
        if open.mended.swap(true, Ordering::Relaxed) {
            return None;
        }
        let object = open.object();
        tracing::warn!("the cached copy of {object} is damaged and fetched again: {err}");
        let fetched = fetch(&*self.storage, &self.vault, open.id).and_then(|body| {
            if let Some(path) = self.cache_file(open.id)
                && let Err(err) = write_cache(&path, &body)
            {
                log_cache(&path, &err);
            }
            OpenSegment::new(open.id, Body::Owned(body)).in_object(&object)
        });
        match fetched {
            Ok(mended) => {
                *slot = Arc::new(mended);
                let mended = Arc::clone(slot);
                self.set(&changes, segments);
                Some(mended)
            }
            Err(err) => {
                tracing::error!("{}", chain(&err));
                None
            }
        }
    }

    fn cache_file(&self, id: SegmentId) -> Option<PathBuf> {
        self.cache.as_ref().map(|folder| folder.join(id.to_string()))
    }

    fn open_segment(&self, id: SegmentId) -> Result<OpenSegment> {
        if let Some(path) = self.cache_file(id) {
            match File::open(&path).and_then(|file| map(&file)).and_then(checked) {
                Ok(map) => match OpenSegment::new(id, Body::Mapped(map)) {
                    Ok(open) => return Ok(open),
                    Err(err) => tracing::warn!("{} is damaged: {err}", path.display()),
                },
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => log_cache(&path, &err),
            }
        }
        let body = fetch(&*self.storage, &self.vault, id)?;
        self.keep(id, body).in_object(&ObjectKey::Segment(id))
    }

    /// Opens a body whose hash was checked: through the cache, or else in memory.
    fn keep(&self, id: SegmentId, body: Vec<u8>) -> Result<OpenSegment, Malformed> {
        if let Some(path) = self.cache_file(id) {
            match write_cache(&path, &body).and_then(|file| map(&file)) {
                Ok(map) => match OpenSegment::new(id, Body::Mapped(map)) {
                    Ok(open) => return Ok(open),
                    // Either the cache does not keep what it is given, or the body is malformed.
                    Err(err) => tracing::warn!("{} is damaged: {err}", path.display()),
                },
                Err(err) => log_cache(&path, &err),
            }
        }
        OpenSegment::new(id, Body::Owned(body))
    }
}

/// Whether the medium failed at one object; the others may be fine.
pub(crate) const fn is_io(err: &RepoError) -> bool {
    matches!(err, RepoError::Storage(StorageError::Io { .. }))
}
