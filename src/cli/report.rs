//! `icecore report`.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::report::json::document;
use crate::report::overview::{Overview, html, prometheus};
use crate::strategy::comply::{Compliance, comply, faults};
use crate::units::parse_age;

use super::context::Context;
use super::error::{CliError, talk_error};
use super::exit::Exit;
use super::places::{HostOption, Places};
use super::strategy::FileOption;

/// Readable by all: nothing secret stands in a report, and whoever collects metrics is another user.
const MODE: u32 = 0o644;

/// Write what complies with the strategy, and how it came to be so
///
/// One page of HTML that needs nothing else and prints well: targets and what evidence shows, the age
/// of the newest snapshots and the time of restores against their targets, sizes, verification, each
/// drill with its evidence, and what failed. --json FILE has all of it for programs, --prometheus the
/// figures of now for node_exporter's textfile collector. Files are replaced at once, whole. One that
/// cannot be written keeps no other from being written; the exit code is 1 then.
///
/// Without any of them the JSON goes to standard output. The exit code is 0 also where targets are
/// missed: icecore status is the command that tells.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore report --html /var/www/backups.html --since 1y
  icecore report --json /srv/backups.json
  icecore report --prometheus /var/lib/prometheus/node-exporter/icecore.prom")]
pub(crate) struct Report {
    #[command(flatten)]
    file: FileOption,

    /// Write the page there
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write everything as JSON there; --json FILE does the same
    #[arg(long = "json-file", value_name = "FILE")]
    json_file: Option<PathBuf>,

    /// With --json: write everything as JSON there
    #[arg(value_name = "FILE", conflicts_with = "json_file")]
    json_to: Option<PathBuf>,

    /// Write the figures in Prometheus' text format there
    #[arg(long, value_name = "FILE")]
    prometheus: Option<PathBuf>,

    /// How far back histories go
    #[arg(long, value_name = "AGE", value_parser = parse_age, default_value = "90d")]
    #[arg(allow_hyphen_values = true)]
    since: Duration,

    #[command(flatten)]
    host: HostOption,
}

impl Report {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        if let Some(path) = self.json_to.as_ref().filter(|_| !cx.global.json) {
            let what = format!("what is to be written to {}?", path.display());
            return Err(CliError::usage(what)
                .hint("name it with --html, --json or --prometheus")
                .into());
        }
        let strategy = self.file.read_sound()?;
        let places = Places::open(cx, &strategy);
        let evidence = places.evidence(self.host.name());
        let judged = comply(&strategy, &evidence);
        let faults = faults(&strategy, &evidence);
        for fault in &faults {
            talk_error(&format!("repository {}: {}", fault.repository, fault.what));
        }
        let file = self.file.path().display().to_string();
        let overview = Overview {
            file: &file,
            strategy: &strategy,
            evidence: &evidence,
            judged: &judged,
            faults: &faults,
            since: self.since,
        };
        let mut outputs = Vec::new();
        if let Some(path) = &self.html {
            outputs.push((path, html(&overview).context("the page cannot be made")?));
        }
        if let Some(path) = self.json_file.as_ref().or(self.json_to.as_ref()) {
            outputs.push((path, format!("{}\n", document(overview.json()))));
        }
        if let Some(path) = &self.prometheus {
            outputs.push((path, prometheus(&overview)));
        }
        if outputs.is_empty() {
            cx.out.report(&format!("{}\n", document(overview.json())))?;
            return Ok(Exit::Done);
        }
        // One that cannot be written keeps no other from being written.
        let (mut paths, mut failed) = (Vec::new(), Vec::new());
        for (path, text) in outputs {
            match write(path, text.as_bytes()) {
                Ok(()) => paths.push(path.display().to_string()),
                Err(err) => failed.push(err),
            }
        }
        let missed: usize = judged.iter().map(|it: &Compliance| it.missed().len()).sum();
        cx.report(
            || json!({ "written": paths, "missed": missed }),
            || paths.iter().map(|path| format!("wrote {path}\n")).collect(),
        )?;
        match CliError::all(failed) {
            Some(err) => Err(err.into()),
            None => Ok(Exit::Done),
        }
    }
}

/// Replaces the file at once: who reads it sees the old or the new one, whole. A link stays, and
/// what is no file, as `/dev/stdout`, is written to.
fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let is_special = ["/dev", "/proc"].iter().any(|it| path.starts_with(it));
    let known = fs::metadata(path);
    let written = match &known {
        Ok(meta) if meta.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(meta) if is_special || !meta.is_file() => {
            File::options().write(true).open(path).and_then(|mut file| file.write_all(bytes))
        }
        // Where it leads to, so that a link stays one.
        Ok(_) => path.canonicalize().and_then(|path| replace(&path, bytes)),
        Err(_) => replace(path, bytes),
    };
    written.map_err(|err| cannot_write(path, &err))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = tempfile::NamedTempFile::new_in(folder_of(path))?;
    let file: &mut File = temporary.as_file_mut();
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.sync_all()?;
    temporary.persist(path)?;
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// What went wrong, without the temporary file that errors name, and what to do.
fn cannot_write(path: &Path, err: &io::Error) -> CliError {
    let folder = folder_of(path).display();
    let (why, remedy) = match err.kind() {
        io::ErrorKind::IsADirectory => (
            "it is a folder".to_owned(),
            format!("name a file in it, like {}/icecore", path.display()),
        ),
        io::ErrorKind::NotFound if !folder_of(path).exists() => {
            ("there is no such folder".to_owned(), format!("make {folder}, or name another file"))
        }
        io::ErrorKind::NotFound => {
            (format!("no file can be made in {folder}"), "name a file on a disk".to_owned())
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => (
            err.kind().to_string(),
            format!("name a file in a folder that you may write, or let you write {folder}"),
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (err.kind().to_string(), format!("make room in {folder}, or name a file elsewhere"))
        }
        kind => (kind.to_string(), "name another file".to_owned()),
    };
    CliError::failed(format!("cannot write {}: {why}", path.display())).hint(remedy)
}
