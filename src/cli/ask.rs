//! Asking before something is lost: on a terminal, or not at all.

use std::io::{self, BufRead, IsTerminal};

use anyhow::Context as _;

use super::error::CliError;
use super::signals::EndsAtOnce;

/// Goes on where `yes` was given, or a person at the terminal says so; an error otherwise. A signal
/// ends the program while it is asked.
pub(crate) fn confirm(question: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
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
