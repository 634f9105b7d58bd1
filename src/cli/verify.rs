//! `icecore verify`.

use std::num::NonZeroU64;
use std::time::Duration;

use clap::Args;

use crate::codec::random;
use crate::ops::verify::{self, Sample, VerifyOptions, VerifyReport};
use crate::repo::Repository;
use crate::report::verify as report;
use crate::units::{chain, parse_age};

use super::context::Context;
use super::error::{GIVE_UP, INDEX, MEND, RECORDS, RECORDS_HINT, talk_error};
use super::exit::Exit;
use super::global::rate;
use super::progress::talk;

/// Prove that what is stored can be read
///
/// Checks the structure: every object decodes, every page of every snapshot is there, every chunk
/// has a place. With --read-data every stored byte is read and compared with its checksum as well.
/// No damage hides another: all that is wrong is listed, by object, and what it costs by snapshot
/// and path. Exit code 4 where anything is, but for what `icecore repair packs` could not bring back
/// and has named in a successor of the snapshot: that is told, and no news. Forgotten snapshots are
/// not checked; the packs that hold them are.
///
/// Where an index segment is lost, what it knew lies in packs that no other lists, and is told as
/// lost with the hint that `icecore repair index` finds it again.
///
/// A damaged pack that has parity is healed, written anew and told; where that mends all, the exit
/// code is 0.
///
/// A large repository is read bit by bit: --sample reads a random part of it, --older-than what was
/// not read for a while, --max-duration as much as there is time for. Packs that wait longest come
/// first, so that such runs get round to all of them. Each of these, and --max-rate, reads data, of
/// what all of them leave; the structure is checked in any case, and is no part of the time. What was read and found
/// whole is recorded in the repository's ledger, also by a run that was interrupted; `icecore
/// ledger` shows it, and `icecore stats` how much of what is stored was verified lately. Where the
/// repository is read-only nothing is recorded, which a notice says.
///
/// An ingest takes the packs that are there for whole. So that it stores again what a damaged one
/// held, as far as the sources still have it, run `icecore repair packs`, and then
/// `icecore ingest --force` for the same sources. All snapshots use what is stored then.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup verify
  icecore -r /backup verify --read-data --json | jq '.damaged[].object'
  icecore -r /backup verify --older-than 30d --max-duration 1h --max-rate 200M
  icecore -r /backup verify --sample 2%")]
pub(crate) struct Verify {
    /// Check the structure only, which is the default
    #[arg(long, conflicts_with_all = ["read_data", "sample", "older_than", "max_duration"])]
    structure: bool,

    /// Read every stored byte
    #[arg(long)]
    read_data: bool,

    /// Read a random part of the packs, so many percent of their bytes
    #[arg(long, value_name = "PERCENT", value_parser = parse_share)]
    #[arg(allow_hyphen_values = true)]
    sample: Option<f64>,

    /// Choose the sample by this number [default: another one each time]
    #[arg(long, value_name = "N", requires = "sample", allow_hyphen_values = true)]
    seed: Option<u64>,

    /// Read packs whose last verification is older than this, like 30d or 12h, or that have none
    #[arg(long, value_name = "AGE", value_parser = parse_age, allow_hyphen_values = true)]
    older_than: Option<Duration>,

    /// Begin to read no pack after so long
    #[arg(long, value_name = "TIME", value_parser = parse_age, allow_hyphen_values = true)]
    max_duration: Option<Duration>,

    /// Read at most so many bytes a second, like 200M
    #[arg(long, value_name = "SIZE", value_parser = rate, allow_hyphen_values = true)]
    max_rate: Option<NonZeroU64>,

    /// Record nothing in the ledger
    #[arg(long)]
    no_record: bool,

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
        let limit = [self.max_rate, cx.global.limit_download].into_iter().flatten().min();
        cx.global.limit_download = limit;
        let repo = cx.repository()?;
        let options = self.options()?;
        let bar = cx.bar("verifying");
        let mut done = VerifyReport::default();
        let result = verify::run_into(&repo, options, &mut done, &bar, cx.interrupt.flag());
        drop(bar);
        // A run that read nothing and came to no end proves nothing.
        if !self.no_record && (done.complete || done.packs_read > 0) {
            record(&repo, &mut done);
        }
        result?;
        if !cx.global.json {
            report::damage(&done).iter().for_each(|line| talk_error(line));
            hints(&done).for_each(|hint| talk(&format!("  hint: {hint}")));
        }
        cx.report(|| report::json(&done), || report::text(&done))?;
        Ok(if done.is_clean() { Exit::Done } else { Exit::Damage })
    }

    fn options(&self) -> anyhow::Result<VerifyOptions> {
        let sample = match self.sample {
            Some(share) => Some(Sample { share, seed: self.seed.map_or_else(new_seed, Ok)? }),
            None => None,
        };
        Ok(VerifyOptions {
            // Who says how fast wants it read.
            read_data: self.read_data || (self.max_rate.is_some() && !self.structure),
            sample,
            older_than: self.older_than,
            max_duration: self.max_duration,
            threads: self.threads.map_or(0, usize::from),
            no_heal: self.no_heal,
        })
    }
}

/// The way out where only room was missing.
const FREE: &str = "free some space on that disk and run it again: parity gives back what is damaged, \
                    and there was no room to write it";

/// What can be done about damage, each way once.
fn hints(done: &VerifyReport) -> impl Iterator<Item = &'static str> {
    let is_in = |folders: &[&str]| {
        done.damaged.iter().any(|damaged| {
            let folder = damaged.object.split_once('/').map(|(folder, _)| folder);
            folder.is_some_and(|folder| folders.contains(&folder))
        })
    };
    let is_healed = |object: &str| done.healed.iter().any(|it| object.starts_with(&it.object));
    let waits_for_room = done.lacked_room
        && done.damaged.iter().all(|it| is_healed(&it.object))
        && done.damaged.len() as u64 == done.damaged_count;
    let ways = [
        (done.lacked_room, FREE),
        (
            (done.damaged_packs && !waits_for_room)
                || (done.lacks_chunks && done.misplaced_chunks == 0),
            MEND,
        ),
        (is_in(&["index"]) || done.misplaced_chunks > 0, INDEX),
        (done.succeeded_snapshots > 0 && done.misplaced_chunks == 0, GIVE_UP),
        (is_in(&RECORDS), RECORDS_HINT),
        (is_in(&["parity"]), "`icecore parity --build` makes parity anew where it is damaged"),
        (is_in(&["keys"]), "`icecore key add` a new key, and `icecore key remove` the damaged one"),
    ];
    ways.into_iter().filter(|(is_so, _)| *is_so).map(|(_, hint)| hint)
}

fn new_seed() -> anyhow::Result<u64> {
    Ok(u64::from_le_bytes(random()?))
}

pub(crate) fn record(repo: &Repository, done: &mut VerifyReport) {
    let program = concat!("icecore ", env!("CARGO_PKG_VERSION"));
    if let Err(err) =
        verify::record(repo, done, crate::clock::now(), &crate::fsutil::machine(), program)
    {
        talk(&format!("  notice: not recorded in the ledger: {}", chain(&err)));
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').unwrap_or(text).trim();
    match number.parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        _ => Err(format!("\"{text}\" is not a share like 2% or 0.5%, above 0 and up to 100")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_lacks_room_is_healed_by_another_run() {
        let pack = |id: &str| verify::Damaged { object: format!("data/{id}"), what: "bad".into() };
        let healed = verify::Healed { object: "data/aa".into(), stored: false };
        let mut done = VerifyReport::default();
        (done.damaged_count, done.damaged_packs) = (1, true);
        done.damaged = vec![pack("aa, block at 100")];
        done.healed = vec![healed];
        assert_eq!(hints(&done).collect::<Vec<_>>(), [MEND]);
        done.lacked_room = true;
        assert_eq!(hints(&done).collect::<Vec<_>>(), [FREE]);
        done.damaged.push(pack("bb"));
        done.damaged_count = 2;
        assert_eq!(hints(&done).collect::<Vec<_>>(), [FREE, MEND]);
    }

    #[test]
    fn shares_are_percent() {
        assert_eq!(parse_share("2%"), Ok(0.02));
        assert_eq!(parse_share("0.5"), Ok(0.005));
        for wrong in ["", "%", "0%", "101%", "-1", "NaN", "inf%"] {
            assert!(parse_share(wrong).is_err(), "{wrong}");
        }
    }
}
