//! The records that change who may vote: seats taken, quarantined, added and dropped; and a holder that votes again.

use refrain_wire::limits::MAX_SEATS;
use refrain_wire::{Incarnation, Position, Seat};

use super::seat::SeatState;
use super::{Event, Votes};

impl Votes {
    /// A new replica holds the seat by the record at `at`. Votes of the one before count no longer after `at`; up
    /// to it they stay until the new holder votes. Incarnations of a seat only rise, also when it was dropped meanwhile.
    pub fn take_seat(&mut self, seat: Seat, incarnation: Incarnation, at: Position, out: &mut Vec<Event>) {
        if seat.0 >= self.seats() {
            return;
        }
        let state = &mut self.seats[usize::from(seat.0)];
        if state.incarnation.is_some_and(|current| current >= incarnation) {
            return;
        }
        state.take(incarnation);
        for ballot in &mut self.ballots {
            if ballot.position <= at {
                ballot.keep_as_former(seat);
            }
        }
        self.uncount_after(seat, at);
        self.settle(out);
    }

    /// The holder is out by the record at `at`: its votes after `at` do not count, and it casts no more.
    pub fn quarantine(&mut self, seat: Seat, incarnation: Incarnation, at: Position, out: &mut Vec<Event>) {
        let Some(state) = self.seats.get_mut(usize::from(seat.0)) else {
            return;
        };
        if state.incarnation != Some(incarnation) {
            return;
        }
        state.out = true;
        state.diverged = true;
        self.uncount_after(seat, at);
        self.settle(out);
    }

    /// The group has `seats` seats by the record at `at`: positions up to it are counted over the seats before, those
    /// after it over the new ones. New seats are vacant. The highest are dropped: their holders still decide up to
    /// `at`, and count no longer after it. None, or more than [`MAX_SEATS`], changes nothing.
    pub fn resize(&mut self, seats: u8, at: Position, out: &mut Vec<Event>) {
        if seats == 0 || seats > MAX_SEATS || seats == self.seats() {
            return;
        }
        self.sizes.resize(seats, at);
        self.sizes.forget(self.released);
        let known = self.seats.len().max(usize::from(seats));
        self.seats.resize(known, SeatState::default());
        for state in self.seats.iter_mut().skip(usize::from(seats)) {
            state.drop_after(at);
        }
        self.count_again_after(at, out);
        self.settle(out);
    }

    /// Counts positions after `at` over the seats that are in force there.
    fn count_again_after(&mut self, at: Position, out: &mut Vec<Event>) {
        let first = self.ballots.partition_point(|ballot| ballot.position <= at);
        for i in first..self.ballots.len() {
            let ballot = &mut self.ballots[i];
            let was_agreed = ballot.agreed;
            for seat in (self.sizes.seats(ballot.position)..MAX_SEATS).map(Seat) {
                ballot.withdraw(seat);
            }
            ballot.count(self.sizes.quorum(ballot.position));
            if self.sizes.are_compared() {
                self.find_outvoted(i, was_agreed, out);
            }
        }
    }

    /// The stream that brings the seat's votes is there, for the first time or again, and nothing more comes from the
    /// one before, with which votes may have been lost. Returns the position after which the seat votes, in order, on
    /// everything; none when its holder is another or is out. What it voted before counts once.
    pub fn rejoin(&mut self, seat: Seat, incarnation: Incarnation) -> Option<Position> {
        let state = self.seats.get_mut(usize::from(seat.0))?;
        if state.incarnation != Some(incarnation) || state.out {
            return None;
        }
        state.votes_again_after(self.released);
        Some(self.released)
    }

    /// The seat's holder no longer has its turns up to `at`: it votes on none of them that it has not voted on, without
    /// denying them, and brings no lists of them.
    pub fn forgot(&mut self, seat: Seat, incarnation: Incarnation, at: Position, out: &mut Vec<Event>) {
        let Some(state) = self.seats.get_mut(usize::from(seat.0)) else {
            return;
        };
        if state.incarnation == Some(incarnation) && !state.out {
            state.forget_up_to(at);
            self.settle(out);
        }
    }

    pub(super) fn uncount_after(&mut self, seat: Seat, at: Position) {
        for ballot in self.ballots.iter_mut().filter(|ballot| ballot.position > at) {
            ballot.withdraw(seat);
            ballot.count(self.sizes.quorum(ballot.position));
        }
    }
}
