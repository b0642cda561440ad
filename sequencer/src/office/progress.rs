//! What is known of the replicas of a group: from the log who holds which seat, from engines how far they are.

use std::collections::VecDeque;
use std::time::Duration;

use refrain_wire::message::uplink::Progress;
use refrain_wire::{Control, Incarnation, NodeId, Position, Seat, Time};

use super::ticks::AskedTick;
use crate::shard::{Checkpoint, Group, SeatState};

/// Failures of a seat that are farther apart than this have nothing to do with each other.
const FAILURE_MEMORY: Duration = Duration::from_secs(60);
/// How long a seat waits after its second failure in a row; twice as long after each more.
const FAILURE_WAIT: Duration = Duration::from_secs(1);
/// The longest wait is 2^6 times that.
const MAX_DOUBLINGS: u32 = 6;

/// How many turns of a group may be ordered that a majority of its seats has not executed, before it gets ticks no more.
pub(super) const TICKS_AHEAD: usize = 64;

/// How often the replicas of a seat failed lately.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Failures {
    pub(super) in_a_row: u32,
    last: Duration,
}

impl Failures {
    fn note(&mut self, now: Duration) {
        if now.saturating_sub(self.last) > FAILURE_MEMORY {
            self.in_a_row = 0;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.last = now;
    }

    /// Until when they count as lately; none when there were none.
    pub(super) fn remembered_until(&self) -> Option<Duration> {
        (self.in_a_row > 0).then_some(self.last + FAILURE_MEMORY)
    }

    /// When the seat may be taken again.
    pub(super) fn retry_at(&self) -> Duration {
        match self.in_a_row {
            0 | 1 => self.last,
            more => self.last + FAILURE_WAIT * (1 << (more - 2).min(MAX_DOUBLINGS)),
        }
    }
}

/// One seat and the replica that holds it.
#[derive(Debug, Clone, Default)]
pub(super) struct Replica {
    pub(super) incarnation: Incarnation,
    pub(super) node: Option<NodeId>,
    /// It holds the seat, is not quarantined and was not lost.
    pub(super) counts: bool,
    /// Its engine does not run it any more.
    pub(super) lost: bool,
    /// When the office saw it take the seat; `None` when it did before.
    taken: Option<Duration>,
    /// When it was last reported.
    heard: Option<Duration>,
    /// When it was last reported to be farther than before.
    pub(super) moved: Option<Duration>,
    /// It was, at least once: it has what it began with.
    pub(super) runs: bool,
    pub(super) position: Position,
    wants: Option<Time>,
    pub(super) root: Option<Checkpoint>,
    pub(super) dirty_bytes: u64,
    pub(super) failures: Failures,
    /// Since when somebody is wanted for the seat.
    pub(super) wanted_since: Option<Duration>,
    /// The position of the last upgrade that it rolled back.
    pub(super) rolled_back: Option<Position>,
    /// A report of the next holder, which came before its record.
    early: Option<Progress>,
}

impl Replica {
    fn follow(&mut self, seat: &SeatState, now: Option<Duration>) {
        if (self.incarnation, self.node) != (seat.incarnation, seat.node) {
            let early = self.early.take().filter(|progress| progress.incarnation == seat.incarnation);
            *self = Self {
                incarnation: seat.incarnation,
                node: seat.node,
                taken: now,
                moved: now,
                position: seat.from,
                failures: self.failures,
                ..Self::default()
            };
            if let Some(progress) = early {
                self.report(&progress, now.unwrap_or_default());
            }
        }
        self.counts = seat.voter().is_some() && !self.lost;
    }

    fn report(&mut self, progress: &Progress, now: Duration) {
        if progress.position > self.position {
            (self.moved, self.runs) = (Some(now), true);
        }
        self.heard = Some(now);
        self.position = progress.position;
        self.wants = progress.wants;
        self.root = progress.root.map(|(position, root)| Checkpoint { position, root });
        self.dirty_bytes = progress.dirty_bytes;
    }

    /// Whether its engine has said that it runs.
    pub(super) fn is_reported(&self) -> bool {
        self.heard.is_some()
    }

    fn lose(&mut self) {
        (self.lost, self.counts) = (true, false);
    }

    /// Whether its engine, there since `announced`, was to run it by then and has not said that it does.
    fn is_unreported(&self, announced: Duration) -> bool {
        let expected = self.taken.is_none_or(|taken| taken < announced);
        expected && !self.lost && self.heard.is_none_or(|heard| heard < announced)
    }
}

/// The replicas of one group.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    pub(super) seats: Vec<Replica>,
    last_turn: Position,
    /// The newest turns, as many as a tick may be ahead of a majority.
    recent: VecDeque<Position>,
    halted: bool,
    pub(super) asked_tick: Option<AskedTick>,
    /// When a checkpoint was asked for last in this office.
    pub(super) checkpoint_asked: Option<Duration>,
    /// The last audit of this office.
    pub(super) audited: Position,
}

impl Replicas {
    /// Takes over what the log says; `now` when a record just said it.
    pub(super) fn follow(&mut self, group: &Group, now: Option<Duration>) {
        self.seats.resize_with(group.seats.len(), Replica::default);
        for (replica, seat) in self.seats.iter_mut().zip(&group.seats) {
            replica.follow(seat, now);
        }
        self.last_turn = group.last_turn;
        self.halted = group.halted.is_some();
    }

    /// Nobody knows yet how far the replicas are: they may be on their way.
    pub(super) fn moved(&mut self, now: Duration) {
        self.seats.iter_mut().for_each(|replica| replica.moved = Some(now));
    }

    /// A control was honoured.
    pub(super) fn note(&mut self, control: &Control, at: Position, now: Duration) {
        match control {
            Control::Checkpoint => self.checkpoint_asked = Some(now),
            Control::Audit => self.audited = at,
            _ => {}
        }
    }

    /// The group has a turn.
    pub(super) fn given(&mut self, at: Position) {
        self.last_turn = at;
        self.recent.push_back(at);
        if self.recent.len() > TICKS_AHEAD {
            self.recent.pop_front();
        }
    }

    pub(super) fn last_turn(&self) -> Position {
        self.last_turn
    }

    fn seat_mut(&mut self, seat: Seat) -> Option<&mut Replica> {
        self.seats.get_mut(usize::from(seat.0))
    }

    pub(super) fn report(&mut self, progress: &Progress, now: Duration) {
        let Some(replica) = self.seat_mut(progress.seat) else { return };
        if replica.incarnation == progress.incarnation && replica.node.is_some() && !replica.lost {
            replica.report(progress, now);
        } else if progress.incarnation.0.checked_sub(1) == Some(replica.incarnation.0) {
            replica.early = Some(*progress);
        }
    }

    pub(super) fn rolled_back(&mut self, seat: Seat, incarnation: Incarnation, at: Position) {
        if let Some(replica) = self.seat_mut(seat).filter(|replica| replica.incarnation == incarnation) {
            replica.rolled_back = Some(at);
        }
    }

    pub(super) fn lose(&mut self, seat: Seat, incarnation: Incarnation, now: Duration) {
        let Some(replica) = self.seat_mut(seat).filter(|replica| replica.incarnation == incarnation) else { return };
        if replica.node.is_some() && !replica.lost {
            replica.lose();
            replica.failures.note(now);
        }
    }

    /// The engine has lost everything.
    pub(super) fn lose_all(&mut self, node: NodeId) {
        self.seats.iter_mut().filter(|replica| replica.node == Some(node)).for_each(Replica::lose);
    }

    /// The engine, there since `announced`, has reported all that it has.
    pub(super) fn lose_unreported(&mut self, node: NodeId, announced: Duration) {
        let of_it = self.seats.iter_mut().filter(|replica| replica.node == Some(node));
        of_it.filter(|replica| replica.is_unreported(announced)).for_each(Replica::lose);
    }

    pub(super) fn executed(&self) -> Position {
        let mut positions: Vec<Position> =
            self.seats.iter().map(|replica| if replica.counts { replica.position } else { Position(0) }).collect();
        positions.sort_unstable();
        let majority = positions.len() / 2 + 1;
        positions.len().checked_sub(majority).map(|nth| positions[nth]).unwrap_or_default()
    }

    /// The earliest wish of those that have executed everything, as long as a majority keeps up: a guest that always wants
    /// its next turn would take its fastest replica ever farther away from the others.
    pub(super) fn wants(&self) -> Option<Time> {
        let behind = self.recent.len() == TICKS_AHEAD && self.recent.front() > Some(&self.executed());
        if behind {
            return None;
        }
        let current = self.seats.iter().filter(|replica| replica.counts && replica.position == self.last_turn);
        current.filter_map(|replica| replica.wants).min().filter(|_| !self.halted)
    }

    /// Those that count, with their seats.
    pub(super) fn counting(&self) -> impl Iterator<Item = (Seat, &Replica)> {
        let numbered = self.seats.iter().enumerate().map(|(nth, replica)| (Seat(nth as u8), replica));
        numbered.filter(|(_, replica)| replica.counts)
    }
}
