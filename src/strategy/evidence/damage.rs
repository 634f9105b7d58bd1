//! Damage that verifications found, and that nothing shows to be gone.
//!
//! A pack is whole again once a later verification read it and found it so: a check of the
//! structure, which reads no content, shows nothing of it. A pack that is not stored any more, and
//! everything else, is well again once a later verification came to its end without naming it.
//!
//! What must stay true: records are taken in by time, the earliest first; what was not read again
//! stays damaged.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::{ObjectKey, Time, Verified, pack_prefix};

/// Damage that stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Damage {
    /// Names of objects, and when each was last found damaged.
    pub objects: BTreeMap<String, Time>,
    /// So many more were found than a record can name, when, and of how many.
    pub unnamed: Option<(Time, u64)>,
}

impl Damage {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.unnamed.is_none()
    }

    /// How many objects.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.objects.len() as u64 + self.unnamed.map_or(0, |(_, count)| count)
    }

    /// When the last of it was found.
    #[must_use]
    pub fn at(&self) -> Option<Time> {
        let unnamed = self.unnamed.map(|(at, _)| at);
        self.objects.values().copied().chain(unnamed).max()
    }

    /// One of the objects.
    #[must_use]
    pub fn first(&self) -> &str {
        self.objects.keys().next().map_or("", String::as_str)
    }

    /// Takes in what the next verification found; `is_stored` tells whether there is still a pack
    /// with that prefix.
    pub fn add(&mut self, at: Time, verified: &Verified, is_stored: impl Fn(u64) -> bool) {
        let named: BTreeSet<&str> = verified.damaged.iter().map(String::as_str).collect();
        let unnamed = verified.damaged_count.saturating_sub(verified.damaged.len() as u64);
        let is_whole_list = verified.complete && unnamed == 0;
        let is_gone = |object: &str| match prefix_of(object) {
            Some(prefix) if verified.packs.binary_search(&prefix).is_ok() => true,
            Some(prefix) if is_stored(prefix) => false,
            _ => is_whole_list,
        };
        self.objects.retain(|object, _| named.contains(object.as_str()) || !is_gone(object));
        self.objects.extend(named.iter().map(|object| ((*object).to_owned(), at)));
        // Nobody knows which they were: only a run that read everything shows them to be well.
        let is_all_read = is_whole_list && verified.packs.len() as u64 >= verified.packs_stored;
        if unnamed > 0 {
            self.unnamed = Some((at, unnamed));
        } else if is_all_read {
            self.unnamed = None;
        }
    }
}

/// What tells of the pack that a damaged object is, with or without the place in it.
#[must_use]
pub fn prefix_of(object: &str) -> Option<u64> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '/';
    let end = object.find(|c| !is_name(c)).unwrap_or(object.len());
    match ObjectKey::parse(object.get(..end)?) {
        Some(ObjectKey::Pack(_, id)) => Some(pack_prefix(&id)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{PackId, PackKind};

    fn pack(number: u8) -> (String, u64) {
        let id = PackId([number; 32]);
        (ObjectKey::Pack(PackKind::Data, id).to_string(), pack_prefix(&id))
    }

    fn found(objects: &[&str], read: &[u64]) -> Verified {
        Verified {
            complete: true,
            packs_stored: 2,
            packs: read.to_vec(),
            damaged_count: objects.len() as u64,
            damaged: objects.iter().map(|it| (*it).to_owned()).collect(),
            ..Verified::default()
        }
    }

    fn left(records: &[Verified], is_stored: bool) -> u64 {
        let mut damage = Damage::default();
        for (secs, verified) in (0..).zip(records) {
            damage.add(Time { secs, nanos: 0 }, verified, |_| is_stored);
        }
        assert_eq!(damage.is_empty(), damage.count() == 0);
        damage.count()
    }

    #[test]
    fn a_damaged_pack_is_whole_once_it_was_read_and_not_before() {
        let ((one, prefix), (_, other)) = (pack(1), pack(2));
        let place = format!("{one}, block at 4096");
        for name in [one.as_str(), place.as_str()] {
            assert_eq!(prefix_of(name), Some(prefix), "{name}");
            let damaged = found(&[name], &[]);
            assert_eq!(left(std::slice::from_ref(&damaged), true), 1);
            assert_eq!(left(&[damaged.clone(), found(&[], &[])], true), 1, "only the structure");
            assert_eq!(left(&[damaged.clone(), found(&[], &[other])], true), 1, "another pack");
            assert_eq!(left(&[damaged.clone(), found(&[], &[prefix])], true), 0);
            assert_eq!(left(&[damaged.clone(), found(&[], &[prefix]), damaged.clone()], true), 1);
            assert_eq!(left(&[damaged.clone(), found(&[], &[])], false), 0, "it was set aside");
            let broken_off = Verified { complete: false, ..found(&[], &[]) };
            assert_eq!(left(&[damaged, broken_off], false), 1);
        }
    }

    #[test]
    fn all_else_is_well_once_a_whole_verification_does_not_name_it() {
        let damaged = found(&["snapshots/00", "chunk 12"], &[]);
        assert_eq!(left(&[damaged.clone(), found(&["chunk 12"], &[])], true), 1);
        assert_eq!(left(&[damaged.clone(), found(&[], &[])], true), 0);
        let broken_off = Verified { complete: false, ..found(&[], &[]) };
        assert_eq!(left(&[damaged, broken_off], true), 2);
        let many = Verified { damaged_count: 9, ..found(&["chunk 12"], &[]) };
        assert_eq!(left(std::slice::from_ref(&many), true), 9);
        assert_eq!(left(&[many.clone(), found(&[], &[1])], true), 8, "one pack was not read");
        assert_eq!(left(&[many, found(&[], &[1, 2])], true), 0);
    }
}
