//! One storage call at a time: actors are threads, and each waits for its turn before a call that
//! the protocol is about.
//!
//! Calls that only read what is never changed (`get`, `read_at`, `len`), that look at packs, or that
//! store a pack that no index names yet, belong to the step before them; so do calls that repeat the
//! one before. An actor that is killed does nothing from then on: all calls of its storage fail.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex};

use crate::format::{Folder, ObjectKey};
use crate::storage::{Listed, MemoryStorage, Storage, StorageError};
use crate::sync::lock;

#[derive(Debug, Default)]
struct State {
    /// What each actor waits to do.
    waiting: Vec<Option<String>>,
    done: Vec<bool>,
    granted: Option<usize>,
    trace: Vec<String>,
}

/// Says who goes on, of those who can and what each would do, after who went last.
pub(super) type Choose<'a> = dyn FnMut(&[(usize, String)], Option<usize>) -> usize + 'a;

/// Whose turn it is.
#[derive(Debug)]
pub(super) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

impl Turns {
    pub(super) fn new(actors: usize) -> Arc<Self> {
        let (waiting, done) = (vec![None; actors], vec![false; actors]);
        let state = State { waiting, done, ..State::default() };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    fn take(&self, actor: usize, step: String) {
        let mut state = lock(&self.state);
        state.waiting[actor] = Some(step);
        self.changed.notify_all();
        while state.granted != Some(actor) {
            state = self.changed.wait(state).unwrap();
        }
        state.granted = None;
        let step = state.waiting[actor].take().unwrap();
        state.trace.push(step);
    }

    fn end(&self, actor: usize) {
        lock(&self.state).done[actor] = true;
        self.changed.notify_all();
    }

    /// Gives turns until all have ended. Returns what was done.
    pub(super) fn give(&self, choose: &mut Choose<'_>) -> Vec<String> {
        let mut last = None;
        loop {
            let mut state = lock(&self.state);
            while state.granted.is_some()
                || (0..state.done.len()).any(|at| !state.done[at] && state.waiting[at].is_none())
            {
                state = self.changed.wait(state).unwrap();
            }
            let enabled: Vec<(usize, String)> = (0..state.done.len())
                .filter_map(|at| Some((at, state.waiting[at].clone()?)))
                .collect();
            if enabled.is_empty() {
                return std::mem::take(&mut state.trace);
            }
            let next = choose(&enabled, last);
            state.granted = Some(next);
            last = Some(next);
            self.changed.notify_all();
        }
    }
}

/// An actor's way to the storage; its end is told when it is dropped.
pub(super) struct Actor {
    pub(super) name: String,
    pub(super) number: usize,
    pub(super) turns: Arc<Turns>,
    pub(super) storage: Arc<MemoryStorage>,
    pub(super) before: Mutex<String>,
    /// So many steps are left to it, where it is killed.
    pub(super) steps_left: Mutex<Option<usize>>,
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Tells of an actor's end, however it ends.
pub(super) struct Ending(pub(super) Arc<Turns>, pub(super) usize);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

impl Actor {
    fn step(&self, what: Option<String>) -> Result<(), StorageError> {
        self.lives()?;
        let Some(what) = what else { return Ok(()) };
        let mut before = lock(&self.before);
        if *before != what {
            before.clone_from(&what);
            drop(before);
            if let Some(left) = lock(&self.steps_left).as_mut() {
                *left -= 1;
            }
            self.lives()?;
            self.turns.take(self.number, format!("{} {what}", self.name));
        }
        Ok(())
    }

    fn lives(&self) -> Result<(), StorageError> {
        if *lock(&self.steps_left) != Some(0) {
            return Ok(());
        }
        let (what, source) = (self.name.clone(), std::io::Error::other("killed"));
        Err(StorageError::Io { action: "go on as", what, location: self.location(), source })
    }
}

/// What the model calls a thing.
fn kind(key: &ObjectKey) -> Option<&'static str> {
    match key {
        ObjectKey::Beat(..) => Some("sess"),
        ObjectKey::Snapshot(_) => Some("snap"),
        ObjectKey::Segment(_) => Some("index"),
        ObjectKey::Candidates(_) => Some("C"),
        ObjectKey::Decision(_) => Some("D"),
        ObjectKey::Pack(..) => Some("pack"),
        ObjectKey::Forgotten(_) => Some("forgotten"),
        ObjectKey::Pin(..) => Some("pin"),
        _ => None,
    }
}

impl Storage for Actor {
    fn location(&self) -> String {
        "memory".into()
    }

    fn put_new(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        self.step(kind(key).filter(|kind| *kind != "pack").map(|kind| format!("put {kind}")))?;
        self.storage.put_new(key, bytes)
    }

    fn get(&self, key: &ObjectKey, max: u64) -> Result<Vec<u8>, StorageError> {
        self.lives()?;
        self.storage.get(key, max)
    }

    fn read_at(&self, key: &ObjectKey, offset: u64, len: usize) -> Result<Vec<u8>, StorageError> {
        self.lives()?;
        self.storage.read_at(key, offset, len)
    }

    fn len(&self, key: &ObjectKey) -> Result<u64, StorageError> {
        self.lives()?;
        self.storage.len(key)
    }

    fn list(&self, folder: Folder) -> Result<Vec<Listed>, StorageError> {
        use Folder as F;
        let quiet = [F::Data, F::Meta, F::Tags, F::Keys, F::Settings, F::Parity, F::Ledger];
        self.step((!quiet.contains(&folder)).then(|| format!("list {}", folder.name())))?;
        self.storage.list(folder)
    }

    fn replace_damaged(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        self.lives()?;
        self.storage.replace_damaged(key, bytes)
    }

    fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.step(kind(key).map(|kind| format!("delete {kind}")))?;
        self.storage.delete(key)
    }
}
