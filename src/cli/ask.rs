//! Asking before something is destroyed.

use std::io::{self, BufRead, IsTerminal, Write};

use super::error::CliError;

/// Asks on the terminal whether to go on; `yes` answers for the user. Without a terminal somebody
/// must have said so beforehand.
///
/// # Errors
/// A usage error without a terminal; a failure where the answer is no.
pub(crate) fn confirm(question: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let err = CliError::usage("nobody is there to be asked whether to go on");
        return Err(err.hint("give --yes, or look at what --dry-run says first").into());
    }
    let mut asked = io::stderr();
    write!(asked, "{question} [y/N] ")?;
    asked.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(CliError::failed("nothing was changed").into()),
    }
}
