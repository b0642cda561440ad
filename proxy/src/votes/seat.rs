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
    /// The seat was dropped by the record there: after it the holder has none. One that comes back is vacant.
    until: Option<Position>,
    /// The holder does not vote on positions up to here any more, and has no lists of them.
    forgot: Position,
    missed: u32,
}

impl SeatState {
    /// Whether a vote of that holder on the position counts.
    pub(super) fn counts(&self, incarnation: Incarnation, position: Position) -> bool {
        self.incarnation == Some(incarnation) && self.is_able(position)
    }

    /// Whether the seat has a holder at the position that is not out.
    pub(super) fn is_able(&self, position: Position) -> bool {
        self.incarnation.is_some() && self.holds(position) && !self.out
    }

    /// Whether a vote of the seat on the position may still come and count; a vacant seat's may, once it is taken.
    pub(super) fn may_vote(&self, position: Position) -> bool {
        !self.out || !self.holds(position)
    }

    fn holds(&self, position: Position) -> bool {
        self.until.is_none_or(|until| position <= until)
    }

    pub(super) fn current_holder(&self) -> Option<Incarnation> {
        self.incarnation.filter(|_| self.until.is_none())
    }

    pub(super) fn take(&mut self, incarnation: Incarnation) {
        *self = Self { incarnation: Some(incarnation), ..Self::default() };
    }

    /// The seat is gone after `at`.
    pub(super) fn drop_after(&mut self, at: Position) {
        self.until = self.until.or(Some(at));
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

    /// Votes of the holder may have been lost, and it votes again on everything after the position: what it leaves out
    /// there it denies, and nothing else.
    pub(super) fn votes_again_after(&mut self, position: Position) {
        self.voted = Some((position, position));
    }

    /// The holder no longer has the turns up to the position: what it leaves out there it does not deny.
    pub(super) fn forget_up_to(&mut self, position: Position) {
        self.forgot = self.forgot.max(position);
        self.voted = self.voted.map(|(first, last)| (first.max(position), last.max(position)));
    }

    /// Whether the holder no longer has the turn at the position.
    pub(super) fn has_forgotten(&self, position: Position) -> bool {
        position <= self.forgot
    }

    /// The holder voted before and after the position.
    pub(super) fn voted_around(&self, position: Position) -> bool {
        self.voted.is_some_and(|(first, last)| first < position && position < last)
    }

    pub(super) fn note_release(&mut self, voted: bool) {
        self.missed = if voted { 0 } else { self.missed.saturating_add(1) };
    }

    /// Whether it is worth waiting for the seat's list of the position.
    pub(super) fn is_prompt(&self, position: Position) -> bool {
        self.is_able(position) && self.missed < MISSED_RELEASES
    }
}
