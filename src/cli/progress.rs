//! Progress on a terminal: bytes, files, rate and time left, on standard error.
//!
//! There is one bar per process. [`above`] lets other lines through without tearing it.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::progress::Progress;
use crate::report::text;

static BAR: OnceLock<ProgressBar> = OnceLock::new();

/// Runs `write` with the bar out of the way, if there is one.
pub(crate) fn above<T>(write: impl FnOnce() -> T) -> T {
    match BAR.get() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// One line to standard error. That it cannot be written is nothing one could tell anybody.
pub(crate) fn talk(line: &str) {
    above(|| {
        let _ = writeln!(io::stderr(), "{line}");
    });
}

/// A question: what is typed stands in the same line.
pub(crate) fn prompt(question: &str) {
    above(|| {
        let _ = write!(io::stderr(), "{question}");
    });
}

const KNOWN: &str = "{spinner} {prefix} {binary_bytes} of {binary_total_bytes} · {msg} · \
                     {binary_bytes_per_sec} · {eta} left";
const UNKNOWN: &str = "{spinner} {prefix} {binary_bytes} · {msg} · {binary_bytes_per_sec}";

/// Watches one verb.
pub(crate) struct Bar {
    bar: Option<ProgressBar>,
    trouble_shown: bool,
    files_done: AtomicU64,
    files_expected: AtomicU64,
    troubles: AtomicU64,
}

impl Bar {
    /// `verb` leads the line, like `ingesting`. The bar itself needs a terminal; troubles are
    /// shown unless a JSON report lists them anyway.
    pub(crate) fn new(verb: &'static str, quiet: bool, json: bool) -> Self {
        let bar = (!quiet && !json && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner().with_prefix(verb).with_message("0 files");
            bar.set_style(style(UNKNOWN));
            bar.enable_steady_tick(Duration::from_millis(200));
            BAR.get_or_init(|| bar).clone()
        });
        let zero = || AtomicU64::new(0);
        Self {
            bar,
            trouble_shown: !json,
            files_done: zero(),
            files_expected: zero(),
            troubles: zero(),
        }
    }

    fn files(&self) -> String {
        let done = self.files_done.load(Ordering::Relaxed);
        match self.files_expected.load(Ordering::Relaxed) {
            expected if expected >= done && expected > 0 => {
                format!("{} of {}", text::number(done), text::count(expected, "file"))
            }
            _ => text::count(done, "file"),
        }
    }
}

/// The templates are constants, so a fallback is only what the type asks for.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Troubles shown while working; the report has all of them.
const TROUBLES_SHOWN: u64 = 20;

impl Progress for Bar {
    fn expect(&self, files: u64, bytes: u64) {
        self.files_expected.fetch_add(files, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            if bar.length().is_none() {
                bar.set_style(style(KNOWN));
                bar.set_length(bytes);
            } else {
                bar.inc_length(bytes);
            }
        }
    }

    fn done(&self, files: u64, bytes: u64) {
        self.files_done.fetch_add(files, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            if files > 0 {
                bar.set_message(self.files());
            }
            bar.inc(bytes);
        }
    }

    fn trouble(&self, path: &[u8], what: &str) {
        let count = self.troubles.fetch_add(1, Ordering::Relaxed);
        match count {
            _ if !self.trouble_shown => {}
            ..TROUBLES_SHOWN => talk(&format!("icecore: {}: {what}", text::escaped(path))),
            TROUBLES_SHOWN => talk("icecore: more troubles follow, they are not shown"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_valid() {
        for template in [KNOWN, UNKNOWN] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn files_are_counted_against_what_is_expected() {
        let bar = Bar::new("testing", true, true);
        bar.done(1, 0);
        assert_eq!(bar.files(), "1 file");
        bar.expect(1200, 5);
        assert_eq!(bar.files(), "1 of 1,200 files");
        bar.done(5000, 0);
        assert_eq!(bar.files(), "5,001 files");
    }
}
