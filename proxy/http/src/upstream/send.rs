//! One request to one upstream.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;

use super::connect::connect;
use super::{Address, GiveBack, Pool};
use crate::balance::{ReleaseState, UpstreamState};
use crate::body::{Body, Bounds};
use crate::handler::{Cause, Refusal};
use crate::inner;
use crate::plan::{Endpoint, ReleaseLimits};

/// Connections of many requests that are tried for one request: each may end just when the request comes.
const TRIES: usize = 3;

/// Connections end before they take a request.
#[derive(Debug, thiserror::Error)]
#[error("{TRIES} connections ended before they took the request")]
struct Fleeting;

/// A refusal, and whether it tells anything about the upstream.
pub(crate) struct Failure {
    pub(crate) refusal: Refusal,
    /// Nothing of the request was begun, whether or not the refusal gives it back.
    pub(crate) is_untouched: bool,
    /// The connection had been used before and may just have been closed for being idle: the same upstream may be tried
    /// again.
    pub(crate) was_reused: bool,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { is_untouched: refusal.request.is_some(), refusal, was_reused: false }
    }
}

/// Sends the request and waits for the head of the answer. Dropping the future gives the request up. An upstream that
/// takes many requests at once on a connection is dead when it has been silent for `patience`.
pub(crate) async fn send(
    pool: &Arc<Pool>,
    release: &ReleaseState,
    upstream: &UpstreamState,
    request: Request<Body>,
    patience: Duration,
) -> Result<Response<Body>, Failure> {
    let limits = &release.plan.limits;
    match (&upstream.plan.endpoint, &upstream.address) {
        (Endpoint::Handler(handler), _) => Ok(handler.call(request).await?),
        (Endpoint::Inner(_), Some(address)) => {
            send_inner(pool, address, release, request, (limits.connect, patience)).await
        }
        (_, Some(address)) if upstream.plan.is_http2 => {
            let request = in_absolute_form(request)?;
            send_many(pool, address, request, limits, (limits.connect, patience)).await
        }
        (_, Some(address)) => send_one(pool, address, request, upstream, limits).await,
        (_, None) => unreachable!("what is no handler has an address"),
    }
}

/// To another front end, which answers for the release or says why not.
async fn send_inner(
    pool: &Arc<Pool>,
    address: &Address,
    release: &ReleaseState,
    mut request: Request<Body>,
    times: (Duration, Duration),
) -> Result<Response<Body>, Failure> {
    inner::set_target(request.headers_mut(), &release.service, &release.plan.version);
    *request.version_mut() = Version::HTTP_11;
    let response = send_many(pool, address, request, &release.plan.limits, times).await?;
    match inner::refusal_of(response.headers()) {
        None => Ok(response),
        Some((cause, is_untouched)) => Err(Failure { refusal: Refusal::begun(cause), is_untouched, was_reused: false }),
    }
}

/// As servers of HTTP/2 want it: with the host as `:authority`.
fn in_absolute_form(mut request: Request<Body>) -> Result<Request<Body>, Failure> {
    *request.version_mut() = Version::HTTP_2;
    let authority = request.headers().get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority.unwrap_or_else(|| Authority::from_static("localhost")));
    match Uri::from_parts(parts) {
        Ok(uri) => {
            *request.uri_mut() = uri;
            request.headers_mut().remove(HOST);
            Ok(request)
        }
        Err(error) => Err(Refusal::untouched(Cause::Broken(Box::new(error)), request).into()),
    }
}

async fn send_many(
    pool: &Arc<Pool>,
    address: &Address,
    mut request: Request<Body>,
    limits: &ReleaseLimits,
    times: (Duration, Duration),
) -> Result<Response<Body>, Failure> {
    for _ in 0..TRIES {
        let (mut sender, stream) = match pool.many.take(pool, address, times).await {
            Ok(taken) => taken,
            Err(error) => return Err(Refusal::untouched(Cause::Unreachable(Box::new(error)), request).into()),
        };
        match sender.try_send_request(request).await {
            Ok(response) => {
                let bounds = Bounds { bytes: u64::MAX, idle: limits.answer_idle, fault: None };
                let give_back = Some(GiveBack::Many { _stream: stream });
                return Ok(response.map(|incoming| Body::answer(incoming, bounds, give_back)));
            }
            Err(mut error) => match error.take_message() {
                // The connection ended before it took the request: another one.
                Some(untouched) => request = untouched,
                None => return Err(Refusal::begun(Cause::Broken(Box::new(error.into_error()))).into()),
            },
        }
    }
    Err(Refusal::untouched(Cause::Unreachable(Box::new(Fleeting)), request).into())
}

async fn send_one(
    pool: &Arc<Pool>,
    address: &Address,
    mut request: Request<Body>,
    upstream: &UpstreamState,
    limits: &ReleaseLimits,
) -> Result<Response<Body>, Failure> {
    *request.version_mut() = Version::HTTP_11;
    say_chunked(&mut request);
    let taken = || pool.take(address).or_else(|| pool.take_of_others(address, &upstream.load, upstream.plan.requests));
    while let Some(mut sender) = taken() {
        match sender.try_send_request(request).await {
            Ok(response) => return Ok(take_over(pool, address, sender, response, upstream, limits)),
            Err(mut error) => match error.take_message() {
                // It closed before it took the request: the next one, until there is none left.
                Some(untouched) => request = untouched,
                None => {
                    let refusal = Refusal::begun(Cause::Broken(Box::new(error.into_error())));
                    return Err(Failure { refusal, is_untouched: false, was_reused: true });
                }
            },
        }
    }
    let mut sender = match connect(address, limits.connect).await {
        Ok(sender) => sender,
        Err(error) => return Err(Refusal::untouched(Cause::Unreachable(Box::new(error)), request).into()),
    };
    match sender.try_send_request(request).await {
        Ok(response) => Ok(take_over(pool, address, sender, response, upstream, limits)),
        Err(mut error) => Err(match error.take_message() {
            Some(request) => Refusal::untouched(Cause::Broken(Box::new(error.into_error())), request),
            None => Refusal::begun(Cause::Broken(Box::new(error.into_error()))),
        }
        .into()),
    }
}

/// hyper sends no body with a `GET`, `HEAD` or `CONNECT` whose head does not say that there is one.
fn say_chunked(request: &mut Request<Body>) {
    if !request.body().is_empty() && !request.headers().contains_key(CONTENT_LENGTH) {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

fn take_over(
    pool: &Arc<Pool>,
    address: &Address,
    sender: SendRequest<Body>,
    response: Response<Incoming>,
    upstream: &UpstreamState,
    limits: &ReleaseLimits,
) -> Response<Body> {
    // After an upgrade the connection is no longer one of requests.
    let give_back = (response.status() != StatusCode::SWITCHING_PROTOCOLS).then(|| GiveBack::One {
        sender,
        address: address.clone(),
        pool: Arc::downgrade(pool),
        upstream: Arc::clone(&upstream.load),
        limit: upstream.plan.requests,
    });
    let bounds = Bounds { bytes: u64::MAX, idle: limits.answer_idle, fault: None };
    response.map(|incoming| Body::answer(incoming, bounds, give_back))
}
