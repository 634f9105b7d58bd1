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

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use memmap2::Mmap;
use tempfile::NamedTempFile;

use crate::codec::aead::TAG_LEN;
use crate::format::index::{PackInfo, Place, Segment};
use crate::format::{
    ChunkId, Contents, Folder, Malformed, OBJECT_HEADER_LEN, ObjectHeader, ObjectKey, SegmentId,
    limits,
};
use crate::storage::{Storage, StorageError};
use crate::units::chain;

use super::error::{InObject, RepoError, Result};
use super::vault::Vault;

/// Bytes of the checksum that ends a cache file.
const SUM_LEN: usize = 32;
/// Cached segments up to this size (a million chunks) are compared with their checksum when they
/// are opened, which takes 10 ms; of larger ones, damage shows when a look-up meets it.
const CHECKED_LEN_MAX: usize = 64 << 20;

/// A segment's body.
#[derive(Debug)]
enum Body {
    /// A cache file: the body and its BLAKE3; its memory is the kernel's.
    Mapped(Mmap),
    /// What was fetched, whose hash is the segment's name.
    Owned(Vec<u8>),
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map.split_last_chunk::<SUM_LEN>().map_or(&[], |(body, _)| body),
            Self::Owned(bytes) => bytes,
        }
    }
}

/// One opened segment.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    id: SegmentId,
    segment: Segment<Body>,
    /// From the cache, so that a fresh copy may be better.
    mapped: bool,
    /// Whether that copy was asked for.
    mended: AtomicBool,
}

impl OpenSegment {
    fn new(id: SegmentId, body: Body) -> Result<Self, Malformed> {
        let mapped = matches!(body, Body::Mapped(_));
        Ok(Self { id, segment: Segment::open(body)?, mapped, mended: AtomicBool::new(false) })
    }

    /// What errors call it.
    pub(crate) const fn object(&self) -> ObjectKey {
        ObjectKey::Segment(self.id)
    }

    /// Every chunk with its place, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<(ChunkId, Place)>> + '_ {
        self.segment.iter().map(|item| item.in_object(&self.object()))
    }
}

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

/// No failure of the cache fails anything else.
fn log_cache(path: &Path, err: &io::Error) {
    tracing::warn!("cannot use the cache file {}: {err}", path.display());
}

/// Writes a cache file under a name of its own and renames it over the final one, so that whoever
/// opens that sees a whole file, and processes that write the same one do not disturb each other.
fn write_cache(path: &Path, body: &[u8]) -> io::Result<File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder)?; // mode 0600
    file.write_all(body)?;
    file.write_all(blake3::hash(body).as_bytes())?;
    file.as_file().sync_data()?;
    Ok(file.persist(path)?)
}

fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: only cache files are mapped, which icecore writes whole under a temporary name and
    // renames, and never edits; one that is deleted or replaced stays mapped. They lie in a folder
    // of mode 0700, but that is all that protects them: if somebody with the user's rights edits
    // one, what is read here changes, which every use bears, since each field is checked where it
    // is read; if one is cut short, or the disk cannot read it, the process dies of SIGBUS.
    #[expect(unsafe_code)]
    unsafe {
        Mmap::map(file)
    }
}

/// A mapped cache file whose checksum holds, as far as it is looked at.
fn checked(map: Mmap) -> io::Result<Mmap> {
    let whole = map.len() > CHECKED_LEN_MAX
        || map
            .split_last_chunk::<SUM_LEN>()
            .is_some_and(|(body, sum)| blake3::hash(body).as_bytes() == sum);
    if whole { Ok(map) } else { Err(io::Error::other("its checksum does not match")) }
}

fn check_header(storage: &dyn Storage, vault: &Vault, object: &ObjectKey) -> Result<ObjectHeader> {
    let bytes = storage.read_at(object, 0, OBJECT_HEADER_LEN)?;
    let header = ObjectHeader::decode(Contents::Segment, &bytes).in_object(object)?;
    vault.check_header(object, &header)?;
    Ok(header)
}

/// Reads a whole stored segment and opens its body, checked against its name.
pub(crate) fn fetch(storage: &dyn Storage, vault: &Vault, id: SegmentId) -> Result<Vec<u8>> {
    let object = ObjectKey::Segment(id);
    let header = check_header(storage, vault, &object)?;
    let stored = storage.get(&object, u64::MAX)?;
    if blake3::hash(&stored).as_bytes() != &id.0 {
        return Err(RepoError::corrupt(object, "its bytes are not what its name says"));
    }
    let sealed = stored.get(OBJECT_HEADER_LEN..).unwrap_or_default();
    if vault.master().is_none() {
        return Ok(sealed.to_vec());
    }
    let cipher = vault.part_cipher(Contents::Segment, header.salt);
    let record_len = limits::SEGMENT_RECORD + TAG_LEN;
    let records = sealed.len().div_ceil(record_len);
    let plain_len = (sealed.len() as u64).saturating_sub((records * TAG_LEN) as u64);
    let mut body = Vec::with_capacity(sealed.len());
    for (number, record) in sealed.chunks(record_len).enumerate() {
        let mut record = record.to_vec();
        if !cipher.open(number as u64, &plain_len.to_le_bytes(), &mut record) {
            let what = format!("the seal of record {number} does not hold");
            return Err(RepoError::corrupt(object, what));
        }
        body.append(&mut record);
    }
    Ok(body)
}

/// The stored form of a segment's body, and its id.
pub(crate) fn seal(vault: &Vault, body: &[u8]) -> Result<(SegmentId, Vec<u8>)> {
    let header = vault.new_header(Contents::Segment)?;
    let cipher = vault.part_cipher(Contents::Segment, header.salt);
    let plain_len = (body.len() as u64).to_le_bytes();
    let mut stored = Vec::with_capacity(OBJECT_HEADER_LEN + body.len() + body.len() / 1024);
    stored.extend_from_slice(&header.encode());
    for (number, record) in body.chunks(limits::SEGMENT_RECORD).enumerate() {
        let mut record = record.to_vec();
        cipher.seal(number as u64, &plain_len, &mut record);
        stored.append(&mut record);
    }
    let id = SegmentId(*blake3::hash(&stored).as_bytes());
    Ok((id, stored))
}
