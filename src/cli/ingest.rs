//! `icecore ingest`.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::codec::Compression;
use crate::format::{Time, limits};
use crate::fsutil;
use crate::fuse;
use crate::ops::ingest::{self, ChunkerChoice, ExcludeOptions, IngestOptions, Input};
use crate::repo::{OpenOptions, SESSION_TIMEOUT};
use crate::report::ingest as report;
use crate::units;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::key;
use super::priority::Priority;
use super::signals::Interrupt;
use super::stream;

/// Take a snapshot of files and directories
///
/// Sources appear in the snapshot at their absolute paths, with all below them and all their
/// metadata. Files that the last snapshot of the same host and sources holds unchanged are not
/// read again. What cannot be read is listed and never stops the rest: the snapshot is marked
/// partial and the exit code is 3.
///
/// SQLite databases are found by their first bytes and captured through SQLite, of one moment each.
/// A file that begins like one and that SQLite calls none (damaged, encrypted, cut short) is stored
/// as the file it is, and the snapshot records why; nothing better is to be had of it. A database
/// that is locked for 30 seconds, or such a file that changes while it is read, is stored as it came
/// and listed: another run may do better.
///
/// An interrupted run loses nothing: the next one uses what was stored.
#[derive(Debug, Args)]
#[command(visible_alias = "backup")]
#[command(after_long_help = "\
Examples:
  icecore -r /backup ingest /srv /etc --tag nightly --exclude '*.tmp'
  icecore -r /backup ingest -C /srv/models .
  icecore -r /backup ingest --command db.sql -- pg_dump --all
  find /data -newer mark -print0 | icecore -r /backup ingest --files-from -")]
pub(crate) struct Ingest {
    /// What to take, each with all below it
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    input: InputOptions,

    #[command(flatten)]
    excludes: ExcludeArgs,

    /// A word to find the snapshot by; may be given several times
    #[arg(long = "tag", value_name = "TAG", value_parser = super::tag::word)]
    tags: Vec<String>,

    /// Host that the sources belong to [default: this one]
    #[arg(long)]
    host: Option<String>,

    /// Time of the snapshot instead of now, like 2026-11-22T15:04:05
    #[arg(long, value_parser = units::parse_time)]
    time: Option<Time>,

    /// Only tell what would be read
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// Read every file, whatever the last snapshot says
    #[arg(short, long)]
    force: bool,

    /// Store access times too; the directories of files that were read then differ each time
    #[arg(long)]
    with_atime: bool,

    /// Do not compare inode numbers with the last snapshot: for network file systems
    #[arg(long)]
    ignore_inode: bool,

    /// Do not compare times of inode change with the last snapshot
    #[arg(long)]
    ignore_ctime: bool,

    /// Store SQLite databases as the files they are; without this they are captured through SQLite,
    /// consistent while they are written to, and their -wal, -shm and -journal are left out
    #[arg(long)]
    raw_sqlite: bool,

    /// off, fast, a zstd level from 1 to 19, or max
    #[arg(long, value_name = "LEVEL", default_value_t)]
    compression: Compression,

    /// How files are cut into chunks: auto (as each one's content asks for), cdc (by content),
    /// fixed or fixed:SIZE, database (64 KiB), tensor. With another than last time, files that are
    /// read again are stored again
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = parse_chunker)]
    chunker: ChunkerChoice,

    /// Store every new chunk by itself, not as what differs from the last version of its file
    #[arg(long)]
    no_delta: bool,

    /// Threads that compress; twice as many read [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    #[arg(allow_hyphen_values = true)]
    threads: Option<u16>,

    /// Most memory to use, at least 240M; with less, fewer threads. Long chunks need more
    #[arg(long, value_name = "SIZE", value_parser = parse_memory, default_value = "512M")]
    #[arg(allow_hyphen_values = true)]
    max_memory: u64,

    /// After how long without a sign of life a prune takes this ingest for dead
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration, hide = true)]
    session_timeout: Option<Duration>,

    #[command(flatten)]
    priority: Priority,

    /// After --command: the command and its arguments
    #[arg(last = true, value_name = "CMD")]
    program: Vec<OsString>,
}

/// Where content comes from.
#[derive(Debug, Args)]
struct InputOptions {
    /// Start relative paths in DIR, and show them relative to the snapshot's root
    #[arg(short = 'C', long, value_name = "DIR")]
    directory: Option<PathBuf>,

    /// File of further paths, one per line or ended by NUL; - is standard input
    #[arg(long, value_name = "FILE")]
    files_from: Option<PathBuf>,

    /// Take standard input as one file of this name; under the same name next time, only what
    /// changed is stored
    #[arg(long, value_name = "NAME", conflicts_with_all = ["paths", "files_from", "directory"])]
    stdin: Option<OsString>,

    /// Take the output of the command after -- as one file of this name; no snapshot if it fails
    #[arg(long, value_name = "NAME", requires = "program")]
    #[arg(conflicts_with_all = ["paths", "files_from", "directory", "stdin"])]
    command: Option<OsString>,
}

/// What to leave out.
#[derive(Debug, Args)]
struct ExcludeArgs {
    /// Leave out what fits a pattern, as in gitignore: *.tmp anywhere, /srv/cache from the root
    #[arg(short, long, value_name = "PATTERN")]
    exclude: Vec<String>,

    /// File of such patterns
    #[arg(long, value_name = "FILE")]
    exclude_from: Vec<PathBuf>,

    /// Leave out the other entries of directories that hold an entry NAME
    #[arg(long, value_name = "NAME")]
    exclude_if_present: Vec<String>,

    /// Leave out caches: directories with a CACHEDIR.TAG
    #[arg(long)]
    exclude_caches: bool,

    /// Leave out larger files, like 500M or 2GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_file_size, allow_hyphen_values = true)]
    exclude_larger_than: Option<u64>,

    /// Do not heed .icecoreignore files
    #[arg(long)]
    no_ignore_files: bool,

    /// Take mount points of other file systems as empty directories
    #[arg(short = 'x', long)]
    one_file_system: bool,
}

impl From<ExcludeArgs> for ExcludeOptions {
    fn from(args: ExcludeArgs) -> Self {
        Self {
            patterns: args.exclude,
            pattern_files: args.exclude_from,
            if_present: args.exclude_if_present,
            caches: args.exclude_caches,
            ignore_files: !args.no_ignore_files,
            one_file_system: args.one_file_system,
            larger_than: args.exclude_larger_than,
        }
    }
}

/// More memory than any number of threads makes use of.
const MEMORY_MAX: u64 = 1 << 40;

fn parse_memory(text: &str) -> Result<u64, String> {
    let least = ingest::MEMORY_MIN;
    match units::parse_size_up_to(text, MEMORY_MAX, "an ingest has no use for more than")? {
        size if size < least => Err(format!("an ingest needs {}M or more", least >> 20)),
        size => Ok(size),
    }
}

fn parse_file_size(text: &str) -> Result<u64, String> {
    // The kernel counts the bytes of a file by signed numbers.
    units::parse_size_up_to(text, i64::MAX as u64, "no file is larger than")
}

impl Ingest {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        self.priority.apply()?;
        let cache = ingest::block_cache(self.max_memory) as usize;
        let repo = cx.repository_with(OpenOptions {
            block_cache_bytes: cache,
            session_timeout: self.session_timeout.unwrap_or(SESSION_TIMEOUT),
            ..cx.open_options()
        })?;
        if self.dry_run {
            repo.set_read_only();
        }
        let threads = self.threads.map_or_else(processors, usize::from);
        let options = IngestOptions {
            host: self.host.unwrap_or_else(fsutil::machine),
            user: key::user(),
            tags: self.tags,
            time: self.time,
            excludes: self.excludes.into(),
            compression: self.compression,
            delta: !self.no_delta,
            chunker: self.chunker,
            threads,
            max_memory: self.max_memory,
            keep_atime: self.with_atime,
            force: self.force,
            ignore_inode: self.ignore_inode,
            ignore_ctime: self.ignore_ctime,
            raw_sqlite: self.raw_sqlite,
            dry_run: self.dry_run,
            own: own(Path::new(&repo.location()), cx.global.cache().as_deref()),
            own_mounts: own_mounts(Path::new(&repo.location())),
        };
        let input = input(self.input, self.paths, self.program, self.dry_run, &cx.interrupt)?;
        refuse_own(&input, &options.own_mounts)?;
        let bar = cx.bar("ingesting");
        let done = ingest::run(&repo, input, &options, &bar, cx.interrupt.flag());
        drop(bar);
        let done = done?;
        cx.report(|| report::json(&done), || report::text(&done))?;
        Ok(if done.troubles_count > 0 { Exit::Partial } else { Exit::Done })
    }
}

fn parse_chunker(text: &str) -> Result<ChunkerChoice, String> {
    match (text, text.strip_prefix("fixed:")) {
        ("auto", _) => Ok(ChunkerChoice::Auto),
        ("cdc", _) => Ok(ChunkerChoice::ContentDefined),
        ("fixed", _) => Ok(ChunkerChoice::Fixed(None)),
        ("database", _) => Ok(ChunkerChoice::Database),
        ("tensor", _) => Ok(ChunkerChoice::Tensor),
        (_, Some(size)) => {
            let fits = |len: &u32| (FIXED_MIN..=limits::CHUNK_MAX as u32).contains(len);
            let len = u32::try_from(units::parse_size(size)?).ok().filter(fits);
            len.map(|len| ChunkerChoice::Fixed(Some(len))).ok_or_else(|| {
                let most = units::size(limits::CHUNK_MAX as u64);
                let least = units::size(u64::from(FIXED_MIN));
                format!("chunks of {size} are not possible: {least} to {most}")
            })
        }
        _ => Err("not one of auto, cdc, fixed, fixed:SIZE, database, tensor".to_owned()),
    }
}

/// Shortest chunks that can be asked for: a page, below which the index outgrows the content.
const FIXED_MIN: u32 = 4 << 10;

pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// The repository and the cache: ingesting them would never end, or not be worth it.
pub(crate) fn own(repository: &Path, cache: Option<&Path>) -> Vec<(u64, u64)> {
    let folders = [Some(repository), cache];
    let found = folders.into_iter().flatten().filter_map(|folder| folder.metadata().ok());
    found.map(|meta| (meta.dev(), meta.ino())).collect()
}

/// Devices of the mounts that show the repository: all that is on them is stored already.
pub(crate) fn own_mounts(repository: &Path) -> Vec<u64> {
    let mounts = repository.canonicalize().and_then(|folder| fuse::mounts_of(&folder));
    mounts.unwrap_or_default().into_iter().map(|mount| mount.device).collect()
}

/// Refuses sources that are the repository's own snapshots.
fn refuse_own(input: &Input<'_>, own_mounts: &[u64]) -> Result<(), CliError> {
    let Input::Paths { base, paths } = input else { return Ok(()) };
    for path in paths {
        let whole = base.as_ref().map_or_else(|| path.clone(), |base| base.join(path));
        let device = whole.symlink_metadata().ok().map(|meta| meta.dev());
        if device.is_some_and(|device| own_mounts.contains(&device)) {
            let what = format!(
                "{} is stored already: it is on a mount of this very repository",
                whole.display()
            );
            let hint = "ingest it into another repository, with -r";
            return Err(CliError::failed(what).hint(hint));
        }
    }
    Ok(())
}

fn input(
    options: InputOptions,
    mut paths: Vec<PathBuf>,
    program: Vec<OsString>,
    dry_run: bool,
    interrupt: &Interrupt,
) -> anyhow::Result<Input<'static>> {
    if let Some(name) = options.command {
        return Ok(Input::Stream(stream::of_command(name, &program, dry_run, interrupt)?));
    }
    if let Some(name) = options.stdin {
        return Ok(Input::Stream(stream::of_stdin(name, interrupt)));
    }
    // Without --command, what stands after -- are paths that may begin with a dash.
    paths.extend(program.into_iter().map(PathBuf::from));
    if let Some(file) = &options.files_from {
        paths.extend(listed(file)?);
    } else if paths.is_empty() {
        let hint = "name paths, or give --files-from, --stdin or --command";
        return Err(CliError::usage("nothing to ingest").hint(hint).into());
    }
    Ok(Input::Paths { base: options.directory, paths })
}

/// Paths from a file: ended by NUL where it holds any, else one per line.
fn listed(file: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let context = || format!("cannot read the paths in {}", file.display());
    let mut bytes = Vec::new();
    match file.as_os_str().as_bytes() {
        b"-" => std::io::stdin().read_to_end(&mut bytes).with_context(context)?,
        _ => {
            let mut opened = std::fs::File::open(file).with_context(context)?;
            opened.read_to_end(&mut bytes).with_context(context)?
        }
    };
    Ok(split_paths(&bytes))
}

fn split_paths(bytes: &[u8]) -> Vec<PathBuf> {
    let end = if bytes.contains(&0) { 0 } else { b'\n' };
    let paths = bytes.split(|&byte| byte == end).filter(|path| !path.is_empty());
    paths.map(|path| PathBuf::from(OsString::from_vec(path.to_vec()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunkers_and_their_bounds() {
        assert_eq!(parse_chunker("auto"), Ok(ChunkerChoice::Auto));
        assert_eq!(parse_chunker("fixed"), Ok(ChunkerChoice::Fixed(None)));
        assert_eq!(parse_chunker("fixed:4K"), Ok(ChunkerChoice::Fixed(Some(4096))));
        assert_eq!(parse_chunker("fixed:16MiB"), Ok(ChunkerChoice::Fixed(Some(16 << 20))));
        for bad in ["", "fixed:", "fixed:0", "fixed:4095", "fixed:17M", "fixed:1T", "CDC", "cdc:1M"]
        {
            assert!(parse_chunker(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_end_by_nul_where_there_is_one() {
        let lines = [PathBuf::from("a b"), PathBuf::from("c")];
        assert_eq!(split_paths(b"a b\nc\n"), lines);
        assert_eq!(split_paths(b"a b\0c"), lines);
        assert_eq!(split_paths(b"a\nb\0"), [PathBuf::from("a\nb")]);
        assert!(split_paths(b"").is_empty());
    }
}
