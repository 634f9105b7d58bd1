//! `icecore repair`.

mod index;
mod packs;
mod snapshots;

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::ops::evidence;
use crate::ops::verify::{self, VerifyOptions, VerifyReport};
use crate::repo::{Repository, Writer};
use crate::report::text::count;
use crate::units::chain;

use super::context::Context;
use super::exit::Exit;
use super::progress::talk;
use super::verify::record;

/// Put right what is damaged, as far as that can be done
///
/// Each shows its plan first, and asks before it changes anything; --dry-run ends there. Nothing is
/// removed before what replaces it is stored for good, so that a repair may be stopped at any time
/// and started again. Where a later icecore wrote any of it, it is refused.
///
/// Where the repository's ledger knows of damage, what there is then is verified and recorded, so
/// that icecore status and icecore run know what is left of it.
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

/// Who repairs.
fn writer() -> Writer {
    Writer { host: crate::fsutil::machine(), pid: std::process::id() }
}

/// Whether a repair has to do with packs: then they are read, else the structure is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mended {
    Packs,
    Records,
}

/// Objects that the ledger knows to be damaged.
fn known_damage(repo: &Repository) -> u64 {
    evidence::gather(repo).map_or(0, |facts| facts.damage.count())
}

/// What a verification left to be done: what was checked, and what is known of all else.
fn left(done: &VerifyReport, known: u64, what: Mended) -> String {
    if done.damaged_count > 0 {
        let objects = count(done.damaged_count, "damaged object");
        return format!("verified: {objects} left; `icecore verify` lists all, and what to do");
    }
    let mut said = match what {
        Mended::Packs => String::from("verified: what is stored is whole"),
        Mended::Records => String::from("verified: the structure is sound; data was not read"),
    };
    if known > 0 {
        let objects = count(known, "damaged object");
        said += &format!("; the ledger knows of {objects}: `icecore repair packs`");
    }
    if done.known_count > 0 {
        said += &format!("; {} are lost, as successors say", count(done.known_count, "path"));
    }
    said
}

/// Shows what is left of the damage that the ledger knows of, and records that. The repair is done
/// whatever comes of it.
///
/// Of packs those are read of which no record tells that they are whole; those that were damaged are
/// among them.
fn verified(cx: &Context, repo: &Repository, what: Mended) -> anyhow::Result<()> {
    if known_damage(repo) == 0 {
        return Ok(());
    }
    let older_than = (what == Mended::Packs).then_some(Duration::MAX);
    let options = VerifyOptions { older_than, ..VerifyOptions::default() };
    let bar = cx.bar("verifying");
    let done = verify::run(repo, options, &bar, cx.interrupt.flag());
    drop(bar);
    cx.interrupt.check()?;
    let said = match done {
        Ok(mut done) => {
            record(repo, &mut done);
            left(&done, known_damage(repo), what)
        }
        Err(err) => format!("notice: not verified: {}", chain(&err)),
    };
    if !cx.global.json && !cx.global.quiet {
        talk(&format!("  {said}"));
    }
    Ok(())
}
