//! A service: a component with its limits and permissions, and the instances that serve its requests.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Body;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use wasmtime::Engine;
use wasmtime_wasi_http::{DEFAULT_FORBIDDEN_HEADERS, ForbiddenHeaderFilter, WasiBody};

use crate::admission::Admission;
use crate::body::HostBody;
use crate::call::Call;
use crate::cell::Cell;
use crate::component::{Loaded, Pre};
use crate::counters::{Counted, Counters, count};
use crate::crowd::{Crowd, Reserved};
use crate::head::HeadSender;
use crate::host;
use crate::intake;
use crate::limits::Limits;
use crate::memory::Budget;
use crate::outgoing::{KEEP, Kept, LOOKUPS, ServiceCalls};
use crate::permissions::Permissions;
use crate::pulse::Pulse;
use crate::refusal::{Refusal, Refused};
use crate::run::{End, Run, Work};
use crate::slots::{Lease, Part};
use crate::stdio::{Line, Output};
use crate::turns::Turns;
use crate::waiting::Waiting;

/// The shortest time between two looks at what is idle.
const LEAST_SWEEP: Duration = Duration::from_millis(10);

/// A component that answers requests. Cheap to clone; the last clone drops the idle instances.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

/// What requests of a service share.
pub(crate) struct Inner {
    pub(crate) host: Arc<host::Inner>,
    pub(crate) name: String,
    pub(crate) limits: Limits,
    pub(crate) permissions: Permissions,
    pub(crate) pre: Pre,
    pub(crate) counters: Counters,
    pub(crate) forbidden_headers: ForbiddenHeaderFilter,
    /// Connections to upstreams.
    pub(crate) kept: Kept,
    /// Places for outgoing calls of all instances.
    pub(crate) calls: ServiceCalls,
    /// Permits to look a name up.
    pub(crate) lookups: Arc<Semaphore>,
    /// What its instances may grow by together.
    pub(crate) memory: Budget,
    /// What its guests in the background share.
    pub(crate) turns: Turns,
    /// Slots of the pool that an instance takes, and the service's part of those that are kept.
    slots: u32,
    part: Part,
    places: usize,
    seats: Admission,
    /// Instances that wait for a request, the one used last at the end.
    idle: Mutex<Vec<(Cell, Instant)>>,
    /// Instances that serve several requests at once.
    crowd: Crowd,
}

/// Where a request goes.
enum Found {
    /// An instance that serves others as well.
    Beside(Reserved),
    /// One that is kept.
    Idle(Box<Cell>),
    /// Slots for a new one.
    Slots(Lease),
}

impl Service {
    pub(crate) fn new(
        host: Arc<host::Inner>,
        name: &str,
        limits: Limits,
        permissions: Permissions,
        loaded: Loaded,
    ) -> Self {
        let per_instance = if matches!(loaded.pre, Pre::P3(_)) { limits.beside() } else { 1 };
        let slots = loaded.needs.slots();
        let instances = limits.instances.min(host.slots.instances(slots));
        let places = instances.saturating_mul(per_instance);
        let inner = Inner {
            memory: host.memory.share(),
            turns: host.background.turns(),
            host,
            name: name.to_owned(),
            crowd: Crowd::new(instances),
            places,
            seats: Admission::new(places, limits.queue, limits.queue_wait),
            calls: ServiceCalls::new(limits.outgoing_calls, limits.outgoing_queue),
            limits,
            permissions,
            pre: loaded.pre,
            counters: Counters::default(),
            forbidden_headers: Arc::new(|name| DEFAULT_FORBIDDEN_HEADERS.contains(name)),
            kept: Kept::default(),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            slots,
            part: Part::new(),
            idle: Mutex::default(),
        };
        let inner = Arc::new(inner);
        inner.host.outgoing.spawn(sweep(Arc::downgrade(&inner), inner.limits.idle));
        Self { inner }
    }

    /// Has the service answer a request.
    ///
    /// The guest runs on the thread that polls this future and then the response's body, in a tokio runtime with time
    /// and I/O; only what runs long without a pause moves to the host's own threads. Dropping the future, or the body
    /// before its end, ends the guest, unless others wait for answers of the same instance.
    ///
    /// # Errors
    /// See [`Refusal`], which knows the status to answer with.
    pub async fn handle<B>(&self, request: http::Request<B>) -> Result<http::Response<HostBody>, Refusal>
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        self.offer(request).await.map_err(|refused| refused.refusal)
    }

    /// The same, for a caller that knows others who would answer.
    ///
    /// # Errors
    /// [`Refused`] has the request, if no guest was asked.
    pub async fn offer<B>(&self, request: http::Request<B>) -> Result<http::Response<HostBody>, Refused<B>>
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        let counters = &self.inner.counters;
        count(&counters.requests);
        let result = self.answer(request).await;
        match result.as_ref().map_err(|refused| &refused.refusal) {
            Err(Refusal::Trapped { .. } | Refusal::Cpu { .. }) => {
                count(&counters.refused);
                count(&counters.trapped);
            }
            Err(_) => count(&counters.refused),
            Ok(_) => {}
        }
        result
    }

    /// What the service has done so far.
    #[must_use]
    pub fn counted(&self) -> Counted {
        self.inner.counters.read()
    }

    /// Requests that its instances serve at once; others wait in the queue.
    #[must_use]
    pub fn places(&self) -> usize {
        self.inner.places
    }

    /// The service's name, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    pub(crate) fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.inner)
    }

    async fn answer<B>(&self, request: http::Request<B>) -> Result<http::Response<HostBody>, Refused<B>>
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        let inner = &self.inner;
        let checked = intake::check(&request, &inner.limits);
        let found = match checked {
            Ok(()) => inner.find().await,
            Err(refusal) => Err(refusal),
        };
        let (seat, found) = match found {
            Ok(found) => found,
            Err(refusal) => return Err(Refused { refusal, request: Some(Box::new(request)) }),
        };
        let method = request.method().clone();
        let mut request = request;
        intake::complete(&mut request);
        let (request, taken) = intake::bound(request, &inner.limits);
        let (send, receive) = oneshot::channel();
        let call = inner.begin(found, request, send, seat);
        let waiting = Waiting::new(call, receive, taken, &inner.limits);
        let began = waiting.began();
        let (head, call) = waiting.await?;
        Ok(crate::head::respond(head, call, &method, began, &inner.limits)?)
    }
}

impl Inner {
    pub(crate) fn engine(&self) -> &Engine {
        self.pre.engine()
    }

    pub(crate) fn log(&self, output: Output, text: &str) {
        if let Some(sink) = &self.host.log {
            sink(&Line { service: &self.name, output, text });
        }
    }

    /// How many requests a new instance serves.
    pub(crate) fn draw_reuse(&self) -> u32 {
        self.limits.reuse.draw(self.host.random())
    }

    /// Keeps an instance for the next request, unless it has served enough or others need its place.
    pub(crate) fn keep(&self, cell: Cell) {
        if !cell.is_fresh_enough() {
            return;
        }
        // Asked under the lock: who waits for slots looks here once more after it is known to wait.
        let mut idle = self.idle.lock();
        if self.host.has_room() {
            idle.push((cell, Instant::now()));
        } else {
            drop(idle);
            drop(cell);
        }
    }

    /// Drops instances that have been idle for too long.
    fn sweep(&self, limit: Duration) {
        let mut idle = self.idle.lock();
        let old = idle.partition_point(|(_, since)| since.elapsed() >= limit);
        let old: Vec<_> = idle.drain(..old).collect();
        drop(idle);
        drop(old);
        self.crowd.sweep(limit);
    }

    /// Drops the instance that has been idle longest, if there is one.
    pub(crate) fn drop_idle(&self) -> bool {
        let mut idle = self.idle.lock();
        let oldest = (!idle.is_empty()).then(|| idle.remove(0));
        drop(idle);
        if oldest.is_none() {
            self.crowd.drop_idle();
        }
        oldest.is_some()
    }

    /// A seat for a request, and the instance that it goes to.
    async fn find(self: &Arc<Self>) -> Result<(OwnedSemaphorePermit, Found), Refusal> {
        let seat = self.seats.take(1).await?;
        if self.is_shared() {
            return Ok((seat, Found::Beside(self.crowd.find(self).await?)));
        }
        let idle = self.idle.lock().pop();
        let found = match idle {
            Some((cell, _)) => Found::Idle(Box::new(cell)),
            None => Found::Slots(self.lease().await?),
        };
        Ok((seat, found))
    }

    fn begin(
        self: &Arc<Self>,
        found: Found,
        request: http::Request<WasiBody>,
        head: HeadSender,
        seat: OwnedSemaphorePermit,
    ) -> Call {
        let (work, pulse): (Work, _) = match found {
            Found::Beside(reserved) => return Call::beside(reserved.hand(request, head, seat), Arc::clone(self)),
            Found::Idle(cell) => {
                let pulse = Arc::clone(&cell.pulse);
                (Box::pin(serve(*cell, request, head, seat)), pulse)
            }
            Found::Slots(lease) => {
                let pulse = Arc::new(self.pulse());
                let made = Cell::make(Arc::clone(self), Arc::clone(&pulse), lease);
                (Box::pin(serve_anew(made, request, head, seat)), pulse)
            }
        };
        Call::new(Run::new(work, pulse), Arc::clone(self))
    }

    /// Whether an instance serves several requests at once.
    fn is_shared(&self) -> bool {
        matches!(self.pre, Pre::P3(_)) && self.limits.concurrency > 1
    }

    /// Slots for a new instance.
    pub(crate) async fn lease(&self) -> Result<Lease, Refusal> {
        self.host.lease(self.slots, &self.part).await
    }

    /// Waits in the service's queue, within its bounds.
    pub(crate) async fn in_queue<T>(&self, wanted: impl Future<Output = T>) -> Result<T, Refusal> {
        self.seats.queue(wanted).await
    }

    pub(crate) fn pulse(&self) -> Pulse {
        Pulse::new(self.host.ticker.ticks(), self.limits.cpu)
    }
}

/// Drops what has been idle for too long, as long as there is a service.
async fn sweep(service: Weak<Inner>, idle: Duration) {
    let mut clock = tokio::time::interval((idle / 2).clamp(LEAST_SWEEP, KEEP));
    loop {
        clock.tick().await;
        let Some(service) = service.upgrade() else { break };
        service.kept.sweep();
        service.sweep(idle);
    }
}

async fn serve(mut cell: Cell, request: http::Request<WasiBody>, head: HeadSender, seat: OwnedSemaphorePermit) -> End {
    let result = cell.serve(request, head).await;
    drop(seat);
    End::new(result, Some(cell))
}

async fn serve_anew(
    made: impl Future<Output = Result<Cell, crate::fault::Fault>>,
    request: http::Request<WasiBody>,
    head: HeadSender,
    seat: OwnedSemaphorePermit,
) -> End {
    match made.await {
        Ok(cell) => serve(cell, request, head, seat).await,
        Err(fault) => End::new(Err(fault), None),
    }
}
