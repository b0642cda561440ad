//! The HTTP front end: HTTP/1.1, HTTP/2 and TLS on one side; handlers in this process and servers that speak HTTP/1.1
//! on the other; routes, limits and balance in between. Bodies stream both ways and are never gathered.
//!
//! Reading order: [`plan`] and [`settings`] say what it does; `edge`, `route` and `balance` decide, purely; `serve` moves
//! the bytes, beginning with `serve/answering.rs`, the way of a request; [`handler`] is the contract of an upstream in
//! this process.
//!
//! It leaves to others: what a service is, where plans come from, and everything about Wasm.

mod answer;
mod balance;
pub mod body;
mod client;
mod edge;
mod front;
pub mod handler;
pub mod inner;
mod live;
pub mod metrics;
pub mod plan;
mod route;
mod serve;
pub mod settings;
mod tls;
#[doc(hidden)]
pub mod trial;
mod upstream;

pub use answer::ERROR_HEADER;
pub use body::{Body, BodyError};
pub use front::{Front, ReloadError, StartError};
pub use handler::{Answering, Cause, Handler, Refusal};
pub use inner::{Dial, Dialling, InnerStream, Link, LinkError};
pub use metrics::{Metrics, ReleaseMetrics, UpstreamMetrics};
pub use plan::{
    ClientLimits, Endpoint, Health, HostPattern, Network, PathPattern, Plan, PlanError, Rate, Release, ReleaseLimits,
    Route, Service, Target, Upstream,
};
pub use serve::{BindError, SpawnError};
pub use settings::{
    ClientHeader, ConnectionLimits, HeaderError, Inner, Listen, ListenAt, MAX_HEADER_BYTES, Proxies, ReadHeader,
    Settings,
};
pub use tls::{CertificateError, CertificateFiles, DevelopmentError, write_development_certificate};
