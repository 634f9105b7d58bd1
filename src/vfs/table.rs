//! Numbers in use and what each means, counted as the kernel counts its look-ups.
//!
//! What must stay true: a number means one thing for as long as one look-up of it is held, so
//! whoever comes with another thing of the same number gets the next free one. Sharded, since
//! every entry of a listing goes through here; no lock is held beyond one entry.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard};

use crate::sync::lock;

use super::inode::mask;

const SHARDS: u64 = 16;

/// Whether two values mean the same thing and so have one number.
pub(super) trait Same {
    fn same(&self, other: &Self) -> bool;
}

#[derive(Debug)]
struct Slot<T> {
    value: T,
    /// Look-ups that the kernel has not forgotten.
    lookups: u64,
}

/// Numbers of `bits` bits in use, and what each means.
#[derive(Debug)]
pub(super) struct Table<T> {
    bits: u32,
    shards: Vec<Mutex<HashMap<u64, Slot<T>>>>,
}

impl<T: Same + Clone> Table<T> {
    pub(super) fn new(bits: u32) -> Self {
        Self { bits, shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    fn shard(&self, number: u64) -> MutexGuard<'_, HashMap<u64, Slot<T>>> {
        match self.shards.get((number % SHARDS) as usize) {
            Some(shard) => lock(shard),
            None => unreachable!("shard numbers are below {SHARDS}"),
        }
    }

    /// Counts one look-up of `value`: its number, `wish` or the next that nothing else has, and
    /// the value that is known under it.
    pub(super) fn hold(&self, wish: u64, value: T) -> (u64, T) {
        let mut number = wish & mask(self.bits);
        loop {
            match self.shard(number).entry(number) {
                Entry::Vacant(entry) => {
                    entry.insert(Slot { value: value.clone(), lookups: 1 });
                    return (number, value);
                }
                Entry::Occupied(mut entry) if entry.get().value.same(&value) => {
                    let slot = entry.get_mut();
                    slot.lookups += 1;
                    return (number, slot.value.clone());
                }
                Entry::Occupied(_) => number = (number + 1) & mask(self.bits),
            }
        }
    }

    pub(super) fn get(&self, number: u64) -> Option<T> {
        self.shard(number).get(&number).map(|slot| slot.value.clone())
    }

    /// Takes back look-ups; gives the value that nothing holds any more.
    pub(super) fn forget(&self, number: u64, lookups: u64) -> Option<T> {
        let mut shard = self.shard(number);
        let slot = shard.get_mut(&number)?;
        slot.lookups = slot.lookups.saturating_sub(lookups);
        if slot.lookups > 0 {
            return None;
        }
        shard.remove(&number).map(|slot| slot.value)
    }

    pub(super) fn len(&self) -> usize {
        let len = |shard: &Mutex<HashMap<_, _>>| lock(shard).len();
        self.shards.iter().map(len).sum()
    }
}
