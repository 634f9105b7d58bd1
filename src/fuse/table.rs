//! The kernel's table of mounts: what is mounted where.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The file system type that `/proc/self/mountinfo` shows for our mounts.
pub(super) const FS_TYPE: &str = "fuse.icecore";

/// What the sources of our mounts begin with in the table, unless they were named otherwise.
pub(super) const SOURCE: &str = "icecore:";

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountLine {
    /// Like `0:52`, the name of its settings below `/sys/class/bdi`.
    pub(super) device: String,
    pub(super) mountpoint: PathBuf,
    pub(super) fs_type: String,
    pub(super) source: String,
}

/// The topmost mount on exactly `mountpoint`, an absolute path without links. The path itself is
/// not touched, so this works for mounts whose process is dead or hangs.
pub(super) fn mounted_on(mountpoint: &Path) -> io::Result<Option<MountLine>> {
    Ok(lines()?.into_iter().rfind(|line| line.mountpoint == mountpoint))
}

/// Everything that is mounted below `mountpoint`.
pub(super) fn below(mountpoint: &Path) -> io::Result<Vec<PathBuf>> {
    let points = lines()?.into_iter().map(|line| line.mountpoint);
    Ok(points.filter(|point| point != mountpoint && point.starts_with(mountpoint)).collect())
}

/// A mount of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryMount {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// `st_dev` of all that is on it.
    pub device: u64,
}

/// Where the repository in the folder `location` is mounted on this machine, by whomever.
///
/// # Errors
/// Where `/proc` cannot be read.
pub fn mounts_of(location: &Path) -> io::Result<Vec<RepositoryMount>> {
    let same = |line: &MountLine| {
        let source = Path::new(line.source.strip_prefix(SOURCE).unwrap_or(&line.source));
        line.fs_type == FS_TYPE && source.canonicalize().is_ok_and(|source| source == location)
    };
    let mounts = lines()?.into_iter().filter(same).filter_map(|line| {
        let (major, minor) = line.device.split_once(':')?;
        let device = rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?);
        Some(RepositoryMount { mountpoint: line.mountpoint, device })
    });
    Ok(mounts.collect())
}

fn lines() -> io::Result<Vec<MountLine>> {
    let table = fs::read("/proc/self/mountinfo")?;
    Ok(table.split(|&byte| byte == b'\n').filter_map(parse).collect())
}

/// Reads a line as proc_pid_mountinfo(5) lays it out; `None` where it is none.
fn parse(line: &[u8]) -> Option<MountLine> {
    let mut fields = line.split(|&byte| byte == b' ');
    let device = text(fields.nth(2)?);
    let mountpoint = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    let mut after = fields.skip_while(|field| *field != b"-").skip(1);
    let fs_type = text(after.next()?);
    let source = text(after.next()?);
    Some(MountLine { device, mountpoint, fs_type, source })
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

/// Undoes the octal escapes of blanks and backslashes.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = after
            .get(..3)
            .filter(|digits| byte == b'\\' && digits.iter().all(|b| (b'0'..=b'7').contains(b)));
        match escaped {
            Some(digits) => {
                plain.push(digits.iter().fold(0_u8, |n, b| n.wrapping_mul(8) + (b - b'0')));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_any_number_of_optional_fields_are_read() {
        for optional in ["", "shared:7 ", "shared:7 master:1 "] {
            let line = format!(
                "99 27 0:52 / /mnt/a\\040b\\134 ro,nosuid {optional}- fuse.icecore icecore:/x ro"
            );
            let expected = MountLine {
                device: "0:52".into(),
                mountpoint: "/mnt/a b\\".into(),
                fs_type: FS_TYPE.into(),
                source: "icecore:/x".into(),
            };
            assert_eq!(parse(line.as_bytes()), Some(expected));
        }
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"99 27 0:52 / /mnt ro,nosuid shared:7"), None);
    }
}
