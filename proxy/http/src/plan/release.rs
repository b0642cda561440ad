//! Who serves: a service has releases, one for each running version, and a release has upstreams, which are alike.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use semver::Version;

use crate::handler::Handler;
use crate::inner::Dial;

/// A named service and its running versions.
#[derive(Debug, Clone)]
pub struct Service {
    /// `namespace/name`.
    pub name: String,
    /// Its releases, each of another version. A target without a version means the highest one that is no pre-release,
    /// else the highest.
    pub releases: Vec<Release>,
}

/// One version of a service.
#[derive(Debug, Clone)]
pub struct Release {
    /// The version, unique in the service.
    pub version: Version,
    /// Who answers. None is a release that is known and cannot serve: 503.
    pub upstreams: Vec<Upstream>,
    /// How much, how long.
    pub limits: ReleaseLimits,
    /// Whether upstreams are asked if they are well, between requests; those behind other front ends are asked there.
    pub health: Option<Health>,
}

/// One that answers the requests of a release.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its name in logs and metrics, unique in the release. What is known about an upstream (outstanding requests,
    /// failures) is kept over plans under service, version and name.
    pub name: String,
    /// Where it is.
    pub endpoint: Endpoint,
    /// Requests that it takes at once. Default 1,024.
    pub requests: u32,
    /// How many of them wait in its own queue while it serves the others; fewer than `requests`. Default 0.
    ///
    /// One that is in this process comes first only as long as a request need not wait there. One whose requests wait is
    /// busy, not ill, when it does not answer in time whether it is well.
    pub queue: u32,
    /// It gets no new requests; those under way go on.
    pub is_draining: bool,
    /// Its address speaks HTTP/2 with prior knowledge, and not HTTP/1.1. It takes no upgrades then.
    pub is_http2: bool,
}

impl Upstream {
    /// An upstream with the defaults.
    pub fn new(name: impl Into<String>, endpoint: Endpoint) -> Self {
        Self { name: name.into(), endpoint, requests: 1024, queue: 0, is_draining: false, is_http2: false }
    }
}

/// Where an upstream is.
#[derive(Clone)]
pub enum Endpoint {
    /// In this process: preferred to the others as long as it serves at once.
    Handler(Arc<dyn Handler>),
    /// An address that speaks HTTP.
    Tcp(SocketAddr),
    /// A Unix socket that speaks HTTP.
    Unix(PathBuf),
    /// Another front end of the cluster, which has a handler for the release.
    Inner(Arc<dyn Dial>),
}

impl Endpoint {
    /// Whether it is in this process.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        matches!(self, Self::Handler(_))
    }

    /// Whether it is believed to say which fault it means: a handler, here or at another front end.
    pub(crate) const fn is_trusted(&self) -> bool {
        matches!(self, Self::Handler(_) | Self::Inner(_))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(_) => write!(f, "handler"),
            Self::Tcp(address) => write!(f, "tcp {address}"),
            Self::Unix(path) => write!(f, "unix {}", path.display()),
            Self::Inner(dial) => write!(f, "{dial:?}"),
        }
    }
}

/// What a release takes, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseLimits {
    /// Requests at once, those that wait included; above it 503. Default 65,536.
    pub requests: u32,
    /// Requests that wait for a place at an upstream; above it 503. Default 1,024.
    pub queue: u32,
    /// How long one waits for a place; then 503. Default 1 s.
    pub queue_wait: Duration,
    /// Requests at once of one client; more wait, beside the queue. Default: no limit of its own.
    pub client_requests: Option<u32>,
    /// How long they wait; then 429. Default 1 s.
    pub client_wait: Duration,
    /// Most bytes of a request's body; above it 413. Default 1 GiB.
    pub body_bytes: u64,
    /// From the request to the head of the answer; then 504. Default 60 s.
    pub answer: Duration,
    /// Between two frames of a request's body; then it gets 408. Default 60 s.
    pub body_idle: Duration,
    /// Between two frames of an answer's body, of upstreams that are not in this process; then it breaks off. Default 60 s.
    pub answer_idle: Duration,
    /// From the request to the last byte of the answer, upgrades excepted; then it breaks off. Default: none, so that
    /// streams of events live.
    pub total: Option<Duration>,
    /// How long an upgraded connection may carry nothing either way; then it is closed. Default 10 min.
    pub tunnel_idle: Duration,
    /// To make a connection to an upstream that has an address; then another upstream is tried. Default 2 s.
    pub connect: Duration,
    /// Upstreams that are tried for one request, from 1 to 8. Default 3.
    pub attempts: u32,
}

impl Default for ReleaseLimits {
    fn default() -> Self {
        Self {
            requests: 65_536,
            queue: 1024,
            queue_wait: Duration::from_secs(1),
            client_requests: None,
            client_wait: Duration::from_secs(1),
            body_bytes: 1 << 30,
            answer: Duration::from_secs(60),
            body_idle: Duration::from_secs(60),
            answer_idle: Duration::from_secs(60),
            total: None,
            tunnel_idle: Duration::from_secs(600),
            connect: Duration::from_secs(2),
            attempts: 3,
        }
    }
}

/// How upstreams are asked whether they are well: a `GET` whose answer is 2xx in time. One that was not asked yet is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The path, such as `/__health`.
    pub path: String,
    /// Between two questions. At least 100 ms; default 2 s.
    pub interval: Duration,
    /// For an answer. Default 1 s.
    pub timeout: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Self { path: "/__health".into(), interval: Duration::from_secs(2), timeout: Duration::from_secs(1) }
    }
}
