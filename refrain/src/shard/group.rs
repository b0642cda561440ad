//! One group as the loop thread knows it: its service, its seats, and what it waits for.

use std::sync::Arc;
use std::time::Duration;

use refrain_engine::{GuestView, ReplicaId, TurnOutcome, Usage};
use refrain_sequencer::shard::Group as LogGroup;
use refrain_service::{Manifest, Protocol};
use refrain_wire::effect::{DATAGRAM_PORT, UPGRADE_DONE};
use refrain_wire::message::uplink::Progress;
use refrain_wire::turn::TurnEffects;
use refrain_wire::{Digest, EffectKind, GroupId, Incarnation, IpRange, NodeId, Position, Seat, Time};
use tokio::time::Instant;

use super::histories::Level;
use crate::config::Endpoint;
use crate::service::{ServedPort, Service};

/// How long routes are those of before an upgrade when nothing is heard of what came of it. A first turn has 10^10 of
/// fuel at most, which takes less.
const UNSETTLED: Duration = Duration::from_secs(60);

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
    /// The node whose engine has it.
    pub(super) node: NodeId,
    pub(super) state: SeatState,
    /// Where its state began.
    pub(super) since: Position,
    /// The last turn that it finished.
    pub(super) position: Position,
    pub(super) digest: Digest,
    pub(super) wants: Option<Time>,
    /// What its guest uses, and the fuel of its last turn.
    pub(super) usage: Usage,
    pub(super) fuel: u64,
    /// Its newest checkpoint that is hashed: position and root.
    pub(super) root: Option<(Position, [u8; 32])>,
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
    pub(super) listening: Vec<u32>,
    /// What came of the last upgrade.
    pub(super) upgrade: Option<Upgraded>,
}

/// What came of an upgrade in a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Upgraded {
    pub(super) position: Position,
    /// Why it runs what it ran before; none when it runs the other.
    pub(super) rolled_back: Option<String>,
}

impl Guest {
    /// Takes in the group's own effects of a turn; they stand at the end of the list. Whether any of them changed what
    /// is known here.
    fn follow(&mut self, turn: &TurnEffects) -> bool {
        let mut changed = false;
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
                EffectKind::Upgrade => {
                    let reason = || String::from_utf8_lossy(&effect.payload).into_owned();
                    let rolled_back = (number != UPGRADE_DONE).then(reason);
                    self.upgrade = Some(Upgraded { position: turn.position, rolled_back });
                }
                EffectKind::Listen => self.listening.extend(u32::try_from(number)),
                EffectKind::Unlisten => self.listening.retain(|port| u64::from(*port) != number),
                _ => continue,
            }
            changed = true;
        }
        changed
    }
}

impl SeatRuntime {
    pub(super) fn vacant() -> Self {
        Self {
            incarnation: Incarnation(0),
            node: NodeId(0),
            state: SeatState::Dead("not started".into()),
            since: Position(0),
            position: Position(0),
            digest: Digest::default(),
            wants: None,
            usage: Usage::default(),
            fuel: 0,
            root: None,
            last_reason: None,
            guest: Guest::default(),
        }
    }

    /// A new holder takes the seat.
    pub(super) fn take(&mut self, incarnation: Incarnation, node: NodeId, at: Position) {
        let last_reason = match &self.state {
            SeatState::Quarantined(reason) => Some(reason.clone()),
            _ => self.last_reason.take(),
        };
        *self = Self { incarnation, node, state: SeatState::Replaying, since: at, last_reason, ..Self::vacant() };
    }

    /// Its state is that of a checkpoint.
    pub(super) fn restored(&mut self, position: Position, digest: Digest, view: GuestView) {
        (self.position, self.digest) = (position, digest);
        self.usage = view.usage;
        self.guest = Guest {
            starts: view.starts,
            running: view.running,
            last_end: view.last_end.map(|(code, reason)| (code, reason, position)),
            listening: view.listening,
            upgrade: None,
        };
    }

    /// Takes in what a finished turn says; whether the guest was started, has ended, or listens elsewhere.
    pub(super) fn finished(&mut self, outcome: &TurnOutcome) -> bool {
        let changed = self.guest.follow(&outcome.effects);
        self.position = outcome.position;
        self.digest = outcome.after.short();
        self.wants = outcome.wants;
        self.usage = outcome.usage;
        self.fuel = outcome.fuel;
        changed
    }

    /// Notes what it does now, and since when.
    pub(super) fn become_state(&mut self, state: SeatState, at: Position) {
        if self.state != state {
            (self.state, self.since) = (state, at);
        }
    }

    /// What the leader is told of it.
    pub(super) fn progress(&self, id: ReplicaId) -> Progress {
        Progress {
            group: id.group,
            seat: id.seat,
            incarnation: id.incarnation,
            position: self.position,
            wants: self.wants,
            root: self.root,
            memory_bytes: self.usage.memory_bytes,
            dirty_bytes: 0,
        }
    }

    /// Whether its turns count as executed.
    pub(super) fn counts(&self) -> bool {
        matches!(self.state, SeatState::Active | SeatState::Replaying)
    }
}

/// One group.
pub(super) struct Group {
    pub(super) id: GroupId,
    /// This node.
    here: NodeId,
    /// What it runs, as far as its bundle is prepared here.
    pub(super) service: Arc<Service>,
    /// What it was before an upgrade in the log whose first turn may go on, and since when.
    before: Option<(Arc<Manifest>, Instant)>,
    /// The bundle that it runs by all that is known.
    pub(super) wanted: [u8; 32],
    pub(super) seats: Vec<SeatRuntime>,
    /// The position of the last turn handed out.
    pub(super) last_turn: Position,
    pub(super) halted: bool,
    pub(super) history_level: Level,
    /// Where the proxy listens, and where it cannot.
    pub(super) listeners: Vec<Listening>,
}

/// Where a port of a group is listened for.
pub(super) struct Listening {
    /// The port's name.
    pub(super) port: String,
    /// Where it should be.
    pub(super) wanted: Endpoint,
    /// Where it is, or why it is not.
    pub(super) at: Result<Endpoint, String>,
    /// Connections from these begin with a header, as the listener was told when it was made.
    pub(super) proxies: Vec<IpRange>,
}

impl Group {
    /// The group as the log has it.
    pub(super) fn new(id: GroupId, here: NodeId, service: Arc<Service>, known: &LogGroup) -> Self {
        let mut group = Self {
            id,
            here,
            wanted: service.bundle,
            service,
            before: None,
            seats: known.seats.iter().map(|_| SeatRuntime::vacant()).collect(),
            last_turn: known.last_turn,
            halted: known.halted.is_some(),
            history_level: Level::default(),
            listeners: Vec::new(),
        };
        for (seat, state) in group.seats.iter_mut().zip(&known.seats) {
            (seat.incarnation, seat.node) = (state.incarnation, state.node.unwrap_or_default());
            if state.quarantined {
                seat.state = SeatState::Quarantined("diverged, as the log says".into());
            } else if state.node.is_some_and(|node| node != here) {
                seat.state = SeatState::Replaying;
            }
        }
        group
    }

    /// The group is another service from now on. If it is not settled yet whether it runs that, clients are led by the
    /// manifest of before, for a while.
    pub(super) fn become_service(&mut self, service: Arc<Service>, is_settled: bool) {
        let before = std::mem::replace(&mut self.service, service);
        if is_settled {
            self.before = None;
        } else if self.before.is_none() {
            self.before = Some((Arc::clone(&before.manifest), Instant::now()));
        }
    }

    /// It is known what the group runs.
    pub(super) fn settle(&mut self) {
        self.before = None;
    }

    /// By which clients are led to it.
    pub(super) fn served_manifest(&self) -> &Arc<Manifest> {
        let before = self.before.as_ref().filter(|(_, since)| since.elapsed() < UNSETTLED);
        before.map_or(&self.service.manifest, |(manifest, _)| manifest)
    }

    pub(super) fn seat_mut(&mut self, seat: Seat) -> Option<&mut SeatRuntime> {
        self.seats.get_mut(usize::from(seat.0))
    }

    /// A seat, if that holder still has it.
    pub(super) fn holder_mut(&mut self, seat: Seat, incarnation: Incarnation) -> Option<&mut SeatRuntime> {
        self.seat_mut(seat).filter(|holder| holder.incarnation == incarnation)
    }

    /// The replica that holds a seat now, if it is one of this node.
    pub(super) fn local_replica(&self, seat: Seat) -> Option<ReplicaId> {
        let holder = self.seats.get(usize::from(seat.0)).filter(|holder| holder.node == self.here)?;
        (holder.incarnation.0 > 0).then_some(ReplicaId { group: self.id, seat, incarnation: holder.incarnation })
    }

    /// Whether its guests can be saved in checkpoints.
    pub(super) fn can_be_saved(&self) -> bool {
        self.service.parts.code.as_ref().is_ok_and(|code| code.checkpointable.is_ok())
    }

    /// The replicas that run on this node.
    pub(super) fn local_replicas(&self) -> impl Iterator<Item = ReplicaId> {
        let runs = |seat: &Seat| self.seats[usize::from(seat.0)].counts();
        (0..self.seats.len() as u8).map(Seat).filter(runs).filter_map(|seat| self.local_replica(seat))
    }

    /// How far the replicas on this node are.
    pub(super) fn local_progress(&self) -> impl Iterator<Item = Progress> {
        self.local_replicas().map(|id| self.seats[usize::from(id.seat.0)].progress(id))
    }

    /// When the group wants its next turn, as the farthest replica here says.
    pub(super) fn wants(&self) -> Option<Time> {
        self.best().and_then(|seat| seat.wants)
    }

    /// The replica of this node that is farthest: what it says of the guest holds for the group.
    pub(super) fn best(&self) -> Option<&SeatRuntime> {
        let here = self.seats.iter().filter(|seat| seat.node == self.here && seat.counts());
        here.max_by_key(|seat| seat.position)
    }

    /// Where a port is listened for.
    pub(super) fn endpoints_of(&self, port: &str) -> impl Iterator<Item = &Endpoint> {
        let of_port = self.listeners.iter().filter(move |listening| listening.port == port);
        of_port.filter_map(|listening| listening.at.as_ref().ok())
    }

    /// Why it is not listened somewhere where it should be.
    pub(super) fn not_listened(&self) -> Option<&String> {
        self.listeners.iter().find_map(|listening| listening.at.as_ref().err())
    }

    /// Whether enough seats take part for anything to be agreed on, as far as this node knows.
    pub(super) fn has_quorum(&self) -> bool {
        let counting = self.seats.iter().filter(|seat| seat.incarnation.0 > 0 && seat.counts()).count();
        counting >= usize::from(self.service.agreement.quorum(self.seats.len() as u8))
    }

    /// Whether enough seats follow the log for anything to be agreed on now, as far as this node knows.
    pub(super) fn follows(&self) -> bool {
        let active = self.seats.iter().filter(|seat| seat.state == SeatState::Active).count();
        active >= usize::from(self.service.agreement.quorum(self.seats.len() as u8))
    }

    /// The first port that the guest does not listen on.
    pub(super) fn not_listening(&self, guest: &Guest) -> Option<u16> {
        let told = |port: &ServedPort| match port.protocol {
            Protocol::Tcp => u32::from(port.guest),
            Protocol::Udp => DATAGRAM_PORT | u32::from(port.guest),
        };
        self.service.ports.iter().find(|port| !guest.listening.contains(&told(port))).map(|port| port.guest)
    }

    /// Whether the guest listens on every port of the manifest, or has ended before it did, as far as a replica of
    /// this node can tell that follows the log; where none runs here, whether every seat was given to somebody.
    pub(super) fn is_settled(&self) -> bool {
        let Some(best) = self.best() else {
            return self.halted || self.seats.iter().all(|seat| seat.incarnation.0 > 0 && seat.node != self.here);
        };
        let tells = best.state == SeatState::Active;
        tells && (self.not_listening(&best.guest).is_none() || best.guest.last_end.is_some()) || self.halted
    }
}
