//! What all loops of a front end share, and what each has for itself.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::client::Clients;
use crate::handler::Handler;
use crate::live::{Current, Follower, Live};
use crate::plan::Plan;
use crate::settings::{ConnectionLimits, Proxies, Settings};
use crate::tls::Tls;
use crate::upstream::{Pool, Pools};

/// Most streams of other front ends at once; one more is closed.
const MAX_INNER: u32 = 65_536;

/// Numbers of the front end as a whole.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// Connections that are open, upgraded ones included.
    pub(crate) connections: AtomicU32,
    /// Streams of other front ends that are open.
    pub(crate) inner: AtomicU32,
    pub(crate) accepted: AtomicU64,
    /// Connections closed at once because of a limit.
    pub(crate) turned_away: AtomicU64,
    /// Answers that the front end gave itself before it was known which release they concern.
    pub(crate) refused: AtomicU64,
    /// What went wrong, by its code: answers that the front end gave itself, and connections that it ended.
    faults: Mutex<BTreeMap<&'static str, u64>>,
}

impl Gauges {
    /// Counts what is seldom: it takes a lock.
    pub(crate) fn count_fault(&self, code: &'static str) {
        *self.faults.lock().entry(code).or_default() += 1;
    }

    pub(crate) fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.faults.lock().clone()
    }
}

pub(crate) struct Shared {
    pub(crate) limits: ConnectionLimits,
    /// How long the other end of a connection of many requests may be silent.
    pub(crate) patience: Duration,
    /// Who answers other front ends that ask for no release.
    pub(crate) inner: Option<Arc<dyn Handler>>,
    /// Who says by a header whose connection each is.
    pub(crate) proxies: Option<Proxies>,
    pub(crate) current: Current,
    pub(crate) clients: Arc<Clients>,
    pub(crate) gauges: Gauges,
    /// Connections to upstreams that wait.
    pub(crate) pools: Arc<Pools>,
    pub(crate) tls: Tls,
    /// Told when an upstream begins or ceases to be well.
    pub(crate) health: watch::Sender<()>,
    /// Becomes true once.
    pub(crate) drain: watch::Sender<bool>,
    pub(crate) is_draining: AtomicBool,
    /// Listeners that may still take a connection in.
    accepting: AtomicU32,
    /// Told when the last connection has ended, and the last listener.
    emptied: Notify,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("limits", &self.limits).field("gauges", &self.gauges).finish_non_exhaustive()
    }
}

impl Shared {
    /// The listeners and the number of threads of the settings are for others.
    pub(crate) fn new(settings: Settings, plan: Plan) -> Arc<Self> {
        Arc::new(Self {
            limits: settings.connection,
            patience: settings.inner.patience,
            inner: settings.inner.owner,
            proxies: settings.proxies,
            current: Current::new(plan),
            clients: Arc::new(Clients::new()),
            gauges: Gauges::default(),
            pools: Arc::default(),
            tls: Tls::new(),
            health: watch::Sender::new(()),
            drain: watch::Sender::new(false),
            is_draining: AtomicBool::new(false),
            accepting: AtomicU32::new(0),
            emptied: Notify::new(),
        })
    }

    /// After the drain has begun: returns when nothing is open and nothing more can come.
    pub(crate) async fn wait_until_empty(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.emptied.notified());
            emptied.as_mut().enable();
            // In this order: a listener that ends has counted what it took in.
            let open = self.gauges.connections.load(SeqCst) + self.gauges.inner.load(SeqCst);
            if self.accepting.load(SeqCst) == 0 && open == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Whether connections from there begin with a header that says whose they are.
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.as_ref().is_some_and(|proxies| proxies.from.iter().any(|range| range.contains(address)))
    }

    pub(crate) fn begin_drain(&self) {
        self.is_draining.store(true, SeqCst);
        self.drain.send_replace(true);
    }
}

/// A place among all connections.
#[derive(Debug)]
pub(crate) struct Place(Arc<Shared>);

impl Place {
    /// None at the limit.
    pub(crate) fn take(shared: &Arc<Shared>) -> Option<Self> {
        if shared.gauges.connections.fetch_add(1, Relaxed) >= shared.limits.connections {
            shared.gauges.connections.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Self(Arc::clone(shared)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.gauges.connections.fetch_sub(1, Relaxed) == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}

/// A stream of another front end, until this is dropped.
#[derive(Debug)]
pub(crate) struct InnerPlace(Arc<Shared>);

impl InnerPlace {
    /// None at the limit, and when the front end drains.
    pub(crate) fn take(shared: &Arc<Shared>) -> Option<Self> {
        let place = (shared.gauges.inner.fetch_add(1, SeqCst) < MAX_INNER).then(|| Self(Arc::clone(shared)));
        if place.is_none() {
            shared.gauges.inner.fetch_sub(1, SeqCst);
        }
        place.filter(|_| !shared.is_draining.load(SeqCst))
    }
}

impl Drop for InnerPlace {
    fn drop(&mut self) {
        if self.0.gauges.inner.fetch_sub(1, SeqCst) == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}

/// A listener that takes connections in, until this is dropped.
#[derive(Debug)]
pub(crate) struct Accepting(Arc<Shared>);

impl Accepting {
    pub(crate) fn begin(shared: &Arc<Shared>) -> Self {
        shared.accepting.fetch_add(1, SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        if self.0.accepting.fetch_sub(1, SeqCst) == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}

/// What one loop has for itself.
pub(crate) struct Loop {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: Arc<Pool>,
    follower: RefCell<Follower>,
    /// Since when connections that are turned away are told in this second, and how many were.
    told: Cell<(Instant, u32)>,
}

/// How many connections that are turned away a loop tells in a second: whoever makes them is not to hold up the log.
const TOLD_PER_SECOND: u32 = 10;

impl Loop {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let follower = RefCell::new(Follower::new(&shared.current));
        let pool = Pool::beside(&shared.pools);
        Self { shared, pool, follower, told: Cell::new((Instant::now(), 0)) }
    }

    /// Whether one more connection that is turned away is told.
    pub(crate) fn may_tell(&self) -> bool {
        let (since, told) = self.told.get();
        if since.elapsed() >= Duration::from_secs(1) {
            self.told.set((Instant::now(), 1));
            return true;
        }
        self.told.set((since, told.saturating_add(1)));
        told < TOLD_PER_SECOND
    }

    /// The plan in force.
    pub(crate) fn live(&self) -> Arc<Live> {
        Arc::clone(self.follower.borrow_mut().live(&self.shared.current))
    }

    /// Lets go of each plan when it is replaced, for ever.
    pub(crate) async fn follow(&self) {
        let mut swapped = self.shared.current.subscribe();
        loop {
            self.live();
            if swapped.changed().await.is_err() {
                return;
            }
        }
    }
}
