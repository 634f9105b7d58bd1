//! Plots as numbers: where lines, dots and marks of an SVG stand.
//!
//! Everything finite in, coordinates inside of the frame out; words are escaped by the template.

use std::time::Duration;

use crate::clock::to_timestamp;
use crate::format::Time;
use crate::report::comply::took;
use crate::units;

/// Width and height in SVG's units, and the frame inside.
pub(super) const WIDTH: f64 = 640.0;
pub(super) const HEIGHT: f64 = 200.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = WIDTH - 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = HEIGHT - 26.0;

/// Parts of the horizontal axis.
const COLUMNS: i64 = 4;

/// What the vertical axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Bytes,
}

impl Unit {
    fn words(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 60.0 => took(Duration::from_secs_f64(value.max(0.0))),
            Self::Seconds => units::span(Duration::from_secs_f64(value)),
            Self::Bytes => units::size(value as u64),
        }
    }

    /// The least round number that is no less.
    fn round(self, value: f64) -> f64 {
        let steps: &[f64] = match self {
            Self::Seconds => &[
                0.1,
                0.2,
                0.5,
                1.0,
                2.0,
                5.0,
                10.0,
                20.0,
                40.0,
                60.0,
                120.0,
                300.0,
                600.0,
                1200.0,
                2400.0,
                3600.0,
                7200.0,
                14_400.0,
                28_800.0,
                43_200.0,
                86_400.0,
                172_800.0,
                345_600.0,
                691_200.0,
                1_728_000.0,
                3_456_000.0,
            ],
            Self::Bytes => &[],
        };
        if let Some(step) = steps.iter().find(|step| **step >= value) {
            return *step;
        }
        let power = value.max(1.0).log2().floor().exp2();
        let nice = [1.0, 1.5, 2.0].map(|step| step * power);
        nice.into_iter().find(|step| *step >= value).unwrap_or(value)
    }
}

/// A label at a place of an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub at: String,
    pub words: String,
    /// Where the words stand: `start`, `middle` or `end` is there.
    pub anchor: &'static str,
}

/// A line, as SVG's `points` has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub name: String,
    pub points: String,
    /// Which of the colours.
    pub class: &'static str,
}

/// A mark, and what it tells.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dot {
    pub x: String,
    pub y: String,
    pub class: &'static str,
    pub words: String,
}

/// A plot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plot {
    pub title: String,
    /// What it shows, for those who cannot see it.
    pub words: String,
    pub lines: Vec<Line>,
    pub dots: Vec<Dot>,
    pub rows: Vec<Tick>,
    pub columns: Vec<Tick>,
    /// Where the target is.
    pub target: Option<Tick>,
}

/// Values by time, to be drawn.
pub(super) struct Values<'a> {
    pub name: &'a str,
    pub class: &'static str,
    pub points: Vec<(Time, f64)>,
    /// Whether each value is drawn as a dot too, and the class of those that are bad.
    pub dots: Option<Vec<bool>>,
}

/// The axes of a plot.
pub(super) struct Axes {
    pub from: Time,
    pub to: Time,
    pub unit: Unit,
    pub target: Option<f64>,
}

impl Axes {
    fn x(&self, time: Time) -> f64 {
        let span = (self.to.secs - self.from.secs).max(1) as f64;
        let part = (time.secs - self.from.secs) as f64 / span;
        LEFT + part.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }
}

/// Draws them; `None` where there is nothing to draw.
pub(super) fn plot(title: String, axes: &Axes, all: &[Values<'_>]) -> Option<Plot> {
    let values = || all.iter().flat_map(|it| it.points.iter().map(|(_, value)| *value));
    let highest = values().chain(axes.target).filter(|it| it.is_finite()).fold(0.0, f64::max);
    values().next()?;
    let top = axes.unit.round(highest.max(1e-6));
    let y = |value: f64| BOTTOM - (value / top).clamp(0.0, 1.0) * (BOTTOM - TOP);
    let point = |(time, value): &(Time, f64)| format!("{:.1},{:.1}", axes.x(*time), y(*value));
    let line = |it: &Values<'_>| Line {
        name: it.name.to_owned(),
        points: it.points.iter().map(point).collect::<Vec<_>>().join(" "),
        class: it.class,
    };
    let dots = all.iter().flat_map(|it| {
        let marks = it.dots.iter().flatten();
        it.points.iter().zip(marks).map(|((time, value), is_good)| Dot {
            x: format!("{:.1}", axes.x(*time)),
            y: format!("{:.1}", y(*value)),
            class: if *is_good { "good" } else { "bad" },
            words: format!("{}: {}", units::local_time(*time), axes.unit.words(*value)),
        })
    });
    let tick = |value: f64| {
        let (at, words) = (format!("{:.1}", y(value)), axes.unit.words(value));
        Tick { at, words, anchor: "end" }
    };
    let last = all.iter().filter_map(|it| Some((it.name, it.points.last()?.1)));
    let last = last.map(|(name, value)| format!("{name} {}", axes.unit.words(value)));
    Some(Plot {
        words: format!("{title}: {}", last.collect::<Vec<_>>().join(", ")),
        title,
        lines: all.iter().filter(|it| it.points.len() > 1).map(line).collect(),
        dots: dots.collect(),
        rows: [0.0, top / 2.0, top].map(tick).into(),
        columns: columns(axes),
        target: axes.target.map(tick),
    })
}

fn columns(axes: &Axes) -> Vec<Tick> {
    let span = axes.to.secs - axes.from.secs;
    let column = |part: i64| {
        let time = Time { secs: axes.from.secs + span * part / COLUMNS, nanos: 0 };
        let words = to_timestamp(time).map_or_else(String::new, |_| units::local_time(time));
        let words = if span > 3 * 86_400 { words.get(..10) } else { words.get(5..16) };
        let anchor = match part {
            0 => "start",
            COLUMNS => "end",
            _ => "middle",
        };
        let words = words.unwrap_or_default().to_owned();
        Tick { at: format!("{:.1}", axes.x(time)), words, anchor }
    };
    // A span of seconds has one label.
    let last = if span < 60 { 0 } else { COLUMNS };
    (0..=last).map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Time {
        Time { secs, nanos: 0 }
    }

    #[test]
    fn values_stand_inside_of_the_frame_and_the_target_with_them() {
        let axes = Axes { from: at(0), to: at(100), unit: Unit::Seconds, target: Some(90.0) };
        let points = vec![(at(-50), 0.0), (at(50), 30.0), (at(100), 60.0), (at(500), 1e12)];
        let values = Values { name: "age", class: "a", points, dots: None };
        let drawn = plot("age".into(), &axes, &[values]).unwrap();
        for pair in drawn.lines[0].points.split(' ') {
            let (x, y) = pair.split_once(',').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!((LEFT..=RIGHT).contains(&x) && (TOP..=BOTTOM).contains(&y), "{pair}");
        }
        assert_eq!(drawn.rows.len() + drawn.columns.len(), 8);
        assert!(drawn.target.is_some_and(|target| target.words == "1 min 30 s"));
        let none = Values { name: "none", class: "a", points: Vec::new(), dots: None };
        assert_eq!(plot("none".into(), &axes, &[none]), None);
    }

    #[test]
    fn axes_end_at_round_numbers() {
        for (unit, value, top) in [
            (Unit::Seconds, 3500.0, 3600.0),
            (Unit::Seconds, 0.3, 0.5),
            (Unit::Bytes, 1000.0, 1024.0),
            (Unit::Bytes, 1030.0, 1536.0),
        ] {
            assert_eq!(unit.round(value), top, "{value}");
        }
    }
}
