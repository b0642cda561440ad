//! Digests by BLAKE3: 128 bits where replicas vote, 256 bits for what is kept.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::effect::{EFFECT_ENTRY_BYTES, EffectEntry};

/// The first 128 bits of a BLAKE3 hash: what a seat votes with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_hash(&blake3::hash(bytes))
    }

    /// The first 128 bits of `hash`.
    #[must_use]
    pub fn from_hash(hash: &blake3::Hash) -> Self {
        let mut short = [0; 16];
        short.copy_from_slice(&hash.as_bytes()[..16]);
        Self(short)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// The digest over every effect of every turn of a replica, in order: equal digests mean equal histories.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunningDigest(pub [u8; 32]);

impl RunningDigest {
    /// Takes in the effects of one turn. A turn without effects counts too: its position is mixed in.
    pub fn absorb(&mut self, position: crate::Position, effects: &[EffectEntry]) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0).update(&position.0.to_le_bytes());
        put_entries(&mut hasher, effects.iter());
        self.0 = *hasher.finalize().as_bytes();
    }

    /// What a seat votes for a turn: the digest of all earlier turns and of this turn's effects for one proxy.
    pub fn vote<'a>(&self, effects: impl Iterator<Item = &'a EffectEntry>) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        put_entries(&mut hasher, effects);
        Digest::from_hash(&hasher.finalize())
    }

    /// The first 128 bits, for display and comparison.
    #[must_use]
    pub fn short(&self) -> Digest {
        Digest::from_hash(&blake3::Hash::from_bytes(self.0))
    }
}

fn put_entries<'a>(hasher: &mut blake3::Hasher, effects: impl Iterator<Item = &'a EffectEntry>) {
    let mut buffer = [0; EFFECT_ENTRY_BYTES];
    for effect in effects {
        effect.put(&mut buffer);
        hasher.update(&buffer);
    }
}

impl fmt::Debug for RunningDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunningDigest({})", self.short())
    }
}
