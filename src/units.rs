//! Text of sizes, times and errors.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, ToSpan, Zoned};

use crate::clock::{from_timestamp, to_timestamp};
use crate::format::Time;

/// A size like `4096`, `64K`, `1.5 GiB` or `2GB` in bytes. Units without `i` are powers of 1000
/// when they end in `B`, and powers of 1024 when they are a single letter.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    if trimmed.starts_with('-') {
        return Err(format!("\"{text}\" is negative, and no size"));
    }
    let letters = ['K', 'k', 'M', 'm', 'G', 'g', 'T', 't', 'P', 'p', 'E', 'e'];
    let binary = match trimmed.strip_suffix(letters) {
        Some(_) => format!("{trimmed}iB"),
        None => trimmed.to_owned(),
    };
    let size = binary
        .parse::<bytesize::ByteSize>()
        .map_err(|_| format!("\"{text}\" is not a size; examples: 4096, 64K, 1.5GiB"))?;
    match size.as_u64() {
        // What does not fit comes as the most that does.
        u64::MAX => Err(format!("\"{text}\" is more than 64 bits can count")),
        bytes => Ok(bytes),
    }
}

/// The same, of at most `most` bytes; what makes no sense beyond is said by `why`, which the limit
/// follows.
pub fn parse_size_up_to(text: &str, most: u64, why: &str) -> Result<u64, String> {
    match parse_size(text)? {
        bytes if bytes > most => Err(format!("{why} {}", size(most))),
        bytes => Ok(bytes),
    }
}

/// A span of time like `30s`, `2min`, `1h 30m`, `7d` or `90`, which are seconds. A day has 24 hours.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let trimmed = text.trim();
    let span = match trimmed.parse::<u32>() {
        Ok(secs) => Some(SignedDuration::from_secs(secs.into())),
        Err(_) => trimmed
            .parse::<Span>()
            .ok()
            .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()),
    };
    span.and_then(|span| span.try_into().ok())
        .ok_or_else(|| format!("\"{text}\" is not a duration; examples: 10s, 2min, 1h, 30d"))
}

/// The same, and days and weeks of 24 hours: `30d`, `2w`.
pub fn parse_age(text: &str) -> Result<std::time::Duration, String> {
    let age = |text: &str| {
        let span: jiff::Span = text.trim().parse().ok()?;
        let age = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
        std::time::Duration::try_from(age).ok()
    };
    match parse_duration(text) {
        Ok(duration) => Ok(duration),
        Err(_) => age(text)
            .ok_or_else(|| format!("\"{text}\" is not a span of time; examples: 30d, 12h, 2w")),
    }
}

/// An error with its causes, in one line.
#[must_use]
pub fn chain(err: &(dyn std::error::Error + 'static)) -> String {
    let mut line = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        line.push_str(": ");
        line.push_str(&err.to_string());
        cause = err.source();
    }
    line
}

/// A size for people, like `1.5 GiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

/// A span for people by its two largest units: `45 s`, `6 h`, `2 d 3 h`.
#[must_use]
pub fn span(span: std::time::Duration) -> String {
    let secs = span.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(unit, _)| secs >= *unit).unwrap_or(units.len() - 1);
    let mut rest = secs;
    let mut parts = Vec::new();
    for (unit, name) in units.iter().skip(first).take(2) {
        if rest >= *unit || (parts.is_empty() && *unit == 1) {
            parts.push(format!("{} {name}", rest / unit));
        }
        rest %= unit;
    }
    parts.join(" ")
}

/// A time for people in the local zone, to the second: `2026-11-22 15:04:05`.
#[must_use]
pub fn local_time(time: Time) -> String {
    match to_timestamp(time) {
        Some(stamp) => stamp.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => format!("{} s", time.secs),
    }
}

/// RFC 3339 in UTC with all nanoseconds, for JSON.
#[must_use]
pub fn utc_time(time: Time) -> String {
    match to_timestamp(time) {
        Some(stamp) => format!("{stamp:.9}"),
        None => format!("{}.{:09}", time.secs, time.nanos),
    }
}

/// A point in time as a user states it: RFC 3339, or a date with or without a time, in the local
/// zone; `now`; or seconds since 1970 after `@`.
pub fn parse_time(text: &str) -> Result<Time, String> {
    if text == "now" {
        return Ok(crate::clock::now());
    }
    if let Some(secs) = text.strip_prefix('@').and_then(|secs| secs.parse().ok()) {
        return Ok(Time { secs, nanos: 0 });
    }
    if let Ok(stamp) = text.parse::<Timestamp>() {
        return Ok(from_timestamp(stamp));
    }
    time_span(text).map(|(from, _)| from).ok_or_else(|| {
        format!("\"{text}\" is not a time; examples: 2026-11-22, 2026-11-22T15:04:05, @1700000000")
    })
}

/// The span of time that a shortened time stands for: a day, hour, minute or second in the local
/// zone, from (inclusive) and to (exclusive).
#[must_use]
pub fn time_span(text: &str) -> Option<(Time, Time)> {
    if let Ok(stamp) = text.parse::<Timestamp>() {
        let from = from_timestamp(stamp);
        return Some((from, Time { secs: from.secs + 1, nanos: from.nanos }));
    }
    let text = text.replace([' ', '_'], "T");
    let (start, length) = civil_start(&text)?;
    let start: Zoned = start.to_zoned(TimeZone::system()).ok()?;
    let end = start.checked_add(length).ok()?;
    Some((from_timestamp(start.timestamp()), from_timestamp(end.timestamp())))
}

fn civil_start(text: &str) -> Option<(DateTime, Span)> {
    let Some((date, time)) = text.split_once('T') else {
        let day: Date = text.parse().ok()?;
        return Some((day.at(0, 0, 0, 0), 1.day()));
    };
    let (full, length) = match time.len() {
        2 => (format!("{date}T{time}:00:00"), 1.hour()),
        5 => (format!("{date}T{time}:00"), 1.minute()),
        _ => (text.to_owned(), 1.second()),
    };
    Some((full.parse().ok()?, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("64K", 65536), ("1.5GiB", 3 << 29), ("2GB", 2_000_000_000)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse_size("3E"), Ok(3 << 60), "a single letter, however large");
        for (text, why) in [
            ("many", "is not a size; examples: 4096, 64K, 1.5GiB"),
            ("", "is not a size; examples: 4096, 64K, 1.5GiB"),
            ("-5", "is negative, and no size"),
            (" -1K", "is negative, and no size"),
            ("16E", "is more than 64 bits can count"),
            ("1e400", "is not a size; examples: 4096, 64K, 1.5GiB"),
        ] {
            assert_eq!(parse_size(text), Err(format!("\"{text}\" {why}")), "{text}");
        }
        assert_eq!(parse_size_up_to("1T", 1 << 40, "at most"), Ok(1 << 40));
        assert_eq!(parse_size_up_to("2T", 1 << 40, "at most"), Err("at most 1.0 TiB".into()));
    }

    #[test]
    fn durations() {
        for (text, secs) in [
            ("0", 0),
            ("90", 90),
            ("10s", 10),
            ("2min", 120),
            ("1h 30m", 5400),
            ("500ms", 0),
            ("30d", 2_592_000),
            ("1w 1d", 691_200),
        ] {
            assert_eq!(parse_duration(text).map(|span| span.as_secs()), Ok(secs), "{text}");
        }
        for bad in ["", "soon", "-1s", "-1", "1 month"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_have_two_units() {
        for (secs, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min 59 s"),
            (6 * 3600 + 5, "6 h"),
            (2 * 86_400 + 3 * 3600 + 59, "2 d 3 h"),
        ] {
            assert_eq!(span(std::time::Duration::from_secs(secs)), words);
        }
    }

    #[test]
    fn a_day_spans_to_the_next() {
        let (from, to) = time_span("2026-11-22").unwrap();
        assert_eq!(to.secs - from.secs, 86400);
        let (from, to) = time_span("2026-11-22T15:04").unwrap();
        assert_eq!(to.secs - from.secs, 60);
        assert_eq!(time_span("soon"), None);
        assert_eq!(parse_time("@-5"), Ok(Time { secs: -5, nanos: 0 }));
        let stated = parse_time("1969-12-31T23:59:59.5Z").unwrap();
        assert_eq!(stated, Time { secs: -1, nanos: 500_000_000 });
        assert_eq!(utc_time(stated), "1969-12-31T23:59:59.500000000Z");
    }
}
