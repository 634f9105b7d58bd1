//! A SQLite database as one consistent file.
//!
//! The pages come through the online backup interface, all in one step, so that they are of one
//! moment and lie where they lie in the database: what did not change is found stored already.
//!
//! The database is not touched. Its connection is read-only and never checkpoints, and where nobody
//! has the database open nothing is created beside it: without a `-wal` it is read as immutable, and
//! with one that nobody serves (`-shm` is missing) the two are copied and brought together elsewhere.
//! Both hold only if nothing changed meanwhile, which is looked at afterwards.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::scratch::Scratch;
use crate::format::Kind;
use crate::localfs::{self, Dir, Found, SourceFile};

/// What every database begins with.
pub const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Bytes of a database's header.
pub const HEADER_LEN: usize = 100;
/// Files beside a database that belong to it.
pub const SIDECARS: [&[u8]; 3] = [b"-journal", b"-shm", b"-wal"];
/// How long a writer may keep the database locked.
const BUSY: Duration = Duration::from_secs(30);
/// Between two looks at a lock that SQLite does not wait for itself.
const LOOK: Duration = Duration::from_millis(20);
/// The name of the copy in its folder.
const COPY: &str = "copy";
/// Of databases up to this size the rows are counted, in bytes.
const COUNTED_MAX: i64 = 64 << 20;
/// So many tables at most.
const TABLES_MAX: i64 = 100;

/// Whether a file of this size that begins so is a database: magic, page size, versions.
#[must_use]
pub fn is_database(first: &[u8], size: u64) -> bool {
    let byte = |at: usize| first.get(at).copied().unwrap_or_default();
    let page = u16::from(byte(16)) << 8 | u16::from(byte(17));
    first.len() >= HEADER_LEN
        && first.starts_with(MAGIC)
        && (page == 1 || (page >= 512 && page.is_power_of_two()))
        && size >= 512
        && matches!((byte(18), byte(19)), (1 | 2, 1 | 2))
        && (byte(21), byte(22), byte(23)) == (64, 32, 32)
}

/// The name of the database that a file of this name belongs to.
#[must_use]
pub fn main_of(name: &[u8]) -> Option<&[u8]> {
    SIDECARS.iter().find_map(|suffix| name.strip_suffix(*suffix)).filter(|main| !main.is_empty())
}

/// The state of a database's write-ahead log in words that differ when it does; `none` where there
/// is nothing in it. Not by its ctime: SQLite sets the owner each time that root opens one.
#[must_use]
pub fn log_state(dir: &Dir, name: &[u8]) -> String {
    match beside(dir, name, b"-wal") {
        None => "none".to_owned(),
        Some(found) => {
            let Found { size, mtime, inode, .. } = found;
            format!("{size} bytes, {}.{:09}, inode {inode}", mtime.secs, mtime.nanos)
        }
    }
}

/// A file beside the database that is not empty.
fn beside(dir: &Dir, name: &[u8], suffix: &[u8]) -> Option<Found> {
    let found = localfs::inspect(dir, &[name, suffix].concat()).ok()?;
    (found.size > 0).then_some(found)
}

/// A captured database, in a folder of its own that goes with it.
#[derive(Debug)]
pub struct Copied {
    folder: Scratch,
    /// Versions and sizes, sorted by name.
    pub facts: Vec<(String, String)>,
}

impl Copied {
    /// The folder, and the file's name in it.
    #[must_use]
    pub fn place(&self) -> (&Path, &[u8]) {
        (self.folder.path(), COPY.as_bytes())
    }
}

/// Why a database was not captured; in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// SQLite itself finds no database in it, whenever it is asked: its bytes are all that there is.
    NoDatabase(String),
    /// It is locked, or something failed: another time it may be had.
    Failed(String),
}

/// How the database is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As it is, with its locks.
    Live,
    /// As a file that nobody writes to.
    Immutable,
    /// A copy of its files.
    Private,
}

/// Captures the database `name` of `dir`, whose file was `found` when it was opened and begins
/// with `first`.
///
/// # Errors
/// Why it cannot be had through SQLite.
pub fn copy(dir: &Dir, name: &[u8], found: &Found, first: &[u8]) -> Result<Copied, Refused> {
    // SQLite would open a pipe of such a name, and wait for whoever writes to it.
    if let Some(odd) = SIDECARS.iter().find(|suffix| is_odd(dir, name, suffix)) {
        let what = format!("its {} is no file", String::from_utf8_lossy(odd));
        return Err(Refused::NoDatabase(what));
    }
    let path = dir.path();
    let path = path.map_err(|err| Refused::Failed(format!("its folder has no path: {err}")))?;
    let place = Place { dir, name, path: path.join(OsString::from_vec(name.to_vec())) };
    let is_wal = first.get(18) == Some(&2);
    let way = match (is_wal, beside(dir, name, b"-wal"), beside(dir, name, b"-shm")) {
        (true, None, _) => Way::Immutable,
        (true, Some(_), None) => Way::Private,
        _ => Way::Live,
    };
    let quiet = || {
        let now = localfs::inspect(dir, name).ok();
        (now.is_some_and(|now| found.unchanged(&now)), log_state(dir, name))
    };
    let before = quiet();
    let mut taken = place.taken(way);
    if way != Way::Live && (!before.0 || quiet() != before) {
        taken = place.taken(Way::Live);
    } else if taken.is_err() && way == Way::Live && beside(dir, name, b"-journal").is_some() {
        // What a writer that died left behind is rolled back in a copy.
        let private = place.taken(Way::Private);
        if quiet() == before {
            taken = private;
        }
    }
    let mut taken = taken?;
    let mode = if is_wal { "wal" } else { "rollback" };
    taken.facts.push(("journal_mode".to_owned(), mode.to_owned()));
    taken.facts.sort();
    Ok(taken)
}

/// Whether something that is no file lies beside the database.
fn is_odd(dir: &Dir, name: &[u8], suffix: &[u8]) -> bool {
    let found = localfs::inspect(dir, &[name, suffix].concat());
    found.is_ok_and(|found| found.kind != Kind::File)
}

/// Where a database is.
struct Place<'p> {
    dir: &'p Dir,
    name: &'p [u8],
    path: PathBuf,
}

impl Place<'_> {
    fn taken(&self, way: Way) -> Result<Copied, Refused> {
        let folder = Scratch::new();
        let folder = folder.map_err(|err| Refused::Failed(format!("{}: {err}", no_copy())))?;
        self.take_into(way, folder).map_err(refused)
    }

    fn take_into(&self, way: Way, folder: Scratch) -> rusqlite::Result<Copied> {
        let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let read_only = flags | OpenFlags::SQLITE_OPEN_READ_ONLY;
        let from = match way {
            Way::Live => Connection::open_with_flags(&self.path, read_only)?,
            Way::Immutable => {
                let flags = read_only | OpenFlags::SQLITE_OPEN_URI;
                Connection::open_with_flags(immutable(&self.path), flags)?
            }
            Way::Private => {
                let copy = self.private(folder.path()).map_err(cannot_copy)?;
                Connection::open_with_flags(copy, flags | OpenFlags::SQLITE_OPEN_READ_WRITE)?
            }
        };
        from.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        from.busy_timeout(BUSY)?;
        // Whether it can be read at all: copying pages looks at none of them.
        from.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get::<_, i64>(0))?;
        let mut to = Connection::open(folder.path().join(COPY))?;
        to.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
        all_pages(&from, &mut to)?;
        let facts = facts(&to)?;
        Ok(Copied { folder, facts })
    }

    /// Copies the database with its log or journal into a folder.
    fn private(&self, folder: &Path) -> std::io::Result<PathBuf> {
        let copy = folder.join("original");
        for suffix in [&b""[..], b"-wal", b"-journal"] {
            let from = match SourceFile::open(self.dir, &[self.name, suffix].concat()) {
                Err(err) if err.is_not_found() && !suffix.is_empty() => continue,
                from => from.map_err(|err| err.source)?,
            };
            let mut to = copy.as_os_str().to_owned();
            to.push(std::ffi::OsStr::from_bytes(suffix));
            copy_all(&from, File::create_new(to)?)?;
        }
        Ok(copy)
    }
}

fn copy_all(from: &SourceFile, mut to: File) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        let count = from.read_at(at, &mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(buffer.get(..count).unwrap_or_default())?;
        at += count as u64;
    }
}

/// What is said where there is no place for a copy.
fn no_copy() -> String {
    let place = std::env::temp_dir();
    format!("no room for its copy in {}; let TMPDIR name a folder with room", place.display())
}

fn is_full(err: &rusqlite::Error) -> bool {
    let io = match err {
        rusqlite::Error::ToSqlConversionFailure(err) => err.downcast_ref::<std::io::Error>(),
        _ => None,
    };
    err.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || io.is_some_and(|err| err.kind() == std::io::ErrorKind::StorageFull)
}

fn refused(err: rusqlite::Error) -> Refused {
    if is_full(&err) {
        return Refused::Failed(no_copy());
    }
    let what = format!("SQLite cannot read it: {err}");
    match err.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Refused::Failed(format!(
            "someone kept it locked for {} s; let that end, or stop it by hooks.before",
            BUSY.as_secs()
        )),
        Some(ErrorCode::NotADatabase) => {
            Refused::NoDatabase("SQLite says that it is encrypted, or no database".to_owned())
        }
        Some(ErrorCode::DatabaseCorrupt) => Refused::NoDatabase(what),
        // A format of a later version has no code of its own.
        Some(ErrorCode::Unknown) if what.contains("unsupported file format") => {
            Refused::NoDatabase(what)
        }
        _ => Refused::Failed(what),
    }
}

/// Versions and counts of a captured database.
fn facts(database: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let number = |query: &str| database.query_row(query, [], |row| row.get::<_, i64>(0));
    let (pages, size) = (number("PRAGMA page_count")?, number("PRAGMA page_size")?);
    let mut facts = vec![
        ("page_count".to_owned(), pages.to_string()),
        ("page_size".to_owned(), size.to_string()),
        ("sqlite_version".to_owned(), rusqlite::version().to_owned()),
    ];
    if pages.saturating_mul(size) <= COUNTED_MAX {
        let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 \
                      AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND length(name) <= 100 \
                      ORDER BY name LIMIT ?";
        let mut tables = database.prepare(tables)?;
        let names = tables.query_map([TABLES_MAX], |row| row.get::<_, String>(0))?;
        for name in names.filter_map(Result::ok) {
            let quoted = name.replace('"', "\"\"");
            // Damage in a table is no reason to have none of it.
            if let Ok(rows) = number(&format!("SELECT count(*) FROM \"{quoted}\"")) {
                facts.push((format!("rows.{name}"), rows.to_string()));
            }
        }
    }
    Ok(facts)
}

fn cannot_copy(err: std::io::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(err))
}

/// All pages in one step: of one moment.
fn all_pages(from: &Connection, to: &mut Connection) -> rusqlite::Result<()> {
    let until = Instant::now() + BUSY;
    let backup = Backup::new(from, to)?;
    loop {
        match backup.step(-1)? {
            StepResult::Done => return Ok(()),
            StepResult::Busy | StepResult::Locked if Instant::now() > until => {
                let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                let what = format!("a writer kept it locked for {} s", BUSY.as_secs());
                return Err(rusqlite::Error::SqliteFailure(busy, Some(what)));
            }
            StepResult::Busy | StepResult::Locked => std::thread::sleep(LOOK),
            _ => {}
        }
    }
}

/// The URI of a file that nobody writes to.
fn immutable(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            // Writing to a string never fails.
            byte => {
                let _ = write!(uri, "%{byte:02x}");
            }
        }
    }
    uri + "?immutable=1"
}

#[cfg(test)]
mod tests;
