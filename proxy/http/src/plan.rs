//! What the front end does, as plain values: who serves ([`Service`], [`Release`], [`Upstream`]) and which requests go
//! there ([`Route`]).
//!
//! A plan is checked as a whole by [`Plan::validate`], which names every fault at once, and takes the place of its
//! predecessor in one step: a request that has begun keeps the plan that it began with. What cannot change while the
//! front end runs is in [`Settings`](crate::Settings).

mod network;
mod release;
mod route;
mod validate;

pub use network::{Network, NetworkError};
pub use release::{Endpoint, Health, Release, ReleaseLimits, Service, Upstream};
pub(crate) use route::Part;
pub use route::{HostPattern, PathPattern, PatternError, Route, Target};
pub use validate::{PlanError, PlanFault};

use crate::tls::CertificateFiles;

/// Most routes of a plan.
pub const MAX_ROUTES: usize = 4096;
/// Most services of a plan, releases of a service, upstreams of a release, and targets of a route.
pub const MAX_SERVICES: usize = 4096;
/// See [`MAX_SERVICES`].
pub const MAX_RELEASES: usize = 64;
/// See [`MAX_SERVICES`].
pub const MAX_UPSTREAMS: usize = 256;
/// See [`MAX_SERVICES`].
pub const MAX_TARGETS: usize = 16;
/// Most certificates of a plan.
pub const MAX_CERTIFICATES: usize = 4096;
/// Most ranges of trusted peers of a plan: each request of one is compared with all.
pub const MAX_TRUSTED: usize = 256;

/// What the front end does until the next plan.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Where requests go. The most specific one that matches counts: see [`Route`].
    pub routes: Vec<Route>,
    /// Who serves them.
    pub services: Vec<Service>,
    /// Certificates for the listeners that speak TLS, chosen by the names in them. The first is for clients that name
    /// no host or an unknown one. At most [`MAX_CERTIFICATES`].
    pub certificates: Vec<CertificateFiles>,
    /// Peers whose `forwarded` and `x-forwarded-*` are believed. At most [`MAX_TRUSTED`] ranges.
    pub trusted: Vec<Network>,
    /// What one client may do.
    pub client: ClientLimits,
    /// Whether each request is told at the tracing target `access`.
    pub access_log: bool,
}

/// What one client, that is one address (of IPv6 a /64), may do over all loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// Requests at once; above it 429. Each may hold its head and a window of its body (64 KiB) in memory. Default 12,000.
    pub requests: u32,
    /// Requests per second in the long run; above it 429. Default: no limit.
    pub rate: Option<Rate>,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self { requests: 12_000, rate: None }
    }
}

/// So many requests a second in the long run, of which a burst may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// From 1 to a million.
    pub per_second: u32,
    /// From 1.
    pub burst: u32,
}
