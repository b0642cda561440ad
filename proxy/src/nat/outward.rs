//! Calls that guests make: connections that they open, and names that they look up.
//!
//! A guest's kernel gives the serials of its calls, unique within its group alone, and gives one again when its call was
//! over for long; the old connection may still be closing. The table gives each call a key of its own from
//! [`FIRST_OUTWARD_SERIAL`] up, free again when the call is gone, by which the shell knows it, and writes records with the
//! kernel's serial. Every call has one answer, by a record that is never held back nor given up; none
//! when the guest gave the call up, or its group was halted.
//!
//! Rules: section 10 of the design. Who may make a call, and where to, is the kernel's to say.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use refrain_wire::outward::{FIRST_OUTWARD_SERIAL, MAX_RESOLVED};
use refrain_wire::{CallFailure, GroupId, Record, Serial, Target};

use super::flow::{Ending, Flow};
use super::limit::share;
use super::{Nat, end, live};

/// The keys of calls, and the look-ups without an answer.
#[derive(Debug)]
pub(super) struct Calls {
    keys: BTreeMap<(GroupId, Serial), Serial>,
    lookups: BTreeMap<Serial, (GroupId, Serial)>,
    /// How many are connections, made or being made, or closing.
    connections: usize,
    /// Where the search for a free key begins.
    next_key: Serial,
}

impl Default for Calls {
    fn default() -> Self {
        Self { keys: BTreeMap::new(), lookups: BTreeMap::new(), connections: 0, next_key: FIRST_OUTWARD_SERIAL }
    }
}

impl Calls {
    /// How many connections, made or being made, or closing, are calls.
    pub(super) fn connections(&self) -> usize {
        self.connections
    }

    /// The key of what the group knows by this serial. A client's flow has its serial for a key.
    pub(super) fn key_of(&self, group: GroupId, serial: Serial) -> Option<Serial> {
        if serial < FIRST_OUTWARD_SERIAL {
            return Some(serial);
        }
        self.keys.get(&(group, serial)).copied()
    }

    /// Gives a call the next key that nothing has; the limits of calls leave most of them free.
    fn add(&mut self, group: GroupId, serial: Serial, flows: &BTreeMap<Serial, Flow>) -> Serial {
        let mut key = self.next_key;
        while flows.contains_key(&key) || self.lookups.contains_key(&key) {
            key = after(key);
        }
        self.next_key = after(key);
        self.keys.insert((group, serial), key);
        key
    }

    /// The connection with this key is closed. What the group knows by its serial may be another by now.
    pub(super) fn gone(&mut self, group: GroupId, serial: Serial, key: Serial) {
        self.connections -= 1;
        if self.keys.get(&(group, serial)) == Some(&key) {
            self.keys.remove(&(group, serial));
        }
    }

    fn take_lookup(&mut self, key: Serial) -> Option<(GroupId, Serial)> {
        let call = self.lookups.remove(&key)?;
        self.keys.remove(&call);
        Some(call)
    }

    /// Forgets the look-ups of a group and names them.
    pub(super) fn give_up_lookups(&mut self, group: GroupId) -> Vec<Serial> {
        let of_group = self.lookups.iter().filter(|(_, (of, _))| *of == group);
        let keys: Vec<Serial> = of_group.map(|(key, _)| *key).collect();
        for key in &keys {
            self.take_lookup(*key);
        }
        keys
    }

    /// The calls that have a key, and it.
    #[cfg(test)]
    pub(super) fn known(&self) -> impl Iterator<Item = ((GroupId, Serial), Serial)> {
        self.keys.iter().map(|(call, key)| (*call, *key))
    }

    /// The next key is the last one.
    #[cfg(test)]
    pub(super) fn use_up_keys(&mut self) {
        self.next_key = Serial(u32::MAX);
    }

    pub(super) fn clear_lookups(&mut self) {
        for call in std::mem::take(&mut self.lookups).into_values() {
            self.keys.remove(&call);
        }
    }
}

/// The key after this one; after the last comes the first.
fn after(key: Serial) -> Serial {
    key.0.checked_add(1).map_or(FIRST_OUTWARD_SERIAL, Serial)
}

impl Nat {
    /// The key by which the table and the shell know what the group knows by this serial.
    #[must_use]
    pub fn key_of(&self, group: GroupId, serial: Serial) -> Option<Serial> {
        self.calls.key_of(group, serial)
    }

    /// What records call the flow with this key.
    #[must_use]
    pub fn serial_of(&self, key: Serial) -> Serial {
        self.flows.get(&key).map_or(key, |flow| flow.serial)
    }

    /// Look-ups without an answer.
    #[must_use]
    pub fn lookups(&self) -> usize {
        self.calls.lookups.len()
    }

    /// Connections that guests opened, those that are being made included.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.connections()
    }

    /// The group's guest opens a connection. Returns the key under which it is to be made; none when there is nothing
    /// to do: the call is known, or it failed at once, which a record tells.
    ///
    /// # Errors
    /// The failure that the record tells.
    pub fn connect(
        &mut self,
        group: GroupId,
        serial: Serial,
        target: Target,
        now: Duration,
    ) -> Result<Option<Serial>, CallFailure> {
        if !self.is_new_call(group, serial) {
            return Ok(None);
        }
        let (limit, groups) = (self.limits.outward_calls, self.groups.len());
        let is_full = self.calls() >= limit;
        let Some(state) = self.groups.get_mut(&group) else { return Ok(None) };
        if is_full || state.calls >= share(limit, groups) {
            return Err(self.refuse_call(group, serial, CallFailure::NoRoom));
        }
        state.calls += 1;
        let window_bytes = state.limits.window_bytes;
        let flow = Flow::of_call(serial, group, target.protocol, target.address, window_bytes, now);
        let key = self.calls.add(group, serial, &self.flows);
        self.calls.connections += 1;
        self.flows.insert(key, flow);
        Ok(Some(key))
    }

    /// The group's guest looks up a name. Returns as [`Nat::connect`] does.
    ///
    /// # Errors
    /// The failure that the record tells.
    pub fn resolve(&mut self, group: GroupId, serial: Serial) -> Result<Option<Serial>, CallFailure> {
        if !self.is_new_call(group, serial) {
            return Ok(None);
        }
        if self.lookups() >= self.limits.lookups {
            return Err(self.refuse_call(group, serial, CallFailure::NoRoom));
        }
        let key = self.calls.add(group, serial, &self.flows);
        self.calls.lookups.insert(key, (group, serial));
        Ok(Some(key))
    }

    fn is_new_call(&self, group: GroupId, serial: Serial) -> bool {
        let takes_calls = self.groups.get(&group).is_some_and(|state| !state.halted);
        let is_over = |key| self.flows.get(&key).is_some_and(|flow| flow.ending.is_some());
        takes_calls && serial >= FIRST_OUTWARD_SERIAL && self.calls.key_of(group, serial).is_none_or(is_over)
    }

    /// Answers a call for which nothing was begun. Returns the failure.
    pub fn refuse_call(&mut self, group: GroupId, serial: Serial, failure: CallFailure) -> CallFailure {
        if let Some(state) = self.groups.get_mut(&group) {
            state.answer(&Record::Failed { serial, failure });
        }
        failure
    }

    /// The call's connection is there. False when the call was given up meanwhile: it is to be closed.
    pub fn connected(&mut self, key: Serial, local: SocketAddr, now: Duration) -> bool {
        let call = live(&mut self.flows, &mut self.groups, key).filter(|(flow, _)| flow.dialing);
        let Some((flow, group)) = call else {
            return false;
        };
        flow.dialing = false;
        (flow.sent_at, flow.took_at) = (now, now);
        flow.open_ticket = group.answer(&Record::Connected { serial: flow.serial, local });
        flow.last_ticket = flow.open_ticket;
        true
    }

    /// The call came to nothing: its flow is over, or its look-up; or its association could not be made. False when it was given up before.
    pub fn call_failed(&mut self, key: Serial, failure: CallFailure) -> bool {
        if let Some((group, serial)) = self.calls.take_lookup(key) {
            self.refuse_call(group, serial, failure);
            return true;
        }
        let call =
            live(&mut self.flows, &mut self.groups, key).filter(|(flow, _)| flow.dialing || flow.is_association());
        let Some((flow, group)) = call else {
            return false;
        };
        group.answer(&Record::Failed { serial: flow.serial, failure });
        end(flow, group, Ending::Failed(failure));
        true
    }

    /// The look-up found these addresses: the answer has each once, in their order, and at most as many as a record
    /// holds; none fails. Returns the failure, if it is one.
    pub fn resolved(&mut self, key: Serial, found: &[IpAddr]) -> Option<CallFailure> {
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in found.iter().map(IpAddr::to_canonical) {
            if addresses.len() < MAX_RESOLVED && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return self.call_failed(key, CallFailure::NotFound).then_some(CallFailure::NotFound);
        }
        let (group, serial) = self.calls.take_lookup(key)?;
        if let Some(state) = self.groups.get_mut(&group) {
            state.answer(&Record::Resolved { serial, addresses });
        }
        None
    }

    /// The group's guest gives a look-up up. False when it is none, or has its answer.
    pub fn give_up_lookup(&mut self, key: Serial) -> bool {
        self.calls.take_lookup(key).is_some()
    }
}
