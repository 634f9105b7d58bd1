//! The assembler: events in, tree pages out, in the walker's order.

use crossbeam_channel::Receiver;

use crate::format::{Body, Leaf, Node, Owner};
use crate::localfs::Found;
use crate::ops::error::{OpError, Result};
use crate::repo::{DirectoryWriter, PageWriter};

use super::abort::Abort;
use super::ticket::Outcome;
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
    abort: &Abort<'_>,
) -> Result<Leaf> {
    let mut stack = Vec::new();
    let mut root = None;
    for event in events {
        if abort.is_set() {
            continue;
        }
        match take(event, &mut stack, pages) {
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
) -> Result<Option<Leaf>> {
    match event {
        Event::Enter(node, owner) => {
            stack.push(Open { node: *node, owner, writer: DirectoryWriter::default() });
        }
        Event::Entry(mut node, owner, ticket) => {
            let present = match ticket {
                None => true,
                Some(ticket) => match ticket.wait() {
                    Some(Outcome::Read { file, found, unstable }) => {
                        refresh(&mut node, &found);
                        node.unstable = unstable;
                        node.body = Body::File(*file);
                        true
                    }
                    Some(Outcome::Lost) | None => false,
                },
            };
            if let Some(open) = stack.last_mut().filter(|_| present) {
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

/// The file's attributes when it was opened: those that belong to what was read.
fn refresh(node: &mut Node, found: &Found) {
    node.mode = found.mode;
    node.mtime = found.mtime;
    node.ctime = found.ctime;
    node.btime = found.btime;
    node.inode = found.inode;
}
