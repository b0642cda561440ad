//! The net seam: listeners, streams, datagrams and look-ups as the front end uses them. Real sockets here, a simulated network in
//! tests.
//!
//! Contract: everything is non-blocking. A `poll_` call that returns `Pending` wakes the task when it is worth another
//! try; readiness may be spurious. `try_write` returns `WouldBlock` when nothing fits. Dropping a stream closes it.

mod datagram;
mod lookup;
mod options;
mod socket;
mod unix;

use std::future::{Future, ready};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

pub use options::{KEEPALIVE, SocketOptions};
pub use socket::Sockets;

/// What is there later. Dropping it gives it up.
pub type Later<T> = Pin<Box<dyn Future<Output = io::Result<T>>>>;

/// Makes listeners and connections. What a network does not have fails as [`ErrorKind::Unsupported`].
pub trait Net {
    /// Listens on an address; port 0 takes any free one.
    fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>>;

    /// As [`Net::bind`], with options; a network without them takes none.
    fn bind_with(&self, addr: SocketAddr, _options: SocketOptions) -> io::Result<Box<dyn Listener>> {
        self.bind(addr)
    }

    /// Listens at a path for clients on the same machine, whose address is shown as 127.0.0.1 with port 0. The file of
    /// a dead server is replaced; it goes away with the listener.
    fn bind_unix(&self, _path: &Path) -> io::Result<Box<dyn Listener>> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Opens one connection, tried once. It has no time limit of its own.
    fn connect(&self, _to: SocketAddr) -> Later<Box<dyn Stream>> {
        unsupported()
    }

    /// A socket that hears and reaches everybody; port 0 takes any free one. One at an IPv6 address hears IPv4 as well
    /// only if `dual_stack` says so.
    fn bind_datagrams(&self, _addr: SocketAddr, _dual_stack: bool) -> io::Result<Rc<dyn Datagrams>> {
        Err(ErrorKind::Unsupported.into())
    }

    /// A socket that hears and reaches one peer alone.
    fn connect_datagrams(&self, _peer: SocketAddr) -> io::Result<Rc<dyn Datagrams>> {
        Err(ErrorKind::Unsupported.into())
    }

    /// The addresses of a host, best first. An error is [`ErrorKind::NotFound`] when the name does not exist or has no
    /// address, else the name cannot be looked up now. It has no time limit of its own.
    fn resolve(&self, _name: &str) -> Later<Vec<IpAddr>> {
        unsupported()
    }
}

fn unsupported<T: 'static>() -> Later<T> {
    Box::pin(ready(Err(ErrorKind::Unsupported.into())))
}

impl<N: Net + ?Sized> Net for Arc<N> {
    fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        (**self).bind(addr)
    }

    fn bind_with(&self, addr: SocketAddr, options: SocketOptions) -> io::Result<Box<dyn Listener>> {
        (**self).bind_with(addr, options)
    }

    fn bind_unix(&self, path: &Path) -> io::Result<Box<dyn Listener>> {
        (**self).bind_unix(path)
    }

    fn connect(&self, to: SocketAddr) -> Later<Box<dyn Stream>> {
        (**self).connect(to)
    }

    fn bind_datagrams(&self, addr: SocketAddr, dual_stack: bool) -> io::Result<Rc<dyn Datagrams>> {
        (**self).bind_datagrams(addr, dual_stack)
    }

    fn connect_datagrams(&self, peer: SocketAddr) -> io::Result<Rc<dyn Datagrams>> {
        (**self).connect_datagrams(peer)
    }

    fn resolve(&self, name: &str) -> Later<Vec<IpAddr>> {
        (**self).resolve(name)
    }
}

/// Accepts connections.
pub trait Listener {
    /// Where it listens.
    fn local_addr(&self) -> io::Result<SocketAddr>;
    /// The next connection and its client's address.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>>;
}

/// One connection.
pub trait Stream {
    /// Its own address.
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(ErrorKind::Unsupported.into())
    }
    /// Reads what is there into `buffer`; 0 means that the client will send nothing more.
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Whether a write is worth a try.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Writes what fits.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Tells the client that nothing more will come.
    fn shutdown_write(&self) -> io::Result<()>;
    /// Closing it sends a reset and throws away what waits to be sent.
    fn reset_on_close(&self) -> io::Result<()>;
}

/// A socket for datagrams.
pub trait Datagrams {
    /// Its own address.
    fn local_addr(&self) -> io::Result<SocketAddr>;
    /// The next datagram, cut to the buffer's length: its length, and who sent it. An error may be about one that was
    /// sent: the next call goes on.
    fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>>;
    /// Sends one to an address, or to the one peer that the socket reaches. `WouldBlock` when there is no room now.
    fn try_send(&self, bytes: &[u8], to: Option<SocketAddr>) -> io::Result<()>;
}
