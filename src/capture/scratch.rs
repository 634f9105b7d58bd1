//! Folders for what a capture needs as a file for a while: copies of databases.
//!
//! They hold content of a source, so nobody else may read them, and none may stay. Each is locked by
//! who made it: one that nobody holds was left by a process that was killed, and goes with the next
//! [`sweep`].

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::TempDir;

/// Names of the folders begin so; nothing else is ever removed.
const PREFIX: &str = "icecore-sqlite-";

/// A folder of one's own, which goes with this.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    /// The folder itself, locked.
    _held: File,
}

impl Scratch {
    /// A new one in `TMPDIR`.
    ///
    /// # Errors
    /// Where there is no room or no right.
    pub fn new() -> io::Result<Self> {
        let private = fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix(PREFIX).permissions(private).tempdir()?;
        let held = File::open(folder.path())?;
        held.lock()?;
        Ok(Self { folder, _held: held })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes folders that processes of this user left when they were killed.
pub fn sweep() {
    sweep_in(&std::env::temp_dir());
}

fn sweep_in(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let path = entry.path();
        if is_left(&path).unwrap_or(false)
            && let Err(err) = fs::remove_dir_all(&path)
        {
            tracing::warn!("{} is left of a capture: {err}", path.display());
        }
    }
}

/// Whether nobody holds it. One that was made just now and is not locked yet is empty.
fn is_left(path: &Path) -> io::Result<bool> {
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() {
        return Ok(false);
    }
    let folder = File::open(path)?;
    Ok(fs::read_dir(path)?.next().is_some() && folder.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_nobody_holds_go_and_no_others() {
        let place = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let folder = place.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("copy"), "secret").unwrap();
            folder
        };
        let (left, used) = (make("icecore-sqlite-a"), make("icecore-sqlite-b"));
        let (other, empty) = (make("icecore-other"), place.path().join("icecore-sqlite-c"));
        fs::create_dir(&empty).unwrap();
        let target = make("target");
        std::os::unix::fs::symlink(&target, place.path().join("icecore-sqlite-d")).unwrap();
        let holder = File::open(&used).unwrap();
        holder.lock().unwrap();
        sweep_in(place.path());
        assert!(!left.exists() && used.exists() && other.exists() && empty.exists());
        assert!(target.join("copy").exists());
    }

    #[test]
    fn a_folder_goes_with_who_made_it_and_is_private() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().to_owned();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o700);
        fs::write(path.join("copy"), "secret").unwrap();
        sweep();
        assert!(path.exists());
        drop(scratch);
        assert!(!path.exists());
    }
}
