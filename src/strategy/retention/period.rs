//! Periods of the calendar, in a time zone.
//!
//! What must stay true: two times are of one period exactly where its name is the same. The hour
//! that comes twice when clocks are put back is two hours, and the names of hours and minutes
//! carry the offset that tells them apart. Weeks and their years are those of ISO 8601: the week
//! of 2027-01-01 is 2026-W53.

use std::fmt;

use jiff::Zoned;

/// How often one snapshot is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// Of each minute.
    Minute,
    /// Of each hour.
    Hour,
    /// Of each day.
    Day,
    /// Of each week, which begins on Monday.
    Week,
    /// Of each month.
    Month,
    /// Of each quarter of a year.
    Quarter,
    /// Of each year.
    Year,
}

impl Period {
    /// From the shortest to the longest.
    pub const ALL: [Self; 7] =
        [Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month, Self::Quarter, Self::Year];

    /// As in `--keep-daily`.
    #[must_use]
    pub const fn adjective(self) -> &'static str {
        match self {
            Self::Minute => "minutely",
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Quarter => "quarterly",
            Self::Year => "yearly",
        }
    }

    /// The period that a time lies in.
    #[must_use]
    pub fn name(self, date: &Zoned) -> PeriodName {
        let text = match self {
            Self::Minute => date.strftime("%Y-%m-%d %H:%M").to_string(),
            Self::Hour => date.strftime("%Y-%m-%d %H:00").to_string(),
            Self::Day => date.strftime("%Y-%m-%d").to_string(),
            Self::Week => date.strftime("%G-W%V").to_string(),
            Self::Month => date.strftime("%Y-%m").to_string(),
            Self::Quarter => format!("{}-Q{}", date.strftime("%Y"), (date.month() + 2) / 3),
            Self::Year => date.strftime("%Y").to_string(),
        };
        let offset_s = match self {
            Self::Minute | Self::Hour => date.offset().seconds(),
            _ => 0,
        };
        PeriodName { period: self, text, offset_s }
    }
}

/// One day, one hour and so on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeriodName {
    period: Period,
    text: String,
    /// Seconds east of UTC; 0 for days and longer.
    offset_s: i32,
}

impl PeriodName {
    /// How long it is.
    #[must_use]
    pub const fn period(&self) -> Period {
        self.period
    }
}

impl fmt::Display for PeriodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.period.adjective(), self.text)
    }
}
