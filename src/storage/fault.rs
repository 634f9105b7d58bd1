//! A storage that fails on purpose, to prove that what is above survives it.
//!
//! Two depths. [`FaultStorage`] cuts any storage between whole operations: a test counts the
//! steps of an undisturbed run, then repeats it once per step and way of failing, and checks that
//! what the next process finds is right. [`CutSteps`] cuts inside one durable write of
//! [`super::LocalStorage`].
//!
//! What must stay true: once cut, nothing works any more, as if the process had been killed, so
//! no code under test can mend what a real crash would leave.

use std::{
    collections::HashSet,
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{Listed, Storage, StorageError};
use crate::{
    format::{Folder, ObjectKey},
    fsutil::{WriteStep, WriteSteps},
};

/// How a cut treats the step that it falls on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum When {
    /// The step does not happen.
    Before,
    /// It happens, and its answer is lost.
    After,
    /// A new object stands with the first half of its bytes: what a storage without atomic
    /// publication leaves. A deletion does not happen, nor does a replacement: that one is atomic.
    Torn,
}

impl When {
    /// Every way, for tests that enumerate.
    pub const ALL: [Self; 3] = [Self::Before, Self::After, Self::Torn];
}

/// Where a storage is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CutPoint {
    /// Which write step: puts, replacements and deletions, counted from 0.
    pub step: u64,
    /// What becomes of that step.
    pub when: When,
}

/// A storage that is cut at a planned step, and whose reads fail where planned.
#[derive(Debug)]
pub struct FaultStorage<S> {
    inner: S,
    cut: Option<CutPoint>,
    steps: AtomicU64,
    down: AtomicBool,
    unreadable: Mutex<HashSet<ObjectKey>>,
}

impl<S: Storage> FaultStorage<S> {
    /// Fails nowhere yet; counts the write steps.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            cut: None,
            steps: AtomicU64::new(0),
            down: AtomicBool::new(false),
            unreadable: Mutex::default(),
        }
    }

    /// Is cut at `cut`; every operation fails from then on.
    pub fn cut_at(inner: S, cut: CutPoint) -> Self {
        Self { cut: Some(cut), ..Self::new(inner) }
    }

    /// Makes all reads of one object fail with an error of the medium.
    pub fn fail_reads(&self, key: ObjectKey) {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    /// Write steps begun so far, the cut one included.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Acquire)
    }

    /// Whether the cut has happened.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// The storage below: what the next process would find.
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    /// Gives the storage below back.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn injected(&self, action: &'static str, what: impl ToString) -> StorageError {
        let source = io::Error::other("injected fault");
        StorageError::Io { action, what: what.to_string(), location: self.location(), source }
    }

    /// Whether to fail now, and how; counts the step otherwise.
    fn write_step(&self, action: &'static str, key: &ObjectKey) -> Result<Way, StorageError> {
        if self.is_down() {
            return Err(self.injected(action, key));
        }
        let step = self.steps.fetch_add(1, Ordering::AcqRel);
        match self.cut {
            Some(cut) if cut.step <= step => {
                self.down.store(true, Ordering::Release);
                // Another thread's step after the cut one never begins.
                let when = if cut.step == step { cut.when } else { When::Before };
                Ok(Way::Cut(when))
            }
            _ => Ok(Way::Through),
        }
    }

    fn check_read(&self, key: &ObjectKey) -> Result<(), StorageError> {
        let unreadable =
            self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).contains(key);
        if unreadable || self.is_down() { Err(self.injected("read", key)) } else { Ok(()) }
    }
}

/// What becomes of one write step.
enum Way {
    Through,
    Cut(When),
}

impl<S: Storage> Storage for FaultStorage<S> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put_new(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        let when = match self.write_step("write", key)? {
            Way::Through => return self.inner.put_new(key, bytes),
            Way::Cut(when) => when,
        };
        // The outcome below is what the lost answer was about.
        let _ = match when {
            When::Before => Ok(()),
            When::After => self.inner.put_new(key, bytes),
            When::Torn => self.inner.put_new(key, bytes.get(..bytes.len() / 2).unwrap_or_default()),
        };
        Err(self.injected("write", key))
    }

    fn replace_damaged(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), StorageError> {
        match self.write_step("replace", key)? {
            Way::Through => return self.inner.replace_damaged(key, bytes),
            Way::Cut(When::After) => {
                let _ = self.inner.replace_damaged(key, bytes);
            }
            Way::Cut(When::Before | When::Torn) => {}
        }
        Err(self.injected("replace", key))
    }

    fn get(&self, key: &ObjectKey, max: u64) -> Result<Vec<u8>, StorageError> {
        self.check_read(key)?;
        self.inner.get(key, max)
    }

    fn read_at(&self, key: &ObjectKey, offset: u64, len: usize) -> Result<Vec<u8>, StorageError> {
        self.check_read(key)?;
        self.inner.read_at(key, offset, len)
    }

    fn len(&self, key: &ObjectKey) -> Result<u64, StorageError> {
        self.check_read(key)?;
        self.inner.len(key)
    }

    fn list(&self, folder: Folder) -> Result<Vec<Listed>, StorageError> {
        if self.is_down() {
            return Err(self.injected("list", folder.name()));
        }
        self.inner.list(folder)
    }

    fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        match self.write_step("delete", key)? {
            Way::Through => return self.inner.delete(key),
            Way::Cut(When::After) => {
                let _ = self.inner.delete(key);
            }
            Way::Cut(When::Before | When::Torn) => {}
        }
        Err(self.injected("delete", key))
    }
}

/// Lets a number of steps of durable writing happen, and none after them.
#[derive(Debug)]
pub struct CutSteps {
    left: u64,
    taken: AtomicU64,
}

impl CutSteps {
    /// Stops before step number `step`, counted from 0, and before every later one.
    #[must_use]
    pub const fn new(step: u64) -> Self {
        Self { left: step, taken: AtomicU64::new(0) }
    }

    /// Steps that were announced so far.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }
}

impl WriteSteps for CutSteps {
    fn before(&self, step: WriteStep) -> io::Result<()> {
        if self.taken.fetch_add(1, Ordering::AcqRel) < self.left {
            Ok(())
        } else {
            Err(io::Error::other(format!("injected fault before {step:?}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        format::KeyId,
        storage::{MemoryStorage, conformance},
    };

    const KEY: ObjectKey = ObjectKey::Key(KeyId([1; 16]));

    #[test]
    fn without_a_plan_it_is_the_storage_below() {
        conformance::check(&FaultStorage::new(MemoryStorage::new()));
    }

    #[test]
    fn steps_are_writes_and_deletions() {
        let storage = FaultStorage::new(MemoryStorage::new());
        storage.put_new(&KEY, b"x").unwrap();
        storage.get(&KEY, 1).unwrap();
        storage.delete(&KEY).unwrap();
        assert_eq!(storage.steps(), 2);
    }

    #[test]
    fn after_the_cut_everything_fails_and_the_step_is_as_planned() {
        for (when, left) in [
            (When::Before, None),
            (When::After, Some(b"content".to_vec())),
            (When::Torn, Some(b"con".to_vec())),
        ] {
            let below = Arc::new(MemoryStorage::new());
            let storage = FaultStorage::cut_at(below.clone(), CutPoint { step: 1, when });
            storage.put_new(&ObjectKey::Config, b"x").unwrap();
            storage.put_new(&KEY, b"content").unwrap_err();
            assert!(storage.is_down());
            assert_eq!(below.get(&KEY, 99).ok(), left, "{when:?}");
            storage.get(&ObjectKey::Config, 1).unwrap_err();
            storage.list(Folder::Keys).unwrap_err();
            storage.delete(&ObjectKey::Config).unwrap_err();
            storage.put_new(&KEY, b"x").unwrap_err();
            assert_eq!(below.len(&ObjectKey::Config).unwrap(), 1);
        }
    }

    #[test]
    fn deletion_is_cut_before_or_after() {
        for (when, gone) in [(When::Before, false), (When::After, true), (When::Torn, false)] {
            let below = Arc::new(MemoryStorage::new());
            below.put_new(&KEY, b"x").unwrap();
            let storage = FaultStorage::cut_at(below.clone(), CutPoint { step: 0, when });
            storage.delete(&KEY).unwrap_err();
            assert_eq!(below.len(&KEY).is_err(), gone, "{when:?}");
        }
    }

    #[test]
    fn unreadable_object_fails_alone() {
        let storage = FaultStorage::new(MemoryStorage::new());
        storage.put_new(&KEY, b"x").unwrap();
        storage.put_new(&ObjectKey::Config, b"x").unwrap();
        storage.fail_reads(KEY);
        let err = storage.read_at(&KEY, 0, 1).unwrap_err();
        assert!(!err.is_not_found() && !err.is_damage());
        assert_eq!(storage.get(&ObjectKey::Config, 1).unwrap(), b"x");
    }
}
