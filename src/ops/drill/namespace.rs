//! Namespaces and mounts: the system calls of a drill, each with what it was for.
//!
//! What must stay true: nothing here is called where its effect could reach the machine's own
//! table of mounts: first [`leave`], which also makes all mounts private.

use std::ffi::{CStr, CString};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{fs, io};

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    unmount,
};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::UnshareFlags;

use crate::ops::{OpError, Result};

/// From now on this process is killed when the thread that started it ends.
pub fn die_with_parent() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|err| failed("tie processes", err))
}

/// Takes this process, which has one thread, into a mount namespace of its own; without root into
/// a user namespace as well, in which its user is root.
pub(super) fn leave(is_rootless: bool) -> Result<()> {
    if is_rootless {
        return leave_rootless().map_err(|err| {
            OpError::Input(format!(
                "this kernel gives no namespaces to plain users ({err}); run the drill as root"
            ))
        });
    }
    unshare(UnshareFlags::NEWNS).map_err(|err| failed("make a mount namespace", err))?;
    make_private().map_err(|err| failed("make mounts private", err))
}

/// Some kernels refuse the namespace itself, some what a user may do in it.
fn leave_rootless() -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    unshare(UnshareFlags::NEWNS | UnshareFlags::NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    Ok(make_private()?)
}

/// Takes this process into a mount namespace of its own once more; its children have process
/// numbers, shared memory and, unless they are to reach the machine's, a network of their own.
pub(super) fn enter(own_network: bool) -> Result<()> {
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC;
    flags.set(UnshareFlags::NEWNET, own_network);
    unshare(flags).map_err(|err| failed("make namespaces", err))?;
    make_private().map_err(|err| failed("make mounts private", err))
}

fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: no descriptors are shared or unshared by these flags, and nothing in this process
    // relies on the namespaces that it leaves.
    #[expect(unsafe_code)]
    unsafe {
        rustix::thread::unshare_unsafe(flags)
    }
}

/// No mount that is made here is seen elsewhere, and none that is made elsewhere here.
fn make_private() -> rustix::io::Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}

/// A file system in memory.
pub(super) fn mount_memory(at: &Path, mode: &str) -> Result<()> {
    let options = c_string(format!("mode={mode}").as_bytes())?;
    mount("icecore-drill", at, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str())
        .map_err(|err| failed(&format!("mount memory on {}", at.display()), err))
}

/// The table of processes of this process's namespace.
pub(super) fn mount_proc(at: &Path) -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", at, "proc", flags, None::<&CStr>)
        .map_err(|err| failed(&format!("mount {}", at.display()), err))
}

/// Shows a path, with all that is mounted below it, at another place.
pub(super) fn bind(from: &Path, at: &Path) -> Result<()> {
    mount_bind_recursive(from, at)
        .map_err(|err| failed(&format!("show {} at {}", from.display(), at.display()), err))
}

/// Takes off a mount, whoever uses it.
pub(super) fn detach(at: &Path) -> Result<()> {
    unmount(at, UnmountFlags::DETACH)
        .map_err(|err| failed(&format!("unmount {}", at.display()), err))
}

/// Nothing at or below a mount can be written to through it.
pub(super) fn make_read_only(at: &Path) -> Result<()> {
    let path = c_string(at.as_os_str().as_bytes())?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: path and attributes outlive the call, and the size is that of the attributes.
    #[expect(unsafe_code)]
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    match result {
        0 => Ok(()),
        _ => {
            Err(OpError::io(format!("make {} read-only", at.display()), io::Error::last_os_error()))
        }
    }
}

/// Switches the loopback interface on.
pub(super) fn raise_loopback() -> Result<()> {
    let fail = |err| OpError::io("switch the loopback interface on", err);
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").map_err(fail)?;
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(c"lo".to_bytes()) {
        *to = (*from).cast_signed();
    }
    let flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    };
    // SAFETY: the request outlives the call, which reads its name and flags only.
    #[expect(unsafe_code)]
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(fail(io::Error::last_os_error())) }
}

/// A system call's error with what was tried.
pub(super) fn failed(action: &str, err: rustix::io::Errno) -> OpError {
    OpError::io(action, err.into())
}

pub(super) fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| OpError::Input("a path holds a NUL".into()))
}
