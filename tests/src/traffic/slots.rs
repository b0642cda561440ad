//! Places that a client writes to, one version after another, and what may be found in each.
//!
//! A place whose last write was not answered is left alone until it was looked at: that write may still come to pass at
//! any later time, and what would be found then could not be judged.

use anyhow::{Result, ensure};

/// Numbers a write of a client; never used again.
pub type Version = u64;

/// The places, numbered from 0.
#[derive(Clone, Debug)]
pub struct Slots {
    slots: Vec<Slot>,
    next_version: Version,
    next_slot: usize,
}

/// What is known of a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// The last write that was answered.
    pub answered: Option<Version>,
    /// The write that was not.
    pub open: Option<Version>,
}

impl Slots {
    /// So many places, nothing in any.
    pub fn new(count: usize) -> Self {
        Self { slots: vec![Slot::default(); count], next_version: 1, next_slot: 0 }
    }

    /// Begins a write: where, and which version. None when every place has an unanswered one.
    pub fn begin(&mut self) -> Option<(usize, Version)> {
        let count = self.slots.len();
        let slot =
            (0..count).map(|step| (self.next_slot + step) % count).find(|slot| self.slots[*slot].open.is_none())?;
        let version = self.next_version;
        (self.next_version, self.next_slot) = (version + 1, (slot + 1) % count);
        self.slots[slot].open = Some(version);
        Some((slot, version))
    }

    /// The write at a place was answered.
    pub fn answered(&mut self, slot: usize) {
        let slot = &mut self.slots[slot];
        slot.answered = slot.open.take();
    }

    /// Places that were written to, with what may be there.
    pub fn written(&self) -> impl Iterator<Item = (usize, Slot)> + '_ {
        let written = |(_, slot): &(usize, Slot)| *slot != Slot::default();
        self.slots.iter().copied().enumerate().filter(written)
    }

    /// Takes what was found at a place over as the truth, if it may be there.
    pub fn settle(&mut self, slot: usize, found: Option<Version>) -> Result<()> {
        let known = &mut self.slots[slot];
        let lawful = found == known.answered || (found.is_some() && found == known.open);
        ensure!(lawful, "place {slot}: version {found:?} is there, expected {known:?}");
        *known = Slot { answered: found, open: None };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_with_an_unanswered_write_is_left_alone_until_it_is_settled() {
        let mut slots = Slots::new(2);
        assert_eq!(slots.begin(), Some((0, 1)));
        assert_eq!(slots.begin(), Some((1, 2)));
        assert_eq!(slots.begin(), None);
        slots.answered(1);
        assert_eq!(slots.begin(), Some((1, 3)));
        slots.settle(0, None).unwrap();
        slots.answered(1);
        assert_eq!(slots.begin(), Some((0, 4)));
    }

    #[test]
    fn a_lost_an_old_and_a_made_up_version_are_found() {
        let mut slots = Slots::new(1);
        slots.begin();
        slots.answered(0);
        assert!(slots.clone().settle(0, None).is_err());
        slots.begin();
        assert_eq!(slots.written().collect::<Vec<_>>(), [(0, Slot { answered: Some(1), open: Some(2) })]);
        assert!(slots.clone().settle(0, Some(1)).is_ok());
        assert!(slots.clone().settle(0, Some(3)).is_err());
        slots.settle(0, Some(2)).unwrap();
        assert!(slots.settle(0, Some(1)).is_err());
    }
}
