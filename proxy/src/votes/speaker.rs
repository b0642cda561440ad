//! Who sends the bytes. Both ends compute it, so it is a function of the flow and the number of seats alone.

use refrain_wire::turn::TurnEffects;
use refrain_wire::{Epoch, FlowId, Position, Seat};

/// The seat that sends a flow's bytes.
#[must_use]
pub fn speaker(flow: FlowId, seats: u8) -> Seat {
    spread(u64::from(flow.serial.0), seats)
}

/// The seat that sends the list of a turn without flows of the proxy.
#[must_use]
pub fn silent_turn_speaker(position: Position, seats: u8) -> Seat {
    spread(position.0, seats)
}

/// Whether `seat` sends the turn's list to the proxy with that epoch.
#[must_use]
pub fn speaks(seat: Seat, seats: u8, epoch: Epoch, turn: &TurnEffects) -> bool {
    let mut flows = turn.effects.iter().filter_map(|effect| effect.entry.flow);
    let mut flows = flows.by_ref().filter(|flow| flow.epoch == epoch).peekable();
    if flows.peek().is_none() {
        return silent_turn_speaker(turn.position, seats) == seat;
    }
    flows.any(|flow| speaker(flow, seats) == seat)
}

fn spread(number: u64, seats: u8) -> Seat {
    let seat = number % u64::from(seats.max(1));
    Seat(u8::try_from(seat).expect("it is less than the number of seats, a u8"))
}
