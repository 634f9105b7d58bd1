//! How hard blocks are compressed: the words of `--compression`.

use std::fmt;
use std::str::FromStr;

/// zstd's levels that users may name.
const LEVELS: std::ops::RangeInclusive<u8> = 1..=19;
const MAX_LEVEL: u8 = *LEVELS.end();

/// How hard blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Blocks are stored as they are.
    Off,
    /// zstd's level 1 where it promises gain.
    Fast,
    /// A zstd level from 1 to 19.
    Level(u8),
    /// zstd's level 19.
    Max,
}

impl Compression {
    /// What blocks are coded with where nobody says otherwise.
    pub const DEFAULT: Self = Self::Level(3);

    /// The zstd level; `None` where nothing is compressed. Levels out of range are brought to the
    /// nearest.
    #[must_use]
    pub fn level(self) -> Option<i32> {
        match self {
            Self::Off => None,
            Self::Fast => Some(1),
            Self::Level(level) => Some(level.clamp(*LEVELS.start(), MAX_LEVEL).into()),
            Self::Max => Some(MAX_LEVEL.into()),
        }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Fast => f.write_str("fast"),
            Self::Level(level) => level.fmt(f),
            Self::Max => f.write_str("max"),
        }
    }
}

/// A word that names no compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not one of off, fast, 1 to 19, max")]
pub struct UnknownCompression(String);

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "fast" => Ok(Self::Fast),
            "max" => Ok(Self::Max),
            text => match text.parse() {
                Ok(level) if LEVELS.contains(&level) => Ok(Self::Level(level)),
                _ => Err(UnknownCompression(text.to_owned())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_itself() {
        let levels = LEVELS.map(Compression::Level);
        for word in
            [Compression::Off, Compression::Fast, Compression::Max].into_iter().chain(levels)
        {
            assert_eq!(word.to_string().parse(), Ok(word));
        }
    }

    #[test]
    fn words_and_levels_that_are_none_are_refused() {
        for word in ["", "0", "20", "-1", "best", "3.5", "Max", "256"] {
            let err = word.parse::<Compression>().unwrap_err();
            assert!(err.to_string().contains("off, fast, 1 to 19, max"), "{err}");
        }
    }

    #[test]
    fn levels_stay_within_those_of_zstd() {
        assert_eq!(Compression::Off.level(), None);
        assert_eq!(Compression::Level(0).level(), Some(1));
        assert_eq!(Compression::Level(200).level(), Compression::Max.level());
    }
}
