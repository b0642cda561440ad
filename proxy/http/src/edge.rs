//! What the front end demands of a request, and what it changes, before anything else sees it. Pure.
//!
//! Rules: RFC 9110 (semantics), RFC 9112 (HTTP/1.1 framing), RFC 9113 (HTTP/2), RFC 7239 (`forwarded`), W3C Trace
//! Context. Where they leave a choice, what nginx refuses is refused. What hyper refuses already is not checked twice;
//! `tests/abuse.rs` shows that it does.

mod forwarded;
mod framing;
mod headers;
mod host;
mod path;
mod request;
mod trace;

pub(crate) use forwarded::{Peer, client_of, set_forwarded};
pub(crate) use framing::{Framing, FramingFault};
pub(crate) use headers::{clean_request, clean_response, clean_trailers, clean_websocket, take_version};
pub(crate) use host::host_name;
pub(crate) use path::{normal_path, other_readings};
pub(crate) use request::{Head, check, take_websocket};
pub(crate) use trace::{REQUEST_ID, request_id, set_trace};
