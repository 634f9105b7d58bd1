//! `icecore repair`.

mod packs;

use clap::{Args, Subcommand};

use super::context::Context;
use super::exit::Exit;

/// Make a damaged repository whole again
///
/// A repair reads first and shows its plan. It never makes things worse: what it removes, it has
/// written anew before, as far as anybody can read it; stopped at any point, it can be run again.
#[derive(Debug, Args)]
pub(crate) struct Repair {
    #[command(subcommand)]
    command: RepairCommand,
}

#[derive(Debug, Subcommand)]
enum RepairCommand {
    Packs(packs::Packs),
}

impl Repair {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        match self.command {
            RepairCommand::Packs(command) => command.run(cx),
        }
    }
}
