//! The parent snapshot's directory, followed in step with the one that is walked.

use std::collections::HashMap;
use std::iter::Peekable;

use crate::format::Body;
use crate::repo::{Entries, NodeRef};
use crate::sync::first_said;

/// One directory's entries in the parent snapshot, followed in step.
pub(super) struct Prior<'r> {
    entries: Peekable<Entries<'r>>,
    /// The last file of some size of each extension that was passed: what a new checkpoint or dump
    /// of the same kind may be like.
    passed: HashMap<Vec<u8>, NodeRef>,
}

/// Smaller files are not worth a look for one like them.
const SIBLING_MIN: u64 = 1 << 20;
/// Most extensions in a directory that are followed.
const EXTENSIONS_MAX: usize = 64;

impl<'r> Prior<'r> {
    pub(super) fn new(entries: Entries<'r>) -> Self {
        Self { entries: entries.peekable(), passed: HashMap::new() }
    }

    /// The parent's entry of that name; names must be asked for in ascending order.
    pub(super) fn find(&mut self, name: &[u8]) -> Option<NodeRef> {
        loop {
            match self.entries.peek()? {
                Ok(node) if node.name.as_slice() < name => {
                    if let Some(Ok(node)) = self.entries.next() {
                        self.pass(node);
                    }
                }
                Ok(node) if node.name == name => return Some(node.clone()),
                Ok(_) => return None,
                Err(err) => {
                    if first_said(&err.object()) {
                        tracing::warn!("{err}; what it held is read again");
                    }
                    self.entries.next();
                    return None;
                }
            }
        }
    }

    fn pass(&mut self, node: NodeRef) {
        if matches!(&node.body, Body::File(file) if file.size >= SIBLING_MIN)
            && let Some(extension) = extension(&node.name)
            && (self.passed.len() < EXTENSIONS_MAX || self.passed.contains_key(extension))
        {
            self.passed.insert(extension.to_vec(), node);
        }
    }

    /// The file before a new one of that name, of the same extension and about its size.
    pub(super) fn sibling(&self, name: &[u8], size: u64) -> Option<NodeRef> {
        let node = self.passed.get(extension(name)?)?;
        match &node.body {
            Body::File(file) if file.size / 2 <= size && size / 2 <= file.size => {
                Some(node.clone())
            }
            _ => None,
        }
    }
}

/// What follows the last dot of a name that does not begin with it.
fn extension(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().rposition(|&byte| byte == b'.').filter(|&at| at > 0)?;
    name.get(dot + 1..)
}
