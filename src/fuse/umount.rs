//! Unmounting: as root by the system call, as anybody else through the set-uid fusermount3.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::error::{FuseError, Result};
use super::table::{FS_TYPE, mounted_on};
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
    let line = mounted_on(&mountpoint)
        .map_err(|source| FuseError::Unmount { mountpoint: mountpoint.clone(), source })?;
    if line.is_none_or(|line| line.fs_type != FS_TYPE) {
        return Err(FuseError::NotMounted { mountpoint });
    }
    if rustix::process::geteuid().is_root() {
        let mut flags = UnmountFlags::NOFOLLOW;
        flags.set(UnmountFlags::DETACH, readers == Readers::Outlive);
        return match rustix::mount::unmount(&mountpoint, flags) {
            Ok(()) => Ok(()),
            Err(Errno::BUSY) => Err(FuseError::Busy { mountpoint }),
            Err(err) => Err(FuseError::Unmount { mountpoint, source: err.into() }),
        };
    }
    by_helper(mountpoint, readers)
}

/// The same once nobody uses it, within `wait`; `busy` is told at the first refusal who does.
///
/// # Errors
/// As [`umount`]; [`FuseError::Busy`] where someone uses it to the end.
pub fn umount_within(
    mountpoint: &Path,
    wait: Duration,
    busy: &mut dyn FnMut(&Users),
) -> Result<()> {
    let start = Instant::now();
    let mut told = false;
    loop {
        let refused = match umount(mountpoint, Readers::Respect) {
            Err(FuseError::Busy { mountpoint }) => mountpoint,
            result => return result,
        };
        let left = wait.saturating_sub(start.elapsed());
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
    command.arg("-u").args((readers == Readers::Outlive).then_some("-z"));
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
