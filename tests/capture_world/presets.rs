//! Stores of Python packages from PyPI, under write load.
//!
//! The packages lie in one environment, made once per machine by pip. Where it cannot be made these
//! tests are skipped, loudly; with `CI=true` they fail.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{Ends, eventually};

const PACKAGES: [&str; 6] =
    ["mlflow-skinny", "sqlalchemy", "alembic", "psycopg2-binary", "lancedb", "feast"];

/// The environment's Python, if it is to be had.
pub fn python() -> Option<PathBuf> {
    let name = blake3::hash(PACKAGES.join(" ").as_bytes()).to_hex();
    let folder = Path::new("/var/tmp").join(format!("icecore-venv-{}", &name[..8]));
    let (python, ready) = (folder.join("bin/python"), folder.join("icecore-is-complete"));
    // Tests are processes of their own.
    let lock = std::fs::File::create(folder.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if ready.exists() {
        return Some(python);
    }
    let _ = std::fs::remove_dir_all(&folder);
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&folder);
    let mut fill = Command::new(&python);
    fill.args(["-m", "pip", "install", "-q", "--disable-pip-version-check"]).args(PACKAGES);
    for command in [&mut make, &mut fill] {
        let done = command.stdin(Stdio::null()).output();
        if !done.as_ref().is_ok_and(|done| done.status.success()) {
            let what = format!("{command:?}: {done:?}");
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{what}");
            let said = format!("SKIPPED, since the packages are not to be had: {what}\n");
            std::io::stderr().write_all(said.as_bytes()).unwrap();
            return None;
        }
    }
    std::fs::write(ready, "").unwrap();
    Some(python)
}

/// A store of one kind.
pub struct Store {
    pub python: PathBuf,
    pub kind: &'static str,
    /// Where its database is, if not in its place.
    pub uri: Option<String>,
}

/// A store that is written to until this is dropped.
pub struct Load {
    count: Arc<AtomicI64>,
    process: Ends,
}

impl Store {
    fn command(&self, verb: &str, place: &Path) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/capture_world/presets.py");
        let mut command = Command::new(&self.python);
        command.arg(script).args([self.kind, verb]).arg(place).args(&self.uri);
        command.env("HOME", "/nonexistent").current_dir("/").stdin(Stdio::null());
        command
    }

    /// Begins to write below `place`.
    pub fn load(&self, place: &Path) -> Load {
        let mut command = self.command("load", place);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let count = Arc::new(AtomicI64::new(0));
        let told = Arc::clone(&count);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // Others speak, too.
                if let Ok(number) = line.trim().parse() {
                    told.store(number, Ordering::SeqCst);
                }
            }
        });
        Load { count, process: Ends(child) }
    }

    /// How much a store holds, where all of it is right.
    pub fn check(&self, place: &Path) -> Result<i64, String> {
        let done = self.command("check", place).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let number = said.lines().filter_map(|line| line.trim().parse().ok()).next_back();
        let wrong = String::from_utf8_lossy(&done.stderr).into_owned();
        number.filter(|_| done.status.success()).ok_or(wrong)
    }
}

impl Load {
    /// What the store has acknowledged.
    pub fn count(&self) -> i64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until it has acknowledged so many more.
    pub fn grow(&self, by: i64) {
        let before = self.count();
        eventually("the store is written to", || self.count() >= before + by);
    }

    pub fn stop(self) {
        drop(self.process);
    }
}
