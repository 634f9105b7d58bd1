//! When whoever lives says so again: sessions and pins, each quarter of the time-out.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::lock;

/// The number of the last beat, and when it was.
#[derive(Debug)]
pub(super) struct Beats(Mutex<(u64, Instant)>);

impl Beats {
    /// Beat 0 is now.
    pub(super) fn begin() -> Self {
        Self(Mutex::new((0, Instant::now())))
    }

    /// The number of the next beat, for the one caller that is to make it, where a quarter of the
    /// time-out has passed since the last. Cheap otherwise.
    pub(super) fn due(&self, timeout: Duration) -> Option<u64> {
        let mut beats = lock(&self.0);
        if beats.1.elapsed() < timeout / 4 {
            return None;
        }
        *beats = (beats.0 + 1, Instant::now());
        Some(beats.0)
    }

    /// The number of the last beat.
    pub(super) fn last(&self) -> u64 {
        lock(&self.0).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_is_due_for_one_caller_each_quarter_of_the_time_out() {
        let beats = Beats::begin();
        assert_eq!((beats.due(Duration::from_secs(3600)), beats.last()), (None, 0));
        assert_eq!((beats.due(Duration::ZERO), beats.last()), (Some(1), 1));
        assert_eq!(beats.due(Duration::from_secs(3600)), None);
    }
}
