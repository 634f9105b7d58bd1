//! `icecore verify`.

use clap::Args;

use crate::ops::verify::{self, VerifyOptions};
use crate::report::verify as report;

use super::context::Context;
use super::error::{MEND, talk_error};
use super::exit::Exit;
use super::progress::talk;

/// Prove that what is stored can be read
///
/// Checks the structure: every object decodes, every page of every snapshot is there, every chunk
/// has a place. With --read-data every stored byte is read and compared with its checksum as well.
/// No damage hides another: all that is wrong is listed, by object, and what it costs by snapshot
/// and path. Exit code 4 where anything is.
///
/// A damaged pack that has parity is healed, written anew and told; where that mends all, the exit
/// code is 0.
///
/// An ingest takes the packs that are there for whole. So that it stores again what a damaged one
/// held, as far as the sources still have it, run `icecore repair packs`, and then
/// `icecore ingest --force` for the same sources. All snapshots use what is stored then.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup verify
  icecore -r /backup verify --read-data --json | jq '.damaged[].object'")]
pub(crate) struct Verify {
    /// Read every stored byte
    #[arg(long)]
    read_data: bool,

    /// Threads that read [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    #[arg(allow_hyphen_values = true)]
    threads: Option<u16>,

    /// Leave damaged packs as they are, also where parity could heal them
    #[arg(long)]
    no_heal: bool,
}

impl Verify {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let repo = cx.repository()?;
        let threads = self.threads.map_or(0, usize::from);
        let options = VerifyOptions { read_data: self.read_data, threads, no_heal: self.no_heal };
        let bar = cx.bar("verifying");
        let done = verify::run(&repo, options, &bar, cx.interrupt.flag());
        drop(bar);
        let done = done?;
        if !cx.global.json {
            report::damage(&done).iter().for_each(|line| talk_error(line));
            if done.damaged_packs {
                talk(&format!("  hint: {MEND}"));
            }
        }
        cx.report(|| report::json(&done), || report::text(&done))?;
        Ok(if done.is_clean() { Exit::Done } else { Exit::Damage })
    }
}
