//! The readers: one file in, its extents out, new chunks into blocks.
//!
//! A file that changes while it is read is read again, a large one once; then it is taken as it came
//! and marked. Holes are found by `SEEK_DATA` and stored as holes.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::capture::sqlite::{self, Refused};
use crate::codec::{BlockEncoder, ReadChunks};
use crate::format::{ChunkClass, Content, File, PackKind, Time, limits};
use crate::localfs::{self, Dir, Found, GuardedFile, LocalError, SourceFile};
use crate::ops::error::{OpError, Result};
use crate::repo::{BlockDraft, NodeRef, PageWriter, RepoError, Repository, Session};

use super::abort::Abort;
use super::bases::Bases;
use super::content::Assembly;
use super::cut::{Cutters, WholeReader};
use super::databases::Taken;
use super::drafts::{Drafts, NewChunk};
use super::ticket::{FileJob, Outcome, Reading, Ticket};
use super::walk::Task;

/// Longer than a tick of any kernel's clock (10 ms at 100 Hz).
const TICK: Duration = Duration::from_millis(20);

/// Files up to this size are read again more often, in bytes: that is soon done, and registries and
/// states are small and often rewritten.
const SMALL: u64 = 4 << 20;

/// How often a file that changes while it is read is read again.
fn again(found: &Found) -> u32 {
    if found.size <= SMALL { 5 } else { 1 }
}

/// Why reading stopped.
enum Stop {
    /// The name is gone, or stands for something else.
    Open(LocalError),
    /// The source failed: a trouble.
    Source(io::Error),
    /// The repository failed, or the user stopped it: the end.
    Fatal(OpError),
    /// It is a SQLite database with this header, to be captured through SQLite.
    Database(Vec<u8>),
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

/// A database that is not captured as one.
struct Raw {
    why: Refused,
    /// State of its log before it was asked for.
    log: String,
    started: Time,
}

/// One reader thread's state.
pub(super) struct Reader<'s, 'r> {
    repo: &'s Repository,
    session: &'s Session<'r>,
    abort: &'s Abort<'s>,
    task: Task<'s>,
    blocks: Sender<BlockDraft>,
    pages: PageWriter<'s, 'r>,
    cutters: Cutters,
    drafts: Drafts,
    buffer: Vec<u8>,
}

impl<'s, 'r> Reader<'s, 'r> {
    pub(super) fn new(
        session: &'s Session<'r>,
        task: Task<'s>,
        blocks: Sender<BlockDraft>,
    ) -> Result<Self> {
        let Task { repo, options, abort, .. } = task;
        let encoder = BlockEncoder::new(options.compression).map_err(RepoError::from)?;
        Ok(Self {
            repo,
            session,
            abort,
            task,
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
    pub(super) fn file(&mut self, job: FileJob) -> Outcome {
        // The main file came first, so another reader has it, or has had it.
        let main = job.main.as_ref().map(Ticket::wait);
        if self.abort.is_set() {
            return Outcome::Failed;
        }
        if let Some(Outcome::Read(main)) = main
            && main.is_database
        {
            self.abort.progress().done(1, 0);
            return Outcome::LeftOut;
        }
        let path = job.path.clone();
        match self.read_stable(job) {
            Ok(reading) => {
                self.abort.progress().done(1, 0);
                return Outcome::Read(Arc::new(reading));
            }
            Err(Stop::Open(err)) if self.task.scope.may_lose(&path, &err) => {
                return Outcome::LeftOut;
            }
            Err(Stop::Open(err)) => self.abort.lost(&path, &err),
            Err(Stop::Source(err)) => self.abort.trouble(&path, format!("cannot read: {err}")),
            Err(Stop::Fatal(err)) => self.abort.fail(err),
            // Answered where it comes up.
            Err(Stop::Database(_)) => {}
        }
        Outcome::Failed
    }

    fn read_stable(&mut self, job: FileJob) -> Result<Reading, Stop> {
        let FileJob { dir, name, path, pinned, prior, .. } = job;
        let bases = Bases::of(self.repo, prior.as_ref());
        let mut source = match pinned {
            Some(source) => source,
            None => SourceFile::open(&dir, &name)?,
        };
        let has_names = source.found().nlink > 1;
        let sought = !self.task.options.raw_sqlite;
        let first = match self.read_once(&source, &path, &bases, sought) {
            Err(Stop::Database(first)) => {
                let place = (&*dir, name.as_slice());
                let raw = match self.database(place, &source, (&path, &first), &bases)? {
                    Ok(reading) => return Ok(reading),
                    Err(raw) => raw,
                };
                source = source.again()?;
                let reading = self.read_once(&source, &path, &bases, false)?;
                self.as_file(place, &path, &reading, raw);
                reading
            }
            first => first?,
        };
        if !first.unstable || self.task.scope.is_changing {
            return Ok(Reading { unstable: false, ..first });
        }
        for left in (0..again(&first.found)).rev() {
            // Another file may have the name by now; an inode with further names is taken as itself.
            source = if has_names { source.again()? } else { SourceFile::open(&dir, &name)? };
            // What became a database meanwhile was none when it was asked for.
            let next = self.read_once(&source, &path, &bases, false)?;
            if !next.unstable || left == 0 || self.abort.is_set() {
                if next.unstable {
                    self.abort.trouble(&path, "changed while it was read");
                }
                return Ok(next);
            }
        }
        Ok(first)
    }

    /// Content and attributes from one descriptor; unstable if anything changed meanwhile.
    fn read_once(
        &mut self,
        source: &SourceFile,
        path: &[u8],
        bases: &Bases<'_>,
        sought: bool,
    ) -> Result<Reading, Stop> {
        let found = *source.found();
        wait_for_tick(&found);
        let (file, short) = self.read_file(source, path, bases, sought)?;
        let xattrs = localfs::read_xattrs_fd(source).unwrap_or_else(|err| {
            self.abort.trouble(path, format!("cannot {}: {}", err.action, err.source));
            Vec::new()
        });
        let unstable = short || source.changed_since(&found).map_err(Stop::Source)?;
        Ok(Reading { file, found, xattrs, unstable, is_database: false })
    }

    /// A database through SQLite, under the metadata of its file; else why it cannot be had so.
    fn database(
        &mut self,
        (dir, name): (&Dir, &[u8]),
        source: &SourceFile,
        (path, first): (&[u8], &[u8]),
        bases: &Bases<'_>,
    ) -> Result<Result<Reading, Raw>, Stop> {
        let found = *source.found();
        let log = sqlite::log_state(dir, name);
        if let Ok(log) = localfs::inspect(dir, &[name, b"-wal"].concat()) {
            wait_for_tick(&log);
        }
        let started = crate::clock::now();
        let copied = match sqlite::copy(dir, name, &found, first) {
            Ok(copied) => copied,
            Err(why) => return Ok(Err(Raw { why, log, started })),
        };
        let ended = crate::clock::now();
        let (folder, copy) = copied.place();
        let copy = SourceFile::open(&Dir::open(folder)?, copy)?;
        let (file, _) = self.read_file(&copy, path, bases, false)?;
        let xattrs = localfs::read_xattrs_fd(source)?;
        let (size, facts) = (found.size, copied.facts);
        let taken = Taken { started, ended, size, log, facts };
        self.task.databases.take(&self.task.scope.source, path, taken);
        Ok(Ok(Reading { file, found, xattrs, unstable: false, is_database: true }))
    }

    /// A database that was stored as the file it is. No trouble where SQLite calls it no database
    /// and nothing changed while it was read: then these bytes are all that there is to have.
    fn as_file(&self, (dir, name): (&Dir, &[u8]), path: &[u8], reading: &Reading, raw: Raw) {
        let Raw { why, log, started } = raw;
        let is_quiet = !reading.unstable && log == sqlite::log_state(dir, name);
        let databases = self.task.databases;
        match why {
            Refused::NoDatabase(why) if is_quiet && !self.task.scope.are_databases => {
                let shown = String::from_utf8_lossy(path);
                tracing::warn!("{shown} is stored as the file it is: {why}");
                let (ended, size, facts) = (crate::clock::now(), reading.found.size, Vec::new());
                let taken = Taken { started, ended, size, log, facts };
                databases.take_as_file(&self.task.scope.source, path, why, taken);
            }
            Refused::NoDatabase(why) | Refused::Failed(why) => {
                databases.fail(path);
                self.abort.trouble(path, format!("database stored as the file it is: {why}"));
            }
        }
    }

    /// Reads all of a file; also whether it ended before its size.
    fn read_file(
        &mut self,
        source: &SourceFile,
        path: &[u8],
        bases: &Bases<'_>,
        sought: bool,
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
        assembly.is_sought = sought;
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
        if std::mem::take(&mut assembly.is_sought) && assembly.size == 0 {
            let first = chunks.peek(sqlite::HEADER_LEN).map_err(Stop::Source)?;
            if sqlite::is_database(first, assembly.stated.unwrap_or_default()) {
                let first = first.to_vec();
                self.buffer = chunks.into_buffer();
                return Err(Stop::Database(first));
            }
        }
        let cut = match &assembly.cut {
            Some(cut) => cut.clone(),
            None => {
                self.cutters.of_file(&mut chunks, name, assembly.stated).map_err(Stop::Source)?
            }
        };
        let (cutter, class) = (Arc::clone(&cut.cutter), cut.class);
        assembly.cut = Some(cut);
        while let Some(chunk) = chunks.next_chunk(&cutter).map_err(Stop::Source)? {
            if self.abort.is_set() {
                return Err(Stop::Fatal(OpError::Interrupted));
            }
            let id = self.session.id_of(PackKind::Data, chunk);
            if self.session.claim(&id)? {
                let element = cutter.element_at(assembly.size);
                let base = bases.find(self.session, &id, assembly.size, chunk, element);
                let new = NewChunk { id, plain: chunk, element, class };
                self.drafts.add(&new, base, &self.blocks);
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
        stream: Box<dyn Read + Send + '_>,
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
            Stop::Database(_) => OpError::Panicked,
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
