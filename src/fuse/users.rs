//! Who uses a mount: what `/proc` tells of every process, by the mount's device.
//!
//! Nothing of the mount itself is asked, so this works for one whose process is dead or hangs:
//! links of `/proc` are read as text, and their targets' device comes from what the kernel has in
//! memory. A process of somebody else's can be looked into by root only; that some could not be is
//! told. The kernel's own users (an overlay above, a loop device, the NFS server) are no processes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::table::{MountLine, below, mounted_on};

/// How a process uses a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// It works in this directory.
    Directory,
    /// Its file system starts there.
    Root,
    /// It runs this program.
    Program,
    /// It has the file open.
    Open,
    /// It has the file mapped.
    Mapped,
}

/// A process that uses a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its process id.
    pub pid: u32,
    /// Who runs it.
    pub uid: u32,
    /// Its name, at most 15 bytes.
    pub command: String,
    /// What it uses and how, each path once; never empty.
    pub uses: Vec<(Use, PathBuf)>,
}

/// All that is known to use a mount.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    /// Processes, by id.
    pub processes: Vec<User>,
    /// What is mounted below the mountpoint.
    pub mounts: Vec<PathBuf>,
    /// Whether there are processes that could not be looked into.
    pub hidden: bool,
}

/// Who uses what is mounted on `mountpoint`, an absolute path without links.
///
/// # Errors
/// Where `/proc` cannot be read.
pub fn users(mountpoint: &Path) -> io::Result<Users> {
    let Some(line) = mounted_on(mountpoint)? else { return Ok(Users::default()) };
    let mut found = Users { mounts: below(mountpoint)?, ..Users::default() };
    let root = rustix::process::geteuid().is_root();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match uses(&entry.path(), &line) {
            Ok(uses) if uses.is_empty() => {}
            Ok(uses) => found.processes.extend(described(pid, &entry.path(), uses)),
            // Root is refused at processes that are about to end, and those use nothing.
            Err(err) => found.hidden |= !root && err.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    found.processes.sort_by_key(|user| user.pid);
    Ok(found)
}

/// `None` where the process has ended.
fn described(pid: u32, process: &Path, uses: Vec<(Use, PathBuf)>) -> Option<User> {
    let uid = fs::metadata(process).ok()?.uid();
    let command = fs::read(process.join("comm")).ok()?;
    let command = String::from_utf8_lossy(&command).trim_end_matches('\n').to_owned();
    Some(User { pid, uid, command, uses })
}

fn uses(process: &Path, mount: &MountLine) -> io::Result<Vec<(Use, PathBuf)>> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut add = |how, path: PathBuf| {
        if seen.insert(path.clone()) {
            found.push((how, path));
        }
    };
    for (name, how) in [("cwd", Use::Directory), ("root", Use::Root), ("exe", Use::Program)] {
        if let Some(path) = on_mount(&process.join(name), mount)? {
            add(how, path);
        }
    }
    for entry in fs::read_dir(process.join("fd"))?.flatten() {
        // One that was closed meanwhile is nobody's.
        if let Ok(Some(path)) = on_mount(&entry.path(), mount) {
            add(Use::Open, path);
        }
    }
    let maps = fs::read(process.join("maps"))?;
    for path in maps.split(|&byte| byte == b'\n').filter_map(|line| mapped(line, &mount.device)) {
        add(Use::Mapped, path);
    }
    Ok(found)
}

/// Where a link of `/proc` leads, if that is on the mount. A kernel thread's lead nowhere.
fn on_mount(link: &Path, mount: &MountLine) -> io::Result<Option<PathBuf>> {
    let path = match fs::read_link(link) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        path => path?,
    };
    let stat = statx(CWD, link, AtFlags::STATX_DONT_SYNC, StatxFlags::empty())?;
    let device = format!("{}:{}", stat.stx_dev_major, stat.stx_dev_minor);
    Ok((device == mount.device).then_some(path))
}

/// The file that a line of `maps` tells of, if it lies on the device. `proc_pid_maps(5)` has the
/// device in hexadecimal digits, the table of mounts in decimal ones.
fn mapped(line: &[u8], device: &str) -> Option<PathBuf> {
    let mut fields = line.splitn(6, |&byte| byte == b' ');
    let text = std::str::from_utf8(fields.nth(3)?).ok()?;
    let (major, minor) = text.split_once(':')?;
    let number = |digits| u32::from_str_radix(digits, 16).ok();
    if format!("{}:{}", number(major)?, number(minor)?) != device {
        return None;
    }
    let path = fields.nth(1)?.trim_ascii_start();
    Some(PathBuf::from(OsString::from_vec(path.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps_are_told_apart_by_device() {
        let line = b"55e35f2a4000-55e35f2a7000 r--p 00000000 00:3c 247749    /mnt/a b";
        assert_eq!(mapped(line, "0:60"), Some("/mnt/a b".into()));
        assert_eq!(mapped(line, "0:3"), None);
        assert_eq!(mapped(b"7ffd-7ffe rw-p 00000000 00:00 0 ", "0:60"), None);
        assert_eq!(mapped(b"", "0:60"), None);
    }
}
