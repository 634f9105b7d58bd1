//! Asking before something is lost: on a terminal, or not at all.
//!
//! The rule of all commands: what takes something away (snapshots, packs, index segments, records, a
//! key) shows its plan and comes here; what the same command takes back (tags, protection, the share
//! of parity, a snapshot that comes back) does not ask. Both have `--dry-run`.

use std::io::{self, BufRead, IsTerminal};

use anyhow::Context as _;

use super::error::CliError;
use super::signals::EndsAtOnce;

/// Goes on where `yes` was given, or a person at the terminal says so; an error otherwise. A signal
/// ends the program while it is asked. With `json` nobody is asked: nobody was shown the plan.
pub(crate) fn confirm(question: &str, yes: bool, json: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if json {
        return Err(CliError::usage(format!("{question} With --json nobody is asked"))
            .hint("--yes goes ahead, --dry-run only tells")
            .into());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(CliError::usage(format!("{question} There is nobody to ask"))
            .hint("--yes goes ahead without asking, --dry-run only tells")
            .into());
    }
    let _ending = EndsAtOnce::begin(false)?;
    super::progress::prompt(&format!("{question} [y/N] "));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::failed("nothing was changed").into()),
    }
}
