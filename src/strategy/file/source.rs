//! Sources of the strategy file: what is captured, how, when, and how long it is kept.

use serde::Deserialize;

use super::Targets;
use super::value::{Span, Words};

/// One source: exactly one of `paths`, `sqlite`, `postgres`, `redis`, `command` and `group`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Source {
    /// Files and folders, absolute. SQLite databases among them are found by their first bytes and
    /// captured through SQLite.
    #[serde(default)]
    pub paths: Vec<String>,
    /// SQLite databases, captured by the online backup interface.
    #[serde(default)]
    pub sqlite: Vec<String>,
    /// A PostgreSQL server.
    pub postgres: Option<Postgres>,
    /// A Redis server.
    pub redis: Option<Redis>,
    /// A program whose output is the file.
    pub command: Option<Command>,
    /// Other sources, captured in order.
    pub group: Option<Group>,

    /// The repository; needed where there are several.
    pub repository: Option<String>,
    /// Repositories that get a copy of each snapshot.
    #[serde(default)]
    pub replicas: Vec<String>,
    /// Start this long after the last start.
    pub every: Option<Span>,
    /// Start when this calendar expression of systemd.time(7) says so.
    pub calendar: Option<String>,
    /// How much may be lost: the newest snapshot is never older.
    pub rpo: Option<Span>,
    /// Which snapshots stay.
    pub keep: Option<Keep>,
    /// Tags of the snapshots.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Patterns of what is left out, as gitignore writes them.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Commands around the capture.
    #[serde(default)]
    pub hooks: Hooks,
    /// What differs from the file's targets.
    #[serde(default)]
    pub targets: Targets,
}

/// Commands around a capture.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Hooks {
    /// Before; when it fails nothing is captured.
    pub before: Option<Words>,
    /// After, whatever happened.
    pub after: Option<Words>,
    /// After a failure.
    pub on_failure: Option<Words>,
    /// Each is stopped after so long; 10 minutes where nothing is said.
    pub timeout: Option<Span>,
}

/// Retention in the words of `icecore forget`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Keep {
    /// The newest so many.
    pub last: u64,
    /// The newest of so many minutes.
    pub minutely: u64,
    /// The newest of so many hours.
    pub hourly: u64,
    /// The newest of so many days.
    pub daily: u64,
    /// The newest of so many weeks.
    pub weekly: u64,
    /// The newest of so many months.
    pub monthly: u64,
    /// The newest of so many quarters.
    pub quarterly: u64,
    /// The newest of so many years.
    pub yearly: u64,
    /// All within this span of the calendar: `30d`, `1y6m`.
    pub within: Option<String>,
    /// Those with one of these tags.
    pub tags: Vec<String>,
}

/// A PostgreSQL server on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Postgres {
    /// How to connect, as libpq reads it: `host=/run/postgresql port=5432 user=postgres`.
    #[serde(default)]
    pub connection: String,
    /// How to capture; physical where nothing is said.
    #[serde(default)]
    pub method: PostgresMethod,
    /// The databases of a logical capture.
    #[serde(default)]
    pub databases: Vec<String>,
}

impl Postgres {
    /// Whether the connection names a database: `dbname=…` in its words, or the path of its URL.
    #[must_use]
    pub fn names_database(&self) -> bool {
        let connection = self.connection.trim();
        let url =
            ["postgres://", "postgresql://"].iter().find_map(|it| connection.strip_prefix(it));
        if let Some(url) = url {
            let (place, options) = url.split_once('?').unwrap_or((url, ""));
            let named = options.split('&').filter_map(|it| it.strip_prefix("dbname="));
            return place.split_once('/').is_some_and(|(_, name)| !name.is_empty())
                || named.into_iter().any(|name| !name.is_empty());
        }
        let names = connection.match_indices("dbname").filter(|(at, word)| {
            let (before, after) = (connection.get(..*at), connection.get(at + word.len()..));
            before.is_some_and(|it| it.is_empty() || it.ends_with(char::is_whitespace))
                && after.is_some_and(|it| it.trim_start().starts_with('='))
        });
        names.count() > 0
    }
}

/// How PostgreSQL is captured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PostgresMethod {
    /// The data directory between `pg_backup_start` and `pg_backup_stop`, with the log between them:
    /// a server starts on it as it is.
    #[default]
    Physical,
    /// `pg_dump` of each database.
    Logical,
}

/// A Redis server on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Redis {
    /// A socket's path, or `host:port`.
    #[serde(default = "redis_default")]
    pub address: String,
    /// A file with the password.
    pub password_file: Option<String>,
}

fn redis_default() -> String {
    "127.0.0.1:6379".into()
}

/// A program whose standard output is captured as one file. When it fails there is no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Command {
    /// What is run.
    pub run: Words,
    /// The file's name in the snapshot.
    pub name: String,
    /// It is stopped, and the capture fails, after so long.
    pub timeout: Option<Span>,
}

/// Other sources that belong together, captured one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Group {
    /// Names of sources, in the order of their capture.
    pub members: Vec<String>,
    /// What kind of store they are together, which sets checks after the capture.
    pub preset: Option<Preset>,
    /// Stops writers before the first member; [`Self::thaw`] always follows.
    pub freeze: Option<Words>,
    /// Lets writers go on after the last member.
    pub thaw: Option<Words>,
}

/// Stores whose parts must be captured in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Tracking database first, artifacts after.
    Mlflow,
    /// `_versions` first, data after; every file that a version names must be there.
    Lance,
    /// Registry first, offline store after.
    Feast,
}
