//! Mounting: checks of the mountpoint, options, and the handle on what is mounted.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};

use super::adapter::{Adapter, READAHEAD};
use super::error::{FuseError, Result};
use super::live::{Watch, watch};
use super::push::{self, Pusher};
use super::table::{FS_TYPE, SOURCE, mounted_on};
use super::turns::Turns;
use super::umount::{Readers, take_off_dead, umount};
use crate::repo::Repository;
use crate::vfs::{ShowOwner, Start, Vfs, VfsOptions};

/// How a repository is to be mounted.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// Other users may look as well, as far as modes and ACLs let them. Who is not root needs
    /// `user_allow_other` in /etc/fuse.conf.
    pub allow_other: bool,
    /// Programs cannot be run from it.
    pub no_exec: bool,
    /// Threads that answer the kernel. So many may wait for a storage that is slow, or decode; others
    /// sleep, so it costs nothing to have some more than processors.
    pub threads: usize,
    /// Idle processors may sleep deeply while requests stream; each then waits for one to wake.
    pub power_saving: bool,
    /// Gives out no handles of its files, so that no network server can export it. An overlay over a
    /// mount that does give them out loses what was changed in it when the kernel drops its caches
    /// (`ESTALE`): since Linux 6.16 a file that was found by its handle counts as outdated at once.
    pub no_export: bool,
    /// What the table of mounts shows as its source; the repository's place where it is absent.
    pub source_name: Option<String>,
    /// Owner of the directories that no snapshot holds; who mounts where it is absent.
    pub uid: Option<u32>,
    /// Their group.
    pub gid: Option<u32>,
    /// What is shown at the root: all snapshots, or a directory of one.
    pub start: Option<Start>,
    /// Whom entries of snapshots are shown to belong to.
    pub owners: Option<Arc<dyn ShowOwner>>,
}

/// [`MountOptions::threads`] unless told otherwise.
pub const THREADS_DEFAULT: u16 = 16;

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            allow_other: false,
            no_exec: false,
            threads: THREADS_DEFAULT.into(),
            power_saving: false,
            no_export: false,
            source_name: None,
            uid: None,
            gid: None,
            start: None,
            owners: None,
        }
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

/// All that can be done before the kernel is asked: what takes time, and may be stopped without a
/// trace.
#[derive(Debug)]
pub struct Prepared {
    mountpoint: PathBuf,
    vfs: Arc<Vfs>,
    config: Config,
    power_saving: bool,
    no_export: bool,
}

/// Mounts all snapshots of a repository. When this returns, the mount can be used.
///
/// # Errors
/// As [`prepare`] and [`Prepared::mount`].
pub fn mount(repo: Arc<Repository>, mountpoint: &Path, options: MountOptions) -> Result<Mounted> {
    prepare(repo, mountpoint, options)?.mount()
}

/// Looks at the mountpoint and reads the snapshots. What an icecore that was killed has left on the
/// mountpoint is taken off.
///
/// # Errors
/// Where the mountpoint does not exist, is no directory, is taken by another mount of icecore, or
/// lies in the repository (or the repository in it).
pub fn prepare(
    repo: Arc<Repository>,
    mountpoint: &Path,
    options: MountOptions,
) -> Result<Prepared> {
    let location = repo.location();
    let mountpoint = check(mountpoint, &location)?;
    let config = config(&location, &options);
    let MountOptions { power_saving, no_export, .. } = options;
    let MountOptions { allow_other: shared, uid, gid, start, owners, .. } = options;
    let options = VfsOptions {
        uid: uid.unwrap_or_else(|| rustix::process::geteuid().as_raw()),
        gid: gid.unwrap_or_else(|| rustix::process::getegid().as_raw()),
        start,
        owners,
        shared,
        ..VfsOptions::default()
    };
    let vfs = Arc::new(Vfs::new(repo, options)?);
    Ok(Prepared { mountpoint, vfs, config, power_saving, no_export })
}

impl Prepared {
    /// Mounts. When this returns, the mount can be used.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn mount(self) -> Result<Mounted> {
        let session = self.serve().map_err(|source| {
            let mountpoint = self.mountpoint.clone();
            FuseError::Mount { mountpoint, source }
        })?;
        let Self { mountpoint, vfs, .. } = self;
        raise_readahead(&mountpoint);
        let _watch = watch(&vfs);
        Ok(Mounted { mountpoint, session, vfs, _watch })
    }

    /// Mounts, and starts the threads that answer and those that work ahead of what is asked.
    fn serve(&self) -> io::Result<BackgroundSession> {
        let turns = Turns::new();
        if !self.power_saving {
            turns.keep_awake()?;
        }
        let (pusher, work) = Pusher::new(&self.vfs);
        let vfs = Arc::clone(&self.vfs);
        let adapter = Adapter::new(vfs, Arc::clone(&turns), pusher, self.no_export);
        let session = Session::new(adapter, &self.mountpoint, &self.config)?;
        turns.set_device(session.as_fd().try_clone_to_owned()?);
        push::start(&self.vfs, &turns, session.notifier(), work)?;
        session.spawn()
    }
}

fn config(location: &str, options: &MountOptions) -> Config {
    let mut config = Config::default();
    let mut name = options.source_name.clone().unwrap_or_else(|| format!("{SOURCE}{location}"));
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
    config.mount_options.extend(options.no_exec.then_some(MountOption::NoExec));
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(options.threads.max(1));
    config
}

/// The mountpoint as an absolute path without links, after all that can be told beforehand.
fn check(mountpoint: &Path, location: &str) -> Result<PathBuf> {
    let given = || mountpoint.to_owned();
    // Before the path is touched: what nobody answers would not come back.
    if take_off_dead(mountpoint)? {
        tracing::warn!(
            "{} held a mount whose process had been killed; it was taken off",
            mountpoint.display()
        );
    }
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
