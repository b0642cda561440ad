//! What becomes of the first open position: released, waited for, asked for, void or split.

use refrain_wire::{Digest, Seat};

use super::ballot::{Ballot, SeatSet};
use super::{Event, Votes, Why};

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
                self.ask_if_nobody_else_will_tell(out);
                return;
            } else if self.is_void(front) {
                self.drop_void(out);
            } else {
                self.tell_split(out);
                return;
            }
        }
    }

    fn release(&mut self, out: &mut Vec<Event>) {
        let Some(ballot) = self.ballots.pop_front() else {
            return;
        };
        let voters = ballot.voters();
        for (seat, state) in (0..).map(Seat).zip(&mut self.seats) {
            state.note_release(voters.contains(seat));
        }
        self.released = ballot.position;
        if let Some(agreed) = ballot.agreed {
            self.history.push(ballot.position, agreed);
            let tally = ballot.tallies.into_iter().find(|tally| tally.digest == agreed);
            if let Some(effects) = tally.and_then(|tally| tally.list) {
                out.push(Event::Agreed { position: ballot.position, effects });
            }
        }
    }

    /// A quorum voted before and after the position and not on it: the log has no such turn.
    fn is_void(&self, ballot: &Ballot) -> bool {
        let seats = (0..).map(Seat).zip(&self.seats);
        let denying = seats.filter(|(seat, state)| {
            state.may_vote() && state.voted_around(ballot.position) && !ballot.has_voted(*seat)
        });
        denying.count() >= self.quorum()
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

    fn tell_split(&mut self, out: &mut Vec<Event>) {
        let seats = (0..).map(Seat).zip(&self.seats);
        let Some(front) = self.ballots.front() else {
            return;
        };
        let awaited = seats.filter(|(seat, state)| state.may_vote() && !front.has_voted(*seat));
        if awaited.count() > 0 || front.split {
            return;
        }
        let position = front.position;
        self.ballots[0].split = true;
        out.push(Event::Split { position });
    }

    /// Asks at once when no seat is left whose vote could bring the list.
    fn ask_if_nobody_else_will_tell(&mut self, out: &mut Vec<Event>) {
        let seats = (0..).map(Seat).zip(&self.seats);
        let Some(front) = self.ballots.front() else {
            return;
        };
        let awaited = seats.filter(|(seat, state)| state.is_prompt() && !front.has_voted(*seat));
        if awaited.count() == 0 && !front.asked {
            self.ask_again(out);
        }
    }

    /// Asks for the list of the next position if it is agreed without one; for a caller that has waited long enough.
    pub fn ask_again(&mut self, out: &mut Vec<Event>) {
        let Some(front) = self.ballots.front_mut() else {
            return;
        };
        let Some(seats) = front.agreed_tally().filter(|tally| tally.list.is_none()).map(|tally| tally.seats) else {
            return;
        };
        front.asked = true;
        out.push(Event::Ask { position: front.position, seats: SeatSet::seats(seats).collect() });
    }
}
