//! A program's output as one file.

use std::sync::atomic::AtomicBool;

use crate::capture::{Ended, Program};
use crate::format::Source as Named;
use crate::ops::error::{OpError, Result};
use crate::ops::ingest::{Input, Stage, Stream};
use crate::strategy::file::Command;

use super::driver::{Driver, Told};
use super::failed;

/// A source of a command.
pub(super) struct Output<'a> {
    name: &'a str,
    command: &'a Command,
    interrupted: &'a AtomicBool,
    is_over: bool,
}

impl<'a> Output<'a> {
    pub(super) fn new(name: &'a str, command: &'a Command, interrupted: &'a AtomicBool) -> Self {
        Self { name, command, interrupted, is_over: false }
    }
}

impl<'a> Driver<'a> for Output<'a> {
    fn sources(&self) -> Result<Vec<Named>> {
        Ok(vec![Named { path: self.command.name.clone().into_bytes() }])
    }

    fn next(&mut self) -> Result<Option<Stage<'a>>> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(None);
        }
        let env = vec![("ICECORE_SOURCE".to_owned(), self.name.to_owned())];
        let timeout = self.command.timeout.map(|timeout| timeout.0);
        let program = Program { env, timeout, ..Program::new(self.command.run.argv()) };
        let name = self.command.name.clone().into_bytes();
        stage(self.name, &program, name, self.interrupted).map(Some)
    }

    fn told(&mut self) -> Option<Told> {
        let path = self.command.name.clone().into_bytes();
        Some(Told { method: "command", path, facts: Vec::new() })
    }
}

/// The stage that takes what a program writes. Where it fails there is no snapshot.
pub(super) fn stage<'a>(
    source: &str,
    program: &Program,
    name: Vec<u8>,
    interrupted: &'a AtomicBool,
) -> Result<Stage<'a>> {
    let mut running = program.start(true, interrupted).map_err(|what| failed(source, what))?;
    let output = running.output().ok_or(OpError::Panicked)?;
    let source = source.to_owned();
    let of = source.clone();
    let finish = move || match running.wait() {
        Ended::Well => Ok(()),
        Ended::Badly(what) => Err(format!("source {of}: {what}")),
    };
    let stream = Stream { name, reader: Box::new(output), finish: Box::new(finish) };
    Ok(Stage::new(source, Input::Stream(stream)))
}
