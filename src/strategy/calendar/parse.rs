//! Reading a calendar expression.

use jiff::tz::TimeZone;

use super::{Calendar, Days, Field, Span, YEARS};

const WEEKDAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Names for expressions that are often wanted.
const SHORTHANDS: &[(&str, &str)] = &[
    ("minutely", "*-*-* *:*:00"),
    ("hourly", "*-*-* *:00:00"),
    ("daily", "*-*-* 00:00:00"),
    ("weekly", "Mon *-*-* 00:00:00"),
    ("monthly", "*-*-01 00:00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00:00"),
    ("semiannually", "*-01,07-01 00:00:00"),
    ("semi-annually", "*-01,07-01 00:00:00"),
    ("bi-annually", "*-01,07-01 00:00:00"),
    ("biannually", "*-01,07-01 00:00:00"),
    ("yearly", "*-01-01 00:00:00"),
    ("annually", "*-01-01 00:00:00"),
    ("anually", "*-01-01 00:00:00"),
];

type Parsed<T> = Result<T, String>;

pub(super) fn calendar(text: &str) -> Parsed<Calendar> {
    let mut words: Vec<&str> = text.split_ascii_whitespace().collect();
    let zone = take_zone(&mut words)?;
    if let [word] = words.as_slice()
        && let Some((_, long)) =
            SHORTHANDS.iter().find(|(short, _)| word.eq_ignore_ascii_case(short))
    {
        let long = calendar(long)?;
        return Ok(Calendar { text: text.to_owned(), zone, ..long });
    }
    let mut words = words.into_iter().peekable();
    if words.peek().is_none() {
        return Err("it is empty".into());
    }
    let weekdays = match words.next_if(|word| word.starts_with(|c: char| c.is_ascii_alphabetic())) {
        Some(word) => weekdays(word)?,
        None => [true; 7],
    };
    let (years, months, days) = match words.next_if(|word| is_date(word)) {
        Some(word) => date(word)?,
        None => (all(*YEARS.start(), *YEARS.end()), all(1, 12), Days::FromStart(all(1, 31))),
    };
    let (hours, minutes, seconds) = match words.next() {
        Some(word) => time(word)?,
        None => (one(0), one(0), one(0)),
    };
    if let Some(rest) = words.next() {
        return Err(format!(
            "\"{rest}\" is not understood; the order is weekdays, date, time, zone"
        ));
    }
    let text = text.to_owned();
    Ok(Calendar { text, weekdays, years, months, days, hours, minutes, seconds, zone })
}

/// The zone at the end, where there is one: what no weekday and no shorthand is.
fn take_zone(words: &mut Vec<&str>) -> Parsed<Option<TimeZone>> {
    let Some(last) = words.last().copied() else { return Ok(None) };
    let is_word = last.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_first = words.len() == 1;
    if !is_word || (is_first && !last.eq_ignore_ascii_case("utc")) {
        return Ok(None);
    }
    words.pop();
    if last.eq_ignore_ascii_case("utc") {
        return Ok(Some(TimeZone::UTC));
    }
    TimeZone::get(last)
        .map(Some)
        .map_err(|_| format!("\"{last}\" is no time zone; write UTC or a name like Europe/Berlin"))
}

fn is_date(word: &str) -> bool {
    !word.contains(':') && word.contains(['-', '~'])
}

fn weekdays(word: &str) -> Parsed<[bool; 7]> {
    let mut set = [false; 7];
    for part in word.trim_end_matches(',').split(',') {
        let (first, last) = match part.split_once("..") {
            Some((first, last)) => (weekday(first)?, weekday(last)?),
            None => (weekday(part)?, weekday(part)?),
        };
        if first > last {
            return Err(format!("the weekdays {part} end before they begin; list them instead"));
        }
        set.iter_mut().take(last + 1).skip(first).for_each(|day| *day = true);
    }
    Ok(set)
}

fn weekday(word: &str) -> Parsed<usize> {
    let lower = word.to_ascii_lowercase();
    WEEKDAYS
        .iter()
        .position(|name| lower == *name || name.get(..3) == Some(lower.as_str()))
        .ok_or_else(|| format!("\"{word}\" is no weekday"))
}

fn date(word: &str) -> Parsed<(Field, Field, Days)> {
    let (front, last) = match word.split_once('~') {
        Some((front, days)) => (front, Some(days)),
        None => (word, None),
    };
    let mut parts: Vec<&str> = front.split('-').collect();
    let day = match last {
        Some(days) => Days::FromEnd(from_end(days)?),
        None => Days::FromStart(field(parts.pop().unwrap_or_default(), 1, 31, "day")?),
    };
    let (year, month) = match parts.as_slice() {
        [month] => (all(*YEARS.start(), *YEARS.end()), *month),
        [year, month] => (years(year)?, *month),
        _ => return Err(format!("\"{word}\" is no date; write year-month-day or month-day")),
    };
    Ok((year, field(month, 1, 12, "month")?, day))
}

/// Days from a month's end; repetitions go towards it.
fn from_end(text: &str) -> Parsed<Field> {
    let Field(mut spans) = field(text, 1, 31, "day")?;
    for (span, part) in spans.iter_mut().zip(text.split(',')) {
        if part.contains('/') && !part.starts_with('*') && !part.contains("..") {
            (span.first, span.last) = ((span.first - 1) % span.step + 1, span.first);
        }
    }
    Ok(Field(spans))
}

fn years(text: &str) -> Parsed<Field> {
    let Field(mut spans) = field(text, 0, *YEARS.end(), "year")?;
    for span in &mut spans {
        let is_all = text == "*" || text.starts_with("*/");
        span.first = if is_all { *YEARS.start() } else { long_year(span.first) };
        span.last = long_year(span.last);
    }
    Ok(Field(spans))
}

/// Two digits stand for 1970 to 2069.
const fn long_year(year: i16) -> i16 {
    match year {
        0..70 => year + 2000,
        70..100 => year + 1900,
        _ => year,
    }
}

fn time(word: &str) -> Parsed<(Field, Field, Field)> {
    let parts: Vec<&str> = word.split(':').collect();
    let (hours, minutes, seconds) = match parts.as_slice() {
        [hours, minutes] => (hours, minutes, "0"),
        [hours, minutes, seconds] => (hours, minutes, *seconds),
        _ => {
            return Err(format!(
                "\"{word}\" is no time; write hours:minutes or hours:minutes:seconds"
            ));
        }
    };
    if seconds.replace("..", "").contains('.') {
        return Err("fractions of seconds are not supported".into());
    }
    Ok((
        field(hours, 0, 23, "hour")?,
        field(minutes, 0, 59, "minute")?,
        field(seconds, 0, 59, "second")?,
    ))
}

/// One part: `*`, or a list of values, ranges and repetitions.
fn field(text: &str, least: i16, most: i16, what: &str) -> Parsed<Field> {
    let number = |text: &str| match text.parse::<i16>() {
        Ok(number)
            if (least..=most).contains(&number) && text.bytes().all(|b| b.is_ascii_digit()) =>
        {
            Ok(number)
        }
        _ => Err(format!("\"{text}\" is no {what}; it must be from {least} to {most}")),
    };
    let span = |part: &str| {
        let (values, step) = match part.split_once('/') {
            Some((values, step)) => (values, Some(step)),
            None => (part, None),
        };
        let (first, last) = match values.split_once("..") {
            Some((first, last)) => (number(first)?, number(last)?),
            None if values == "*" => (least, most),
            // A value repeats up to the end.
            None => (number(values)?, if step.is_some() { most } else { number(values)? }),
        };
        let step = match step {
            Some(step) => step.parse().ok().filter(|step| *step > 0),
            None => Some(1),
        };
        match step {
            Some(step) if first <= last => Ok(Span { first, last, step }),
            Some(_) => Err(format!("the {what}s {values} end before they begin")),
            None => {
                Err(format!("\"{part}\" repeats by nothing; write a number above 0 after the /"))
            }
        }
    };
    text.split(',').map(span).collect::<Parsed<_>>().map(Field)
}

fn all(first: i16, last: i16) -> Field {
    Field(vec![Span { first, last, step: 1 }])
}

fn one(value: i16) -> Field {
    all(value, value)
}
