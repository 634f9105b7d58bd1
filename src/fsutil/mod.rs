//! Durable files on Linux: written whole, published create-only, on disk when the call returns.
//!
//! A file is first written under a temporary name in its own folder, synced, and only then given
//! its final name, so whoever lists the folder sees a whole file or none. The name is given with
//! `renameat2(RENAME_NOREPLACE)`; file systems without it (NFS, some FUSE ones) get `link` and
//! `unlink`, which is as exclusive. Then the folder is synced, since a name is content of its
//! folder (fsync(2)).
//!
//! What must stay true: no final name ever stands for unsynced content; a name that exists is
//! never replaced but by [`replace_with`], in one step; after an error at [`WriteStep::SyncFolder`] the name may or may not survive a
//! crash, and the caller must assume either.
//!
//! Every step is announced to a [`WriteSteps`], so that a test can stop a write where a crash
//! would.

mod direct;
mod watch;

use std::{
    fmt,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags},
    io::Errno,
    process::{Resource, Rlimit},
};

pub use watch::FolderWatch;

const TEMPORARY_PREFIX: &str = ".tmp-";
const TEMPORARY_DIGITS: usize = 16;
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// The points of durable writing at which a crash leaves something different behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteStep {
    /// A folder is about to be made.
    CreateFolder,
    /// The temporary file is about to be made.
    Create,
    /// Its bytes are about to be written.
    Write,
    /// It is about to be synced.
    SyncFile,
    /// It is about to get its final name.
    Rename,
    /// The folder is about to be synced.
    SyncFolder,
    /// A file is about to be removed.
    Delete,
}

/// Is told before each step of a durable write; an error stops the write as a crash would.
pub trait WriteSteps: Send + Sync + fmt::Debug {
    /// Called before `step`. On an error nothing further is done, not even tidying up.
    fn before(&self, step: WriteStep) -> io::Result<()> {
        let _ = step;
        Ok(())
    }
}

/// Every step happens.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSteps;

impl WriteSteps for NoSteps {}

/// Why a durable write failed, and how far it had come.
#[derive(Debug, thiserror::Error)]
#[error("{step:?} failed")]
pub struct WriteFailure {
    /// The step that failed. Before [`WriteStep::SyncFolder`] nothing stands under the final name.
    pub step: WriteStep,
    /// The system's error.
    pub source: io::Error,
    /// A [`WriteSteps`] stopped the write, so nothing is tidied up.
    stopped: bool,
}

impl WriteFailure {
    /// Whether the final name was taken; nothing was changed, and the file of that name is durable.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.step == WriteStep::Rename && self.source.kind() == io::ErrorKind::AlreadyExists
    }

    /// Whether there was no space, and for that reason nothing was published.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.step != WriteStep::SyncFolder && is_full(&self.source)
    }

    /// Whether one may not write there at all, and nothing was changed.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        let kind = self.source.kind();
        self.step == WriteStep::Create
            && matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
    }

    /// Whether somebody deleted the temporary file before it had its name.
    #[must_use]
    pub fn is_temporary_gone(&self) -> bool {
        self.step == WriteStep::Rename && self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether the folder itself is missing.
    #[must_use]
    pub fn is_folder_missing(&self) -> bool {
        self.step == WriteStep::Create && self.source.kind() == io::ErrorKind::NotFound
    }
}

impl From<WriteFailure> for io::Error {
    fn from(failure: WriteFailure) -> Self {
        failure.source
    }
}

/// Announces a step, does it, and says which one failed.
fn step<T>(
    steps: &dyn WriteSteps,
    step: WriteStep,
    action: impl FnOnce() -> io::Result<T>,
) -> Result<T, WriteFailure> {
    steps.before(step).map_err(|source| WriteFailure { step, source, stopped: true })?;
    action().map_err(|source| WriteFailure { step, source, stopped: false })
}

/// Writes `bytes` as the new file `name` (mode 0600) in `dir`, durable when this returns.
///
/// An existing file of that name is kept: `AlreadyExists`. On failure the temporary file is
/// removed.
pub fn write_new_durable(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    Ok(write_new_with(&NoSteps, dir, name, bytes)?)
}

/// [`write_new_durable`], announcing each step to `steps`.
///
/// When `steps` stops it, the folder stays as a crash would leave it.
pub fn write_new_with(
    steps: &dyn WriteSteps,
    dir: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<(), WriteFailure> {
    write_with(steps, dir, name, bytes, rename_new)
}

/// The same in the place of an existing file of that name: who opens it finds the old content or
/// the new, whole. Owner and mode are the writer's and 0600.
pub fn replace_with(
    steps: &dyn WriteSteps,
    dir: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<(), WriteFailure> {
    write_with(steps, dir, name, bytes, |from, to| fs::rename(from, to))
}

fn write_with(
    steps: &dyn WriteSteps,
    dir: &Path,
    name: &str,
    bytes: &[u8],
    rename: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> Result<(), WriteFailure> {
    let fail = |source| WriteFailure { step: WriteStep::Create, source, stopped: false };
    let temporary = dir.join(temporary_name().map_err(fail)?);
    let published = publish(steps, &temporary, &dir.join(name), bytes, rename);
    if let Err(failure) = &published
        && !failure.stopped
        && !matches!(failure.step, WriteStep::Create | WriteStep::SyncFolder)
    {
        // Best effort: the write's own error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    match published {
        // The file there may stem from a writer that crashed before its last step.
        Err(failure) if failure.is_already_exists() => {
            step(steps, WriteStep::SyncFolder, || sync_dir(dir))?;
            Err(failure)
        }
        Err(failure) => Err(failure),
        Ok(()) => step(steps, WriteStep::SyncFolder, || sync_dir(dir)),
    }
}

/// Everything up to the final name.
fn publish(
    steps: &dyn WriteSteps,
    temporary: &Path,
    to: &Path,
    bytes: &[u8],
    rename: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> Result<(), WriteFailure> {
    let file = step(steps, WriteStep::Create, || {
        File::options().write(true).create_new(true).mode(FILE_MODE).open(temporary)
    })?;
    step(steps, WriteStep::Write, || direct::write_all(&file, bytes))?;
    step(steps, WriteStep::SyncFile, || file.sync_all())?;
    drop(file);
    step(steps, WriteStep::Rename, || rename(temporary, to))
}

/// Renames without ever replacing.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link_new(from, to),
        other => Ok(other?),
    }
}

/// The same with `link` and `unlink`.
fn link_new(from: &Path, to: &Path) -> io::Result<()> {
    if let Err(err) = fs::hard_link(from, to) {
        // Over NFS a lost answer makes the repeated request fail although the first one linked;
        // the link count knows (open(2), on O_EXCL).
        let linked = fs::symlink_metadata(from).is_ok_and(|meta| meta.nlink() == 2);
        if err.kind() != io::ErrorKind::AlreadyExists || !linked {
            return Err(err);
        }
    }
    // The file is published; a second name that cannot be removed is only litter.
    let _ = fs::remove_file(from);
    Ok(())
}

fn temporary_name() -> io::Result<String> {
    let mut random = [0; TEMPORARY_DIGITS / 2];
    getrandom::fill(&mut random).map_err(|err| {
        err.raw_os_error()
            .map_or_else(|| io::Error::other(err.to_string()), io::Error::from_raw_os_error)
    })?;
    Ok(format!("{TEMPORARY_PREFIX}{}", hex::encode(random)))
}

/// The clock of a folder's file system, in seconds since 1970: that of the server, where there is one.
/// Makes an empty temporary file, and removes it.
pub fn clock_of(dir: &Path) -> io::Result<u64> {
    let path = dir.join(temporary_name()?);
    let file = File::options().write(true).create_new(true).mode(FILE_MODE).open(&path)?;
    let written = file.metadata().map(|meta| meta.mtime());
    fs::remove_file(&path)?;
    u64::try_from(written?).map_err(io::Error::other)
}

/// Whether a file of this name is one of [`write_new_durable`]'s temporary files.
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    name.strip_prefix(TEMPORARY_PREFIX).is_some_and(|digits| {
        digits.len() == TEMPORARY_DIGITS
            && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Makes the names in a folder durable.
///
/// File systems that cannot sync folders (they answer `EINVAL`) are taken at their word.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    match rustix::fs::fsync(File::open(path)?) {
        Err(Errno::INVAL) => Ok(()),
        other => Ok(other?),
    }
}

/// Makes one folder (mode 0700), durable when this returns; fine when it exists already.
pub fn create_dir_durable(path: &Path) -> io::Result<()> {
    Ok(create_dir_with(&NoSteps, path)?)
}

/// [`create_dir_durable`], announcing its steps to `steps`.
pub fn create_dir_with(steps: &dyn WriteSteps, path: &Path) -> Result<(), WriteFailure> {
    step(steps, WriteStep::CreateFolder, || {
        match DirBuilder::new().mode(FOLDER_MODE).create(path) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        }
    })?;
    // Also where it existed: whoever made it may not have come this far.
    step(steps, WriteStep::SyncFolder, || sync_dir(&parent(path)))
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.into(),
        Some(_) => ".".into(),
        None => "/".into(),
    }
}

/// Whether the medium, or the user's share of it, is full.
#[must_use]
pub fn is_full(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The name of this machine.
#[must_use]
pub fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// Whether a process of that id runs on this machine. One that was killed and that nobody has waited
/// for does not, and neither does a thread that got its number since. Where that cannot be told, it
/// does.
#[must_use]
pub fn lives(pid: u32) -> bool {
    let Some(id) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else {
        return true;
    };
    if matches!(rustix::process::test_kill_process(id), Err(Errno::SRCH)) {
        return false;
    }
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return true };
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let is_dead = field("State:").is_some_and(|state| state.starts_with(['Z', 'X']));
    let is_thread = field("Tgid:").is_some_and(|group| group != pid.to_string());
    !is_dead && !is_thread
}

/// Raises the soft limit of open files to the hard one: a mount holds many packs open.
///
/// The new soft limit; `None` means unlimited.
pub fn raise_nofile_limit() -> io::Result<Option<u64>> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        rustix::process::setrlimit(Resource::Nofile, raised)?;
    }
    Ok(limit.maximum)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, sync::Mutex};

    use super::*;

    /// Fails before one step, and remembers what was announced.
    #[derive(Debug)]
    struct FailAt(WriteStep, Mutex<Vec<WriteStep>>);

    impl WriteSteps for FailAt {
        fn before(&self, step: WriteStep) -> io::Result<()> {
            self.1.lock().unwrap().push(step);
            if step == self.0 { Err(io::Error::other("stopped")) } else { Ok(()) }
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn new_file_has_its_bytes_and_mode_and_leaves_no_temporary() {
        let dir = tempfile::tempdir().unwrap();
        write_new_durable(dir.path(), "a", b"content").unwrap();
        assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"content");
        let mode = fs::metadata(dir.path().join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn existing_name_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        write_new_durable(dir.path(), "a", b"first").unwrap();
        let err = write_new_durable(dir.path(), "a", b"second").unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"first");
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn link_fallback_publishes_once_and_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        fs::write(&from, "first").unwrap();
        link_new(&from, &to).unwrap();
        assert_eq!(names(dir.path()), ["to"]);
        fs::write(&from, "second").unwrap();
        assert_eq!(link_new(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&to).unwrap(), b"first");
    }

    #[test]
    fn failure_of_the_system_leaves_no_temporary() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("taken")).unwrap();
        write_new_durable(dir.path(), "taken", b"x").unwrap_err();
        write_new_durable(dir.path(), "no/such", b"x").unwrap_err();
        assert_eq!(names(dir.path()), ["taken"]);
        let missing = write_new_with(&NoSteps, &dir.path().join("gone"), "a", b"x").unwrap_err();
        assert!(missing.is_folder_missing());
    }

    #[test]
    fn stopped_write_leaves_what_a_crash_would() {
        use WriteStep::{Create, Rename, SyncFile, SyncFolder, Write};
        let order = [Create, Write, SyncFile, Rename, SyncFolder];
        for (number, &at) in order.iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            let steps = FailAt(at, Mutex::default());
            let failure = write_new_with(&steps, dir.path(), "a", b"content").unwrap_err();
            assert_eq!(failure.step, at);
            assert_eq!(steps.1.into_inner().unwrap(), order[..=number]);
            match (at, names(dir.path()).as_slice()) {
                (Create, []) => {}
                (Write | SyncFile | Rename, [name]) => assert!(is_temporary(name), "{name}"),
                (SyncFolder, [name]) => assert_eq!(name, "a"),
                (_, left) => panic!("{at:?} leaves {left:?}"),
            }
        }
    }

    #[test]
    fn only_our_own_temporary_names_are_temporary() {
        assert!(is_temporary(&temporary_name().unwrap()));
        for name in [".tmp-", ".tmp-0123456789ABCDEF", ".tmp-0123456789abcde", "tmp", "config"] {
            assert!(!is_temporary(name), "{name}");
        }
    }

    #[test]
    fn folder_is_made_once_and_only_one_level() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        create_dir_durable(&path).unwrap();
        create_dir_durable(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
        create_dir_durable(&dir.path().join("b/c")).unwrap_err();
        fs::write(dir.path().join("file"), "").unwrap();
        create_dir_durable(&dir.path().join("file")).unwrap_err();
        assert_eq!(parent(Path::new("x")), Path::new("."));
    }

    #[test]
    fn full_media_and_used_up_quotas_are_full() {
        for errno in [libc::ENOSPC, libc::EDQUOT] {
            assert!(is_full(&io::Error::from_raw_os_error(errno)));
        }
        assert!(!is_full(&io::Error::from_raw_os_error(libc::EIO)));
        let at = |step| WriteFailure { step, source: Errno::NOSPC.into(), stopped: false };
        assert!(at(WriteStep::SyncFile).is_full());
        assert!(!at(WriteStep::SyncFolder).is_full(), "the name may be there");
    }

    #[test]
    fn soft_limit_of_open_files_reaches_the_hard_one() {
        let raised = raise_nofile_limit().unwrap();
        assert_eq!(rustix::process::getrlimit(Resource::Nofile).current, raised);
    }
}
