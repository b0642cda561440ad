//! What becomes of the first open position: released, waited for, asked for, void, split or lost.

use refrain_wire::{Digest, Position, Seat};

use super::ballot::{Ballot, SeatSet};
use super::seat::SeatState;
use super::{Agreed, Event, Votes, Why};

impl Votes {
    /// Releases from the front what can be, and tells why the next cannot.
    pub(super) fn settle(&mut self, out: &mut Vec<Event>) {
        loop {
            let Some(front) = self.ballots.front() else {
                return;
            };
            if front.agreed_tally().is_some_and(|tally| tally.list.is_some()) {
                self.release(out);
            } else if front.agreed.is_some() {
                self.tell_lost_list(out);
                self.ask_if_nobody_else_will_tell(out);
                return;
            } else if self.is_void(front) {
                self.drop_void(out);
            } else {
                self.tell_split_or_lost(out);
                return;
            }
        }
    }

    fn release(&mut self, out: &mut Vec<Event>) {
        let Some(ballot) = self.ballots.pop_front() else {
            return;
        };
        let (voters, seats) = (ballot.voters(), self.sizes.seats(ballot.position));
        for (seat, state) in (0..seats).map(Seat).zip(&mut self.seats) {
            state.note_release(voters.contains(seat));
        }
        let quorum = self.sizes.quorum(ballot.position) as u8;
        self.done_with(ballot.position);
        if let Some(digest) = ballot.agreed {
            let tally = ballot.tallies.into_iter().find(|tally| tally.digest == digest);
            let seats = tally.as_ref().map_or(0, |tally| tally.seats.bits());
            self.history.push(ballot.position, Agreed { digest, quorum, seats });
            if let Some(effects) = tally.and_then(|tally| tally.list) {
                out.push(Event::Agreed { position: ballot.position, effects });
            }
        }
    }

    /// The seats in force at a position that is not released.
    fn seats_at(&self, position: Position) -> impl Iterator<Item = (Seat, &SeatState)> {
        (0..self.sizes.seats(position)).map(Seat).zip(&self.seats)
    }

    /// Whether a seat in force has not voted and is worth waiting for.
    fn awaits(&self, ballot: &Ballot, worth: impl Fn(&SeatState) -> bool) -> bool {
        self.seats_at(ballot.position).any(|(seat, state)| worth(state) && !ballot.has_voted(seat))
    }

    /// A quorum voted before and after the position and not on it: the log has no such turn.
    fn is_void(&self, ballot: &Ballot) -> bool {
        let position = ballot.position;
        let denying = self.seats_at(position).filter(|(seat, state)| {
            state.is_able(position) && state.voted_around(position) && !ballot.has_voted(*seat)
        });
        denying.count() >= self.sizes.quorum(position)
    }

    fn drop_void(&mut self, out: &mut Vec<Event>) {
        let Some(ballot) = self.ballots.pop_front() else {
            return;
        };
        for tally in ballot.tallies {
            for seat in tally.seats.seats() {
                let (voted, agreed) = (tally.digest, Digest::default());
                self.diverge(seat, ballot.position, voted, agreed, Why::NoSuchTurn, out);
            }
        }
    }

    fn tell_split_or_lost(&mut self, out: &mut Vec<Event>) {
        let Some(front) = self.ballots.front() else {
            return;
        };
        let position = front.position;
        let silent =
            self.seats_at(position).filter(|(seat, state)| state.may_vote(position) && !front.has_voted(*seat));
        let (forgot, awaited): (Vec<_>, Vec<_>) = silent.partition(|(_, state)| state.has_forgotten(position));
        let event = match (forgot.len(), awaited.len()) {
            (0, 0) => Event::Split { position },
            (0, _) => return,
            // Who has forgotten might have voted like the others: that is no split.
            (_, awaited) if front.most() + awaited < self.sizes.quorum(position) => Event::Lost { position },
            _ => return,
        };
        self.tell_once(event, out);
    }

    /// Tells when the position is agreed on and nobody has its list any more.
    fn tell_lost_list(&mut self, out: &mut Vec<Event>) {
        let Some(front) = self.ballots.front() else {
            return;
        };
        let position = front.position;
        let has = |(_, state): &(Seat, &SeatState)| state.is_able(position) && !state.has_forgotten(position);
        let forgotten = self.seats_at(position).any(|(_, state)| state.has_forgotten(position));
        if forgotten && !self.seats_at(position).any(|seat| has(&seat)) {
            self.tell_once(Event::Lost { position }, out);
        }
    }

    fn tell_once(&mut self, event: Event, out: &mut Vec<Event>) {
        if let Some(front) = self.ballots.front_mut().filter(|front| !front.told) {
            front.told = true;
            out.push(event);
        }
    }

    /// Asks at once when no seat is left whose vote could bring the list.
    fn ask_if_nobody_else_will_tell(&mut self, out: &mut Vec<Event>) {
        let Some(front) = self.ballots.front() else {
            return;
        };
        let position = front.position;
        if front.is_unasked() && !self.awaits(front, |state| state.is_prompt(position)) {
            self.ask_again(out);
        }
    }

    /// Asks for the list of the next position if it is agreed without one; for a caller that has waited long enough.
    /// Each time another seat is named first, until all that have the list were.
    pub fn ask_again(&mut self, out: &mut Vec<Event>) {
        let Some(position) = self.ballots.front().map(|front| front.position) else {
            return;
        };
        let has = |state: &SeatState| state.is_able(position) && !state.has_forgotten(position);
        let able = self.seats_at(position).filter(|(_, state)| has(state));
        let able = SeatSet::from_seats(able.map(|(seat, _)| seat));
        let seats = self.ballots[0].ask(able);
        if !seats.is_empty() {
            out.push(Event::Ask { position, seats });
        }
    }
}
