//! The votes on one position: which seats voted which digest, and a list that fits each.

use std::sync::Arc;

use refrain_wire::turn::TurnEffects;
use refrain_wire::{Digest, Position, Seat};

/// A set of seats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SeatSet(u8);

impl SeatSet {
    pub(super) fn of(seat: Seat) -> Self {
        Self(1 << seat.0)
    }

    pub(super) fn from_seats(seats: impl Iterator<Item = Seat>) -> Self {
        let mut set = Self::default();
        seats.for_each(|seat| set.insert(seat));
        set
    }

    pub(super) fn contains(self, seat: Seat) -> bool {
        self.0 & Self::of(seat).0 != 0
    }

    pub(super) fn insert(&mut self, seat: Seat) {
        self.0 |= Self::of(seat).0;
    }

    pub(super) fn remove(&mut self, seat: Seat) {
        self.0 &= !Self::of(seat).0;
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    pub(super) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// One bit a seat; bit 0 is seat 0.
    pub(super) fn bits(self) -> u8 {
        self.0
    }

    pub(super) fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The seats, ascending.
    pub(super) fn seats(self) -> impl Iterator<Item = Seat> {
        (0..8).map(Seat).filter(move |seat| self.contains(*seat))
    }
}

/// The seats that voted one digest.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) digest: Digest,
    pub(super) seats: SeatSet,
    /// A list that was checked against the digest.
    pub(super) list: Option<Arc<TurnEffects>>,
}

/// What a vote is to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cast {
    /// The seat's first here, or the first of its new holder.
    First,
    /// The seat voted the same before.
    Again,
    /// The seat voted this other digest before.
    Changed(Digest),
}

/// The votes on one position.
#[derive(Debug)]
pub(super) struct Ballot {
    pub(super) position: Position,
    /// One a digest, in the order in which they came; one alone when all is well.
    pub(super) tallies: Vec<Tally>,
    /// Seats whose vote was cast by a holder that is no longer there: their new holder may vote again.
    former: SeatSet,
    pub(super) agreed: Option<Digest>,
    /// Seats that were asked for the list in this round.
    asked: SeatSet,
    /// It was told that nothing can come of it.
    pub(super) told: bool,
}

impl Ballot {
    pub(super) fn new(position: Position) -> Self {
        Self {
            position,
            tallies: Vec::with_capacity(1),
            former: SeatSet::default(),
            agreed: None,
            asked: SeatSet::default(),
            told: false,
        }
    }

    pub(super) fn cast(&mut self, seat: Seat, digest: Digest) -> Cast {
        if self.former.contains(seat) {
            self.former.remove(seat);
            self.withdraw(seat);
        }
        if let Some(before) = self.tallies.iter().find(|tally| tally.seats.contains(seat)) {
            return if before.digest == digest { Cast::Again } else { Cast::Changed(before.digest) };
        }
        self.tally(digest).seats.insert(seat);
        Cast::First
    }

    pub(super) fn tally(&mut self, digest: Digest) -> &mut Tally {
        let at = self.tallies.iter().position(|tally| tally.digest == digest);
        let at = at.unwrap_or_else(|| {
            self.tallies.push(Tally { digest, seats: SeatSet::default(), list: None });
            self.tallies.len() - 1
        });
        &mut self.tallies[at]
    }

    pub(super) fn has_voted(&self, seat: Seat) -> bool {
        self.tallies.iter().any(|tally| tally.seats.contains(seat))
    }

    pub(super) fn voters(&self) -> SeatSet {
        SeatSet(self.tallies.iter().fold(0, |all, tally| all | tally.seats.0))
    }

    /// The seat's vote stays, and gives way to the one of its new holder.
    pub(super) fn keep_as_former(&mut self, seat: Seat) {
        if self.has_voted(seat) {
            self.former.insert(seat);
        }
    }

    /// The seat's vote never was.
    pub(super) fn withdraw(&mut self, seat: Seat) {
        for tally in &mut self.tallies {
            tally.seats.remove(seat);
        }
    }

    /// Counts again: what a quorum agrees on.
    pub(super) fn count(&mut self, quorum: usize) {
        let agreed = self.tallies.iter().find(|tally| tally.seats.len() >= quorum);
        self.agreed = agreed.map(|tally| tally.digest);
    }

    /// Whether it is agreed, no list has come, and no seat was asked.
    pub(super) fn is_unasked(&self) -> bool {
        self.asked.is_empty() && self.lacks_list()
    }

    fn lacks_list(&self) -> bool {
        self.agreed_tally().is_some_and(|tally| tally.list.is_none())
    }

    /// The seats to ask for the list that is lacking, the first of which counts as asked: those that were not asked
    /// in this round come first, and when all were a new round begins. Only `able` ones that voted with the quorum.
    pub(super) fn ask(&mut self, able: SeatSet) -> Vec<Seat> {
        if !self.lacks_list() {
            return Vec::new();
        }
        let voted = self.agreed_tally().map(|tally| tally.seats).unwrap_or_default();
        let have = voted.and(able).without(self.former);
        if have.without(self.asked).is_empty() {
            self.asked = SeatSet::default();
        }
        let (asked, unasked) = (have.and(self.asked), have.without(self.asked));
        let seats: Vec<Seat> = unasked.seats().chain(asked.seats()).collect();
        if let Some(first) = seats.first() {
            self.asked.insert(*first);
        }
        seats
    }

    /// How many votes the digest with the most has.
    pub(super) fn most(&self) -> usize {
        self.tallies.iter().map(|tally| tally.seats.len()).max().unwrap_or_default()
    }

    pub(super) fn agreed_tally(&self) -> Option<&Tally> {
        let agreed = self.agreed?;
        self.tallies.iter().find(|tally| tally.digest == agreed)
    }
}
