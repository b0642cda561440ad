//! The proxy without its sockets: votes in, actions on flows out.
//!
//! Guarantees invariant 3: a byte is handed out only after agreement, each byte once, in the order of its flow.
//! Effects on flows of other groups, other epochs, or flows that are over do nothing.

mod action;
mod early;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use refrain_wire::control::Agreement;
use refrain_wire::effect::UPGRADE_DONE;
use refrain_wire::turn::{Effect, TurnEffects};
use refrain_wire::{EffectKind, Epoch, GroupId, Incarnation, Position, Seat, Serial};

pub use action::{Action, LogStream, Notice, Released};
pub use early::{EARLY_BYTES, EARLY_VOTES};

use crate::nat::{Emit, Ending, GroupLimits, Limits, Nat, Refused};
use crate::votes::{CastVote, Event, Votes, concerns};

use early::{Arrival, Early};

/// What a group is to the proxy.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// Its `namespace/name`, for the access log.
    pub service: String,
    /// How many seats it has; all are vacant until taken.
    pub seats: u8,
    /// The rule that releases its effects.
    pub agreement: Agreement,
    /// The limits that its kernel was given.
    pub limits: GroupLimits,
    /// Positions up to here are done with; their votes are ignored.
    pub released: Position,
}

#[derive(Debug)]
struct Group {
    config: GroupConfig,
    votes: Votes,
    /// It takes no new work.
    full: bool,
}

/// What a call wants done and told, in order.
#[derive(Debug, Default)]
pub struct Outcome {
    /// To do to sockets.
    pub actions: Vec<Action>,
    /// To tell, with the group.
    pub notices: Vec<(GroupId, Notice)>,
    /// Turns that were released, to which the actions belong.
    pub released: Vec<Released>,
}

/// The NAT table and the votes of all groups.
#[derive(Debug)]
pub struct Proxy {
    limits: Limits,
    nat: Option<Nat>,
    epoch: Epoch,
    epoch_since: Position,
    groups: BTreeMap<GroupId, Group>,
    early: Early,
    /// There was an epoch, and it ended.
    lost_epoch: bool,
    events: Vec<Event>,
}

impl Proxy {
    /// A proxy without an epoch: it accepts nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            nat: None,
            epoch: Epoch::default(),
            epoch_since: Position::default(),
            groups: BTreeMap::new(),
            early: Early::default(),
            lost_epoch: false,
            events: Vec::new(),
        }
    }

    /// The table of the current epoch.
    pub fn nat(&mut self) -> Option<&mut Nat> {
        self.nat.as_mut()
    }

    /// The current epoch, if there is one.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.nat.as_ref().map(Nat::epoch)
    }

    /// The service of a group.
    #[must_use]
    pub fn service(&self, group: GroupId) -> Option<&str> {
        self.groups.get(&group).map(|group| group.config.service.as_str())
    }

    /// The groups, ascending.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.groups.keys().copied()
    }

    /// The votes of a group.
    #[must_use]
    pub fn votes(&self, group: GroupId) -> Option<&Votes> {
        self.groups.get(&group).map(|group| &group.votes)
    }

    /// Makes a group known; one that is known stays as it is.
    pub fn add_group(&mut self, id: GroupId, config: GroupConfig) {
        if self.groups.contains_key(&id) {
            return;
        }
        let mut votes = Votes::new(config.seats, config.agreement, config.released);
        votes.begin_epoch(self.epoch, self.epoch_since);
        if let Some(nat) = &mut self.nat {
            nat.add_group(id, config.limits);
        }
        self.groups.insert(id, Group { config, votes, full: false });
    }

    /// Whether the group's history is full, so that it takes no new work; see [`Nat::fill`].
    pub fn fill(&mut self, id: GroupId, full: bool) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.full = full;
        }
        if let Some(nat) = &mut self.nat {
            nat.fill(id, full);
        }
    }

    /// Flows can be accepted from now on, and votes on positions after `at`, the position of the record that opened
    /// the epoch, are for it; positions up to it are done with. The table of an earlier epoch must have been ended.
    pub fn begin_epoch(&mut self, epoch: Epoch, at: Position) {
        let mut nat = Nat::new(epoch, self.limits);
        for (id, group) in &mut self.groups {
            nat.add_group(*id, group.config.limits);
            if group.votes.is_halted() {
                nat.halt(*id);
            }
            nat.fill(*id, group.full);
            group.votes.begin_epoch(epoch, at);
        }
        self.nat = Some(nat);
        self.lost_epoch = false;
        self.epoch = epoch;
        self.epoch_since = at;
    }

    /// Refuses every connection from now on and forgets every flow. Returns the table, for the access log.
    pub fn end_epoch(&mut self) -> Option<Nat> {
        self.lost_epoch |= self.nat.is_some();
        self.nat.take()
    }

    /// Whether there is an answer for a connection: it is accepted while there is an epoch, and refused once one was
    /// lost. Before the first it waits.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.nat.is_some() || self.lost_epoch
    }

    /// The group was upgraded by the last record applied: its service is called so, and its new kernel was given these
    /// limits. Flows that are not committed yet reach the new kernel; those before keep their windows, and are reset by
    /// the old one.
    pub fn update_group(&mut self, id: GroupId, limits: GroupLimits, service: String, out: &mut Outcome) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        (group.config.limits, group.config.service) = (limits, service);
        if let Some(nat) = &mut self.nat {
            nat.update_group(id, limits);
            out.actions.extend(nat.take_resumed().into_iter().map(Action::Resume));
        }
    }

    /// Entries up to `at` are applied here: everything that they say was told by calls before this one. Votes on later
    /// positions wait from now on. A caller that never calls it has no votes but on entries that it applied.
    /// Returns the groups of the votes that waited.
    pub fn applied(&mut self, at: Position, now: Duration, out: &mut Outcome) -> Vec<GroupId> {
        let mut groups = Vec::new();
        for (group, vote) in self.early.applied(at) {
            groups.push(group);
            self.count(group, vote, now, out);
        }
        groups
    }

    /// Makes a flow for a connection.
    pub fn accept(&mut self, group: GroupId, port: u16, peer: SocketAddr, now: Duration) -> Result<Serial, Refused> {
        self.nat.as_mut().ok_or(Refused::NoEpoch)?.accept(group, port, peer, now)
    }

    /// A new replica holds a seat by the record at `at`.
    pub fn take_seat(
        &mut self,
        group: GroupId,
        seat: Seat,
        incarnation: Incarnation,
        at: Position,
        now: Duration,
        out: &mut Outcome,
    ) {
        self.with_votes(group, now, out, |votes, events| votes.take_seat(seat, incarnation, at, events));
    }

    /// A seat's holder is out by the record at `at`.
    pub fn quarantine(
        &mut self,
        group: GroupId,
        seat: Seat,
        incarnation: Incarnation,
        at: Position,
        now: Duration,
        out: &mut Outcome,
    ) {
        self.with_votes(group, now, out, |votes, events| votes.quarantine(seat, incarnation, at, events));
    }

    /// The group has so many seats by the record at `at`, in force from the next position.
    pub fn resize(&mut self, group: GroupId, seats: u8, at: Position, now: Duration, out: &mut Outcome) {
        self.with_votes(group, now, out, |votes, events| votes.resize(seats, at, events));
    }

    /// The stream that brings the seat's votes is there, for the first time or again. Returns the position after which
    /// the seat votes on everything; none when its holder is another or is out.
    pub fn rejoin(&mut self, group: GroupId, seat: Seat, incarnation: Incarnation) -> Option<Position> {
        let released = self.groups.get_mut(&group)?.votes.rejoin(seat, incarnation)?;
        self.early.rejoin(group, seat, incarnation);
        Some(released)
    }

    /// The seat's holder no longer has its turns up to `at`; see [`Votes::forgot`].
    pub fn forgot(
        &mut self,
        group: GroupId,
        seat: Seat,
        incarnation: Incarnation,
        at: Position,
        now: Duration,
        out: &mut Outcome,
    ) {
        self.with_votes(group, now, out, |votes, events| votes.forgot(seat, incarnation, at, events));
    }

    /// The group is halted by the record at `at`: its flows are reset, and nothing is released.
    pub fn halt(&mut self, id: GroupId, at: Position, out: &mut Outcome) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.votes.halt(at);
        let halted = self.nat.as_mut().map(|nat| nat.halt(id)).unwrap_or_default();
        out.actions.extend(halted.into_iter().map(|serial| Action::Reset { serial, ending: Ending::Halted }));
    }

    /// The group goes on by the record at `at`.
    pub fn resume(&mut self, id: GroupId, at: Position) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.votes.resume(at);
        }
        if let Some(nat) = &mut self.nat {
            nat.resume(id);
        }
    }

    /// Counts a vote and applies what it releases. One that was dropped is told, and its seat's later ones are dropped
    /// without a word until it rejoins.
    pub fn vote(&mut self, group: GroupId, vote: CastVote, now: Duration, out: &mut Outcome) {
        match self.early.arrive(group, vote) {
            Arrival::Count(vote) => self.count(group, vote, now, out),
            Arrival::Nothing => {}
            Arrival::Dropped(seat, position) => out.notices.push((group, Notice::VoteDropped { seat, position })),
        }
    }

    fn count(&mut self, group: GroupId, vote: CastVote, now: Duration, out: &mut Outcome) {
        self.with_votes(group, now, out, |votes, events| votes.vote(vote, events));
    }

    /// Asks again for lists that agreed positions wait for.
    pub fn ask_again(&mut self, group: GroupId, now: Duration, out: &mut Outcome) {
        self.with_votes(group, now, out, |votes, events| votes.ask_again(events));
    }

    fn with_votes(
        &mut self,
        id: GroupId,
        now: Duration,
        out: &mut Outcome,
        call: impl FnOnce(&mut Votes, &mut Vec<Event>),
    ) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let mut events = std::mem::take(&mut self.events);
        call(&mut group.votes, &mut events);
        for event in events.drain(..) {
            match Notice::of(event) {
                Ok(notice) => out.notices.push((id, notice)),
                Err(effects) => {
                    let bytes = self.apply(id, &effects, now, out);
                    out.released.push(self.released(id, effects.position, bytes));
                }
            }
        }
        self.events = events;
    }

    fn released(&self, group: GroupId, position: Position, bytes: u64) -> Released {
        let agreed = self.votes(group).and_then(|votes| votes.agreed(position));
        let (quorum, seats) = agreed.map_or((0, 0), |agreed| (agreed.quorum, agreed.seats));
        Released { group, position, quorum, seats, bytes }
    }

    /// Returns how many bytes are for clients.
    fn apply(&mut self, group: GroupId, turn: &TurnEffects, now: Duration, out: &mut Outcome) -> u64 {
        let epoch = self.epoch;
        let first = out.actions.len();
        for effect in turn.effects.iter().filter(|effect| concerns(&effect.entry, epoch)) {
            match (effect.entry.flow, &mut self.nat) {
                (Some(flow), Some(nat)) => apply_to_flow(nat, group, flow.serial, effect, now, out),
                (Some(_), None) => {}
                (None, _) => out.notices.extend(notice(turn.position, effect).map(|notice| (group, notice))),
            }
        }
        let resumed = self.nat.as_mut().map(Nat::take_resumed).unwrap_or_default();
        out.actions.extend(resumed.into_iter().map(Action::Resume));
        out.actions[first..].iter().map(Action::bytes).sum()
    }
}

fn apply_to_flow(nat: &mut Nat, group: GroupId, serial: Serial, effect: &Effect, now: Duration, out: &mut Outcome) {
    let entry = &effect.entry;
    match entry.kind {
        EffectKind::Bytes => match nat.emit(group, serial, entry.offset, effect.payload.clone(), now) {
            Emit::Write(bytes) => out.actions.push(Action::Write { serial, bytes }),
            Emit::Nothing => {}
            Emit::Gap { emitted } => fault(nat, group, serial, emitted, entry.offset, out),
        },
        EffectKind::Finish => match nat.finish(group, serial, entry.offset) {
            Ok(true) => out.actions.push(Action::Finish(serial)),
            Ok(false) => {}
            Err(emitted) => fault(nat, group, serial, emitted, entry.offset, out),
        },
        EffectKind::Reset => match nat.guest_reset(group, serial) {
            Some(true) => out.actions.push(Action::Linger(serial)),
            Some(false) => out.actions.push(Action::Reset { serial, ending: Ending::GuestReset }),
            None => {}
        },
        EffectKind::Consumed => nat.consumed(group, serial, entry.offset),
        _ => {}
    }
}

/// A stream that does not fit together is never given to a client: the flow is reset on both sides.
fn fault(nat: &mut Nat, group: GroupId, serial: Serial, emitted: u64, offset: u64, out: &mut Outcome) {
    nat.reset(serial, Ending::Fault);
    out.actions.push(Action::Reset { serial, ending: Ending::Fault });
    let epoch = nat.epoch();
    out.notices.push((group, Notice::Gap { epoch, serial, emitted, offset }));
}

fn notice(position: Position, effect: &Effect) -> Option<Notice> {
    let entry = &effect.entry;
    Some(match entry.kind {
        EffectKind::Log => Notice::Log {
            position,
            stream: if entry.offset == 2 { LogStream::Error } else { LogStream::Out },
            line: effect.payload.clone(),
        },
        EffectKind::Listen => Notice::Listen(entry.offset),
        EffectKind::Unlisten => Notice::Unlisten(entry.offset),
        EffectKind::Start => Notice::Started(entry.offset),
        EffectKind::Exit => Notice::Exited { code: entry.offset, reason: effect.payload.clone() },
        EffectKind::Audit => Notice::Audited { position, digest: entry.digest },
        EffectKind::Upgrade => {
            Notice::Upgraded { position, rolled_back: (entry.offset != UPGRADE_DONE).then(|| effect.payload.clone()) }
        }
        _ => return None,
    })
}
