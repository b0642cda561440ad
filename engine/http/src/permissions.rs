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
        allowed.map(Destination::grant).max()
    }
}

/// Where what an entry of the list permits may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Grant {
    /// A pattern: to public addresses.
    Public,
    /// A whole name, whose addresses are up to whoever answers for it: to private networks as well, but neither to this
    /// machine nor to its link, where what trusts whoever can reach it is found.
    Private,
    /// An address, or a name that means this machine: anywhere.
    Anywhere,
}
