//! The readers: one file in, its extents out, new chunks into blocks.
//!
//! A file that changes while it is read is read again, once; then it is taken as it came and
//! marked. Holes are found by `SEEK_DATA` and stored as holes.

use std::io::{self, Read};
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::codec::{BlockEncoder, Chunker, Compression, Cutter, ReadChunks};
use crate::format::{ChunkClass, Content, Extent, File, limits};
use crate::localfs::{self, Found, LocalError, SourceFile};
use crate::ops::error::{OpError, Result};
use crate::repo::{BlockDraft, ExtentsWriter, PageWriter, RepoError, Repository, Session};

use super::abort::Abort;
use super::ticket::{FileJob, Reading};

/// Files with more holes than this get no hash of their whole content: hashing the zeroes of a
/// terabyte would take minutes.
const HASHED_HOLES_MAX: u64 = 4 << 30;
/// Longer than a tick of any kernel's clock (10 ms at 100 Hz).
const TICK: Duration = Duration::from_millis(20);
/// Zeroes for hashing holes.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// Why reading stopped.
enum Stop {
    /// The name is gone, or stands for something else.
    Open(LocalError),
    /// The source failed: a trouble.
    Source(io::Error),
    /// The repository failed, or the user stopped it: the end.
    Fatal(OpError),
}

impl From<LocalError> for Stop {
    fn from(err: LocalError) -> Self {
        Self::Open(err)
    }
}

impl From<RepoError> for Stop {
    fn from(err: RepoError) -> Self {
        Self::Fatal(err.into())
    }
}

/// One reader thread's state.
pub(super) struct Reader<'s, 'r> {
    session: &'s Session<'r>,
    abort: &'s Abort<'s>,
    blocks: Sender<BlockDraft>,
    pages: PageWriter<'s, 'r>,
    cutter: Cutter,
    draft: BlockDraft,
    buffer: Vec<u8>,
}

/// A file's content as it is put together.
struct Assembly {
    extents: ExtentsWriter,
    hasher: blake3::Hasher,
    size: u64,
    data: u64,
    hashed: bool,
}

impl<'s, 'r> Reader<'s, 'r> {
    pub(super) fn new(
        repo: &Repository,
        session: &'s Session<'r>,
        abort: &'s Abort<'s>,
        blocks: Sender<BlockDraft>,
        compression: Compression,
    ) -> Result<Self> {
        let encoder = BlockEncoder::new(compression).map_err(RepoError::from)?;
        let chunker = Chunker::new(repo.config().chunking, repo.chunker_seed());
        Ok(Self {
            session,
            abort,
            blocks,
            pages: PageWriter::new(session, encoder),
            cutter: Cutter::ContentDefined(chunker),
            draft: BlockDraft::default(),
            buffer: Vec::new(),
        })
    }

    /// Sends what is still open.
    pub(super) fn finish(mut self) -> Result<()> {
        self.send_block();
        Ok(self.pages.flush()?)
    }

    fn send_block(&mut self) {
        let draft = std::mem::take(&mut self.draft);
        if !draft.is_empty() {
            // A closed queue means that the coders failed, and they have said why.
            let _ = self.blocks.send(draft);
        }
    }

    /// Reads one file; troubles are listed here.
    pub(super) fn file(&mut self, job: FileJob) -> Option<Reading> {
        if self.abort.is_set() {
            return None;
        }
        let path = job.path.clone();
        match self.read_stable(job) {
            Ok(reading) => {
                self.abort.progress().done(1, 0);
                return Some(reading);
            }
            Err(Stop::Open(err)) => self.abort.lost(&path, &err),
            Err(Stop::Source(err)) => self.abort.trouble(&path, format!("cannot read: {err}")),
            Err(Stop::Fatal(err)) => self.abort.fail(err),
        }
        None
    }

    fn read_stable(&mut self, job: FileJob) -> Result<Reading, Stop> {
        let FileJob { dir, name, path, pinned } = job;
        let mut source = match pinned {
            Some(source) => source,
            None => SourceFile::open(&dir, &name)?,
        };
        let has_names = source.found().nlink > 1;
        let first = self.read_once(&source, &path)?;
        if !first.unstable {
            return Ok(first);
        }
        // Another file may have the name by now; an inode with further names is taken as itself.
        source = if has_names { source.again()? } else { SourceFile::open(&dir, &name)? };
        let second = self.read_once(&source, &path)?;
        if second.unstable {
            self.abort.trouble(&path, "changed while it was read");
        }
        Ok(second)
    }

    /// Content and attributes from one descriptor; unstable if anything changed meanwhile.
    fn read_once(&mut self, source: &SourceFile, path: &[u8]) -> Result<Reading, Stop> {
        let found = *source.found();
        wait_for_tick(&found);
        let (file, short) = self.read_file(source)?;
        let xattrs = localfs::read_xattrs_fd(source).unwrap_or_else(|err| {
            self.abort.trouble(path, format!("cannot {}: {}", err.action, err.source));
            Vec::new()
        });
        let unstable = short || source.changed_since(&found).map_err(Stop::Source)?;
        Ok(Reading { file, found, xattrs, unstable })
    }

    /// Reads all of a file; also whether it ended before its size.
    fn read_file(&mut self, source: &SourceFile) -> Result<(File, bool), Stop> {
        let found = source.found();
        if found.size == 0 {
            return Ok((self.read_unsized(source)?, false));
        }
        if found.size <= limits::INLINE_MAX as u64 {
            let file = self.read_inline(source, found)?;
            let short = file.size < found.size;
            return Ok((file, short));
        }
        // Before anything is read: pages that read-ahead brought in make ext4 call what is only
        // preallocated data.
        let ranges: io::Result<Vec<_>> = source.data_ranges().collect();
        if found.size > 1 << 20 {
            source.advise_sequential();
        }
        let mut assembly = Assembly::new(found);
        for range in ranges.map_err(Stop::Source)? {
            self.hole(&mut assembly, range.start)?;
            let reader = RangeReader { source, at: range.start, end: range.end };
            self.chunks(&mut assembly, reader)?;
            if assembly.size < range.end {
                return Ok((self.finish_file(assembly)?, true));
            }
        }
        self.hole(&mut assembly, found.size)?;
        Ok((self.finish_file(assembly)?, false))
    }

    /// A file that states no size may have content all the same: those of procfs do.
    fn read_unsized(&mut self, source: &SourceFile) -> Result<File, Stop> {
        let mut assembly = Assembly::new(source.found());
        self.chunks(&mut assembly, RangeReader { source, at: 0, end: u64::MAX })?;
        if assembly.size == 0 { Ok(inline(Vec::new())) } else { self.finish_file(assembly) }
    }

    fn read_inline(&self, source: &SourceFile, found: &Found) -> Result<File, Stop> {
        let mut bytes = vec![0; found.size as usize];
        let count = source.read_at(0, &mut bytes).map_err(Stop::Source)?;
        bytes.truncate(count);
        self.abort.read(count as u64);
        Ok(inline(bytes))
    }

    fn hole(&mut self, assembly: &mut Assembly, until: u64) -> Result<(), Stop> {
        let Some(len) = until.checked_sub(assembly.size).filter(|&len| len > 0) else {
            return Ok(());
        };
        assembly.extents.push(Extent::hole(len), &mut self.pages)?;
        assembly.size = until;
        let mut left = if assembly.hashed { len } else { 0 };
        while left > 0 {
            let count = left.min(ZEROES.len() as u64);
            assembly.hasher.update(ZEROES.get(..count as usize).unwrap_or_default());
            left -= count;
        }
        Ok(())
    }

    fn chunks(&mut self, assembly: &mut Assembly, reader: impl Read) -> Result<(), Stop> {
        let cutter = self.cutter.clone();
        let buffer = std::mem::take(&mut self.buffer);
        let mut chunks = ReadChunks::with_buffer(reader, &cutter, buffer);
        while let Some(chunk) = chunks.next_chunk().map_err(Stop::Source)? {
            if self.abort.is_set() {
                return Err(Stop::Fatal(OpError::Interrupted));
            }
            let id = self.session.chunk_id(chunk);
            assembly.hasher.update(chunk);
            if self.session.claim(&id)? {
                if self.draft.is_full_for(chunk.len()) {
                    let draft = std::mem::take(&mut self.draft);
                    let _ = self.blocks.send(draft);
                }
                self.draft.push(id, chunk);
            }
            let len = chunk.len() as u64;
            assembly.extents.push(Extent { id, len }, &mut self.pages)?;
            assembly.size += len;
            assembly.data += len;
            self.abort.read(len);
        }
        self.buffer = chunks.into_buffer();
        Ok(())
    }

    fn finish_file(&mut self, assembly: Assembly) -> Result<File, Stop> {
        let Assembly { extents, hasher, size, data, hashed } = assembly;
        let content = extents.finish(&mut self.pages)?;
        let hash = hashed.then(|| *hasher.finalize().as_bytes());
        Ok(File { size, data, hash, class: ChunkClass::Default, content })
    }

    /// Reads a stream to its end.
    pub(super) fn stream(&mut self, stream: Box<dyn Read + Send>) -> Result<File> {
        let mut assembly = Assembly {
            extents: ExtentsWriter::default(),
            hasher: blake3::Hasher::new(),
            size: 0,
            data: 0,
            hashed: true,
        };
        let read = self.chunks(&mut assembly, stream);
        read.and_then(|()| self.finish_file(assembly)).map_err(|stop| match stop {
            Stop::Open(err) => err.into(),
            Stop::Source(err) => OpError::io("read the stream", err),
            Stop::Fatal(err) => err,
        })
    }
}

impl Assembly {
    fn new(found: &Found) -> Self {
        let holes = found.size.saturating_sub(found.blocks_512.saturating_mul(512));
        Self {
            extents: ExtentsWriter::default(),
            hasher: blake3::Hasher::new(),
            size: 0,
            data: 0,
            hashed: holes <= HASHED_HOLES_MAX,
        }
    }
}

/// A write within the tick of the file system's clock that the last one fell into leaves no trace in
/// its times. So reading starts only once that tick is over: what is written from then on shows.
fn wait_for_tick(found: &Found) {
    let now = crate::clock::now();
    let age = i128::from(now.secs - found.ctime.secs) * 1_000_000_000 + i128::from(now.nanos)
        - i128::from(found.ctime.nanos);
    if let Ok(age) = u64::try_from(age)
        && let Some(rest) = TICK.checked_sub(Duration::from_nanos(age))
    {
        std::thread::sleep(rest);
    }
}

/// A file whose content is in its node.
pub(super) fn inline(bytes: Vec<u8>) -> File {
    File {
        size: bytes.len() as u64,
        data: bytes.len() as u64,
        hash: Some(*blake3::hash(&bytes).as_bytes()),
        class: ChunkClass::Default,
        content: Content::Inline(bytes),
    }
}

/// A range of a file as a stream.
struct RangeReader<'f> {
    source: &'f SourceFile,
    at: u64,
    end: u64,
}

impl Read for RangeReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.end.saturating_sub(self.at).min(buf.len() as u64) as usize;
        let Some(part) = buf.get_mut(..count).filter(|part| !part.is_empty()) else {
            return Ok(0);
        };
        let count = self.source.read_at(self.at, part)?;
        self.at += count as u64;
        Ok(count)
    }
}
