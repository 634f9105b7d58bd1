//! `icecore replicate`.

mod named;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::codec::Compression;
use crate::fsutil;
use crate::ops::OpError;
use crate::ops::replicate::{self, ReplicateOptions, ReplicateReport};
use crate::repo::{KdfCost, RepoError, Repository, Secret};
use crate::report::{replicate as report, text};
use crate::storage::LocalStorage;
use crate::strategy::file::Strategy;
use crate::units::chain;

use super::context::{Context, Opened};
use super::error::{CliError, talk_error};
use super::exit::Exit;
use super::global::SecretOptions;
use super::manager::Manager;
use super::priority::Priority;
use super::progress::talk;
use super::snapshots::FilterOptions;
use super::strategy::FileOption;
use super::{key, secrets};

/// Copy snapshots into another repository, only what is missing there
///
/// A copy has the time, host, tags and sources of what it was made of, and names it: copied again,
/// here or on to a third repository, it is known. Protection goes along. What was forgotten here is
/// not copied, and what was forgotten there only by its name.
///
/// The two may have different keys. Made with --init, or both --plain, they name content alike: then
/// what is there is not even read, and `icecore repair packs --from` takes from the one what the
/// other lost.
///
/// Every chunk is compared with its id before it is written, and a copy appears only once all that
/// it needs was found there. What cannot be read here costs that snapshot only: it is named, and
/// the exit code is 4. A run that was stopped loses nothing: the next one uses what was stored. The
/// ledger there tells what was copied, and what failed.
///
/// Without --to the strategy file, icecore.toml(5), says what goes where: each replica of its sources
/// gets what it lacks of what the source keeps, as by icecore run; with -r only from that repository.
/// Without -r the one that --to names gets it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup replicate --to /mnt/offsite --init
  icecore -r /backup replicate --to /mnt/offsite --tag release --verify
  icecore -r /backup replicate --to /mnt/offsite latest
  icecore replicate --to far
  icecore -r /backup replicate --to /mnt/offsite --to-key-file /root/offsite.key --continuous")]
pub(crate) struct Replicate {
    /// Only these [default: all that are missing there]
    #[arg(value_name = "SNAP")]
    names: Vec<String>,

    /// Folder of the repository to copy to, or its name in the strategy file [default: each replica
    /// of that file's sources, of which what it lacks is copied]
    #[arg(long, value_name = "REPO", env = "ICECORE_TO_REPOSITORY", hide_env_values = true)]
    to: Option<PathBuf>,

    #[command(flatten)]
    file: FileOption,

    #[command(flatten)]
    secret: ToSecret,

    /// Make the other repository where there is none: with the same chunk sizes and, where this one
    /// is encrypted, under the same master key. Its secret is that of --to-key-file and the like,
    /// else the same
    #[arg(long, conflicts_with = "dry_run")]
    init: bool,

    /// Stay, and copy snapshots as they appear; ends at SIGTERM
    #[arg(long, conflicts_with_all = ["names", "dry_run"])]
    continuous: bool,

    /// Read back all that is new there before a copy is committed
    #[arg(long)]
    verify: bool,

    /// Only tell what would be copied
    #[arg(short = 'n', long)]
    dry_run: bool,

    #[command(flatten)]
    filter: FilterOptions,

    /// How hard to compress what is coded again: directories, and blocks of which a part is needed
    #[arg(long, value_name = "LEVEL", default_value_t)]
    compression: Compression,

    /// Threads that copy [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    #[arg(allow_hyphen_values = true)]
    threads: Option<u16>,

    #[command(flatten)]
    priority: Priority,
}

/// Where the secret of the other repository comes from.
#[derive(Debug, Args)]
struct ToSecret {
    /// Key file of the repository to copy to [default: the same secret]
    #[arg(long, value_name = "FILE")]
    #[arg(conflicts_with_all = ["to_passphrase_file", "to_passphrase_command"])]
    to_key_file: Option<PathBuf>,

    /// File that holds its passphrase
    #[arg(long, value_name = "FILE", conflicts_with = "to_passphrase_command")]
    to_passphrase_file: Option<PathBuf>,

    /// Command, run by sh, that prints its passphrase
    #[arg(long, value_name = "COMMAND")]
    to_passphrase_command: Option<String>,
}

impl From<ToSecret> for SecretOptions {
    fn from(args: ToSecret) -> Self {
        let (key_file, passphrase_file) = (args.to_key_file, args.to_passphrase_file);
        Self { key_file, passphrase_file, passphrase_command: args.to_passphrase_command }
    }
}

impl Replicate {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        self.priority.apply()?;
        let to = self.to.clone().filter(|path| !path.as_os_str().is_empty());
        let found = to.as_ref().map(|to| named::named(&self.file, to)).transpose()?.flatten();
        if to.is_none() || (found.is_some() && cx.global.repository.is_none()) {
            return self.by_strategy(cx, found);
        }
        if let Some(path) = &to
            && found.is_none()
            && cx.global.repository.is_none()
            && !self.init
            && !path.exists()
        {
            return Err(named::no_such(&self.file, path).into());
        }
        let path = to.unwrap_or_default();
        let place = found.as_ref().and_then(|(strategy, name)| strategy.repositories.get(name));
        let path = place.map_or(path, |place| PathBuf::from(&place.url));
        let own = SecretOptions::from(self.secret);
        let own = match place.filter(|_| own.given() == 0) {
            Some(place) => secrets::stated_to(&SecretOptions::from(place))?,
            None => secrets::stated_to(&own)?,
        };
        let Opened { repo: from, secret } = cx.open()?;
        refuse_nested(&from, &path)?;
        if self.init {
            init(&from, &path, own.as_ref().or(secret.as_ref()))?;
        }
        let to = cx.open_to(&path, own, secret.as_ref()).map_err(with_init)?;
        drop(secret);
        let filter = self.filter.filter();
        let only = match self.names.as_slice() {
            [] => None,
            names => {
                let mut list = from.snapshots()?;
                let found = names.iter().map(|name| Ok(list.find(name, &filter)?.id));
                Some(found.collect::<Result<_, RepoError>>()?)
            }
        };
        let threads = self.threads;
        let options = ReplicateOptions {
            only,
            filter,
            verify: self.verify,
            dry_run: self.dry_run,
            ..options(threads, self.compression)
        };
        match self.continuous {
            true => follow(cx, &from, &to, &options),
            false => once(cx, &from, &to, &options),
        }
    }

    /// Where not both are named: what the strategy says.
    fn by_strategy(
        self,
        cx: &mut Context,
        found: Option<(Strategy, String)>,
    ) -> anyhow::Result<Exit> {
        let strategy = match &found {
            Some((strategy, _)) => strategy.clone(),
            None if self.to.is_none() && self.file.path().exists() => self.file.read_sound()?,
            None => return Err(no_target().into()),
        };
        if !self.names.is_empty() || self.init || self.continuous {
            let what = "snapshots, --init and --continuous are of two repositories";
            return Err(CliError::usage(what).hint("name both, with -r and --to").into());
        }
        let options = ReplicateOptions {
            filter: self.filter.filter(),
            verify: self.verify,
            dry_run: self.dry_run,
            ..options(self.threads, self.compression)
        };
        let only = found.as_ref().map(|(_, name)| name.as_str());
        named::by_strategy(cx, &strategy, only, &options)
    }
}

fn no_target() -> CliError {
    CliError::usage("no repository to copy to").hint(
        "name it with --to REPO or ICECORE_TO_REPOSITORY, or a strategy file that says what goes \
         where with --file",
    )
}

fn options(threads: Option<u16>, compression: Compression) -> ReplicateOptions {
    ReplicateOptions {
        host: fsutil::machine(),
        program: concat!("icecore ", env!("CARGO_PKG_VERSION")).to_owned(),
        threads: threads.map_or(0, usize::from),
        compression,
        ..ReplicateOptions::default()
    }
}

fn once(
    cx: &mut Context,
    from: &Repository,
    to: &Repository,
    options: &ReplicateOptions,
) -> anyhow::Result<Exit> {
    let mut done = ReplicateReport::default();
    let bar = cx.bar("copying");
    let result = replicate::run_into(from, to, options, &mut done, &bar, cx.interrupt.flag());
    drop(bar);
    let shown = show(cx, &done, result.is_err());
    result?;
    shown?;
    Ok(if done.is_complete() { Exit::Done } else { Exit::Damage })
}

/// Tells what was done; where it did not come to its end, only what was copied until then.
fn show(cx: &mut Context, done: &ReplicateReport, failed: bool) -> anyhow::Result<()> {
    if !cx.global.json {
        report::failures(done).iter().for_each(|line| talk_error(line));
        if !done.is_complete() {
            talk("  hint: `icecore verify` tells all that is damaged, `icecore repair` mends it");
        }
    }
    if failed && done.copied.is_empty() {
        return Ok(());
    }
    cx.report(|| report::json(done), || report::text(done))
}

fn follow(
    cx: &mut Context,
    from: &Repository,
    to: &Repository,
    options: &ReplicateOptions,
) -> anyhow::Result<Exit> {
    let manager = Manager::from_environment();
    let [source, target] = [from.location(), to.location()];
    let [source, target] = [&source, &target].map(|it| text::escaped(it.as_bytes()));
    manager.ready(&format!("copying from {source} to {target}"));
    let interrupt = cx.interrupt.clone();
    let mut outcome = Ok(());
    let mut told = |done: &ReplicateReport, err: Option<&OpError>| {
        if let Some(err) = err {
            talk_error(&format!("{}; it is tried again", chain(err)));
            manager.status(&format!("failing: {}", chain(err)));
        } else if let Some(last) = done.copied.last() {
            manager.status(&format!("copied snapshot {}", last.snapshot.short()));
        }
        outcome = show(cx, done, err.is_some());
        if outcome.is_err() {
            interrupt.set();
        }
    };
    let ended = replicate::follow(from, to, options, &mut told, interrupt.flag());
    manager.stopping("ending");
    ended?;
    outcome?;
    Ok(Exit::Done)
}

/// Makes the other repository, where there is none.
fn init(from: &Repository, path: &Path, secret: Option<&Secret>) -> anyhow::Result<()> {
    if path.join("config").exists() {
        return Ok(());
    }
    let make = || format!("cannot make repository {}", path.display());
    let storage = LocalStorage::create(path).with_context(make)?;
    let (label, cost) = (key::default_label(), KdfCost::DEFAULT);
    Repository::init_like(&storage, from, secret, &label, cost).with_context(make)?;
    Ok(())
}

/// One inside the other would be copied into itself by whoever copies folders.
fn refuse_nested(from: &Repository, path: &Path) -> anyhow::Result<()> {
    let place = |path: &Path| std::path::absolute(path).map(|it| it.canonicalize().unwrap_or(it));
    let source = PathBuf::from(from.location());
    let (Ok(source), Ok(target)) = (place(&source), place(path)) else { return Ok(()) };
    let what = match (source == target, target.starts_with(&source), source.starts_with(&target)) {
        (true, ..) => "is the repository that is copied from",
        (_, true, _) => "lies in the repository that is copied from",
        (.., true) => "holds the repository that is copied from",
        _ => return Ok(()),
    };
    let err = CliError::failed(format!("{} {what}", path.display()));
    Err(err.hint("name another folder with --to, best on another disk").into())
}

/// What helps where there is no repository to copy to.
fn with_init(err: anyhow::Error) -> anyhow::Error {
    match err.downcast_ref::<RepoError>() {
        Some(RepoError::NoRepository { location }) => {
            let hint = "--init makes one, or name another with --to".to_owned();
            CliError::no_repository(format!("no repository at {location}")).hint(hint).into()
        }
        Some(RepoError::WrongKey { location } | RepoError::KeyNeeded { location }) => {
            let what = format!("the key does not open {location}, which is to be copied to");
            let hint = "give its own: --to-key-file, --to-passphrase-file, \
                        --to-passphrase-command, or ICECORE_TO_PASSPHRASE and the like";
            CliError::wrong_key(what).hint(hint).into()
        }
        _ => err,
    }
}
