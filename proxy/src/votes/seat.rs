//! Who holds a seat, and whether its votes count.

use refrain_wire::{Incarnation, Position};

/// A seat that missed this many releases in a row is not waited for to send a list.
const MISSED_RELEASES: u32 = 8;

/// One seat of a group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SeatState {
    /// Its holder; none until a replica takes it.
    pub(super) incarnation: Option<Incarnation>,
    /// The holder diverged, or a record says that it is out.
    pub(super) out: bool,
    /// The holder diverged and it was told.
    pub(super) diverged: bool,
    /// The first and last positions that the holder voted on.
    pub(super) voted: Option<(Position, Position)>,
    missed: u32,
}

impl SeatState {
    /// Whether votes of that holder count.
    pub(super) fn counts(&self, incarnation: Incarnation) -> bool {
        self.incarnation == Some(incarnation) && !self.out
    }

    /// Whether a vote of the seat may still come and count; a vacant seat's may, once it is taken.
    pub(super) fn may_vote(&self) -> bool {
        !self.out
    }

    pub(super) fn take(&mut self, incarnation: Incarnation) {
        *self = Self { incarnation: Some(incarnation), ..Self::default() };
    }

    pub(super) fn note_vote(&mut self, position: Position) {
        let (first, last) = self.voted.unwrap_or((position, position));
        self.voted = Some((first.min(position), last.max(position)));
        self.missed = 0;
    }

    /// A vote of the holder was lost: what it did not vote on says nothing any more.
    pub(super) fn forget_votes(&mut self) {
        self.voted = None;
    }

    /// The holder voted before and after the position.
    pub(super) fn voted_around(&self, position: Position) -> bool {
        self.voted.is_some_and(|(first, last)| first < position && position < last)
    }

    pub(super) fn note_release(&mut self, voted: bool) {
        self.missed = if voted { 0 } else { self.missed.saturating_add(1) };
    }

    /// Whether it is worth waiting for the seat's list.
    pub(super) fn is_prompt(&self) -> bool {
        self.incarnation.is_some() && !self.out && self.missed < MISSED_RELEASES
    }
}
