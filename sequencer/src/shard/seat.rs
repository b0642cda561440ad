//! A seat of a group, as the log knows it.

use std::time::Duration;

use refrain_wire::{Incarnation, NodeId, Position, Time};

/// A seat that is quarantined twice within this log time stays out until an operator has it taken.
pub const QUARANTINE_MEMORY: Duration = Duration::from_secs(3600);

/// One seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SeatState {
    /// The last replica that took it; 0 when none did. A seat that was given up and comes back goes on counting.
    pub incarnation: Incarnation,
    /// The engine that holds it, quarantined or not; `None` when the seat is vacant.
    pub node: Option<NodeId>,
    /// The position of the checkpoint that its holder began with; 0 when it began with the group.
    pub from: Position,
    /// The position of the record by which it was taken.
    pub taken_at: Position,
    /// Its holder diverged: the seat does not vote until it is taken anew.
    pub quarantined: bool,
    /// It diverged twice within [`QUARANTINE_MEMORY`]: it is not taken again by itself.
    pub kept_out: bool,
    /// When a holder of it diverged last.
    pub quarantined_at: Option<Time>,
}

impl SeatState {
    /// The engine whose replica counts for the seat.
    #[must_use]
    pub fn voter(&self) -> Option<NodeId> {
        self.node.filter(|_| !self.quarantined)
    }

    /// The number that the next holder gets; `None` when there is none left.
    #[must_use]
    pub fn next_incarnation(&self) -> Option<Incarnation> {
        self.incarnation.0.checked_add(1).map(Incarnation)
    }

    pub(super) fn take(&mut self, incarnation: Incarnation, node: NodeId, from: Position, taken_at: Position) -> bool {
        let next = self.next_incarnation() == Some(incarnation);
        if next {
            let quarantined_at = self.quarantined_at;
            *self = Self { incarnation, node: Some(node), from, taken_at, quarantined_at, ..Self::default() };
        }
        next
    }

    pub(super) fn quarantine(&mut self, incarnation: Incarnation, now: Time) -> bool {
        let due = self.incarnation == incarnation && self.voter().is_some();
        if due {
            self.quarantined = true;
            self.kept_out = self.quarantined_at.is_some_and(|last| now.since(last) < QUARANTINE_MEMORY);
            self.quarantined_at = Some(now);
        }
        due
    }

    /// Nobody holds it any more.
    pub(super) fn vacate(&mut self) {
        *self = Self { incarnation: self.incarnation, quarantined_at: self.quarantined_at, ..Self::default() };
    }
}
