//! The places of connections and associations: who gets one, and when it is free again.

use std::net::IpAddr;
use std::time::Duration;

use refrain_wire::outward::FIRST_OUTWARD_SERIAL;
use refrain_wire::{GroupId, Protocol, Record, Serial};

use super::flow::{Client, Closed, Ending, Flow};
use super::limit::{Refused, share};
use super::{Nat, live};

impl Nat {
    /// Makes a flow for a connection, and its `open` record.
    pub fn accept(
        &mut self,
        group: GroupId,
        port: u16,
        client: impl Into<Client>,
        now: Duration,
    ) -> Result<Serial, Refused> {
        let client = client.into();
        let (serial, peer) = (self.admit(group, port, client, Protocol::Tcp, now)?, client.peer());
        if let Some((flow, state)) = live(&mut self.flows, &mut self.groups, serial) {
            state.open(&Record::Open { serial, port, peer }, flow);
        }
        Ok(serial)
    }

    /// Makes a flow for a client, if there is a place.
    pub(super) fn admit(
        &mut self,
        group: GroupId,
        port: u16,
        client: Client,
        protocol: Protocol,
        now: Duration,
    ) -> Result<Serial, Refused> {
        let (limits, groups) = (self.limits, self.groups.len());
        let state = self.groups.get_mut(&group).ok_or(Refused::UnknownGroup(group))?;
        if state.halted {
            return Err(Refused::Halted(group));
        }
        if state.full {
            return Err(Refused::Full(group));
        }
        let associations = self.associations.len();
        let (taken, own, limit) = match protocol {
            Protocol::Tcp => {
                let taken = self.flows.len() - self.calls.connections() - associations;
                (taken, state.connections - state.associations, limits.connections)
            }
            Protocol::Udp => (associations, state.associations, limits.associations),
        };
        if taken >= limit {
            return Err(Refused::TooMany { limit });
        }
        let limit = share(limit, groups);
        if own >= limit {
            return Err(Refused::TooMany { limit });
        }
        if let Some(limit) = state.limit_reached(protocol) {
            return Err(Refused::TooMany { limit });
        }
        let limit = state.limits.connections_per_client.unwrap_or(limits.connections_per_client);
        let address = client.address();
        let of_client = address.and_then(|address| self.clients.get(&(group, address)));
        if let Some(client) = address.filter(|_| of_client.is_some_and(|of_client| *of_client >= limit)) {
            return Err(Refused::TooManyFromClient { client, limit });
        }
        let serial = self.next_serial.ok_or(Refused::SerialsUsed)?;
        self.next_serial = Some(Serial(serial.0 + 1)).filter(|next| *next < FIRST_OUTWARD_SERIAL);
        let flow = Flow::new(serial, group, port, client, state.limits.window_bytes, now);
        self.flows.insert(serial, Flow { protocol, ..flow });
        state.add(protocol);
        if let Some(address) = address {
            *self.clients.entry((group, address)).or_default() += 1;
        }
        Ok(serial)
    }

    /// The connection is closed: its place is free. Returns what the access log says.
    pub fn gone(&mut self, serial: Serial, now: Duration) -> Option<Closed> {
        if self.flows.get(&serial)?.ending.is_none() {
            self.reset(serial, Ending::ClientReset);
        }
        let flow = self.flows.remove(&serial)?;
        if let Some(group) = self.groups.get_mut(&flow.group) {
            group.unread.forget(serial);
        }
        self.resume_crowded(flow.group);
        if flow.is_outward() {
            self.calls.gone(flow.group, flow.serial, serial);
            if let Some(group) = self.groups.get_mut(&flow.group) {
                group.calls -= 1;
            }
            return Some(flow.closed(now));
        }
        if let Some(heard_at) = flow.heard_at {
            self.associations.remove(&(heard_at, flow.peer));
        }
        if let Some(group) = self.groups.get_mut(&flow.group) {
            group.remove(flow.protocol);
        }
        if let Some(address) = flow.client.address() {
            self.leaves((flow.group, address));
        }
        Some(flow.closed(now))
    }

    /// A client has one connection less.
    fn leaves(&mut self, client: (GroupId, IpAddr)) {
        if let Some(count) = self.clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.clients.remove(&client);
            }
        }
    }
}
