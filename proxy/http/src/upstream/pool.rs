//! Connections to upstreams that wait for their next request, of one loop.
//!
//! The one that was used last is used first, so that those too many grow old; [`Pool::sweep`] closes what waits for
//! longer than [`MAX_IDLE`].

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;

use crate::body::Body;
use crate::plan::Endpoint;

/// Most connections that wait, for each address and loop; one more is closed.
pub(crate) const MAX_WAITING: usize = 256;
/// Longest wait: shorter than the servers' usual limits, so that few requests meet a connection that just closed.
pub(crate) const MAX_IDLE: Duration = Duration::from_secs(30);

/// Where an upstream is. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(Arc<Path>),
}

impl Address {
    /// None for a handler.
    pub(crate) fn of(endpoint: &Endpoint) -> Option<Self> {
        match endpoint {
            Endpoint::Handler(_) => None,
            Endpoint::Tcp(address) => Some(Self::Tcp(*address)),
            Endpoint::Unix(path) => Some(Self::Unix(path.as_path().into())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

struct Waiting {
    sender: SendRequest<Body>,
    since: Instant,
}

#[derive(Default)]
pub(crate) struct Pool {
    waiting: Mutex<HashMap<Address, Vec<Waiting>>>,
}

impl Pool {
    /// One that is open, as far as is known.
    pub(crate) fn take(&self, address: &Address) -> Option<SendRequest<Body>> {
        let mut waiting = self.waiting.lock();
        let list = waiting.get_mut(address)?;
        while let Some(Waiting { sender, since }) = list.pop() {
            if sender.is_ready() && since.elapsed() < MAX_IDLE {
                return Some(sender);
            }
        }
        None
    }

    fn put(&self, address: &Address, sender: SendRequest<Body>) {
        let mut waiting = self.waiting.lock();
        if !waiting.contains_key(address) {
            waiting.insert(address.clone(), Vec::new());
        }
        let list = waiting.get_mut(address).expect("it was put there");
        if list.len() < MAX_WAITING {
            list.push(Waiting { sender, since: Instant::now() });
        }
    }

    /// Closes what has waited too long or is closed already, and forgets addresses without a connection.
    pub(crate) fn sweep(&self) {
        self.waiting.lock().retain(|_, list| {
            list.retain(|waiting| !waiting.sender.is_closed() && waiting.since.elapsed() < MAX_IDLE);
            !list.is_empty()
        });
    }
}

/// Gives a connection back once its answer has been read to the end. Dropped before, the connection is closed.
pub(crate) struct GiveBack {
    pub(crate) sender: SendRequest<Body>,
    pub(crate) address: Address,
    pub(crate) pool: Weak<Pool>,
}

impl GiveBack {
    pub(crate) fn now(self) {
        // One that still sends a request whose answer came early is not ready, and is closed.
        if let (true, Some(pool)) = (self.sender.is_ready(), self.pool.upgrade()) {
            pool.put(&self.address, self.sender);
        }
    }
}
