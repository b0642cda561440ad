//! A group as the log knows it: what it runs, its seats and their holders.

use refrain_wire::control::Agreement;
use refrain_wire::{Control, Digest, Incarnation, Position, Seat};

/// One seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SeatState {
    /// The last replica that took it; 0 when none did.
    pub incarnation: Incarnation,
    /// Its holder diverged: the seat does not vote until it is taken anew.
    pub quarantined: bool,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `namespace/name`.
    pub service: String,
    /// The digest of the bundle that it runs.
    pub bundle: [u8; 32],
    /// The compatibility key of the engines that may replay it.
    pub engine: Digest,
    /// The rule that releases its effects.
    pub agreement: Agreement,
    /// Its seats, by number.
    pub seats: Vec<SeatState>,
    /// The position at which its votes split; it stands still until it is resumed.
    pub halted: Option<Position>,
}

impl Group {
    /// The group that a create record begins; `None` for other records.
    pub(super) fn created(control: &Control) -> Option<Self> {
        let Control::Create { service, bundle, engine, seats, agreement } = control else { return None };
        Some(Self {
            service: service.clone(),
            bundle: *bundle,
            engine: *engine,
            agreement: *agreement,
            seats: vec![SeatState::default(); usize::from(*seats)],
            halted: None,
        })
    }

    /// Acts on a control; false when it makes no sense here.
    pub(super) fn control(&mut self, control: &Control) -> bool {
        match control {
            Control::TakeSeat { seat, incarnation } => self.take_seat(*seat, *incarnation),
            Control::Quarantine { seat, incarnation, .. } => self.quarantine(*seat, *incarnation),
            Control::Audit => true,
            Control::Halt { position } => {
                let running = self.halted.is_none();
                self.halted = self.halted.or(Some(*position));
                running
            }
            Control::Resume => self.halted.take().is_some(),
            Control::Create { .. } | Control::Shard(_) => false,
        }
    }

    fn seat_mut(&mut self, seat: Seat) -> Option<&mut SeatState> {
        self.seats.get_mut(usize::from(seat.0))
    }

    fn take_seat(&mut self, seat: Seat, incarnation: Incarnation) -> bool {
        let Some(state) = self.seat_mut(seat) else { return false };
        let next = state.incarnation.0.checked_add(1) == Some(incarnation.0);
        if next {
            *state = SeatState { incarnation, quarantined: false };
        }
        next
    }

    fn quarantine(&mut self, seat: Seat, incarnation: Incarnation) -> bool {
        let Some(state) = self.seat_mut(seat) else { return false };
        let due = incarnation.0 > 0 && state.incarnation == incarnation && !state.quarantined;
        state.quarantined |= due;
        due
    }
}
