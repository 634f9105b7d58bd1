//! The assembler: events in, tree pages out, in the walker's order.

use std::sync::Arc;

use crossbeam_channel::Receiver;

use crate::format::{Body, Leaf, Node, Owner};
use crate::localfs::Owners;
use crate::ops::error::{OpError, Result};
use crate::repo::{DirectoryWriter, NodeRef, PageWriter};

use super::IngestOptions;
use super::compare::{Event, Pending};
use super::tally::{Tally, change};
use super::ticket::{Outcome, Reading};
use super::walk::Task;

/// A directory whose entries are still coming.
struct Open {
    node: Node,
    owner: Arc<Owner>,
    /// The directory in the parent snapshot.
    prior: Option<NodeRef>,
    writer: DirectoryWriter,
}

impl Open {
    /// Whether the directory, now that its entries are known, is just as it was.
    fn is_kept(&self) -> Option<&NodeRef> {
        let same = |prior: &&NodeRef| {
            let node = Node { owner: prior.owner, ..Node::clone(&self.node) };
            ***prior == node && prior.owner() == &*self.owner
        };
        self.prior.as_ref().filter(same)
    }
}

/// Puts one tree together.
struct Assembler<'a, 's, 'r> {
    pages: &'a mut PageWriter<'s, 'r>,
    owners: &'a Owners,
    options: &'a IngestOptions,
    stack: Vec<Open>,
    tally: Tally,
}

/// Takes all events and returns the snapshot's root, and how the files count that were read. After
/// a failure it goes on taking them, so that the walker does not wait.
pub(super) fn run(
    events: &Receiver<Vec<Event>>,
    pages: &mut PageWriter<'_, '_>,
    task: Task<'_>,
) -> Result<(Leaf, Tally)> {
    let Task { abort, owners, options, .. } = task;
    let (stack, tally) = (Vec::new(), Tally::default());
    let mut assembler = Assembler { pages, owners, options, stack, tally };
    let mut root = None;
    for event in events.iter().flatten() {
        if abort.is_set() {
            continue;
        }
        match assembler.take(event) {
            Ok(done) => root = root.or(done),
            Err(err) => abort.fail(err),
        }
    }
    abort.verdict()?;
    assembler.pages.flush()?;
    Ok((root.ok_or(OpError::Panicked)?, assembler.tally))
}

impl Assembler<'_, '_, '_> {
    fn take(&mut self, event: Event) -> Result<Option<Leaf>> {
        match event {
            Event::Enter(node, owner, prior) => {
                let writer = DirectoryWriter::default();
                self.stack.push(Open { node: *node, owner, prior, writer });
            }
            Event::Kept(node) => {
                if let Some(open) = self.stack.last_mut() {
                    open.writer.push_kept(&node, self.pages)?;
                }
            }
            Event::Entry(mut node, mut owner, pending) => {
                if let Some(pending) = pending {
                    let Some(read) = self.read(&mut node, pending) else { return Ok(None) };
                    owner = read;
                }
                if let Some(open) = self.stack.last_mut() {
                    open.writer.push(*node, &owner, self.pages)?;
                }
            }
            Event::Leave => return self.leave(),
        }
        Ok(None)
    }

    /// Waits for a file, counts it, and returns its owner; `None` where it could not be read or is
    /// left out.
    fn read(&mut self, node: &mut Node, pending: Pending) -> Option<Arc<Owner>> {
        let reading = match pending.ticket.wait() {
            Outcome::Read(reading) => reading,
            Outcome::LeftOut => return None,
            Outcome::Failed => {
                self.tally.files_failed += 1;
                return None;
            }
        };
        take_over(node, &reading);
        let owner = self.owners.owner(reading.found.uid, reading.found.gid);
        let change = change(pending.before.as_ref(), node, &owner, self.options);
        self.tally.file(change, reading.file.size);
        Some(owner)
    }

    fn leave(&mut self) -> Result<Option<Leaf>> {
        let Some(mut open) = self.stack.pop() else { return Ok(None) };
        open.node.body = std::mem::take(&mut open.writer).finish(self.pages)?.into();
        let Some(above) = self.stack.last_mut() else {
            let owners = vec![Owner::clone(&open.owner)];
            return Ok(Some(Leaf { owners, nodes: vec![open.node] }));
        };
        match open.is_kept() {
            Some(prior) => above.writer.push_kept(prior, self.pages)?,
            None => above.writer.push(open.node, &open.owner, self.pages)?,
        }
        Ok(None)
    }
}

/// What was read belongs together: content, attributes, times. Of the walker's node only name and
/// links stay, and the links only while it is still the same inode.
fn take_over(node: &mut Node, reading: &Reading) {
    let Reading { file, found, xattrs, unstable, .. } = reading;
    if node.inode != found.inode || node.btime != found.btime {
        node.link = None;
    }
    node.mode = found.mode;
    node.mtime = found.mtime;
    node.ctime = found.ctime;
    node.atime = node.atime.map(|_| found.atime);
    node.btime = found.btime;
    node.inode = found.inode;
    node.xattrs.clone_from(xattrs);
    node.unstable = *unstable;
    node.body = Body::File(file.clone());
}
