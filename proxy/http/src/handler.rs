//! The contract of an upstream in this process: a request is handed over as a value, by a call.
//!
//! What a handler may rely on:
//! - The request has gone through the edge: its URI is in origin form (`/path?query`), there is exactly one `host`, no
//!   hop-by-hop header, no `x-refrain-*`; `x-request-id`, `traceparent` and `x-forwarded-{for,proto,host}` are set and
//!   true.
//! - The body is read from the client only as it is asked for, ends with an error at its limits, and is dropped with
//!   the future.
//! - The future is polled on the loop thread of the client's connection (questions about health: on a cold one), and
//!   dropped when the client goes away or a deadline passes: it has to be cancellation-safe, and must never block.
//!
//! What a handler owes: an answer or a [`Refusal`]; a `content-length` only if it is true; no hop-by-hop headers (they
//! are dropped); no panic, which would end the connection. An answer to `HEAD` may have a body, which is not sent.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http::{Request, Response};

use crate::body::Body;

/// What comes of a request.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Refusal>> + Send>>;

/// Answers requests in this process.
pub trait Handler: Send + Sync + 'static {
    /// Begins to answer a request.
    fn call(&self, request: Request<Body>) -> Answering;

    /// Whether new requests are wanted. Asked before each, so it has to be a plain read.
    fn is_ready(&self) -> bool {
        true
    }
}

/// A request without an answer.
#[derive(Debug)]
pub struct Refusal {
    /// What went wrong.
    pub cause: Cause,
    /// The request as it was, when nothing of it was begun: it may go elsewhere, whatever its method.
    pub request: Option<Box<Request<Body>>>,
}

/// Why there is no answer. Each has one status; the words stay in the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// Too much to do: 503 with `retry-after`.
    #[error("the upstream is busy")]
    Busy {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// It cannot be reached: 502.
    #[error("the upstream cannot be reached")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// It broke off, or its answer made no sense: 502.
    #[error("the upstream broke off")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    /// The guest trapped, or ended without an answer: 502.
    #[error("the guest failed: {0}")]
    Trapped(String),
    /// It did not answer in time: 504.
    #[error("the upstream did not answer in {} ms", .limit.as_millis())]
    Timeout {
        /// The limit.
        limit: Duration,
    },
}

impl Refusal {
    /// A refusal of a request that was begun: what it did is not known.
    #[must_use]
    pub const fn begun(cause: Cause) -> Self {
        Self { cause, request: None }
    }

    /// A refusal that gives the request back: nothing of it was begun.
    #[must_use]
    pub fn untouched(cause: Cause, request: Request<Body>) -> Self {
        Self { cause, request: Some(Box::new(request)) }
    }
}
