//! From the paths that the user named to the tree that the snapshot will show.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::format::{Source, limits};
use crate::ops::error::{OpError, Result};

use super::Input;

/// Most bytes of all sources' paths: a snapshot lists them.
const SOURCES_BYTES_MAX: usize = 8 << 20;

/// A part of the snapshot's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Branch {
    /// A source: taken with all below it.
    Whole,
    /// A directory on the way to sources: only these entries of it are taken.
    Only(BTreeMap<Vec<u8>, Branch>),
}

/// What will be walked.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The directory that becomes the snapshot's root.
    pub(super) root: PathBuf,
    /// What is taken of it.
    pub(super) tree: Branch,
    /// The sources as the snapshot records them, sorted.
    pub(super) sources: Vec<Source>,
    /// Paths that were named and cannot be found, and why.
    pub(super) missing: Vec<(PathBuf, String)>,
}

impl Plan {
    /// Of whatever the input is.
    pub(super) fn of(input: &Input<'_>) -> Result<Self> {
        match input {
            Input::Paths { base, paths } => Self::new(base.as_deref(), paths),
            Input::Stream(stream) => Self::stream(&stream.name),
        }
    }

    /// With `base`, relative paths start there and appear relative to the snapshot's root.
    pub(super) fn new(base: Option<&Path>, paths: &[PathBuf]) -> Result<Self> {
        if paths.is_empty() {
            return Err(OpError::Input("nothing to ingest: no path was given".into()));
        }
        let root = match base {
            Some(base) => canonical(base)?,
            None => PathBuf::from("/"),
        };
        let mut tree = Branch::Only(BTreeMap::new());
        let (mut sources, mut missing) = (Vec::new(), Vec::new());
        let mut failure = None;
        for path in paths {
            let full = if base.is_some() { settle(&root.join(path)) } else { absolute(path) };
            let full = match full {
                Ok(full) => full,
                Err(err) => {
                    missing.push((path.clone(), crate::units::chain(&err)));
                    failure.get_or_insert(err);
                    continue;
                }
            };
            let below = full.strip_prefix(&root).map_err(|_| {
                OpError::Input(format!("{} is not below {}", path.display(), root.display()))
            })?;
            let parts: Vec<&[u8]> = below.iter().map(OsStrExt::as_bytes).collect();
            tree.insert(&parts);
            sources.push(Source { path: full.as_os_str().as_bytes().to_vec() });
        }
        if let (true, Some(err)) = (sources.is_empty(), failure) {
            return Err(err);
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        sources.dedup();
        let bytes: usize = sources.iter().map(|source| source.path.len() + 8).sum();
        if bytes > SOURCES_BYTES_MAX {
            return Err(OpError::Input(format!(
                "{} sources are too many for one snapshot: name directories that hold them",
                sources.len()
            )));
        }
        Ok(Self { root, tree, sources, missing })
    }

    /// A snapshot that holds one file of that path.
    pub(super) fn stream(name: &[u8]) -> Result<Self> {
        let mut tree = Branch::Only(BTreeMap::new());
        tree.insert(&stream_parts(name)?);
        let sources = vec![Source { path: name.to_vec() }];
        Ok(Self { root: PathBuf::from("/"), tree, sources, missing: Vec::new() })
    }
}

/// The components of a stream's name.
pub(super) fn stream_parts(name: &[u8]) -> Result<Vec<&[u8]>> {
    let parts: Vec<&[u8]> = name.split(|&b| b == b'/').filter(|part| !part.is_empty()).collect();
    let odd = |part: &&[u8]| {
        **part == *b"." || **part == *b".." || part.contains(&0) || part.len() > limits::NAME_MAX
    };
    if parts.is_empty() || parts.iter().any(odd) {
        let name = String::from_utf8_lossy(name);
        return Err(OpError::Input(format!("\"{name}\" cannot be the name of a file")));
    }
    Ok(parts)
}

impl Branch {
    fn insert(&mut self, parts: &[&[u8]]) {
        match (self, parts) {
            (Self::Whole, _) => {}
            (whole, []) => *whole = Self::Whole,
            (Self::Only(entries), [first, rest @ ..]) => entries
                .entry(first.to_vec())
                .or_insert_with(|| Self::Only(BTreeMap::new()))
                .insert(rest),
        }
    }
}

fn canonical(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|source| not_there(path, source))
}

fn not_there(path: &Path, source: io::Error) -> OpError {
    OpError::io(format!("ingest {}", path.display()), source)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    let full = std::path::absolute(path).map_err(|source| not_there(path, source))?;
    settle(&full)
}

/// Resolves links on the way to a source, but not the source itself: a link that is named is taken
/// as a link, unless it is named as a directory (`link/`, `link/.`).
fn settle(path: &Path) -> Result<PathBuf> {
    let bytes = path.as_os_str().as_bytes();
    let as_directory = bytes.ends_with(b"/") || bytes.ends_with(b"/.");
    let last = path.components().next_back();
    let (Some(Component::Normal(name)), false) = (last, as_directory) else {
        return canonical(path);
    };
    let name: &OsStr = name;
    let parent = path.parent().unwrap_or(Path::new("/"));
    let settled = canonical(parent)?.join(name);
    settled.symlink_metadata().map_err(|source| not_there(path, source))?;
    Ok(settled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_below_another_adds_nothing() {
        let mut tree = Branch::Only(BTreeMap::new());
        tree.insert(&[b"srv", b"models"]);
        tree.insert(&[b"srv"]);
        tree.insert(&[b"srv", b"data"]);
        let Branch::Only(entries) = tree else { panic!() };
        assert_eq!(entries.get(&b"srv"[..]), Some(&Branch::Whole));
    }

    #[test]
    fn links_on_the_way_are_resolved_and_the_last_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join("way")).unwrap();
        std::fs::write(root.join("real/file"), b"x").unwrap();
        assert_eq!(settle(&root.join("way/file")).unwrap(), root.join("real/file"));
        assert_eq!(settle(&root.join("way")).unwrap(), root.join("way"));
        assert_eq!(settle(&root.join("way/")).unwrap(), root.join("real"));
        assert_eq!(settle(&root.join("way/.")).unwrap(), root.join("real"));
        assert!(settle(&root.join("none")).is_err());
    }

    #[test]
    fn names_of_streams() {
        assert_eq!(stream_parts(b"/db//dump.sql").unwrap(), [&b"db"[..], b"dump.sql"]);
        for bad in [&b""[..], b"/", b"a/../b", b"a\0b"] {
            assert!(stream_parts(bad).is_err());
        }
    }
}
