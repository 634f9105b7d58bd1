//! Spans of the calendar as users of backup tools write them: `30d`, `5y6m`, `12h`.
//!
//! Here `m` is a month, unlike in durations of timeouts: nobody keeps snapshots for six minutes by
//! this rule, and restic's users write months so. Minutes are `min`.

use std::fmt;
use std::str::FromStr;

use jiff::{Span, Timestamp, Zoned};

/// So many years, months, days and so on, counted back on a calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarSpan {
    /// As it was written, without blanks.
    text: String,
    /// Years, months, weeks, days, hours, minutes, seconds.
    parts: [i64; 7],
}

const UNITS: [&str; 7] = ["y", "m", "w", "d", "h", "min", "s"];
/// A hundred thousand years of seconds: more than any calendar here holds.
const PART_MAX: i64 = 1 << 42;

impl CalendarSpan {
    /// Whether it is no time at all.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.parts.iter().all(|&part| part == 0)
    }

    /// The time that is so long before `end`, on the calendar of its zone; the beginning of time
    /// where it is longer than that.
    #[must_use]
    pub fn before(&self, end: &Zoned) -> Timestamp {
        let span = self.span().and_then(|span| end.checked_sub(span));
        span.map_or(Timestamp::MIN, |start| start.timestamp())
    }

    fn span(&self) -> Result<Span, jiff::Error> {
        let [years, months, weeks, days, hours, minutes, seconds] = self.parts;
        Span::new()
            .try_years(years)?
            .try_months(months)?
            .try_weeks(weeks)?
            .try_days(days)?
            .try_hours(hours)?
            .try_minutes(minutes)?
            .try_seconds(seconds)
    }
}

impl fmt::Display for CalendarSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for CalendarSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{text}\" is not a span; examples: 30d, 12h, 5y6m; units: y, m (months), w, d, \
                 h, min, s"
            )
        };
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let mut parts = [0; 7];
        let (mut rest, mut from) = (compact.as_str(), 0);
        while !rest.is_empty() {
            let (number, after) = split(rest, |c| c.is_ascii_digit());
            let (unit, after) = split(after, |c| c.is_ascii_alphabetic());
            let at = UNITS.iter().position(|name| *name == unit).ok_or_else(wrong)?;
            // Each unit once, the longer before the shorter.
            let part = parts.get_mut(at).filter(|_| at >= from).ok_or_else(wrong)?;
            *part = number.parse().ok().filter(|&part| part <= PART_MAX).ok_or_else(wrong)?;
            (rest, from) = (after, at + 1);
        }
        if compact.is_empty() { Err(wrong()) } else { Ok(Self { text: compact, parts }) }
    }
}

fn split(text: &str, fits: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !fits(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str) -> CalendarSpan {
        text.parse().unwrap_or_else(|err| panic!("{err}"))
    }

    #[test]
    fn spans_count_back_on_the_calendar() {
        let end: Zoned = "2026-03-31T12:00[Europe/Berlin]".parse().unwrap();
        for (text, start) in [
            ("1m", "2026-02-28T12:00[Europe/Berlin]"),
            ("5y6m", "2020-09-30T12:00[Europe/Berlin]"),
            // Over the change of clocks a day is what the calendar says, 24 hours are not.
            ("3d", "2026-03-28T12:00[Europe/Berlin]"),
            ("72h", "2026-03-28T11:00[Europe/Berlin]"),
            ("1w 2d 30min", "2026-03-22T11:30[Europe/Berlin]"),
        ] {
            let expected: Zoned = start.parse().unwrap();
            assert_eq!(span(text).before(&end), expected.timestamp(), "{text}");
        }
        assert_eq!(span("19999y").before(&end), Timestamp::MIN);
        assert_eq!(span("4398046511104s").before(&end), Timestamp::MIN);
    }

    #[test]
    fn spans_are_shown_as_they_were_written_and_nothing_else_is_one() {
        assert_eq!(span("5y 6m").to_string(), "5y6m");
        assert!(span("0d").is_zero() && !span("0d1s").is_zero());
        for bad in ["", " ", "30", "d", "-1d", "1mo", "1d1d", "1h1d", "1.5d", "9999999999999999d"] {
            let err = bad.parse::<CalendarSpan>().unwrap_err();
            assert!(err.starts_with(&format!("\"{bad}\" is not a span; examples: ")), "{err}");
        }
    }
}
