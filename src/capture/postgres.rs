//! A PostgreSQL server on this machine: its own backup mode, and what must be taken of its files.
//!
//! A copy of a live data directory starts without an error and has lost rows. So the copy is made
//! between `pg_backup_start` and `pg_backup_stop`, in one session that lives until the log between
//! the two was read: when it ends early the server leaves backup mode by itself, and drops the
//! temporary slot that keeps the log. The label that the server gives at the end makes a server that
//! starts on the copy replay that log; without it the copy would be taken for a crashed one.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ::postgres::config::Host;
use ::postgres::error::SqlState;
use ::postgres::{Client, Config, NoTls, SimpleQueryMessage};
use rustix::process::{Gid, Uid, geteuid};

use crate::localfs::Owners;
use crate::units::chain;

mod session;

use session::Session;

/// Where servers put their sockets.
const SOCKET_FOLDERS: [&str; 3] = ["/run/postgresql", "/var/run/postgresql", "/tmp"];
/// The first version whose backup functions have today's names.
const RENAMED: u32 = 15_00_00;
/// The first version that looks whether a client is there while it works for it.
const NOTICES: u32 = 14_00_00;
const OLDEST: u32 = 13_00_00;
const CONNECT: Duration = Duration::from_secs(20);
/// What the label is called.
const LABEL: &str = "icecore";

/// Below the data directory: contents of directories that a server makes anew, and files that must
/// not be in a copy. As patterns, with `*` and without the directory.
const LEFT_OUT: [&str; 14] = [
    "pg_wal/*",
    "pg_replslot/*",
    "pg_dynshmem/*",
    "pg_notify/*",
    "pg_serial/*",
    "pg_snapshots/*",
    "pg_stat_tmp/*",
    "pg_subtrans/*",
    "postmaster.pid",
    "postmaster.opts",
    "backup_label",
    "tablespace_map",
    "**/pgsql_tmp*",
    "**/pg_internal.init*",
];

/// For each answer.
const ANSWER: Duration = Duration::from_secs(30);
/// For an answer that waits for a checkpoint, or looks at every file.
const LONG: Duration = Duration::from_secs(3600);

/// A session with a server.
pub struct Server<'a> {
    session: Session<'a>,
    version: u32,
    /// User and group that the server runs as, where its socket tells.
    pub owner: Option<(u32, u32)>,
}

/// Where a server keeps what.
#[derive(Debug, Clone)]
pub struct Places {
    /// The data directory.
    pub data: PathBuf,
    /// Tablespaces, and configuration that lies elsewhere.
    pub further: Vec<PathBuf>,
    /// Whose the data directory is: user, group, mode of its files.
    pub made_as: (u32, u32, u32),
}

/// What the end of a backup gives.
#[derive(Debug, Clone)]
pub struct Stopped {
    /// Content of the data directory's `backup_label`.
    pub label: String,
    /// Content of its `tablespace_map`, where there are tablespaces.
    pub tablespaces: Option<String>,
    /// Files of the log from start to end, all there.
    pub log: Vec<PathBuf>,
    /// Where and on what timeline, sorted by name.
    pub facts: Vec<(String, String)>,
}

impl<'a> Server<'a> {
    /// What a tool's environment must say so that the server notices within seconds that it was
    /// killed, also while it waits for a lock; nothing where the server is too old for that.
    #[must_use]
    pub fn noticing(&self) -> Option<(String, String)> {
        let own = std::env::var("PGOPTIONS").unwrap_or_default();
        let options = format!("{own} -c client_connection_check_interval=2s");
        (self.version >= NOTICES).then(|| ("PGOPTIONS".to_owned(), options.trim().to_owned()))
    }

    /// Connects. As root, over a socket, it does so as the server's own user, so that peer
    /// authentication lets it in.
    ///
    /// # Errors
    /// In words, as all of this module: also where the server is silent, and when the user stops it.
    pub fn connect(connection: &str, interrupted: &'a AtomicBool) -> Result<Self, String> {
        let mut config: Config =
            connection.parse().map_err(|err| format!("\"{connection}\": {}", chain(&err)))?;
        if config.get_hosts().is_empty() {
            let there = SOCKET_FOLDERS.iter().find(|folder| Path::new(folder).is_dir());
            config.host_path(there.ok_or("no server's socket was found; name a host")?);
        }
        config.connect_timeout(CONNECT).application_name("icecore");
        let owner = socket_owner(&config);
        if config.get_user().is_none() {
            let user = owner.filter(|_| geteuid().is_root());
            let user = user.map(|(uid, gid)| Owners::new().owner(uid, gid).user.clone());
            if let Some(user) = user.filter(|user| !user.is_empty()) {
                config.user(&user);
            }
        }
        if config.get_dbname().is_none() {
            config.dbname("postgres");
        }
        let place = place_of(&config);
        let open = move || {
            connect_as(&config, owner).map_err(|err| {
                format!("cannot connect to {}: {err}{}", place_of(&config), remedy(&err))
            })
        };
        let mut session = Session::begin(place, open, interrupted)?;
        let version = session.one("SHOW server_version_num", ANSWER)?;
        let version = version.parse().map_err(|_| format!("odd version {version}"))?;
        if version < OLDEST {
            return Err(format!("the server is older than {}", OLDEST / 10_000));
        }
        Ok(Self { session, version, owner })
    }

    /// The first column of the first row.
    pub fn one(&mut self, query: &str) -> Result<String, String> {
        self.session.one(query, ANSWER)
    }

    /// All rows, missing values as empty text.
    pub fn rows(&mut self, query: &str) -> Result<Vec<Vec<String>>, String> {
        self.session.rows(query, ANSWER)
    }

    /// Where the server keeps what, seen from here.
    pub fn places(&mut self) -> Result<Places, String> {
        if self.one("SELECT pg_is_in_recovery()")? == "t" {
            let what = "it is a standby; capture its primary, or use method = \"logical\"";
            return Err(what.to_owned());
        }
        let data = PathBuf::from(self.one("SHOW data_directory")?);
        self.is_ours(&data)?;
        // As the snapshot names it: patterns, the label and the log must meet the files.
        let real =
            |path: PathBuf| path.canonicalize().map_err(|err| format!("{}: {err}", path.display()));
        let data = real(data)?;
        let meta = data.metadata().map_err(|err| format!("{}: {err}", data.display()))?;
        let tablespaces = "SELECT pg_tablespace_location(oid) FROM pg_tablespace";
        let mut further: Vec<_> = self.rows(tablespaces)?.into_iter().flatten().collect();
        for setting in ["config_file", "hba_file", "ident_file"] {
            further.push(self.one(&format!("SHOW {setting}"))?);
        }
        let mut further: Vec<_> = further.into_iter().map(PathBuf::from).collect();
        further.retain(|path| path.is_absolute() && path.exists());
        // A folder is named as it is, a file as the server finds it.
        let named = |path: PathBuf| if path.is_dir() { real(path) } else { Ok(path) };
        let mut further = further.into_iter().map(named).collect::<Result<Vec<_>, _>>()?;
        further.retain(|path| !path.starts_with(&data));
        let (uid, gid) = (meta.uid(), meta.gid());
        let mode = if meta.mode() & 0o040 == 0 { 0o600 } else { 0o640 };
        Ok(Places { data, further, made_as: (uid, gid, mode) })
    }

    /// That the directory is this server's, not one of the same path on another machine.
    fn is_ours(&mut self, data: &Path) -> Result<(), String> {
        let control = data.join("global/pg_control");
        let bytes = std::fs::read(&control).map_err(|err| {
            format!(
                "cannot read {}: {err}; run icecore on the server's machine, as root or as its user",
                control.display()
            )
        })?;
        let stated = self.one("SELECT system_identifier FROM pg_control_system()")?;
        // Stored in the byte order of the machine that it runs on, which is this one.
        let [a, b, c, d, e, f, g, h, ..] = *bytes else {
            return Err(format!("{} is too short", control.display()));
        };
        let found = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        if found.to_string() == stated {
            return Ok(());
        }
        let data = data.display();
        Err(format!("{data} is another server's (system {found}, connected to {stated})"))
    }

    /// Begins backup mode, after a checkpoint. Returns the log position.
    pub fn start(&mut self) -> Result<String, String> {
        let slot = format!("icecore_{}", std::process::id());
        let slot = format!("SELECT pg_create_physical_replication_slot('{slot}', true, true)");
        if let Err(err) = self.one(&slot) {
            tracing::warn!("no replication slot keeps the log during the capture: {err}");
        }
        let query = match self.version >= RENAMED {
            true => format!("SELECT pg_backup_start('{LABEL}', true)"),
            false => format!("SELECT pg_start_backup('{LABEL}', true, false)"),
        };
        self.session.one(&query, LONG)
    }

    /// Ends it, and finds the log that belongs to it. The session must live until that was read.
    pub fn stop(&mut self, places: &Places) -> Result<Stopped, String> {
        let query = match self.version >= RENAMED {
            true => "SELECT lsn, labelfile, spcmapfile FROM pg_backup_stop(false)",
            false => "SELECT lsn, labelfile, spcmapfile FROM pg_stop_backup(false, false)",
        };
        let rows = self.session.rows(query, LONG)?;
        let mut row = rows.into_iter().next().unwrap_or_default().into_iter();
        let (Some(stop), Some(label)) = (row.next(), row.next()) else {
            return Err("the server gave no backup label".to_owned());
        };
        let tablespaces = row.next().filter(|map| !map.is_empty());
        let size = self.one("SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'")?;
        let span = Log::of(&label, &stop, &size).ok_or("the backup label is not understood")?;
        let log = span.files(&places.data.join("pg_wal"))?;
        let mut facts = vec![
            ("server_version".to_owned(), self.one("SHOW server_version")?),
            ("start_lsn".to_owned(), span.start.clone()),
            ("stop_lsn".to_owned(), stop),
            (
                "system_identifier".to_owned(),
                self.one("SELECT system_identifier FROM pg_control_system()")?,
            ),
            ("timeline".to_owned(), span.timeline.to_string()),
        ];
        facts.extend(self.databases()?);
        facts.sort();
        Ok(Stopped { label, tablespaces, log, facts })
    }

    /// Where its log is now.
    pub fn position(&mut self) -> Result<String, String> {
        self.one(
            "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
             ELSE pg_current_wal_lsn() END",
        )
    }

    /// Names of the databases that can be dumped.
    pub fn database_names(&mut self) -> Result<Vec<String>, String> {
        let query = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate";
        Ok(self.rows(query)?.into_iter().flatten().collect())
    }

    /// Sizes of the databases in bytes, as facts.
    pub fn databases(&mut self) -> Result<Vec<(String, String)>, String> {
        const MOST: usize = 500;
        let query = "SELECT datname, pg_database_size(oid) FROM pg_database ORDER BY 1";
        let rows = self.session.rows(query, LONG)?.into_iter().take(MOST);
        let fact = |row: Vec<String>| {
            let mut row = row.into_iter();
            Some((format!("database_size.{}", row.next()?), row.next()?))
        };
        Ok(rows.filter_map(fact).collect())
    }
}

/// What is left out of a data directory or tablespace, as patterns of whole paths.
#[must_use]
pub fn left_out(folder: &Path) -> Vec<String> {
    let folder = escaped(&folder.to_string_lossy());
    LEFT_OUT.iter().map(|pattern| format!("{folder}/{pattern}")).collect()
}

/// A path in which nothing stands for something else.
fn escaped(path: &str) -> String {
    let mut text = String::new();
    for c in path.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\' | '!' | '#' | ' ') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Where a server should be, without any password.
fn place_of(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(folder)) => folder.display().to_string(),
        None => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("the server at {host}, port {port}")
}

/// What to do about a server that lets nobody in, or is not there.
fn remedy(err: &str) -> &'static str {
    let is = |words: &[&str]| words.iter().any(|word| err.contains(word));
    if is(&["Connection refused", "No such file or directory", "timed out"]) {
        "; start the server, or correct host and port in the source's connection"
    } else if is(&["authentication failed", "pg_hba.conf"]) {
        "; correct user and password in the source's connection, or pg_hba.conf"
    } else if is(&["does not exist"]) {
        "; correct the source's connection"
    } else {
        ""
    }
}

fn socket_owner(config: &Config) -> Option<(u32, u32)> {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let Host::Unix(folder) = config.get_hosts().first()? else { return None };
    let meta = folder.join(format!(".s.PGSQL.{port}")).metadata().ok()?;
    Some((meta.uid(), meta.gid()))
}

/// Connects with the server's user as this thread's, where this is root and the server is not.
fn connect_as(config: &Config, owner: Option<(u32, u32)>) -> Result<Client, String> {
    let connect = || config.connect(NoTls).map_err(|err| chain(&err));
    let Some((uid, gid)) = owner.filter(|(uid, _)| geteuid().is_root() && *uid != 0) else {
        return connect();
    };
    let as_other = || {
        let become_ = |uid: Uid, gid: Gid| {
            rustix::thread::set_thread_res_gid(None, gid, None)
                .and_then(|()| rustix::thread::set_thread_res_uid(None, uid, None))
                .map_err(|err| format!("cannot act as user {}: {err}", uid.as_raw()))
        };
        // The thread ends with this: what it became concerns nobody else.
        become_(Uid::from_raw(uid), Gid::from_raw(gid))?;
        connect()
    };
    std::thread::scope(|scope| {
        scope.spawn(as_other).join().unwrap_or_else(|_| Err("the thread died".to_owned()))
    })
}

/// A server's error; of one that went away, what to do about it.
fn told(place: &str, err: &::postgres::Error) -> String {
    let ends = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW];
    let is_io = std::error::Error::source(err).is_some_and(|it| it.is::<std::io::Error>());
    match err.is_closed() || is_io || err.code().is_some_and(|code| ends.contains(code)) {
        true => format!(
            "{place}, ended the connection during the capture ({}); see the server's log, and start \
             it again where it is down",
            chain(err)
        ),
        false => chain(err),
    }
}

fn rows(client: &mut Client, place: &str, query: &str) -> Result<Vec<Vec<String>>, String> {
    let answer = client.simple_query(query).map_err(|err| told(place, &err))?;
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => {
            let text = |at| row.get(at).unwrap_or_default().to_owned();
            Some((0..row.len()).map(text).collect())
        }
        _ => None,
    };
    Ok(answer.into_iter().filter_map(row).collect())
}

/// A stretch of the write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Log {
    start: String,
    timeline: u32,
    first: u64,
    last: u64,
    /// Segments that share the upper half of a position.
    per_file: u64,
}

impl Log {
    /// From the start that the label states to `stop`, in segments of `size` bytes.
    fn of(label: &str, stop: &str, size: &str) -> Option<Self> {
        let size: u64 = size.parse().ok().filter(|size: &u64| size.is_power_of_two())?;
        let line = label.lines().find_map(|line| line.strip_prefix("START WAL LOCATION: "))?;
        let (start, file) = line.split_once(" (file ")?;
        let timeline = u32::from_str_radix(file.get(..8)?, 16).ok()?;
        let first = position(start)? / size;
        let last = position(stop)?.checked_sub(1)? / size;
        let per_file = (1_u64 << 32).checked_div(size).filter(|per| *per > 0)?;
        (first <= last).then(|| Self { start: start.to_owned(), timeline, first, last, per_file })
    }

    fn name(&self, segment: u64) -> String {
        let (high, low) = (segment / self.per_file, segment % self.per_file);
        format!("{:08X}{high:08X}{low:08X}", self.timeline)
    }

    /// The segments' files, and the timeline's history.
    fn files(&self, folder: &Path) -> Result<Vec<PathBuf>, String> {
        let mut files = Vec::new();
        for segment in self.first..=self.last {
            let file = folder.join(self.name(segment));
            if !file.exists() {
                return Err(format!(
                    "{} is gone before it was read; allow a replication slot (max_replication_slots) \
                     or raise wal_keep_size",
                    file.display()
                ));
            }
            files.push(file);
        }
        let history = folder.join(format!("{:08X}.history", self.timeline));
        files.extend(history.exists().then_some(history));
        Ok(files)
    }
}

/// A log position like `0/2000028` as a number.
fn position(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let part = |text| u32::from_str_radix(text, 16).ok().map(u64::from);
    Some(part(high)? << 32 | part(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "START WAL LOCATION: 1/FE000028 (file 0000000300000001000000FE)\n\
                        CHECKPOINT LOCATION: 1/FE000060\nSTART TIMELINE: 3\n";

    #[test]
    fn segments_from_start_to_stop_cross_the_upper_half() {
        let log = Log::of(TEXT, "2/1000100", "16777216").unwrap();
        let names: Vec<_> = (log.first..=log.last).map(|segment| log.name(segment)).collect();
        let expected = ["1000000FE", "1000000FF", "200000000", "200000001"];
        assert_eq!(names, expected.map(|end| format!("000000030000000{end}")));
        // A position at a segment's start belongs to what ends there.
        assert_eq!(Log::of(TEXT, "1/FF000000", "16777216").unwrap().last, log.first);
    }

    #[test]
    fn what_is_no_label_is_refused() {
        for (label, stop, size) in [
            ("", "0/1", "16777216"),
            (TEXT, "0/1", "16777216"),
            (TEXT, "2", "16777216"),
            (TEXT, "2/0", "0"),
            (TEXT, "2/0", "1000"),
            ("START WAL LOCATION: 0/0 (file é)", "2/0", "16777216"),
        ] {
            assert_eq!(Log::of(label, stop, size), None, "{label} {stop} {size}");
        }
    }

    #[test]
    fn missing_segments_are_told_with_the_remedy() {
        let temp = tempfile::tempdir().unwrap();
        let log = Log::of(TEXT, "1/FF000000", "16777216").unwrap();
        assert!(log.files(temp.path()).unwrap_err().contains("wal_keep_size"));
        for name in ["0000000300000001000000FE", "00000003.history"] {
            std::fs::write(temp.path().join(name), "").unwrap();
        }
        assert_eq!(log.files(temp.path()).unwrap().len(), 2);
    }

    #[test]
    fn paths_are_no_patterns() {
        assert_eq!(left_out(Path::new("/a[1]/*"))[0], "/a\\[1\\]/\\*/pg_wal/*");
    }
}
