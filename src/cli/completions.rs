//! `icecore completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::context::Context;
use super::exit::Exit;

/// Print the completions of a shell
///
/// Save them where the shell looks for them, or source them. `man/completions` holds those of
/// bash, zsh and fish.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore completions bash > /usr/share/bash-completion/completions/icecore
  icecore completions zsh > /usr/share/zsh/site-functions/_icecore
  icecore completions fish > ~/.config/fish/completions/icecore.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let text = script(self.shell);
        cx.out.report(&text)?;
        Ok(Exit::Done)
    }
}

/// A shell's completion script.
pub(crate) fn script(shell: Shell) -> String {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "icecore", &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
