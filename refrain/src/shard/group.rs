//! One group as the loop thread knows it: its service, its seats, and what it waits for.

use std::net::SocketAddr;
use std::sync::Arc;

use refrain_engine::replica::Blueprint;
use refrain_engine::{ReplicaId, TurnOutcome};
use refrain_wire::turn::TurnEffects;
use refrain_wire::{Digest, EffectKind, GroupId, Incarnation, Position, Seat, Time};

use crate::service::Service;

/// What a replica is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SeatState {
    /// It follows the log.
    Active,
    /// It catches up from the log.
    Replaying,
    /// It diverged and does not count.
    Quarantined(String),
    /// It is gone.
    Dead(String),
}

/// One seat.
pub(super) struct SeatRuntime {
    pub(super) incarnation: Incarnation,
    pub(super) state: SeatState,
    /// Where its state began.
    pub(super) since: Position,
    /// The last turn that it finished.
    pub(super) position: Position,
    pub(super) digest: Digest,
    pub(super) wants: Option<Time>,
    pub(super) memory_bytes: u64,
    pub(super) flows: u32,
    pub(super) fuel: u64,
    pub(super) files_bytes: u64,
    /// What the seat's last holder was put out for.
    pub(super) last_reason: Option<String>,
    pub(super) guest: Guest,
}

/// A replica's guest, as its effects tell.
#[derive(Debug, Clone, Default)]
pub(super) struct Guest {
    pub(super) starts: u64,
    pub(super) running: bool,
    /// How it ended last: code, reason, position.
    pub(super) last_end: Option<(u64, String, Position)>,
    /// Ports that it listens on.
    pub(super) listening: Vec<u16>,
}

impl Guest {
    /// Takes in the group's own effects of a turn; they stand at the end of the list.
    fn follow(&mut self, turn: &TurnEffects) {
        let own = turn.effects.iter().rev().take_while(|effect| effect.entry.flow.is_none()).count();
        for effect in &turn.effects[turn.effects.len() - own..] {
            let number = effect.entry.offset;
            match effect.entry.kind {
                EffectKind::Start => (self.starts, self.running) = (number, true),
                EffectKind::Exit => {
                    let reason = String::from_utf8_lossy(&effect.payload).into_owned();
                    self.last_end = Some((number, reason, turn.position));
                    self.running = false;
                }
                EffectKind::Listen => self.listening.extend(u16::try_from(number)),
                EffectKind::Unlisten => self.listening.retain(|port| u64::from(*port) != number),
                _ => {}
            }
        }
    }
}

impl SeatRuntime {
    pub(super) fn vacant() -> Self {
        Self {
            incarnation: Incarnation(0),
            state: SeatState::Dead("not started".into()),
            since: Position(0),
            position: Position(0),
            digest: Digest::default(),
            wants: None,
            memory_bytes: 0,
            flows: 0,
            fuel: 0,
            files_bytes: 0,
            last_reason: None,
            guest: Guest::default(),
        }
    }

    /// A new holder takes the seat.
    pub(super) fn take(&mut self, incarnation: Incarnation, at: Position) {
        let last_reason = match &self.state {
            SeatState::Quarantined(reason) => Some(reason.clone()),
            _ => self.last_reason.take(),
        };
        *self = Self { incarnation, state: SeatState::Replaying, since: at, last_reason, ..Self::vacant() };
    }

    /// Takes in what a finished turn says.
    pub(super) fn finished(&mut self, outcome: &TurnOutcome) {
        self.guest.follow(&outcome.effects);
        self.position = outcome.position;
        self.digest = outcome.after.short();
        self.wants = outcome.wants;
        self.memory_bytes = outcome.memory_bytes;
        self.flows = outcome.flows;
        self.fuel = outcome.fuel;
        self.files_bytes = outcome.files_bytes;
    }

    /// Whether its turns count as executed.
    pub(super) fn counts(&self) -> bool {
        matches!(self.state, SeatState::Active | SeatState::Replaying)
    }
}

/// One group.
pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) service: Arc<Service>,
    pub(super) blueprint: Arc<Blueprint>,
    pub(super) seats: Vec<SeatRuntime>,
    /// The position of the last turn handed out.
    pub(super) last_turn: Position,
    pub(super) halted: bool,
    /// Where the proxy listens, by guest port.
    pub(super) addresses: Vec<(u16, SocketAddr)>,
    /// Its flows are not read, because much is ordered and not executed.
    pub(super) held: bool,
    /// Batches since the last audit.
    pub(super) since_audit: u64,
}

impl Group {
    pub(super) fn new(id: GroupId, service: Arc<Service>, blueprint: Arc<Blueprint>, seats: u8) -> Self {
        Self {
            id,
            service,
            blueprint,
            seats: (0..seats).map(|_| SeatRuntime::vacant()).collect(),
            last_turn: Position(0),
            halted: false,
            addresses: Vec::new(),
            held: false,
            since_audit: 0,
        }
    }

    pub(super) fn seat_mut(&mut self, seat: Seat) -> Option<&mut SeatRuntime> {
        self.seats.get_mut(usize::from(seat.0))
    }

    /// A seat, if that holder still has it.
    pub(super) fn holder_mut(&mut self, seat: Seat, incarnation: Incarnation) -> Option<&mut SeatRuntime> {
        self.seat_mut(seat).filter(|holder| holder.incarnation == incarnation)
    }

    /// The replica that holds a seat now.
    pub(super) fn replica(&self, seat: Seat) -> Option<ReplicaId> {
        let holder = self.seats.get(usize::from(seat.0))?;
        Some(ReplicaId { group: self.id, seat, incarnation: holder.incarnation })
    }

    /// The position up to which a quorum of seats has executed.
    pub(super) fn executed(&self) -> Position {
        let mut positions: Vec<Position> = self.seats.iter().map(|seat| seat.position).collect();
        positions.sort_unstable();
        let quorum = positions.len() / 2 + 1;
        positions[positions.len() - quorum]
    }

    /// When the group wants its next turn: the wish of a seat that has executed everything handed out.
    pub(super) fn wants(&self) -> Option<Time> {
        if self.halted {
            return None;
        }
        let current = self.seats.iter().filter(|seat| seat.counts() && seat.position == self.last_turn);
        current.filter_map(|seat| seat.wants).min()
    }

    /// The seat that is farthest: what it says of the guest holds for the group.
    pub(super) fn best(&self) -> Option<&SeatRuntime> {
        self.seats.iter().filter(|seat| seat.counts()).max_by_key(|seat| seat.position)
    }

    /// Whether the guest listens on every port of the manifest, or has ended before it did.
    pub(super) fn is_settled(&self) -> bool {
        let Some(guest) = self.best().map(|seat| &seat.guest) else { return self.halted };
        let listens = self.service.ports.iter().all(|port| guest.listening.contains(&port.guest));
        listens || guest.last_end.is_some() || self.halted
    }
}
