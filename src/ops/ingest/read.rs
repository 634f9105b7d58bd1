//! The readers: one file in, its extents out, new chunks into blocks.
//!
//! A file that changes while it is read is read again, once; then it is taken as it came and
//! marked. Holes are found by `SEEK_DATA` and stored as holes.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::codec::{BlockEncoder, ReadChunks};
use crate::format::{ChunkClass, Content, File, PackKind, limits};
use crate::localfs::{self, Found, GuardedFile, LocalError, SourceFile};
use crate::ops::error::{OpError, Result};
use crate::repo::{BlockDraft, NodeRef, PageWriter, RepoError, Repository, Session};

use super::IngestOptions;
use super::abort::Abort;
use super::bases::Bases;
use super::content::Assembly;
use super::cut::{Cutters, WholeReader};
use super::drafts::Drafts;
use super::ticket::{FileJob, Reading};

/// Longer than a tick of any kernel's clock (10 ms at 100 Hz).
const TICK: Duration = Duration::from_millis(20);

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
    repo: &'s Repository,
    session: &'s Session<'r>,
    abort: &'s Abort<'s>,
    blocks: Sender<BlockDraft>,
    pages: PageWriter<'s, 'r>,
    cutters: Cutters,
    drafts: Drafts,
    buffer: Vec<u8>,
}

impl<'s, 'r> Reader<'s, 'r> {
    pub(super) fn new(
        repo: &'s Repository,
        session: &'s Session<'r>,
        abort: &'s Abort<'s>,
        blocks: Sender<BlockDraft>,
        options: &IngestOptions,
    ) -> Result<Self> {
        let encoder = BlockEncoder::new(options.compression).map_err(RepoError::from)?;
        Ok(Self {
            repo,
            session,
            abort,
            blocks,
            pages: PageWriter::new(session, encoder, false),
            cutters: Cutters::new(repo, options.chunker),
            drafts: Drafts::default(),
            buffer: Vec::new(),
        })
    }

    /// Sends what is still open.
    pub(super) fn finish(mut self) -> Result<()> {
        self.drafts.send_all(&self.blocks);
        Ok(self.pages.flush()?)
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
        let FileJob { dir, name, path, pinned, prior } = job;
        let bases = Bases::of(self.repo, prior.as_ref());
        let mut source = match pinned {
            Some(source) => source,
            None => SourceFile::open(&dir, &name)?,
        };
        let has_names = source.found().nlink > 1;
        let first = self.read_once(&source, &path, &bases)?;
        if !first.unstable {
            return Ok(first);
        }
        // Another file may have the name by now; an inode with further names is taken as itself.
        source = if has_names { source.again()? } else { SourceFile::open(&dir, &name)? };
        let second = self.read_once(&source, &path, &bases)?;
        if second.unstable {
            self.abort.trouble(&path, "changed while it was read");
        }
        Ok(second)
    }

    /// Content and attributes from one descriptor; unstable if anything changed meanwhile.
    fn read_once(
        &mut self,
        source: &SourceFile,
        path: &[u8],
        bases: &Bases<'_>,
    ) -> Result<Reading, Stop> {
        let found = *source.found();
        wait_for_tick(&found);
        let (file, short) = self.read_file(source, path, bases)?;
        let xattrs = localfs::read_xattrs_fd(source).unwrap_or_else(|err| {
            self.abort.trouble(path, format!("cannot {}: {}", err.action, err.source));
            Vec::new()
        });
        let unstable = short || source.changed_since(&found).map_err(Stop::Source)?;
        Ok(Reading { file, found, xattrs, unstable })
    }

    /// Reads all of a file; also whether it ended before its size.
    fn read_file(
        &mut self,
        source: &SourceFile,
        path: &[u8],
        bases: &Bases<'_>,
    ) -> Result<(File, bool), Stop> {
        let found = source.found();
        if found.size == 0 {
            return Ok((self.read_unsized(source, path, bases)?, false));
        }
        if found.size <= limits::INLINE_MAX as u64 {
            let file = self.read_inline(source, found)?;
            let short = file.size < found.size;
            return Ok((file, short));
        }
        // Before anything is read: pages that read-ahead brought in make ext4 call what is only
        // preallocated data.
        let ranges: io::Result<Vec<_>> = source.data_ranges().collect();
        let ranges = ranges.map_err(Stop::Source)?;
        let mut content = GuardedFile::new(source);
        if found.size > 1 << 20 {
            source.advise_sequential();
        }
        let mut assembly = Assembly::new(found);
        let name = last_part(path);
        if ranges.first().is_some_and(|first| *first != (0..found.size)) {
            // What comes first may be a hole, or end in one.
            let (file, ranges) = (&mut content, ranges.as_slice());
            let whole = WholeReader { file, ranges, at: 0, size: found.size };
            let cut = self.cutters.of_file(&mut ReadChunks::new(whole), name, Some(found.size));
            assembly.cut = Some(cut.map_err(Stop::Source)?);
        }
        for range in ranges {
            assembly.hole_until(range.start, &mut self.pages)?;
            let end = range.end;
            self.chunks(&mut assembly, content.range(range), name, bases)?;
            if assembly.size < end {
                return Ok((assembly.finish(&mut self.pages)?, true));
            }
        }
        assembly.hole_until(found.size, &mut self.pages)?;
        Ok((assembly.finish(&mut self.pages)?, false))
    }

    /// A file that states no size may have content all the same: those of procfs do.
    fn read_unsized(
        &mut self,
        source: &SourceFile,
        path: &[u8],
        bases: &Bases<'_>,
    ) -> Result<File, Stop> {
        let mut assembly = Assembly::of_stream();
        let mut all = GuardedFile::new(source);
        self.chunks(&mut assembly, all.range(0..u64::MAX), last_part(path), bases)?;
        if assembly.size == 0 {
            Ok(inline(Vec::new()))
        } else {
            Ok(assembly.finish(&mut self.pages)?)
        }
    }

    fn read_inline(&self, source: &SourceFile, found: &Found) -> Result<File, Stop> {
        let mut bytes = vec![0; found.size as usize];
        let count = source.read_at(0, &mut bytes).map_err(Stop::Source)?;
        bytes.truncate(count);
        self.abort.read(count as u64);
        Ok(inline(bytes))
    }

    /// Cuts a run of data that starts where the assembly ends. A file that has no cut yet gets it by
    /// its name and by what comes.
    fn chunks(
        &mut self,
        assembly: &mut Assembly,
        reader: impl Read,
        name: &[u8],
        bases: &Bases<'_>,
    ) -> Result<(), Stop> {
        let buffer = std::mem::take(&mut self.buffer);
        let mut chunks = ReadChunks::with_buffer(reader, assembly.size, buffer);
        let cut = match &assembly.cut {
            Some(cut) => cut.clone(),
            None => {
                self.cutters.of_file(&mut chunks, name, assembly.stated).map_err(Stop::Source)?
            }
        };
        let cutter = Arc::clone(&cut.cutter);
        assembly.cut = Some(cut);
        while let Some(chunk) = chunks.next_chunk(&cutter).map_err(Stop::Source)? {
            if self.abort.is_set() {
                return Err(Stop::Fatal(OpError::Interrupted));
            }
            let id = self.session.id_of(PackKind::Data, chunk);
            if self.session.claim(&id)? {
                let element = cutter.element_at(assembly.size);
                let base = bases.find(self.session, &id, assembly.size, chunk, element);
                self.drafts.add(id, chunk, element, base, &self.blocks);
            }
            assembly.chunk(id, chunk, &mut self.pages)?;
            self.abort.read(chunk.len() as u64);
        }
        self.buffer = chunks.into_buffer();
        Ok(())
    }

    /// Reads a stream of this name to its end; `prior` is what it was in the parent snapshot.
    pub(super) fn stream(
        &mut self,
        stream: Box<dyn Read + Send>,
        name: &[u8],
        prior: Option<&NodeRef>,
    ) -> Result<File> {
        let mut assembly = Assembly::of_stream();
        let bases = Bases::of(self.repo, prior);
        let read = self.chunks(&mut assembly, stream, last_part(name), &bases);
        read.and_then(|()| Ok(assembly.finish(&mut self.pages)?)).map_err(|stop| match stop {
            Stop::Open(err) => err.into(),
            Stop::Source(err) => OpError::io("read the stream", err),
            Stop::Fatal(err) => err,
        })
    }
}

/// The name at a path's end, by which some classes are told.
fn last_part(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
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
