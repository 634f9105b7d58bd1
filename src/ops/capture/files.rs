//! Files and folders; SQLite databases by name.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::capture::sqlite;
use crate::format::Source as Named;
use crate::ops::error::Result;
use crate::ops::ingest::{Input, Stage};
use crate::strategy::file::Preset;

use super::driver::{Driver, Told};
use super::failed;

/// Everything but what the versions of a Lance dataset are named in. The hint at the newest is
/// rewritten with each of them, and without it they are listed.
const BUT_VERSIONS: [&str; 6] = [
    "*",
    "!*/",
    "!**/_versions/**",
    "**/_versions/latest_version_hint.json",
    "**/_versions/.tmp*",
    "**/_versions/*.manifest#*",
];
/// What is being written has such a name until it is whole, and no version names it.
const VERSIONS: [&str; 5] = [
    "**/_versions",
    "**/data/.tmp*",
    "**/data/*.lance#*",
    "**/_deletions/.tmp*",
    "**/_transactions/*.txn#*",
];

/// A source of paths.
pub(super) struct Files<'a> {
    name: &'a str,
    paths: &'a [String],
    /// Patterns of what each stage leaves out.
    stages: VecDeque<&'static [&'static str]>,
    are_databases: bool,
}

impl<'a> Files<'a> {
    /// As one stage; with the preset for Lance, versions before what they name.
    pub(super) fn new(name: &'a str, paths: &'a [String], preset: Option<Preset>) -> Self {
        let stages: &[&[&str]] = match preset {
            Some(Preset::Lance) => &[&BUT_VERSIONS, &VERSIONS],
            _ => &[&[]],
        };
        let stages = stages.iter().copied().collect();
        Self { name, paths, stages, are_databases: false }
    }

    /// Files that must be databases.
    pub(super) fn databases(name: &'a str, paths: &'a [String]) -> Self {
        Self { are_databases: true, ..Self::new(name, paths, None) }
    }
}

impl<'a> Driver<'a> for Files<'a> {
    fn sources(&self) -> Result<Vec<Named>> {
        Ok(self.paths.iter().map(|path| named(Path::new(path))).collect())
    }

    fn next(&mut self) -> Result<Option<Stage<'a>>> {
        let Some(patterns) = self.stages.pop_front() else { return Ok(None) };
        for path in self.paths.iter().map(|path| Path::new(path.trim_end_matches('/'))) {
            // Of a link the snapshot would have the link and nothing else.
            if path.is_symlink() && (self.are_databases || path.is_dir()) {
                let what = format!("{} is a link; name what it leads to", path.display());
                return Err(failed(self.name, what));
            }
        }
        if self.are_databases {
            for path in self.paths {
                is_database(path).map_err(|what| failed(self.name, what))?;
            }
        }
        let paths = self.paths.iter().map(PathBuf::from).collect();
        let excludes = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let stage = Stage::new(self.name, Input::Paths { base: None, paths });
        Ok(Some(Stage { excludes, are_databases: self.are_databases, ..stage }))
    }

    fn told(&mut self) -> Option<Told> {
        let path = match self.paths {
            [only] => Path::new(only),
            _ => Path::new("/"),
        };
        (!self.are_databases).then(|| Told::at("files", path, Vec::new()))
    }
}

/// A path as snapshots name their sources.
pub(super) fn named(path: &Path) -> Named {
    Named { path: path.as_os_str().as_bytes().to_vec() }
}

fn is_database(path: &str) -> Result<(), String> {
    let read = || {
        let mut first = Vec::new();
        // Never waiting for a pipe's other end.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        if !file.metadata()?.is_file() {
            return Ok(false);
        }
        let size = file.metadata()?.len();
        file.take(sqlite::HEADER_LEN as u64).read_to_end(&mut first)?;
        Ok::<_, std::io::Error>(sqlite::is_database(&first, size))
    };
    match read() {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("{path} is no SQLite database")),
        Err(err) => Err(format!("cannot read {path}: {err}")),
    }
}
