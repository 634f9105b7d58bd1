//! The wall clock, named in one place. Times that decide anything are passed in as values.

use crate::format::Time;

/// Now, by the system's clock.
#[must_use]
pub fn now() -> Time {
    let now = jiff::Timestamp::now();
    from_timestamp(now)
}

/// A jiff timestamp as stored time: nanoseconds always count forward.
#[must_use]
pub fn from_timestamp(timestamp: jiff::Timestamp) -> Time {
    let nanos = timestamp.as_nanosecond();
    let secs = nanos.div_euclid(1_000_000_000);
    Time { secs: secs as i64, nanos: nanos.rem_euclid(1_000_000_000) as u32 }
}

/// A stored time as a jiff timestamp; `None` beyond what jiff holds (years −9999 to 9999).
#[must_use]
pub fn to_timestamp(time: Time) -> Option<jiff::Timestamp> {
    let nanos = i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos);
    jiff::Timestamp::from_nanosecond(nanos).ok()
}
