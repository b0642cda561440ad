//! The randomness of a run: everything that is random in it comes from one seed, through dice with a name each.
//!
//! A die that is rolled more often does not change the others, so a run changes little when a fault is added to it.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Dice(u64);

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(state: u64) -> u64 {
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Dice {
    /// Dice of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x5eed))
    }

    /// Other dice of the same seed, which `name` tells from all others.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        let folded = name.bytes().fold(self.0, |state, byte| mix(state.wrapping_add(GAMMA) ^ u64::from(byte)));
        Self(mix(folded))
    }

    /// Any number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// A number below `sides`; 0 when there are no sides.
    pub fn below(&mut self, sides: u64) -> u64 {
        if sides == 0 { 0 } else { self.roll() % sides }
    }

    /// A number between both, ends included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// A duration between both, in whole milliseconds, ends included.
    pub fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }

    /// True `percent` times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of them.
    ///
    /// # Panics
    /// When there are none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        assert!(!from.is_empty(), "there is nothing to pick");
        &from[self.below(from.len() as u64) as usize]
    }

    /// Puts them in another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_the_same_rolls_and_names_give_others() {
        let rolls = |mut dice: Dice| (0..4).map(|_| dice.roll()).collect::<Vec<_>>();
        let dice = Dice::new(7);
        assert_eq!(rolls(dice.clone()), rolls(Dice::new(7)));
        assert_eq!(rolls(dice.named("disk")), rolls(Dice::new(7).named("disk")));
        assert_ne!(rolls(dice.named("disk")), rolls(dice.named("net")));
        assert_ne!(rolls(dice.named("net")), rolls(Dice::new(8).named("net")));
    }

    #[test]
    fn numbers_stay_within_their_bounds_and_reach_them() {
        let mut dice = Dice::new(1);
        let seen: std::collections::BTreeSet<u64> = (0..200).map(|_| dice.between(3, 6)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_eq!((dice.below(0), dice.percent(0), dice.percent(100)), (0, false, true));
    }
}
