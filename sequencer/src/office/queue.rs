//! Keys in the order of their times, one time each.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub(super) struct Queue<K, T> {
    times: BTreeMap<K, T>,
    order: BTreeSet<(T, K)>,
}

impl<K, T> Default for Queue<K, T> {
    fn default() -> Self {
        Self { times: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Ord + Copy, T: Ord + Copy> Queue<K, T> {
    /// Sets the time of a key, or takes it out.
    pub(super) fn set(&mut self, key: K, at: Option<T>) {
        let before = match at {
            Some(at) => self.times.insert(key, at),
            None => self.times.remove(&key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, key));
        }
        if let Some(at) = at {
            self.order.insert((at, key));
        }
    }

    /// Sets the time of a key unless it has an earlier one.
    pub(super) fn set_sooner(&mut self, key: K, at: T) {
        let sooner = self.times.get(&key).map_or(at, |before| at.min(*before));
        self.set(key, Some(sooner));
    }

    pub(super) fn contains(&self, key: K) -> bool {
        self.times.contains_key(&key)
    }

    /// The earliest time.
    pub(super) fn first(&self) -> Option<T> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out the first key whose time has come.
    pub(super) fn pop_due(&mut self, now: T) -> Option<K> {
        let (at, key) = *self.order.first()?;
        (at <= now).then(|| {
            self.set(key, None);
            key
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_out_in_the_order_of_their_last_times() {
        let mut queue = Queue::default();
        queue.set('a', Some(5));
        queue.set('b', Some(3));
        queue.set('a', Some(2));
        queue.set('c', Some(1));
        queue.set('c', None);
        assert_eq!(queue.first(), Some(2));
        assert_eq!(queue.pop_due(1), None);
        assert_eq!((queue.pop_due(3), queue.pop_due(3), queue.pop_due(3)), (Some('a'), Some('b'), None));
        assert!(queue.first().is_none() && !queue.contains('a'));
    }
}
