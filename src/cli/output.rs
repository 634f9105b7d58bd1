//! Standard output: data for the next program, through one locked and buffered writer.
//!
//! Whoever reads may stop early (`icecore ls | head`): a closed pipe is no error. It ends a
//! stream, and a report that nobody reads changes no exit code.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use crate::report::text::escaped;

/// Writing to standard output failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(crate) struct OutputError(#[source] io::Error);

impl OutputError {
    /// Whether the reader went away.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Room of the buffer: a few hundred lines, or a quarter of a block.
const BUFFER_BYTES: usize = 128 << 10;

/// The one way to standard output.
pub(crate) struct Output {
    writer: BufWriter<StdoutLock<'static>>,
    terminal: bool,
}

impl Output {
    /// Locks standard output for the rest of the run.
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Self { writer: BufWriter::with_capacity(BUFFER_BYTES, stdout.lock()), terminal }
    }

    /// A name or path: as it is for a program, escaped on a terminal, so that it cannot repaint it.
    pub(crate) fn name(&mut self, name: &[u8]) -> Result<(), OutputError> {
        if self.terminal { self.write(escaped(name).as_bytes()) } else { self.write(name) }
    }

    /// Part of a stream. An error of a closed pipe must go up: it ends the stream quietly.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        self.writer.write_all(bytes).map_err(OutputError)
    }

    /// A whole report; that nobody reads it is no error.
    pub(crate) fn report(&mut self, text: &str) -> Result<(), OutputError> {
        let written = self.write(text.as_bytes()).and_then(|()| self.finish());
        match written {
            Err(err) if err.is_closed_pipe() => Ok(()),
            written => written,
        }
    }

    /// A JSON document or line.
    pub(crate) fn json(&mut self, value: &serde_json::Value) -> Result<(), OutputError> {
        self.write(format!("{value}\n").as_bytes())
    }

    /// Hands over what is still in the buffer.
    pub(crate) fn finish(&mut self) -> Result<(), OutputError> {
        self.writer.flush().map_err(OutputError)
    }
}
