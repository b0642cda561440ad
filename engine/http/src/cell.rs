//! An instance of a component with its store: what serves requests, one at a time or several at once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http_body_util::BodyExt as _;
use tokio::sync::{mpsc, oneshot};
use wasmtime::Store;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView as _, p2, p3};

use crate::component::Instance;
use crate::counters::count;
use crate::crowd::{Job, Member};
use crate::fault::Fault;
use crate::guest::Guest;
use crate::head::HeadSender;
use crate::pulse::Pulse;
use crate::service::Inner;
use crate::slots::Lease;

/// Resolves when a 0.3 guest is done with its request's body.
type Received = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// An instance that is ready to serve.
pub(crate) struct Cell {
    store: Store<Guest>,
    instance: Instance,
    pub(crate) pulse: Arc<Pulse>,
    /// Requests that it may still serve.
    left: u32,
    service: Arc<Inner>,
    /// Its slots of the host's pool: given back after the store is gone, as fields are dropped in order.
    _lease: Lease,
}

impl Cell {
    /// Makes an instance. Its code may run for a while: whoever polls this is the guest's caller.
    pub(crate) async fn make(service: Arc<Inner>, pulse: Arc<Pulse>, lease: Lease) -> Result<Self, Fault> {
        let mut store = Guest::store(&service);
        pulse.watch(&mut store);
        let instance = service.pre.instantiate(&mut store).await.map_err(|error| Fault::instantiate(&error))?;
        store.data_mut().note_made();
        count(&service.counters.instances);
        let left = service.draw_reuse();
        Ok(Self { store, instance, pulse, left, service, _lease: lease })
    }

    /// Whether it may serve another request.
    pub(crate) fn is_fresh_enough(&self) -> bool {
        self.left > 0
    }

    /// Serves one request. Afterwards the instance may be used again unless there was a fault.
    pub(crate) async fn serve(&mut self, request: http::Request<WasiBody>, head: HeadSender) -> Result<(), Fault> {
        self.left = self.left.saturating_sub(1);
        self.pulse.reset();
        self.store.data_mut().log.reset();
        let result = match &self.instance {
            Instance::P2(proxy) => {
                let served = serve_p2(&mut self.store, proxy, request, head).await;
                if self.store.data_mut().abort_bodies() > 0 {
                    // The streams to such bodies stay open as long as the instance.
                    self.left = 0;
                }
                served
            }
            Instance::P3(service) => {
                let store = &mut self.store;
                store
                    .run_concurrent(async |accessor| {
                        serve_p3(accessor, service, request, head).await?;
                        std::future::poll_fn(|context| accessor.poll_no_interesting_tasks(context)).await;
                        Ok(())
                    })
                    .await
                    .flatten()
            }
        };
        result.map_err(|error| Fault::new(&error))
    }

    /// Serves requests as they come, until no more can and all are over. For instances of 0.3 alone.
    pub(crate) async fn serve_many(&mut self, jobs: mpsc::Receiver<Job>, member: &Member) -> Result<(), Fault> {
        let Instance::P3(service) = &self.instance else {
            return Ok(());
        };
        let (pulse, log, host) = (&self.pulse, self.store.data().log.clone(), &self.service.host);
        let begin = |active| match active {
            1 => {
                pulse.reset();
                log.reset();
            }
            active => {
                pulse.join(active);
                log.join(active);
            }
        };
        let done = |id| member.done(id, || host.has_room());
        let served = self.store.run_concurrent(async |accessor| serve_jobs(accessor, service, jobs, begin, done).await);
        served.await.flatten().map_err(|error| Fault::new(&error))
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        count(&self.service.counters.dropped);
    }
}

async fn serve_p2(
    store: &mut Store<Guest>,
    proxy: &p2::bindings::Proxy,
    request: http::Request<WasiBody>,
    head: HeadSender,
) -> wasmtime::Result<()> {
    let scheme = match request.uri().scheme_str() {
        Some("https") => Scheme::Https,
        _ => Scheme::Http,
    };
    let request = store.data_mut().http().new_incoming_request(scheme, request)?;
    let out = store.data_mut().http().new_response_outparam_from_callback(move |response| {
        // A caller that is gone wants no response.
        let _ = head.send(response.map_err(|code| format!("{code:?}")));
    })?;
    proxy.wasi_http_incoming_handler().call_handle(store, request, out).await
}

async fn serve_p3(
    accessor: &Accessor<Guest>,
    service: &p3::bindings::Service,
    request: http::Request<WasiBody>,
    head: HeadSender,
) -> wasmtime::Result<()> {
    let (request, received) = accessor.with(|mut access| {
        let view = access.get().http();
        let (request, received) = p3::Request::from_http(view.hooks, request);
        let received: Received = Box::pin(received);
        view.table.push(request).map(|request| (request, received))
    })?;
    let response = match service.wasi_http_handler().call_handle(accessor, request).await? {
        Ok(response) => response,
        Err(code) => {
            let _ = head.send(Err(format!("{code:?}")));
            return Ok(());
        }
    };
    let response = accessor.with(|mut access| {
        let response = access.get().http().table.delete(response)?;
        response.into_http(&mut access, received)
    })?;
    let (response, read) = watched(response);
    let _ = head.send(Ok(response));
    // The guest's stream moves only while this store is polled.
    let _ = read.await;
    Ok(())
}

async fn serve_jobs(
    accessor: &Accessor<Guest>,
    service: &p3::bindings::Service,
    mut jobs: mpsc::Receiver<Job>,
    begin: impl Fn(u32),
    done: impl Fn(u64),
) -> wasmtime::Result<()> {
    let mut active = FuturesUnordered::new();
    std::future::poll_fn(|context| {
        loop {
            match active.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(()))) => continue,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) | Poll::Pending => {}
            }
            match jobs.poll_recv(context) {
                Poll::Ready(Some(Job { id, request, head, seat })) => {
                    begin(u32::try_from(active.len() + 1).unwrap_or(u32::MAX));
                    let done = &done;
                    active.push(async move {
                        serve_p3(accessor, service, request, head).await?;
                        drop(seat);
                        done(id);
                        Ok(())
                    });
                }
                Poll::Ready(None) if active.is_empty() => return accessor.poll_no_interesting_tasks(context).map(Ok),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// The response, and what resolves when its body is dropped.
fn watched(response: http::Response<WasiBody>) -> (http::Response<WasiBody>, oneshot::Receiver<()>) {
    let (guard, read) = oneshot::channel::<()>();
    let response = response.map(|body| {
        body.map_frame(move |frame| {
            let _ = &guard;
            frame
        })
        .boxed_unsync()
    });
    (response, read)
}
