//! Waiting for what lives: sessions that began before the candidates, and readers, by the grace.
//!
//! Whether a session is silent is judged by this process' monotonic clock alone. Grace is for
//! readers, which hold nothing: within a minute it is waited for by the same clock. A longer one is
//! over when this machine's clock is past the time that the decision states, the grace, and an hour
//! in which two clocks may differ; a clock that is wrong by more than that costs readers of
//! forgotten snapshots their time, and never a byte that a snapshot needs.
//!
//! Pins hold nothing else: snapshots that somebody has forgotten, for readers of them. So they are
//! over by the same clocks, when the last beat is older than the time-out and that hour, of which a
//! reader that lives uses a quarter; and at once where the reader's process is gone from this
//! machine. Two prunes may judge one pin otherwise: the decision is one, whoever makes it, and what
//! a snapshot needs that is not forgotten stays either way (`explore` checks that).

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::format::{Generation, Pin, SnapshotId, Time};
use crate::fsutil;
use crate::ops::{OpError, Result};
use crate::repo::{OpenSession, Repository};

/// Longest sleep between two looks at the user's wish to stop.
const NAP: Duration = Duration::from_millis(100);
/// Time between the first two looks at the sessions; it doubles.
const FIRST_LOOK: Duration = Duration::from_millis(200);
/// Longest time between two looks at the sessions.
const LOOK: Duration = Duration::from_secs(10);
/// A grace up to this is waited for.
const SHORT_GRACE: Duration = Duration::from_secs(60);
/// Most that two machines' clocks may differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60 * 60);

/// How a session's end is told.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Patience<'a> {
    pub(in crate::ops) host: &'a str,
    pub(in crate::ops) timeout: Duration,
    pub(in crate::ops) interrupted: &'a AtomicBool,
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
    pub(in crate::ops) fn is_gone(&self, repo: &Repository, session: &OpenSession) -> bool {
        repo.writer_of(session).is_some_and(|(host, pid)| host == self.host && !fsutil::lives(pid))
    }

    /// Whether a session lives, as far as can be told.
    pub(super) fn has_writers(&self, repo: &Repository) -> Result<bool> {
        Ok(repo.open_sessions()?.iter().any(|session| !self.is_gone(repo, session)))
    }

    /// Whether the reader of a pin is gone, as far as can be told.
    pub(super) fn is_over(&self, pin: &Pin) -> bool {
        let is_gone = pin.host == self.host && !fsutil::lives(pin.pid);
        is_gone || crate::clock::now() > over(pin.at, self.timeout)
    }

    /// Waits until every session has ended that shows beats now; evicts those that are silent for
    /// the time-out, and those whose process is gone. Returns how many were evicted.
    pub(in crate::ops) fn wait_for_sessions(&self, repo: &Repository) -> Result<u64> {
        let mut open = repo.open_sessions()?;
        let mut waiting: HashSet<SnapshotId> = open.iter().map(|session| session.id).collect();
        let mut heard: HashMap<SnapshotId, (u64, Instant)> = HashMap::new();
        let (mut evicted, mut said, mut next) = (0, false, FIRST_LOOK);
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
            if !said {
                said = true;
                self.say(repo, &open);
            }
            self.sleep((self.timeout / 4).min(next))?;
            next = (next * 2).min(LOOK);
            open = repo.open_sessions()?;
        }
    }

    /// What it waits for, and how long that may take.
    fn say(&self, repo: &Repository, open: &[OpenSession]) {
        let who = open.iter().take(3).map(|session| match repo.writer_of(session) {
            Some((host, pid)) => format!("{host} (process {pid})"),
            None => format!("session {}", session.id.short()),
        });
        let who: Vec<_> = who.collect();
        let more = if open.len() > who.len() { " and others" } else { "" };
        let silent = self.timeout.as_secs() / 3600;
        tracing::warn!(
            "waiting until what is written now is committed, by {}{more}; one that is silent for \
             {silent} hours counts as dead",
            who.join(", ")
        );
    }

    /// Waits for a short grace to pass, from `seen` on. Where a longer one has not passed, returns
    /// the time when it has.
    pub(in crate::ops) fn wait_for_readers(
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
        Ok(waits_until(decision, grace).filter(|_| !left.is_zero()))
    }
}

/// When a generation may be deleted; `None` where that is now, or where a short grace is waited for.
pub(super) fn waits_until(decision: &Generation, grace: Duration) -> Option<Time> {
    let over = over(decision.at, grace);
    (grace > SHORT_GRACE && crate::clock::now() < over).then_some(over)
}

/// Whether a generation that is decided now is deleted by a later prune.
pub(super) fn is_long(grace: Duration) -> bool {
    grace > SHORT_GRACE
}

/// When, by any machine's clock, a grace has passed.
fn over(decided: Time, grace: Duration) -> Time {
    let wait = grace.saturating_add(CLOCKS_DIFFER).as_secs();
    let secs = decided.secs.saturating_add(i64::try_from(wait).unwrap_or(i64::MAX));
    Time { secs, nanos: decided.nanos }
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

    /// A timer runs once a day, an hour early or late, and may wait hours for ingests before it
    /// decides.
    #[test]
    fn a_prune_a_day_finds_the_last_decision_due() {
        let decided = Time { secs: 5 * 3600, nanos: 0 };
        assert!(over(decided, crate::ops::prune::GRACE).secs <= 24 * 3600);
    }

    #[test]
    fn a_pin_is_over_when_its_reader_is_gone_or_silent() {
        let interrupted = AtomicBool::new(false);
        let timeout = Duration::from_secs(3600);
        let patience = Patience { host: "here", timeout, interrupted: &interrupted };
        let now = crate::clock::now();
        let pin = |host: &str, pid, age| Pin {
            repository: crate::format::RepositoryId([0; 16]),
            id: crate::format::PinId([1; 16]),
            beat: 3,
            snapshots: Vec::new(),
            at: Time { secs: now.secs - age, nanos: 0 },
            host: host.into(),
            pid,
        };
        let (me, dead) = (std::process::id(), 999_999_999);
        let is_over = |host, pid, age| patience.is_over(&pin(host, pid, age));
        assert!(!is_over("here", me, 0) && is_over("here", dead, 0));
        assert!(!is_over("there", dead, 0) && !is_over("there", me, 2 * 3600 - 60));
        assert!(is_over("there", me, 2 * 3600 + 60), "two hours: the time-out, and clocks differ");
        assert!(!is_over("there", me, -7200), "a clock that is ahead");
    }

    #[test]
    fn this_process_lives_and_one_that_has_died_does_not() {
        assert!(fsutil::lives(std::process::id()));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(fsutil::lives(child.id()));
        child.kill().unwrap();
        // Nobody has waited for it yet: it is a zombie as soon as it has died.
        let until = Instant::now() + Duration::from_secs(20);
        while fsutil::lives(child.id()) && Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(!fsutil::lives(child.id()), "a zombie");
        child.wait().unwrap();
        assert!(!fsutil::lives(child.id()));
        // A thread has a number that no process has.
        let own = || fsutil::lives(rustix::thread::gettid().as_raw_nonzero().get() as u32);
        assert!(!std::thread::spawn(own).join().unwrap(), "a thread");
        assert!(fsutil::lives(0) && fsutil::lives(u32::MAX), "what is no id says nothing");
    }
}
