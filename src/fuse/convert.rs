//! The tree's attributes in the kernel's words.
//!
//! Limits of the protocol: a device number has 12 bits of major and 20 of minor, which is all that
//! Linux itself has; times are signed 64-bit seconds; there is no birth time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, Generation, INodeNo};

use crate::format::Kind;
use crate::format::Time;
use crate::vfs::{Attr, Ino, Lifetime};

/// Numbers stay right over remounts, so one generation is enough.
pub(super) const GENERATION: Generation = Generation(0);

const BLOCK_SIZE: u32 = 4096;
/// 136 years: the kernel adds it to its own clock, so it must not be the largest number there is.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);
const SHORT: Duration = Duration::from_secs(1);

/// How long the kernel may keep an answer.
pub(super) const fn ttl(lifetime: Lifetime) -> Duration {
    match lifetime {
        Lifetime::Forever => FOREVER,
        Lifetime::Short => SHORT,
    }
}

pub(super) const fn kind(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

pub(super) const fn ino(ino: Ino) -> INodeNo {
    INodeNo(ino.0)
}

/// A stored time as the system's; `SystemTime` has 64-bit signed seconds on Linux, so only times
/// within a second of its ends are moved, to 1970.
fn time(time: Time) -> SystemTime {
    let secs = Duration::from_secs(time.secs.unsigned_abs());
    let whole =
        if time.secs < 0 { UNIX_EPOCH.checked_sub(secs) } else { UNIX_EPOCH.checked_add(secs) };
    let nanos = Duration::from_nanos(time.nanos.into());
    whole.and_then(|whole| whole.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

/// A device number as the kernel's `new_decode_dev` reads it.
const fn device((major, minor): (u32, u32)) -> u32 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12
}

pub(super) fn attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: ino(attr.ino),
        size: attr.size,
        blocks: attr.blocks,
        atime: time(attr.atime),
        mtime: time(attr.mtime),
        ctime: time(attr.ctime),
        crtime: attr.btime.map_or(UNIX_EPOCH, time),
        kind: kind(attr.kind),
        perm: (attr.mode & 0o7777) as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: device(attr.rdev),
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// What the kernel takes as "there is nothing of that name, and that will not change".
pub(super) const fn nothing() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_either_sign_are_exact() {
        let at = |secs, nanos| time(Time { secs, nanos });
        assert_eq!(at(-2, 500_000_000), UNIX_EPOCH - Duration::from_millis(1500));
        assert_eq!(at(-1, 0), UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(at(1 << 33, 1), UNIX_EPOCH + Duration::new(1 << 33, 1));
        assert_eq!(
            at(i64::MIN + 1, 7),
            UNIX_EPOCH - Duration::from_secs(i64::MAX as u64) + Duration::from_nanos(7)
        );
    }

    #[test]
    fn device_numbers_keep_all_bits_that_linux_has() {
        for (major, minor) in [(0, 0), (8, 1), (4095, 0), (0, 1_048_575), (4095, 1_048_575)] {
            let rdev = device((major, minor));
            // new_decode_dev of include/linux/kdev_t.h
            assert_eq!((rdev & 0xf_ff00) >> 8, major);
            assert_eq!((rdev & 0xff) | (rdev >> 12 & 0xf_ff00), minor);
        }
    }
}
