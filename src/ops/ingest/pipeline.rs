//! The threads of an ingest and the queues between them.

use std::thread::{Scope, ScopedJoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::codec::{BlockEncoder, Compression};
use crate::format::{Body, Leaf, Node, Owner, PackKind, Time};
use crate::ops::error::{OpError, Result};
use crate::repo::{
    BlockDraft, DirectoryWriter, NodeRef, PageWriter, RepoError, Repository, Session,
};

use super::abort::Abort;
use super::budget::Budget;
use super::compare::{Comparer, EVENTS_MAX, Outlets};
use super::plan;
use super::read::Reader;
use super::tally::{self, Tally};
use super::ticket::Batch;
use super::walk::{Steps, Task, Walker};
use super::{Input, Stream, assemble};

/// The walker recurses once per level of directories; deep trees must not end its stack.
const WALKER_STACK: usize = 256 << 20;
/// Batches of steps between walker and comparer; each holds up to 32 directories open.
const STEP_BATCHES: usize = 4;

/// Looks at what would be done.
pub(super) fn dry_run(input: &Input<'_>, task: Task<'_>) -> Result<Tally> {
    if let Input::Stream(Stream { name, .. }) = input {
        let before = stream_before(task, &plan::stream_parts(name)?);
        let (is_new, is_there) = (u64::from(before.is_none()), u64::from(before.is_some()));
        return Ok(Tally { files_new: is_new, files_changed: is_there, ..Tally::default() });
    }
    let tally = std::thread::scope(|scope| Walking::start(scope, task, None)?.join())?;
    task.abort.verdict()?;
    Ok(tally)
}

/// The threads that go through the sources.
struct Walking<'scope> {
    walker: ScopedJoinHandle<'scope, Result<Tally>>,
    comparer: ScopedJoinHandle<'scope, Tally>,
}

impl<'scope> Walking<'scope> {
    fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        task: Task<'env>,
        outlets: Option<Outlets>,
    ) -> Result<Self> {
        let (step_in, steps) = bounded::<Steps>(STEP_BATCHES);
        let comparer = scope.spawn(move || Comparer::new(task, outlets).run(&steps));
        let thread = std::thread::Builder::new().stack_size(WALKER_STACK);
        let walker = thread.spawn_scoped(scope, move || walk(task, step_in)).map_err(no_thread)?;
        Ok(Self { walker, comparer })
    }

    fn join(self) -> Result<Tally> {
        let walked = self.walker.join().unwrap_or(Err(OpError::Panicked))?;
        let compared = self.comparer.join().map_err(|_| OpError::Panicked)?;
        let Tally { directories, excluded, .. } = walked;
        Ok(Tally { directories, excluded, ..compared })
    }
}

fn no_thread(source: std::io::Error) -> OpError {
    OpError::io("start a thread", source)
}

/// Reads everything into the session; returns the snapshot's root.
pub(super) fn run(
    session: &Session<'_>,
    input: Input<'_>,
    task: Task<'_>,
    budget: &Budget,
) -> Result<(Leaf, Tally)> {
    match input {
        Input::Stream(stream) => run_stream(session, task, budget, stream),
        Input::Paths { .. } => run_paths(session, task, budget),
    }
}

fn run_paths(session: &Session<'_>, task: Task<'_>, budget: &Budget) -> Result<(Leaf, Tally)> {
    let Task { options, abort, .. } = task;
    let compression = options.compression;
    let (batch_in, batches) = bounded::<Batch>(budget.batches);
    let (event_in, events) = bounded(budget.events.div_ceil(EVENTS_MAX));
    let encoder = BlockEncoder::new(compression).map_err(RepoError::from)?;
    std::thread::scope(|scope| {
        // Ends with this closure, so that nobody waits for an assembler that is gone.
        let events = events;
        let coders = spawn_coders(scope, session, compression, budget, abort);
        for _ in 0..budget.readers {
            let (batches, blocks) = (batches.clone(), coders.clone());
            scope.spawn(move || {
                stop_on_error(abort, read_batches(session, task, &batches, blocks));
            });
        }
        drop((coders, batches));
        let outlets = Outlets { events: event_in, batches: batch_in };
        let walking = Walking::start(scope, task, Some(outlets))?;
        let mut pages = PageWriter::new(session, encoder, options.delta);
        let assembled = assemble::run(&events, &mut pages, task);
        drop(events);
        let walked = walking.join()?;
        let (root, read) = assembled?;
        Ok((root, walked.and(read)))
    })
    .and_then(|done| abort.verdict().map(|()| done))
}

fn stop_on_error(abort: &Abort<'_>, result: Result<()>) {
    if let Err(err) = result {
        abort.fail(err);
    }
}

fn walk(task: Task<'_>, outlet: Sender<Steps>) -> Result<Tally> {
    let result = Walker::new(task, outlet).and_then(|walker| walker.run(task.plan));
    if result.is_err() {
        // The assembler must not take an unfinished tree for a whole one.
        task.abort.fail(OpError::Interrupted);
    }
    result
}

/// Starts the threads that code blocks; they end when every clone of the sender is gone.
fn spawn_coders<'scope, 'env: 'scope, 'r>(
    scope: &'scope Scope<'scope, 'env>,
    session: &'env Session<'r>,
    compression: Compression,
    budget: &Budget,
    abort: &'env Abort<'_>,
) -> Sender<BlockDraft> {
    let (block_in, blocks) = bounded::<BlockDraft>(budget.blocks);
    for _ in 0..budget.coders {
        let blocks = blocks.clone();
        scope
            .spawn(move || stop_on_error(abort, code_blocks(session, compression, &blocks, abort)));
    }
    block_in
}

fn code_blocks(
    session: &Session<'_>,
    compression: Compression,
    blocks: &Receiver<BlockDraft>,
    abort: &Abort<'_>,
) -> Result<()> {
    let mut encoder = BlockEncoder::new(compression).map_err(RepoError::from)?;
    for draft in blocks {
        if abort.is_set() {
            continue;
        }
        let written = session.write_block(PackKind::Data, &draft, &mut encoder);
        stop_on_error(abort, written.map_err(OpError::from));
    }
    Ok(())
}

fn read_batches(
    session: &Session<'_>,
    task: Task<'_>,
    batches: &Receiver<Batch>,
    blocks: Sender<BlockDraft>,
) -> Result<()> {
    let abort = task.abort;
    let mut reader = Reader::new(session, task, blocks)?;
    for batch in batches {
        if !abort.is_set() {
            batch.read(|job| reader.file(job));
        }
    }
    if abort.is_set() { Ok(()) } else { reader.finish() }
}

/// One file from a stream, at its path below synthetic directories.
fn run_stream(
    session: &Session<'_>,
    task: Task<'_>,
    budget: &Budget,
    stream: Stream<'_>,
) -> Result<(Leaf, Tally)> {
    let Task { options, owners, abort, scope: stage, .. } = task;
    let compression = options.compression;
    let Stream { name, reader: source, finish } = stream;
    let parts = plan::stream_parts(&name)?;
    let before = stream_before(task, &parts);
    let file = std::thread::scope(|scope| {
        let blocks = spawn_coders(scope, session, compression, budget, abort);
        let mut reader = Reader::new(session, task, blocks)?;
        let prior = before.as_ref().filter(|_| options.delta);
        let file = reader.stream(source, &name, prior)?;
        reader.finish()?;
        Ok::<_, OpError>(file)
    });
    // The producer is waited for whatever happened; what failed first is what is said.
    let finished = finish().map_err(OpError::Input);
    abort.verdict()?;
    let (file, ()) = (file?, finished?);
    let now = options.time.unwrap_or_else(crate::clock::now);
    let mut tally = Tally::default();
    let (size, body) = (file.size, Body::File(file));
    tally.file(tally::change_of_stream(before.as_ref(), &body), size);
    let encoder = BlockEncoder::new(compression).map_err(RepoError::from)?;
    let mut pages = PageWriter::new(session, encoder, options.delta);
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let (uid, gid, mode) = stage.made_as.unwrap_or((uid, gid, 0o600));
    let owner = owners.owner(uid, gid);
    let mut node = stream_node(now, mode, body);
    for part in parts.iter().rev() {
        node.name = part.to_vec();
        let mut writer = DirectoryWriter::default();
        writer.push(node, &owner, &mut pages)?;
        node = stream_node(now, 0o755, writer.finish(&mut pages)?.into());
    }
    pages.flush()?;
    Ok((root_leaf(node, Owner::clone(&owner)), tally))
}

/// What a stream of these names was in the parent snapshot.
fn stream_before(task: Task<'_>, parts: &[&[u8]]) -> Option<NodeRef> {
    let mut node = Repository::root(task.parent?);
    for part in parts {
        let Body::Directory { page, .. } = node.body else { return None };
        node = match task.repo.lookup(page, part) {
            Ok(below) => below?,
            Err(err) => {
                tracing::warn!("{err}; the stream is stored as if it were new");
                return None;
            }
        };
    }
    Some(node)
}

fn root_leaf(node: Node, owner: Owner) -> Leaf {
    Leaf { owners: vec![owner], nodes: vec![node] }
}

fn stream_node(now: Time, mode: u32, body: Body) -> Node {
    Node {
        name: Vec::new(),
        mode,
        owner: 0,
        mtime: now,
        ctime: now,
        atime: None,
        btime: None,
        inode: 0,
        link: None,
        xattrs: Vec::new(),
        unstable: false,
        body,
    }
}
