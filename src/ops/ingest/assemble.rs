//! The assembler: events in, tree pages out, in the walker's order.

use crossbeam_channel::Receiver;

use crate::format::{Body, Leaf, Node, Owner};
use crate::localfs::Owners;
use crate::ops::error::{OpError, Result};
use crate::repo::{DirectoryWriter, PageWriter};

use super::abort::Abort;
use super::ticket::Reading;
use super::walk::Event;

/// A directory whose entries are still coming.
struct Open {
    node: Node,
    owner: Owner,
    writer: DirectoryWriter,
}

/// Takes all events and returns the snapshot's root. After a failure it goes on taking them, so
/// that the walker does not wait.
pub(super) fn run(
    events: &Receiver<Event>,
    pages: &mut PageWriter<'_, '_>,
    owners: &Owners,
    abort: &Abort<'_>,
) -> Result<Leaf> {
    let mut stack = Vec::new();
    let mut root = None;
    for event in events {
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
        Event::Enter(node, owner) => {
            stack.push(Open { node: *node, owner, writer: DirectoryWriter::default() });
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
            let Some(Open { mut node, owner, writer }) = stack.pop() else { return Ok(None) };
            node.body = writer.finish(pages)?.into();
            match stack.last_mut() {
                Some(above) => above.writer.push(node, &owner, pages)?,
                None => return Ok(Some(Leaf { owners: vec![owner], nodes: vec![node] })),
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
