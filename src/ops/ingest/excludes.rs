//! What to leave out of a snapshot.
//!
//! Patterns are those of gitignore (crate `ignore`), matched against paths in the snapshot: `*.tmp`
//! anywhere, `/srv/cache` from the root, `!keep` to take it after all. An `.icecoreignore` counts
//! for its directory and all below, and the innermost that says something decides.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::localfs::{Dir, Names, SourceFile};
use crate::ops::error::{OpError, Result};

use super::IGNORE_FILE;

/// What the user wants left out.
#[derive(Debug, Clone, Default)]
pub struct ExcludeOptions {
    /// Patterns, as in gitignore.
    pub patterns: Vec<String>,
    /// Files of such patterns.
    pub pattern_files: Vec<PathBuf>,
    /// A directory that holds an entry of such a name is taken without its other entries.
    pub if_present: Vec<String>,
    /// The same for a `CACHEDIR.TAG` with the right first line.
    pub caches: bool,
    /// Heed `.icecoreignore` files.
    pub ignore_files: bool,
    /// Take mount points of other file systems as empty directories.
    pub one_file_system: bool,
    /// Leave out larger files, in bytes.
    pub larger_than: Option<u64>,
}

/// Longest `.icecoreignore` that is read.
const IGNORE_FILE_MAX: u64 = 1 << 20;
/// From the Cache Directory Tagging Specification (bford.info/cachedir).
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Decides, along a walk.
pub(super) struct Excluder<'o> {
    options: &'o ExcludeOptions,
    global: Gitignore,
    nested: Vec<Gitignore>,
}

impl<'o> Excluder<'o> {
    pub(super) fn new(options: &'o ExcludeOptions) -> Result<Self> {
        let mut builder = GitignoreBuilder::new("/");
        for file in &options.pattern_files {
            let text = std::fs::read_to_string(file).map_err(|source| {
                OpError::io(format!("read the patterns in {}", file.display()), source)
            })?;
            for line in text.lines() {
                add(&mut builder, line)?;
            }
        }
        for pattern in &options.patterns {
            add(&mut builder, pattern)?;
        }
        let global = builder.build().map_err(|err| OpError::Input(err.to_string()))?;
        Ok(Self { options, global, nested: Vec::new() })
    }

    /// Whether an entry is left out; `path` is its absolute path in the snapshot.
    pub(super) fn excludes(&self, path: &[u8], is_dir: bool) -> bool {
        let path = Path::new(OsStr::from_bytes(path));
        for matcher in self.nested.iter().rev().chain([&self.global]) {
            match matcher.matched(path, is_dir) {
                Match::None => {}
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
            }
        }
        false
    }

    pub(super) fn is_too_large(&self, size: u64) -> bool {
        self.options.larger_than.is_some_and(|max| size > max)
    }

    pub(super) const fn one_file_system(&self) -> bool {
        self.options.one_file_system
    }

    /// The name of the entry that says "leave my neighbours out", if there is one.
    pub(super) fn tag(&self, dir: &Dir, names: &Names) -> Option<Vec<u8>> {
        let named = self.options.if_present.iter().find(|name| names.contains(name.as_bytes()));
        if let Some(name) = named {
            return Some(name.clone().into_bytes());
        }
        let tag = b"CACHEDIR.TAG";
        let tagged = self.options.caches && names.contains(tag) && has_signature(dir, tag);
        tagged.then(|| tag.to_vec())
    }

    /// Enters a directory: reads its `.icecoreignore`. Every call is paired with [`Self::leave`].
    pub(super) fn enter(&mut self, dir: &Dir, names: &Names, path: &[u8]) -> Result<(), String> {
        let mut builder = GitignoreBuilder::new(OsStr::from_bytes(path));
        let mut result = Ok(());
        if self.options.ignore_files && names.contains(IGNORE_FILE.as_bytes()) {
            result = read_ignore_file(dir, &mut builder);
        }
        let matcher = builder.build().unwrap_or_else(|err| {
            result = Err(err.to_string());
            Gitignore::empty()
        });
        self.nested.push(matcher);
        result
    }

    pub(super) fn leave(&mut self) {
        self.nested.pop();
    }
}

fn add(builder: &mut GitignoreBuilder, line: &str) -> Result<()> {
    builder
        .add_line(None, line)
        .map(|_| ())
        .map_err(|err| OpError::Input(format!("\"{line}\" is no pattern: {err}")))
}

fn read_start(dir: &Dir, name: &[u8], max: u64) -> io::Result<Vec<u8>> {
    let file = SourceFile::open(dir, name).map_err(|err| err.source)?;
    let mut bytes = vec![0; file.found().size.min(max) as usize];
    let count = file.read_at(0, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

fn has_signature(dir: &Dir, name: &[u8]) -> bool {
    read_start(dir, name, CACHE_SIGNATURE.len() as u64).is_ok_and(|start| start == CACHE_SIGNATURE)
}

fn read_ignore_file(dir: &Dir, builder: &mut GitignoreBuilder) -> Result<(), String> {
    let bytes = read_start(dir, IGNORE_FILE.as_bytes(), IGNORE_FILE_MAX)
        .map_err(|err| format!("cannot read {IGNORE_FILE}: {err}"))?;
    for line in String::from_utf8_lossy(&bytes).lines() {
        builder.add_line(None, line).map_err(|err| format!("in {IGNORE_FILE}: {err}"))?;
    }
    Ok(())
}
