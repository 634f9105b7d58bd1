//! Unmounting: as root by the system call, as anybody else through the set-uid fusermount3.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::connection::{self, Server};
use super::error::{FuseError, Result};
use super::table::{FS_TYPE, MountLine, mounted_on};
use super::users::{Users, users};

/// Pause between two tries: nothing tells when a mount is no longer used.
const RETRY: Duration = Duration::from_millis(100);

/// What to do about those who still use the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Refuse with [`FuseError::Busy`].
    Respect,
    /// Take it off the tree now; it ends when the last of them is done.
    Outlive,
    /// Fail whatever they wait for, then as [`Self::Outlive`]: for a process that does not answer.
    Fail,
}

/// Unmounts what icecore has mounted on `mountpoint`, and nothing else.
///
/// When this returns the mountpoint is free; the process that served it ends by itself.
///
/// # Errors
/// [`FuseError::NotMounted`] where there is nothing of ours, [`FuseError::Busy`] where someone
/// still uses it.
pub fn umount(mountpoint: &Path, readers: Readers) -> Result<()> {
    let mountpoint = absolute(mountpoint);
    let Some(line) = ours(&mountpoint)? else { return Err(FuseError::NotMounted { mountpoint }) };
    unmount(&line, readers, readers == Readers::Fail)
}

/// The mount of icecore on an absolute path without links.
fn ours(mountpoint: &Path) -> Result<Option<MountLine>> {
    let line = mounted_on(mountpoint)
        .map_err(|source| FuseError::Unmount { mountpoint: mountpoint.to_owned(), source })?;
    Ok(line.filter(|line| line.fs_type == FS_TYPE))
}

/// `fails` ends the connection first.
fn unmount(line: &MountLine, readers: Readers, fails: bool) -> Result<()> {
    let mountpoint = line.mountpoint.clone();
    if !rustix::process::geteuid().is_root() {
        if fails {
            let failed = |source| FuseError::Unmount { mountpoint: mountpoint.clone(), source };
            connection::end(line).map_err(failed)?;
        }
        return by_helper(mountpoint, readers);
    }
    let mut flags = UnmountFlags::NOFOLLOW;
    flags.set(UnmountFlags::FORCE, fails);
    flags.set(UnmountFlags::DETACH, readers != Readers::Respect);
    match rustix::mount::unmount(&mountpoint, flags) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(FuseError::Busy { mountpoint }),
        Err(err) => Err(FuseError::Unmount { mountpoint, source: err.into() }),
    }
}

/// Takes off what was left by a process that was killed, if that is what is mounted there; whether
/// it was. Who waits for an answer, which nobody will give, gets an error.
///
/// # Errors
/// As [`umount`].
pub(super) fn take_off_dead(mountpoint: &Path) -> Result<bool> {
    let Some(line) = ours(&absolute(mountpoint))? else { return Ok(false) };
    let dying = is_dying(&line);
    // Of one that is dying this would not come back.
    let is_dead = || {
        let asked = std::fs::symlink_metadata(&line.mountpoint);
        asked.is_err_and(|err| err.raw_os_error() == Some(libc::ENOTCONN))
    };
    if !dying && !is_dead() {
        return Ok(false);
    }
    unmount(&line, Readers::Outlive, dying)?;
    Ok(true)
}

fn is_dying(line: &MountLine) -> bool {
    connection::server(line).is_ok_and(|server| server == Server::Dying)
}

/// The same once nobody uses it, within `wait`; `busy` is told at the first refusal who does. A
/// mount whose process was killed and cannot end is freed of those who wait for its answers.
///
/// # Errors
/// As [`umount`]; [`FuseError::Busy`] where someone uses it to the end.
pub fn umount_within(
    mountpoint: &Path,
    wait: Duration,
    busy: &mut dyn FnMut(&Users),
) -> Result<()> {
    let start = Instant::now();
    let (mut told, mut freed) = (false, false);
    loop {
        let refused = match umount(mountpoint, Readers::Respect) {
            Err(FuseError::Busy { mountpoint }) => mountpoint,
            result => return result,
        };
        let left = wait.saturating_sub(start.elapsed());
        if !freed
            && (!told || left.is_zero())
            && let Some(line) = ours(&refused)?.filter(is_dying)
        {
            freed = true;
            match unmount(&line, Readers::Respect, true) {
                Err(FuseError::Busy { .. }) => continue,
                result => return result,
            }
        }
        if left.is_zero() {
            return Err(FuseError::Busy { mountpoint: refused });
        }
        if !told {
            told = true;
            busy(&users(&refused).unwrap_or_default());
        }
        std::thread::sleep(left.min(RETRY));
    }
}

fn by_helper(mountpoint: PathBuf, readers: Readers) -> Result<()> {
    let mut command = Command::new("fusermount3");
    command.arg("-u").args((readers != Readers::Respect).then_some("-z"));
    command.arg("--").arg(&mountpoint).stdin(Stdio::null()).env("LC_ALL", "C");
    let fail = |mountpoint, source| Err(FuseError::Unmount { mountpoint, source });
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            if said.ends_with("Device or resource busy") {
                return Err(FuseError::Busy { mountpoint });
            }
            fail(mountpoint, io::Error::other(said))
        }
        Err(err) => {
            let what = format!("cannot run fusermount3 (package fuse3): {err}");
            fail(mountpoint, io::Error::new(err.kind(), what))
        }
    }
}

/// The absolute path without links. The mount itself is asked only where the table does not know
/// the path as it stands: one whose process is dead or hangs answers nothing.
fn absolute(mountpoint: &Path) -> PathBuf {
    let whole = std::path::absolute(mountpoint).unwrap_or_else(|_| mountpoint.to_owned());
    if let (Some(Ok(parent)), Some(name)) =
        (whole.parent().map(Path::canonicalize), whole.file_name())
    {
        let near = parent.join(name);
        if mounted_on(&near).is_ok_and(|line| line.is_some()) {
            return near;
        }
    }
    whole.canonicalize().unwrap_or(whole)
}
