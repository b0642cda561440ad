//! What a service may reach: by default nothing.

mod destination;

pub(crate) use destination::default_port;
pub use destination::{Destination, DestinationError};

/// What a service may reach.
#[derive(Clone, Debug, Default)]
pub struct Permissions {
    /// The environment that guests see, and all of it.
    pub environment: Vec<(String, String)>,
    /// Where outgoing requests may go. What no entry allows is denied.
    pub outgoing: Vec<Destination>,
}

impl Permissions {
    /// Whether a request may go out, and how far the permission reaches.
    pub(crate) fn outgoing(&self, method: &http::Method, scheme: &str, host: &str, port: u16) -> Option<Grant> {
        let allowed = self.outgoing.iter().filter(|destination| destination.allows(method, scheme, host, port));
        let named = allowed.map(Destination::names_host).reduce(|one, other| one || other)?;
        Some(Grant { private: named })
    }
}

/// What an entry of the list permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Grant {
    /// Whether the name may lead to addresses that are not public: only if the entry has the whole name.
    pub(crate) private: bool,
}
