//! The NAT table of one proxy epoch: flows, their offsets and closes, and the records that wait to be ordered.
//!
//! Guarantees: a serial is never used again; at most a window of a client's bytes is read and not consumed, and of
//! all clients of a group what its socket buffers hold; records of a flow keep their order, and each is submitted in exactly one submission; submissions are numbered from 1
//! without gaps and kept until told committed. Every table and queue has a limit with a defined answer ([`Limits`],
//! [`Refused`]).
//!
//! Rules: design sections 4 (submissions), 8 (flow control) and 9 (epochs). No clock: time is a `Duration` since
//! the proxy started. Sockets belong to `tcp`, agreement to `votes`.

mod accept;
mod datagram;
mod flow;
mod group;
mod guest;
mod idle;
mod limit;
mod outbox;
mod outward;
mod submission;
#[cfg(test)]
mod tests;
mod turnover;
mod unread;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use refrain_wire::{Epoch, GroupId, ResetReason, Serial};

pub use datagram::{Heard, HeardAt};
pub use flow::{Client, Closed, Direction, Ending};
pub use guest::Emit;
pub use idle::{MAX_IDLE_ASSOCIATION, MAX_IDLE_FINISHED_CALL};
pub use limit::{GroupLimits, Limits, MAX_PENDING_BYTES, Refused};
pub use submission::{GivenUp, Submission};

use flow::Flow;
use group::Group;
use outward::Calls;

/// The table. One owner; no interior locking.
#[derive(Debug)]
pub struct Nat {
    epoch: Epoch,
    limits: Limits,
    groups: BTreeMap<GroupId, Group>,
    flows: BTreeMap<Serial, Flow>,
    clients: BTreeMap<(GroupId, IpAddr), usize>,
    calls: Calls,
    associations: BTreeMap<(HeardAt, SocketAddr), Serial>,
    next_serial: Option<Serial>,
    unacknowledged: VecDeque<Submission>,
    next_number: u64,
    /// The highest number that the sequencer was given, and may have ordered.
    given: u64,
    /// The group that the last submission had no room for.
    next_group: GroupId,
    resumed: Vec<Serial>,
}

impl Nat {
    /// An empty table.
    #[must_use]
    pub fn new(epoch: Epoch, limits: Limits) -> Self {
        Self {
            epoch,
            limits,
            groups: BTreeMap::new(),
            flows: BTreeMap::new(),
            clients: BTreeMap::new(),
            calls: Calls::default(),
            associations: BTreeMap::new(),
            next_serial: Some(Serial(1)),
            unacknowledged: VecDeque::new(),
            next_number: 1,
            given: 0,
            next_group: GroupId::default(),
            resumed: Vec::new(),
        }
    }

    /// The epoch that the flows belong to.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether the epoch has no serial left for another client: it is time for a new one.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.next_serial.is_none()
    }

    /// Connections that hold a place, those of flows that are over but not yet gone included, and those that guests
    /// opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.flows.len()
    }

    /// Those of clients, without associations.
    #[must_use]
    pub fn clients_connections(&self) -> usize {
        self.flows.len() - self.calls.connections() - self.associations.len()
    }

    /// Those of one group's clients.
    #[must_use]
    pub fn connections_of(&self, group: GroupId) -> usize {
        self.groups.get(&group).map_or(0, |group| group.connections)
    }

    /// Those of the group's client that has the most; those of a Unix socket are nobody's.
    #[must_use]
    pub fn most_of_one_client(&self, group: GroupId) -> usize {
        let first = (group, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let of_group = self.clients.range(first..).take_while(|((of, _), _)| *of == group);
        of_group.map(|(_, count)| *count).max().unwrap_or(0)
    }

    /// Bytes of records that wait for a submission.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.groups.values().map(Group::pending).sum()
    }

    /// Makes a group known; its connections may be accepted from now on.
    pub fn add_group(&mut self, group: GroupId, limits: GroupLimits) {
        self.groups.entry(group).or_insert_with(|| Group::new(limits));
    }

    /// How many bytes may be read from the client now. At 0 the caller stops reading until the serial is in
    /// [`Nat::take_resumed`].
    pub fn readable_bytes(&mut self, serial: Serial) -> usize {
        let Some((flow, group)) = live(&mut self.flows, &mut self.groups, serial) else {
            return 0;
        };
        if !flow.client_open {
            return 0;
        }
        let room = group.room();
        let window = group.unread.window(flow, &group.limits);
        let readable = room.min(usize::try_from(window).unwrap_or(usize::MAX));
        flow.paused = readable == 0;
        if room == 0 {
            group.choke(serial, flow);
        } else if window == 0 && flow.unread() < flow.window_bytes {
            group.unread.crowd(serial, flow);
        }
        readable
    }

    /// The client sent `bytes`, at most [`Nat::readable_bytes`]. Returns the group that they are for; none when they
    /// are for nobody any more.
    pub fn received(&mut self, serial: Serial, bytes: &[u8], now: Duration) -> Option<GroupId> {
        let (flow, group) = live(&mut self.flows, &mut self.groups, serial)?;
        if bytes.is_empty() || !flow.client_open || flow.is_association() {
            return None;
        }
        flow.received += bytes.len() as u64;
        group.unread.add(bytes.len() as u64);
        flow.sent_at = now;
        let delivered = flow.untold();
        flow.told = flow.delivered;
        group.told(delivered);
        group.data(delivered, bytes, flow);
        Some(flow.group)
    }

    /// The client sent something and its group takes no new work: the flow is over, by a record. False when the group
    /// does.
    pub fn refuse_if_full(&mut self, serial: Serial) -> bool {
        let full = live(&mut self.flows, &mut self.groups, serial).is_some_and(|(_, group)| group.full);
        if full {
            self.reset(serial, Ending::Refused);
        }
        full
    }

    /// The client will send nothing more.
    pub fn client_shutdown(&mut self, serial: Serial, now: Duration) {
        let Some((flow, group)) = live(&mut self.flows, &mut self.groups, serial) else {
            return;
        };
        if std::mem::replace(&mut flow.client_open, false) {
            flow.sent_at = now;
            group.shutdown(flow);
            finish_if_complete(flow, group);
        }
    }

    /// The flow is over from outside: a record tells the guest why.
    pub fn reset(&mut self, serial: Serial, ending: Ending) {
        let Some((flow, group)) = live(&mut self.flows, &mut self.groups, serial) else {
            return;
        };
        let reason = match ending {
            Ending::Idle => ResetReason::Idle,
            Ending::Drained => ResetReason::Drain,
            Ending::Operator | Ending::Refused => ResetReason::Operator,
            _ => ResetReason::Client,
        };
        group.reset(reason, flow);
        end(flow, group, ending);
    }

    /// The client's socket took `bytes` more of what was emitted.
    pub fn delivered(&mut self, serial: Serial, bytes: u64, now: Duration) {
        let Some(flow) = self.flows.get_mut(&serial) else {
            return;
        };
        let bytes = bytes.min(flow.emitted - flow.delivered);
        flow.delivered += bytes;
        flow.took_at = now;
        if flow.ending.is_some() {
            return;
        }
        let id = flow.group;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.untold += bytes;
        if flow.is_complete() {
            finish_if_complete(flow, group);
        } else if bytes > 0 && (group.is_pressed() || flow.untold() >= flow.window_bytes.div_ceil(2)) {
            group.credit(flow);
        }
        self.tell_all_if_pressed(id);
    }

    /// While a group is pressed, what is delivered is told at once, so this goes through all flows only when it
    /// begins to be.
    fn tell_all_if_pressed(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id).filter(|group| group.is_pressed() && group.untold > 0) else {
            return;
        };
        for flow in self.flows.values_mut() {
            if flow.group == id && flow.ending.is_none() && flow.untold() > 0 {
                group.credit(flow);
            }
        }
    }

    /// Bytes of the group's flows were consumed, or nobody waits for them any more.
    fn resume_crowded(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.unread.resume(&mut self.flows, &group.limits, &mut self.resumed);
        }
    }

    /// Every flow that is not over, by serial.
    #[must_use]
    pub fn live(&self) -> Vec<Serial> {
        self.select(|_| true)
    }

    fn select(&self, mut wanted: impl FnMut(&Flow) -> bool) -> Vec<Serial> {
        let chosen = self.flows.iter().filter(|(_, f)| f.ending.is_none() && wanted(f));
        chosen.map(|(serial, _)| *serial).collect()
    }

    /// The flows that may be read again, each named once.
    pub fn take_resumed(&mut self) -> Vec<Serial> {
        std::mem::take(&mut self.resumed)
    }
}

/// The flow and its group, if the flow is not over.
fn live<'a>(
    flows: &'a mut BTreeMap<Serial, Flow>,
    groups: &'a mut BTreeMap<GroupId, Group>,
    serial: Serial,
) -> Option<(&'a mut Flow, &'a mut Group)> {
    let flow = flows.get_mut(&serial).filter(|flow| flow.ending.is_none())?;
    let group = groups.get_mut(&flow.group)?;
    Some((flow, group))
}

fn end(flow: &mut Flow, group: &mut Group, ending: Ending) {
    group.untold -= flow.untold();
    group.kept -= flow.emitted - flow.told;
    flow.told = flow.delivered;
    if !flow.is_association() {
        group.unread.remove(flow.unread());
        flow.consumed = flow.received;
    }
    flow.ending = Some(ending);
}

/// Ends the flow when both sides are done. What is untold then is told at once: replicas keep the flow, and count it
/// against their limit, until they know.
fn finish_if_complete(flow: &mut Flow, group: &mut Group) {
    if flow.is_complete() {
        if flow.untold() > 0 {
            group.credit(flow);
        }
        end(flow, group, Ending::Done);
    }
}

fn resume_choked(flows: &mut BTreeMap<Serial, Flow>, group: &mut Group, resumed: &mut Vec<Serial>) {
    for serial in group.take_choked() {
        if let Some(flow) = flows.get_mut(&serial) {
            flow.choked = false;
            if std::mem::replace(&mut flow.paused, false) {
                resumed.push(serial);
            }
        }
    }
}
