//! `icecore mount`.
//!
//! Without `--foreground` this process finds the secret, starts itself again with `--background`,
//! hands the secret over through a pipe and ends once the child has mounted. What is shown and to
//! whom is in `view`, serving and its end in `serve`, memory in `memory`; `helper` is what mount(8)
//! calls, `unit` prints what systemd wants; `manual` and `manual_views` tell of all that.

pub(super) mod helper;
pub(super) mod manual;
pub(super) mod manual_views;
mod memory;
mod serve;
pub(crate) mod unit;
mod view;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::fuse::daemon::{Background, Launched, launch};
use crate::fuse::{self, MountOptions, Mounted};
use crate::repo::{OpenOptions, Secret};
use crate::report::{json as as_json, text};

use super::arenas;
use super::context::Context;
use super::exit::Exit;
use super::manager::{self, Manager};
use super::secrets;
use super::signals::EndsAtOnce;

pub(crate) use memory::cache_default;
use view::View;

/// Show all snapshots as directories
///
/// Returns when the mount can be used; unmount with `icecore umount`. latest leads to the newest
/// snapshot, snapshots/ holds all of them, hosts/, tags/ and sources/ lead to them by what they are
/// called or hold; versions/ has every version of every file, diff/ what differs between two
/// snapshots, .icecore/ texts about the mount.
/// Everything is read-only, checked as it is read, and has the metadata it had at its source.
///
/// SIGINT, SIGTERM and SIGHUP unmount as soon as nobody uses the mount; a second one takes it off
/// all the same.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup mount /mnt/back
  cp -a /mnt/back/latest/srv/models /restore/
  icecore umount /mnt/back
  icecore -r /backup mount --snapshot latest:/home/ann --uid ann --gid ann /mnt/ann
  icecore -r /backup mount --allow-other --print-unit /mnt/back")]
pub(crate) struct Mount {
    /// An existing directory outside of the repository
    mountpoint: PathBuf,

    /// Stay in the foreground until unmounted; tells systemd when it is ready
    #[arg(short, long)]
    foreground: bool,

    #[command(flatten)]
    view: View,

    /// Let other users look too, as far as modes and ACLs let them
    #[arg(long)]
    allow_other: bool,

    /// Let nobody run programs from it
    #[arg(long)]
    noexec: bool,

    /// Memory for decoded blocks [default: a quarter of the memory, at most 1G]
    #[arg(long, value_name = "SIZE", value_parser = memory::parse, allow_hyphen_values = true)]
    cache: Option<u64>,

    /// Threads that answer the kernel
    #[arg(long, value_name = "N", default_value_t = fuse::THREADS_DEFAULT)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64), allow_hyphen_values = true)]
    threads: u16,

    /// Let idle processors sleep deeply while the mount is read, which makes small files slower
    #[arg(long)]
    power_saving: bool,

    /// Give out no file handles: not for NFS, but for overlays (see OVERLAYS)
    #[arg(long)]
    no_export: bool,

    /// File that takes messages of the background process, like damage that was met
    #[arg(long, value_name = "FILE", conflicts_with = "foreground")]
    log: Option<PathBuf>,

    /// Mount nothing: print a systemd unit that does it with these options
    #[arg(long, conflicts_with_all = ["foreground", "log"])]
    print_unit: bool,

    /// The process that serves: its secret comes from standard input
    #[arg(long, hide = true, conflicts_with_all = ["foreground", "print_unit"])]
    background: bool,

    /// What the table of mounts shows as the source
    #[arg(long, hide = true, value_name = "NAME")]
    source_name: Option<String>,
}

impl Mount {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        self.view.check()?;
        if self.print_unit {
            self.print_unit(cx)
        } else if self.background {
            self.serve_in_background(cx)
        } else if self.foreground {
            self.serve_in_foreground(cx)
        } else {
            self.launch(cx)
        }
    }

    fn launch(&self, cx: &mut Context) -> anyhow::Result<Exit> {
        let secret = secrets::to_pipe(cx.secret()?.as_ref());
        // Whoever is to be told of a service that is ready, it is not this process's child.
        let hidden = secrets::ENVIRONMENT.into_iter().chain([secrets::NEW_PASSPHRASE]);
        let hidden = hidden.chain([manager::SOCKET]);
        let mut args = self.global_arguments(cx)?;
        args.extend(["mount".into(), "--background".into()]);
        args.extend(self.arguments()?);
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot take signals")?;
        let handle = signals.handle();
        // Not every signal reaches it, and what it says of them is said here.
        let interrupt = cx.interrupt.clone();
        let hand_on = |pid: u32| {
            let hand_on = move |_| {
                interrupt.set();
                terminate(pid);
            };
            std::thread::spawn(move || signals.forever().for_each(hand_on));
        };
        let launched = launch(args, &secret, hidden, hand_on);
        handle.close();
        match launched? {
            Launched::Ready { pid } => {
                let whole = std::path::absolute(&self.mountpoint);
                report(cx, whole.as_ref().unwrap_or(&self.mountpoint), pid)?;
                Ok(Exit::Done)
            }
            Launched::Failed { code } => {
                let exit = Exit::from_code(code);
                if exit != Exit::Interrupted {
                    // Killed before it took signals, and so without a word.
                    cx.interrupt.check()?;
                }
                // It has said why.
                Ok(exit)
            }
        }
    }

    /// What stands before the command in the command line of another process that serves; it works
    /// in another directory.
    fn global_arguments(&self, cx: &Context) -> anyhow::Result<Vec<OsString>> {
        let mut args: Vec<OsString> = vec!["-r".into(), absolute(&cx.location()?)?.into()];
        match cx.global.cache() {
            Some(folder) => args.extend(["--cache-dir".into(), absolute(&folder)?.into()]),
            None => args.push("--no-cache".into()),
        }
        if let Some(limit) = cx.global.limit_download {
            args.extend(["--limit-download".into(), limit.to_string().into()]);
        }
        args.extend(cx.global.json.then(|| "--json".into()));
        args.extend(cx.global.quiet.then(|| "--quiet".into()));
        args.extend((0..cx.global.verbose).map(|_| "--verbose".into()));
        Ok(args)
    }

    /// What stands after the command.
    fn arguments(&self) -> anyhow::Result<Vec<OsString>> {
        let mut args = self.view.arguments();
        args.extend(["--threads".into(), self.threads.to_string().into()]);
        args.extend(self.allow_other.then(|| "--allow-other".into()));
        args.extend(self.noexec.then(|| "--noexec".into()));
        args.extend(self.power_saving.then(|| "--power-saving".into()));
        args.extend(self.no_export.then(|| "--no-export".into()));
        if let Some(size) = self.cache {
            args.extend(["--cache".into(), size.to_string().into()]);
        }
        if let Some(log) = &self.log {
            args.extend(["--log".into(), absolute(log)?.into()]);
        }
        if let Some(name) = &self.source_name {
            args.extend(["--source-name".into(), name.into()]);
        }
        args.extend(["--".into(), absolute(&self.mountpoint)?.into()]);
        Ok(args)
    }

    fn serve_in_background(&self, cx: &Context) -> anyhow::Result<Exit> {
        let (background, bytes) = Background::begin()?;
        let (mounted, signals) = self.mount(cx, secrets::from_pipe(&bytes).as_ref())?;
        drop(bytes);
        let interrupt = cx.interrupt.clone();
        let signals = serve::watch(signals, &mounted, Manager::none(), interrupt)?;
        background.ready(self.log.as_deref())?;
        serve::until_unmounted(mounted, &signals)
    }

    fn serve_in_foreground(&self, cx: &mut Context) -> anyhow::Result<Exit> {
        let secret = cx.secret()?;
        let (mounted, signals) = self.mount(cx, secret.as_ref())?;
        drop(secret);
        let manager = Manager::from_environment();
        let signals = serve::watch(signals, &mounted, manager, cx.interrupt.clone())?;
        report(cx, mounted.mountpoint(), std::process::id())?;
        let repository = cx.location()?;
        let [from, on] = [&repository, mounted.mountpoint()].map(|it| text::escaped(bytes(it)));
        manager.ready(&format!("serving {from} on {on}"));
        let served = serve::until_unmounted(mounted, &signals);
        manager.stopping("unmounted");
        served
    }

    /// A signal ends the program until it mounts; from then on signals are in the list.
    fn mount(&self, cx: &Context, secret: Option<&Secret>) -> anyhow::Result<(Mounted, Signals)> {
        arenas::keep_large_pieces_apart();
        let ending = EndsAtOnce::begin(cx.global.json)?;
        let cache = self.cache.unwrap_or_else(memory::cache_default);
        let block_cache_bytes = usize::try_from(cache).unwrap_or(usize::MAX);
        let options = OpenOptions { block_cache_bytes, ..cx.open_options() };
        let repo = cx.open_with(&cx.location()?, secret, &options)?;
        let options = MountOptions {
            allow_other: self.allow_other,
            no_exec: self.noexec,
            threads: usize::from(self.threads),
            power_saving: self.power_saving,
            no_export: self.no_export,
            source_name: self.source_name.clone(),
            ..self.view.options(&repo)?
        };
        let prepared = fuse::prepare(Arc::new(repo), &self.mountpoint, options)?;
        let signals = serve::signals()?;
        drop(ending);
        Ok((prepared.mount()?, signals))
    }
}

/// Asks the process that is to serve to end. That it is gone already is no matter.
fn terminate(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()))
}

fn report(cx: &mut Context, mountpoint: &Path, pid: u32) -> anyhow::Result<()> {
    cx.report(
        || json!({ "mountpoint": as_json::path(bytes(mountpoint)), "pid": pid }),
        || format!("mounted on {}\n", text::escaped(bytes(mountpoint))),
    )
}

pub(crate) fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
