//! Requests to other servers, which the service's manifest must allow (`http.outgoing`).
//!
//! The body goes out while the answer is waited for and read, so neither has to fit into memory, and a server that
//! answers before it has read everything is served as well.

use std::fmt;
use std::time::Duration;

use wasip2::http::outgoing_handler;
use wasip2::http::types::{ErrorCode, IncomingResponse, OutgoingRequest, RequestOptions, Scheme};

use crate::body::{Body, BodyError};
use crate::executor::{ready, spawn};
use crate::{Response, fields, outgoing};

/// How long a request may take. What is not set is the host's to say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timeouts {
    /// Until there is a connection.
    pub connect: Option<Duration>,
    /// Until the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// Between two pieces of the answer's body.
    pub between_bytes: Option<Duration>,
}

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// It is no request that could be sent: what is wrong with it.
    Request(String),
    /// The manifest does not allow it.
    Denied,
    /// It was sent, or tried: the host's code, as `wasi:http` names it.
    Failed(ErrorCode),
    /// What came is no answer.
    Answer(String),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(what) => write!(f, "cannot send the request: {what}"),
            Self::Denied => f.write_str("the manifest's http.outgoing does not allow the request"),
            Self::Failed(code) => write!(f, "the request failed: {code}"),
            Self::Answer(what) => write!(f, "cannot read the answer: {what}"),
        }
    }
}

impl std::error::Error for SendError {}

/// Sends a request with an absolute `http` or `https` URI, and returns when the head of the answer is there.
pub async fn send(request: http::Request<impl Into<Body>>) -> Result<Response, SendError> {
    send_within(request, Timeouts::default()).await
}

/// The same, within these times.
pub async fn send_within(request: http::Request<impl Into<Body>>, within: Timeouts) -> Result<Response, SendError> {
    let (head, body) = request.into_parts();
    let made = outgoing_request(&head)?;
    let to = made.body().expect("the body of a new request is there");
    let coming = outgoing_handler::handle(made, options(within)?).map_err(failed)?;
    let body = body.into();
    spawn(async move {
        match outgoing::send(body, to).await {
            // A server that has answered need not take the rest.
            Ok(()) | Err(BodyError::Closed) => {}
            Err(error) => log::warn!("a request's body broke off: {error}"),
        }
    });
    let response = loop {
        match coming.get() {
            Some(response) => break response.expect("it is taken once"),
            None => ready(coming.subscribe()).await,
        }
    };
    answer(response.map_err(failed)?).map_err(SendError::Answer)
}

fn failed(code: ErrorCode) -> SendError {
    match code {
        ErrorCode::HttpRequestDenied => SendError::Denied,
        code => SendError::Failed(code),
    }
}

fn outgoing_request(head: &http::request::Parts) -> Result<OutgoingRequest, SendError> {
    let refused = |what: &str, value: String| SendError::Request(format!("{what} {value:?} is not taken"));
    let scheme = match head.uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        other => return Err(refused("the scheme", other.unwrap_or_default().to_owned())),
    };
    let authority = head.uri.authority().map(ToString::to_string);
    let target = head.uri.path_and_query().map(ToString::to_string);
    let made = OutgoingRequest::new(fields::to_host(&head.headers).map_err(SendError::Request)?);
    made.set_method(&fields::method_to_host(&head.method)).map_err(|()| refused("method", head.method.to_string()))?;
    made.set_scheme(Some(&scheme)).map_err(|()| refused("the scheme", head.uri.to_string()))?;
    made.set_authority(authority.as_deref()).map_err(|()| refused("the host", head.uri.to_string()))?;
    made.set_path_with_query(target.as_deref()).map_err(|()| refused("the path", head.uri.to_string()))?;
    Ok(made)
}

fn options(within: Timeouts) -> Result<Option<RequestOptions>, SendError> {
    if (within.connect, within.first_byte, within.between_bytes) == (None, None, None) {
        return Ok(None);
    }
    let nanos = |time: Option<Duration>| time.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    let refused = |()| SendError::Request("a timeout is not taken".to_owned());
    let options = RequestOptions::new();
    options.set_connect_timeout(nanos(within.connect)).map_err(refused)?;
    options.set_first_byte_timeout(nanos(within.first_byte)).map_err(refused)?;
    options.set_between_bytes_timeout(nanos(within.between_bytes)).map_err(refused)?;
    Ok(Some(options))
}

fn answer(response: IncomingResponse) -> Result<Response, String> {
    let mut made = http::Response::new(Body::empty());
    *made.status_mut() = http::StatusCode::from_u16(response.status()).map_err(|error| error.to_string())?;
    *made.headers_mut() = fields::from_host(&response.headers())?;
    *made.body_mut() = Body::incoming(response.consume().map_err(|()| "its body is taken".to_owned())?);
    Ok(made)
}
