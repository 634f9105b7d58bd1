//! The rules of the protocol, each by the name that `protocol/model.py` gives it.

/// Which rules hold: all of them. The check of the protocol drops one at a time and must find a
/// snapshot that lost something; nothing else can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A writer shows beats.
    pub(crate) session: bool,
    /// A writer reads `gc/` before it lists the index.
    pub(crate) gc_first: bool,
    /// A session is evicted by a tombstone.
    pub(crate) tombstone: bool,
    /// A prune waits for the sessions that live when its candidates are there.
    pub(crate) wait: bool,
    /// A prune lists the snapshots again before it decides.
    pub(crate) recheck: bool,
    /// Decisions stay.
    pub(crate) keep_decision: bool,
}

impl Rules {
    /// All of them.
    pub const ALL: Self = Self {
        session: true,
        gc_first: true,
        tombstone: true,
        wait: true,
        recheck: true,
        keep_decision: true,
    };
}

impl Default for Rules {
    fn default() -> Self {
        Self::ALL
    }
}
