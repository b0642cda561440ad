//! The host: what all services of a process share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::background::Background;
use crate::cache::Cache;
use crate::component::{self, LoadError};
use crate::limits::Limits;
use crate::memory::{Budget, half_of_the_machine};
use crate::outgoing::{Outgoing, Resolver};
use crate::permissions::Permissions;
use crate::platform::Platforms;
use crate::refusal::Refusal;
use crate::service::{self, Service};
use crate::slots::{Lease, Part, Slots};
use crate::stdio::LogSink;
use crate::ticker::Ticker;

/// How a host is set up.
#[derive(Clone)]
pub struct Settings {
    /// Where compiled code is kept. None compiles at every start. Whoever can write there can run code in this process.
    pub cache: Option<PathBuf>,
    /// Slots for instances of all services together: an instance takes one for every 8 core instances, every memory and
    /// every 4 tables of its component, so that usual ones take one. Of 128 and more an eighth is kept for services that
    /// find the others taken, at most 16 for each. Each reserves 4 GiB of addresses, twice; default 2048, between 1 and
    /// 8192.
    pub slots: u32,
    /// Bytes that the memories of all instances together may grow by, beyond what they begin with; one service may have
    /// seven eighths of it. What does not fit is refused as `memory.grow` refuses. Default: half of the memory of the
    /// machine, or of what the process's control group may have.
    pub memory_bytes: u64,
    /// Threads for guests that run long without a pause. Default: one per core.
    pub background_threads: usize,
    /// Takes the lines that guests log. None drops them.
    pub log: Option<LogSink>,
    /// Finds the addresses of upstreams. None asks the system.
    pub resolver: Option<Resolver>,
    /// A PEM file of the certificate authorities that upstreams are trusted by. None takes the machine's.
    pub authorities: Option<PathBuf>,
    /// Where the numbers of [`Reuse`](crate::Reuse) come from. None: a different one in every process.
    pub seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            cache: None,
            slots: 2048,
            memory_bytes: half_of_the_machine(),
            background_threads: cores,
            log: None,
            resolver: None,
            authorities: None,
            seed: None,
        }
    }
}

/// Why a host could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A setting is out of its bounds.
    #[error("slots of the instance pool: {slots} is not between 1 and {most}")]
    Slots {
        /// The setting.
        slots: u32,
        /// Its upper bound.
        most: u32,
    },
    /// A thread could not be started.
    #[error("a thread of the host could not be started")]
    Thread(#[source] std::io::Error),
}

/// Runs stateless components. Cheap to clone; the last clone ends the host's threads.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

/// What services share.
pub(crate) struct Inner {
    pub(crate) platforms: Arc<Platforms>,
    pub(crate) cache: Cache,
    pub(crate) ticker: Ticker,
    pub(crate) background: Background,
    pub(crate) outgoing: Outgoing,
    pub(crate) memory: Budget,
    pub(crate) log: Option<LogSink>,
    pub(crate) slots: Slots,
    /// Services that may have idle instances.
    services: Mutex<Vec<Weak<service::Inner>>>,
    random: AtomicU64,
}

impl Host {
    /// The most slots that a host may have: twice as many times 4 GiB is half of what a process can address.
    pub const MOST_SLOTS: u32 = 8192;

    /// Starts the host's threads. wasmtime is set up when the first component is loaded.
    ///
    /// # Errors
    /// When a setting is out of bounds, or there is no thread.
    pub fn new(settings: Settings) -> Result<Self, HostError> {
        let slots = settings.slots;
        if !(1..=Self::MOST_SLOTS).contains(&slots) {
            return Err(HostError::Slots { slots, most: Self::MOST_SLOTS });
        }
        let platforms = Platforms::new(slots);
        let ticker = Ticker::start(Arc::clone(&platforms));
        let inner = Inner {
            platforms,
            cache: Cache::new(settings.cache),
            ticker: ticker.map_err(HostError::Thread)?,
            background: Background::start(settings.background_threads.max(1)).map_err(HostError::Thread)?,
            outgoing: Outgoing::start(settings.resolver, settings.authorities).map_err(HostError::Thread)?,
            memory: Budget::new(settings.memory_bytes),
            log: settings.log,
            slots: Slots::new(slots),
            services: Mutex::default(),
            random: AtomicU64::new(settings.seed.unwrap_or_else(any_number)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Makes a service of a component, which may take seconds unless its code is in the cache: not for a thread that
    /// serves.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(
        &self,
        bytes: &[u8],
        name: &str,
        limits: Limits,
        permissions: Permissions,
    ) -> Result<Service, LoadError> {
        let loaded = component::load(&self.inner, bytes, &limits)?;
        let service = Service::new(Arc::clone(&self.inner), name, limits, permissions, loaded);
        self.inner.adopt(&service);
        Ok(service)
    }

    /// Components whose code came from the cache, and those that were compiled.
    #[must_use]
    pub fn cache_counts(&self) -> (u64, u64) {
        self.inner.cache.counts()
    }
}

impl Inner {
    /// Slots for a new instance. Idle instances of any service make room.
    pub(crate) async fn lease(&self, slots: u32, part: &Part) -> Result<Lease, Refusal> {
        loop {
            if let Some(lease) = self.slots.try_take(slots, part) {
                return Ok(lease);
            }
            if !self.evict() {
                // Once more for those that were kept before it was known that somebody waits.
                return self.slots.take_after(slots, part, || while self.evict() {}).await;
            }
        }
    }

    /// Whether instances may idle: not while others wait for their slots.
    pub(crate) fn has_room(&self) -> bool {
        !self.slots.is_awaited()
    }

    /// A number that cannot be foreseen, for nothing that must be secret (splitmix64).
    pub(crate) fn random(&self) -> u64 {
        let mut x = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn adopt(&self, service: &Service) {
        let mut services = self.services.lock();
        services.retain(|service| service.strong_count() > 0);
        services.push(service.downgrade());
    }

    /// Drops an idle instance of some service, if there is one.
    fn evict(&self) -> bool {
        let services: Vec<_> = self.services.lock().iter().filter_map(Weak::upgrade).collect();
        services.iter().any(|service| service.drop_idle())
    }
}

fn any_number() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish()
}
