//! A map with a bound that forgets what was used least recently.
//!
//! Two generations: what is used moves to the younger one; when that holds half of the bound, the
//! older one goes as a whole and the younger takes its place. Each operation takes the time of a
//! hash map's. Invariant: never more than the bound are held, and what was among the last
//! half of the bound to be used is held. Not promised: an exact order beyond that.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// A bounded map of what was used of late.
#[derive(Clone, Debug)]
pub struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// Entries of one generation.
    half: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// An empty map for at most `entries_max` entries, at least two.
    #[must_use]
    pub fn new(entries_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half: (entries_max / 2).max(1),
        }
    }

    /// What is held for `key`; that counts as a use.
    pub fn get<Q>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get(key)
    }

    /// A copy of what is held for `key`; that counts as a use. What was used of late is looked up
    /// once.
    pub fn cloned<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    /// What is held for `key`, without counting that as a use.
    pub fn peek<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Holds `value` for `key`; returns what was held before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        let older = self.old.remove(&key);
        self.young.insert(key, value).or(older)
    }

    /// Forgets `key`.
    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let older = self.old.remove(key);
        self.young.remove(key).or(older)
    }

    /// How many are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let mut recent = Recent::new(8);
        recent.insert(0, "kept");
        for number in 1..100 {
            recent.insert(number, "passing");
            assert_eq!(recent.get(&0), Some(&"kept"), "after {number}");
            assert!(recent.len() <= 8, "{} entries", recent.len());
        }
        assert_eq!(recent.peek(&1), None);
        // The last half of the bound is always there.
        for number in 97..100 {
            assert_eq!(recent.peek(&number), Some(&"passing"));
        }
    }

    #[test]
    fn a_copy_counts_as_a_use() {
        let mut recent = Recent::new(8);
        recent.insert(0, "kept");
        for number in 1..100 {
            recent.insert(number, "passing");
            assert_eq!(recent.cloned(&0), Some("kept"), "after {number}");
            assert!(recent.len() <= 8, "{} entries", recent.len());
        }
    }

    #[test]
    fn one_key_has_one_value() {
        let mut recent = Recent::new(4);
        recent.insert("a", 1);
        recent.insert("b", 2);
        recent.insert("c", 3);
        assert_eq!(recent.insert("a", 4), Some(1));
        assert_eq!((recent.peek("a"), recent.len()), (Some(&4), 3));
        assert_eq!(recent.remove("a"), Some(4));
        assert_eq!(recent.get("a"), None);
        assert_eq!(recent.cloned("a"), None);
        assert_eq!(recent.len(), 2);
    }
}
