//! When something that comes again and again is due.
//!
//! *every* counts from the last start; a *calendar* asks whether one of its moments lies between
//! the last start and now. What was never started is due at once. A start that lies ahead of all
//! clocks is none: a clock that was wrong for a day must not stop backups for a year.

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::clock::{from_timestamp, to_timestamp};
use crate::format::Time;
use crate::strategy::calendar::Calendar;
use crate::strategy::evidence::{CLOCKS_DIFFER, elapsed};
use crate::strategy::file::Span;
use crate::units;

/// What failed is tried again after so long, unless its schedule comes earlier: a backup of the
/// night that failed does not wait for the next night.
pub const RETRY: Duration = Duration::from_secs(15 * 60);

/// When something is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Now, and why.
    Now(String),
    /// Not before that.
    At(Time),
    /// Never by itself.
    Never,
}

/// The last time that something was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// When.
    pub started: Time,
    /// Whether it failed, and is to be tried again.
    pub failed: bool,
}

/// How often something is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Schedule<'a> {
    /// So long after the last start.
    pub every: Option<Span>,
    /// At these moments.
    pub calendar: Option<&'a str>,
}

impl Schedule<'_> {
    /// Whether it is due now, or when it will be.
    #[must_use]
    pub fn when(&self, last: Option<Last>, now: Time, zone: &TimeZone) -> When {
        if self.every.is_none() && self.calendar.is_none() {
            return When::Never;
        }
        let Some(last) = last.filter(|last| elapsed(last.started, now) <= CLOCKS_DIFFER) else {
            return When::Now("it was never done".into());
        };
        let next = match (self.every, self.calendar) {
            (Some(every), _) => Some(plus(last.started, every.0)),
            (None, calendar) => next_of(calendar, last.started, zone),
        };
        let retry = last.failed.then(|| plus(last.started, RETRY));
        match [next, retry].into_iter().flatten().min() {
            None => When::Never,
            Some(at) if at > now => When::At(at),
            Some(at) => When::Now(self.reason(last, retry == Some(at) && next != retry, now)),
        }
    }

    fn reason(&self, last: Last, is_retry: bool, now: Time) -> String {
        let ago = units::span(elapsed(now, last.started));
        match (is_retry, self.every, self.calendar) {
            (true, ..) => format!("the last attempt, {ago} ago, failed"),
            (_, Some(every), _) => {
                format!("every {}, and the last start was {ago} ago", units::span(every.0))
            }
            (_, None, calendar) => {
                let calendar = calendar.unwrap_or_default();
                format!("\"{calendar}\" came since the last start, {ago} ago")
            }
        }
    }
}

/// The first moment of a calendar after `after`; none where it cannot be read.
#[must_use]
pub fn next_of(calendar: Option<&str>, after: Time, zone: &TimeZone) -> Option<Time> {
    let calendar = Calendar::parse(calendar?).ok()?;
    calendar.next_after(to_timestamp(after)?, zone).map(from_timestamp)
}

/// So much later, up to the end of time.
#[must_use]
pub fn plus(time: Time, span: Duration) -> Time {
    let nanos = time.nanos + span.subsec_nanos();
    let secs = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    let secs = time.secs.saturating_add(secs).saturating_add(i64::from(nanos / 1_000_000_000));
    Time { secs, nanos: nanos % 1_000_000_000 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(secs: i64) -> Time {
        Time { secs, nanos: 0 }
    }

    fn when(every: Option<u64>, calendar: Option<&str>, last: Option<(i64, bool)>) -> When {
        let every = every.map(|secs| Span(Duration::from_secs(secs)));
        let last = last.map(|(secs, failed)| Last { started: at(secs), failed });
        Schedule { every, calendar }.when(last, at(1_000_000), &TimeZone::UTC)
    }

    #[test]
    fn spans_and_calendars_count_from_the_last_start() {
        assert_eq!(when(None, None, None), When::Never);
        assert_eq!(when(Some(60), None, None), When::Now("it was never done".into()));
        assert_eq!(when(Some(60), None, Some((999_941, false))), When::At(at(1_000_001)));
        let words = "every 1 min, and the last start was 1 min ago";
        assert_eq!(when(Some(60), None, Some((999_940, false))), When::Now(words.into()));
        // 1970-01-12 13:46:40; an hour began at 13:00, 997200.
        assert_eq!(when(None, Some("hourly"), Some((997_200, false))), When::At(at(1_000_800)));
        let words = "\"hourly\" came since the last start, 46 min 41 s ago";
        assert_eq!(when(None, Some("hourly"), Some((997_199, false))), When::Now(words.into()));
        assert_eq!(
            when(None, Some("2000-01-01"), Some((100_000, false))),
            When::At(at(946_684_800))
        );
        assert_eq!(when(None, Some("1970-01-01"), Some((100_000, false))), When::Never);
    }

    #[test]
    fn what_failed_is_tried_again_soon() {
        let words = "the last attempt, 15 min ago, failed";
        assert_eq!(when(None, Some("daily"), Some((999_100, true))), When::Now(words.into()));
        assert_eq!(when(None, Some("daily"), Some((999_101, true))), When::At(at(1_000_001)));
        assert_eq!(when(Some(60), None, Some((999_990, true))), When::At(at(1_000_050)));
    }

    #[test]
    fn a_start_in_the_future_is_none() {
        let hour = 3600;
        assert_eq!(when(Some(60), None, Some((1_000_000 + hour, false))), When::At(at(1_003_660)));
        let never = When::Now("it was never done".into());
        assert_eq!(when(Some(60), None, Some((1_000_001 + hour, false))), never);
    }

    proptest! {
        #[test]
        fn what_is_due_stays_due_until_it_is_started(
            every in 1_u64..5000, started in 990_000_i64..1_000_000, failed: bool, later in 0_i64..9000,
        ) {
            let schedule = Schedule { every: Some(Span(Duration::from_secs(every))), calendar: None };
            let last = Some(Last { started: at(started), failed });
            let asked = |now| schedule.when(last, at(now), &TimeZone::UTC);
            let now = 1_000_000;
            if matches!(asked(now), When::Now(_)) {
                prop_assert!(matches!(asked(now + later), When::Now(_)));
            }
            if let When::At(next) = asked(now) {
                prop_assert!(next > at(now));
                prop_assert!(matches!(asked(next.secs), When::Now(_)));
            }
        }
    }
}
