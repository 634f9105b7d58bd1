//! `icecore strategy`.

mod coverage;
mod explain;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::clock;
use crate::report::text;
use crate::strategy::file::{self, Problem, Strategy as File};

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;

/// Longest strategy file that is read, in bytes.
const FILE_MAX: u64 = 16 << 20;

/// Check and explain the strategy file
///
/// The strategy file, icecore.toml(5), says what is backed up how often, kept how long, copied
/// where, and drilled when.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore strategy check
  icecore strategy check --file /etc/icecore/icecore.toml --json
  icecore strategy coverage /home")]
pub(crate) struct Strategy {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say what is wrong with the file, and what it means
    ///
    /// Keys that are not known are errors, and so are names that name nothing. Warnings are about
    /// what can be carried out but cannot keep its promises, like three copies in two repositories.
    /// The exit code is 1 when there is an error.
    Check(Check),

    /// Name what no source covers
    ///
    /// Looks through the folders that the file declares as assets, and names the highest folders
    /// and files that no source takes, and what of it looks like an asset: model weights, SQLite and
    /// DuckDB databases, Parquet, Arrow, Delta and Iceberg tables, data of PostgreSQL, MySQL, Redis
    /// and RocksDB, MLflow stores, Lance datasets. PostgreSQL and Redis servers of the file are asked
    /// where they keep theirs. The exit code is 4 when there is any.
    Coverage(coverage::Coverage),
}

#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    file: FileOption,
}

/// Which strategy file.
#[derive(Debug, Clone, Args)]
pub(crate) struct FileOption {
    /// The strategy file
    #[arg(
        long = "file",
        value_name = "FILE",
        env = "ICECORE_STRATEGY",
        default_value = "/etc/icecore/icecore.toml"
    )]
    path: PathBuf,
}

impl FileOption {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file; what keeps it from being carried out is an error.
    pub(crate) fn read_sound(&self) -> Result<File, CliError> {
        let (text, strategy) = self.read_with_text()?;
        let problems = file::check(&strategy);
        match problems.iter().find(|problem| !problem.is_warning) {
            None => Ok(strategy),
            Some(Problem { at, what, .. }) => {
                let line = line(&text, at);
                Err(CliError::failed(format!("{}: {line}{at}: {what}", self.path.display()))
                    .hint("`icecore strategy check` lists all that is wrong"))
            }
        }
    }

    /// Reads the file; what its grammar forbids is an error.
    pub(crate) fn read(&self) -> Result<File, CliError> {
        Ok(self.read_with_text()?.1)
    }

    /// The same, with the text, which tells the lines of what is wrong.
    fn read_with_text(&self) -> Result<(String, File), CliError> {
        let text = read_text(&self.path)?;
        let strategy = File::parse(&text).map_err(|err| {
            CliError::failed(format!("{}: {}", self.path.display(), err.trim_end()))
                .hint("icecore.toml(5) lists every key")
        })?;
        Ok((text, strategy))
    }
}

fn read_text(path: &Path) -> Result<String, CliError> {
    let fail = |err: std::io::Error| {
        CliError::failed(format!("cannot read {}: {err}", path.display()))
            .hint("name the strategy file with --file or ICECORE_STRATEGY")
    };
    let len = fs::metadata(path).map_err(fail)?.len();
    if len > FILE_MAX {
        let what = format!("{} has {len} bytes; that is no strategy file", path.display());
        return Err(CliError::failed(what));
    }
    fs::read_to_string(path).map_err(fail)
}

impl Strategy {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        match self.action {
            Action::Check(check) => check.run(cx),
            Action::Coverage(coverage) => coverage.run(cx),
        }
    }
}

impl Check {
    fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let (text_of_file, strategy) = self.file.read_with_text()?;
        let problems = file::check(&strategy);
        let errors = problems.iter().filter(|problem| !problem.is_warning).count();
        let explained = explain::explain(&strategy, clock::now(), &zone_of(&strategy));
        cx.data(
            || {
                json!({
                    "file": self.file.path.display().to_string(),
                    "problems": problems.iter().map(|it| problem_json(&text_of_file, it)).collect::<Vec<_>>(),
                    "sources": explained.iter().map(explain::Explained::json).collect::<Vec<_>>(),
                })
            },
            || {
                let lines = problems.iter().map(|it| problem_line(&text_of_file, it)).collect::<String>();
                let tail = match (errors, problems.len()) {
                    (0, 0) => "\nthe strategy is sound\n".to_owned(),
                    (0, warnings) => format!("\n{}\n", text::count(warnings as u64, "warning")),
                    (errors, _) => format!("\n{}\n", text::count(errors as u64, "error")),
                };
                format!("{}\n{lines}{tail}", explain::table(&explained)).trim_start().to_owned()
            },
        )?;
        Ok(if errors == 0 { Exit::Done } else { Exit::Failed })
    }
}

/// The zone that schedules are read in: the file's, else the system's.
pub(crate) fn zone_of(strategy: &File) -> TimeZone {
    let named = strategy.time_zone.as_ref().and_then(|name| TimeZone::get(name).ok());
    named.unwrap_or_else(TimeZone::system)
}

fn problem_json(text: &str, problem: &Problem) -> Value {
    let Problem { at, what, is_warning } = problem;
    let severity = if *is_warning { "warning" } else { "error" };
    json!({ "at": at, "line": file::line_of(text, at), "what": what, "severity": severity })
}

fn problem_line(text: &str, problem: &Problem) -> String {
    let kind = if problem.is_warning { "warning" } else { "error" };
    format!("{kind}: {}{}: {}\n", line(text, &problem.at), problem.at, problem.what)
}

/// Where a key stands, before what is said of it; nothing where that is not known.
fn line(text: &str, at: &str) -> String {
    file::line_of(text, at).map_or_else(String::new, |line| format!("line {line}: "))
}
