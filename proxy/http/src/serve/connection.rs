//! One connection of a client, from its first byte to its last.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::drive::{Drains, Ended, drive};
use super::greet::{Greeted, greet};
use super::guard::Guard;
use super::linger::linger;
use super::outgoing::Outgoing;
use super::pulse::Pulse;
use super::shared::{Loop, Place};
use super::stall;
use super::stream::Plain;
use super::unread;
use crate::client::Visit;
use crate::edge::Peer;
use crate::settings::ConnectionLimits;

/// What the requests of a connection have in common.
pub(crate) struct Connection {
    pub(crate) own: Rc<Loop>,
    pub(crate) peer: Peer,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) visit: Visit,
    pub(crate) is_http2: bool,
    _place: Place,
}

/// A client that came in.
pub(crate) struct Arrival {
    pub(crate) stream: Plain,
    pub(crate) address: IpAddr,
    pub(crate) is_tls: bool,
    /// None if the address is that of a proxy, which has to say whose connection it is.
    pub(crate) visit: Option<Visit>,
    pub(crate) place: Place,
}

/// Serves it. Errors of a connection concern its client alone, who sees it end.
pub(crate) async fn serve(own: Rc<Loop>, arrival: Arrival) {
    let is_tls = arrival.is_tls;
    let Some((greeted, place)) = greet(&own, arrival).await else { return };
    let Greeted { stream, begun, is_http2, client, visit } = greeted;
    let pulse = Arc::new(Pulse::new(own.shared.limits.idle, own.shared.limits.head));
    let limits = &own.shared.limits;
    let guard = TokioIo::new(Guard::new(stream, begun, is_http2, Arc::clone(&pulse), limits));
    let connection = Rc::new(Connection {
        own: Rc::clone(&own),
        peer: Peer::new(client, is_tls),
        pulse: Arc::clone(&pulse),
        visit,
        is_http2,
        _place: place,
    });
    let service = service_fn(move |request: Request<Incoming>| answer(Rc::clone(&connection), request));
    if is_http2 {
        // Boxed: the state of HTTP/2 would make every idle connection of HTTP/1.1 as large.
        let mut served = Box::pin(http2_builder(limits).serve_connection(guard, service));
        let ended = drive(served.as_mut(), &pulse, &own.shared).await;
        unread::tell_end_of_http2(&own, client, &ended);
    } else {
        let mut served = http1_builder(limits).serve_connection(guard, service).with_upgrades();
        let ended = drive(Pin::new(&mut served), &pulse, &own.shared).await;
        unread::tell_end(&own, client, &ended, &pulse);
        // What could not be read was answered, and has no end that is known; a preface of HTTP/2 in the midst was not.
        let still_sends = matches!(&ended, Ended::Broken(error) if error.is_parse() && !error.is_parse_version_h2());
        if let Some(parts) = served.into_parts().filter(|_| still_sends) {
            Box::pin(linger(parts.io.into_inner().into_stream())).await;
        }
    }
}

/// Boxed: hyper keeps room for the future of a request in every connection, idle ones too.
fn answer(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Pin<Box<dyn Future<Output = Result<Response<Outgoing>, Infallible>>>> {
    Box::pin(async move { Ok(connection.answer(request).await) })
}

fn http1_builder(limits: &ConnectionLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The guard has the timers. A client that closes its sending side has gone, as nginx and HAProxy see it: the request
    // is given up. hyper's `pipeline_flush` must stay off: it takes the bound off the buffer of answers.
    builder.header_read_timeout(None).half_close(false);
    builder.max_buf_size(limits.head_bytes);
    if limits.headers != HYPER_HEADERS {
        builder.max_headers(limits.headers);
    }
    builder
}

/// What hyper takes when nothing is said, and has room for on its stack: a number that it is told costs two arrays on the
/// heap for every head.
const HYPER_HEADERS: usize = 100;

fn http2_builder(limits: &ConnectionLimits) -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor { write_idle: limits.write_idle });
    let head_bytes = u32::try_from(limits.head_bytes).unwrap_or(u32::MAX);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(head_bytes)
        .max_pending_accept_reset_streams(limits.pending_resets)
        .max_local_error_reset_streams(limits.error_resets)
        .max_send_buf_size(limits.write_bytes)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(connection_window(limits.streams))
        .keep_alive_interval(limits.idle)
        .keep_alive_timeout(limits.head)
        // For WebSockets (RFC 8441).
        .enable_connect_protocol();
    builder
}

/// How much of a request's body may wait to be read.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// Most bytes of a window (RFC 9113, section 6.9.1).
const MAX_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// Enough for all streams at once, so that bodies that nobody reads stop no other one. What is kept for a client as a
/// whole is bounded by its requests.
fn connection_window(streams: u32) -> u32 {
    streams.saturating_mul(STREAM_WINDOW_BYTES).clamp(STREAM_WINDOW_BYTES, MAX_WINDOW_BYTES)
}

/// Streams of HTTP/2 stay on the loop of their connection, and end if their clients take nothing.
#[derive(Debug, Clone, Copy)]
struct LocalExecutor {
    write_idle: Duration,
}

impl<F: Future + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(stall::watch(future, self.write_idle));
    }
}

impl<S> Drains for http1::UpgradeableConnection<TokioIo<Guard>, S>
where
    S: HttpService<Incoming, ResBody = Outgoing, Error = Infallible>,
{
    const TELLS: bool = false;

    fn begin_drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Drains for http2::Connection<TokioIo<Guard>, S, LocalExecutor>
where
    S: HttpService<Incoming, ResBody = Outgoing, Error = Infallible>,
    S::Future: 'static,
{
    const TELLS: bool = true;

    fn begin_drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
