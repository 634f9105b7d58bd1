//! How much of what is stored was read and found whole, and how long ago, as the ledger says.

use std::time::Duration;

use serde::Serialize;

use crate::format::{LedgerEvent, Time};
use crate::ops::Result;
use crate::repo::{LastVerified, Repository, StoredPack};
use crate::strategy::evidence::prefix_of;

/// What counts as recent where nobody says.
pub const WINDOW: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Shares of the stored bytes of all packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Coverage {
    /// Bytes of all packs.
    pub bytes: u64,
    /// Of them, bytes that were read and found whole within the window.
    pub recent_bytes: u64,
    /// Bytes that never were, as far as the ledger knows.
    pub never_bytes: u64,
    /// The window in seconds.
    pub window_secs: u64,
    /// Of the packs that were ever verified, when the one was that waits longest; seconds since 1970.
    pub oldest_secs: Option<u64>,
}

impl Coverage {
    /// Of these packs.
    #[must_use]
    pub fn of(packs: &[StoredPack], last: &LastVerified, now: u64, window: Duration) -> Self {
        let mut sums = Self { window_secs: window.as_secs(), ..Self::default() };
        for pack in packs {
            sums.bytes += pack.len;
            match last.get(pack) {
                None => sums.never_bytes += pack.len,
                Some(at) => {
                    let is_recent = at.saturating_add(window.as_secs()) >= now;
                    sums.recent_bytes += if is_recent { pack.len } else { 0 };
                    sums.oldest_secs = Some(sums.oldest_secs.map_or(at, |old| old.min(at)));
                }
            }
        }
        sums
    }

    /// Of all packs of a repository, with the usual window.
    ///
    /// # Errors
    /// Where the storage cannot be listed or read.
    pub fn now(repo: &Repository, packs: &[StoredPack], now: Time) -> Result<Self> {
        let last = last_verified(repo, packs)?;
        Ok(Self::of(packs, &last, u64::try_from(now.secs).unwrap_or(0), WINDOW))
    }

    /// From 0 to 1; of nothing, all was verified.
    #[must_use]
    pub fn recent_share(&self) -> f64 {
        if self.bytes == 0 { 1.0 } else { self.recent_bytes as f64 / self.bytes as f64 }
    }
}

/// What the ledger knows of these packs. Records that cannot be read tell nothing; `verify` names
/// them.
///
/// # Errors
/// Where the ledger cannot be listed.
pub fn last_verified(repo: &Repository, packs: &[StoredPack]) -> Result<LastVerified> {
    let mut last = LastVerified::of(packs);
    for entry in repo.ledger()?.flatten() {
        let LedgerEvent::Verified(verified) = &entry.record.event else { continue };
        last.add(entry.record.secs(), verified);
        // What was told of a pack before it was found damaged holds no longer.
        let damaged: Vec<u64> = verified.damaged.iter().filter_map(|it| prefix_of(it)).collect();
        last.forget(&damaged);
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{PackId, PackKind, pack_prefix};

    #[test]
    fn shares_are_of_bytes() {
        let pack = |n: u8, len| StoredPack { kind: PackKind::Data, id: PackId([n; 32]), len };
        let packs = [pack(1, 700), pack(2, 200), pack(3, 100)];
        let mut last = LastVerified::of(&packs);
        let prefix = |n| pack_prefix(&PackId([n; 32]));
        last.add_all(900, [prefix(1)].into_iter());
        last.add_all(100, [prefix(2)].into_iter());
        let coverage = Coverage::of(&packs, &last, 1000, Duration::from_secs(500));
        let expected = Coverage {
            bytes: 1000,
            recent_bytes: 700,
            never_bytes: 100,
            window_secs: 500,
            oldest_secs: Some(100),
        };
        assert_eq!(coverage, expected);
        assert_eq!(coverage.recent_share(), 0.7);
    }
}
