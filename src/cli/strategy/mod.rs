//! `icecore strategy`.

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
  icecore strategy check --file /etc/icecore/icecore.toml --json")]
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
    /// Reads the file; what its grammar forbids is an error.
    pub(crate) fn read(&self) -> Result<File, CliError> {
        let text = read_text(&self.path)?;
        File::parse(&text).map_err(|err| {
            CliError::failed(format!("{}: {}", self.path.display(), err.trim_end()))
                .hint("icecore.toml(5) lists every key")
        })
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
        }
    }
}

impl Check {
    fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let strategy = self.file.read()?;
        let problems = file::check(&strategy);
        let errors = problems.iter().filter(|problem| !problem.is_warning).count();
        let explained = explain::explain(&strategy, clock::now(), &zone_of(&strategy));
        cx.data(
            || {
                json!({
                    "file": self.file.path.display().to_string(),
                    "problems": problems.iter().map(problem_json).collect::<Vec<_>>(),
                    "sources": explained.iter().map(explain::Explained::json).collect::<Vec<_>>(),
                })
            },
            || {
                let lines = problems.iter().map(problem_line).collect::<String>();
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

fn problem_json(problem: &Problem) -> Value {
    let Problem { at, what, is_warning } = problem;
    json!({ "at": at, "what": what, "severity": if *is_warning { "warning" } else { "error" } })
}

fn problem_line(problem: &Problem) -> String {
    let kind = if problem.is_warning { "warning" } else { "error" };
    format!("{kind}: {}: {}\n", problem.at, problem.what)
}
