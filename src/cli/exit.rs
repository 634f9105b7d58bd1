//! Exit codes: an interface that scripts rely on, so a number never changes its meaning.

use std::process::ExitCode;

/// What a run of `icecore` tells the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All that was asked for.
    Done = 0,
    /// Not done; the message says why.
    Failed = 1,
    /// The command line does not make sense.
    Usage = 2,
    /// Done, but something at the source could not be read.
    Partial = 3,
    /// Stored state is wrong or missing, or a target was missed.
    Damage = 4,
    /// There is no repository at that place.
    NoRepository = 10,
    /// Another process is in the way.
    InUse = 11,
    /// The key does not open the repository, or none was given.
    WrongKey = 12,
    /// Stopped by SIGINT, SIGTERM or SIGHUP.
    Interrupted = 130,
}

impl Exit {
    /// Every code, in ascending order.
    pub const ALL: [Self; 9] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Partial,
        Self::Damage,
        Self::NoRepository,
        Self::InUse,
        Self::WrongKey,
        Self::Interrupted,
    ];

    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The exit of another icecore; what is none of ours is a failure.
    #[must_use]
    pub fn from_code(code: i32) -> Self {
        let same = |exit: &Self| i32::from(exit.code()) == code;
        Self::ALL.into_iter().find(same).unwrap_or(Self::Failed)
    }

    /// What it means, for the manual.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "Done.",
            Self::Failed => "Failed: the message says why, a hint what to do.",
            Self::Usage => "The command line does not make sense.",
            Self::Partial => {
                "Done, but some sources could not be read: the snapshot is marked partial."
            }
            Self::Damage => "Damage was found, or a target was missed.",
            Self::NoRepository => "There is no repository at that place.",
            Self::InUse => "In use: another process is in the way.",
            Self::WrongKey => "The key does not open the repository, or none was given.",
            Self::Interrupted => "Interrupted by SIGINT, SIGTERM or SIGHUP.",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_promised_ones() {
        let codes = Exit::ALL.map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 3, 4, 10, 11, 12, 130]);
        assert!(Exit::ALL.is_sorted());
        assert_eq!(Exit::from_code(12), Exit::WrongKey);
        assert_eq!(Exit::from_code(99), Exit::Failed);
    }

    #[test]
    fn every_code_has_a_meaning_of_its_own() {
        let meanings: std::collections::HashSet<_> =
            Exit::ALL.iter().map(|exit| exit.meaning()).collect();
        assert_eq!(meanings.len(), Exit::ALL.len());
    }
}
