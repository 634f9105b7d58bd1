//! `icecore protect` and `icecore unprotect`.

use clap::Args;

use crate::ops::tag::TagEdit;

use super::context::Context;
use super::exit::Exit;
use super::snapshots::FilterOptions;
use super::tag::change;

/// Keep snapshots whatever comes: no rule and no name forgets them
///
/// A P marks them in the list of snapshots. `icecore unprotect` ends it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup protect latest
  icecore -r /backup protect 2026-11-22 --host db1")]
pub(crate) struct Protect {
    /// Which snapshots
    #[arg(value_name = "SNAP", required = true)]
    names: Vec<String>,

    /// Only tell what would change
    #[arg(short = 'n', long)]
    dry_run: bool,

    #[command(flatten)]
    filter: FilterOptions,
}

/// Let rules and names forget snapshots again
///
/// Nothing is forgotten by this; `icecore forget` does that.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup unprotect 5bd1f3a2")]
pub(crate) struct Unprotect {
    /// Which snapshots
    #[arg(value_name = "SNAP", required = true)]
    names: Vec<String>,

    /// Only tell what would change
    #[arg(short = 'n', long)]
    dry_run: bool,

    #[command(flatten)]
    filter: FilterOptions,
}

impl Protect {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let edit = TagEdit { protect: Some(true), ..TagEdit::default() };
        change(cx, &self.names, self.filter, &edit, self.dry_run)
    }
}

impl Unprotect {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let edit = TagEdit { protect: Some(false), ..TagEdit::default() };
        change(cx, &self.names, self.filter, &edit, self.dry_run)
    }
}
