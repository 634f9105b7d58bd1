//! The processes of a drill: this program again, by a first argument that no person gives.
//!
//! They do not pass through the command line's parser: they say nothing to people, and start in
//! milliseconds. What each is for is in `ops::drill`.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::format::Owner;
use crate::fuse::{self, MountOptions};
use crate::ops::OpError;
use crate::ops::drill::{self, Order, Teller};
use crate::repo::{OpenOptions, PassedKey, Repository};
use crate::storage::Storage;
use crate::vfs::{ShowOwner, Start};

use super::super::context::local_storage;
use super::super::error::show;
use super::super::log;
use super::super::mount::cache_default;

/// How a repository is opened by another process, with the key itself, so that no process but the
/// first does a passphrase's work. It only ever goes through pipes.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct Opening {
    #[zeroize(skip)]
    pub(super) location: PathBuf,
    #[zeroize(skip)]
    pub(super) cache: Option<PathBuf>,
    /// In hex; none without encryption.
    pub(super) key: Option<String>,
}

impl Opening {
    fn of(order: &Order) -> Result<Self, OpError> {
        serde_json::from_str(&order.access.0)
            .map_err(|err| OpError::Input(format!("the repository is not told: {err}")))
    }

    fn open(&self, block_cache_bytes: Option<usize>) -> Result<Repository, OpError> {
        let key = self.key.as_ref().map(|hex| {
            let mut key = Zeroizing::new([0; 32]);
            hex::decode_to_slice(hex, &mut *key).map(|()| PassedKey(key))
        });
        let key = key.transpose().map_err(|_| OpError::Input("the key is not told".into()))?;
        let storage: Arc<dyn Storage> = Arc::new(local_storage(&self.location)?);
        let mut options = OpenOptions { cache: self.cache.clone(), ..OpenOptions::default() };
        if let Some(bytes) = block_cache_bytes {
            options.block_cache_bytes = bytes;
        }
        Ok(Repository::open_passed(storage, key.as_ref(), &options)?)
    }
}

/// Whether this process is one of a drill; it is carried out then.
pub(crate) fn main(args: &[OsString]) -> Option<ExitCode> {
    if args.get(1)? != drill::INSIDE {
        return None;
    }
    let rest = args.get(3..).unwrap_or_default();
    let role = args.get(2).and_then(|role| role.to_str()).unwrap_or_default();
    let done = match role {
        drill::SWEEP => sweep(),
        drill::GUARD => guard(),
        drill::SHOW => serve(),
        drill::ENTER => drill::enter_namespaces().map_err(Into::into),
        drill::FIRST => drill::first(rest).map_err(Into::into),
        drill::WORK => work(rest),
        drill::AS => drill::become_command(rest).map(|()| 0).map_err(Into::into),
        _ => Err(OpError::Input("icecore drill starts this itself".into()).into()),
    };
    Some(match done {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(err) => show(&err, false).into(),
    })
}

/// Clears away after the drill, which no signal but the one that asks nobody keeps it from.
fn sweep() -> anyhow::Result<i32> {
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::default()).context("cannot take signals")?;
    }
    log::start(0, false);
    let tell = Teller::new(Box::new(io::stdout()), drill::now_ns());
    drill::sweep(BufReader::new(io::stdin()), &tell)?;
    Ok(0)
}

fn guard() -> anyhow::Result<i32> {
    drill::die_with_parent()?;
    let mut input = BufReader::new(io::stdin());
    let order = drill::read_order(&mut input)?;
    // While there is one thread.
    drill::begin(&order)?;
    log::start(0, false);
    end_with(input)?;
    let tell = Teller::new(Box::new(io::stdout()), order.started_ns);
    let open = |order: &Order| Opening::of(order)?.open(None);
    if let Err(err) = drill::guard(order, &open, &tell) {
        tell.tell(&drill::Event::Failed { cause: crate::units::chain(&err) })?;
    }
    Ok(0)
}

/// Ends this process, and with it all below it, when the one above closes its end.
fn end_with(mut input: impl BufRead + Send + 'static) -> anyhow::Result<()> {
    let wait = move || {
        let _ = input.read_to_end(&mut Vec::new());
        std::process::exit(1);
    };
    std::thread::Builder::new().spawn(wait).context("cannot start a thread")?;
    Ok(())
}

fn work(args: &[OsString]) -> anyhow::Result<i32> {
    log::start(0, false);
    let file = args.first().context("no order")?;
    let order = drill::read_order(&mut BufReader::new(std::fs::File::open(file)?))?;
    let tell = Teller::new(Box::new(io::stdout()), order.started_ns);
    drill::work(&order, &tell)?;
    Ok(0)
}

/// Mounts the snapshots of an order and serves them until standard input ends.
fn serve() -> anyhow::Result<i32> {
    drill::die_with_parent()?;
    log::start(0, false);
    let mut input = BufReader::new(io::stdin());
    let order = drill::read_order(&mut input)?;
    let repo = Opening::of(&order)?.open(Some(usize::try_from(cache_default())?))?;
    let repo = Arc::new(repo);
    let mut mounted = Vec::new();
    for (id, at) in drill::shown(&order) {
        let snapshot = repo.read_snapshot(id)?.context("the snapshot is gone")?;
        let options = MountOptions {
            allow_other: true,
            // Nothing of a drill is exported, and overlays lie over it.
            no_export: true,
            start: Some(Start { snapshot, path: b"/".to_vec() }),
            owners: order.is_rootless.then(|| Arc::new(OneOwner) as Arc<dyn ShowOwner>),
            ..MountOptions::default()
        };
        mounted.push(fuse::mount(Arc::clone(&repo), &at, options)?);
    }
    let tell = |line: &str| {
        use io::Write;
        let mut out = io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush())
    };
    tell(drill::READY)?;
    // Until the process above ends: it neither says more nor closes before.
    input.read_to_end(&mut Vec::new())?;
    std::process::exit(0);
}

/// Shows everything as owned by the one user that a user namespace without root knows.
#[derive(Debug)]
struct OneOwner;

impl ShowOwner for OneOwner {
    fn owner(&self, _stored: &Owner) -> (u32, u32) {
        (0, 0)
    }
}
