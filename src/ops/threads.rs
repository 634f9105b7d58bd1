//! One piece of work for each of many things, by as many threads as there are cores.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{OpError, Result};

/// Does `work` with each of `all`, in no order. Work that was begun is done when this returns.
///
/// # Errors
/// Where the user interrupted, or a thread panicked.
pub(super) fn for_each<T: Sync>(
    all: &[T],
    interrupted: &AtomicBool,
    work: impl Fn(&T) + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let go_on = || {
        while let Some(each) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            if interrupted.load(Ordering::Relaxed) {
                return;
            }
            work(each);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let panicked = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(go_on)).collect();
        let joined: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        joined.iter().any(std::result::Result::is_err)
    });
    match (panicked, interrupted.load(Ordering::Relaxed)) {
        (true, _) => Err(OpError::Panicked),
        (false, true) => Err(OpError::Interrupted),
        (false, false) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn each_is_done_once_and_an_interruption_ends_it() {
        let all: Vec<u64> = (1..=1000).collect();
        let (sum, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        for_each(&all, &stop, |each| {
            sum.fetch_add(*each, Ordering::Relaxed);
        })
        .unwrap();
        assert_eq!(sum.load(Ordering::Relaxed), 500_500);
        let done = AtomicU64::new(0);
        let until = for_each(&all, &stop, |_| {
            stop.store(true, Ordering::Relaxed);
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert!(matches!(until, Err(OpError::Interrupted)));
        assert!(done.load(Ordering::Relaxed) < 1000);
        let panicked = for_each(&all, &AtomicBool::new(false), |each| assert_ne!(*each, 7));
        assert!(matches!(panicked, Err(OpError::Panicked)));
    }
}
