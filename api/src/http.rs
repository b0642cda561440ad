//! What the API says of HTTP: the front end, stateless services and their versions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::LimitStatus;

/// The front end and what it sends requests to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpStatus {
    /// Where it listens, as URLs; empty when it does not run.
    pub listens: Vec<String>,
    /// Connections that are open.
    pub connections: u32,
    /// Requests that it answered itself before it knew whom they concern.
    pub refused: u64,
    /// Connections that it closed because of a limit.
    #[serde(default)]
    pub turned_away: u64,
    /// What went wrong, by its code: answers that it gave itself, answers that broke off, connections that it closed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub faults: BTreeMap<String, u64>,
    /// Versions of services, sorted by name and version.
    pub services: Vec<HttpServiceStatus>,
    /// What cannot be served here, and why: versions that cannot run, and services whose routes cannot be followed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<HttpProblem>,
    /// Components whose code came from the cache since the start.
    pub code_cached: u64,
    /// Components that were compiled since the start.
    pub code_compiled: u64,
}

/// Something that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpProblem {
    /// `namespace/name`, of one version with `@version`.
    pub service: String,
    /// Why, in words.
    pub reason: String,
}

/// One version of a service that has routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpServiceStatus {
    /// `namespace/name`.
    pub service: String,
    /// The version.
    pub version: String,
    /// Whether it is stateless; else requests go to a port of a replicated service.
    pub stateless: bool,
    /// The bundle's digest, of a stateless one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// Its share of the service's requests.
    pub weight: u16,
    /// Host and path of each route.
    pub routes: Vec<String>,
    /// Requests under way.
    pub in_flight: u32,
    /// Answers by the first digit of their status, 1xx to 5xx.
    pub answers: [u64; 5],
    /// Instances that are alive, of a stateless one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u64>,
    /// Calls of guests that trapped.
    #[serde(default)]
    pub trapped: u64,
    /// Requests of other nodes' clients that were answered here; those nodes count the answers.
    #[serde(default)]
    pub for_others: u64,
    /// Who answers, of a stateless one: this node and others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<HttpUpstreamStatus>,
}

/// Everything about one stateless service, as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpDetail {
    /// The node that answers.
    pub node: u64,
    /// `namespace/name`.
    pub service: String,
    /// Where the node's front end listens, as URLs.
    pub listens: Vec<String>,
    /// Its versions, wherever they run.
    pub versions: Vec<HttpVersionDetail>,
    /// What of it cannot be served here, and why.
    pub problems: Vec<HttpProblem>,
}

/// Everything about one version of a stateless service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpVersionDetail {
    /// What the status of the server says of it.
    #[serde(flatten)]
    pub status: HttpServiceStatus,
    /// The path that is asked whether it is well; absent when it is not asked.
    pub health: Option<String>,
    /// Where it may send requests, as the manifest writes it; empty is nowhere.
    pub outgoing: Vec<String>,
    /// Its limits, as the manifest has them: `instances` counts those of this node.
    pub limits: Vec<LimitStatus>,
}

/// One that answers requests for a version of a service, as this node's front end sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpUpstreamStatus {
    /// Its node.
    pub node: u64,
    /// How it is.
    pub state: HttpUpstreamState,
    /// Requests from this node that are under way there; at the node itself, those of other nodes as well.
    pub in_flight: u32,
    /// Requests that it was given since the start, likewise.
    pub requests: u64,
    /// Those of them that it did not answer.
    pub failures: u64,
}

/// How an upstream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpUpstreamState {
    /// It takes requests.
    Ready,
    /// It did not say yet, or says no more, that it is well.
    Waiting,
    /// Its node ends.
    Draining,
    /// It failed several times in a row, and gets requests only when there is no other.
    Ejected,
    /// Its node cannot be reached.
    Down,
}

impl HttpUpstreamState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ready, Self::Waiting, Self::Draining, Self::Ejected, Self::Down];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Waiting => "waiting",
            Self::Draining => "draining",
            Self::Ejected => "ejected",
            Self::Down => "down",
        }
    }
}

/// Runs a version of a stateless service beside those that run, or instead of the one of its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deploy {
    /// The digest of a bundle that was stored.
    pub bundle: String,
    /// Its share of the service's requests. None: all of them when it is the only version, or takes the place of one
    /// with its share, else nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
}

/// Shares of a service's requests, by version; of a version that is not named it stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// By version.
    pub weights: BTreeMap<String, u16>,
}
