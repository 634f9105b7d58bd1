//! What a capture switched off at a store, so that it is switched on again whatever becomes of it.
//!
//! It is written down before it is done: a note in a folder of this user's, locked while the capture
//! goes on. Three things undo it, each once: the end of the capture, whatever that is; a second
//! signal, which ends the program at once ([`all`]); and where the program was killed the next
//! capture or run ([`sweep`]), which finds a note that nobody holds.
//!
//! What could not be undone stays noted. A later capture of that source begins only once it is done.
//! Runs of the same strategy try it again, once each, and have failed while it fails ([`left`]);
//! other strategies' runs leave a command alone that has failed.
//!
//! What follows a program comes after it: what is left of that program is ended first.
//!
//! Notes live as long as the machine runs, like what they tell of.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::program::Group;
use super::{Program, redis as cache};
use crate::sync::lock;

mod note;

use note::{Note, served};
pub use note::{Owner, serve};

/// Longest note that is read, in bytes.
const NOTE_MAX: u64 = 1 << 20;
/// Between two looks at a note that another capture holds.
const LOOK: Duration = Duration::from_millis(50);
/// Between two words about it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What becomes of what could not be undone.
pub const AGAIN: &str = "each later run of this strategy tries it again";

/// How to undo something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// A setting of a Redis server that was set to 0.
    Redis {
        /// How it is reached.
        address: String,
        /// A file with its password.
        password_file: Option<PathBuf>,
        /// The server, as long as it runs.
        run_id: String,
        /// What the setting was.
        value: String,
    },
    /// A command that must follow.
    Program {
        /// The program and its arguments.
        argv: Vec<String>,
        /// Added to the environment.
        env: Vec<(String, String)>,
        /// It is ended after so many seconds.
        timeout: u64,
        /// The program that it follows, while that one runs.
        #[serde(default)]
        after: Option<Group>,
    },
}

impl Undo {
    /// Nothing stops what must follow.
    fn carry_out(&self) -> Result<(), String> {
        self.try_to(&AtomicBool::new(false))
    }

    fn try_to(&self, interrupted: &AtomicBool) -> Result<(), String> {
        match self {
            Self::Redis { address, password_file, run_id, value } => {
                cache::put_back(address, password_file.as_deref(), run_id, value)
            }
            Self::Program { argv, env, timeout, .. } => {
                self.end_first()?;
                let timeout = Some(Duration::from_secs(*timeout));
                let program = Program { env: env.clone(), timeout, ..Program::new(argv.clone()) };
                program.run(interrupted)
            }
        }
    }

    /// Ends what it must not come before.
    fn end_first(&self) -> Result<(), String> {
        match self {
            Self::Program { after: Some(group), .. } => group.end(),
            _ => Ok(()),
        }
    }
}

/// What this process has to undo.
static OWN: Mutex<Vec<Own>> = Mutex::new(Vec::new());

struct Own {
    path: PathBuf,
    note: Note,
    /// Someone is at it.
    is_begun: bool,
}

/// A place for a note, which nobody else has.
#[derive(Debug)]
pub struct Claim {
    file: File,
    path: PathBuf,
}

/// Something that is switched off; it is undone when this goes.
#[derive(Debug)]
pub struct Switched {
    path: PathBuf,
    /// Holds the lock.
    file: File,
}

impl Claim {
    /// Claims the note of this name; waits for a capture that holds it. What an earlier one noted
    /// there is undone first.
    ///
    /// # Errors
    /// Where the folder is not to be had, that cannot be undone, or the user stopped it.
    pub fn take(name: &str, interrupted: &AtomicBool) -> Result<Self, String> {
        Self::of(&folder()?, name, interrupted)
    }

    fn of(folder: &Path, name: &str, interrupted: &AtomicBool) -> Result<Self, String> {
        let path = folder.join(format!("{name}.json"));
        let mut said = Instant::now();
        loop {
            if interrupted.load(Ordering::SeqCst) {
                return Err("interrupted".to_owned());
            }
            match held(&path, true).map_err(|err| format!("{}: {err}", path.display()))? {
                Some(mut file) => {
                    if let Some(note) = read(&mut file) {
                        settle(note, &mut file, &path, interrupted)?;
                        rewrite(&file, b"").map_err(|err| unwritten(&path, &err))?;
                    }
                    return Ok(Self { file, path });
                }
                None if said.elapsed() > PATIENCE => {
                    tracing::info!("waiting for another capture, which holds {}", path.display());
                    said = Instant::now();
                }
                None => std::thread::sleep(LOOK),
            }
        }
    }

    /// Notes how to undo what is done next.
    ///
    /// # Errors
    /// Where that cannot be written: it must not be done then.
    pub fn note(self, owner: Owner, undo: Undo) -> Result<Switched, String> {
        let note = Note { owner: Some(owner), failed: false, undo };
        write(&self.file, &note).map_err(|err| unwritten(&self.path, &err))?;
        lock(&OWN).push(Own { path: self.path.clone(), note, is_begun: false });
        Ok(Switched { path: self.path, file: self.file })
    }
}

impl Switched {
    /// Undoes it now.
    ///
    /// # Errors
    /// In words; the next run tries it again.
    pub fn undo(self) -> Result<(), String> {
        undo(&self.path, Undo::carry_out)
    }

    /// Has it undone otherwise, now.
    ///
    /// # Errors
    /// As of [`Self::undo`].
    pub fn undo_by(self, how: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        undo(&self.path, |undo| undo.end_first().and_then(|()| how()))
    }

    /// Notes the program that is about to run, whose end it must wait for; `None` once that has
    /// ended.
    ///
    /// # Errors
    /// Where that cannot be written, or this is being undone already: the program would come after
    /// what must follow it.
    pub fn follows(&mut self, group: Option<Group>) -> Result<(), String> {
        let mut all = lock(&OWN);
        let own = all.iter_mut().find(|own| own.path == self.path);
        if group.is_some() && own.as_ref().is_none_or(|own| own.is_begun) {
            return Err("interrupted".to_owned());
        }
        let Some(own) = own else { return Ok(()) };
        let Undo::Program { after, .. } = &mut own.note.undo else { return Ok(()) };
        *after = group;
        write(&self.file, &own.note).map_err(|err| unwritten(&self.path, &err))
    }
}

impl Drop for Switched {
    fn drop(&mut self) {
        if let Err(what) = undo(&self.path, Undo::carry_out) {
            tracing::error!("{what}; {AGAIN}");
        }
    }
}

/// Undoes all that this process has switched off, before it ends without unwinding.
pub fn all() {
    loop {
        let Some(path) = lock(&OWN).first().map(|own| own.path.clone()) else { return };
        if let Err(what) = undo(&path, Undo::carry_out) {
            tracing::error!("{what}; {AGAIN}");
        }
    }
}

/// What this process tried to undo in vain; it does not try it again.
static TRIED: Mutex<Vec<Tried>> = Mutex::new(Vec::new());

struct Tried {
    path: PathBuf,
    note: Note,
    what: String,
}

/// What the strategy of this process has switched off and this process could not undo: source and
/// why.
#[must_use]
pub fn left() -> Vec<(String, String)> {
    let all = lock(&TRIED);
    let own = all.iter().filter(|tried| tried.note.is_of(served()));
    let source = |tried: &Tried| tried.note.owner.as_ref().map(|owner| owner.source.clone());
    own.filter_map(|tried| Some((source(tried)?, tried.what.clone()))).collect()
}

/// Undoes what earlier captures have left, until the user stops it. What fails stays noted; this
/// process does not try it again. It is told, of this strategy by [`left`].
pub fn sweep(interrupted: &AtomicBool) {
    match folder() {
        Ok(folder) => sweep_in(&folder, served(), interrupted),
        Err(what) => tracing::warn!("{what}"),
    }
}

fn sweep_in(folder: &Path, strategy: &Path, interrupted: &AtomicBool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_note = path.extension().is_some_and(|extension| extension == "json");
        if !is_note || interrupted.load(Ordering::SeqCst) || tried(&path).is_some() {
            continue;
        }
        let Some(mut file) = held(&path, false).ok().flatten() else { continue };
        let Some(note) = read(&mut file) else {
            // What was not written whole was not done.
            drop(fs::remove_file(&path));
            continue;
        };
        if !note.is_for(strategy) {
            continue;
        }
        let is_own = note.is_of(strategy);
        match settle(note, &mut file, &path, interrupted) {
            Ok(()) => drop(fs::remove_file(&path)),
            Err(_) if is_own => {}
            Err(what) => tracing::error!("{what}"),
        }
    }
}

/// Why this process could not carry a note out.
fn tried(path: &Path) -> Option<String> {
    lock(&TRIED).iter().find(|tried| tried.path == path).map(|tried| tried.what.clone())
}

/// Undoes one of this process, once; waits where another thread is at it.
fn undo(path: &Path, how: impl FnOnce(&Undo) -> Result<(), String>) -> Result<(), String> {
    let mut note = loop {
        {
            let mut all = lock(&OWN);
            let Some(own) = all.iter_mut().find(|own| own.path == path) else { return Ok(()) };
            if !std::mem::replace(&mut own.is_begun, true) {
                break own.note.clone();
            }
        }
        std::thread::sleep(LOOK);
    };
    let done = how(&note.undo);
    match &done {
        Ok(()) => drop(fs::remove_file(path)),
        // A later run does.
        Err(what) => {
            note.failed = true;
            let file = OpenOptions::new().write(true).open(path);
            if let Err(err) = file.and_then(|file| write(&file, &note)) {
                tracing::warn!("{}", unwritten(path, &err));
            }
            lock(&TRIED).push(Tried { path: path.to_owned(), note, what: what.clone() });
        }
    }
    lock(&OWN).retain(|own| own.path != path);
    done
}

/// Undoes what a note tells whose process is gone; a process tries that once.
fn settle(
    mut note: Note,
    file: &mut File,
    path: &Path,
    interrupted: &AtomicBool,
) -> Result<(), String> {
    if let Some(what) = tried(path) {
        return Err(what);
    }
    let Err(what) = note.undo.try_to(interrupted) else {
        tracing::warn!("undid what an earlier capture left: {}", note.subject());
        return Ok(());
    };
    if interrupted.load(Ordering::SeqCst) {
        return Err(what);
    }
    note.failed = true;
    write(file, &note).map_err(|err| unwritten(path, &err))?;
    let (subject, shown) = (note.subject(), path.display());
    let what = format!(
        "an earlier capture left this undone: {subject}: {what}; each later run of that strategy \
         tries it again; remove {shown} where it is done"
    );
    lock(&TRIED).push(Tried { path: path.to_owned(), note, what: what.clone() });
    Err(what)
}

/// What stands in it, if that was written whole.
fn read(file: &mut File) -> Option<Note> {
    let mut text = Vec::new();
    file.rewind().and_then(|()| (&*file).take(NOTE_MAX).read_to_end(&mut text)).ok()?;
    serde_json::from_slice(&text).ok()
}

fn write(file: &File, note: &Note) -> io::Result<()> {
    rewrite(file, &serde_json::to_vec(note)?)
}

fn unwritten(path: &Path, err: &io::Error) -> String {
    format!("cannot write {}: {err}", path.display())
}

/// At once, so that whenever this process is killed either text stands there (of a page, which notes
/// hardly ever exceed, the kernel writes all or nothing): a shorter one is followed by spaces.
fn rewrite(file: &File, text: &[u8]) -> io::Result<()> {
    if text.is_empty() {
        return file.set_len(0);
    }
    let mut text = text.to_vec();
    let before = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    text.resize(before.min(NOTE_MAX as usize).max(text.len()), b' ');
    file.write_all_at(&text, 0)
}

/// The locked file of this path, if nobody else holds it.
fn held(path: &Path, create: bool) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).mode(0o600);
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(err)) => return Err(err),
    }
    // Who held it before may have removed it.
    let (ours, named) = (file.metadata()?, fs::symlink_metadata(path));
    let is_same = named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino()));
    if ours.uid() != rustix::process::geteuid().as_raw() || !ours.is_file() {
        return Err(io::Error::other("it is no file of this user"));
    }
    Ok(is_same.then_some(file))
}

/// Where notes are, in which nobody else can write.
fn folder() -> Result<PathBuf, String> {
    let user = rustix::process::geteuid();
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
    let system = || user.is_root().then(|| PathBuf::from("/run/icecore"));
    let runtime = || absolute("XDG_RUNTIME_DIR").map(|folder| folder.join("icecore"));
    let own = || std::env::temp_dir().join(format!("icecore-{}", user.as_raw()));
    let base = absolute("ICECORE_RUNTIME_DIR").or_else(system).or_else(runtime);
    let base = base.unwrap_or_else(own);
    let folder = base.join("captures");
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    let checked = made.and_then(|()| folder.symlink_metadata());
    let meta = checked.map_err(|err| format!("cannot make {}: {err}", folder.display()))?;
    if !meta.is_dir() || meta.uid() != user.as_raw() || meta.mode() & 0o022 != 0 {
        return Err(format!("{} is not only this user's; remove it", folder.display()));
    }
    Ok(folder)
}

#[cfg(test)]
mod tests;
