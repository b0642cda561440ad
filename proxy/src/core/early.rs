//! Votes on entries that are not applied here yet. An engine on another node may be ahead of this one, and what its
//! votes count for depends on records in between: they wait until these are known.

use std::collections::{BTreeMap, BTreeSet};

use refrain_wire::{GroupId, Incarnation, Position, Seat};

use crate::votes::CastVote;

/// The most votes that wait, over all groups. One more is dropped, and that is told.
pub const EARLY_VOTES: usize = 65_536;

/// The most payload bytes of the lists of votes that wait. A vote that would bring more is dropped, and that is told.
pub const EARLY_BYTES: usize = 64 * 1024 * 1024;

/// The votes that wait, and the holders of seats that lost one.
#[derive(Debug, Default)]
pub(super) struct Early {
    applied: Option<Position>,
    /// By position, and by arrival within one.
    votes: BTreeMap<(Position, u64), (GroupId, CastVote)>,
    arrived: u64,
    bytes: usize,
    deaf: BTreeSet<(GroupId, Seat, Incarnation)>,
}

/// What becomes of a vote.
#[derive(Debug)]
pub(super) enum Arrival {
    /// It can be counted now.
    Count(CastVote),
    /// It waits, or comes after one that was dropped.
    Nothing,
    /// It is dropped, and so are all that follow it until the seat votes again.
    Dropped(Seat, Position),
}

impl Early {
    pub(super) fn arrive(&mut self, group: GroupId, vote: CastVote) -> Arrival {
        let holder = (group, vote.seat, vote.incarnation);
        if !self.deaf.is_empty() && self.deaf.contains(&holder) {
            return Arrival::Nothing;
        }
        if self.applied.is_none_or(|applied| vote.position <= applied) {
            return Arrival::Count(vote);
        }
        let bytes = payload_bytes(&vote);
        if self.votes.len() >= EARLY_VOTES || self.bytes + bytes > EARLY_BYTES {
            self.deaf.insert(holder);
            return Arrival::Dropped(vote.seat, vote.position);
        }
        self.bytes += bytes;
        self.votes.insert((vote.position, self.arrived), (group, vote));
        self.arrived += 1;
        Arrival::Nothing
    }

    /// Entries up to `at` are applied: returns the votes that waited for it, in order.
    pub(super) fn applied(&mut self, at: Position) -> impl Iterator<Item = (GroupId, CastVote)> + use<> {
        self.applied = Some(at);
        let mut ready = BTreeMap::new();
        if self.votes.first_key_value().is_some_and(|((position, _), _)| *position <= at) {
            let later = self.votes.split_off(&(Position(at.0.saturating_add(1)), 0));
            ready = std::mem::replace(&mut self.votes, later);
        }
        self.bytes -= ready.values().map(|(_, vote)| payload_bytes(vote)).sum::<usize>();
        ready.into_values()
    }

    /// The seat votes again: what waits of it came by a stream that is gone.
    pub(super) fn rejoin(&mut self, group: GroupId, seat: Seat, incarnation: Incarnation) {
        self.deaf.retain(|(of, lost, _)| (*of, *lost) != (group, seat));
        let bytes = &mut self.bytes;
        self.votes.retain(|_, (of, vote)| {
            let stays = (*of, vote.seat, vote.incarnation) != (group, seat, incarnation);
            if !stays {
                *bytes -= payload_bytes(vote);
            }
            stays
        });
    }
}

fn payload_bytes(vote: &CastVote) -> usize {
    let effects = vote.list.iter().flat_map(|list| &list.effects);
    effects.map(|effect| effect.payload.len()).sum()
}
