//! A PostgreSQL server as a source: its data directory, or dumps of its databases.

use std::collections::VecDeque;
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use crate::capture::Program;
use crate::capture::postgres::{Places, Server, Stopped, left_out};
use crate::format::Source as Named;
use crate::ops::error::Result;
use crate::ops::ingest::{Input, Stage, Stream};
use crate::strategy::file::Postgres;

use super::driver::{Driver, Told};
use super::{failed, program};

/// How long a dump waits for a table that someone has locked, as PostgreSQL writes it: it fails
/// then, and names the table.
const LOCK_WAIT: &str = "10min";

/// What is taken next.
enum Step {
    Start,
    /// The files were read.
    Stop,
    /// A file that the server made, below the data directory.
    Made(&'static str, String),
    Log,
    End,
}

/// A data directory in backup mode.
pub(super) struct Physical<'a> {
    name: &'a str,
    postgres: &'a Postgres,
    interrupted: &'a AtomicBool,
    /// The session, which lives until the log was read.
    server: Option<(Server<'a>, Places)>,
    stopped: Option<Stopped>,
    steps: VecDeque<Step>,
    /// Files of the log, to be looked for again once they were read.
    log: Vec<PathBuf>,
    told: Option<Told>,
}

impl<'a> Physical<'a> {
    pub(super) fn new(name: &'a str, postgres: &'a Postgres, interrupted: &'a AtomicBool) -> Self {
        let steps = VecDeque::from([Step::Start, Step::Stop]);
        let (server, stopped, log, told) = (None, None, Vec::new(), None);
        Self { name, postgres, interrupted, server, stopped, steps, log, told }
    }

    fn start(&mut self) -> Result<Stage<'a>, String> {
        let mut server = Server::connect(&self.postgres.connection, self.interrupted)?;
        let places = server.places()?;
        server.start()?;
        let mut paths = vec![places.data.clone()];
        paths.extend(places.further.iter().cloned());
        let excludes = paths.iter().filter(|path| path.is_dir()).flat_map(|path| left_out(path));
        let excludes = excludes.collect();
        self.server = Some((server, places));
        let stage = Stage::new(self.name, Input::Paths { base: None, paths });
        Ok(Stage { excludes, is_changing: true, ..stage })
    }

    fn stop(&mut self) -> Result<(), String> {
        let Some((server, places)) = &mut self.server else { return Ok(()) };
        let stopped = server.stop(places)?;
        self.steps.push_back(Step::Made("backup_label", stopped.label.clone()));
        if let Some(map) = &stopped.tablespaces {
            self.steps.push_back(Step::Made("tablespace_map", map.clone()));
        }
        self.steps.extend([Step::Log, Step::End]);
        self.told = Some(Told::at("postgres physical", &places.data, stopped.facts.clone()));
        self.stopped = Some(stopped);
        Ok(())
    }

    /// A file that the server gave as text.
    fn made(&self, name: &str, content: String) -> Option<Stage<'a>> {
        let (_, places) = self.server.as_ref()?;
        let path = places.data.join(name).as_os_str().as_bytes().to_vec();
        let reader = Box::new(Cursor::new(content.into_bytes()));
        let stream = Stream { name: path, reader, finish: Box::new(|| Ok(())) };
        let stage = Stage::new(self.name, Input::Stream(stream));
        Some(Stage { made_as: Some(places.made_as), ..stage })
    }

    fn log(&mut self) -> Option<Stage<'a>> {
        let paths = self.stopped.take()?.log;
        self.log.clone_from(&paths);
        let stage = Stage::new(self.name, Input::Paths { base: None, paths });
        Some(Stage { is_changing: true, ..stage })
    }
}

impl<'a> Driver<'a> for Physical<'a> {
    fn sources(&self) -> Result<Vec<Named>> {
        Ok(vec![Named { path: format!("postgres {}", self.name).into_bytes() }])
    }

    fn next(&mut self) -> Result<Option<Stage<'a>>> {
        while let Some(step) = self.steps.pop_front() {
            let stage = match step {
                Step::Start => Some(self.start().map_err(|what| failed(self.name, what))?),
                Step::Stop => {
                    self.stop().map_err(|what| failed(self.name, what))?;
                    None
                }
                Step::Made(name, content) => self.made(name, content),
                Step::Log => self.log(),
                Step::End => {
                    // Names of the log do not come back: what is there now was there all the time.
                    if let Some(gone) = self.log.iter().find(|file| !file.exists()) {
                        let what = format!(
                            "{} went while it was read; allow a replication slot \
                             (max_replication_slots)",
                            gone.display()
                        );
                        return Err(failed(self.name, what));
                    }
                    self.server = None;
                    None
                }
            };
            if stage.is_some() {
                return Ok(stage);
            }
        }
        Ok(None)
    }

    fn told(&mut self) -> Option<Told> {
        self.told.take()
    }
}

/// Dumps of databases, by the tools of PostgreSQL.
pub(super) struct Dumps<'a> {
    name: &'a str,
    postgres: &'a Postgres,
    interrupted: &'a AtomicBool,
    /// Names of files and what writes them; `None` before the server was asked.
    left: Option<VecDeque<(String, Program)>>,
    facts: Vec<(String, String)>,
}

impl<'a> Dumps<'a> {
    pub(super) fn new(name: &'a str, postgres: &'a Postgres, interrupted: &'a AtomicBool) -> Self {
        Self { name, postgres, interrupted, left: None, facts: Vec::new() }
    }

    fn ask(&mut self) -> Result<VecDeque<(String, Program)>, String> {
        let connection = &self.postgres.connection;
        let mut server = Server::connect(connection, self.interrupted)?;
        let databases = match self.postgres.databases.as_slice() {
            [] => server.database_names()?,
            named => named.to_vec(),
        };
        self.facts.push(("server_version".to_owned(), server.one("SHOW server_version")?));
        // What was committed before is in each dump.
        self.facts.push(("start_lsn".to_owned(), server.position()?));
        self.facts.extend(server.databases()?);
        self.facts.sort();
        let user = server.owner.filter(|_| rustix::process::geteuid().is_root());
        let env: Vec<_> = server.noticing().into_iter().collect();
        let run = |argv: Vec<String>| Program { user, env: env.clone(), ..Program::new(argv) };
        let globals = ["pg_dumpall", "--globals-only", "--no-password"].map(str::to_owned);
        let globals = globals.into_iter().chain([format!("--dbname={connection}")]);
        let mut left = VecDeque::from([("globals.sql".to_owned(), run(globals.collect()))]);
        for database in databases {
            let quoted = database.replace('\\', "\\\\").replace('\'', "\\'");
            let place = format!("--dbname={connection} dbname='{quoted}'");
            let argv = ["pg_dump", "--format=custom", "--compress=0", "--no-password"];
            let wait = format!("--lock-wait-timeout={LOCK_WAIT}");
            let argv = argv.map(str::to_owned).into_iter().chain([wait, place]).collect();
            left.push_back((file_name(&database), run(argv)));
        }
        Ok(left)
    }
}

/// What a database's dump is called: two databases never alike.
fn file_name(database: &str) -> String {
    format!("{}.dump", database.replace('%', "%25").replace('/', "%2F"))
}

impl<'a> Driver<'a> for Dumps<'a> {
    fn sources(&self) -> Result<Vec<Named>> {
        Ok(vec![Named { path: format!("postgres {}", self.name).into_bytes() }])
    }

    fn next(&mut self) -> Result<Option<Stage<'a>>> {
        if self.left.is_none() {
            self.left = Some(self.ask().map_err(|what| failed(self.name, what))?);
        }
        let Some((file, dump)) = self.left.as_mut().and_then(VecDeque::pop_front) else {
            return Ok(None);
        };
        let path = format!("{}/{file}", self.name).into_bytes();
        program::stage(self.name, &dump, path, self.interrupted).map(Some)
    }

    fn told(&mut self) -> Option<Told> {
        let (path, facts) = (self.name.as_bytes().to_vec(), std::mem::take(&mut self.facts));
        Some(Told { method: "postgres logical", path, facts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_of_different_databases_have_different_names() {
        let names = ["a/b", "a_b", "a%2Fb", "a%252Fb", "..", "."].map(file_name);
        assert_eq!(names[0], "a%2Fb.dump");
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
        assert!(names.iter().all(|name| !name.contains('/')));
    }
}
