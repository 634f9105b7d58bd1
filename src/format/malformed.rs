//! What a parser says about bytes that are not what they should be.
//!
//! Parsers take bytes and know no names; the layer that read the object adds its identity.

use std::borrow::Cow;

/// Why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes break the format: storage or transport damaged them, or they belong elsewhere.
    #[error("{what} at offset {offset}")]
    Damaged {
        /// Where in the object, in bytes from its start, as near as is known.
        offset: u64,
        /// What was expected there and is not.
        what: Cow<'static, str>,
    },
    /// The bytes are whole, but a later format than this build knows. Never "corrupt".
    #[error("format {found}, this icecore reads up to {supported}")]
    Newer {
        /// The version that the object states.
        found: u32,
        /// The newest version that this build reads.
        supported: u32,
    },
    /// The bytes are whole, and a later icecore wrote something that this build does not know.
    #[error("{what}, which this icecore does not know")]
    Unknown {
        /// What it is.
        what: Cow<'static, str>,
    },
}

impl Malformed {
    /// Damage at `offset` bytes from the object's start.
    pub fn at(offset: usize, what: impl Into<Cow<'static, str>>) -> Self {
        Self::Damaged { offset: offset as u64, what: what.into() }
    }

    /// What a later icecore wrote.
    pub fn unknown(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Unknown { what: what.into() }
    }

    /// Moves the offset by `base`: for a part that starts inside an object.
    #[must_use]
    pub fn shifted(self, base: usize) -> Self {
        match self {
            Self::Damaged { offset, what } => Self::Damaged { offset: offset + base as u64, what },
            newer @ (Self::Newer { .. } | Self::Unknown { .. }) => newer,
        }
    }
}
