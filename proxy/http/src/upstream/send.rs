//! One request to one upstream.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;

use super::connect::connect;
use super::{Address, GiveBack, Pool};
use crate::body::{Body, Bounds};
use crate::handler::{Cause, Refusal};
use crate::plan::{Endpoint, ReleaseLimits};

/// A refusal, and whether it tells anything about the upstream.
pub(crate) struct Failure {
    pub(crate) refusal: Refusal,
    /// The connection had been used before and may just have been closed for being idle: the same upstream may be tried
    /// again.
    pub(crate) was_reused: bool,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, was_reused: false }
    }
}

/// Sends the request and waits for the head of the answer. Dropping the future gives the request up.
pub(crate) async fn send(
    pool: &Arc<Pool>,
    endpoint: &Endpoint,
    address: Option<&Address>,
    request: Request<Body>,
    limits: &ReleaseLimits,
) -> Result<Response<Body>, Failure> {
    match (endpoint, address) {
        (Endpoint::Handler(handler), _) => Ok(handler.call(request).await?),
        (_, Some(address)) => send_to(pool, address, request, limits).await,
        (_, None) => unreachable!("what is no handler has an address"),
    }
}

async fn send_to(
    pool: &Arc<Pool>,
    address: &Address,
    mut request: Request<Body>,
    limits: &ReleaseLimits,
) -> Result<Response<Body>, Failure> {
    *request.version_mut() = Version::HTTP_11;
    say_chunked(&mut request);
    while let Some(mut sender) = pool.take(address) {
        match sender.try_send_request(request).await {
            Ok(response) => return Ok(take_over(pool, address, sender, response, limits)),
            Err(mut error) => match error.take_message() {
                // It closed before it took the request: the next one, until there is none left.
                Some(untouched) => request = untouched,
                None => {
                    let refusal = Refusal::begun(Cause::Broken(Box::new(error.into_error())));
                    return Err(Failure { refusal, was_reused: true });
                }
            },
        }
    }
    let mut sender = match connect(address, limits.connect).await {
        Ok(sender) => sender,
        Err(error) => return Err(Refusal::untouched(Cause::Unreachable(Box::new(error)), request).into()),
    };
    match sender.try_send_request(request).await {
        Ok(response) => Ok(take_over(pool, address, sender, response, limits)),
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
    limits: &ReleaseLimits,
) -> Response<Body> {
    // After an upgrade the connection is no longer one of requests.
    let give_back = (response.status() != StatusCode::SWITCHING_PROTOCOLS).then(|| GiveBack {
        sender,
        address: address.clone(),
        pool: Arc::downgrade(pool),
    });
    let bounds = Bounds { bytes: u64::MAX, idle: limits.body_idle, fault: None };
    response.map(|incoming| Body::answer(incoming, bounds, give_back))
}
