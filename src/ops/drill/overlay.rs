//! A writable layer over a folder.
//!
//! The root of what is seen takes owner, mode and attributes from the upper layer, so that one is
//! made like the lower: a database refuses a data directory of somebody else.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rustix::fs::{Timespec, Timestamps, UTIME_OMIT};
use rustix::mount::{MountFlags, mount};

use crate::ops::{OpError, Result};

use super::namespace::{c_string, failed};

/// Options, the best first: what is written is thrown away, so it need not be durable; folders of
/// the lower layer can be renamed. A user namespace has attributes of its own kind.
const OPTIONS: [&str; 3] = ["volatile,redirect_dir=on", "volatile,userxattr", "index=off"];

/// Shows `lower` at `at`, writable; what is written goes to `base`, a new folder. No path may hold
/// a colon, comma or backslash, except `at`.
pub(super) fn mount_over(lower: &Path, base: &Path, at: &Path) -> Result<()> {
    let io = |action: &'static str| {
        move |err| OpError::io(format!("{action} the layer over {}", at.display()), err)
    };
    let (upper, work) = (base.join("upper"), base.join("work"));
    fs::create_dir_all(base).map_err(io("make"))?;
    fs::create_dir(&work).map_err(io("make"))?;
    fs::create_dir(&upper).map_err(io("make"))?;
    make_like(lower, &upper).map_err(io("set the owner of"))?;
    let layers = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    let mut last = None;
    for options in OPTIONS {
        let options = c_string(format!("{layers},{options}").as_bytes())?;
        match mount("icecore-drill", at, "overlay", MountFlags::empty(), options.as_c_str()) {
            Ok(()) => return Ok(()),
            Err(err) => last = last.or(Some(err)),
        }
    }
    let err = last.unwrap_or(rustix::io::Errno::INVAL);
    Err(failed(&format!("mount a writable layer over {}", at.display()), err))
}

/// Owner, mode, ACLs and time of a folder for another.
fn make_like(from: &Path, to: &Path) -> std::io::Result<()> {
    let metadata = fs::metadata(from)?;
    chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    for name in attributes(from)? {
        let mut value = vec![0; 64 << 10];
        if let Ok(len) = rustix::fs::getxattr(from, &name, &mut value) {
            let value = value.get(..len).unwrap_or_default();
            rustix::fs::setxattr(to, &name, value, rustix::fs::XattrFlags::empty())?;
        }
    }
    fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: metadata.mtime(), tv_nsec: metadata.mtime_nsec() },
    };
    Ok(rustix::fs::utimensat(rustix::fs::CWD, to, &times, rustix::fs::AtFlags::empty())?)
}

/// Names of the attributes that a folder has and that an overlay hands through.
fn attributes(of: &Path) -> std::io::Result<Vec<std::ffi::OsString>> {
    use std::os::unix::ffi::OsStrExt;
    let mut names = vec![0; 64 << 10];
    let len = match rustix::fs::listxattr(of, &mut names) {
        Ok(len) => len,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(err) => return Err(err.into()),
    };
    let names = names.get(..len).unwrap_or_default().split(|&byte| byte == 0);
    let wanted = |name: &&[u8]| {
        (name.starts_with(b"user.") && !name.starts_with(b"user.icecore."))
            || name.starts_with(b"system.posix_acl")
    };
    Ok(names.filter(wanted).map(|name| std::ffi::OsStr::from_bytes(name).to_owned()).collect())
}
