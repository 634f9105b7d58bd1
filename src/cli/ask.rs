//! Asking before something is destroyed.

use std::io::{self, IsTerminal, Write};

use super::error::CliError;

/// Whether to go on: with `--yes` at once, else as the user answers on the terminal.
///
/// # Errors
/// Where nobody can be asked: a script says `--yes`.
pub(crate) fn confirm(question: &str, yes: bool) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let hint = "say --yes, or --dry-run to see what would be done";
        return Err(CliError::usage("nobody to ask: this is no terminal").hint(hint).into());
    }
    let mut terminal = io::stderr();
    write!(terminal, "{question} [y/N] ")?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
