//! A table with reusable small indices: the lowest free one is given out, as POSIX wants for descriptors.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Values under indices from 0; a removed value's index is used again. Two tables with equal history are equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots<T> {
    slots: Vec<Option<T>>,
    used: u32,
    /// The free indices below the last value: the lowest is found at once, however many values there are.
    free: BTreeSet<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), used: 0, free: BTreeSet::new() }
    }
}

impl<T> Slots<T> {
    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.used
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Puts `value` under the lowest free index.
    pub fn insert(&mut self, value: T) -> u32 {
        let index = self.free.first().copied().unwrap_or(self.slots.len() as u32);
        self.put(index, value);
        index
    }

    /// Puts `value` under `index`; returns what was there.
    pub fn put(&mut self, index: u32, value: T) -> Option<T> {
        let at = index as usize;
        if at >= self.slots.len() {
            self.free.extend(self.slots.len() as u32..index);
            self.slots.resize_with(at + 1, || None);
        }
        self.free.remove(&index);
        let old = self.slots[at].replace(value);
        self.used += u32::from(old.is_none());
        old
    }

    /// The value under `index`.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.as_ref()
    }

    /// The value under `index`, to change.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    /// Takes the value under `index` out.
    pub fn remove(&mut self, index: u32) -> Option<T> {
        let value = self.slots.get_mut(index as usize)?.take()?;
        self.used -= 1;
        self.free.insert(index);
        while matches!(self.slots.last(), Some(None)) {
            self.slots.pop();
            self.free.pop_last();
        }
        Some(value)
    }

    /// All values with their indices, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| Some((index as u32, slot.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_index_is_used_again() {
        let mut slots = Slots::default();
        assert_eq!([slots.insert('a'), slots.insert('b'), slots.insert('c')], [0, 1, 2]);
        assert_eq!(slots.remove(1), Some('b'));
        assert_eq!(slots.remove(0), Some('a'));
        assert_eq!([slots.insert('d'), slots.insert('e'), slots.insert('f')], [0, 1, 3]);
        assert_eq!(slots.len(), 4);
    }

    #[test]
    fn what_is_free_is_known_through_every_change() {
        let mut slots = Slots::default();
        slots.put(5, 'f');
        assert_eq!([slots.insert('a'), slots.insert('b')], [0, 1]);
        assert_eq!(slots.put(1, 'c'), Some('b'));
        assert_eq!((slots.remove(0), slots.remove(5), slots.remove(5)), (Some('a'), Some('f'), None));
        assert_eq!([slots.insert('g'), slots.insert('h')], [0, 2], "nothing is left of what was above");
        let bytes = postcard::to_stdvec(&slots).unwrap();
        assert_eq!(postcard::from_bytes::<Slots<char>>(&bytes).unwrap(), slots);
    }

    #[test]
    fn a_table_that_was_emptied_equals_a_new_one() {
        let mut slots = Slots::default();
        slots.insert(1);
        slots.insert(2);
        slots.remove(0);
        slots.remove(1);
        assert_eq!(slots, Slots::default());
    }
}
