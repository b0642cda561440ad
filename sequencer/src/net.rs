//! The net seam between nodes: streams that are asynchronous and boxed. Real TCP here ([`Tcp`]), a simulated network in
//! tests.
//!
//! Contract: bytes arrive in order or not at all; a stream that is dropped is closed. Nothing here waits for ever
//! but reading: who opens a stream bounds the time himself.
//!
//! [`greeting`] begins a stream, [`framed`] reads and writes its frames. Proxies have a seam of their own for
//! clients.

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

pub mod framed;
pub mod greeting;
mod tcp;

pub use tcp::Tcp;

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One connection.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One connection of whatever kind.
pub type BoxStream = Box<dyn Stream>;

/// Makes streams and listeners.
pub trait Net: Send + Sync + 'static {
    /// Opens a stream to an address, `host:port`.
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxStream>>;
    /// Listens on an address; port 0 takes any free one.
    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;
}

/// Accepts streams.
pub trait Listener: Send {
    /// Where it listens.
    ///
    /// # Errors
    /// When the system cannot tell.
    fn local_address(&self) -> io::Result<String>;
    /// The next stream, and the address of whoever opened it. Dropping the future loses no stream.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, String)>>;
}
