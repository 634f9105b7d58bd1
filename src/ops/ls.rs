//! What a path of a snapshot holds.

use crate::format::Body;
use crate::repo::Repository;

use super::path::{self, Resolved, Unread, Walked};

/// How far to list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Everything below, not only the directory's own entries.
    pub recursive: bool,
    /// A directory itself instead of its entries.
    pub directory: bool,
}

/// The entries at a resolved name: of a directory what it holds, of anything else itself. Paths
/// are those in the snapshot. A directory that cannot be read is an error among the entries, and
/// the listing goes on behind it.
pub fn list<'r>(
    repo: &'r Repository,
    at: &Resolved,
    options: ListOptions,
) -> Box<dyn Iterator<Item = Result<Walked, Unread>> + 'r> {
    let Body::Directory { page, .. } = &at.node.body else {
        return Box::new(path::walk(repo, &at.path, at.node.clone()));
    };
    if options.directory {
        return Box::new(path::walk(repo, &at.path, at.node.clone()).take(1));
    }
    if options.recursive {
        return Box::new(path::walk(repo, &at.path, at.node.clone()).skip(1));
    }
    let above = at.path.clone();
    Box::new(repo.entries(*page).map(move |entry| match entry {
        Ok(node) => Ok(Walked { path: path::joined(&above, &node.name), depth: 1, node }),
        Err(source) => Err(Unread { path: above.clone(), source }),
    }))
}
