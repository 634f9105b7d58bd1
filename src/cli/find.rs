//! `icecore find`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::{Args, ValueEnum};

use crate::format::Kind;
use crate::ops::find::{self, FindOptions};
use crate::ops::path::{self, Resolved};
use crate::repo::Repository;

use super::context::Context;
use super::error::{show_damage, talk_error};
use super::exit::Exit;
use super::ls::{EntryFormat, print_entry};
use super::misplaced;
use super::snapshots::FilterOptions;
use crate::units::chain;

/// Find files by name in all snapshots
///
/// Prints SNAP:/PATH of what fits, newest snapshot first, as `icecore cat` and `icecore restore`
/// take it. Each version of a file is given once, with the newest snapshot that holds it; --every
/// gives every snapshot.
///
/// Patterns are those of gitignore: *.pt fits the name anywhere, /srv/**/*.pt the whole path,
/// cache/ directories only; of several the last that fits decides, and one that starts with ! takes
/// back. With --json each entry is one line with a JSON document.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup find 'model*.safetensors'
  icecore -r /backup find -l --type f '/etc/**/*.conf' --snapshot latest --snapshot latest~1
  icecore -r /backup cat \"$(icecore -r /backup find lost.txt | head -n 1)\"")]
pub(crate) struct Find {
    /// What to look for
    #[arg(value_name = "PATTERN", required = true)]
    patterns: Vec<String>,

    /// Search here only; may be given several times
    #[arg(short, long = "snapshot", value_name = "SNAP[:/PATH]")]
    snapshots: Vec<OsString>,

    #[command(flatten)]
    filter: FilterOptions,

    /// Only entries of this kind; may be given several times
    #[arg(short, long = "type", value_name = "KIND")]
    kinds: Vec<KindLetter>,

    /// Upper and lower case are the same
    #[arg(short, long)]
    ignore_case: bool,

    /// Each snapshot that holds an entry, not only each version once
    #[arg(short = 'a', long)]
    every: bool,

    #[command(flatten)]
    format: EntryFormat,
}

/// Kinds as find(1) names them.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindLetter {
    /// Regular files
    F,
    /// Directories
    D,
    /// Symbolic links
    L,
    /// Named pipes
    P,
    /// Sockets
    S,
    /// Character devices
    C,
    /// Block devices
    B,
}

impl From<KindLetter> for Kind {
    fn from(letter: KindLetter) -> Self {
        match letter {
            KindLetter::F => Self::File,
            KindLetter::D => Self::Directory,
            KindLetter::L => Self::Symlink,
            KindLetter::P => Self::Fifo,
            KindLetter::S => Self::Socket,
            KindLetter::C => Self::CharDevice,
            KindLetter::B => Self::BlockDevice,
        }
    }
}

impl Find {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let Self { patterns, snapshots, filter, kinds, ignore_case, every, format } = self;
        let repo = cx.repository()?;
        let (starts, whole) = starts(&repo, &snapshots, filter)?;
        let kinds = kinds.into_iter().map(Kind::from).collect();
        let options = FindOptions { patterns, ignore_case, kinds, every };
        let interrupt = cx.interrupt.clone();
        let report = find::run(&repo, &starts, &options, interrupt.flag(), |start, entry| {
            let id = start.snapshot.id;
            let shown = [id.short().as_bytes(), b":", &entry.path].concat();
            print_entry(cx, &format, id, entry, &shown)
        })?;
        for unread in &report.unread {
            talk_error(&chain(unread));
        }
        let missing = report.unread.iter().find_map(|unread| unread.source.missing_chunk());
        misplaced::hint(&repo, missing);
        Ok(if whole && report.unread.is_empty() { Exit::Done } else { Exit::Damage })
    }
}

/// Where to search, newest first, and whether no snapshot was damaged.
fn starts(
    repo: &Repository,
    names: &[OsString],
    filter: FilterOptions,
) -> anyhow::Result<(Vec<Resolved>, bool)> {
    let filter = filter.filter();
    if !names.is_empty() {
        let starts = names.iter().map(|name| path::resolve(repo, name.as_bytes(), &filter));
        return Ok((starts.collect::<Result<_, _>>()?, true));
    }
    let list = repo.snapshots()?;
    list.damaged.iter().for_each(show_damage);
    let starts = list.snapshots.into_iter().rev().filter(|snapshot| filter.fits(snapshot));
    let starts = starts.map(|snapshot| {
        let node = Repository::root(&snapshot);
        Resolved { snapshot, path: b"/".to_vec(), node }
    });
    Ok((starts.collect(), list.damaged.is_empty()))
}
