//! Whatever changes the number of seats, whatever streams are lost and whatever a minority votes: a position is
//! released by no less than a quorum of the seats in force there, and every turn is released.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::TestCaseError;
use refrain_wire::control::Agreement;
use refrain_wire::turn::TurnEffects;
use refrain_wire::{Digest, Incarnation, Position, Seat};

use super::property::{Fault, cast, fault, faulty_votes, turns};
use super::{CastVote, EPOCH, Event, FIRST, Votes, digest};

/// How often a stream is lost at most.
const LOSSES: usize = 12;

/// A replica, and the votes that it has still to cast.
struct Holder {
    seat: Seat,
    incarnation: Incarnation,
    queue: VecDeque<CastVote>,
}

/// The log and its readers. Each turn may carry a new number of seats; the seats that it adds are taken by the next.
struct Model {
    votes: Votes,
    turns: Vec<TurnEffects>,
    resizes: Vec<Option<u8>>,
    faults: Vec<Fault>,
    liars: u8,
    applied: usize,
    /// The number of seats at each turn that was applied.
    sizes: Vec<u8>,
    vacant: Vec<Seat>,
    holders: Vec<Holder>,
    voters: BTreeMap<(Position, Digest), BTreeSet<Seat>>,
    out: Vec<Event>,
    released: usize,
}

impl Model {
    fn new(seats: u8, resizes: Vec<Option<u8>>, faults: Vec<Fault>) -> Self {
        let least = resizes.iter().flatten().copied().min().unwrap_or(seats).min(seats);
        let mut votes = Votes::new(seats, Agreement::Majority, Position(0));
        votes.begin_epoch(EPOCH, Position(1));
        let mut model = Self {
            votes,
            turns: turns(resizes.len()),
            resizes,
            faults,
            liars: (least - 1) / 2,
            applied: 0,
            sizes: Vec::new(),
            vacant: (0..seats).map(Seat).collect(),
            holders: Vec::new(),
            voters: BTreeMap::new(),
            out: Vec::new(),
            released: 0,
        };
        model.take_vacant(Position(2));
        model
    }

    fn take_vacant(&mut self, at: Position) {
        for seat in std::mem::take(&mut self.vacant) {
            let before =
                self.holders.iter().filter(|holder| holder.seat == seat).map(|holder| holder.incarnation).max();
            let incarnation = before.map_or(FIRST, |before| Incarnation(before.0 + 1));
            self.votes.take_seat(seat, incarnation, at, &mut self.out);
            self.holders.push(Holder { seat, incarnation, queue: VecDeque::new() });
            self.bind(self.holders.len() - 1);
        }
    }

    /// What a holder casts on the turns after `released`.
    fn queue(&self, seat: Seat, incarnation: Incarnation, released: Position) -> VecDeque<CastVote> {
        let turns = self.turns.iter().enumerate().filter(|(_, turn)| turn.position > released);
        let votes = turns.flat_map(|(i, turn)| {
            let lies = seat.0 < self.liars;
            let fault = if lies { self.faults[i % self.faults.len()] } else { Fault::Honest };
            faulty_votes(seat.0, turn, fault)
        });
        votes.map(|vote| CastVote { incarnation, ..vote }).collect()
    }

    /// The records at the next turn are known, and votes on it may come.
    fn apply_next(&mut self) {
        let at = self.turns[self.applied].position;
        self.take_vacant(at);
        self.sizes.push(self.votes.seats());
        if let Some(seats) = self.resizes[self.applied] {
            self.vacant = (self.votes.seats()..seats).map(Seat).collect();
            self.votes.resize(seats, at, &mut self.out);
        }
        self.applied += 1;
    }

    fn may_vote_up_to(&self) -> Position {
        self.applied.checked_sub(1).map_or(Position(0), |last| Position(self.turns[last].position.0 + 1))
    }

    fn deliver(&mut self, holder: usize) {
        let Some(vote) = self.holders[holder].queue.pop_front() else { return };
        let turn = self.turns.iter().position(|turn| turn.position == vote.position);
        if turn.is_none_or(|turn| vote.seat.0 < self.sizes[turn]) {
            self.voters.entry((vote.position, vote.digest)).or_default().insert(vote.seat);
        }
        self.votes.vote(vote, &mut self.out);
    }

    /// The holder's stream is there, for the first time or again.
    fn bind(&mut self, holder: usize) {
        let (seat, incarnation) = (self.holders[holder].seat, self.holders[holder].incarnation);
        if let Some(released) = self.votes.rejoin(seat, incarnation) {
            self.holders[holder].queue = self.queue(seat, incarnation, released);
        }
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        for event in std::mem::take(&mut self.out) {
            match event {
                Event::Agreed { position, effects } => {
                    prop_assert_eq!(&*effects, &self.turns[self.released]);
                    let voters = self.voters.get(&(position, digest(&effects))).map_or(0, BTreeSet::len);
                    let quorum = Agreement::Majority.quorum(self.sizes[self.released]);
                    prop_assert!(voters >= usize::from(quorum), "{} of {} at {}", voters, quorum, position);
                    self.released += 1;
                }
                Event::Diverged(told) => prop_assert!(told.seat.0 < self.liars, "{:?}", told),
                Event::Split { position } => prop_assert!(false, "split at {}", position),
                Event::Lost { position } => prop_assert!(false, "lost at {}", position),
                Event::Ask { .. } | Event::Dropped { .. } => {}
            }
        }
        Ok(())
    }

    /// Holders whose next vote may come: its turn was applied.
    fn ready(&self) -> Vec<usize> {
        let until = self.may_vote_up_to();
        let may = |holder: &Holder| holder.queue.front().is_some_and(|vote| vote.position <= until);
        (0..self.holders.len()).filter(|i| may(&self.holders[*i])).collect()
    }

    fn run(&mut self, picks: &[u8]) -> Result<(), TestCaseError> {
        let (mut picks, mut losses) = (picks.iter().cycle().copied().map(usize::from), 0);
        loop {
            let (ready, pick) = (self.ready(), picks.next().unwrap_or_default());
            let more = self.applied < self.turns.len();
            if pick % 8 == 7 && losses < LOSSES {
                losses += 1;
                self.bind(pick / 8 % self.holders.len());
            } else if more && (pick % 8 == 6 || ready.is_empty()) {
                self.apply_next();
            } else if ready.is_empty() {
                return Ok(());
            } else {
                self.deliver(ready[pick % ready.len()]);
            }
            self.check()?;
        }
    }
}

proptest! {
    #[test]
    fn every_turn_is_released_by_a_quorum_of_the_seats_in_force_there(
        seats in 1u8..=7,
        resizes in vec(weighted(0.3, 1u8..=7), 1..16),
        faults in vec(fault(), 1..16),
        picks in vec(any::<u8>(), 1..120),
    ) {
        let mut model = Model::new(seats, resizes, faults);
        model.run(&picks)?;
        prop_assert_eq!(model.released, model.turns.len());
    }

    #[test]
    fn votes_cast_twice_with_one_digest_change_nothing(
        seats in 1u8..=7,
        order in vec((0u8..7, 1usize..4), 20..200),
    ) {
        let turns = turns(6);
        let mut votes = Votes::new(seats, Agreement::Majority, Position(0));
        votes.begin_epoch(EPOCH, Position(1));
        let (mut out, mut next) = (Vec::new(), vec![0; usize::from(seats)]);
        for seat in 0..seats {
            votes.take_seat(Seat(seat), FIRST, Position(2), &mut out);
        }
        for (seat, times) in order {
            let seat = seat % seats;
            let turn = &turns[next[usize::from(seat)] % turns.len()];
            next[usize::from(seat)] += 1;
            for _ in 0..times {
                votes.vote(cast(seat, turn, digest(turn)), &mut out);
            }
        }
        let mut counts: Vec<usize> = next.iter().map(|count| (*count).min(turns.len())).collect();
        counts.sort_unstable();
        let agreed = counts[usize::from(seats - Agreement::Majority.quorum(seats))];
        let released: Vec<TurnEffects> = out.into_iter().filter_map(|event| match event {
            Event::Agreed { effects, .. } => Some((*effects).clone()),
            _ => None,
        }).collect();
        prop_assert_eq!(released.as_slice(), &turns[..agreed]);
    }
}
