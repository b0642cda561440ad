//! One outgoing request and its response.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::calls::{self, Admitted, Calls};
use super::connect::Connection;
use super::received::Received;
use super::target::{Target, origin_form};
use crate::head::header_bytes;
use crate::moved::Moved;
use crate::permissions::Grant;
use crate::service::Inner;

pub(crate) struct Exchange {
    service: Arc<Inner>,
    /// Where it goes, and what permits it.
    key: (Target, Grant),
    request: http::Request<WasiBody>,
    options: RequestOptions,
    admitted: Admitted,
}

/// A call's place, of which the request has a part until it is sent, and the response until it is received.
pub(crate) type Place = Arc<calls::Place>;

impl Exchange {
    /// Checks what can be checked without a connection.
    pub(crate) fn prepare(
        service: &Arc<Inner>,
        calls: &Calls,
        request: http::Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<Self, Error> {
        let target = Target::of(request.uri())?;
        let grant = service.permissions.outgoing(request.method(), target.scheme(), &target.host, target.port);
        let grant = grant.ok_or(Error::HttpRequestDenied)?;
        if header_bytes(request.headers()) > service.limits.header_bytes {
            return Err(Error::HttpRequestHeaderSectionSize(None));
        }
        let admitted = calls.admit().ok_or(Error::ConnectionLimitReached)?;
        Ok(Self { service: Arc::clone(service), key: (target, grant), request, options, admitted })
    }

    /// Sends the request when it has a place, on a kept connection, or on a new one. A kept one may turn out to be
    /// closed: then the request goes out on another, if nothing of it was sent.
    pub(crate) async fn run(self) -> Result<http::Response<WasiBody>, Error> {
        let Self { service, key, request, options, admitted } = self;
        let limit = least(options.connect_timeout, service.limits.connect);
        let (place, limit) = place(admitted, limit).await?;
        let moved = Moved::default();
        let sending = Sending { moved: moved.clone(), _place: Arc::clone(&place) };
        let mut request = bounded(request, service.limits.outgoing_request_bytes, sending);
        let first_byte = least(options.first_byte_timeout, service.limits.first_byte);
        loop {
            let kept = service.kept.take(&key);
            let reused = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => connect(&service, &key, limit).await?,
            };
            let sent = tokio::select! {
                biased;
                sent = connection.sender.try_send_request(request) => sent,
                () = moved.stands_still(first_byte) => return Err(Error::HttpResponseTimeout),
            };
            match sent {
                Ok(response) => return Ok(receive(response, connection, service, key, options, place)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if reused => request = unsent,
                    _ => return Err(reason(error.into_error())),
                },
            }
        }
    }
}

/// A place for the call, and what is left of its time to connect.
async fn place(admitted: Admitted, limit: Duration) -> Result<(Place, Duration), Error> {
    let turn = match admitted {
        Admitted::Now(place) => return Ok((Arc::new(place), limit)),
        Admitted::InTurn(turn) => turn,
    };
    let began = Instant::now();
    let place = timeout(limit, turn.place()).await.map_err(|_| Error::ConnectionLimitReached)?;
    Ok((Arc::new(place), limit.saturating_sub(began.elapsed())))
}

/// A new connection. Apart from the exchange, whose request's body cannot be shared between threads.
async fn connect(
    service: &Arc<Inner>,
    (target, grant): &(Target, Grant),
    limit: Duration,
) -> Result<Connection, Error> {
    let connect = service.host.outgoing.connect(service, target, *grant);
    timeout(limit, connect).await.unwrap_or(Err(Error::ConnectionTimeout))
}

/// The shorter of what the guest asks for and what it may have.
fn least(asked: Option<Duration>, limit: Duration) -> Duration {
    asked.map_or(limit, |asked| asked.min(limit))
}

/// What a request's body has with it until it is sent.
struct Sending {
    moved: Moved,
    _place: Place,
}

fn bounded(request: http::Request<WasiBody>, limit: u64, sending: Sending) -> http::Request<WasiBody> {
    let (mut parts, body) = request.into_parts();
    parts.uri = origin_form(&parts.uri);
    parts.version = http::Version::HTTP_11;
    let bytes = usize::try_from(limit).unwrap_or(usize::MAX);
    let body = Limited::new(body, bytes).map_err(move |error| match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(_) => Error::HttpRequestBodySize(Some(limit)),
    });
    let body = body.map_frame(move |frame| {
        let Sending { moved, .. } = &sending;
        moved.note();
        frame
    });
    http::Request::from_parts(parts, body.boxed_unsync())
}

fn receive(
    response: http::Response<Incoming>,
    connection: Connection,
    service: Arc<Inner>,
    key: (Target, Grant),
    options: RequestOptions,
    place: Place,
) -> http::Response<WasiBody> {
    let between = least(options.between_bytes_timeout, service.limits.between_bytes);
    response.map(|body| Received::new(body, connection, service, key, between, place).boxed_unsync())
}

/// What a guest is told of an error of hyper's.
pub(crate) fn reason(error: hyper::Error) -> Error {
    if let Some(Error::HttpRequestBodySize(limit)) = error.source().and_then(|cause| cause.downcast_ref::<Error>()) {
        return Error::HttpRequestBodySize(*limit);
    }
    if error.is_parse_too_large() {
        return Error::HttpResponseHeaderSectionSize(None);
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return Error::ConnectionTerminated;
    }
    let broken = error.source().is_some_and(|cause| cause.is::<std::io::Error>());
    if broken { Error::ConnectionTerminated } else { Error::HttpProtocolError }
}
