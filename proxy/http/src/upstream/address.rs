//! Where an upstream is, as a key for its connections.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::inner::Dial;
use crate::plan::Endpoint;

/// Where an upstream is. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(Arc<Path>),
    /// Another front end: one for each value of the contract.
    Inner(Arc<dyn Dial>),
}

impl Address {
    /// None for a handler.
    pub(crate) fn of(endpoint: &Endpoint) -> Option<Self> {
        match endpoint {
            Endpoint::Handler(_) => None,
            Endpoint::Tcp(address) => Some(Self::Tcp(*address)),
            Endpoint::Unix(path) => Some(Self::Unix(path.as_path().into())),
            Endpoint::Inner(dial) => Some(Self::Inner(Arc::clone(dial))),
        }
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => one == other,
            (Self::Unix(one), Self::Unix(other)) => one == other,
            (Self::Inner(one), Self::Inner(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Tcp(address) => address.hash(state),
            Self::Unix(path) => path.hash(state),
            Self::Inner(dial) => Arc::as_ptr(dial).cast::<()>().hash(state),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Inner(dial) => write!(f, "{dial:?}"),
        }
    }
}
