//! The readers: one file in, its extents out, new chunks into blocks.
//!
//! A file that changes while it is read is read again, once; then it is taken as it came and
//! marked. Holes are found by `SEEK_DATA` and stored as holes.

use std::io::{self, Read};

use crossbeam_channel::Sender;

use crate::codec::{BlockEncoder, Chunker, Cutter, ReadChunks};
use crate::format::{ChunkClass, Content, Extent, File, limits};
use crate::localfs::{Found, LocalError, SourceFile};
use crate::ops::error::{OpError, Result};
use crate::repo::{BlockDraft, ExtentsWriter, PageWriter, RepoError, Repository, Session};

use super::abort::Abort;
use super::ticket::{FileJob, Outcome};

/// Files with more holes than this get no hash of their whole content: hashing the zeroes of a
/// terabyte would take minutes.
const HASHED_HOLES_MAX: u64 = 4 << 30;
/// Zeroes for hashing holes.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// Why reading stopped.
enum Stop {
    /// The source failed: a trouble.
    Source(io::Error),
    /// The repository failed, or the user stopped it: the end.
    Fatal(OpError),
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
        level: i32,
    ) -> Result<Self> {
        let encoder = BlockEncoder::new(level).map_err(RepoError::from)?;
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
    pub(super) fn file(&mut self, job: &FileJob) -> Outcome {
        if self.abort.is_set() {
            return Outcome::Lost;
        }
        match self.read_stable(job) {
            Ok(outcome) => {
                self.abort.progress().done(1, 0);
                outcome
            }
            Err(Stop::Source(err)) => {
                self.abort.trouble(&job.path, format!("cannot read: {err}"));
                Outcome::Lost
            }
            Err(Stop::Fatal(err)) => {
                self.abort.fail(err);
                Outcome::Lost
            }
        }
    }

    fn read_stable(&mut self, job: &FileJob) -> Result<Outcome, Stop> {
        let mut last = None;
        for _ in 0..2 {
            let source = match SourceFile::open(&job.dir, &job.name) {
                Ok(source) => source,
                Err(err) => return Ok(self.lost(job, &err)),
            };
            let found = *source.found();
            let file = self.read_file(&source)?;
            if !source.changed_since(&found).map_err(Stop::Source)? {
                return Ok(Outcome::Read { file: Box::new(file), found, unstable: false });
            }
            last = Some((Box::new(file), found));
        }
        self.abort.trouble(&job.path, "changed while it was read");
        Ok(last.map_or(Outcome::Lost, |(file, found)| Outcome::Read {
            file,
            found,
            unstable: true,
        }))
    }

    fn lost(&self, job: &FileJob, err: &LocalError) -> Outcome {
        let what = if err.is_not_found() {
            "vanished while it was ingested".to_owned()
        } else if err.is_other_kind() {
            "replaced by another kind while it was ingested".to_owned()
        } else {
            format!("cannot {}: {}", err.action, err.source)
        };
        self.abort.trouble(&job.path, what);
        Outcome::Lost
    }

    fn read_file(&mut self, source: &SourceFile) -> Result<File, Stop> {
        let found = source.found();
        if found.size <= limits::INLINE_MAX as u64 {
            return self.read_inline(source, found);
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
                break; // cut short meanwhile; the check for changes will tell
            }
        }
        if assembly.size < found.size && !source.changed_since(found).map_err(Stop::Source)? {
            self.hole(&mut assembly, found.size)?;
        }
        self.finish_file(assembly)
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
