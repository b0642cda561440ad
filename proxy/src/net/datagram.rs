//! Sockets for datagrams.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use super::Datagrams;

/// What the system keeps of datagrams until they are read, if it allows so much.
const RECEIVE_BUFFER_BYTES: usize = 1024 * 1024;

/// A socket at an address, that hears everybody.
pub(super) fn bind(addr: SocketAddr, dual_stack: bool) -> io::Result<Rc<dyn Datagrams>> {
    let socket = new(addr)?;
    if addr.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    socket.bind(&addr.into())?;
    Ok(Rc::new(UdpSocket::from_std(socket.into())?))
}

/// A socket at any address, that hears and reaches `peer` alone.
pub(super) fn connect(peer: SocketAddr) -> io::Result<Rc<dyn Datagrams>> {
    let socket = new(peer)?;
    let any = match peer {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    socket.bind(&any.into())?;
    socket.connect(&peer.into())?;
    Ok(Rc::new(UdpSocket::from_std(socket.into())?))
}

fn new(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // A smaller buffer drops more of what comes at once, which datagrams may be at any time.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    Ok(socket)
}

impl Datagrams for UdpSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buffer = ReadBuf::new(buffer);
        let peer = ready!(self.poll_recv_from(cx, &mut buffer))?;
        Poll::Ready(Ok((buffer.filled().len(), peer)))
    }

    /// Straight to the socket: what tokio knows of a new socket's readiness comes only with the next turn of the loop.
    fn try_send(&self, bytes: &[u8], to: Option<SocketAddr>) -> io::Result<()> {
        let socket = SockRef::from(self);
        match to {
            Some(to) => socket.send_to(bytes, &to.into()),
            None => socket.send(bytes),
        }
        .map(drop)
    }
}
