//! A table with reusable small indices: the lowest free one is given out, as POSIX wants for descriptors.

use serde::{Deserialize, Serialize};

/// Values under indices from 0; a removed value's index is used again. Two tables with equal history are equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots<T> {
    slots: Vec<Option<T>>,
    used: u32,
    /// No index below this one is free.
    hint: u32,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), used: 0, hint: 0 }
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
        let free = self.slots[self.hint as usize..].iter().position(Option::is_none);
        let index = free.map_or(self.slots.len(), |free| self.hint as usize + free);
        self.put(index as u32, value);
        self.hint = index as u32 + 1;
        index as u32
    }

    /// Puts `value` under `index`; returns what was there.
    pub fn put(&mut self, index: u32, value: T) -> Option<T> {
        let at = index as usize;
        if at >= self.slots.len() {
            self.slots.resize_with(at + 1, || None);
        }
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
        self.hint = self.hint.min(index);
        while matches!(self.slots.last(), Some(None)) {
            self.slots.pop();
        }
        self.hint = self.hint.min(self.slots.len() as u32);
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
    fn a_table_that_was_emptied_equals_a_new_one() {
        let mut slots = Slots::default();
        slots.insert(1);
        slots.insert(2);
        slots.remove(0);
        slots.remove(1);
        assert_eq!(slots, Slots::default());
    }
}
