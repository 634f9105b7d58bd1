//! Find: entries by name over many snapshots.
//!
//! Snapshots share most of their trees, so a directory that was searched under the same path in
//! another snapshot is not searched again: a find over a thousand snapshots costs about as much as
//! their differences. That is why, unless every occurrence is asked for, each version of an entry
//! is given once, with the first snapshot of the list that holds it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::format::Kind;
use crate::format::{Body, ChunkId, Time};
use crate::repo::Repository;

use super::path::{self, Resolved, Unread, Walked};
use super::{OpError, Result};

/// What to look for.
#[derive(Debug, Clone, Default)]
pub struct FindOptions {
    /// Patterns as in gitignore, as for excludes: `*.pt` by base name anywhere, `/srv/**/*.pt` by
    /// path, `!…` takes back. The last that fits decides.
    pub patterns: Vec<String>,
    /// Upper and lower case are the same.
    pub ignore_case: bool,
    /// Only entries of these kinds; all where empty.
    pub kinds: Vec<Kind>,
    /// Every snapshot that holds an entry, not only each version once.
    pub every: bool,
}

/// What a find went through.
#[derive(Debug, Default)]
pub struct FindReport {
    /// Entries given.
    pub found: u64,
    /// Entries looked at.
    pub seen: u64,
    /// Directories that could not be read.
    pub unread: Vec<Unread>,
}

/// Looks below each start, in that order, and gives what fits to `found` as it is met.
pub fn run<E: From<OpError>>(
    repo: &Repository,
    starts: &[Resolved],
    options: &FindOptions,
    interrupted: &AtomicBool,
    mut found: impl FnMut(&Resolved, &Walked) -> Result<(), E>,
) -> Result<FindReport, E> {
    let matcher = Matcher::new(options)?;
    let mut report = FindReport::default();
    let mut known = Known::default();
    for start in starts {
        let mut walk = path::walk(repo, &start.path, start.node.clone());
        while let Some(entry) = walk.next() {
            if interrupted.load(Ordering::Relaxed) {
                return Err(OpError::Interrupted.into());
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err(unread) => {
                    report.unread.push(unread);
                    continue;
                }
            };
            report.seen += 1;
            if !options.every
                && let Body::Directory { page: Some(page), .. } = &entry.node.body
                && !known.is_new_directory(&entry.path, page)
            {
                walk.skip_below();
            }
            if matcher.fits(&entry) && (options.every || known.is_new_version(&entry)) {
                report.found += 1;
                found(start, &entry)?;
            }
        }
    }
    Ok(report)
}

/// The patterns and kinds.
struct Matcher<'o> {
    names: Gitignore,
    kinds: &'o [Kind],
}

impl<'o> Matcher<'o> {
    fn new(options: &'o FindOptions) -> Result<Self> {
        let mut builder = GitignoreBuilder::new("/");
        let bad = |err: ignore::Error| OpError::Input(err.to_string());
        builder.case_insensitive(options.ignore_case).map_err(bad)?;
        for pattern in &options.patterns {
            // A line that starts with # would be a comment.
            let escape = if pattern.starts_with('#') { "\\" } else { "" };
            builder
                .add_line(None, &format!("{escape}{pattern}"))
                .map_err(|err| OpError::Input(format!("\"{pattern}\" is no pattern: {err}")))?;
        }
        Ok(Self { names: builder.build().map_err(bad)?, kinds: &options.kinds })
    }

    fn fits(&self, entry: &Walked) -> bool {
        let kind = Kind::of(&entry.node.body);
        if !self.kinds.is_empty() && !self.kinds.contains(&kind) {
            return false;
        }
        let path = Path::new(OsStr::from_bytes(&entry.path));
        let is_dir = matches!(entry.node.body, Body::Directory { .. });
        matches!(self.names.matched(path, is_dir), Match::Ignore(_))
    }
}

/// What was met before, as hashes.
#[derive(Default)]
struct Known {
    directories: HashSet<[u8; 16]>,
    versions: HashSet<[u8; 16]>,
}

impl Known {
    /// Equal pages at an equal path have the same entries below.
    fn is_new_directory(&mut self, path: &[u8], page: &ChunkId) -> bool {
        self.directories.insert(digest(&[path, page.as_bytes()]))
    }

    /// A version is what one would restore to get another result: content and its time.
    fn is_new_version(&mut self, entry: &Walked) -> bool {
        let Time { secs, nanos } = entry.node.mtime;
        let time = [secs.to_le_bytes(), u64::from(nanos).to_le_bytes()].concat();
        let (size, hash): (u64, &[u8]) = match &entry.node.body {
            Body::File(file) => (file.size, file.hash.as_ref().map_or(b"", |hash| &hash[..])),
            Body::Symlink { target } => (0, target),
            _ => (0, b""),
        };
        let parts = [entry.path.as_slice(), &time, &size.to_le_bytes(), hash];
        self.versions.insert(digest(&parts))
    }
}

/// Each part with its length, so that no two lists read the same.
fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut out = [0; 16];
    hasher.finalize_xof().fill(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(patterns: &[&str], path: &str, is_dir: bool) -> bool {
        let patterns = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        let options = FindOptions { patterns, ..FindOptions::default() };
        let matcher = Matcher::new(&options).unwrap();
        matches!(matcher.names.matched(Path::new(path), is_dir), Match::Ignore(_))
    }

    #[test]
    fn patterns_are_those_of_gitignore() {
        for (pattern, path, is_dir, expected) in [
            ("*.pt", "/srv/models/a.pt", false, true),
            ("*.pt", "/srv/models/a.ptx", false, false),
            ("/srv/**/*.pt", "/srv/models/deep/a.pt", false, true),
            ("/models/*.pt", "/srv/models/a.pt", false, false),
            ("models/", "/srv/models", true, true),
            ("models/", "/srv/models", false, false),
            ("#notes", "/srv/#notes", false, true),
            ("/srv", "/srv/models", true, false),
        ] {
            assert_eq!(fits(&[pattern], path, is_dir), expected, "{pattern} {path}");
        }
        assert!(!fits(&["*.pt", "!a.pt"], "/srv/a.pt", false));
        let bad = FindOptions { patterns: vec!["{a".into()], ..FindOptions::default() };
        assert!(Matcher::new(&bad).is_err());
    }

    #[test]
    fn digest_keeps_parts_apart() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    }
}
