//! Why a request got no response from a guest: the answer that its client is given instead.
//!
//! Each kind has a status, a stable code and words that are safe to show. What an operator needs on top is in
//! [`Refusal::detail`]: never send that to a client.

use std::time::Duration;

use http::StatusCode;

/// A request that was refused, or that its guest failed to answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// All instances are in use and the queue is full, or the wait in it was too long.
    #[error("all instances of the service are busy")]
    Busy {
        /// After how long another attempt makes sense.
        retry_after: Duration,
    },
    /// The request names no host, neither in its target nor in a header.
    #[error("the request names no host")]
    NoHost,
    /// The request's headers are larger than the service takes.
    #[error("the request's headers exceed {limit} bytes")]
    RequestHeaders {
        /// In bytes of names and values.
        limit: usize,
    },
    /// The request's body is larger than the service takes.
    #[error("the request's body exceeds {limit} bytes")]
    RequestBody {
        /// In bytes.
        limit: u64,
    },
    /// The guest gave no response within its deadline.
    #[error("the service gave no response within {} ms", limit.as_millis())]
    Deadline {
        /// The service's deadline.
        limit: Duration,
    },
    /// The guest used more processor time than it may.
    #[error("the service used more than {} ms of processor time", limit.as_millis())]
    Cpu {
        /// The service's limit.
        limit: Duration,
    },
    /// The guest trapped before it gave a response.
    #[error("the service failed: {word}")]
    Trapped {
        /// What happened: one of a few fixed words.
        word: &'static str,
        /// wasmtime's account, for operators.
        detail: String,
    },
    /// No instance could be made.
    #[error("the service could not be started")]
    Instantiate {
        /// wasmtime's account, for operators.
        detail: String,
    },
    /// The guest ended without a response.
    #[error("the service ended without a response")]
    NoResponse,
    /// The guest answered with an error code of `wasi:http` instead of a response.
    #[error("the service answered with an error")]
    Failed {
        /// The code's name and content, for operators.
        detail: String,
    },
    /// The response's headers are larger than the service may send.
    #[error("the response's headers exceed {limit} bytes")]
    ResponseHeaders {
        /// In bytes of names and values.
        limit: usize,
    },
}

/// A refusal with the request, if its guest was not asked: it is as it was, and may be tried elsewhere.
#[derive(Debug)]
pub struct Refused<B> {
    /// Why.
    pub refusal: Refusal,
    /// The request.
    pub request: Option<Box<http::Request<B>>>,
}

impl<B> From<Refusal> for Refused<B> {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, request: None }
    }
}

impl Refusal {
    /// The status to answer with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoHost => StatusCode::BAD_REQUEST,
            Self::RequestHeaders { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::RequestBody { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Deadline { .. } | Self::Cpu { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Trapped { .. } | Self::Instantiate { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoResponse | Self::Failed { .. } | Self::ResponseHeaders { .. } => StatusCode::BAD_GATEWAY,
        }
    }

    /// A word for logs, metrics and programs, which stays as it is.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "busy",
            Self::NoHost => "no-host",
            Self::RequestHeaders { .. } => "request-headers-too-large",
            Self::RequestBody { .. } => "request-body-too-large",
            Self::Deadline { .. } => "deadline",
            Self::Cpu { .. } => "cpu-limit",
            Self::Trapped { .. } => "trapped",
            Self::Instantiate { .. } => "instantiate",
            Self::NoResponse => "no-response",
            Self::Failed { .. } => "failed",
            Self::ResponseHeaders { .. } => "response-headers-too-large",
        }
    }

    /// What to put into `retry-after`, where another attempt makes sense.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after } => Some(*retry_after),
            _ => None,
        }
    }

    /// Whether the guest saw nothing of the request, so that it may be tried elsewhere.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::NoHost | Self::RequestHeaders { .. } | Self::Instantiate { .. })
    }

    /// More for whoever runs the service: not for clients.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Trapped { detail, .. } | Self::Instantiate { detail } | Self::Failed { detail } => Some(detail),
            _ => None,
        }
    }
}
