//! `icecore ledger`.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::report::ledger as report;
use crate::report::text;

use super::context::Context;
use super::error::show_damage;
use super::exit::Exit;

/// Show what was verified when, with what result
///
/// The ledger holds a record of each verification: when, on which host, by which icecore, what was
/// read, and what was found. Records are only ever added. Each states the BLAKE3 of those before
/// it, so that one that was changed or taken out is missed by what follows. With --json each record
/// is one line with a JSON document.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "\
Examples:
  icecore -r /backup ledger
  icecore -r /backup ledger --json | jq 'select(.damaged_count > 0)'
  icecore -r /backup ledger verify"
)]
pub(crate) struct Ledger {
    #[command(subcommand)]
    command: Option<LedgerCommand>,
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    /// Hold each record against what those after it state of it
    ///
    /// Exit code 4 where a record cannot be read, was changed, or is missing. What was cut off the
    /// end leaves no trace here: a copy of the ledger elsewhere would tell.
    Verify,
}

impl Ledger {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        match self.command {
            None => list(cx),
            Some(LedgerCommand::Verify) => verify(cx),
        }
    }
}

fn list(cx: &mut Context) -> anyhow::Result<Exit> {
    let repo = cx.repository()?;
    let (mut rows, mut exit) = (Vec::new(), Exit::Done);
    for entry in repo.ledger()? {
        cx.interrupt.check()?;
        match entry {
            Err(err) => {
                show_damage(&err);
                exit = Exit::Damage;
            }
            Ok(entry) if cx.global.json => cx.out.json(&report::json(&entry.record))?,
            Ok(entry) => rows.push(report::row(&entry.record)),
        }
    }
    if !cx.global.json {
        cx.out.report(&report::table(rows))?;
    }
    Ok(exit)
}

fn verify(cx: &mut Context) -> anyhow::Result<Exit> {
    let repo = cx.repository()?;
    let check = repo.check_ledger()?;
    check.errors.iter().for_each(|(_, err)| show_damage(err));
    let is_whole = check.errors.is_empty();
    let errors: Vec<_> = check.errors.iter().map(|(_, err)| err.to_string()).collect();
    cx.data(
        || json!({ "records": check.records, "heads": check.heads, "damaged": errors }),
        || {
            let verdict = if is_whole { "all good" } else { "damage was found" };
            let records = text::count(check.records, "record");
            format!("{verdict}: {records}, each as those after it state\n")
        },
    )?;
    Ok(if is_whole { Exit::Done } else { Exit::Damage })
}
