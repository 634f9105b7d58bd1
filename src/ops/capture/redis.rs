//! A Redis server as a source.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use crate::capture::redis as server;
use crate::capture::undo::Owner;
use crate::format::Source as Named;
use crate::ops::error::Result;
use crate::ops::ingest::{Input, Stage};
use crate::strategy::file::Redis;

use super::driver::{Driver, Told};
use super::failed;

/// So often the log is taken again when the server replaced it meanwhile.
const TRIES: u32 = 3;

/// A server that is being captured.
pub(super) struct Server<'a> {
    name: &'a str,
    redis: &'a Redis,
    interrupted: &'a AtomicBool,
    server: Option<server::Server>,
    saved: Option<server::Saved>,
    tries: u32,
}

impl<'a> Server<'a> {
    pub(super) fn new(name: &'a str, redis: &'a Redis, interrupted: &'a AtomicBool) -> Self {
        Self { name, redis, interrupted, server: None, saved: None, tries: 0 }
    }

    fn owner(&self) -> Owner {
        Owner::new(self.name, &format!("auto-aof-rewrite-percentage at {}", self.redis.address))
    }

    fn prepared(&mut self) -> Result<Option<server::Saved>, String> {
        let mut server = match self.server.take() {
            Some(server) => server,
            None => {
                let file = self.redis.password_file.as_ref().map(PathBuf::from);
                server::Server::connect(&self.redis.address, file.as_deref())?
            }
        };
        if self.saved.is_some() && server.is_settled()? {
            return Ok(None);
        }
        if self.tries == TRIES {
            return Err("the server rewrites its log all the time".to_owned());
        }
        self.tries += 1;
        let saved = server.prepare(&self.owner(), self.interrupted)?;
        self.server = Some(server);
        Ok(Some(saved))
    }
}

impl<'a> Driver<'a> for Server<'a> {
    fn sources(&self) -> Result<Vec<Named>> {
        Ok(vec![Named { path: format!("redis {}", self.redis.address).into_bytes() }])
    }

    fn next(&mut self) -> Result<Option<Stage<'a>>> {
        let Some(saved) = self.prepared().map_err(|what| failed(self.name, what))? else {
            return Ok(None);
        };
        let input = Input::Paths { base: None, paths: saved.paths.clone() };
        self.saved = Some(saved);
        Ok(Some(Stage { is_changing: true, ..Stage::new(self.name, input) }))
    }

    fn told(&mut self) -> Option<Told> {
        let saved = self.saved.take()?;
        let path = saved.paths.first()?;
        Some(Told::at(saved.method, path, saved.facts))
    }
}
