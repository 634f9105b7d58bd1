//! Finding a snapshot by what people call it.
//!
//! A snapshot goes by `latest`, `latest~N` (N before it), the start of its id (4 digits and more),
//! or a time: `2026-11-22`, `2026-11-22T15:04` and longer fit the newest snapshot within them.
//!
//! What must stay true: nobody gets an older state than the one that was named. Where a snapshot that
//! cannot be read may be the one that is meant, that is the answer. It is older than every snapshot
//! that was made from it, so one damaged record in the middle of a line leaves `latest` as it is.

use crate::format::{ObjectKey, Snapshot, SnapshotId, Time};

use super::error::{RepoError, Result};
use super::snapshots::{SnapshotFilter, SnapshotList};

/// What a name asks for: of what lies in a span, the newest but so many.
struct Newest {
    from: Time,
    to: Time,
    back: usize,
    /// Whether the span is so short that it names one snapshot.
    is_exact: bool,
}

impl Newest {
    fn parse(name: &str) -> Option<Self> {
        let (first, last) = (i64::MIN, i64::MAX);
        let (from, to) = (Time { secs: first, nanos: 0 }, Time { secs: last, nanos: 0 });
        if let Some(back) = name.strip_prefix("latest") {
            let back = match back.strip_prefix('~') {
                Some(number) => number.parse().ok()?,
                None if back.is_empty() => 0,
                None => return None,
            };
            return Some(Self { from, to, back, is_exact: false });
        }
        let (from, to) = crate::units::time_span(name)?;
        let is_exact = to.secs.saturating_sub(from.secs) <= 1;
        Some(Self { from, to, back: 0, is_exact })
    }

    fn among<'s>(&self, snapshots: &[&'s Snapshot]) -> Option<&'s Snapshot> {
        let within = |each: &&&Snapshot| self.from <= each.time && each.time < self.to;
        snapshots.iter().rev().filter(within).nth(self.back).copied()
    }
}

fn is_start_of_id(name: &str) -> bool {
    name.len() >= 4 && name.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
}

impl SnapshotList {
    /// The snapshot that goes by `name` among those that pass the filter.
    ///
    /// # Errors
    /// Where none or several do. A snapshot that cannot be read is moved out of the list and into
    /// the error where it may be the one that was meant.
    pub fn find(&mut self, name: &str, filter: &SnapshotFilter) -> Result<Snapshot> {
        let fitting: Vec<_> = self.snapshots.iter().filter(|each| filter.fits(each)).collect();
        if is_start_of_id(name) {
            let of_name = |each: &&&Snapshot| each.id.to_string().starts_with(name);
            let mut sound = fitting.iter().filter(of_name);
            let unread = self.unread_position(name);
            match (sound.next(), sound.count() + usize::from(unread.is_some())) {
                (Some(only), 0) => return Ok((*only).clone()),
                (Some(_), more) => {
                    return Err(RepoError::AmbiguousSnapshot {
                        name: name.to_owned(),
                        count: 1 + more,
                    });
                }
                (None, _) => {}
            }
            if let Some(at) = unread {
                return Err(self.damaged.remove(at));
            }
        }
        let none = || RepoError::NoSuchSnapshot { name: name.to_owned() };
        let newest = Newest::parse(name).ok_or_else(none)?;
        let found = newest.among(&fitting).cloned();
        match (self.doubt(&newest, found.as_ref()), found) {
            (Some(at), _) => Err(self.uncertain(name, at)),
            (None, found) => found.ok_or_else(none),
        }
    }

    /// An error where a snapshot that cannot be read may be newer than `found`, which goes by `name`.
    ///
    /// # Errors
    /// Only that one.
    pub fn refuse_older(&mut self, name: &str, found: &Snapshot) -> Result<()> {
        let any = Newest { from: found.time, to: found.time, back: 0, is_exact: false };
        let Some(at) = self.doubt(&any, Some(found)) else { return Ok(()) };
        Err(self.uncertain(name, at))
    }

    fn uncertain(&mut self, name: &str, at: usize) -> RepoError {
        let (name, cause) = (name.to_owned(), Box::new(self.damaged.remove(at)));
        RepoError::UncertainSnapshot { name, cause }
    }

    /// The id of the one snapshot that cannot be read, because of what it holds, and goes by `name`;
    /// it is moved out of the list. `None` where it is none, or not the only one.
    pub fn take_damaged(&mut self, name: &str) -> Option<SnapshotId> {
        let of_name = |id: &SnapshotId| is_start_of_id(name) && id.to_string().starts_with(name);
        let at = self.unread_position(name)?;
        let mut others = self.damaged.iter().filter_map(unread_id).filter(of_name);
        let id = others.next()?;
        let is_only = others.next().is_none() && !self.snapshots.iter().any(|it| of_name(&it.id));
        if !is_only || !self.damaged.get(at)?.is_damage() {
            return None;
        }
        self.damaged.remove(at);
        Some(id)
    }

    fn unread_position(&self, name: &str) -> Option<usize> {
        let is_it = |id: SnapshotId| is_start_of_id(name) && id.to_string().starts_with(name);
        self.damaged.iter().position(|err| unread_id(err).is_some_and(is_it))
    }

    /// A snapshot that cannot be read and may be meant instead of what was found.
    fn doubt(&self, newest: &Newest, found: Option<&Snapshot>) -> Option<usize> {
        if newest.is_exact && found.is_some() {
            return None;
        }
        let since = found.map_or(newest.from, |found| found.time);
        let is_older = |id: SnapshotId| {
            self.snapshots.iter().any(|each| each.parent == Some(id) && each.time <= since)
        };
        self.damaged.iter().position(|err| !unread_id(err).is_some_and(is_older))
    }
}

/// Which snapshot an error of the list is about.
fn unread_id(err: &RepoError) -> Option<SnapshotId> {
    let object = err.object();
    match ObjectKey::parse(object.split(' ').next()?) {
        Some(ObjectKey::Snapshot(id)) => Some(id),
        _ => None,
    }
}
