//! Mounting: checks of the mountpoint, options, and the handle on what is mounted.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};

use super::adapter::{Adapter, READAHEAD};
use super::error::{FuseError, Result};
use super::live::{Watch, watch};
use super::table::{FS_TYPE, mounted_on};
use super::umount::{Readers, umount};
use crate::repo::Repository;
use crate::vfs::{Vfs, VfsOptions};

/// How a repository is to be mounted.
#[derive(Debug, Clone, Copy)]
pub struct MountOptions {
    /// Other users may look as well, as far as modes and ACLs let them. Who is not root needs
    /// `user_allow_other` in /etc/fuse.conf.
    pub allow_other: bool,
    /// Threads that answer the kernel.
    pub threads: usize,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self { allow_other: false, threads: 4 }
    }
}

/// A mount that is being served. Dropping it unmounts, where nobody uses it.
#[derive(Debug)]
pub struct Mounted {
    mountpoint: PathBuf,
    session: BackgroundSession,
    vfs: Arc<Vfs>,
    _watch: Option<Watch>,
}

/// Unmounts from another thread than the one that waits: for signals.
#[derive(Debug, Clone)]
pub struct Unmounter {
    mountpoint: PathBuf,
}

/// Mounts all snapshots of a repository. When this returns, the mount can be used.
///
/// # Errors
/// Where the mountpoint does not exist, is no directory, is taken by another mount of icecore, or
/// lies in the repository (or the repository in it); and where the kernel refuses.
pub fn mount(repo: Arc<Repository>, mountpoint: &Path, options: MountOptions) -> Result<Mounted> {
    let location = repo.location();
    let mountpoint = check(mountpoint, &location)?;
    let owner = VfsOptions {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        ..VfsOptions::default()
    };
    let vfs = Arc::new(Vfs::new(repo, owner)?);
    let config = config(&location, options);
    let session = Session::new(Adapter::new(Arc::clone(&vfs)), &mountpoint, &config)
        .and_then(Session::spawn)
        .map_err(|source| FuseError::Mount { mountpoint: mountpoint.clone(), source })?;
    raise_readahead(&mountpoint);
    let _watch = watch(&vfs);
    Ok(Mounted { mountpoint, session, vfs, _watch })
}

fn config(location: &str, options: MountOptions) -> Config {
    let mut config = Config::default();
    let mut name = format!("icecore:{location}");
    if !rustix::process::geteuid().is_root() {
        // fusermount3 takes all options in one string.
        name = name.replace('\\', "\\\\").replace(',', "\\,");
    }
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoDev,
        MountOption::NoSuid,
        MountOption::NoAtime,
        MountOption::DefaultPermissions,
        MountOption::FSName(name),
        // Not `MountOption::Subtype`: fuser drops that one where it mounts by system call.
        MountOption::CUSTOM("subtype=icecore".into()),
    ];
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(options.threads.max(1));
    config
}

/// The mountpoint as an absolute path without links, after all that can be told beforehand.
fn check(mountpoint: &Path, location: &str) -> Result<PathBuf> {
    let given = || mountpoint.to_owned();
    let real = mountpoint.canonicalize().map_err(|source| match source.raw_os_error() {
        Some(libc::ENOTCONN) => FuseError::Dead { mountpoint: given() },
        _ => FuseError::Mountpoint { mountpoint: given(), source },
    })?;
    let system = |source| FuseError::Mountpoint { mountpoint: given(), source };
    match real.metadata() {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(FuseError::NotDirectory { mountpoint: real }),
        Err(err) if err.raw_os_error() == Some(libc::ENOTCONN) => {
            return Err(FuseError::Dead { mountpoint: real });
        }
        Err(err) => return Err(system(err)),
    }
    if let Some(line) = mounted_on(&real).map_err(system)?
        && line.fs_type == FS_TYPE
    {
        return Err(FuseError::AlreadyMounted { mountpoint: real, source_name: line.source });
    }
    // A location that is no path here has nothing to do with the mountpoint.
    if let Ok(repository) = Path::new(location).canonicalize()
        && (real.starts_with(&repository) || repository.starts_with(&real))
    {
        return Err(FuseError::OverRepository { mountpoint: real, repository: location.into() });
    }
    Ok(real)
}

/// The kernel caps read-ahead at the default of the device, whatever was agreed on; root may raise
/// that. It is speed only, so a failure is not one of the mount.
fn raise_readahead(mountpoint: &Path) {
    let raise = || -> io::Result<()> {
        let Some(line) = mounted_on(mountpoint)? else { return Ok(()) };
        let setting = format!("/sys/class/bdi/{}/read_ahead_kb", line.device);
        std::fs::write(setting, (READAHEAD >> 10).to_string())
    };
    if let Err(err) = raise() {
        tracing::debug!("read-ahead stays at the system's default: {err}");
    }
}

impl Mounted {
    /// Where it is mounted: absolute, without links.
    #[must_use]
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// The tree that is shown.
    #[must_use]
    pub fn vfs(&self) -> &Arc<Vfs> {
        &self.vfs
    }

    /// A handle that unmounts from another thread.
    #[must_use]
    pub fn unmounter(&self) -> Unmounter {
        Unmounter { mountpoint: self.mountpoint.clone() }
    }

    /// Serves until someone unmounts.
    ///
    /// # Errors
    /// Where the threads that answer the kernel ended for another reason.
    pub fn wait(self) -> Result<()> {
        let Self { mountpoint, session, .. } = self;
        session.join().map_err(|source| FuseError::Ended { mountpoint, source })
    }

    /// Unmounts; [`Self::wait`] then returns.
    ///
    /// # Errors
    /// As [`umount`]; the mount is served on.
    pub fn unmount(&self, readers: Readers) -> Result<()> {
        umount(&self.mountpoint, readers)
    }
}

impl Unmounter {
    /// Unmounts; [`Mounted::wait`] then returns.
    ///
    /// # Errors
    /// As [`umount`].
    pub fn unmount(&self, readers: Readers) -> Result<()> {
        umount(&self.mountpoint, readers)
    }
}
