//! The index of a repository: all its segments, searched in place.
//!
//! Each segment is fetched once, checked against its name, opened where it is sealed, and written
//! to the cache folder; from there it is mapped, so that an index of any size costs no memory that
//! the kernel cannot take back. Files of the repository itself are never mapped: whoever cut one
//! short would kill the mount. Without a cache folder, or where it fails in whatever way, a body of
//! up to 64 MiB stays in memory, and a larger one lies in a temporary file: the cache is a
//! convenience and no reason to fail.
//!
//! What a segment says of a place is a hint: every chunk is checked against its id. A cached
//! segment that turns out malformed is dropped and fetched once more.
//!
//! One mutex makes changes of the list of segments follow one another. It is held while a reload
//! reads the storage: who waits for it wants just that reload. Lookups never take it.

mod cache;
mod merge;
mod open;
mod records;
mod stored;
mod sweep;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::format::index::{PackInfo, Place, Segment};
use crate::format::{ChunkId, Folder, Malformed, ObjectKey, PackId, PackKind, SegmentId};
use crate::storage::{Storage, StorageError};
use crate::sync::{about_to_block, first_said, lock};
use crate::units::chain;

use super::error::{InObject, RepoError, Result};
use super::vault::Vault;

use cache::{BodyFile, checked, log_cache, map, write_cache};
use open::Body;
pub(crate) use open::OpenSegment;
pub use records::Records;
use stored::{CopyError, IN_MEMORY_MAX, fetch_to_file};
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
        lock(&self.reloads)
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
        about_to_block();
        let mut changes = self.changes();
        if changes.began.is_some_and(|began| began > asked) {
            return Ok(());
        }
        self.reload_under(&mut changes)
    }

    fn reload_under(&self, changes: &mut MutexGuard<'_, Reloads>) -> Result<()> {
        let began = Instant::now();
        let known = self.segments();
        let mut segments: Vec<Arc<OpenSegment>> = Vec::new();
        let mut replaced: HashSet<SegmentId> = HashSet::new();
        let mut skipped = false;
        let mut stored = self.storage.list(Folder::Index)?;
        // The large ones first, so that what they replace need not be opened.
        stored.sort_by_key(|listed| Reverse(listed.len));
        for listed in stored {
            let Some(ObjectKey::Segment(id)) = listed.key else { continue };
            if replaced.contains(&id) {
                continue;
            }
            if let Some(open) = known.iter().find(|open| open.id == id) {
                replaced.extend(open.segment.replaces());
                segments.push(Arc::clone(open));
                continue;
            }
            if changes.damaged.get(&id).is_some_and(|seen| seen.elapsed() < DAMAGED_RETRY) {
                skipped = true;
                continue;
            }
            match self.open_segment(id) {
                Ok(open) => {
                    replaced.extend(open.segment.replaces());
                    segments.push(Arc::new(open));
                }
                Err(err) if err.is_damage() || is_io(&err) => {
                    if first_said(&ObjectKey::Segment(id).to_string()) {
                        tracing::error!("{}; going on without it", chain(&err));
                    }
                    skipped = true;
                    // What cannot be read now may be readable the next moment.
                    if matches!(err, RepoError::Corrupt { .. }) {
                        changes.damaged.insert(id, began);
                    }
                }
                Err(err) => return Err(err),
            }
        }
        segments.retain(|open| !replaced.contains(&open.id));
        self.set(changes, segments);
        changes.began = Some(began);
        changes.skipped = skipped;
        Ok(())
    }

    /// Adds a segment that this process has just written.
    pub(crate) fn add(&self, id: SegmentId, body: Vec<u8>) -> Result<()> {
        self.insert(Arc::new(self.keep(id, body).in_object(&ObjectKey::Segment(id))?));
        Ok(())
    }

    /// Puts a stored segment in force, instead of those that it replaces.
    fn insert(&self, open: Arc<OpenSegment>) {
        let changes = self.changes();
        let mut segments = self.segments().to_vec();
        let replaced: HashSet<SegmentId> = open.segment.replaces().collect();
        segments.retain(|known| !replaced.contains(&known.id));
        // A reload may have seen it in the storage already.
        if !segments.iter().any(|known| known.id == open.id) {
            segments.push(open);
        }
        self.set(&changes, segments);
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

    /// All places of a chunk, from every segment, each once.
    pub(crate) fn places(&self, id: &ChunkId) -> Result<Vec<Place>> {
        let mut places: Vec<Place> = Vec::with_capacity(1);
        let mut damage = None;
        for open in knowing(&self.segments(), id) {
            match self.ask(open, |segment| segment.places(id)?.collect::<Result<Vec<_>, _>>()) {
                Ok(mut found) => {
                    found.retain(|place| !places.contains(place));
                    places.append(&mut found);
                }
                Err(err) => damage = Some(err),
            }
        }
        match damage {
            Some(err) if places.is_empty() => Err(err),
            _ => Ok(places),
        }
    }

    /// Whether a place of a chunk is one that the caller takes. What a damaged segment knows of
    /// the chunk counts for nothing. Allocates nothing.
    pub(crate) fn has_place(&self, id: &ChunkId, take: impl Fn(&Place) -> bool) -> bool {
        let question = |segment: &Segment<Body>| {
            for place in segment.places(id)? {
                if take(&place?) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        knowing(&self.segments(), id).any(|open| self.ask(open, question).unwrap_or(false))
    }

    /// Blocks, as pack and offset, that are told from a chunk which no place that is `there` has
    /// whole. None of such a block's chunks can be read, also those whose own base is there. Looks at
    /// every record: for when something is known to be missing.
    pub(crate) fn broken_blocks(&self, there: impl Fn(&Place) -> bool) -> HashSet<(PackId, u32)> {
        let whole = |place: &Place| place.base.is_none() && there(place);
        let mut broken = HashSet::new();
        for open in self.segments().iter() {
            for (_, place) in open.iter().flatten() {
                let key = (place.pack.id, place.block_offset);
                if let Some(base) = place.base
                    && !broken.contains(&key)
                    && !self.has_place(&base, whole)
                {
                    broken.insert(key);
                }
            }
        }
        broken
    }

    /// Whether any segment knows a chunk. A damaged one knows nothing, so a writer writes again
    /// what only that one knew.
    pub(crate) fn contains(&self, id: &ChunkId) -> Result<bool> {
        for open in knowing(&self.segments(), id) {
            match self.ask(open, |segment| segment.contains(id)) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(err) if err.is_damage() => tracing::debug!("{err}; going on without it"),
                Err(err) => return Err(err),
            }
        }
        Ok(false)
    }

    /// The one tree page whose id is not below `first` and `fits`, which ids do that begin with at
    /// least the first 24 bits of it. `None` where there are several. What a damaged segment knows
    /// counts for nothing.
    pub(crate) fn only_page(
        &self,
        first: &ChunkId,
        fits: impl Fn(&ChunkId) -> bool,
    ) -> Option<ChunkId> {
        let mut found = None;
        for open in self.segments().iter() {
            let ids = self.ask(open, |segment| {
                let ids = segment.ids_from(first)?;
                Ok(ids.take_while(|id| fits(id)).collect::<Vec<_>>())
            });
            for id in ids.unwrap_or_default() {
                let is_page = self.has_place(&id, |place| place.pack.kind == PackKind::Meta);
                match found {
                    _ if !is_page => {}
                    Some(other) if other != id => return None,
                    _ => found = Some(id),
                }
            }
        }
        found
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
                && let Err(err) = rewrite_cache(&path, &body)
            {
                log_cache(&path, &err);
            }
            OpenSegment::new(open.id, body).in_object(&object)
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
        let object = ObjectKey::Segment(id);
        if let Some(path) = self.cache_file(id)
            && self.storage.len(&object)? > IN_MEMORY_MAX
        {
            match self.fetch_to_cache(id, &path) {
                Ok(body) => return OpenSegment::new(id, body).in_object(&object),
                Err(CopyError::Repo(err)) => return Err(err),
                Err(CopyError::File(err)) => log_cache(&path, &err),
            }
        }
        match fetch(&*self.storage, &self.vault, id)? {
            Body::Owned(body) => self.keep(id, body),
            body @ Body::Mapped(_) => OpenSegment::new(id, body),
        }
        .in_object(&object)
    }

    fn fetch_to_cache(&self, id: SegmentId, path: &Path) -> Result<Body, CopyError> {
        let file = BodyFile::create(path.parent());
        let (file, body) = fetch_to_file(&*self.storage, &self.vault, id, file)?;
        if let Err(err) = file.keep(path) {
            log_cache(path, &err);
        }
        Ok(body)
    }

    /// Opens a body whose hash was checked: through the cache, or else in memory.
    fn keep(&self, id: SegmentId, body: Vec<u8>) -> Result<OpenSegment, Malformed> {
        if let Some(path) = self.cache_file(id) {
            match write_cache(&path, &body) {
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

/// Segments that a look-up reads at once.
const TOGETHER: usize = 16;

/// Those that know a chunk, or are damaged where they would.
fn knowing<'s>(
    segments: &'s [Arc<OpenSegment>],
    id: &'s ChunkId,
) -> impl Iterator<Item = &'s Arc<OpenSegment>> {
    segments.chunks(TOGETHER).flat_map(move |together| {
        let mut buckets = [None; TOGETHER];
        for (bucket, open) in buckets.iter_mut().zip(together) {
            *bucket = open.segment.bucket(id).ok();
        }
        together.iter().zip(buckets).filter_map(move |(open, bucket)| {
            bucket.is_none_or(|bucket| open.segment.may_know(bucket, id)).then_some(open)
        })
    })
}

/// Whether the medium failed at one object; the others may be fine.
pub(crate) const fn is_io(err: &RepoError) -> bool {
    matches!(err, RepoError::Storage(StorageError::Io { .. }))
}

/// Makes the cache hold a body that was fetched again; a large one at the next open.
fn rewrite_cache(path: &Path, body: &Body) -> io::Result<()> {
    match body {
        Body::Owned(body) => write_cache(path, body).map(drop),
        Body::Mapped(_) => std::fs::remove_file(path),
    }
}
