//! What a drill has on the machine, and how the next one finds what is left where even the process
//! that clears away (`sweep`) was killed.
//!
//! All mounts and processes end with the drill, since they are in namespaces of its own. What can
//! stay are an empty folder and one on disk. Both are written down before they are made:
//! `<pid>-<start>.json` in `/run/icecore/drills` names them, and the process that made them by its
//! number and start, which no other process has.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::capture;
use crate::ops::{OpError, Result};

/// Names of folders of copies begin so; nothing else is ever removed.
const COPY: &str = "icecore-drill-";

/// Folders of a drill; they are removed when this is dropped.
#[derive(Debug)]
pub struct Leftovers {
    /// What there is.
    pub folders: Folders,
    note: PathBuf,
}

/// What a drill has on the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Folders {
    /// An empty folder that is mounted on where only the drill sees it.
    pub folder: PathBuf,
    /// A folder on disk, where there is one.
    pub scratch: Option<PathBuf>,
}

impl Leftovers {
    /// Makes the folders, after those of drills that were killed were removed. `scratch` is the
    /// folder in which one on disk is made.
    pub fn make(scratch: Option<&Path>) -> Result<Self> {
        let home = home();
        let failed = |err| OpError::io(format!("make a folder in {}", home.display()), err);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&home).map_err(failed)?;
        sweep(&home);
        let pid = std::process::id();
        let start = capture::started(pid).unwrap_or_default();
        let free = |number: &u32| !home.join(format!("{pid}-{start}-{number}.json")).exists();
        let number = (0..).find(free).unwrap_or_default();
        let name = format!("{pid}-{start}-{number}");
        let folders = Folders {
            folder: home.join(&name),
            scratch: scratch.map(|scratch| scratch.join(format!("{COPY}{name}"))),
        };
        let made = Self { folders, note: home.join(format!("{name}.json")) };
        let text = serde_json::to_vec(&made.folders).map_err(io::Error::from);
        text.and_then(|text| fs::write(&made.note, text)).map_err(failed)?;
        let make = |path: &Path| {
            let failed = |err| OpError::io(format!("make {}", path.display()), err);
            fs::DirBuilder::new().mode(0o700).create(path).map_err(failed)
        };
        make(&made.folders.folder)?;
        made.folders.scratch.iter().try_for_each(|scratch| make(scratch))?;
        Ok(made)
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        remove(&self.folders, &self.note);
    }
}

/// Removes the folders of a drill, none of whose processes goes on, and its note.
pub(super) fn clear(folder: &Path, scratch: Option<&Path>) {
    let (folder, scratch) = (folder.to_owned(), scratch.map(Path::to_owned));
    let note = folder.with_extension("json");
    remove(&Folders { folder, scratch }, &note);
}

fn remove(Folders { folder, scratch }: &Folders, note: &Path) {
    for copy in scratch.iter().filter(|path| is_copy(path)) {
        if let Err(err) = remove_all(copy)
            && err.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("{} is left: {err}", copy.display());
            return;
        }
    }
    // Empty, or not ours.
    let _ = fs::remove_dir(folder);
    let _ = fs::remove_file(note);
}

/// Removes a folder with all that is in it, also where folders were restored that their owner may
/// not write to.
fn remove_all(copy: &Path) -> io::Result<()> {
    match fs::remove_dir_all(copy) {
        Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {}
        done => return done,
    }
    let mut folders = vec![copy.to_owned()];
    while let Some(folder) = folders.pop() {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    fs::remove_dir_all(copy)
}

fn is_copy(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    path.is_absolute() && name.starts_with(COPY)
}

/// Where drills write down what they have.
fn home() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return "/run/icecore/drills".into();
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = || {
        let uid = rustix::process::geteuid().as_raw();
        std::env::temp_dir().join(format!("icecore-{uid}"))
    };
    runtime.filter(|path| path.is_absolute()).unwrap_or_else(own).join("icecore/drills")
}

/// Removes what is left of drills whose process is gone. What does not read is left alone.
fn sweep(home: &Path) {
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        let note = entry.path();
        let Some(name) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.strip_suffix(".json"))
            .map(str::to_owned)
        else {
            continue;
        };
        if is_alive(&name) {
            continue;
        }
        let left =
            fs::read(&note).ok().and_then(|text| serde_json::from_slice::<Folders>(&text).ok());
        if let Some(left) = left {
            remove(&Folders { folder: home.join(&name), ..left }, &note);
        }
    }
}

/// Whether the process of a note goes on.
fn is_alive(name: &str) -> bool {
    let mut parts = name.split('-');
    let (Some(pid), Some(start)) = (parts.next(), parts.next()) else { return true };
    match (pid.parse(), start.parse::<u64>()) {
        (Ok(pid), Ok(start)) => capture::started(pid) == Some(start),
        // No note of ours.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_told_by_number_and_start() {
        let own = capture::started(std::process::id()).unwrap();
        assert!(is_alive(&format!("{}-{own}-0", std::process::id())));
        assert!(!is_alive(&format!("{}-{}-0", std::process::id(), own + 1)));
        assert!(is_alive("notes"), "nothing of ours is removed");
        assert!(is_copy(Path::new("/var/tmp/icecore-drill-1-2-0")));
        assert!(!is_copy(Path::new("/var/tmp")) && !is_copy(Path::new("icecore-drill-1")));
    }

    #[test]
    fn what_a_dead_process_left_is_removed_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let copy = home.path().join("icecore-drill-x");
        let other = home.path().join("other");
        for (name, scratch) in [("0-1-0", &copy), ("0-2-0", &other)] {
            fs::create_dir_all(scratch.join("inner")).unwrap();
            fs::create_dir(home.path().join(name)).unwrap();
            let note = serde_json::json!({ "folder": "/etc", "scratch": scratch });
            fs::write(home.path().join(format!("{name}.json")), note.to_string()).unwrap();
        }
        fs::write(home.path().join("0-3-0.json"), "broken").unwrap();
        sweep(home.path());
        assert!(!copy.exists() && other.exists() && Path::new("/etc").exists());
        assert!(!home.path().join("0-1-0").exists() && !home.path().join("0-1-0.json").exists());
        assert!(home.path().join("0-3-0.json").exists());
    }
}
