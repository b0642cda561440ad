//! The loopback network of a program that runs by itself: its sockets reach each other, and nothing leaves the kernel.
//!
//! A service has none: whom its guests call is written in its manifest, and loopback there is the proxy's. Two ends of a
//! connection are two flows without an owner, of which nobody outside is told; what one sends is received by the other
//! in the same turn.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;

use crate::Stop;
use crate::descriptor::Object;
use crate::errno::Errno;
use crate::flow::Flow;
use crate::kernel::{FlowSlot, Kernel};
use crate::socket::EPHEMERAL_PORTS;

impl Kernel {
    /// Whether the program runs by itself.
    pub(crate) fn is_solo(&self) -> bool {
        self.solo.is_some()
    }

    /// Whether an address is one of the program's own.
    pub(crate) fn is_own(&self, address: SocketAddr) -> bool {
        self.is_solo() && address.ip().to_canonical().is_loopback()
    }

    /// The other end of a connection of the program with itself.
    pub(crate) fn twin_of(&self, slot: u32) -> Option<u32> {
        self.solo.as_ref()?.twins.get(&slot).copied()
    }

    /// Connects a socket with a listener of the program.
    pub(crate) fn connect_own(&mut self, fd: u32, address: SocketAddr) -> Result<(), Errno> {
        let bound = match self.tables.descriptors.get(fd)?.object {
            Object::Socket { bound, .. } => bound,
            _ => return Err(Errno::Isconn),
        };
        let listener = self.tables.listeners.get(&address.port()).ok_or(Errno::Connrefused)?;
        if listener.queue.len() as u32 >= listener.backlog {
            return Err(Errno::Connrefused);
        }
        let (near, far) = (self.ownerless_id(), self.ownerless_id());
        let port = bound.unwrap_or_else(|| ephemeral(near.serial.0));
        let here = SocketAddr::new(loopback(address.is_ipv6()), port);
        let near = self.insert_own(Flow::new(near, address, port), here);
        let far = self.insert_own(Flow::new(far, here, address.port()), address);
        let solo = self.solo.as_mut().expect("only a program that runs by itself has addresses of its own");
        solo.twins.insert(near, far);
        solo.twins.insert(far, near);
        self.tables.listeners.get_mut(&address.port()).expect("it was found above").queue.push_back(far);
        let stamp = self.tables.flows.get(near).expect("it was inserted above").stamp;
        self.tables.descriptors.get_mut(fd)?.object = Object::Flow { slot: near, stamp };
        Ok(())
    }

    fn insert_own(&mut self, mut flow: Flow, local: SocketAddr) -> u32 {
        flow.local = Some(local);
        self.tables.next_stamp += 1;
        let (id, stamp) = (flow.id, self.tables.next_stamp);
        let slot = self.tables.flows.insert(FlowSlot { stamp, flow });
        self.tables.by_id.insert(id, slot);
        self.tables.outward.open += 1;
        slot
    }

    /// Bytes that the other end takes now.
    pub(crate) fn own_space(&self, twin: u32) -> u64 {
        let waiting = self.tables.flows.get(twin).map_or(0, |twin| twin.flow.readable_bytes());
        self.config.socket_buffer_bytes.saturating_sub(waiting)
    }

    /// Sends to the other end.
    pub(crate) fn send_own(&mut self, twin: u32, bytes: &[u8], nonblocking: bool) -> Result<usize, Stop> {
        let (space, window) = (self.own_space(twin), self.config.socket_buffer_bytes);
        let Some(FlowSlot { flow, .. }) = self.tables.flows.get_mut(twin).filter(|twin| !twin.flow.closed) else {
            return Err(Errno::Pipe.into());
        };
        if bytes.is_empty() || flow.read_shut {
            return Ok(bytes.len());
        }
        if space == 0 {
            return Err(self.would_wait(nonblocking));
        }
        let taken = bytes.len().min(usize::try_from(space).unwrap_or(usize::MAX));
        flow.receive(Bytes::copy_from_slice(&bytes[..taken]), window);
        self.copied(taken);
        Ok(taken)
    }

    /// The other end will hear nothing more.
    pub(crate) fn finish_own(&mut self, twin: u32) {
        if let Some(slot) = self.tables.flows.get_mut(twin) {
            slot.flow.peer_finished = true;
            self.touched.insert(twin);
        }
    }

    /// An end is gone, and so is the connection.
    pub(crate) fn forget_twin(&mut self, slot: u32) {
        let Some(twin) = self.solo.as_mut().and_then(|solo| solo.twins.remove(&slot)) else { return };
        self.finish_own(twin);
        if let Some(solo) = &mut self.solo {
            solo.twins.remove(&twin);
        }
    }
}

fn ephemeral(number: u32) -> u16 {
    let (first, last) = (*EPHEMERAL_PORTS.start(), *EPHEMERAL_PORTS.end());
    first + (number % u32::from(last - first)) as u16
}

pub(crate) fn loopback(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
}
