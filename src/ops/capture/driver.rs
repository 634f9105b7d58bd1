//! What every kind of source can do.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use std::os::unix::ffi::OsStrExt;

use crate::clock;
use crate::format::{Capture, Source as Named, Time};
use crate::ops::error::Result;
use crate::ops::ingest::Stage;
use crate::strategy::file::{Preset, Source};

use super::files::Files;
use super::postgres::{Dumps, Physical};
use super::program::Output;
use super::redis::Server;

/// Gives the stages of one source.
pub(super) trait Driver<'a> {
    /// What the snapshot names as its sources for it; the same each time.
    fn sources(&self) -> Result<Vec<Named>>;

    /// The next stage; everything of the one before was read. `None` after the last.
    fn next(&mut self) -> Result<Option<Stage<'a>>>;

    /// How it went, once the last stage is over: method, path, facts. `None` where the captures of
    /// the databases in it tell all.
    fn told(&mut self) -> Option<Told>;
}

/// What a driver tells of its capture.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) method: &'static str,
    /// In the snapshot, without the leading `/`.
    pub(super) path: Vec<u8>,
    pub(super) facts: Vec<(String, String)>,
}

impl Told {
    /// Of a path of this machine.
    pub(super) fn at(method: &'static str, path: &Path, facts: Vec<(String, String)>) -> Self {
        let bytes = path.as_os_str().as_bytes();
        let path = bytes.strip_prefix(b"/").unwrap_or(bytes).to_vec();
        Self { method, path, facts }
    }
}

/// A source that is being captured.
pub(super) struct Member<'a> {
    pub(super) name: &'a str,
    pub(super) driver: Box<dyn Driver<'a> + 'a>,
    started: Option<Time>,
}

impl<'a> Member<'a> {
    /// A source that is no group, as a member of one with this preset where there is one.
    pub(super) fn new(
        name: &'a str,
        source: &'a Source,
        preset: Option<Preset>,
        interrupted: &'a AtomicBool,
    ) -> Self {
        let driver: Box<dyn Driver<'a> + 'a> = if let Some(server) = &source.postgres {
            match server.method {
                crate::strategy::file::PostgresMethod::Physical => {
                    Box::new(Physical::new(name, server, interrupted))
                }
                crate::strategy::file::PostgresMethod::Logical => {
                    Box::new(Dumps::new(name, server, interrupted))
                }
            }
        } else if let Some(server) = &source.redis {
            Box::new(Server::new(name, server, interrupted))
        } else if let Some(command) = &source.command {
            Box::new(Output::new(name, command, interrupted))
        } else if source.sqlite.is_empty() {
            Box::new(Files::new(name, &source.paths, preset))
        } else {
            Box::new(Files::databases(name, &source.sqlite))
        };
        Self { name, driver, started: None }
    }

    pub(super) fn next(&mut self) -> Result<Option<Stage<'a>>> {
        self.started.get_or_insert_with(clock::now);
        self.driver.next()
    }

    /// The record of its capture, which is over now.
    pub(super) fn record(&mut self) -> Option<Capture> {
        let ended = clock::now();
        let started = self.started.unwrap_or(ended);
        let Told { method, path, facts } = self.driver.told()?;
        let (source, method) = (self.name.to_owned(), method.to_owned());
        Some(Capture { source, method, path, started, ended, facts })
    }
}
