//! Values of the strategy file that are more than a string or a number.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::units::parse_duration;

/// A span of time: `30s`, `15min`, `6h`, `30d`. A day has 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Self).map_err(de::Error::custom)
    }
}

impl Serialize for Span {
    /// In whole milliseconds, as it reads back.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}ms", self.0.as_millis()))
    }
}

/// A part of something: `5%`, `0.1%`; above nothing, below all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    const ALL: f64 = 1e6;

    fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("\"{text}\" is no share; write one above 0% and below 100%, like 5%");
        let percent = text.trim().strip_suffix('%').ok_or_else(wrong)?;
        let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
        let millionths = (percent / 100.0 * Self::ALL).round();
        match percent > 0.0 && percent < 100.0 && (1.0..Self::ALL).contains(&millionths) {
            true => Ok(Self(millionths as u32)),
            false => Err(wrong()),
        }
    }

    /// As a number between 0 and 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / Self::ALL
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}%", f64::from(self.0) / Self::ALL * 100.0))
    }
}

/// A command line: a list of words, or one string that `/bin/sh -c` runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a command: a string for the shell, or a list of words")]
pub enum Words {
    /// Run by the shell.
    Shell(String),
    /// Run as it is.
    Exec(Vec<String>),
}

impl Words {
    /// Program and arguments.
    #[must_use]
    pub fn argv(&self) -> Vec<&str> {
        match self {
            Self::Shell(line) => vec!["/bin/sh", "-c", line],
            Self::Exec(words) => words.iter().map(String::as_str).collect(),
        }
    }

    /// Whether there is nothing to run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Shell(line) => line.trim().is_empty(),
            Self::Exec(words) => words.first().is_none_or(String::is_empty),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_are_percentages_between_nothing_and_all() {
        assert_eq!(Share::parse("5%").unwrap().fraction(), 0.05);
        assert_eq!(Share::parse(" 0.1 % ").unwrap().fraction(), 0.001);
        for wrong in ["", "5", "0%", "100%", "-1%", "NaN%", "inf%", "0.000001%", "99.99999%", "x%"]
        {
            assert!(Share::parse(wrong).unwrap_err().contains("like 5%"), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn shares_read_back_as_they_are_written(millionths in 1_u32..1_000_000) {
            let written = serde_json::to_string(&Share(millionths)).unwrap();
            prop_assert_eq!(serde_json::from_str::<Share>(&written).unwrap(), Share(millionths));
        }
    }
}
