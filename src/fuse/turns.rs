//! Who waits for the kernel's next request: one thread at a time, and awake for a moment.
//!
//! Waking a thread that sleeps in read(2) costs several times what an answer does (50 µs against
//! 10, measured in a virtual machine). So the thread that has the turn polls the device for a
//! while after an answer, and goes to sleep only where nothing comes; not where processors are kept
//! awake anyway ([`super::awake`]), since then waking is cheap and polling is not. The others do not wait at the
//! device, where each request would wake one of them for nothing: they sleep here until the one
//! with the turn is going to be busy ([`about_to_block`](crate::sync::about_to_block)) and hands
//! it over.
//!
//! fuser's loops read the device themselves. A thread comes here at the end of each answer and goes
//! back to its loop when it has the turn.
//!
//! What must stay true: some thread waits for the device, or will without having to wait for
//! anything but the processor; when the device is gone all threads end; an idle mount polls not.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::awake::Awake;
use crate::sync::{before_blocking, lock};

/// How long the device is polled after an answer, where the request before came within that time.
const POLLED: Duration = Duration::from_micros(100);
const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The turn of waiting for requests.
#[derive(Debug)]
pub(super) struct Turns {
    device: OnceLock<OwnedFd>,
    state: Mutex<State>,
    passed: Condvar,
    /// Threads that use a processor for other work; polling would take it from them.
    busy: AtomicUsize,
    polls: bool,
    awake: OnceLock<Awake>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether a thread has the turn.
    taken: bool,
    /// Whether the device is gone.
    ended: bool,
    answered: Option<Instant>,
}

/// What a thread knows of its own turn. Dropped when the thread ends, which it does when the device
/// is gone.
struct Own {
    turns: Arc<Turns>,
    has_turn: bool,
    /// Whether the request that is being answered came soon after the last answer.
    soon: bool,
}

thread_local! {
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
}

impl Drop for Own {
    fn drop(&mut self) {
        lock(&self.turns.state).ended = true;
        self.turns.passed.notify_all();
    }
}

/// While it lives, a processor is in use for something else than polling.
#[derive(Debug)]
pub(super) struct Busy<'t>(&'t Turns);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turns {
    pub(super) fn new() -> Arc<Self> {
        let polls = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
        let (device, state, passed) = (OnceLock::new(), Mutex::default(), Condvar::new());
        let (busy, awake) = (AtomicUsize::new(0), OnceLock::new());
        Arc::new(Self { device, state, passed, busy, polls, awake })
    }

    /// Keeps processors awake while requests stream.
    pub(super) fn keep_awake(&self) -> io::Result<()> {
        let _ = self.awake.set(Awake::start()?);
        Ok(())
    }

    /// The device to poll. Before that nothing is polled.
    pub(super) fn set_device(&self, device: OwnedFd) {
        let _ = self.device.set(device);
    }

    pub(super) fn busy(&self) -> Busy<'_> {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self)
    }

    /// This thread got a request.
    pub(super) fn begin(self: &Arc<Self>) {
        OWN.with_borrow_mut(|own| {
            let own = own.get_or_insert_with(|| {
                before_blocking(hand_over);
                Own { turns: Arc::clone(self), has_turn: false, soon: false }
            });
            let mut state = lock(&self.state);
            own.soon = state.answered.is_some_and(|answered| answered.elapsed() < POLLED);
            if !state.taken {
                (state.taken, own.has_turn) = (true, true);
            }
        });
    }

    /// This thread has answered; when this returns it is to read the device.
    pub(super) fn end(&self) {
        if let Some(awake) = self.awake.get() {
            awake.count();
        }
        OWN.with_borrow_mut(|own| {
            let Some(own) = own else { return };
            let mut state = lock(&self.state);
            state.answered = Some(Instant::now());
            if !own.has_turn {
                while state.taken && !state.ended {
                    state = self.passed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                (state.taken, own.has_turn) = (true, true);
            }
            drop(state);
            if own.soon {
                self.poll();
            }
        });
    }

    /// Returns when there is a request, or has been none for a while.
    fn poll(&self) {
        let polls = self.polls && !self.awake.get().is_some_and(Awake::holds);
        let Some(device) = self.device.get().filter(|_| polls) else { return };
        let begun = Instant::now();
        while begun.elapsed() < POLLED && self.busy.load(Ordering::Relaxed) == 0 {
            let mut watched = [PollFd::from_borrowed_fd(device.as_fd(), PollFlags::IN)];
            if poll(&mut watched, Some(&NO_WAIT)) != Ok(0) {
                return;
            }
        }
    }
}

/// Lets another thread wait for requests, if this one has the turn.
pub(super) fn hand_over() {
    OWN.with_borrow_mut(|own| {
        if let Some(own) = own.as_mut().filter(|own| own.has_turn) {
            own.has_turn = false;
            lock(&own.turns.state).taken = false;
            own.turns.passed.notify_one();
        }
    });
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, unbounded};

    use super::*;

    /// Answers what is sent: `true` is a request that has to wait until `go` may be had.
    fn serve(turns: &Arc<Turns>, requests: &Receiver<bool>, go: &Mutex<()>) {
        for waits in requests {
            turns.begin();
            if waits {
                crate::sync::about_to_block();
                drop(lock(go));
            }
            turns.end();
        }
    }

    #[test]
    fn others_are_answered_while_two_of_three_wait_and_all_threads_end() {
        let (turns, go) = (Turns::new(), Arc::new(Mutex::new(())));
        let (sender, requests) = unbounded();
        let stop = lock(&go);
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (turns, requests, go) = (Arc::clone(&turns), requests.clone(), Arc::clone(&go));
                std::thread::spawn(move || serve(&turns, &requests, &go))
            })
            .collect();
        for waits in [false, false, false, false, true, true, false, false, false] {
            sender.send(waits).unwrap();
        }
        let end = Instant::now() + Duration::from_secs(20);
        while !sender.is_empty() {
            assert!(Instant::now() < end, "requests wait for one that waits");
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(stop);
        drop(sender);
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
