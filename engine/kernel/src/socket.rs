//! Stream sockets: listeners and flows, and what the guest's calls do to them.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use refrain_wire::FlowId;
use serde::{Deserialize, Serialize};

use crate::Stop;
use crate::descriptor::{Descriptor, Object, flags};
use crate::errno::Errno;
use crate::flow::Link;
use crate::kernel::Kernel;
use crate::rights;

/// The most connections that may wait at a listener, whatever the guest asks for.
pub const MAX_BACKLOG: u32 = 4096;
/// Ports that are given out to sockets that listen without naming one.
pub(crate) const EPHEMERAL_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;

/// A port that the guest listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listener {
    pub(crate) backlog: u32,
    /// Slots of flows that wait to be accepted.
    pub(crate) queue: VecDeque<u32>,
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
    /// Connected, or about to be.
    Connected,
    /// For datagrams.
    Datagram,
}

impl Kernel {
    pub(crate) fn start_listening(&mut self, port: u16, backlog: u32) {
        let backlog = backlog.clamp(1, MAX_BACKLOG);
        let before = self.tables.listeners.get_mut(&port).map(|listener| listener.backlog = backlog);
        if before.is_none() {
            self.tables.listeners.insert(port, Listener { backlog, queue: VecDeque::new() });
        }
    }

    /// `socket`: for a stream, or for datagrams.
    pub fn socket(&mut self, v6: bool, datagram: bool) -> Result<u32, Errno> {
        if datagram {
            return self.datagram_socket(v6);
        }
        let object = Object::Socket { bound: None, v6, backlog: None };
        self.tables.descriptors.open(Descriptor::new(object), self.config.max_descriptors)
    }

    /// `bind`: the address is not looked at, every address is the guest's own.
    pub fn bind(&mut self, fd: u32, port: u16) -> Result<(), Errno> {
        match self.tables.descriptors.get(fd)?.object {
            Object::Datagram { slot } => return self.bind_datagram(slot, port),
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

    /// Whether another stream socket of this family is bound to the port, though it does not listen: for interfaces that
    /// keep a port for the first that asks for it. A port that was passed in may be bound once more.
    pub fn is_port_taken(&mut self, port: u16, v6: bool) -> bool {
        self.add_work(u64::from(self.tables.descriptors.len()));
        let takes = |descriptor: &Descriptor| match descriptor.object {
            Object::Socket { bound: Some(bound), v6: is_v6, .. } => bound == port && is_v6 == v6,
            _ => false,
        };
        !self.may_share(port) && self.tables.descriptors.iter().any(|(_, descriptor)| takes(descriptor))
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
            Object::Datagram { .. } => return Err(Errno::Notsup),
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
            Object::Datagram { .. } => return Err(Errno::Notsup.into()),
            _ => return Err(Errno::Notsock.into()),
        };
        descriptor.check(rights::SOCK_ACCEPT)?;
        let given = descriptor.inheriting;
        self.tables.descriptors.has_room(self.config.max_descriptors)?;
        // The state of an earlier kernel may have a descriptor whose listener went with another one.
        let listener = self.tables.listeners.get_mut(&port).ok_or(Errno::Inval)?;
        let Some(slot) = listener.queue.pop_front() else { return Err(self.would_wait(nonblocking)) };
        let stamp = self.tables.flows.get(slot).expect("a waiting flow has its slot").stamp;
        let object = Object::Flow { slot, stamp };
        let (rights, inheriting) = rights::opened(&object, rights::ALL, given);
        let flags = fd_flags & (flags::NONBLOCK | flags::APPEND);
        let accepted = Descriptor { object, flags, rights, inheriting, read_only: false };
        Ok(self.tables.descriptors.open(accepted, self.config.max_descriptors)?)
    }

    /// `recv`: 0 at the end of the stream. With `peek` the bytes stay.
    pub fn recv(&mut self, fd: u32, out: &mut [u8], peek: bool) -> Result<usize, Stop> {
        if let Object::Datagram { .. } = self.tables.descriptors.get(fd)?.object {
            return self.recv_from(fd, out, peek).map(|received| received.copied);
        }
        let nonblocking = self.tables.descriptors.get(fd)?.nonblocking();
        let slot = self.open_flow_slot(fd, rights::FD_READ)?.ok_or(Errno::Connreset)?;
        let flow = &mut self.tables.flows.get_mut(slot).expect("flow_slot checks the slot").flow;
        if out.is_empty() {
            return Ok(0);
        }
        if !flow.is_readable() {
            return Err(self.would_wait(nonblocking));
        }
        let read = if peek { flow.peek(out) } else { flow.read(out) };
        self.copied(read);
        if !peek {
            self.touched.insert(slot);
        }
        Ok(read)
    }

    /// What a `recv` that waits for all of its `wanted` bytes does first: blocks until they are there, or until nothing
    /// more comes before some are read, which is when the buffer is full or the stream at its end. Datagrams, and
    /// sockets that do not wait, are left to the call itself.
    pub fn await_all(&self, fd: u32, wanted: u64) -> Result<(), Stop> {
        let descriptor = self.tables.descriptors.get(fd)?;
        if descriptor.nonblocking() || !matches!(descriptor.object, Object::Flow { .. }) {
            return Ok(());
        }
        let slot = self.open_flow_slot(fd, rights::FD_READ)?.ok_or(Errno::Connreset)?;
        let flow = &self.tables.flows.get(slot).expect("flow_slot checks the slot").flow;
        if flow.has_all(wanted, self.config.socket_buffer_bytes) { Ok(()) } else { Err(Stop::Block) }
    }

    /// `send`: how much of `bytes` was taken; at least one byte unless `bytes` is empty.
    pub fn send(&mut self, fd: u32, bytes: &[u8]) -> Result<usize, Stop> {
        if let Object::Datagram { .. } = self.tables.descriptors.get(fd)?.object {
            return self.send_to(fd, bytes, None);
        }
        let nonblocking = self.tables.descriptors.get(fd)?.nonblocking();
        let slot = self.open_flow_slot(fd, rights::FD_WRITE)?.ok_or(Errno::Pipe)?;
        let (space, twin) = (self.send_space(slot), self.twin_of(slot));
        let flow = &mut self.tables.flows.get_mut(slot).expect("flow_slot checks the slot").flow;
        if flow.finished || (twin.is_none() && !Self::is_told(flow.id)) {
            return Err(Errno::Pipe.into());
        }
        if let Some(twin) = twin {
            return self.send_own(twin, bytes, nonblocking);
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        if space == 0 {
            return Err(self.would_wait(nonblocking));
        }
        let room = space.min(self.effects.spent().room());
        if room == 0 {
            return Err(self.turn_is_full());
        }
        let taken = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        self.effects.write(flow.id, flow.sent(), &bytes[..taken]);
        let own = self.config.own_send_bytes();
        let before = flow.unsent_bytes().saturating_sub(own);
        flow.wrote(taken as u64);
        self.tables.shared_bytes += flow.unsent_bytes().saturating_sub(own) - before;
        self.copied(taken);
        Ok(taken)
    }

    /// Bytes that the flow's send buffer takes now: what is left of its own share, and what is free of the rest.
    pub(crate) fn send_space(&self, slot: u32) -> u64 {
        if let Some(twin) = self.twin_of(slot) {
            return self.own_space(twin);
        }
        let unsent = self.tables.flows.get(slot).map_or(0, |slot| slot.flow.unsent_bytes());
        let own = self.config.own_send_bytes().saturating_sub(unsent);
        let shared = self.config.shared_send_bytes().saturating_sub(self.tables.shared_bytes);
        self.config.socket_buffer_bytes.saturating_sub(unsent).min(own + shared)
    }

    /// `shutdown`.
    pub fn shutdown(&mut self, fd: u32, how: Shutdown) -> Result<(), Errno> {
        let Some(slot) = self.open_flow_slot(fd, rights::SOCK_SHUTDOWN)? else { return Err(Errno::Notconn) };
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

    pub(crate) fn finish(&mut self, slot: u32) {
        let flow = &mut self.tables.flows.get_mut(slot).expect("callers pass a live slot").flow;
        if std::mem::replace(&mut flow.finished, true) {
            return;
        }
        let (id, sent) = (flow.id, flow.sent());
        match self.twin_of(slot) {
            Some(twin) => self.finish_own(twin),
            None if Self::is_told(id) => self.effects.finish(id, sent),
            None => {}
        }
    }

    /// Whether a descriptor listens on the port: several may on one that was passed in.
    fn is_listened_on(&mut self, port: u16) -> bool {
        self.add_work(u64::from(self.tables.descriptors.len()));
        let listens = |descriptor: &Descriptor| match descriptor.object {
            Object::Socket { bound, backlog, .. } => bound == Some(port) && backlog.is_some(),
            _ => false,
        };
        self.tables.descriptors.iter().any(|(_, descriptor)| listens(descriptor))
    }

    /// Closing a socket's descriptor: the last one of a listener turns its waiting connections away, a flow ends its
    /// stream.
    pub(crate) fn close_socket(&mut self, object: &Object) {
        match object {
            Object::Socket { bound: Some(port), backlog: Some(_), .. } if !self.is_listened_on(*port) => {
                if let Some(listener) = self.tables.listeners.remove(port) {
                    let waiting: Vec<FlowId> = (listener.queue.iter())
                        .filter_map(|slot| Some(self.tables.flows.get(*slot)?.flow.id))
                        .collect();
                    waiting.into_iter().for_each(|id| self.reset_flow(id));
                }
            }
            Object::Flow { slot, stamp } if self.tables.flows.get(*slot).is_some_and(|flow| flow.stamp == *stamp) => {
                if self.give_up_call(*slot) {
                    return;
                }
                self.finish(*slot);
                let flow = &mut self.tables.flows.get_mut(*slot).expect("checked above").flow;
                flow.closed = true;
                flow.read_shut = true;
                flow.discard_received();
                self.touched.insert(*slot);
            }
            Object::Datagram { slot } => self.close_datagram(*slot),
            _ => {}
        }
    }

    /// The flow behind `fd`; none where it was reset.
    pub(crate) fn flow_slot(&self, fd: u32) -> Result<Option<u32>, Errno> {
        match &self.tables.descriptors.get(fd)?.object {
            Object::Flow { slot, stamp } => {
                Ok(self.tables.flows.get(*slot).filter(|flow| flow.stamp == *stamp).map(|_| *slot))
            }
            Object::Socket { .. } | Object::Datagram { .. } => Err(Errno::Notconn),
            _ => Err(Errno::Notsock),
        }
    }

    /// As [`Self::flow_slot`], for calls that need the connection to be there, and these rights.
    fn open_flow_slot(&self, fd: u32, needed: u64) -> Result<Option<u32>, Errno> {
        let slot = self.flow_slot(fd)?;
        self.tables.descriptors.get(fd)?.check(needed)?;
        match slot.and_then(|slot| self.tables.flows.get(slot)).map(|slot| slot.flow.link) {
            Some(Link::Connecting(_)) => Err(Errno::Notconn),
            Some(Link::Failed(errno)) => Err(errno),
            Some(Link::Open) | None => Ok(slot),
        }
    }

    /// `getsockname`.
    pub fn local_address(&self, fd: u32) -> Result<SocketAddr, Errno> {
        match &self.tables.descriptors.get(fd)?.object {
            Object::Socket { bound, v6, .. } => Ok(SocketAddr::new(any_address(*v6), bound.unwrap_or(0))),
            Object::Flow { .. } => {
                let slot = self.flow_slot(fd)?.ok_or(Errno::Notconn)?;
                let flow = &self.tables.flows.get(slot).expect("flow_slot checks the slot").flow;
                Ok(flow.local.unwrap_or_else(|| SocketAddr::new(any_address(flow.peer.is_ipv6()), flow.port)))
            }
            Object::Datagram { slot } => Ok(self.datagram_address(*slot)),
            _ => Err(Errno::Notsock),
        }
    }

    /// `getpeername`.
    pub fn peer_address(&self, fd: u32) -> Result<SocketAddr, Errno> {
        if let Object::Datagram { slot } = self.tables.descriptors.get(fd)?.object {
            return self.datagram_peer(slot).ok_or(Errno::Notconn);
        }
        let slot = self.open_flow_slot(fd, 0)?.ok_or(Errno::Notconn)?;
        Ok(self.tables.flows.get(slot).expect("flow_slot checks the slot").flow.peer)
    }

    /// What kind of socket `fd` is.
    pub fn socket_kind(&self, fd: u32) -> Result<SocketKind, Errno> {
        match &self.tables.descriptors.get(fd)?.object {
            Object::Socket { backlog: None, .. } => Ok(SocketKind::Idle),
            Object::Socket { .. } => Ok(SocketKind::Listening),
            Object::Flow { .. } => Ok(SocketKind::Connected),
            Object::Datagram { .. } => Ok(SocketKind::Datagram),
            _ => Err(Errno::Notsock),
        }
    }

    /// Whether a listener has a connection waiting.
    pub(crate) fn has_waiting(&self, port: u16) -> bool {
        self.tables.listeners.get(&port).is_some_and(|listener| !listener.queue.is_empty())
    }

    /// What a call is told that wants more done in one turn than may be: it is made again in the next, at once.
    pub(crate) fn turn_is_full(&mut self) -> Stop {
        self.wait_for_next_turn();
        Stop::Block
    }

    pub(crate) fn would_wait(&mut self, nonblocking: bool) -> Stop {
        if !nonblocking {
            return Stop::Block;
        }
        if self.tables.clock.spend().is_none() {
            return self.turn_is_full();
        }
        Stop::Errno(Errno::Again)
    }
}

pub(crate) fn any_address(v6: bool) -> IpAddr {
    if v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
}
