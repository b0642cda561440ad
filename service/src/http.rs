//! What a manifest says about HTTP: which requests of the front end come to the service, and what a stateless component
//! may use.
//!
//! The spelling of hosts, paths and destinations is checked by what serves them (`refrain-front`, `refrain-http-host`);
//! here they are texts within their bounds.

use std::time::Duration;

use crate::names::Name;
use crate::quantity::ByteSize;

/// Which requests of the front end come to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// A host name, `*.suffix`, or `*`.
    pub host: String,
    /// `/exactly`, `/items/{id}`, or `/below/...`.
    pub path: String,
    /// None is all.
    pub methods: Vec<String>,
    /// Headers that must be there with exactly this value.
    pub headers: Vec<(String, String)>,
    /// Takes the place of what `path` names before `...`.
    pub rewrite: Option<String>,
    /// The port that speaks HTTP, of a service that listens on sockets.
    pub port: Option<Name>,
}

/// What a stateless component may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Instances that serve requests at once.
    pub instances: u32,
    /// Requests that one instance of a 0.3 component serves at once.
    pub concurrency: u32,
    /// Requests that wait for an instance.
    pub queue: u32,
    /// How long one waits.
    pub queue_wait: Duration,
    /// The least and the most requests that an instance serves before it is dropped.
    pub reuse: (u32, u32),
    /// From when an instance takes a request to the head of its answer.
    pub deadline: Duration,
    /// From when an instance takes a request to the end of its answer.
    pub lifetime: Duration,
    /// Processor time of a request.
    pub cpu: Option<Duration>,
    /// Bytes of a request's body.
    pub request_body: ByteSize,
    /// Bytes of an answer's body.
    pub response_body: ByteSize,
    /// The path that is asked, by `GET`, whether the component takes requests; none takes them as soon as it is loaded.
    pub health: Option<String>,
    /// Where requests may go: `[METHOD,...] [SCHEME://]HOST[:PORT]`.
    pub outgoing: Vec<String>,
}
