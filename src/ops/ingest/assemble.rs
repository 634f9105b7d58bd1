//! The assembler: events in, tree pages out, in the walker's order.

use std::sync::Arc;

use crossbeam_channel::Receiver;

use crate::format::{Body, Leaf, Node, Owner};
use crate::localfs::Owners;
use crate::ops::error::{OpError, Result};
use crate::repo::{DirectoryWriter, NodeRef, PageWriter};

use super::abort::Abort;
use super::compare::Event;
use super::ticket::Reading;

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

/// Takes all events and returns the snapshot's root. After a failure it goes on taking them, so
/// that the walker does not wait.
pub(super) fn run(
    events: &Receiver<Vec<Event>>,
    pages: &mut PageWriter<'_, '_>,
    owners: &Owners,
    abort: &Abort<'_>,
) -> Result<Leaf> {
    let mut stack = Vec::new();
    let mut root = None;
    for event in events.iter().flatten() {
        if abort.is_set() {
            continue;
        }
        match take(event, &mut stack, pages, owners) {
            Ok(done) => root = root.or(done),
            Err(err) => abort.fail(err),
        }
    }
    abort.verdict()?;
    pages.flush()?;
    root.ok_or(OpError::Panicked)
}

fn take(
    event: Event,
    stack: &mut Vec<Open>,
    pages: &mut PageWriter<'_, '_>,
    owners: &Owners,
) -> Result<Option<Leaf>> {
    match event {
        Event::Enter(node, owner, prior) => {
            stack.push(Open { node: *node, owner, prior, writer: DirectoryWriter::default() });
        }
        Event::Kept(node) => {
            if let Some(open) = stack.last_mut() {
                open.writer.push_kept(&node, pages)?;
            }
        }
        Event::Entry(mut node, mut owner, ticket) => {
            if let Some(ticket) = ticket {
                let Some(reading) = ticket.wait() else { return Ok(None) };
                take_over(&mut node, &reading);
                owner = owners.owner(reading.found.uid, reading.found.gid);
            }
            if let Some(open) = stack.last_mut() {
                open.writer.push(*node, &owner, pages)?;
            }
        }
        Event::Leave => {
            let Some(mut open) = stack.pop() else { return Ok(None) };
            open.node.body = std::mem::take(&mut open.writer).finish(pages)?.into();
            let Some(above) = stack.last_mut() else {
                let owners = vec![Owner::clone(&open.owner)];
                return Ok(Some(Leaf { owners, nodes: vec![open.node] }));
            };
            match open.is_kept() {
                Some(prior) => above.writer.push_kept(prior, pages)?,
                None => above.writer.push(open.node, &open.owner, pages)?,
            }
        }
    }
    Ok(None)
}

/// What was read belongs together: content, attributes, times. Of the walker's node only name and
/// links stay, and the links only while it is still the same inode.
fn take_over(node: &mut Node, reading: &Reading) {
    let Reading { file, found, xattrs, unstable } = reading;
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
