//! `icecore mount`.
//!
//! Without `--foreground` this process finds the secret, starts itself again with `--background`,
//! hands the secret over through a pipe and ends once the child has mounted.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::fuse::daemon::{Background, Launched, launch};
use crate::fuse::{self, FuseError, MountOptions, Mounted, Readers, Unmounter};
use crate::repo::Secret;
use crate::report::{json as as_json, text};

use super::context::Context;
use super::error::talk_error;
use super::exit::Exit;
use super::progress::talk;
use super::secrets;
use crate::units::chain;

/// Show all snapshots as directories
///
/// Returns when the mount can be used; unmount with `icecore umount`. latest leads to the newest
/// snapshot, snapshots/ holds all of them, hosts/, tags/ and sources/ lead to them by what they are
/// called or hold; versions/ has every version of every file, diff/ what differs between two
/// snapshots, .icecore/ texts about the mount.
/// Everything is read-only, checked as it is read, and has the metadata it had at its source.
///
/// In the foreground SIGINT, SIGTERM and SIGHUP unmount; where someone still uses the mount, a
/// second one takes it off all the same.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup mount /mnt/back
  cp -a /mnt/back/latest/srv/models /restore/
  icecore umount /mnt/back")]
pub(crate) struct Mount {
    /// An existing directory outside of the repository
    mountpoint: PathBuf,

    /// Stay in the foreground until unmounted
    #[arg(short, long)]
    foreground: bool,

    /// Let other users look too, as far as modes and ACLs let them
    #[arg(long)]
    allow_other: bool,

    /// Threads that answer the kernel
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,

    /// File that takes messages of the background process, like damage that was met
    #[arg(long, value_name = "FILE", conflicts_with = "foreground")]
    log: Option<PathBuf>,

    /// The process that serves: its secret comes from standard input
    #[arg(long, hide = true, conflicts_with = "foreground")]
    background: bool,
}

impl Mount {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        if self.background {
            self.serve_in_background(cx)
        } else if self.foreground {
            self.serve_in_foreground(cx)
        } else {
            self.launch(cx)
        }
    }

    fn launch(&self, cx: &mut Context) -> anyhow::Result<Exit> {
        let secret = secrets::to_pipe(cx.secret()?.as_ref());
        let hidden = secrets::ENVIRONMENT.into_iter().chain([secrets::NEW_PASSPHRASE]);
        match launch(self.arguments(cx)?, &secret, hidden)? {
            Launched::Ready { pid } => {
                let whole = std::path::absolute(&self.mountpoint);
                report(cx, whole.as_ref().unwrap_or(&self.mountpoint), pid)?;
                Ok(Exit::Done)
            }
            // It has said why.
            Launched::Failed { code } => Ok(Exit::from_code(code)),
        }
    }

    /// The command line of the process that serves; it works in another directory.
    fn arguments(&self, cx: &Context) -> anyhow::Result<Vec<OsString>> {
        let absolute = |path: &Path| {
            let whole = std::path::absolute(path);
            whole.with_context(|| format!("cannot find {}", path.display()))
        };
        let mut args: Vec<OsString> = vec!["-r".into(), absolute(&cx.location()?)?.into()];
        match cx.global.cache() {
            Some(folder) => args.extend(["--cache-dir".into(), absolute(&folder)?.into()]),
            None => args.push("--no-cache".into()),
        }
        args.extend(cx.global.json.then(|| "--json".into()));
        args.extend(cx.global.quiet.then(|| "--quiet".into()));
        args.extend((0..cx.global.verbose).map(|_| "--verbose".into()));
        args.extend(["mount".into(), "--background".into()]);
        args.extend(["--threads".into(), self.threads.to_string().into()]);
        args.extend(self.allow_other.then(|| "--allow-other".into()));
        if let Some(log) = &self.log {
            args.extend(["--log".into(), absolute(log)?.into()]);
        }
        args.extend(["--".into(), absolute(&self.mountpoint)?.into()]);
        Ok(args)
    }

    fn serve_in_background(&self, cx: &Context) -> anyhow::Result<Exit> {
        let (background, bytes) = Background::begin()?;
        let mounted = self.mount(cx, secrets::from_pipe(&bytes).as_ref())?;
        drop(bytes);
        let signals = watch(mounted.unmounter())?;
        background.ready(self.log.as_deref())?;
        serve(mounted, &signals)
    }

    fn serve_in_foreground(&self, cx: &mut Context) -> anyhow::Result<Exit> {
        let secret = cx.secret()?;
        let mounted = self.mount(cx, secret.as_ref())?;
        drop(secret);
        let signals = watch(mounted.unmounter())?;
        report(cx, mounted.mountpoint(), std::process::id())?;
        serve(mounted, &signals)
    }

    fn mount(&self, cx: &Context, secret: Option<&Secret>) -> anyhow::Result<Mounted> {
        let repo = cx.open_with(&cx.location()?, secret, &cx.open_options())?;
        let options =
            MountOptions { allow_other: self.allow_other, threads: usize::from(self.threads) };
        Ok(fuse::mount(Arc::new(repo), &self.mountpoint, options)?)
    }
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

/// Serves until it is unmounted, by whomever.
fn serve(mounted: Mounted, signals: &signal_hook::iterator::Handle) -> anyhow::Result<Exit> {
    let served = mounted.wait();
    signals.close();
    served?;
    Ok(Exit::Done)
}

/// Unmounts at the first signal where nobody uses the mount, at the second whoever does.
fn watch(unmounter: Unmounter) -> anyhow::Result<signal_hook::iterator::Handle> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot take signals")?;
    let handle = signals.handle();
    let unmount = move || {
        let mut readers = Readers::Respect;
        for _ in signals.forever() {
            match unmounter.unmount(readers) {
                Ok(()) => {}
                Err(err @ FuseError::Busy { .. }) => {
                    talk_error(&chain(&err));
                    talk("  hint: once more takes it off all the same");
                    readers = Readers::Outlive;
                }
                Err(err) => talk_error(&chain(&err)),
            }
        }
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(unmount)
        .context("cannot start a thread")?;
    Ok(handle)
}
