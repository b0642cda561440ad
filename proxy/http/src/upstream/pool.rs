//! Connections of HTTP/1.1 to upstreams that wait for their next request, of one loop.
//!
//! The one that was used last is used first, so that those too many grow old; [`Pool::sweep`] closes what waits for
//! longer than [`MAX_IDLE`].

use std::collections::HashMap;
use std::sync::Weak;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;

use super::Address;
use super::many::{Many, Stream};
use crate::body::Body;

/// Most connections that wait, for each address and loop; one more is closed.
pub(crate) const MAX_WAITING: usize = 256;
/// Longest wait: shorter than the servers' usual limits, so that few requests meet a connection that just closed.
pub(crate) const MAX_IDLE: Duration = Duration::from_secs(30);

struct Waiting {
    sender: SendRequest<Body>,
    since: Instant,
}

#[derive(Default)]
pub(crate) struct Pool {
    waiting: Mutex<HashMap<Address, Vec<Waiting>>>,
    pub(super) many: Many,
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
        self.many.sweep();
    }
}

/// Gives a connection back once its answer has been read to the end. Dropped before, a connection of one request at a
/// time is closed, and a place on one of many is free.
pub(crate) enum GiveBack {
    One { sender: SendRequest<Body>, address: Address, pool: Weak<Pool> },
    Many { _stream: Stream },
}

impl GiveBack {
    pub(crate) fn now(self) {
        let Self::One { sender, address, pool } = self else { return };
        // One that still sends a request whose answer came early is not ready, and is closed.
        if let (true, Some(pool)) = (sender.is_ready(), pool.upgrade()) {
            pool.put(&address, sender);
        }
    }
}
