//! One run at a time for each strategy file.
//!
//! The lock is on a file of the machine's state, which the kernel lets go when the process ends,
//! however it ends; what stands in it says who runs, for the one that comes second.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::clock;
use crate::units;

use super::super::error::CliError;

/// Longest name of a lock file, in bytes.
const NAME_MAX: usize = 200;
/// Most that is read of who runs.
const WHO_MAX: u64 = 4096;

/// Held while a run goes on.
#[must_use]
pub(super) struct Lock {
    /// Locked while it is open.
    _file: File,
}

impl Lock {
    /// Takes it, or says who has it.
    pub(super) fn take(strategy: &Path) -> anyhow::Result<Self> {
        let folder = folder()?;
        let made = fs::create_dir_all(&folder);
        made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let path = folder.join(name(strategy));
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(strategy, &mut file).into()),
            Err(TryLockError::Error(err)) => {
                return Err(err).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        let since = units::local_time(clock::now());
        let who = format!("process {} since {since}\n", std::process::id());
        // Only words for the next one: that they cannot be written stops nothing.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(who.as_bytes()));
        Ok(Self { _file: file })
    }
}

fn taken(strategy: &Path, file: &mut File) -> CliError {
    let mut who = String::new();
    let read = file.take(WHO_MAX).read_to_string(&mut who);
    let who = match read {
        Ok(count) if count > 0 => format!(": {}", who.trim_end()),
        _ => String::new(),
    };
    CliError::in_use(format!("{} is being carried out already{who}", strategy.display()))
        .hint("wait for it to end; what is due then is done by the next run")
}

/// Where the machine's state is: what systemd says, root's or the user's own.
fn folder() -> Result<PathBuf, CliError> {
    let absolute = |name| {
        std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute())
    };
    let home = || absolute("HOME").map(|home| home.join(".local/state"));
    let own = || absolute("XDG_STATE_HOME").or_else(home).map(|state| state.join("icecore"));
    let system = || rustix::process::geteuid().is_root().then(|| "/var/lib/icecore".into());
    absolute("STATE_DIRECTORY").or_else(system).or_else(own).ok_or_else(|| {
        CliError::failed("there is no folder for the lock of a run")
            .hint("set STATE_DIRECTORY, or HOME")
    })
}

/// The file's path in one word.
fn name(strategy: &Path) -> String {
    let path = strategy.canonicalize().unwrap_or_else(|_| strategy.to_owned());
    let word = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = path.to_string_lossy().chars().map(word).collect();
    let start = name.len().saturating_sub(NAME_MAX);
    format!("{}.lock", name.get(start..).unwrap_or_default().trim_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_single_words() {
        assert_eq!(name(Path::new("/no/such/ice core.toml")), "no-such-ice-core.toml.lock");
        let long = name(Path::new(&format!("/{}", "é".repeat(999))));
        assert!(long.len() <= NAME_MAX + 5, "{long}");
    }
}
