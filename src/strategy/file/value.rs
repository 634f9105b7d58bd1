//! Values of the strategy file that are more than a string or a number.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

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

/// A command line: a list of words, or one string that `/bin/sh -c` runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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
