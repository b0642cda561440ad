//! The net seam: listeners and streams as the front end uses them. Real sockets here, a simulated network in tests.
//!
//! Contract: everything is non-blocking. A `poll_` call that returns `Pending` wakes the task when it is worth another
//! try; readiness may be spurious. `try_write` returns `WouldBlock` when nothing fits. Dropping a stream closes it.

mod socket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

pub use socket::Sockets;

/// Makes listeners.
pub trait Net {
    /// Listens on an address; port 0 takes any free one.
    fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>>;
}

impl<N: Net + ?Sized> Net for Arc<N> {
    fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        (**self).bind(addr)
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
