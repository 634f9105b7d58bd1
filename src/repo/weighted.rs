//! A least-recently-used map that is bounded by weight, not by count.
//!
//! Decoded pages and blocks differ in size by a factor of thousands, so a cache that counts them
//! bounds nothing. Not synchronised: whoever shares one puts a lock around it, and holds it over
//! no I/O.

use std::hash::Hash;

use lru::LruCache;

/// Entries with a weight each, at most `max` together (one entry may be heavier).
#[derive(Debug)]
pub(crate) struct WeightedLru<K: Hash + Eq, V> {
    entries: LruCache<K, (V, usize)>,
    weight: usize,
    max: usize,
}

impl<K: Hash + Eq, V> WeightedLru<K, V> {
    pub(crate) fn new(max: usize) -> Self {
        Self { entries: LruCache::unbounded(), weight: 0, max }
    }

    /// The value, which becomes the most recently used.
    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(value, _)| value)
    }

    /// Whether there is a value; it does not become more recently used.
    pub(crate) fn has(&self, key: &K) -> bool {
        self.entries.contains(key)
    }

    /// The value, made with weight 0 where there is none yet; [`Self::set_weight`] follows.
    pub(crate) fn get_or_insert(&mut self, key: K, make: impl FnOnce() -> V) -> &V {
        &self.entries.get_or_insert(key, || (make(), 0)).0
    }

    /// Adds or replaces a value, and drops the least recently used that no longer fit.
    pub(crate) fn put(&mut self, key: K, value: V, weight: usize) {
        if let Some((_, old)) = self.entries.put(key, (value, weight)) {
            self.weight -= old;
        }
        self.weight += weight;
        self.shrink();
    }

    /// States the weight of an entry, if it is still there.
    pub(crate) fn set_weight(&mut self, key: &K, weight: usize) {
        if let Some((_, old)) = self.entries.peek_mut(key) {
            self.weight = self.weight - *old + weight;
            *old = weight;
        }
        self.shrink();
    }

    /// Drops an entry.
    pub(crate) fn remove(&mut self, key: &K) {
        if let Some((_, weight)) = self.entries.pop(key) {
            self.weight -= weight;
        }
    }

    fn shrink(&mut self) {
        while self.weight > self.max && self.entries.len() > 1 {
            let Some((_, (_, weight))) = self.entries.pop_lru() else { break };
            self.weight -= weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_is_bounded_and_the_last_entry_stays() {
        let mut cache = WeightedLru::new(10);
        for key in 0..4 {
            cache.put(key, key, 4);
        }
        let mut has = |key| cache.get(&key).is_some();
        assert_eq!([has(0), has(1), has(2), has(3)], [false, false, true, true]);
        cache.put(9, 9, 100);
        assert!(cache.get(&3).is_none() && cache.get(&9).is_some());
        cache.remove(&9);
        assert_eq!(cache.weight, 0);
    }

    #[test]
    fn weight_that_is_stated_later_counts() {
        let mut cache = WeightedLru::new(10);
        for key in 0..100 {
            cache.get_or_insert(key, || key);
        }
        assert_eq!(cache.entries.len(), 100);
        cache.set_weight(&50, 6);
        cache.set_weight(&51, 6);
        assert!(cache.weight <= 10);
        cache.put(51, 0, 1);
        cache.set_weight(&7, 3);
        assert!(cache.weight <= 10);
    }
}
