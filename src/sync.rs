//! Locking without poison, permits for what is large, and what was said already.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Locks a mutex whose data is whole at each step of every critical section, so that a panic in a
/// thread that held it does not spoil it. No lock is held over I/O.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names of objects that something was logged about.
static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
/// Most of them; of what comes then nothing is logged.
const SAID_MAX: usize = 10_000;

/// Whether this process logs something about an object for the first time. One lost pack is met at
/// every chunk that it held: said each time it would fill the log, and hide all else.
pub(crate) fn first_said(object: &str) -> bool {
    let mut said = lock(&SAID);
    said.len() < SAID_MAX && said.insert(object.to_owned())
}

/// How many large things may exist at a time.
#[derive(Debug)]
pub(crate) struct Permits {
    free: Mutex<usize>,
    freed: Condvar,
}

/// The right to hold one of them, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Permits>);

impl Permits {
    /// At least one.
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { free: Mutex::new(count.max(1)), freed: Condvar::new() })
    }

    /// Waits until there is a free one.
    pub(crate) fn take(self: &Arc<Self>) -> Permit {
        let free = lock(&self.free);
        let free = self.freed.wait_while(free, |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Permit(Arc::clone(self))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn an_object_is_told_of_once() {
        let asked = ["data/1", "data/2", "data/1", "data/1"].map(first_said);
        assert_eq!(asked, [true, true, false, false]);
    }

    #[test]
    fn no_more_than_allowed_hold_a_permit() {
        let (permits, held, most) = (Permits::new(2), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let permit = permits.take();
                        most.fetch_max(held.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        held.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
        assert_eq!(*lock(&permits.free), 2);
    }
}
