//! The digests that were agreed, kept for a while so that a late vote that differs is still noticed.

use std::collections::VecDeque;

use refrain_wire::{Digest, Position};

/// How many agreed digests are kept, per group.
pub const KEPT_DIGESTS: usize = 65_536;

/// Agreed digests by position, ascending.
#[derive(Debug, Default)]
pub(super) struct History {
    agreed: VecDeque<(Position, Digest)>,
}

impl History {
    pub(super) fn push(&mut self, position: Position, digest: Digest) {
        if self.agreed.len() == KEPT_DIGESTS {
            self.agreed.pop_front();
        }
        self.agreed.push_back((position, digest));
    }

    pub(super) fn clear(&mut self) {
        self.agreed.clear();
    }

    pub(super) fn get(&self, position: Position) -> Option<Digest> {
        // Nearly every late vote is on the last release: its third seat.
        if let Some((last, digest)) = self.agreed.back().filter(|(last, _)| *last <= position) {
            return (*last == position).then_some(*digest);
        }
        let at = self.agreed.binary_search_by_key(&position, |(at, _)| *at).ok()?;
        self.agreed.get(at).map(|(_, digest)| *digest)
    }
}
