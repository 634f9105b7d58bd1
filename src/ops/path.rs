//! From what a user names, `SNAP[:/path]`, to nodes; and the walk over everything below one.
//!
//! Paths are raw bytes. A snapshot's name never holds `:/`, so the first `:/` splits (a time like
//! `2026-11-22T15:04` keeps its colons); a `:` at the very end is an empty path. Symbolic links in
//! a snapshot are entries like others and are not followed: where they lead at the source is not
//! where they would lead here.

use crate::format::{Body, Snapshot, SnapshotId};
use crate::repo::{Entries, NodeRef, RepoError, Repository, SnapshotFilter};

use super::{OpError, Result};

/// What a name stands for.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The path in it, from `/`, without doubled or trailing slashes; `/` is the root.
    pub path: Vec<u8>,
    /// The entry there.
    pub node: NodeRef,
}

/// Finds what `name` (`SNAP`, `SNAP:` or `SNAP:/path`) stands for among the snapshots that pass
/// the filter.
///
/// # Errors
/// Where there is no such snapshot, or the snapshot has no such path: the error names the first
/// component that is missing.
pub fn resolve(repo: &Repository, name: &[u8], filter: &SnapshotFilter) -> Result<Resolved> {
    let (snapshot, path) = split(name);
    let snapshot = std::str::from_utf8(snapshot)
        .map_err(|_| OpError::Input(format!("no snapshot \"{}\"", escaped(snapshot))))?;
    let snapshot = repo.find_snapshot(snapshot, filter)?;
    let (path, node) = descend(repo, &snapshot, path)?;
    Ok(Resolved { snapshot, path, node })
}

/// The name of the snapshot and the path in it, which is empty where none was given.
#[must_use]
pub fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.windows(2).position(|pair| pair == b":/") {
        Some(at) => {
            let (snapshot, path) = name.split_at(at);
            (snapshot, path.strip_prefix(b":").unwrap_or(path))
        }
        None => (name.strip_suffix(b":").unwrap_or(name), b""),
    }
}

/// The entry at a path of a snapshot, and the path as it is written here.
///
/// # Errors
/// As [`resolve`]. `..` is refused: what it means where links are not followed is a guess.
pub fn descend(repo: &Repository, snapshot: &Snapshot, path: &[u8]) -> Result<(Vec<u8>, NodeRef)> {
    let mut node = Repository::root(snapshot);
    let mut at = b"/".to_vec();
    for name in path.split(|&byte| byte == b'/') {
        if name.is_empty() || name == b"." {
            continue;
        }
        if name == b".." {
            return Err(OpError::Input(format!("\"..\" in the path {}", escaped(path))));
        }
        let Body::Directory { page, .. } = &node.body else {
            return Err(not_a_directory(snapshot.id, &at));
        };
        let below = joined(&at, name);
        node = match repo.lookup(*page, name)? {
            Some(node) => node,
            None => {
                let (snapshot, path) = (snapshot.id, escaped(&below));
                return Err(RepoError::NoSuchPath { snapshot, path }.into());
            }
        };
        at = below;
    }
    Ok((at, node))
}

fn not_a_directory(snapshot: SnapshotId, path: &[u8]) -> OpError {
    OpError::Input(format!("{} is not a directory in snapshot {snapshot}", escaped(path)))
}

/// `name` below `path`.
#[must_use]
pub fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut below = Vec::with_capacity(path.len() + 1 + name.len());
    below.extend_from_slice(path);
    if !path.is_empty() && !path.ends_with(b"/") {
        below.push(b'/');
    }
    below.extend_from_slice(name);
    below
}

/// A path as text without loss: what is printable UTF-8 stands for itself, `\\` for a backslash,
/// and `\xNN` for every other byte. Equal texts are equal paths.
#[must_use]
pub fn escaped(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for part in path.utf8_chunks() {
        for char in part.valid().chars() {
            match char {
                '\\' => text.push_str("\\\\"),
                char if char.is_control() => {
                    let mut bytes = [0; 4];
                    push_bytes(&mut text, char.encode_utf8(&mut bytes).as_bytes());
                }
                char => text.push(char),
            }
        }
        push_bytes(&mut text, part.invalid());
    }
    text
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    use std::fmt::Write;
    for byte in bytes {
        let _ = write!(text, "\\x{byte:02x}"); // writing to a string cannot fail
    }
}

/// One entry of a walk.
#[derive(Debug, Clone)]
pub struct Walked {
    /// Its path, below the path that the walk began with.
    pub path: Vec<u8>,
    /// Levels below the walk's first entry, which has 0.
    pub depth: usize,
    /// The entry.
    pub node: NodeRef,
}

/// A directory that could not be read, or not to its end. The walk goes on behind it.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {} in the repository", escaped(path))]
pub struct Unread {
    /// The directory.
    pub path: Vec<u8>,
    /// Why.
    pub source: RepoError,
}

/// Everything from `node` down, which stands at `path`: each directory before its entries, those
/// in name order. Needs memory for one page per level, and no stack.
#[must_use]
pub fn walk<'r>(repo: &'r Repository, path: &[u8], node: NodeRef) -> Walk<'r> {
    Walk { repo, start: Some((path.to_vec(), node)), levels: Vec::new(), pruned: false }
}

/// Iterator of [`walk`].
#[derive(Debug)]
pub struct Walk<'r> {
    repo: &'r Repository,
    start: Option<(Vec<u8>, NodeRef)>,
    levels: Vec<(Vec<u8>, Entries<'r>)>,
    pruned: bool,
}

impl Walk<'_> {
    /// Leaves out what is below the directory that came last.
    pub fn skip_below(&mut self) {
        if !self.pruned {
            self.levels.pop();
            self.pruned = true;
        }
    }

    fn visit(&mut self, path: Vec<u8>, node: NodeRef) -> Walked {
        let depth = self.levels.len();
        self.pruned = true;
        if let Body::Directory { page, .. } = &node.body {
            self.levels.push((path.clone(), self.repo.entries(*page)));
            self.pruned = false;
        }
        Walked { path, depth, node }
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Walked, Unread>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((path, node)) = self.start.take() {
            return Some(Ok(self.visit(path, node)));
        }
        loop {
            let (path, entries) = self.levels.last_mut()?;
            match entries.next() {
                Some(Ok(node)) => {
                    let path = joined(path, &node.name);
                    return Some(Ok(self.visit(path, node)));
                }
                Some(Err(source)) => return Some(Err(Unread { path: path.clone(), source })),
                None => {
                    self.levels.pop();
                    self.pruned = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_split_at_the_first_colon_before_a_slash() {
        for (name, snapshot, path) in [
            ("latest", "latest", ""),
            ("latest:", "latest", ""),
            ("latest:/", "latest", "/"),
            ("2026-11-22T15:04", "2026-11-22T15:04", ""),
            ("2026-11-22T15:04:", "2026-11-22T15:04", ""),
            ("2026-11-22T15:04:/a:/b", "2026-11-22T15:04", "/a:/b"),
            ("", "", ""),
        ] {
            assert_eq!(split(name.as_bytes()), (snapshot.as_bytes(), path.as_bytes()), "{name}");
        }
    }

    #[test]
    fn text_of_a_path_is_lossless() {
        assert_eq!(escaped("/a b/ü".as_bytes()), "/a b/ü");
        assert_eq!(escaped(b"/\xff\n\\x\xc3"), "/\\xff\\x0a\\\\x\\xc3");
        assert_eq!(escaped("\u{85}".as_bytes()), "\\xc2\\x85");
    }

    #[test]
    fn joining_makes_no_double_slash() {
        assert_eq!(joined(b"/", b"a"), b"/a");
        assert_eq!(joined(b"/a", b"b"), b"/a/b");
        assert_eq!(joined(b"", b"b"), b"b");
    }
}
