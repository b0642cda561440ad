//! Associations: datagrams between a guest's port and one peer, or on one call of a guest.
//!
//! An association is a flow whose records are datagrams. A client's is made by its first datagram, counts as one of its
//! connections, and ends when the client has sent nothing for the idle limit. Nothing is promised of a datagram but that
//! it is sent at most once and after agreement: what finds no room on its way is dropped and counted.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use refrain_wire::outward::MAX_DATAGRAM_BYTES;
use refrain_wire::{GroupId, Protocol, Record, Serial};

use super::group::Group;
use super::{Emit, Nat, live};

/// What a datagram's record has besides its bytes, at most.
const RECORD_OVERHEAD_BYTES: usize = 40;

/// A socket at which clients' datagrams are heard for a guest's port. A peer has one association with each, so that its
/// answers leave by the socket that it sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeardAt {
    /// The socket's number among those of the proxy.
    pub socket: u32,
    /// Whose port it is.
    pub group: GroupId,
    /// The guest's port.
    pub port: u16,
}

/// What becomes of a datagram that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It is of an association that is there.
    Known(Serial),
    /// It made this association.
    New(Serial),
    /// It is dropped: there is no room for it, or nobody takes it.
    Dropped,
}

impl Nat {
    /// Associations that hold a place, those of guests' calls not among them.
    #[must_use]
    pub fn associations(&self) -> usize {
        self.associations.len()
    }

    /// A client's datagram came for a guest's port.
    pub fn hear_client(&mut self, at: HeardAt, peer: SocketAddr, bytes: &[u8], now: Duration) -> Heard {
        let HeardAt { group, port, .. } = at;
        if let Some(serial) = self.associations.get(&(at, peer)).copied() {
            return if self.hear(serial, port, bytes, now) { Heard::Known(serial) } else { Heard::Dropped };
        }
        if !self.groups.get(&group).is_some_and(|state| takes(state, bytes)) {
            return Heard::Dropped;
        }
        let Ok(serial) = self.admit(group, port, peer.into(), Protocol::Udp, now) else {
            return Heard::Dropped;
        };
        self.associations.insert((at, peer), serial);
        if let Some(flow) = self.flows.get_mut(&serial) {
            flow.heard_at = Some(at);
        }
        self.hear(serial, port, bytes, now);
        Heard::New(serial)
    }

    /// A datagram came on an association that a guest opened.
    pub fn hear_server(&mut self, key: Serial, bytes: &[u8], now: Duration) -> Heard {
        if self.hear(key, 0, bytes, now) { Heard::Known(key) } else { Heard::Dropped }
    }

    fn hear(&mut self, key: Serial, port: u16, bytes: &[u8], now: Duration) -> bool {
        let association = live(&mut self.flows, &mut self.groups, key);
        let Some((flow, group)) = association.filter(|(flow, group)| flow.is_association() && takes(group, bytes))
        else {
            return false;
        };
        flow.received += bytes.len() as u64;
        flow.sent_at = now;
        let bytes = Bytes::copy_from_slice(bytes);
        group.datagram(&Record::Datagram { serial: flow.serial, port, peer: flow.peer, bytes }, flow);
        true
    }

    /// The group's guest sends the datagram with this number on the association. Each is written once, in order. That
    /// the guest sends keeps an association that it opened; of a client's it does not show that the client is there.
    pub fn send_datagram(&mut self, group: GroupId, key: Serial, number: u64, bytes: Bytes, now: Duration) -> Emit {
        let flow = live(&mut self.flows, &mut self.groups, key);
        let Some((flow, _)) = flow.filter(|(flow, _)| flow.group == group) else {
            return Emit::Nothing;
        };
        if number < flow.datagrams {
            return Emit::Nothing;
        }
        if number > flow.datagrams || !flow.is_association() {
            return Emit::Gap { emitted: flow.datagrams };
        }
        flow.datagrams += 1;
        if flow.is_outward() {
            flow.took_at = now;
        }
        Emit::Write(bytes)
    }

    /// The association's socket took a datagram of so many bytes.
    pub fn datagram_sent(&mut self, key: Serial, bytes: usize) {
        if let Some(flow) = self.flows.get_mut(&key) {
            let sent = flow.delivered + bytes as u64;
            (flow.emitted, flow.delivered, flow.told) = (sent, sent, sent);
        }
    }
}

/// Whether the group has room for the datagram now.
fn takes(group: &Group, bytes: &[u8]) -> bool {
    !group.full && bytes.len() <= MAX_DATAGRAM_BYTES && group.room() >= bytes.len() + RECORD_OVERHEAD_BYTES
}
