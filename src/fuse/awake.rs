//! Keeps processors awake while requests stream: see [`crate::latency`].
//!
//! Through a mount each request is two wake-ups, of who answers and of who asked. `cp -a` asks three
//! times for attributes of every file. On two virtual processors, 105,345 files, cold:
//!
//! | | `find` | `tar` | `cp -a` | CPU of the mount in `cp -a` |
//! |---|--:|--:|--:|--:|
//! | polling for 100 µs after an answer | 1.28 s | 6.94 s | 23.0 s | 18.2 s |
//! | kept awake | 0.64 s | 4.14 s | 9.8 s | 5.7 s |
//! | both | 0.60 s | 4.37 s | 14.0 s | 13.4 s |
//!
//! What must stay true: it costs an answer one addition; a mount that nobody reads, or that is read
//! now and then, asks for nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::latency::LowLatency;

/// Answers that make a stream where they come within [`WINDOW`].
const STREAM: u64 = 100;
const WINDOW: Duration = Duration::from_millis(50);

/// Counts answers.
#[derive(Debug)]
pub(super) struct Awake {
    answered: AtomicU64,
    /// A word after each hundred, where the last one was taken.
    hundred: Sender<()>,
    held: Arc<AtomicBool>,
}

impl Awake {
    /// Starts the thread that asks; it ends when this is dropped.
    pub(super) fn start() -> io::Result<Self> {
        let (hundred, hundreds) = bounded(1);
        let held = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&held);
        thread::Builder::new().name("awake".into()).spawn(move || hold(&hundreds, &tell))?;
        Ok(Self { answered: AtomicU64::new(0), hundred, held })
    }

    /// Whether processors are kept awake now.
    pub(super) fn holds(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// Another request was answered.
    pub(super) fn count(&self) {
        if self.answered.fetch_add(1, Ordering::Relaxed) % STREAM == STREAM - 1 {
            let _ = self.hundred.try_send(());
        }
    }
}

/// Asks while a hundred come within a window, and then a hundred in the window after the next. Ends
/// where it may not ask.
fn hold(hundreds: &Receiver<()>, held: &AtomicBool) {
    while hundreds.recv().is_ok() {
        if hundreds.recv_timeout(WINDOW).is_ok() {
            let Some(_held) = LowLatency::request() else { return };
            held.store(true, Ordering::Relaxed);
            while hundreds.recv_timeout(WINDOW).is_ok() {
                thread::sleep(WINDOW);
            }
            held.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn soon(what: impl Fn() -> bool) -> bool {
        let end = Instant::now() + Duration::from_secs(20);
        while !what() && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
        what()
    }

    /// Only root may ask, and a container may have no such device.
    #[test]
    fn a_stream_holds_the_request_and_its_end_gives_it_back() {
        let allowed = LowLatency::request().is_some();
        let awake = Awake::start().unwrap();
        let stream = || {
            (0..STREAM).for_each(|_| awake.count());
            awake.holds()
        };
        if allowed {
            assert!(soon(stream));
            assert!(soon(|| !awake.holds()));
            assert!(soon(stream), "it can be asked for again");
        } else {
            (0..100).for_each(|_| assert!(!stream()));
        }
    }

    #[test]
    fn some_requests_now_and_then_ask_for_nothing() {
        let awake = Awake::start().unwrap();
        for _ in 0..3 {
            (1..STREAM / 2).for_each(|_| awake.count());
            thread::sleep(WINDOW);
            assert!(!awake.holds());
        }
    }
}
