//! What is fixed when the front end starts: where it listens, and what a connection may do.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::handler::Handler;
use crate::plan::Network;

/// Listeners, threads and the limits of connections.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where clients come in.
    pub listeners: Vec<Listen>,
    /// Loop threads, from 1 to 256. Default: as many as cores.
    pub threads: usize,
    /// What a connection may do.
    pub connection: ConnectionLimits,
    /// Other front ends of the cluster.
    pub inner: Inner,
    /// Proxies in front that say whose connection each is. None: nobody is asked.
    pub proxies: Option<Proxies>,
}

/// Proxies that begin each connection with a header, of the PROXY protocol, which names the client.
#[derive(Debug, Clone)]
pub struct Proxies {
    /// Peers that have to. What others begin with is no header, whatever it looks like.
    pub from: Vec<Network>,
    /// Reads it.
    pub read: ReadHeader,
    /// How long the whole of it may take, from 10 ms. Default 5 s.
    pub patience: Duration,
}

impl Proxies {
    /// With the default patience.
    #[must_use]
    pub const fn new(from: Vec<Network>, read: ReadHeader) -> Self {
        Self { from, read, patience: Duration::from_secs(5) }
    }
}

/// Reads a header from the first bytes of a connection; none while more of it has to come. It is asked again with all of
/// them then, until there are [`MAX_HEADER_BYTES`].
pub type ReadHeader = fn(&[u8]) -> Result<Option<ClientHeader>, HeaderError>;
/// Why bytes are no header.
pub type HeaderError = Box<dyn Error + Send + Sync>;
/// Most bytes of a header.
pub const MAX_HEADER_BYTES: usize = 4096;

/// What a proxy says of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientHeader {
    /// Its bytes; what follows is the client's.
    pub length: usize,
    /// Whose connection it is; none if it is the proxy's own.
    pub client: Option<IpAddr>,
}

/// How streams from and to other front ends are served.
#[derive(Clone)]
pub struct Inner {
    /// Answers their requests that name no release. None: refused.
    pub owner: Option<Arc<dyn Handler>>,
    /// How long the other end of such a stream, or of a connection of HTTP/2 to an upstream, may be silent before it
    /// counts as dead, from 100 ms. Default 3 s.
    pub patience: Duration,
}

impl Default for Inner {
    fn default() -> Self {
        Self { owner: None, patience: Duration::from_secs(3) }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        Self {
            listeners: Vec::new(),
            threads,
            connection: ConnectionLimits::default(),
            inner: Inner::default(),
            proxies: None,
        }
    }
}

/// Most loop threads.
pub const MAX_THREADS: usize = 256;

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Its address.
    pub at: ListenAt,
    /// Whether it speaks TLS, with the certificates of the plan. HTTP/2 is then chosen by ALPN, else by its preface.
    pub is_tls: bool,
}

/// The address of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAt {
    /// An address; port 0 takes a free one. Each loop thread has its own socket.
    Tcp(SocketAddr),
    /// A Unix socket, whose clients count as 127.0.0.1. The owner and the group may connect. The file of a dead server is
    /// replaced, and it is removed when the front end drains.
    Unix(PathBuf),
}

/// What a connection may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at once, over all loops; one more is closed. Default 65,536.
    pub connections: u32,
    /// Connections at once of one client; one more is closed. Default 16,384.
    pub client_connections: u32,
    /// Bytes of a head, from 8,192 to 1 MiB; above it 431. It is also how much is read ahead. Default 64 KiB.
    pub head_bytes: usize,
    /// Headers of a head, from 1 to 1,000; above it 431. Default 100.
    pub headers: usize,
    /// Bytes of path and query; above it 414. Default 8 KiB.
    pub uri_bytes: usize,
    /// From the first byte of a head to its last, and for the TLS handshake; then it is closed. Default 10 s.
    pub head: Duration,
    /// Between requests; then it is closed. Default 75 s.
    pub idle: Duration,
    /// How long a client may take nothing of an answer; then it is closed. Default 60 s.
    pub write_idle: Duration,
    /// Bytes that are kept for a client that is slower than the answer, from 8,192. Default 64 KiB.
    pub write_bytes: usize,
    /// Streams at once in an HTTP/2 connection; one more is refused. Default 128.
    pub streams: u32,
    /// Streams that a client may reset before they were looked at, and that may be refused for errors, before the
    /// connection ends with `ENHANCE_YOUR_CALM`. Default 20 and 256.
    pub pending_resets: usize,
    /// See [`pending_resets`](Self::pending_resets).
    pub error_resets: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 65_536,
            client_connections: 16_384,
            head_bytes: 64 * 1024,
            headers: 100,
            uri_bytes: 8 * 1024,
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            write_idle: Duration::from_secs(60),
            write_bytes: 64 * 1024,
            streams: 128,
            pending_resets: 20,
            error_resets: 256,
        }
    }
}
