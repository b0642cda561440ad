//! What was agreed, kept for a while so that a late vote that differs is still noticed.

use std::collections::VecDeque;

use refrain_wire::{Digest, Position};

/// How many agreements are kept, per group.
pub const KEPT_DIGESTS: usize = 65_536;

/// What was agreed on a turn, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The digest.
    pub digest: Digest,
    /// How many equal votes it took.
    pub quorum: u8,
    /// The seats that had voted so when it was released; bit 0 is seat 0.
    pub seats: u8,
}

/// Agreements by position, ascending.
#[derive(Debug, Default)]
pub(super) struct History {
    agreed: VecDeque<(Position, Agreed)>,
}

impl History {
    pub(super) fn push(&mut self, position: Position, agreed: Agreed) {
        if self.agreed.len() == KEPT_DIGESTS {
            self.agreed.pop_front();
        }
        self.agreed.push_back((position, agreed));
    }

    pub(super) fn clear(&mut self) {
        self.agreed.clear();
    }

    pub(super) fn get(&self, position: Position) -> Option<Agreed> {
        // Nearly every late vote is on the last release: its third seat.
        if let Some((last, agreed)) = self.agreed.back().filter(|(last, _)| *last <= position) {
            return (*last == position).then_some(*agreed);
        }
        let at = self.agreed.binary_search_by_key(&position, |(at, _)| *at).ok()?;
        self.agreed.get(at).map(|(_, agreed)| *agreed)
    }
}
