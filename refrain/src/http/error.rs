//! Why HTTP cannot be served, or changed, as it was asked.

use refrain_api::ErrorBody;
use refrain_front::{ReloadError, StartError};
use refrain_http_host::HostError;
use refrain_wire::NodeId;
use refrain_wire::limits::MAX_RELEASES;

use super::deployments::StoreError;
use super::hosted::MAX_HOSTED;

/// Why HTTP cannot be served as it was asked.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The host of components.
    #[error("components cannot be run")]
    Host(#[from] HostError),
    /// The certificate for development.
    #[error("there is no certificate")]
    Certificate(#[from] refrain_front::DevelopmentError),
    /// The front end.
    #[error("the HTTP front end cannot start")]
    Start(#[from] StartError),
    /// A plan.
    #[error("the routes cannot be followed")]
    Plan(#[from] ReloadError),
    /// The list of what is deployed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A component.
    #[error("{service} cannot run: {reason}")]
    Component {
        /// Which.
        service: String,
        /// Why, in words.
        reason: String,
    },
    /// A bundle of another kind.
    #[error("{service} is not stateless: `rctl service upgrade` gives a replicated service another version")]
    Replicated {
        /// Which.
        service: String,
    },
    /// No such version.
    #[error("no version {version} of {service} runs here; those that do: {running}")]
    Unknown {
        /// `namespace/name`.
        service: String,
        /// The version.
        version: String,
        /// Those that run.
        running: String,
    },
    /// All shares of a service would be 0.
    #[error("no version of {service} would have a weight above 0")]
    NoWeight {
        /// `namespace/name`.
        service: String,
    },
    /// The process ends.
    #[error("the server is ending")]
    Ending,
    /// The threads that follow other nodes and the log.
    #[error("other nodes cannot be followed")]
    Nodes(#[source] std::io::Error),
    /// The log.
    #[error("{}", .0.message)]
    Log(ErrorBody),
    /// The log, or this node.
    #[error("the change was not followed in time; it may still happen")]
    Slow,
    /// A node that may host what was removed.
    #[error("node {node} runs versions of {service} for itself and has not followed the log yet: try again")]
    Behind {
        /// `namespace/name`.
        service: String,
        /// Which node.
        node: NodeId,
    },
    /// More versions than a node can host.
    #[error("there would be {versions} versions of all services, at most {MAX_HOSTED} are possible: remove one first")]
    Full {
        /// How many there would be.
        versions: usize,
    },
    /// More versions than a service can have.
    #[error("{service} would have {versions} versions, at most {MAX_RELEASES} are possible: remove one first")]
    TooMany {
        /// `namespace/name`.
        service: String,
        /// How many it would have.
        versions: usize,
    },
}

impl HttpError {
    /// There is no such version, only those that run.
    pub(super) fn unknown(service: &str, version: &str, running: &[String]) -> Self {
        let running = if running.is_empty() { "none".to_owned() } else { running.join(", ") };
        Self::Unknown { service: service.to_owned(), version: version.to_owned(), running }
    }
}
