//! Requests that guests send: checked against the service's permissions, resolved once, sent on connections of the
//! host's own.
//!
//! A name is resolved once per connection and the connection goes to an address that was checked, so that a name that
//! changes its mind leads nowhere new. Redirects are the guest's to follow, and meet the same list. Connections are kept
//! for the service that opened them and for no other. Upstreams are spoken to in HTTP/1.1, with TLS by rustls.

mod address;
mod calls;
mod connect;
mod exchange;
mod kept;
mod received;
mod target;
mod tls;

use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use tokio::runtime::Runtime;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use crate::service::Inner;
pub(crate) use calls::{Calls, ServiceCalls};
use exchange::Exchange;
pub(crate) use kept::{KEEP, Kept};
use tls::Tls;

/// Names that a service looks up at once; others wait within their time to connect.
pub(crate) const LOOKUPS: usize = 8;
/// Threads that ask the system's resolver at once, for several services whose names get no answer.
const RESOLVER_THREADS: usize = 8 * LOOKUPS;

/// What a resolver promises.
pub type Resolving = Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send>>;

/// Finds the addresses of a name. It must end by itself in some time: one whose caller is gone is not dropped, and counts
/// among the 8 that a service has at once.
pub type Resolver = Arc<dyn Fn(String) -> Resolving + Send + Sync>;

/// What outgoing requests of all services share.
pub(crate) struct Outgoing {
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    resolver: Resolver,
    tls: Tls,
}

impl Outgoing {
    pub(crate) fn start(resolver: Option<Resolver>, authorities: Option<PathBuf>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(RESOLVER_THREADS)
            .thread_name("http-out")
            .enable_all()
            .build()?;
        let resolver = resolver.unwrap_or_else(system_resolver);
        Ok(Self { runtime: Some(runtime), resolver, tls: Tls::new(authorities) })
    }

    /// Has what is made meanwhile belong to the host's own runtime.
    pub(crate) fn enter(&self) -> Option<tokio::runtime::EnterGuard<'_>> {
        self.runtime.as_ref().map(Runtime::enter)
    }

    /// Runs a task on the host's own thread for connections.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<tokio::task::JoinHandle<T>> {
        self.runtime.as_ref().map(|runtime| runtime.spawn(task))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // The last owner may be a task of this very runtime, or of one that must not block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn system_resolver() -> Resolver {
    Arc::new(|name| {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((name, 0)).await?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    })
}

/// Sends a request. What it may not do is found at once; the rest happens on the host's own thread, and stops when the
/// future is dropped. `calls` are the places of the instance.
pub(crate) fn send(
    service: &Arc<Inner>,
    calls: &Calls,
    request: http::Request<WasiBody>,
    options: Option<RequestOptions>,
) -> impl Future<Output = Result<http::Response<WasiBody>, Error>> + Send + use<> {
    let exchange = Exchange::prepare(service, calls, request, options.unwrap_or_default());
    let service = Arc::clone(service);
    async move {
        let exchange = exchange?;
        let Some(task) = service.host.outgoing.spawn(exchange.run()) else {
            return Err(Error::ConnectionTerminated);
        };
        let mut task = AbortOnDrop(task);
        // A task that is gone went with its runtime, or panicked.
        (&mut task.0).await.unwrap_or(Err(Error::InternalError(None)))
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
