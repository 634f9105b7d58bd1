//! What of the declared assets no source of the strategy covers.
//!
//! A file is covered where a source names it, or a folder above it, and does not leave it out. What
//! a server keeps is covered by the source of that server, which is asked where that is; one that does
//! not answer is told, and its folder shows up as what it looks like. Nothing is opened but files that
//! are not covered, for their first bytes.

mod looks;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::error::{OpError, Result};
use crate::capture::{postgres, redis as cache};
use crate::strategy::file::{Source, Strategy};

pub use looks::Looks;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Below the roots, the highest folders and files that are not covered at all.
    pub uncovered: Vec<Uncovered>,
    /// What looks like an asset and is not covered.
    pub assets: Vec<Asset>,
    /// Files below the roots that are covered.
    pub files_covered: u64,
    /// What could not be looked at, and why.
    pub unread: Vec<(PathBuf, String)>,
}

/// A folder or file without a covered file in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncovered {
    /// Where.
    pub path: PathBuf,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What looks like an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Where.
    pub path: PathBuf,
    /// What it looks like.
    pub looks: Looks,
    /// Its bytes; of a folder 0.
    pub bytes: u64,
}

/// Looks below the strategy's roots, and below `further` folders, of which only what looks like an
/// asset is told.
///
/// # Errors
/// Where a pattern of the strategy cannot be read, or the user stopped it.
pub fn run(strategy: &Strategy, further: &[PathBuf], interrupted: &AtomicBool) -> Result<Coverage> {
    let mut sources = strategy.sources.values().map(Covering::new).collect::<Result<Vec<_>>>()?;
    let mut found = Coverage::default();
    for ((name, source), covering) in strategy.sources.iter().zip(&mut sources) {
        match of_server(source, interrupted) {
            Ok(paths) => covering.paths.extend(paths.into_iter().map(real)),
            Err(what) => found.unread.push((PathBuf::from(format!("source {name}")), what)),
        }
    }
    let mut look = Look { sources, interrupted, found };
    for root in &strategy.assets {
        let below = look.visit(Path::new(root))?;
        look.told(below);
    }
    for root in further {
        look.visit(root)?;
    }
    look.found.assets.sort_by(|a, b| a.path.cmp(&b.path));
    look.found.assets.dedup_by(|a, b| a.path == b.path);
    Ok(look.found)
}

/// Where the server of a source keeps its files, by its own word; nothing where it has none.
fn of_server(
    source: &Source,
    interrupted: &AtomicBool,
) -> std::result::Result<Vec<PathBuf>, String> {
    if let Some(server) = &source.postgres {
        let places = postgres::Server::connect(&server.connection, interrupted)?.places()?;
        return Ok(places.further.into_iter().chain([places.data]).collect());
    }
    let Some(server) = &source.redis else { return Ok(Vec::new()) };
    let file = server.password_file.as_ref().map(Path::new);
    cache::Server::connect(&server.address, file)?.places()
}

fn real(path: PathBuf) -> PathBuf {
    path.canonicalize().unwrap_or(path)
}

/// The files that one source takes.
struct Covering {
    paths: Vec<PathBuf>,
    excludes: Gitignore,
}

impl Covering {
    fn new(source: &Source) -> Result<Self> {
        let mut builder = GitignoreBuilder::new("/");
        for pattern in &source.exclude {
            let added = builder.add_line(None, pattern).map(|_| ());
            added.map_err(|err| OpError::Input(format!("\"{pattern}\" is no pattern: {err}")))?;
        }
        let excludes = builder.build().map_err(|err| OpError::Input(err.to_string()))?;
        let paths = source.paths.iter().chain(&source.sqlite).map(PathBuf::from);
        Ok(Self { paths: paths.map(real).collect(), excludes })
    }

    fn covers(&self, path: &Path, is_dir: bool) -> bool {
        let named = self.paths.iter().any(|named| path.starts_with(named));
        named
            && (self.paths.iter().any(|named| path == named)
                || !self.excludes.matched_path_or_any_parents(path, is_dir).is_ignore())
    }
}

/// What is below a path that was looked at.
struct Below {
    path: PathBuf,
    /// Without a covered file, and with at least one that is not.
    is_bare: bool,
    files: u64,
    bytes: u64,
    /// The highest bare ones.
    parts: Vec<Uncovered>,
}

struct Look<'a> {
    sources: Vec<Covering>,
    interrupted: &'a AtomicBool,
    found: Coverage,
}

impl Look<'_> {
    fn told(&mut self, below: Below) {
        let Below { path, is_bare, files, bytes, parts } = below;
        if is_bare {
            self.found.uncovered.push(Uncovered { path, files, bytes });
        } else {
            self.found.uncovered.extend(parts);
        }
    }

    fn visit(&mut self, path: &Path) -> Result<Below> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(OpError::Interrupted);
        }
        let path = path.to_path_buf();
        let mut below = Below { path, is_bare: false, files: 0, bytes: 0, parts: Vec::new() };
        let meta = match below.path.symlink_metadata() {
            Ok(meta) => meta,
            Err(err) => {
                self.found.unread.push((below.path.clone(), err.to_string()));
                return Ok(below);
            }
        };
        if meta.is_dir() {
            self.folder(&mut below)?;
        } else if meta.is_file() {
            self.file(&mut below, meta.len());
        }
        Ok(below)
    }

    fn is_covered(&self, path: &Path, is_dir: bool) -> bool {
        self.sources.iter().any(|source| source.covers(path, is_dir))
    }

    fn file(&mut self, below: &mut Below, bytes: u64) {
        if self.is_covered(&below.path, false) {
            self.found.files_covered += 1;
            return;
        }
        (below.is_bare, below.files, below.bytes) = (true, 1, bytes);
        match looks::of_file(&below.path) {
            Ok(Some(looks)) => {
                self.found.assets.push(Asset { path: below.path.clone(), looks, bytes });
            }
            Ok(None) => {}
            Err(err) => self.found.unread.push((below.path.clone(), err.to_string())),
        }
    }

    fn folder(&mut self, below: &mut Below) -> Result<()> {
        let entries = fs::read_dir(&below.path).and_then(|entries| {
            let named = entries.map(|entry| entry.map(|entry| (entry.file_name(), entry.path())));
            named.collect::<Result<BTreeMap<_, _>, _>>()
        });
        let entries = match entries {
            Ok(entries) => entries,
            Err(err) => {
                self.found.unread.push((below.path.clone(), err.to_string()));
                return Ok(());
            }
        };
        let names = |name: &str| entries.keys().any(|known| known == name);
        if let Some(looks) = looks::of_folder(names)
            && !self.is_covered(&below.path, true)
        {
            self.found.assets.push(Asset { path: below.path.clone(), looks, bytes: 0 });
        }
        let covered = self.found.files_covered;
        for path in entries.values() {
            let part = self.visit(path)?;
            (below.files, below.bytes) = (below.files + part.files, below.bytes + part.bytes);
            if part.is_bare {
                let Below { path, files, bytes, .. } = part;
                below.parts.push(Uncovered { path, files, bytes });
            } else {
                below.parts.extend(part.parts);
            }
        }
        below.is_bare = below.files > 0 && self.found.files_covered == covered;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
