//! Waiting for what lives: sessions that began before the candidates, and readers, by the grace.
//!
//! Whether a session is silent is judged by this process' monotonic clock alone. Grace is for
//! readers, which hold nothing: within a minute it is waited for by the same clock. A longer one is
//! over when this machine's clock is past the time that the decision states, the grace, and an hour
//! in which two clocks may differ; a clock that is wrong by more than that costs readers of
//! forgotten snapshots their time, and never a byte that a snapshot needs.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::format::{Generation, SnapshotId, Time};
use crate::ops::{OpError, Result};
use crate::repo::{OpenSession, Repository};

/// Longest sleep between two looks at the user's wish to stop.
const NAP: Duration = Duration::from_millis(100);
/// Longest time between two looks at the sessions.
const LOOK: Duration = Duration::from_secs(10);
/// A grace up to this is waited for.
const SHORT_GRACE: Duration = Duration::from_secs(60);
/// Most that two machines' clocks may differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60 * 60);

/// How a session's end is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience<'a> {
    pub(super) host: &'a str,
    pub(super) timeout: Duration,
    pub(super) interrupted: &'a AtomicBool,
}

impl Patience<'_> {
    fn sleep(&self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        loop {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(OpError::Interrupted);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(NAP));
        }
    }

    /// Whether the process of a session, on this host, is gone.
    pub(super) fn is_gone(&self, repo: &Repository, session: &OpenSession) -> bool {
        repo.writer_of(session).is_some_and(|(host, pid)| host == self.host && !lives(pid))
    }

    /// Waits until every session has ended that shows beats now; evicts those that are silent for
    /// the time-out, and those whose process is gone. Returns how many were evicted.
    pub(super) fn wait_for_sessions(&self, repo: &Repository) -> Result<u64> {
        let mut open = repo.open_sessions()?;
        let mut waiting: HashSet<SnapshotId> = open.iter().map(|session| session.id).collect();
        let mut heard: HashMap<SnapshotId, (u64, Instant)> = HashMap::new();
        let mut evicted = 0;
        loop {
            open.retain(|session| waiting.contains(&session.id));
            for session in &open {
                let last = session.beats.last().copied().unwrap_or(0);
                let known = heard.entry(session.id).or_insert((last, Instant::now()));
                if known.0 != last {
                    *known = (last, Instant::now());
                } else if known.1.elapsed() >= self.timeout || self.is_gone(repo, session) {
                    tracing::warn!("session {} shows no sign of life and is evicted", session.id);
                    repo.evict(session, crate::clock::now(), self.host)?;
                    waiting.remove(&session.id);
                    evicted += 1;
                }
            }
            open.retain(|session| waiting.contains(&session.id));
            if open.is_empty() {
                return Ok(evicted);
            }
            if heard.len() == open.len() {
                tracing::debug!("waiting for {} sessions to end", open.len());
            }
            self.sleep((self.timeout / 4).min(LOOK))?;
            open = repo.open_sessions()?;
        }
    }

    /// Waits for a short grace to pass, from `seen` on. Where a longer one has not passed, returns
    /// the time when it has.
    pub(super) fn wait_for_readers(
        &self,
        decision: &Generation,
        grace: Duration,
        seen: Instant,
    ) -> Result<Option<Time>> {
        let left = grace.saturating_sub(seen.elapsed());
        if grace <= SHORT_GRACE {
            self.sleep(left)?;
            return Ok(None);
        }
        let over = over(decision.at, grace);
        Ok((!left.is_zero() && crate::clock::now() < over).then_some(over))
    }
}

/// When, by any machine's clock, a grace has passed.
fn over(decided: Time, grace: Duration) -> Time {
    let wait = grace.saturating_add(CLOCKS_DIFFER).as_secs();
    let secs = decided.secs.saturating_add(i64::try_from(wait).unwrap_or(i64::MAX));
    Time { secs, nanos: decided.nanos }
}

/// Whether a process of that id runs on this machine.
fn lives(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let Some(pid) = pid else { return true };
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_is_over_an_hour_later_than_stated() {
        let decided = Time { secs: 1000, nanos: 5 };
        let day = Duration::from_secs(86_400);
        assert_eq!(over(decided, day), Time { secs: 1000 + 86_400 + 3600, nanos: 5 });
        assert_eq!(over(decided, Duration::MAX).secs, i64::MAX);
    }

    #[test]
    fn this_process_lives_and_a_reaped_child_does_not() {
        assert!(lives(std::process::id()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(!lives(child.id()));
        assert!(lives(0) && lives(u32::MAX), "what is no id says nothing");
    }
}
