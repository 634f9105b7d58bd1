//! The index of a repository: all its segments, mapped and searched in place.
//!
//! Nothing is loaded: a segment in a plain local repository is mapped where it lies; a sealed one is
//! opened once into the local cache folder and mapped from there on. A damaged place costs an
//! error, never wrong bytes, because every chunk is checked against its id.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use memmap2::Mmap;

use crate::codec::aead::TAG_LEN;
use crate::format::index::{PackInfo, Place, Segment};
use crate::format::{
    ChunkId, Contents, Folder, OBJECT_HEADER_LEN, ObjectHeader, ObjectKey, SegmentId, limits,
};
use crate::fsutil;
use crate::storage::Storage;

use super::error::{InObject, RepoError, Result};
use super::vault::Vault;

/// A segment's body in memory that the process does not pay for.
#[derive(Debug)]
enum Body {
    Mapped { map: Mmap, start: usize },
    Owned(Vec<u8>),
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Mapped { map, start } => map.get(*start..).unwrap_or_default(),
            Self::Owned(bytes) => bytes,
        }
    }
}

/// One opened segment.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    id: SegmentId,
    segment: Segment<Body>,
}

impl OpenSegment {
    /// What errors call it.
    pub(crate) const fn object(&self) -> ObjectKey {
        ObjectKey::Segment(self.id)
    }

    fn find(&self, id: &ChunkId) -> Result<Option<Place>> {
        self.segment.find(id).in_object(&self.object())
    }

    /// Every chunk with its place, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<(ChunkId, Place)>> + '_ {
        self.segment.iter().map(|item| item.in_object(&self.object()))
    }
}

/// All segments that are in force.
#[derive(Debug, Default)]
pub(crate) struct Index {
    segments: RwLock<Arc<Vec<Arc<OpenSegment>>>>,
    cache: Option<PathBuf>,
    /// Whether the last reload had to go on without a segment.
    damaged: AtomicBool,
    /// When a reader last looked again.
    reloaded: Mutex<Option<Instant>>,
}

/// Least time between two looks at the index for chunks that it does not know.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);

impl Index {
    /// An index without segments that keeps opened ones in `cache`.
    pub(crate) fn new(cache: Option<PathBuf>) -> Self {
        Self {
            segments: RwLock::default(),
            cache,
            damaged: AtomicBool::new(false),
            reloaded: Mutex::default(),
        }
    }

    /// The segments as they are now.
    pub(crate) fn segments(&self) -> Arc<Vec<Arc<OpenSegment>>> {
        match self.segments.read() {
            Ok(segments) => Arc::clone(&segments),
            Err(poisoned) => Arc::clone(&poisoned.into_inner()),
        }
    }

    fn set(&self, segments: Vec<Arc<OpenSegment>>) {
        match self.segments.write() {
            Ok(mut slot) => *slot = Arc::new(segments),
            Err(poisoned) => *poisoned.into_inner() = Arc::new(segments),
        }
    }

    /// Looks again at what segments there are; those known stay mapped. A damaged segment is an
    /// error unless `skip_damaged`, which logs it: a reader can go on with what the others know.
    pub(crate) fn reload(
        &self,
        storage: &dyn Storage,
        vault: &Vault,
        skip_damaged: bool,
    ) -> Result<()> {
        let known = self.segments();
        let mut segments = Vec::new();
        let mut damaged = false;
        for listed in storage.list(Folder::Index)? {
            let Some(ObjectKey::Segment(id)) = listed.key else { continue };
            if let Some(open) = known.iter().find(|open| open.id == id) {
                segments.push(Arc::clone(open));
                continue;
            }
            match self.open_segment(storage, vault, id) {
                Ok(open) => segments.push(Arc::new(open)),
                Err(err) if err.is_damage() && skip_damaged => {
                    tracing::error!("{err}; going on without it");
                    damaged = true;
                }
                Err(err) => return Err(err),
            }
        }
        let replaced: HashSet<SegmentId> =
            segments.iter().flat_map(|open| open.segment.replaces().collect::<Vec<_>>()).collect();
        segments.retain(|open| !replaced.contains(&open.id));
        self.set(segments);
        self.damaged.store(damaged, Ordering::SeqCst);
        Ok(())
    }

    /// Reloads unless that was done a moment ago: a reader of a damaged repository asks for each
    /// chunk that is missing. Says whether it did.
    pub(crate) fn reload_if_stale(&self, storage: &dyn Storage, vault: &Vault) -> Result<bool> {
        {
            let mut last = self.reloaded.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| last.elapsed() < RELOAD_PAUSE) {
                return Ok(false);
            }
            *last = Some(Instant::now());
        }
        self.reload(storage, vault, true)?;
        Ok(true)
    }

    /// Adds a segment that this process has just written.
    pub(crate) fn add(&self, id: SegmentId, body: Vec<u8>) -> Result<()> {
        let object = ObjectKey::Segment(id);
        let open = match self.cache_file(id) {
            Some(path) => {
                self.fill_cache(&path, &body)?;
                let file = File::open(&path).map_err(|err| self.cache_error(err))?;
                self.map(id, &file, 0)?
            }
            None => {
                OpenSegment { id, segment: Segment::open(Body::Owned(body)).in_object(&object)? }
            }
        };
        let mut segments = self.segments().to_vec();
        segments.push(Arc::new(open));
        self.set(segments);
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
        self.damaged.load(Ordering::SeqCst)
    }

    /// All places of a chunk, from every segment.
    pub(crate) fn places(&self, id: &ChunkId) -> Result<Vec<Place>> {
        let mut places = Vec::with_capacity(1);
        let mut damage = None;
        for open in self.segments().iter() {
            match open.find(id) {
                Ok(found) => places.extend(found),
                Err(err) => damage = Some(err),
            }
        }
        match damage {
            Some(err) if places.is_empty() => Err(err),
            _ => Ok(places),
        }
    }

    /// Whether any segment knows a chunk.
    pub(crate) fn contains(&self, id: &ChunkId) -> Result<bool> {
        for open in self.segments().iter() {
            if open.segment.contains(id).in_object(&open.object())? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn cache_file(&self, id: SegmentId) -> Option<PathBuf> {
        self.cache.as_ref().map(|folder| folder.join(id.to_string()))
    }

    fn cache_error(&self, source: io::Error) -> RepoError {
        let folder = self.cache.as_ref().map(|path| path.display().to_string());
        RepoError::Cache { folder: folder.unwrap_or_default(), source }
    }

    fn open_segment(
        &self,
        storage: &dyn Storage,
        vault: &Vault,
        id: SegmentId,
    ) -> Result<OpenSegment> {
        let object = ObjectKey::Segment(id);
        if vault.master().is_none()
            && let Some(file) = storage.file(&object)?
        {
            check_header(storage, vault, &object)?;
            return self.map(id, &file, OBJECT_HEADER_LEN);
        }
        if let Some(path) = self.cache_file(id) {
            if let Ok(file) = File::open(&path)
                && let Ok(open) = self.map(id, &file, 0)
            {
                return Ok(open);
            }
            let body = fetch(storage, vault, id)?;
            self.fill_cache(&path, &body)?;
            let file = File::open(&path).map_err(|err| self.cache_error(err))?;
            return self.map(id, &file, 0);
        }
        let body = Body::Owned(fetch(storage, vault, id)?);
        Ok(OpenSegment { id, segment: Segment::open(body).in_object(&object)? })
    }

    fn fill_cache(&self, path: &std::path::Path, body: &[u8]) -> Result<()> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        // What was there did not open: cut short by a crash, or damaged.
        match std::fs::remove_file(path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(self.cache_error(err)),
            _ => {}
        }
        match fsutil::write_new_durable(folder, &name.to_string_lossy(), body) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => Err(self.cache_error(err)),
            _ => Ok(()),
        }
    }

    fn map(&self, id: SegmentId, file: &File, start: usize) -> Result<OpenSegment> {
        // SAFETY: the file is immutable once it has its name: repository objects and cache files
        // are written whole under a temporary name, synced and renamed, and never edited. Its
        // length is checked by `Segment::open`; a file that is deleted stays mapped.
        #[expect(unsafe_code)]
        let map = unsafe { Mmap::map(file) }.map_err(|err| self.cache_error(err))?;
        let body = Body::Mapped { map, start };
        Ok(OpenSegment { id, segment: Segment::open(body).in_object(&ObjectKey::Segment(id))? })
    }
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
