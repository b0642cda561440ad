//! Sockets: listeners and flows, what records do to them and what the guest's calls do.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use refrain_wire::FlowId;
use serde::{Deserialize, Serialize};

use crate::Stop;
use crate::descriptor::{Descriptor, Object, flags};
use crate::errno::Errno;
use crate::flow::Flow;
use crate::kernel::{FlowSlot, Kernel};

/// The most connections that may wait at a listener, whatever the guest asks for.
pub const MAX_BACKLOG: u32 = 4096;
/// Ports that are given out to sockets that listen without naming one.
const EPHEMERAL_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;

/// A port that the guest listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listener {
    backlog: u32,
    /// Slots of flows that wait to be accepted.
    queue: VecDeque<u32>,
}

/// Which directions `shutdown` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// Reading.
    pub read: bool,
    /// Writing.
    pub write: bool,
}

/// What a socket option call asks about or sets. The kernel has no behaviour behind most options, so they are
/// accepted and answered with what holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketKind {
    /// Not connected.
    Idle,
    /// Listens.
    Listening,
    /// Connected.
    Connected,
}

impl Kernel {
    // What records do.

    pub(crate) fn opened(&mut self, id: FlowId, port: u16, peer: SocketAddr) {
        if self.tables.by_id.contains_key(&id) {
            // A proxy gives each number once; one that does not loses the flow, on every replica alike.
            self.reset_flow(id);
            return;
        }
        let full = self.tables.flows.len() >= self.config.max_flows;
        let listener = self.tables.listeners.get_mut(&port);
        let Some(listener) = listener.filter(|listener| !full && (listener.queue.len() as u32) < listener.backlog)
        else {
            self.effects.reset(id);
            return;
        };
        self.tables.next_stamp += 1;
        let stamp = self.tables.next_stamp;
        let slot = self.tables.flows.insert(FlowSlot { stamp, flow: Flow::new(id, peer, port) });
        listener.queue.push_back(slot);
        self.tables.by_id.insert(id, slot);
    }

    pub(crate) fn received(&mut self, id: FlowId, bytes: Bytes) {
        let window = self.config.socket_buffer_bytes;
        let Some(slot) = self.tables.by_id.get(&id).copied() else { return };
        let Some(FlowSlot { flow, .. }) = self.tables.flows.get_mut(slot) else { return };
        self.touched.insert(slot);
        if flow.closed {
            // As TCP answers data that comes after close.
            self.reset_flow(id);
        } else if !flow.receive(bytes, window) {
            // The proxy never sends beyond the window; one that does loses the flow, on every replica alike.
            self.reset_flow(id);
        } else if flow.read_shut {
            flow.discard_received();
        }
    }

    pub(crate) fn delivered(&mut self, id: FlowId, more: u64) {
        let Some(slot) = self.tables.by_id.get(&id).copied() else { return };
        let Some(FlowSlot { flow, .. }) = self.tables.flows.get_mut(slot) else { return };
        let own = self.config.own_send_bytes();
        let before = flow.unsent_bytes().saturating_sub(own);
        flow.deliver(more);
        self.tables.shared_bytes -= before - flow.unsent_bytes().saturating_sub(own);
        self.touched.insert(slot);
    }

    pub(crate) fn peer_finished(&mut self, id: FlowId) {
        let Some(slot) = self.tables.by_id.get(&id).copied() else { return };
        let Some(FlowSlot { flow, .. }) = self.tables.flows.get_mut(slot) else { return };
        flow.peer_finished = true;
        self.touched.insert(slot);
    }

    /// Ends a flow that the outside has given up: nothing is sent for it any more.
    pub(crate) fn drop_flow(&mut self, id: FlowId) {
        self.remove_flow(id);
        self.effects.forget(id);
    }

    /// Ends a flow and tells the client so.
    fn reset_flow(&mut self, id: FlowId) {
        self.remove_flow(id);
        self.effects.reset(id);
    }

    pub(crate) fn reset_all_flows(&mut self) {
        for id in self.tables.by_id.keys().copied().collect::<Vec<_>>() {
            self.reset_flow(id);
        }
    }

    /// Ends the guest's side of every flow, as a host does for a process that has ended.
    pub(crate) fn finish_all_flows(&mut self) {
        for slot in self.tables.by_id.values().copied().collect::<Vec<_>>() {
            self.finish(slot);
        }
    }

    fn remove_flow(&mut self, id: FlowId) {
        let Some(slot) = self.tables.by_id.remove(&id) else { return };
        let removed = self.tables.flows.remove(slot).expect("every id has its slot");
        self.tables.shared_bytes -= removed.flow.unsent_bytes().saturating_sub(self.config.own_send_bytes());
        if let Some(listener) = self.tables.listeners.get_mut(&removed.flow.port) {
            listener.queue.retain(|waiting| *waiting != slot);
        }
        self.touched.remove(&slot);
    }

    /// Tells what was consumed, frees what is over. Part of the end of a turn.
    pub(crate) fn settle_touched_flows(&mut self) {
        let window = self.config.socket_buffer_bytes;
        for slot in std::mem::take(&mut self.touched) {
            let Some(FlowSlot { flow, .. }) = self.tables.flows.get_mut(slot) else { continue };
            let id = flow.id;
            if flow.is_over() {
                self.remove_flow(id);
                continue;
            }
            flow.compact();
            if let Some(offset) = flow.consumed_to_tell(window) {
                self.effects.consumed(id, offset);
            }
        }
    }

    pub(crate) fn start_listening(&mut self, port: u16, backlog: u32) {
        let backlog = backlog.clamp(1, MAX_BACKLOG);
        let before = self.tables.listeners.get_mut(&port).map(|listener| listener.backlog = backlog);
        if before.is_none() {
            self.tables.listeners.insert(port, Listener { backlog, queue: VecDeque::new() });
        }
    }

    // What the guest's calls do.

    /// `socket`: a stream socket.
    pub fn socket(&mut self, v6: bool) -> Result<u32, Errno> {
        let object = Object::Socket { bound: None, v6, backlog: None };
        self.tables.descriptors.open(Descriptor::new(object), self.config.max_descriptors)
    }

    /// `bind`: the address is not looked at, every address is the guest's own.
    pub fn bind(&mut self, fd: u32, port: u16) -> Result<(), Errno> {
        match self.tables.descriptors.get(fd)?.object {
            Object::Socket { bound: None, .. } => {}
            Object::Socket { .. } | Object::Flow { .. } => return Err(Errno::Inval),
            _ => return Err(Errno::Notsock),
        }
        let port = if port == 0 { self.free_port()? } else { port };
        if self.tables.listeners.contains_key(&port) && !self.may_share(port) {
            return Err(Errno::Addrinuse);
        }
        if let Object::Socket { bound, .. } = &mut self.tables.descriptors.get_mut(fd)?.object {
            *bound = Some(port);
        }
        Ok(())
    }

    fn free_port(&mut self) -> Result<u16, Errno> {
        let bound = |descriptor: &Descriptor| match descriptor.object {
            Object::Socket { bound, .. } => bound,
            _ => None,
        };
        self.add_work(u64::from(self.tables.descriptors.len()));
        let used: BTreeSet<u16> =
            self.tables.descriptors.iter().filter_map(|(_, descriptor)| bound(descriptor)).collect();
        EPHEMERAL_PORTS.into_iter().find(|port| !used.contains(port)).ok_or(Errno::Addrinuse)
    }

    /// `listen`: clients can connect from the next turn on.
    pub fn listen(&mut self, fd: u32, backlog: u32) -> Result<(), Errno> {
        let port = match self.tables.descriptors.get(fd)?.object {
            Object::Socket { bound: Some(port), backlog: None, .. } => {
                if self.tables.listeners.contains_key(&port) && !self.may_share(port) {
                    return Err(Errno::Addrinuse);
                }
                port
            }
            Object::Socket { bound: Some(port), .. } => port,
            Object::Socket { bound: None, .. } => self.free_port()?,
            Object::Flow { .. } => return Err(Errno::Inval),
            _ => return Err(Errno::Notsock),
        };
        let descriptor = self.tables.descriptors.get_mut(fd)?;
        if let Object::Socket { bound, backlog: listening, .. } = &mut descriptor.object {
            *bound = Some(port);
            *listening = Some(backlog);
        }
        self.start_listening(port, backlog);
        Ok(())
    }

    /// `accept`: the oldest waiting connection, as a new descriptor with `fd_flags`.
    pub fn accept(&mut self, fd: u32, fd_flags: u16) -> Result<u32, Stop> {
        let descriptor = self.tables.descriptors.get(fd)?;
        let nonblocking = descriptor.nonblocking();
        let port = match descriptor.object {
            Object::Socket { bound: Some(port), backlog: Some(_), .. } => port,
            Object::Socket { .. } | Object::Flow { .. } => return Err(Errno::Inval.into()),
            _ => return Err(Errno::Notsock.into()),
        };
        self.tables.descriptors.has_room(self.config.max_descriptors)?;
        // Two descriptors share a port only where the configuration passes it in twice.
        let listener = self.tables.listeners.get_mut(&port).ok_or(Errno::Inval)?;
        let Some(slot) = listener.queue.pop_front() else { return Err(self.would_wait(nonblocking)) };
        let stamp = self.tables.flows.get(slot).expect("a waiting flow has its slot").stamp;
        let accepted = Descriptor {
            flags: fd_flags & (flags::NONBLOCK | flags::APPEND),
            ..Descriptor::new(Object::Flow { slot, stamp })
        };
        Ok(self.tables.descriptors.open(accepted, self.config.max_descriptors)?)
    }

    /// `recv`: 0 at the end of the stream. With `peek` the bytes stay.
    pub fn recv(&mut self, fd: u32, out: &mut [u8], peek: bool) -> Result<usize, Stop> {
        let nonblocking = self.tables.descriptors.get(fd)?.nonblocking();
        let slot = self.flow_slot(fd)?.ok_or(Errno::Connreset)?;
        let flow = &mut self.tables.flows.get_mut(slot).expect("flow_slot checks the slot").flow;
        if out.is_empty() {
            return Ok(0);
        }
        if !flow.is_readable() {
            return Err(self.would_wait(nonblocking));
        }
        if peek {
            return Ok(flow.peek(out));
        }
        self.touched.insert(slot);
        Ok(flow.read(out))
    }

    /// `send`: how much of `bytes` was taken; at least one byte unless `bytes` is empty.
    pub fn send(&mut self, fd: u32, bytes: &[u8]) -> Result<usize, Stop> {
        let nonblocking = self.tables.descriptors.get(fd)?.nonblocking();
        let slot = self.flow_slot(fd)?.ok_or(Errno::Pipe)?;
        let space = self.send_space(slot);
        let flow = &mut self.tables.flows.get_mut(slot).expect("flow_slot checks the slot").flow;
        if flow.finished {
            return Err(Errno::Pipe.into());
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        if space == 0 {
            return Err(self.would_wait(nonblocking));
        }
        let taken = bytes.len().min(usize::try_from(space).unwrap_or(usize::MAX));
        self.effects.write(flow.id, flow.sent(), &bytes[..taken]);
        let own = self.config.own_send_bytes();
        let before = flow.unsent_bytes().saturating_sub(own);
        flow.wrote(taken as u64);
        self.tables.shared_bytes += flow.unsent_bytes().saturating_sub(own) - before;
        Ok(taken)
    }

    /// Bytes that the flow's send buffer takes now: what is left of its own share, and what is free of the rest.
    pub(crate) fn send_space(&self, slot: u32) -> u64 {
        let unsent = self.tables.flows.get(slot).map_or(0, |slot| slot.flow.unsent_bytes());
        let own = self.config.own_send_bytes().saturating_sub(unsent);
        let shared = self.config.shared_send_bytes().saturating_sub(self.tables.shared_bytes);
        self.config.socket_buffer_bytes.saturating_sub(unsent).min(own + shared)
    }

    /// `shutdown`.
    pub fn shutdown(&mut self, fd: u32, how: Shutdown) -> Result<(), Errno> {
        let Some(slot) = self.flow_slot(fd)? else { return Err(Errno::Notconn) };
        if how.write {
            self.finish(slot);
        }
        if how.read {
            let flow = &mut self.tables.flows.get_mut(slot).expect("flow_slot checks the slot").flow;
            flow.read_shut = true;
            flow.discard_received();
            self.touched.insert(slot);
        }
        Ok(())
    }

    fn finish(&mut self, slot: u32) {
        let flow = &mut self.tables.flows.get_mut(slot).expect("callers pass a live slot").flow;
        if !flow.finished {
            flow.finished = true;
            self.effects.finish(flow.id, flow.sent());
        }
    }

    /// Closing a socket's descriptor: a listener turns its waiting connections away, a flow ends its stream.
    pub(crate) fn close_socket(&mut self, object: &Object) {
        match object {
            Object::Socket { bound: Some(port), backlog: Some(_), .. } => {
                if let Some(listener) = self.tables.listeners.remove(port) {
                    let waiting: Vec<FlowId> = (listener.queue.iter())
                        .filter_map(|slot| Some(self.tables.flows.get(*slot)?.flow.id))
                        .collect();
                    waiting.into_iter().for_each(|id| self.reset_flow(id));
                }
            }
            Object::Flow { slot, stamp } if self.tables.flows.get(*slot).is_some_and(|flow| flow.stamp == *stamp) => {
                self.finish(*slot);
                let flow = &mut self.tables.flows.get_mut(*slot).expect("checked above").flow;
                flow.closed = true;
                flow.read_shut = true;
                flow.discard_received();
                self.touched.insert(*slot);
            }
            _ => {}
        }
    }

    /// The flow behind `fd`; none where it was reset.
    pub(crate) fn flow_slot(&self, fd: u32) -> Result<Option<u32>, Errno> {
        match &self.tables.descriptors.get(fd)?.object {
            Object::Flow { slot, stamp } => {
                Ok(self.tables.flows.get(*slot).filter(|flow| flow.stamp == *stamp).map(|_| *slot))
            }
            Object::Socket { .. } => Err(Errno::Notconn),
            _ => Err(Errno::Notsock),
        }
    }

    /// `getsockname`.
    pub fn local_address(&self, fd: u32) -> Result<SocketAddr, Errno> {
        match &self.tables.descriptors.get(fd)?.object {
            Object::Socket { bound, v6, .. } => Ok(SocketAddr::new(any_address(*v6), bound.unwrap_or(0))),
            Object::Flow { .. } => {
                let slot = self.flow_slot(fd)?.ok_or(Errno::Notconn)?;
                let flow = &self.tables.flows.get(slot).expect("flow_slot checks the slot").flow;
                Ok(SocketAddr::new(any_address(flow.peer.is_ipv6()), flow.port))
            }
            _ => Err(Errno::Notsock),
        }
    }

    /// `getpeername`.
    pub fn peer_address(&self, fd: u32) -> Result<SocketAddr, Errno> {
        let slot = self.flow_slot(fd)?.ok_or(Errno::Notconn)?;
        Ok(self.tables.flows.get(slot).expect("flow_slot checks the slot").flow.peer)
    }

    /// What kind of socket `fd` is.
    pub fn socket_kind(&self, fd: u32) -> Result<SocketKind, Errno> {
        match &self.tables.descriptors.get(fd)?.object {
            Object::Socket { backlog: None, .. } => Ok(SocketKind::Idle),
            Object::Socket { .. } => Ok(SocketKind::Listening),
            Object::Flow { .. } => Ok(SocketKind::Connected),
            _ => Err(Errno::Notsock),
        }
    }

    /// Whether a listener has a connection waiting.
    pub(crate) fn has_waiting(&self, port: u16) -> bool {
        self.tables.listeners.get(&port).is_some_and(|listener| !listener.queue.is_empty())
    }

    pub(crate) fn would_wait(&mut self, nonblocking: bool) -> Stop {
        if !nonblocking {
            return Stop::Block;
        }
        if self.tables.clock.spend().is_none() {
            self.wait_for_next_turn();
            return Stop::Block;
        }
        Stop::Errno(Errno::Again)
    }
}

fn any_address(v6: bool) -> IpAddr {
    if v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
}
