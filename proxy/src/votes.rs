//! Agreement of one group: counts the votes of its seats and releases effects in the order of positions.
//!
//! Guarantees: effects are released only when a quorum of all seats voted the same digest and the list that is
//! released gives that digest, payloads included; each position once, in ascending order; a seat counts once per
//! position. A divergence is told once per holder of a seat, a split once per position.
//!
//! Expects: each holder of a seat votes in ascending order of positions and misses none after its first, or after
//! [`Votes::rejoin`] none after the position that it returns. Then every position before an agreed one is known by the
//! time it is agreed, and nothing is released early. Votes on a position come after the records before it: who is
//! told of records and votes by different ways holds votes back ([`crate::core::Proxy::applied`] does).
//!
//! Rules: design section 5. Bounded: at most [`OPEN_POSITIONS`] positions are open and [`KEPT_DIGESTS`] agreed
//! digests are kept. Pure: no clock; a caller that wants to ask for a late list calls [`Votes::ask_again`].

mod ballot;
mod check;
mod event;
mod history;
mod membership;
mod seat;
mod settle;
mod sizes;
mod speaker;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use refrain_wire::control::Agreement;
use refrain_wire::turn::TurnEffects;
use refrain_wire::{Digest, Epoch, Incarnation, Position, Seat};

pub use check::concerns;
pub use event::{Divergence, Event, Why};
pub use history::{Agreed, KEPT_DIGESTS};
pub use speaker::{silent_turn_speaker, speaker, speaks};

use ballot::{Ballot, Cast};
use history::History;
use seat::SeatState;
use sizes::Sizes;

/// The most positions that may be open (voted on but not released). A vote on one more is dropped, and that is told.
pub const OPEN_POSITIONS: usize = 65_536;

/// The votes of one group.
#[derive(Debug)]
pub struct Votes {
    sizes: Sizes,
    /// Those that were dropped stand behind those in force.
    seats: Vec<SeatState>,
    /// What all open positions are voted on for.
    epoch: Epoch,
    released: Position,
    ballots: VecDeque<Ballot>,
    history: History,
    halted: bool,
}

/// One vote of a seat.
#[derive(Debug, Clone)]
pub struct CastVote {
    /// Who votes.
    pub seat: Seat,
    /// Which of the seat's holders.
    pub incarnation: Incarnation,
    /// The turn.
    pub position: Position,
    /// Its digest for this proxy.
    pub digest: Digest,
    /// The turn's effects, from a speaker or when asked for.
    pub list: Option<Arc<TurnEffects>>,
}

impl Votes {
    /// A group with `seats` vacant seats. Positions up to `released` are done with.
    #[must_use]
    pub fn new(seats: u8, rule: Agreement, released: Position) -> Self {
        Self {
            sizes: Sizes::new(rule, seats),
            seats: vec![SeatState::default(); usize::from(seats)],
            epoch: Epoch::default(),
            released,
            ballots: VecDeque::new(),
            history: History::default(),
            halted: false,
        }
    }

    /// The number of seats, vacant ones included.
    #[must_use]
    pub fn seats(&self) -> u8 {
        self.sizes.current()
    }

    /// Everything up to here is released.
    #[must_use]
    pub fn released(&self) -> Position {
        self.released
    }

    /// What was agreed on a turn of this epoch that was released; none when that is long ago.
    #[must_use]
    pub fn agreed(&self, position: Position) -> Option<Agreed> {
        self.history.get(position)
    }

    /// The position that is agreed but has no list yet, if it is the next to release.
    #[must_use]
    pub fn waits_for_list(&self) -> Option<Position> {
        let front = self.ballots.front()?;
        front.agreed.map(|_| front.position)
    }

    /// Votes on positions after `at` are for this epoch of the proxy. Those up to it were for another one, whose flows
    /// are gone: they are done with, and votes of replicas that replay them say nothing here.
    pub fn begin_epoch(&mut self, epoch: Epoch, at: Position) {
        self.epoch = epoch;
        self.done_with(at);
        let released = self.released;
        self.ballots.retain(|ballot| ballot.position > released);
        self.history.clear();
    }

    /// Who holds the seat, out or not; none while it is vacant.
    #[must_use]
    pub fn holder(&self, seat: Seat) -> Option<Incarnation> {
        self.seats.get(usize::from(seat.0)).filter(|_| seat.0 < self.seats())?.current_holder()
    }

    /// Positions up to `at` are released or will never be.
    fn done_with(&mut self, at: Position) {
        self.released = self.released.max(at);
        self.sizes.forget(self.released);
    }

    /// The group is halted by the record at `at`: nothing is released until it is resumed.
    pub fn halt(&mut self, at: Position) {
        self.halted = true;
        self.ballots.clear();
        self.done_with(at);
    }

    /// Whether the group is halted.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.halted
    }

    /// The group goes on by the record at `at`, from the next position. What was agreed before does not bind the
    /// replicas that are built from the log now: those that agreed may have been the wrong ones.
    pub fn resume(&mut self, at: Position) {
        self.halted = false;
        self.history = History::default();
        self.done_with(at);
    }

    /// Counts a vote. What follows from it is appended to `out`.
    pub fn vote(&mut self, vote: CastVote, out: &mut Vec<Event>) {
        let Some(state) = self.seats.get_mut(usize::from(vote.seat.0)) else {
            return;
        };
        if self.halted || !state.counts(vote.incarnation, vote.position) {
            return;
        }
        let is_open = vote.position > self.released;
        // A seat that was not in force there does not count, but tells that there is such a turn: without it the seats
        // of a later number could release what comes after.
        if is_open && !self.open(vote.position) {
            self.lost_vote(vote.seat, vote.position, out);
            return;
        }
        self.seats[usize::from(vote.seat.0)].note_vote(vote.position);
        if !is_open {
            self.compare_late(&vote, out);
        } else if vote.seat.0 < self.sizes.seats(vote.position) {
            self.count(&vote, out);
        }
        self.settle(out);
    }

    /// A vote of the seat is dropped for want of room: it has to vote on the position again.
    fn lost_vote(&mut self, seat: Seat, position: Position, out: &mut Vec<Event>) {
        if let Some(state) = self.seats.get_mut(usize::from(seat.0)) {
            state.forget_votes();
            out.push(Event::Dropped { seat, position });
        }
    }

    /// Makes sure that there is a ballot; says whether there is.
    fn open(&mut self, position: Position) -> bool {
        let Err(at) = self.find(position) else {
            return true;
        };
        if self.ballots.len() >= OPEN_POSITIONS {
            return false;
        }
        self.ballots.insert(at, Ballot::new(position));
        true
    }

    fn find(&self, position: Position) -> Result<usize, usize> {
        // Nearly every vote is on the first or the last open position, or on a new one behind it.
        match (self.ballots.front(), self.ballots.back()) {
            (Some(front), _) if front.position == position => Ok(0),
            (_, Some(back)) if back.position < position => Err(self.ballots.len()),
            _ => self.ballots.binary_search_by_key(&position, |ballot| ballot.position),
        }
    }

    fn compare_late(&mut self, vote: &CastVote, out: &mut Vec<Event>) {
        if !self.sizes.are_compared() {
            return;
        }
        let agreed = self.history.get(vote.position).map(|agreed| agreed.digest);
        if let Some(agreed) = agreed.filter(|agreed| *agreed != vote.digest) {
            self.diverge(vote.seat, vote.position, vote.digest, agreed, Why::Outvoted, out);
        }
    }

    fn count(&mut self, vote: &CastVote, out: &mut Vec<Event>) {
        let (quorum, epoch, checked) = (self.sizes.quorum(vote.position), self.epoch, self.sizes.are_compared());
        let Ok(at) = self.find(vote.position) else {
            return;
        };
        let ballot = &mut self.ballots[at];
        if let Cast::Changed(first) = ballot.cast(vote.seat, vote.digest) {
            let agreed = ballot.agreed.unwrap_or(first);
            self.diverge(vote.seat, vote.position, vote.digest, agreed, Why::VotedTwice, out);
            return;
        }
        let agreed = ballot.agreed.unwrap_or(vote.digest);
        let tally = ballot.tally(vote.digest);
        let mut bad_list = false;
        if let Some(list) = vote.list.as_ref().filter(|_| tally.list.is_none()) {
            bad_list = !check::is_valid(list, vote.position, epoch, vote.digest);
            tally.list = (!bad_list).then(|| Arc::clone(list));
        }
        let was_agreed = ballot.agreed;
        ballot.count(quorum);
        if bad_list {
            self.diverge(vote.seat, vote.position, vote.digest, agreed, Why::BadList, out);
        }
        if checked {
            self.find_outvoted(at, was_agreed, out);
        }
    }

    /// Tells the seats that voted against what is agreed.
    fn find_outvoted(&mut self, at: usize, was_agreed: Option<Digest>, out: &mut Vec<Event>) {
        let ballot = &self.ballots[at];
        let Some(agreed) = ballot.agreed else {
            return;
        };
        if ballot.tallies.len() == 1 && was_agreed.is_some() {
            return;
        }
        let position = ballot.position;
        let others = ballot.tallies.iter().filter(|tally| tally.digest != agreed);
        let outvoted: Vec<(Seat, Digest)> =
            others.flat_map(|tally| tally.seats.seats().map(|seat| (seat, tally.digest))).collect();
        for (seat, voted) in outvoted {
            self.diverge(seat, position, voted, agreed, Why::Outvoted, out);
        }
    }

    fn diverge(
        &mut self,
        seat: Seat,
        position: Position,
        voted: Digest,
        agreed: Digest,
        why: Why,
        out: &mut Vec<Event>,
    ) {
        let state = &mut self.seats[usize::from(seat.0)];
        let Some(incarnation) = state.incarnation.filter(|_| !state.diverged) else {
            return;
        };
        state.diverged = true;
        state.out = true;
        self.uncount_after(seat, position);
        out.push(Event::Diverged(Divergence { seat, incarnation, position, voted, agreed, why }));
    }
}
