//! The hop between front ends of one cluster: HTTP/2 over a stream that somebody else greeted on.
//!
//! A request that is sent over it was checked, routed and counted by the front end that its client came to (the edge): it
//! names its service and version exactly, in a header that no client can set, and whatever the edge set in it is
//! believed. Here it goes to a handler of this process or is refused; it is never routed again, so it cannot go round in
//! a circle. A request that names no service is for whoever owns this front end: see [`Settings::inner`].
//!
//! - `dial`: the contract of whoever makes the streams
//! - `wire`: what the hop adds to requests and answers
//! - `http2`: how the protocol is set up at both ends
//! - `serve`: requests that come from other front ends
//! - `link`: a stream for requests of the owner's own
//!
//! [`Settings::inner`]: crate::Settings::inner

mod dial;
mod http2;
mod link;
mod serve;
mod wire;

pub use dial::{Dial, Dialling, InnerStream};
pub(crate) use http2::{STREAMS, client as http2_client};
pub use link::{Link, LinkError};
pub(crate) use serve::serve;
pub(crate) use wire::{refusal_of, set_target};
