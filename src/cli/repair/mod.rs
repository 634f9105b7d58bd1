//! `icecore repair`.

mod index;
mod packs;
mod snapshots;

use clap::{Args, Subcommand};

use super::context::Context;
use super::exit::Exit;

/// Put right what is damaged, as far as that can be done
///
/// Each shows its plan first, and asks before it changes anything; --dry-run ends there. Nothing is
/// removed before what replaces it is stored for good, so that a repair may be stopped at any time
/// and started again. Where a later icecore wrote any of it, it is refused.
#[derive(Debug, Args)]
pub(crate) struct Repair {
    #[command(subcommand)]
    command: RepairCommand,
}

#[derive(Debug, Subcommand)]
enum RepairCommand {
    Packs(packs::Packs),
    Index(index::RepairIndex),
    Snapshots(snapshots::RepairSnapshots),
}

/// What every repair asks.
#[derive(Debug, Args)]
pub(crate) struct Consent {
    /// Show what would be done, and do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

impl Repair {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        match self.command {
            RepairCommand::Packs(command) => command.run(cx),
            RepairCommand::Index(command) => command.run(cx),
            RepairCommand::Snapshots(command) => command.run(cx),
        }
    }
}
