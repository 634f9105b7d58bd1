//! Serving until it is unmounted: by a signal, or by whomever; and what systemd is told.
//!
//! What must stay true: the first signal never takes the mount from who uses it. It is tried again
//! until they are done; only a second signal takes it off the tree all the same, and then they are
//! still served.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::fuse::{self, FuseError, Mounted, Readers, Unmounter};
use crate::report::text;
use crate::units::chain;

use super::super::error::talk_error;
use super::super::exit::Exit;
use super::super::manager::Manager;
use super::super::progress::talk;
use super::super::signals::Interrupt;
use super::super::umount;

/// Pause between two tries to unmount.
const RETRY: Duration = Duration::from_millis(250);

/// Serves until it is unmounted, by whomever.
pub(super) fn until_unmounted(mounted: Mounted, signals: &Handle) -> anyhow::Result<Exit> {
    let served = mounted.wait();
    signals.close();
    served?;
    Ok(Exit::Done)
}

/// The signals that unmount: from now on they end nothing.
pub(super) fn signals() -> anyhow::Result<Signals> {
    Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot take signals")
}

/// Unmounts after the first signal as soon as nobody uses the mount, at the second whoever does.
/// What is being read slowly then is waited for no longer.
pub(super) fn watch(
    mut signals: Signals,
    mounted: &Mounted,
    manager: Manager,
    interrupt: Interrupt,
) -> anyhow::Result<Handle> {
    let handle = signals.handle();
    let (unmounter, point) = (mounted.unmounter(), mounted.mountpoint().to_owned());
    let unmount = move || {
        while signals.forever().next().is_some() {
            manager.stopping("unmounting");
            if unmount(&mut signals, &unmounter, &point, manager) {
                interrupt.set();
            }
        }
    };
    thread::Builder::new()
        .name("signals".into())
        .spawn(unmount)
        .context("cannot start a thread")?;
    Ok(handle)
}

/// Tries until it is unmounted; whether it was. That can be somebody else's doing too, which closes
/// `signals`.
fn unmount(signals: &mut Signals, unmounter: &Unmounter, point: &Path, manager: Manager) -> bool {
    let mut told = false;
    while !signals.handle().is_closed() {
        let again = told && signals.pending().next().is_some();
        let readers = if again { Readers::Outlive } else { Readers::Respect };
        match unmounter.unmount(readers) {
            Ok(()) => return true,
            Err(FuseError::Busy { .. }) if told => {}
            Err(FuseError::Busy { .. }) => {
                told = true;
                in_use(point, manager);
            }
            // Taken off the tree already, and served on for who uses it.
            Err(FuseError::NotMounted { .. }) => return false,
            Err(err) => {
                talk_error(&chain(&err));
                return false;
            }
        }
        thread::sleep(RETRY);
    }
    false
}

fn in_use(point: &Path, manager: Manager) {
    let users = fuse::users(point).ok().and_then(|users| umount::summary(&users));
    let by = users.map_or_else(String::new, |users| format!(" by {users}"));
    let said = format!("{} is in use{by}", point.display());
    let said = text::escaped(said.as_bytes());
    talk_error(&format!("{said}; it is unmounted when they are done"));
    talk("  hint: once more takes it off all the same");
    manager.status(&said);
}
