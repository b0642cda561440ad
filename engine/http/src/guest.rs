//! What the host keeps for one instance: the state behind the functions that its component imports.
//!
//! Guests have no files and no sockets: those interfaces are linked, since every standard library imports them, but
//! there is nothing behind them that would open.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use http::HeaderName;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::body::{HostOutgoingBody, StreamContext};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView,
    WasiHttpHooks, WasiHttpView,
};

use crate::memory::Taken;
use crate::outgoing::{self, Calls};
use crate::service::Inner;
use crate::stdio::{Log, Output};

/// Bytes of a piece of a body on its way out of a guest.
const CHUNK_BYTES: usize = 16 * 1024;
/// Pieces that wait between a 0.2 guest and the reader of its body, so that a guest need not be called for each.
const CHUNKS: usize = 16;
/// Random bytes that a guest may ask for at once.
const RANDOM_BYTES: u64 = 1024 * 1024;
/// Bytes that a guest may hand over in one call of the host.
const HOST_CALL_BYTES: usize = 16 * 1024 * 1024;

pub(crate) struct Guest {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    hooks: Hooks,
    sizes: Sizes,
    pub(crate) log: Log,
}

impl Guest {
    /// A store for a new instance of the service.
    pub(crate) fn store(service: &Arc<Inner>) -> Store<Self> {
        let limits = &service.limits;
        let log = Log::new(Arc::clone(service));
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits.header_bytes);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        let sizes = Sizes {
            memory: 0,
            memory_limit: limits.memory_bytes,
            table_limit: limits.table_elements,
            is_made: false,
            grown: Taken::new(Arc::clone(service)),
        };
        let hooks = Hooks { service: Arc::clone(service), calls: OnceLock::new() };
        let guest = Self { wasi: wasi(service, &log), http, table, hooks, sizes, log };
        let mut store = Store::new(service.engine(), guest);
        store.limiter(|guest| &mut guest.sizes);
        store.set_hostcall_fuel(HOST_CALL_BYTES);
        store
    }

    /// Its instance is there: what its memories take from now on they take from others.
    pub(crate) fn note_made(&mut self) {
        self.sizes.is_made = true;
    }

    /// Breaks off what the guest has begun to write and will not finish, since its call is over: `wasi:http` 0.2 says
    /// that a body is complete when it is finished, and the end of its store would look like that. Says how many.
    pub(crate) fn abort_bodies(&mut self) -> usize {
        let bodies = self.table.iter_mut().filter_map(|entry| {
            let entry: &mut dyn Any = entry;
            entry.downcast_mut::<HostOutgoingBody>()
        });
        let aborted = bodies.map(|body| {
            let (nobodys, _) = HostOutgoingBody::new(StreamContext::Response, None, 1, 1);
            std::mem::replace(body, nobodys).abort();
        });
        aborted.count()
    }
}

fn wasi(service: &Inner, log: &Log) -> WasiCtx {
    let mut wasi = WasiCtx::builder();
    wasi.envs(&service.permissions.environment)
        .stdout(log.stream(Output::Stdout))
        .stderr(log.stream(Output::Stderr))
        .max_random_size(RANDOM_BYTES)
        .allow_tcp(false)
        .allow_udp(false);
    wasi.build()
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// The memory limit is one for all memories of an instance.
struct Sizes {
    memory: usize,
    memory_limit: usize,
    table_limit: usize,
    is_made: bool,
    grown: Taken,
}

impl ResourceLimiter for Sizes {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let all = self.memory.saturating_add(more);
        let allowed = all <= self.memory_limit && (!self.is_made || self.grown.take(more as u64));
        if allowed {
            self.memory = all;
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_limit)
    }
}

/// How `wasi:http` asks for what is not its own.
struct Hooks {
    service: Arc<Inner>,
    /// Places for outgoing calls, once there was one.
    calls: OnceLock<Calls>,
}

impl Hooks {
    fn calls(&self) -> &Calls {
        self.calls.get_or_init(|| Calls::new(&self.service.calls))
    }
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::clone(&self.service.forbidden_headers)
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        received: Io,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), Error>> + Send> {
        // What becomes of the response is the guest's affair.
        drop(received);
        let sent = outgoing::send(&self.service, self.calls(), request, options);
        Box::new(async move { Ok((sent.await?, Box::new(async { Ok(()) }) as Io)) })
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        CHUNKS
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES * 4
    }
}
