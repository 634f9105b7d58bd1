//! SQLite databases among the files: which of them need not be captured again, and what is left
//! out beside them.
//!
//! A captured database is stored under its own metadata, but its pages may come from its log. So
//! attributes alone do not tell whether it is unchanged: the snapshot's record of the capture keeps
//! the size of the main file and the state of the log, and both must be as they were. A database
//! without such a record counts as unchanged only while it has no log.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use crate::capture::sqlite;
use crate::format::{Capture, ChunkClass, Content, File, Snapshot, Time, limits};
use crate::localfs::{Dir, Found};
use crate::sync::lock;

use super::ticket::Ticket;

/// What the record of a capture says by.
pub(super) const METHOD: &str = "sqlite";
/// What it says of a file that SQLite calls no database, and that is stored as it is.
pub(super) const AS_FILE: &str = "sqlite as file";
/// Why.
const REASON: &str = "reason";
const FILE_SIZE: &str = "file_size";
const LOG: &str = "wal";

/// Records that are left to sources of the strategy.
const SOURCES_RESERVE: usize = 200;

/// The captures of databases that a snapshot tells of, those of the parent and the new ones.
#[derive(Debug, Default)]
pub(super) struct Databases {
    before: HashMap<Vec<u8>, Capture>,
    /// Paths that the parent lists troubles of.
    troubled: HashSet<Vec<u8>>,
    taken: Mutex<Vec<Capture>>,
}

impl Databases {
    pub(super) fn new(parent: Option<&Snapshot>) -> Self {
        let captures = parent.iter().flat_map(|parent| &parent.captures);
        let databases =
            captures.filter(|capture| [METHOD, AS_FILE].contains(&capture.method.as_str()));
        let before = databases.map(|capture| (capture.path.clone(), capture.clone())).collect();
        let troubles = parent.iter().flat_map(|parent| &parent.troubles);
        let troubled = troubles.map(|trouble| below_root(&trouble.path).to_vec()).collect();
        Self { before, troubled, taken: Mutex::default() }
    }

    /// The parent's record of the database at this path.
    pub(super) fn before(&self, path: &[u8]) -> Option<&Capture> {
        if self.before.is_empty() { None } else { self.before.get(below_root(path)) }
    }

    /// Whether the parent could not take what is at this path as it should: it is tried again.
    pub(super) fn was_troubled(&self, path: &[u8]) -> bool {
        !self.troubled.is_empty() && self.troubled.contains(below_root(path))
    }

    /// A database that is as the parent snapshot has it: so it was just seen, and that is when.
    pub(super) fn keep(&self, record: &Capture, source: &str) {
        let (source, now) = (source.to_owned(), crate::clock::now());
        self.add(Capture { source, started: now, ended: now, ..record.clone() });
    }

    /// A database that was captured.
    pub(super) fn take(&self, source: &str, path: &[u8], taken: Taken) {
        self.record(source, METHOD, path, taken);
    }

    /// A file that begins like a database and is none, stored as it is.
    pub(super) fn take_as_file(&self, source: &str, path: &[u8], reason: String, taken: Taken) {
        let facts = vec![(REASON.to_owned(), reason)];
        self.record(source, AS_FILE, path, Taken { facts, ..taken });
    }

    fn record(&self, source: &str, method: &str, path: &[u8], taken: Taken) {
        let Taken { started, ended, size, log, mut facts } = taken;
        facts.push((FILE_SIZE.to_owned(), size.to_string()));
        facts.push((LOG.to_owned(), log));
        facts.sort();
        let (source, method) = (source.to_owned(), method.to_owned());
        let path = below_root(path).to_vec();
        self.add(Capture { source, method, path, started, ended, facts });
    }

    /// One that could not be captured: what an earlier stage told is not what is stored.
    pub(super) fn fail(&self, path: &[u8]) {
        lock(&self.taken).retain(|capture| capture.path != below_root(path));
    }

    fn add(&self, capture: Capture) {
        let mut taken = lock(&self.taken);
        // One that is not recorded is captured again next time.
        if taken.len() < limits::CAPTURES_MAX - SOURCES_RESERVE {
            taken.push(capture);
        }
    }

    /// All records, by path. A later stage's replaces an earlier one's.
    pub(super) fn records(&self) -> Vec<Capture> {
        let mut all: Vec<_> = lock(&self.taken).iter().rev().cloned().collect();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all.dedup_by(|a, b| a.path == b.path);
        all
    }
}

/// What a capture gave.
pub(super) struct Taken {
    pub(super) started: Time,
    pub(super) ended: Time,
    /// Of the main file, in bytes.
    pub(super) size: u64,
    /// State of the log before.
    pub(super) log: String,
    pub(super) facts: Vec<(String, String)>,
}

fn below_root(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"/").unwrap_or(path)
}

/// Whether the snapshot has the database itself, so that nothing beside the file belongs to it.
pub(super) fn is_whole(record: &Capture) -> bool {
    record.method == METHOD
}

/// Whether a stored file may be a database, by what its node says.
pub(super) fn may_be_database(file: &File) -> bool {
    match &file.content {
        Content::Inline(bytes) => bytes.starts_with(sqlite::MAGIC),
        Content::Extents { .. } => file.class == ChunkClass::Database,
    }
}

/// Whether the main file and the log are as the record says.
pub(super) fn is_as_recorded(record: &Capture, dir: &Dir, name: &[u8], found: &Found) -> bool {
    let fact = |name: &str| record.facts.iter().find(|(fact, _)| fact == name);
    fact(FILE_SIZE).is_some_and(|(_, size)| *size == found.size.to_string())
        && fact(LOG).is_some_and(|(_, log)| *log == sqlite::log_state(dir, name))
}

/// A file that others may belong to: names that begin with its own follow it in the listing.
struct Main {
    name: Vec<u8>,
    state: State,
}

/// What is known of it.
#[derive(Clone)]
pub(super) enum State {
    /// It is as in the parent snapshot, where it was captured.
    Captured,
    /// It is being read.
    Reading(Ticket),
}

/// The files of a directory that may still prove to be databases with files beside them.
#[derive(Default)]
pub(super) struct Mains(Vec<Main>);

impl Mains {
    /// Forgets those that no further name begins with. Names come in ascending order.
    pub(super) fn pass(&mut self, name: &[u8]) {
        while self.0.last().is_some_and(|main| !name.starts_with(&main.name)) {
            self.0.pop();
        }
    }

    /// Remembers a file.
    pub(super) fn add(&mut self, name: &[u8], state: State) {
        self.0.push(Main { name: name.to_vec(), state });
    }

    /// The file that this one lies beside, if it is named like a log or journal of it.
    pub(super) fn of(&self, name: &[u8]) -> Option<State> {
        if self.0.is_empty() {
            return None;
        }
        let main = sqlite::main_of(name)?;
        self.0.iter().find(|known| known.name == main).map(|known| known.state.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mains_are_found_between_names_and_forgotten_behind_them() {
        let mut mains = Mains::default();
        for name in [&b"a"[..], b"a.db"] {
            mains.pass(name);
            mains.add(name, State::Captured);
        }
        mains.pass(b"a.db!");
        mains.add(b"a.db!", State::Captured);
        mains.pass(b"a.db-wal");
        assert!(mains.of(b"a.db-wal").is_some() && mains.of(b"a.db-shm").is_some());
        assert!(mains.of(b"a.db-walx").is_none() && mains.of(b"b.db-wal").is_none());
        assert_eq!(mains.0.len(), 2);
        mains.pass(b"b");
        assert!(mains.0.is_empty());
    }

    #[test]
    fn the_last_record_of_a_path_counts() {
        let databases = Databases::default();
        let zero = Time { secs: 0, nanos: 0 };
        for (path, log) in [(&b"/b"[..], "1"), (b"/a", "2"), (b"/b", "3")] {
            let log = log.to_owned();
            let taken = Taken { started: zero, ended: zero, size: 1, log, facts: Vec::new() };
            databases.take("", path, taken);
        }
        let records = databases.records();
        let told: Vec<_> =
            records.iter().map(|r| (r.path.as_slice(), r.facts[1].1.as_str())).collect();
        assert_eq!(told, [(&b"a"[..], "2"), (b"b", "3")]);
    }
}
