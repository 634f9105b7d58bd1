//! Checks inside the drill's world, and how each is asked for what it must not accept (`Ask::Beside`).
//! What else they must fail at is the control's (`control`). Manifests are compared outside
//! (`manifest`).

mod golden;
pub(super) mod http;
mod sql;
mod structure;
mod walk;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::format::DrillCheck;
use crate::strategy::file::Check;

use super::command::Call;
use super::order::{Part, nanos};

/// A check is over within so long where the plan does not say.
const WITHIN: Duration = Duration::from_secs(60);
/// Bytes of what a check found that are kept.
const TOLD_MAX: usize = 2000;

/// What is asked of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// What the plan says.
    Plan,
    /// Something that it must not be content with: another answer, another path, no database.
    Beside,
}

/// Kind of a check.
pub(super) fn kind(check: &Check) -> &'static str {
    match check {
        Check { manifest: Some(_), .. } => "manifest",
        Check { http: Some(_), .. } => "http",
        Check { golden: Some(_), .. } => "golden",
        Check { sql: Some(_), .. } => "sql",
        Check { structure: Some(_), .. } => "structure",
        _ => "command",
    }
}

/// What reports call a check.
pub(super) fn name(check: &Check) -> String {
    let what = || {
        check
            .manifest
            .clone()
            .or_else(|| check.http.clone())
            .or_else(|| check.golden.as_ref().map(|golden| golden.url.clone()))
            .or_else(|| check.sql.as_ref().map(|sql| sql.query.clone()))
            .or_else(|| check.structure.clone())
            .or_else(|| check.command.as_ref().map(|run| run.argv().join(" ")))
    };
    check.name.clone().unwrap_or_else(|| what().unwrap_or_default())
}

/// Carries out a check, within the time that it has.
pub(super) fn carry_out(check: &Check, ask: Ask, snapshot_secs: i64) -> DrillCheck {
    let within = check.within.map_or(WITHIN, |within| within.0);
    let (sender, answer) = mpsc::channel();
    let (asked, start) = (check.clone(), Instant::now());
    // A check that hangs is waited for by nobody: this process ends with the drill.
    std::thread::spawn(move || sender.send(found(&asked, ask, within, snapshot_secs)));
    let found = match answer.recv_timeout(within + Duration::from_secs(1)) {
        Ok(found) => found,
        Err(mpsc::RecvTimeoutError::Timeout) => {
            Err(format!("not over within {} s", within.as_secs_f64()))
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => Err("the check broke down".into()),
    };
    done(check, found, start.elapsed())
}

/// A check with what it found.
pub(super) fn done(check: &Check, found: Result<String, String>, took: Duration) -> DrillCheck {
    let passed = found.is_ok();
    let mut told = found.unwrap_or_else(|what| what);
    if told.len() > TOLD_MAX {
        let cut = (0..=TOLD_MAX).rev().find(|&at| told.is_char_boundary(at)).unwrap_or(0);
        told.truncate(cut);
    }
    let (name, kind) = (name(check), kind(check).to_owned());
    DrillCheck { name, kind, passed, duration_ns: nanos(took), told }
}

fn found(check: &Check, ask: Ask, within: Duration, snapshot_secs: i64) -> Result<String, String> {
    if let Some(url) = &check.http {
        return http::check(url, check, ask, within);
    }
    if let Some(golden) = &check.golden {
        return golden::check(golden, ask, within);
    }
    if let Some(query) = &check.sql {
        return sql::check(query, ask, within, snapshot_secs);
    }
    if let Some(pattern) = &check.structure {
        return structure::check(pattern);
    }
    match &check.command {
        Some(run) => {
            let name = format!("check-{}", name(check));
            let name = name.chars().take(80).collect::<String>();
            let call = Call { name: &name, run, user: None, directory: None, environment: None };
            call.complete(within)
        }
        None => Err("it asks for nothing".into()),
    }
}

/// The first file with content in some parts that a check of structure looks at.
pub(super) fn first_file(pattern: &str, parts: &[&Part]) -> Option<std::path::PathBuf> {
    let has_content = |path: &std::path::PathBuf| path.metadata().is_ok_and(|it| it.len() > 0);
    let is_theirs = |path: &std::path::PathBuf| parts.iter().any(|part| part.has(path));
    walk::matching(pattern).ok()?.into_iter().find(|path| is_theirs(path) && has_content(path))
}

/// Whether a check can be asked for something beside it: where it is content with that too, it tells
/// nothing apart.
pub(super) fn has_beside(check: &Check) -> bool {
    check.golden.is_some() || check.sql.is_some() || http::is_of_status(check)
}

/// Whether a check asks a service, or may.
pub(super) fn asks_services(check: &Check) -> bool {
    let is_server = check.sql.as_ref().is_some_and(|sql| sql.postgres.is_some());
    is_server || check.http.is_some() || check.golden.is_some() || check.command.is_some()
}
