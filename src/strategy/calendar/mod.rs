//! Calendar expressions in the words of systemd.time(7): `Mon..Fri 02:00`, `*-*-01 04:30`, `weekly`.
//!
//! What is supported: weekdays, dates with `~` for days from a month's end, times to the second,
//! lists, ranges, repetitions, shorthands, and a time zone at the end. Fractions of seconds are
//! refused. A local time that a change of clocks leaves out comes as much later as the clocks are
//! put forward; one that comes twice counts once, the first time.

mod parse;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;

/// Years in which systemd looks for a match too.
const YEARS: std::ops::RangeInclusive<i16> = 1970..=2199;

/// When something is to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    text: String,
    /// From Monday on.
    weekdays: [bool; 7],
    years: Field,
    months: Field,
    days: Days,
    hours: Field,
    minutes: Field,
    seconds: Field,
    zone: Option<TimeZone>,
}

/// Values of one part of a date or time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field(Vec<Span>);

/// `first`, `first+step`, … up to `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first: i16,
    last: i16,
    step: i16,
}

/// Days of a month.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Days {
    FromStart(Field),
    /// 1 is the last day.
    FromEnd(Field),
}

impl Field {
    fn has(&self, value: i16) -> bool {
        self.0.iter().any(|span| {
            (span.first..=span.last).contains(&value) && (value - span.first) % span.step == 0
        })
    }

    fn values(&self, limit: i16) -> impl Iterator<Item = i8> {
        (0..limit).filter(|value| self.has(*value)).filter_map(|value| i8::try_from(value).ok())
    }
}

impl Calendar {
    /// Reads an expression; the error says which part is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse::calendar(text).map_err(|what| format!("calendar \"{text}\": {what}"))
    }

    /// The expression as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first moment after `after` that fits, in the expression's own zone or else in `zone`;
    /// `None` when there is none up to the year 2199.
    #[must_use]
    pub fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let zone = self.zone.as_ref().unwrap_or(zone);
        // Clocks put back make local times of a past hour come again.
        let mut day = zone.to_datetime(after).date().yesterday().ok()?;
        while YEARS.contains(&day.year()) {
            if let Some(skip) = self.skip_to(day) {
                day = skip.ok()?;
                continue;
            }
            if self.fits(day) {
                let found = self.times().find_map(|time| {
                    let at = DateTime::from_parts(day, time).to_zoned(zone.clone()).ok()?;
                    (at.timestamp() > after).then(|| at.timestamp())
                });
                if found.is_some() {
                    return found;
                }
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    /// Where a year or month does not fit: the first day after it.
    fn skip_to(&self, day: Date) -> Option<Result<Date, jiff::Error>> {
        if !self.years.has(day.year()) {
            return Some(Date::new(day.year() + 1, 1, 1));
        }
        if !self.months.has(day.month().into()) {
            return Some(day.last_of_month().tomorrow());
        }
        None
    }

    fn fits(&self, day: Date) -> bool {
        let of_month = match &self.days {
            Days::FromStart(days) => days.has(day.day().into()),
            Days::FromEnd(days) => {
                days.has(i16::from(day.days_in_month()) - i16::from(day.day()) + 1)
            }
        };
        let weekday = self.weekdays.get(usize::from(offset(day.weekday())));
        of_month && weekday.copied().unwrap_or_default()
    }

    fn times(&self) -> impl Iterator<Item = Time> {
        self.hours.values(24).flat_map(move |hour| {
            self.minutes.values(60).flat_map(move |minute| {
                self.seconds
                    .values(60)
                    .filter_map(move |second| Time::new(hour, minute, second, 0).ok())
            })
        })
    }
}

/// Days since Monday.
fn offset(weekday: Weekday) -> u8 {
    weekday.to_monday_zero_offset().unsigned_abs()
}

#[cfg(test)]
mod tests;
