//! The kernel's end of a mount: whether who answers it is dying, and its end by force.
//!
//! When a process is killed, the kernel closes its connection and fails all questions. Not so where
//! one of its threads puts bytes into the page cache: that thread waits in the kernel for a page
//! that a reader has asked for, the reader waits for an answer, and the connection stays open for as
//! long as the thread is there. Nothing but ending the connection frees them.
//!
//! Nothing of the mount itself is asked. `/proc/<pid>/fdinfo` says which connection a descriptor of
//! `/dev/fuse` is of (Linux 6.16 and later; before, nobody is seen to be dying). What must stay
//! true: a connection is ended unasked only where a process that holds it was seen, and each that
//! holds it was killed: one in another PID namespace is not seen at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::table::MountLine;

const DEVICE: &str = "/dev/fuse";
const CONNECTIONS: &str = "/sys/fs/fuse/connections";
/// The bit of SIGKILL in the masks of proc_pid_status(5).
const KILLED: u64 = 1 << (libc::SIGKILL - 1);

/// What is known of those who answer a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    /// A process that would.
    Lives,
    /// Only processes that were killed and cannot end.
    Dying,
    /// None is seen: the connection has ended, or cannot be told from others, or is held by a
    /// process that this one may not look into.
    Unseen,
}

/// Who answers the mount.
pub(super) fn server(mount: &MountLine) -> io::Result<Server> {
    let Some(number) = number(mount) else { return Ok(Server::Unseen) };
    let mut found = Server::Unseen;
    for entry in fs::read_dir("/proc")?.flatten() {
        let is_process = entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
        if !is_process {
            continue;
        }
        match holder(&entry.path(), number) {
            Some(task) if is_killed(&task) => found = Server::Dying,
            Some(_) => return Ok(Server::Lives),
            None => {}
        }
    }
    Ok(found)
}

/// Ends the connection by the control file system, as its owner may. Whoever waits gets an error.
pub(super) fn end(mount: &MountLine) -> io::Result<()> {
    let number = number(mount).ok_or(io::ErrorKind::Unsupported)?;
    let abort = Path::new(CONNECTIONS).join(number).join("abort");
    fs::write(&abort, "1").map_err(|err| {
        let what = format!("cannot end the connection by {}: {err}", abort.display());
        io::Error::new(err.kind(), what)
    })
}

/// The name of a connection is the minor number of its file system's device.
fn number(mount: &MountLine) -> Option<&str> {
    mount.device.strip_prefix("0:")
}

/// The first thread of a process that has its descriptors still, if the connection is among them.
fn holder(process: &Path, connection: &str) -> Option<PathBuf> {
    // All threads share descriptors, but one that has ended has none any more.
    let tasks = fs::read_dir(process.join("task")).ok()?.flatten().map(|task| task.path());
    for task in tasks {
        let Ok(descriptors) = fs::read_dir(task.join("fd")) else { continue };
        let mut any = false;
        for descriptor in descriptors.flatten() {
            any = true;
            let is_device =
                fs::read_link(descriptor.path()).is_ok_and(|to| to == Path::new(DEVICE));
            let info = || fs::read_to_string(task.join("fdinfo").join(descriptor.file_name()));
            if is_device && info().is_ok_and(|info| is_of(&info, connection)) {
                return Some(task);
            }
        }
        if any {
            return None;
        }
    }
    None
}

/// Whether what is told of a descriptor says that it is of this connection.
fn is_of(info: &str, connection: &str) -> bool {
    let mut told = info.lines().filter_map(|line| line.strip_prefix("fuse_connection:"));
    told.any(|told| told.trim() == connection)
}

fn is_killed(task: &Path) -> bool {
    fs::read_to_string(task.join("status")).is_ok_and(|status| has_kill_pending(&status))
}

fn has_kill_pending(status: &str) -> bool {
    let masks = status
        .lines()
        .filter_map(|line| line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:")));
    let mut masks = masks.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    masks.any(|mask| mask & KILLED != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kill_is_told_from_other_signals() {
        let status =
            |own: u64, all: u64| format!("Name:\tx\nSigPnd:\t{own:016x}\nShdPnd:\t{all:016x}\n");
        assert!(has_kill_pending(&status(0x100, 0)));
        assert!(has_kill_pending(&status(0x1, 0x4100)));
        assert!(!has_kill_pending(&status(!0x100, 0x4000)));
        assert!(!has_kill_pending(""));
    }

    #[test]
    fn a_descriptor_is_of_one_connection() {
        let info = "pos:\t0\nflags:\t02100002\nfuse_connection:\t39\n";
        assert!(is_of(info, "39"));
        assert!(!is_of(info, "3") && !is_of("pos:\t0\n", "0"));
    }

    #[test]
    fn nobody_is_seen_of_a_connection_that_is_none() {
        let line = |device: &str| MountLine {
            device: device.into(),
            mountpoint: "/nowhere".into(),
            fs_type: String::new(),
            source: String::new(),
        };
        assert_eq!(server(&line("0:4294967295")).unwrap(), Server::Unseen);
        assert_eq!(server(&line("8:1")).unwrap(), Server::Unseen);
        assert!(end(&line("0:4294967295")).is_err());
    }
}
