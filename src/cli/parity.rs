//! `icecore parity`.

use clap::Args;

use crate::format::limits::PARITY_PERMILLE_MAX;
use crate::ops::parity::{self, ParityReport};
use crate::repo::Repository;
use crate::report::parity as report;

use super::context::Context;
use super::error::talk_error;
use super::exit::Exit;

/// Tell, set and build the parity that heals damaged packs
///
/// With parity on, each new pack gets an object of Reed-Solomon shards beside it. Where bytes of
/// the pack go bad later, up to about that share of it, whoever reads them gets the right ones and
/// the pack is written anew: mount, restore, cat, verify and repair. Parity needs no key.
///
/// Without options it tells what is set and what is protected. --set and --off count for packs that
/// are written from then on; --build protects those that are there. Turning it off removes none.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup parity
  icecore -r /backup parity --set 5% --build")]
pub(crate) struct Parity {
    /// Share of each new pack, 0.1% to 100%
    #[arg(long, value_name = "SHARE", value_parser = parse_share, conflicts_with = "off")]
    #[arg(allow_hyphen_values = true)]
    set: Option<u16>,

    /// No parity for new packs
    #[arg(long)]
    off: bool,

    /// Build it for packs that have none, and anew where it is damaged or of a lower share
    #[arg(long, conflicts_with = "off")]
    build: bool,

    /// Only tell what would be set and built
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// Thousandths of what is written as `5%` or `0.5%`.
pub(super) fn parse_share(text: &str) -> Result<u16, String> {
    let fail = || format!("{text} is no share: 0.1% to 100%");
    let number = text.strip_suffix('%').ok_or_else(fail)?.trim_end();
    let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(tenths) || tenths.len() != 1 {
        return Err(fail());
    }
    let (whole, tenths): (u16, u16) =
        (whole.parse().map_err(|_| fail())?, tenths.parse().map_err(|_| fail())?);
    let permille = whole.checked_mul(10).and_then(|whole| whole.checked_add(tenths));
    permille.filter(|share| (1..=PARITY_PERMILLE_MAX).contains(share)).ok_or_else(fail)
}

impl Parity {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let repo = cx.repository_for(self.dry_run)?;
        let set = if self.off { Some(0) } else { self.set };
        if self.dry_run {
            return self.tell(cx, &repo, set);
        }
        let is_news = |share: &u16| {
            repo.parity_permille().ok() != Some(*share)
                || repo.damaged_settings().is_ok_and(|damaged| !damaged.is_empty())
        };
        if let Some(permille) = set.filter(is_news) {
            repo.set_parity(permille, &crate::fsutil::machine())?;
        }
        let done = if self.build {
            let bar = cx.bar("building parity");
            let done = parity::build(&repo, &bar, cx.interrupt.flag());
            drop(bar);
            done?
        } else {
            parity::status(&repo)?
        };
        show(cx, &done, false)
    }

    /// What it would be afterwards, as far as that can be told.
    fn tell(&self, cx: &mut Context, repo: &Repository, set: Option<u16>) -> anyhow::Result<Exit> {
        let now = parity::status(repo)?;
        let permille = set.unwrap_or(now.permille);
        let told = match self.build && permille > 0 {
            true => parity::plan_build(repo, permille)?,
            false => ParityReport { permille, ..now },
        };
        show(cx, &told, true)
    }
}

fn show(cx: &mut Context, done: &ParityReport, dry_run: bool) -> anyhow::Result<Exit> {
    if !cx.global.json {
        done.failed.iter().for_each(|line| talk_error(line));
    }
    cx.data(|| report::json(done, dry_run), || report::text(done))?;
    let is_sound = done.failed.is_empty() && done.settings_damaged.is_empty();
    Ok(if is_sound { Exit::Done } else { Exit::Damage })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_thousandths() {
        for (text, permille) in [("5%", 50), ("0.1%", 1), ("12.5%", 125), ("100%", 1000)] {
            assert_eq!(parse_share(text), Ok(permille), "{text}");
        }
        for text in ["5", "0%", "100.1%", "5.25%", "-5%", "%", ".5%", "99999%", "x%"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }
}
