//! The guest's randomness: ChaCha20 keyed by the entropy of all terms, seeded anew for each turn.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use refrain_wire::{GroupId, Position};
use serde::{Deserialize, Serialize};

/// A group's generator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Random {
    group: GroupId,
    key: [u8; 32],
    incarnation: u32,
    position: Position,
    /// The turn's stream, made when it is first used; the position in it is what has to be kept.
    #[serde(skip)]
    stream: Option<ChaCha20Rng>,
    used_words: u64,
}

impl Random {
    /// The generator of `group`, before any entropy.
    #[must_use]
    pub fn new(group: GroupId) -> Self {
        Self { group, key: [0; 32], incarnation: 0, position: Position(0), stream: None, used_words: 0 }
    }

    /// Takes in the entropy of a leader's term.
    pub fn absorb(&mut self, entropy: &[u8; 32]) {
        self.key = *blake3::Hasher::new_keyed(entropy).update(&self.key).finalize().as_bytes();
        self.stream = None;
        self.used_words = 0;
    }

    /// Begins a turn: mixes in (group, position).
    pub fn begin_turn(&mut self, position: Position) {
        self.position = position;
        self.stream = None;
        self.used_words = 0;
    }

    /// A guest starts anew: it must not see the numbers of its predecessor.
    pub fn restart(&mut self, incarnation: u32) {
        self.incarnation = incarnation;
        self.stream = None;
        self.used_words = 0;
    }

    /// Fills `out` with the next bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        let mut stream = self.stream.take().unwrap_or_else(|| self.seed());
        stream.fill_bytes(out);
        self.used_words = stream.get_word_pos() as u64;
        self.stream = Some(stream);
    }

    fn seed(&self) -> ChaCha20Rng {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&self.group.0.to_le_bytes());
        hasher.update(&self.position.0.to_le_bytes());
        hasher.update(&self.incarnation.to_le_bytes());
        let mut stream = ChaCha20Rng::from_seed(*hasher.finalize().as_bytes());
        stream.set_word_pos(u128::from(self.used_words));
        stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(random: &mut Random) -> [u8; 8] {
        let mut out = [0; 8];
        random.fill(&mut out);
        out
    }

    #[test]
    fn equal_histories_draw_equal_numbers_and_a_copy_goes_on_in_the_stream() {
        let mut a = Random::new(GroupId(1));
        a.absorb(&[7; 32]);
        a.begin_turn(Position(3));
        let mut b = a.clone();
        assert_eq!(draw(&mut a), draw(&mut b));
        let bytes = postcard::to_stdvec(&a).unwrap();
        let mut c: Random = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(draw(&mut a), draw(&mut c));
    }

    #[test]
    fn position_group_entropy_and_incarnation_all_matter() {
        let drawn = |group, entropy, position, incarnation| {
            let mut random = Random::new(GroupId(group));
            random.absorb(&[entropy; 32]);
            random.restart(incarnation);
            random.begin_turn(Position(position));
            draw(&mut random)
        };
        let base = drawn(1, 1, 1, 1);
        for other in [drawn(2, 1, 1, 1), drawn(1, 2, 1, 1), drawn(1, 1, 2, 1), drawn(1, 1, 1, 2)] {
            assert_ne!(base, other);
        }
    }
}
