//! Connections of HTTP/1.1 to upstreams that wait for their next request, of one loop.
//!
//! The one that was used last is used first, so that those too many grow old; [`Pool::sweep`] closes what waits for
//! longer than [`MAX_IDLE`].
//!
//! To an upstream they are connections like any other. So that they keep nobody out, at most one of [`IDLE_SHARE`] of
//! those that it takes waits, and a loop that would open one too many takes one that waits at another loop.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;

use super::Address;
use super::many::{Many, Stream};
use crate::balance::{UpstreamLoad, take_place};
use crate::body::Body;

/// Most connections that wait, for each address and loop; one more is closed.
pub(crate) const MAX_WAITING: usize = 256;
/// Longest wait: shorter than the servers' usual limits, so that few requests meet a connection that just closed.
pub(crate) const MAX_IDLE: Duration = Duration::from_secs(30);

/// Of the connections that an upstream takes at once one in so many may wait, and one in any case.
const IDLE_SHARE: u32 = 4;

struct Waiting {
    sender: SendRequest<Body>,
    since: Instant,
    _idle: Idle,
}

/// Counts a connection that waits as long as it lives.
struct Idle(Arc<UpstreamLoad>);

impl Idle {
    /// Unless too many wait already at an upstream that takes so many.
    fn count(upstream: &Arc<UpstreamLoad>, limit: u32) -> Option<Self> {
        take_place(&upstream.idle, (limit / IDLE_SHARE).max(1)).then(|| Self(Arc::clone(upstream)))
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.0.idle.fetch_sub(1, Relaxed);
    }
}

/// The pools of all loops.
#[derive(Default)]
pub(crate) struct Pools(Mutex<Vec<Weak<Pool>>>);

#[derive(Default)]
pub(crate) struct Pool {
    waiting: Mutex<HashMap<Address, Vec<Waiting>>>,
    others: Arc<Pools>,
    pub(super) many: Many,
}

impl Pool {
    /// One of another loop.
    pub(crate) fn beside(others: &Arc<Pools>) -> Arc<Self> {
        let pool = Arc::new(Self { others: Arc::clone(others), ..Self::default() });
        others.0.lock().push(Arc::downgrade(&pool));
        pool
    }

    /// One that is open, as far as is known, of another loop, if this upstream, which takes so many, would else have too
    /// many: the request under way has been counted.
    pub(super) fn take_of_others(
        &self,
        address: &Address,
        upstream: &UpstreamLoad,
        limit: u32,
    ) -> Option<SendRequest<Body>> {
        let connections = upstream.outstanding.load(Relaxed).saturating_add(upstream.idle.load(Relaxed));
        if connections <= limit {
            return None;
        }
        let mut others = self.others.0.lock();
        others.retain(|other| other.strong_count() > 0);
        others.iter().filter_map(Weak::upgrade).find_map(|other| other.take(address))
    }

    /// One that is open, as far as is known.
    pub(crate) fn take(&self, address: &Address) -> Option<SendRequest<Body>> {
        let mut waiting = self.waiting.lock();
        let list = waiting.get_mut(address)?;
        while let Some(Waiting { sender, since, .. }) = list.pop() {
            if sender.is_ready() && since.elapsed() < MAX_IDLE {
                return Some(sender);
            }
        }
        None
    }

    fn put(&self, address: &Address, sender: SendRequest<Body>, idle: Idle) {
        let mut waiting = self.waiting.lock();
        if !waiting.contains_key(address) {
            waiting.insert(address.clone(), Vec::new());
        }
        let list = waiting.get_mut(address).expect("it was put there");
        if list.len() < MAX_WAITING {
            list.push(Waiting { sender, since: Instant::now(), _idle: idle });
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
    /// `limit` is how many connections the upstream takes.
    One {
        sender: SendRequest<Body>,
        address: Address,
        pool: Weak<Pool>,
        upstream: Arc<UpstreamLoad>,
        limit: u32,
    },
    Many {
        _stream: Stream,
    },
}

impl GiveBack {
    pub(crate) fn now(self) {
        let Self::One { sender, address, pool, upstream, limit } = self else { return };
        // One that still sends a request whose answer came early is not ready, and is closed.
        if let (true, Some(pool)) = (sender.is_ready(), pool.upgrade())
            && let Some(idle) = Idle::count(&upstream, limit)
        {
            pool.put(&address, sender, idle);
        }
    }
}
