//! Datagram sockets, and the associations by which datagrams come and go.
//!
//! An association is a peer as one proxy knows it: a client's is made by its first datagram, one that the guest begins
//! by sending to an address that has none, which needs a rule of the manifest. Nothing is kept for a peer: a datagram
//! that does not fit into its socket's queue is dropped, on every replica alike, and so is what waits nowhere.
//!
//! When the guest ends a client's association, datagrams with its id may be on their way. They are dropped until the
//! proxy answers the reset with one of its own, which follows them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use bytes::Bytes;
use refrain_wire::outward::MAX_DATAGRAM_BYTES;
use refrain_wire::{EffectKind, FlowId, Protocol, ProxyHeader, Target};
use serde::{Deserialize, Serialize};

use crate::Stop;
use crate::descriptor::{Descriptor, Object};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::loopback::loopback;
use crate::rights;
use crate::slots::Slots;
use crate::socket::{EPHEMERAL_PORTS, any_address};

/// What a datagram takes in a queue besides its bytes.
const DATAGRAM_OVERHEAD_BYTES: u64 = 64;
/// What looking at one entry of a table costs, in the kernel's units of work.
const LOOK_WORK: u64 = 8;

/// All datagram sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Datagrams {
    sockets: Slots<Socket>,
    /// What waits in all queues.
    queued_bytes: u64,
    by_port: BTreeMap<u16, u32>,
    associations: BTreeMap<FlowId, Association>,
    /// Associations of clients that the guest ended, until their proxies say that nothing follows on them: what is on
    /// its way makes no new ones.
    ended: BTreeSet<FlowId>,
}

/// One socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Socket {
    v6: bool,
    bound: Option<u16>,
    /// Whom `connect` named: nobody else's datagrams are taken.
    peer: Option<SocketAddr>,
    queue: VecDeque<(SocketAddr, Bytes)>,
    queued_bytes: u64,
    /// By which association each peer is reached: that which it used last, and when that ends, its newest.
    peers: BTreeMap<SocketAddr, FlowId>,
    error: Option<Errno>,
}

/// One peer of a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Association {
    slot: u32,
    peer: SocketAddr,
    /// Datagrams sent so far.
    sent: u64,
}

/// What a receiving call took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Bytes that were copied.
    pub copied: usize,
    /// Bytes of the whole datagram; what was not copied is gone.
    pub length: usize,
    /// Who sent it.
    pub peer: SocketAddr,
}

impl Datagrams {
    /// The ports that are bound.
    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> + Clone {
        self.by_port.keys().copied()
    }

    /// The associations.
    pub(crate) fn ids(&self) -> impl Iterator<Item = FlowId> {
        self.associations.keys().copied()
    }

    /// Whether this is one of them.
    pub(crate) fn has(&self, id: FlowId) -> bool {
        self.associations.contains_key(&id)
    }

    fn socket(&mut self, slot: u32) -> &mut Socket {
        self.sockets.get_mut(slot).expect("a descriptor's slot is there as long as it is open")
    }

    fn known(&self, slot: u32) -> &Socket {
        self.sockets.get(slot).expect("a descriptor's slot is there as long as it is open")
    }

    /// Puts a datagram into a socket's queue, if it is wanted and fits there and into what all may hold.
    fn take_in(&mut self, slot: u32, peer: SocketAddr, bytes: &Bytes, (one, all): (u64, u64)) {
        let takes = takes(bytes);
        let fits_all = self.queued_bytes + takes <= all;
        let socket = self.socket(slot);
        let wanted = socket.peer.is_none_or(|wanted| wanted == peer);
        if wanted && fits_all && socket.queued_bytes + takes <= one {
            socket.queued_bytes += takes;
            // A copy, so that the queue does not keep the entry in memory.
            socket.queue.push_back((peer, Bytes::copy_from_slice(bytes)));
            self.queued_bytes += takes;
        }
    }

    /// Peers lost the associations by which they were reached: they are reached by the newest other ones that they have
    /// with these sockets.
    fn reach_again(&mut self, lost: &BTreeSet<(u32, SocketAddr)>) {
        let reached: usize = self.sockets.iter().map(|(_, socket)| socket.peers.len()).sum();
        // Peers with several are rare: mostly there is nothing to look for.
        if lost.is_empty() || reached == self.associations.len() {
            return;
        }
        for (id, Association { slot, peer, .. }) in &self.associations {
            if lost.contains(&(*slot, *peer))
                && let Some(socket) = self.sockets.get_mut(*slot)
            {
                socket.peers.insert(*peer, *id);
            }
        }
    }

    fn free_port(&self) -> Result<u16, Errno> {
        EPHEMERAL_PORTS.into_iter().find(|port| !self.by_port.contains_key(port)).ok_or(Errno::Addrinuse)
    }
}

/// What a datagram takes in a queue.
fn takes(bytes: &Bytes) -> u64 {
    bytes.len() as u64 + DATAGRAM_OVERHEAD_BYTES
}

/// The address as records carry it: without the flow label and the scope that one of IPv6 may have.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

impl Kernel {
    /// Flows and associations of clients, which count against one limit. Those that the guest opened have their own.
    pub(crate) fn clients(&self) -> u32 {
        let datagrams = &self.tables.datagrams;
        let associations = datagrams.associations.len() + datagrams.ended.len();
        self.tables.flows.len() + associations as u32 - self.tables.outward.open
    }

    pub(crate) fn datagram_socket(&mut self, v6: bool) -> Result<u32, Errno> {
        self.tables.descriptors.has_room(self.config.max_descriptors)?;
        let socket = Socket {
            v6,
            bound: None,
            peer: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            peers: BTreeMap::new(),
            error: None,
        };
        let slot = self.tables.datagrams.sockets.insert(socket);
        self.tables.descriptors.open(Descriptor::new(Object::Datagram { slot }), self.config.max_descriptors)
    }

    pub(crate) fn bind_datagram(&mut self, slot: u32, port: u16) -> Result<(), Errno> {
        let datagrams = &mut self.tables.datagrams;
        if datagrams.known(slot).bound.is_some() {
            return Err(Errno::Inval);
        }
        let looked_at = if port == 0 { datagrams.by_port.len() } else { 0 };
        self.add_work(LOOK_WORK * looked_at as u64);
        let datagrams = &mut self.tables.datagrams;
        let port = if port == 0 { datagrams.free_port()? } else { port };
        if datagrams.by_port.contains_key(&port) {
            return Err(Errno::Addrinuse);
        }
        datagrams.by_port.insert(port, slot);
        datagrams.socket(slot).bound = Some(port);
        Ok(())
    }

    pub(crate) fn connect_datagram(&mut self, slot: u32, address: SocketAddr) -> Result<(), Errno> {
        let address = plain(address);
        self.permit_peer(slot, address)?;
        let waiting = self.tables.datagrams.known(slot).queue.len();
        self.add_work(LOOK_WORK * waiting as u64);
        let datagrams = &mut self.tables.datagrams;
        let socket = datagrams.socket(slot);
        socket.peer = Some(address);
        // As for a socket that is connected after datagrams of others came.
        socket.queue.retain(|(peer, _)| *peer == address);
        let left = socket.queue.iter().map(|(_, bytes)| takes(bytes)).sum();
        let before = std::mem::replace(&mut socket.queued_bytes, left);
        datagrams.queued_bytes -= before - left;
        Ok(())
    }

    /// Undoes a `connect`: datagrams of everybody are taken again.
    pub fn disconnect_datagrams(&mut self, fd: u32) -> Result<(), Errno> {
        let Object::Datagram { slot } = self.tables.descriptors.get(fd)?.object else { return Err(Errno::Notsock) };
        self.tables.datagrams.socket(slot).peer = None;
        Ok(())
    }

    /// Whether the guest may send to an address: to whoever sent to it, or by a rule.
    fn permit_peer(&mut self, slot: u32, address: SocketAddr) -> Result<(), Errno> {
        if self.is_own(address) || self.tables.datagrams.known(slot).peers.contains_key(&address) {
            return Ok(());
        }
        self.permit(address, Protocol::Udp).map(drop)
    }

    /// `sendto`; without an address to whom the socket was connected.
    pub fn send_to(&mut self, fd: u32, bytes: &[u8], to: Option<SocketAddr>) -> Result<usize, Stop> {
        let descriptor = self.tables.descriptors.get(fd)?;
        let slot = match descriptor.object {
            Object::Datagram { slot } => slot,
            // A stream has its peer already.
            Object::Flow { .. } => return self.send(fd, bytes),
            Object::Socket { .. } => return Err(Errno::Notconn.into()),
            _ => return Err(Errno::Notsock.into()),
        };
        descriptor.check(rights::FD_WRITE)?;
        let socket = self.tables.datagrams.socket(slot);
        if let Some(errno) = socket.error.take() {
            return Err(errno.into());
        }
        let peer = plain(to.or(socket.peer).ok_or(Errno::Destaddrreq)?);
        if bytes.len() > MAX_DATAGRAM_BYTES {
            return Err(Errno::Msgsize.into());
        }
        if self.is_own(peer) {
            return Ok(self.send_to_own(slot, peer, bytes)?);
        }
        if !self.effects.spent().fits_datagram(bytes.len()) {
            return Err(self.turn_is_full());
        }
        let id = match self.tables.datagrams.known(slot).peers.get(&peer) {
            Some(id) => *id,
            None => self.associate(slot, peer)?,
        };
        let association = self.tables.datagrams.associations.get_mut(&id).expect("every peer has its association");
        let number = association.sent;
        association.sent += 1;
        self.effects.datagram(id, number, bytes);
        self.copied(bytes.len());
        Ok(bytes.len())
    }

    /// Sends to a socket of the program itself. Where none is, nobody gets it, and a socket that is connected there is
    /// told so by its next call, as on systems.
    fn send_to_own(&mut self, slot: u32, peer: SocketAddr, bytes: &[u8]) -> Result<usize, Errno> {
        if self.tables.datagrams.known(slot).bound.is_none() {
            self.bind_datagram(slot, 0)?;
        }
        let own = self.tables.datagrams.known(slot).bound.expect("it was bound above");
        let from = SocketAddr::new(loopback(peer.is_ipv6()), own);
        let limits = (self.config.socket_buffer_bytes, self.config.socket_buffers_bytes);
        match self.tables.datagrams.by_port.get(&peer.port()).copied() {
            Some(to) => self.tables.datagrams.take_in(to, from, &Bytes::copy_from_slice(bytes), limits),
            None => {
                let socket = self.tables.datagrams.socket(slot);
                socket.error = (socket.peer == Some(peer)).then_some(Errno::Connrefused);
            }
        }
        self.copied(bytes.len());
        Ok(bytes.len())
    }

    /// Begins an association with an address outside.
    fn associate(&mut self, slot: u32, peer: SocketAddr) -> Result<FlowId, Stop> {
        if peer.port() == 0 {
            return Err(Errno::Addrnotavail.into());
        }
        self.permit(peer, Protocol::Udp)?;
        self.has_room_for_call()?;
        let id = match self.next_call() {
            Some(id) => id,
            None if self.tables.outward.is_opening() => return Err(self.turn_is_full()),
            // Datagrams wait for nobody else.
            None => return Err(Errno::Netunreach.into()),
        };
        if self.tables.datagrams.known(slot).bound.is_none() {
            self.bind_datagram(slot, 0)?;
        }
        self.effects.begin_call();
        self.tables.outward.open += 1;
        self.tables.datagrams.socket(slot).peers.insert(peer, id);
        self.tables.datagrams.associations.insert(id, Association { slot, peer, sent: 0 });
        let target = Target { protocol: Protocol::Udp, header: ProxyHeader::None, address: peer };
        self.effects.call(id, EffectKind::Connect, target.encode());
        Ok(id)
    }

    /// `recvfrom`. With `peek` the datagram stays.
    pub fn recv_from(&mut self, fd: u32, out: &mut [u8], peek: bool) -> Result<Received, Stop> {
        let descriptor = self.tables.descriptors.get(fd)?;
        let nonblocking = descriptor.nonblocking();
        let slot = match descriptor.object {
            Object::Datagram { slot } => slot,
            Object::Flow { .. } => {
                let peer = self.peer_address(fd)?;
                let copied = self.recv(fd, out, peek)?;
                return Ok(Received { copied, length: copied, peer });
            }
            Object::Socket { .. } => return Err(Errno::Notconn.into()),
            _ => return Err(Errno::Notsock.into()),
        };
        descriptor.check(rights::FD_READ)?;
        let socket = self.tables.datagrams.socket(slot);
        if let Some(errno) = socket.error.take() {
            return Err(errno.into());
        }
        let Some((peer, bytes)) = socket.queue.front() else { return Err(self.would_wait(nonblocking)) };
        let copied = bytes.len().min(out.len());
        out[..copied].copy_from_slice(&bytes[..copied]);
        let received = Received { copied, length: bytes.len(), peer: *peer };
        if !peek {
            let takes = takes(bytes);
            socket.queued_bytes -= takes;
            socket.queue.pop_front();
            self.tables.datagrams.queued_bytes -= takes;
        }
        self.copied(copied);
        Ok(received)
    }

    /// Bytes of the datagram that a read would take, if there is one; 1 for one that is empty, or for an error.
    pub(crate) fn waiting_datagram(&self, slot: u32) -> Option<u64> {
        let socket = self.tables.datagrams.known(slot);
        let waiting = socket.queue.front().map(|(_, bytes)| (bytes.len() as u64).max(1));
        if socket.error.is_some() { Some(1) } else { waiting }
    }

    pub(crate) fn datagram_address(&self, slot: u32) -> SocketAddr {
        let socket = self.tables.datagrams.known(slot);
        SocketAddr::new(any_address(socket.v6), socket.bound.unwrap_or(0))
    }

    pub(crate) fn datagram_peer(&self, slot: u32) -> Option<SocketAddr> {
        self.tables.datagrams.known(slot).peer
    }

    pub(crate) fn take_datagram_error(&mut self, slot: u32) -> Option<Errno> {
        self.tables.datagrams.socket(slot).error.take()
    }

    /// A datagram came.
    pub(crate) fn datagram_received(&mut self, id: FlowId, port: u16, peer: SocketAddr, bytes: Bytes) {
        let (slot, peer) = match self.tables.datagrams.associations.get(&id) {
            Some(association) => (association.slot, association.peer),
            None => match self.meet_peer(id, port, peer) {
                Some(slot) => (slot, peer),
                None => return,
            },
        };
        // A peer that is heard at several sockets of the proxy is answered by the one that it used last.
        self.tables.datagrams.socket(slot).peers.insert(peer, id);
        let limits = (self.config.socket_buffer_bytes, self.config.socket_buffers_bytes);
        self.tables.datagrams.take_in(slot, peer, &bytes, limits);
    }

    /// A client's first datagram makes its association, if somebody is there for it and there is room.
    fn meet_peer(&mut self, id: FlowId, port: u16, peer: SocketAddr) -> Option<u32> {
        let slot = *self.tables.datagrams.by_port.get(&port)?;
        let is_over = id.is_outward() || self.tables.datagrams.ended.contains(&id);
        if is_over || self.clients() >= self.config.max_flows {
            return None;
        }
        self.tables.datagrams.associations.insert(id, Association { slot, peer, sent: 0 });
        self.tables.datagrams.socket(slot).peers.insert(peer, id);
        Some(slot)
    }

    /// The outside gave associations up: what they brought stays to be read, and nothing follows.
    pub(crate) fn end_associations(&mut self, ids: RangeInclusive<FlowId>) {
        let datagrams = &mut self.tables.datagrams;
        let given_up: Vec<FlowId> = datagrams.associations.range(ids.clone()).map(|(id, _)| *id).collect();
        let settled: Vec<FlowId> = datagrams.ended.range(ids).copied().collect();
        settled.iter().for_each(|id| _ = datagrams.ended.remove(id));
        self.forget_associations(&given_up);
        given_up.iter().for_each(|id| self.effects.forget(*id));
    }

    /// The guest ended associations: their proxies are told.
    fn give_up_associations(&mut self, ids: &[FlowId]) {
        self.forget_associations(ids);
        for id in ids {
            self.effects.reset(*id);
            if !id.is_outward() {
                self.tables.datagrams.ended.insert(*id);
            }
        }
    }

    /// Proxies end theirs by the halt of the group and say nothing of it.
    pub(crate) fn forget_ended_associations(&mut self) {
        self.tables.datagrams.ended.clear();
    }

    /// This kernel takes over from one whose associations were reset.
    pub(crate) fn inherit_ended_associations(&mut self, former: &mut Self) {
        self.tables.datagrams.ended.append(&mut former.tables.datagrams.ended);
    }

    fn forget_associations(&mut self, ids: &[FlowId]) {
        let mut lost = BTreeSet::new();
        for id in ids {
            let datagrams = &mut self.tables.datagrams;
            let Some(Association { slot, peer, .. }) = datagrams.associations.remove(id) else { continue };
            if let Some(socket) = datagrams.sockets.get_mut(slot)
                && socket.peers.get(&peer) == Some(id)
            {
                socket.peers.remove(&peer);
                lost.insert((slot, peer));
            }
            self.outward_gone(*id);
        }
        self.tables.datagrams.reach_again(&lost);
    }

    /// The owner could not begin an association: the socket's next call says so.
    pub(crate) fn fail_association(&mut self, id: FlowId, errno: Errno) {
        if let Some(slot) = self.tables.datagrams.associations.get(&id).map(|association| association.slot) {
            self.forget_associations(&[id]);
            self.tables.datagrams.socket(slot).error = Some(errno);
        }
    }

    /// Ends every association, and tells the proxies.
    pub(crate) fn reset_associations(&mut self) {
        let all: Vec<FlowId> = self.tables.datagrams.ids().collect();
        self.give_up_associations(&all);
    }

    pub(crate) fn close_datagram(&mut self, slot: u32) {
        let Some(socket) = self.tables.datagrams.sockets.remove(slot) else { return };
        self.tables.datagrams.queued_bytes -= socket.queued_bytes;
        if let Some(port) = socket.bound {
            self.tables.datagrams.by_port.remove(&port);
        }
        let of_socket = |(id, association): (&FlowId, &Association)| (association.slot == slot).then_some(*id);
        let ended: Vec<FlowId> = self.tables.datagrams.associations.iter().filter_map(of_socket).collect();
        self.add_work(LOOK_WORK * self.tables.datagrams.associations.len() as u64);
        self.give_up_associations(&ended);
    }

    /// The guest ended: its sockets are gone, and their associations were reset before.
    pub(crate) fn close_all_datagrams(&mut self) {
        let ended = std::mem::take(&mut self.tables.datagrams.ended);
        self.tables.datagrams = Datagrams { ended, ..Datagrams::default() };
    }
}
