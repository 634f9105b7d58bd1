//! Owners by number and by name.
//!
//! A name may come over the network (LDAP, NIS), and a tree has few owners: each is asked for
//! once. No lock is held while the system looks a name up.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use crate::format::Owner;

/// User and group names, each looked up once. Shared by all threads of an ingest or a restore.
#[derive(Debug, Default)]
pub struct Owners {
    whole: RwLock<HashMap<(u32, u32), Arc<Owner>>>,
    users: RwLock<HashMap<u32, String>>,
    groups: RwLock<HashMap<u32, String>>,
    uids: RwLock<HashMap<String, Option<u32>>>,
    gids: RwLock<HashMap<String, Option<u32>>>,
}

impl Owners {
    /// Nothing looked up yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The owner with these numbers; names are empty where the system has none (or none in UTF-8).
    #[must_use]
    pub fn owner(&self, uid: u32, gid: u32) -> Arc<Owner> {
        cached(&self.whole, &(uid, gid), |_| {
            Arc::new(Owner { uid, gid, user: self.user(uid), group: self.group(gid) })
        })
    }

    /// The numbers that an owner has on this system: by name where the name exists here, else the
    /// numbers it came with.
    #[must_use]
    pub fn local(&self, owner: &Owner) -> (u32, u32) {
        let uid = cached(&self.uids, &owner.user, |name| {
            let user = (!name.is_empty()).then(|| uzers::get_user_by_name(name));
            user.flatten().map(|user| user.uid())
        });
        let gid = cached(&self.gids, &owner.group, |name| {
            let group = (!name.is_empty()).then(|| uzers::get_group_by_name(name));
            group.flatten().map(|group| group.gid())
        });
        (uid.unwrap_or(owner.uid), gid.unwrap_or(owner.gid))
    }

    fn user(&self, uid: u32) -> String {
        cached(&self.users, &uid, |&uid| {
            let user = uzers::get_user_by_uid(uid);
            user.and_then(|user| user.name().to_str().map(str::to_owned)).unwrap_or_default()
        })
    }

    fn group(&self, gid: u32) -> String {
        cached(&self.groups, &gid, |&gid| {
            let group = uzers::get_group_by_gid(gid);
            group.and_then(|group| group.name().to_str().map(str::to_owned)).unwrap_or_default()
        })
    }
}

/// The known value, or the one that `look_up` gives, kept for the next time. Two threads may look
/// the same up at once; they find the same.
fn cached<K: Hash + Eq + Clone, V: Clone>(
    known: &RwLock<HashMap<K, V>>,
    key: &K,
    look_up: impl FnOnce(&K) -> V,
) -> V {
    // A map of finished values is whole even where a holder panicked.
    if let Some(value) = known.read().unwrap_or_else(PoisonError::into_inner).get(key) {
        return value.clone();
    }
    let value = look_up(key);
    known.write().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), value.clone());
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_both_directions() {
        let owners = Owners::new();
        for _again in 0..2 {
            let root = owners.owner(0, 0);
            assert_eq!((root.user.as_str(), root.group.as_str()), ("root", "root"));
            let moved = Owner { uid: 12, gid: 34, ..Owner::clone(&root) };
            assert_eq!(owners.local(&moved), (0, 0));
        }
    }

    #[test]
    fn owner_without_a_name_keeps_the_numbers() {
        let owners = Owners::new();
        let nobody = owners.owner(4_294_967_294, 4_294_967_294);
        assert_eq!((nobody.user.as_str(), nobody.group.as_str()), ("", ""));
        assert_eq!(owners.local(&nobody), (4_294_967_294, 4_294_967_294));
        let foreign = Owner { user: "no such user here".into(), ..Owner::clone(&nobody) };
        assert_eq!(owners.local(&foreign).0, 4_294_967_294);
    }
}
