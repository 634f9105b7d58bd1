//! Trees of several stages, merged by path into one.
//!
//! Where two have a directory of the same name their entries are merged; of anything else the later
//! stage's stands. What only one of them has is named as it is and not looked into, so the work is
//! that of the directories on the way to the sources. A directory that a stream's name made up gives
//! way to a real one; else the earlier stage's attributes stay.

use std::iter::Peekable;

use crate::codec::BlockEncoder;
use crate::format::{Body, Leaf, Node, Owner};
use crate::ops::error::{OpError, Result};
use crate::repo::{DirectoryWriter, Entries, NodeRef, PageWriter, RepoError, Repository, Session};

use super::IngestOptions;

/// Deep trees must not end the stack.
const STACK: usize = 256 << 20;

/// The merged root. The pages of all trees are stored by then.
pub(super) fn graft(
    repo: &Repository,
    session: &Session<'_>,
    options: &IngestOptions,
    mut roots: Vec<Leaf>,
) -> Result<Leaf> {
    if roots.len() < 2 {
        return roots.pop().ok_or_else(|| OpError::Input("there is nothing to ingest".to_owned()));
    }
    session.flush()?;
    let encoder = BlockEncoder::new(options.compression).map_err(RepoError::from)?;
    std::thread::scope(|scope| {
        let merge = move || {
            let mut pages = PageWriter::new(session, encoder, options.delta);
            let roots = roots.into_iter().filter_map(|leaf| NodeRef::new(leaf.into(), None, 0));
            let (node, owner) = merged(repo, &mut pages, &roots.collect::<Vec<_>>())?;
            pages.flush()?;
            Ok(Leaf { owners: vec![owner], nodes: vec![Node { owner: 0, ..node }] })
        };
        let thread = std::thread::Builder::new().stack_size(STACK);
        let thread = thread.spawn_scoped(scope, merge);
        let thread = thread.map_err(|err| OpError::io("start a thread", err))?;
        thread.join().unwrap_or(Err(OpError::Panicked))
    })
}

/// Directories of one name, in the order of their stages, as one.
fn merged(
    repo: &Repository,
    pages: &mut PageWriter<'_, '_>,
    nodes: &[NodeRef],
) -> Result<(Node, Owner)> {
    // Made-up directories have no inode.
    let real = nodes.iter().find(|node| node.inode != 0).or_else(|| nodes.first());
    let real = real.ok_or(OpError::Panicked)?;
    let mut lists: Vec<Peekable<Entries<'_>>> = Vec::new();
    for node in nodes {
        let Body::Directory { page, .. } = &node.body else { continue };
        lists.push(repo.entries(*page).peekable());
    }
    let mut writer = DirectoryWriter::default();
    while let Some(same) = next_of_all(&mut lists)? {
        match same.as_slice() {
            [only] => writer.push_kept(only, pages)?,
            [first, .., last] if !all_directories(&same) || same_page(first, last, &same) => {
                writer.push_kept(last, pages)?;
            }
            _ => {
                let (node, owner) = merged(repo, pages, &same)?;
                writer.push(node, &owner, pages)?;
            }
        }
    }
    let body = writer.finish(pages)?.into();
    Ok((Node { body, ..Node::clone(real) }, real.owner().clone()))
}

fn all_directories(nodes: &[NodeRef]) -> bool {
    nodes.iter().all(|node| matches!(node.body, Body::Directory { .. }))
}

/// Whether all are one and the same entry.
fn same_page(first: &NodeRef, last: &NodeRef, all: &[NodeRef]) -> bool {
    let is_equal = |node: &NodeRef| {
        let owned = Node { owner: first.owner, ..Node::clone(node) };
        owned == **first && node.owner() == first.owner()
    };
    is_equal(last) && all.iter().all(is_equal)
}

/// The entries of the smallest name that is left, in the order of the lists.
fn next_of_all(lists: &mut [Peekable<Entries<'_>>]) -> Result<Option<Vec<NodeRef>>> {
    let mut name: Option<Vec<u8>> = None;
    for list in lists.iter_mut() {
        match list.peek() {
            Some(Ok(node)) if name.as_ref().is_none_or(|least| node.name < *least) => {
                name = Some(node.name.clone());
            }
            Some(Err(_)) => {
                if let Some(Err(err)) = list.next() {
                    return Err(err.into());
                }
            }
            _ => {}
        }
    }
    let Some(name) = name else { return Ok(None) };
    let mut same = Vec::new();
    for list in lists {
        if let Some(Ok(node)) = list.next_if(|node| node.as_ref().is_ok_and(|n| n.name == name)) {
            same.push(node);
        }
    }
    Ok(Some(same))
}
