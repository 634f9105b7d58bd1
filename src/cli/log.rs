//! Where the library's log lines go: standard error, above the progress bar.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::progress;

/// Starts logging. `ICECORE_LOG` (a filter of `tracing-subscriber`, like `debug` or
/// `icecore::repo=trace`) outdoes the flags.
pub(crate) fn start(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let filter = EnvFilter::try_from_env("ICECORE_LOG")
        .unwrap_or_else(|_| EnvFilter::new("warn").add_directive(level.into()));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| AboveProgress)
        .with_target(verbose > 1)
        .with_ansi(io::stderr().is_terminal())
        .without_time()
        .finish();
    // Only a second call fails, and then the first one logs.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Standard error, with the progress bar out of the way.
struct AboveProgress;

impl Write for AboveProgress {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        progress::above(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
