//! The host of stateless `wasi:http` components: it loads them, keeps them within their limits and permissions, and
//! hands them requests as values.
//!
//! A service is a component that exports `wasi:http/incoming-handler@0.2` or `wasi:http/handler@0.3`. It may import
//! WASI of both versions. Clocks and randomness are the machine's: nothing here is replayed. Connections, routing and
//! balancing are left to the front end, the ordering of replicated services to the kernel.
//!
//! Reading order: [`Host`] and [`Service`]; `call`, a request on its way through a guest; `cell`, an instance;
//! `platform`, wasmtime's settings; `outgoing`, requests that guests send.

mod admission;
mod background;
mod body;
mod cache;
mod call;
mod cell;
mod component;
mod counters;
mod crowd;
mod fault;
mod guest;
mod head;
mod host;
mod intake;
mod limits;
mod memory;
mod moved;
mod needs;
mod outgoing;
mod permissions;
mod platform;
mod pulse;
mod refusal;
mod run;
mod service;
mod slots;
mod stdio;
mod ticker;
mod turns;
mod waiting;

pub use body::{BodyError, HostBody};
pub use component::LoadError;
pub use counters::Counted;
pub use host::{Host, HostError, Settings};
pub use limits::{Limits, Reuse};
pub use outgoing::{Resolver, Resolving};
pub use permissions::{Destination, DestinationError, Permissions};
pub use refusal::{Refusal, Refused};
pub use service::Service;
pub use stdio::{Line, LogSink, Output};
