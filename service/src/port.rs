//! One port that the proxy serves for a guest, and how the proxy serves it.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use crate::address::AddressRange;
use crate::names::Name;
use crate::outbound::Protocol;

/// One port that the proxy serves for the guest. At least one of `listen` and `unix` is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name, unique in the service.
    pub name: Name,
    /// The port that the guest sees, unique in the service for its protocol.
    pub guest: NonZeroU16,
    /// What clients speak.
    pub protocol: Protocol,
    /// Where the proxy listens; port 0 lets the system choose. Not part of the bundle's digest.
    pub listen: Vec<SocketAddr>,
    /// Where the proxy listens for clients of its own machine; of TCP alone. Not part of the bundle's digest.
    pub unix: Option<PathBuf>,
    /// The listener is passed in as a descriptor, counted by `LISTEN_FDS`, instead of being opened by the guest.
    pub pass: bool,
    /// Where a connection must begin with a header of the PROXY protocol, which says whom it comes from. Not part of
    /// the bundle's digest.
    pub proxy_protocol: Vec<AddressRange>,
    /// Small answers are sent at once. Not part of the bundle's digest.
    pub nodelay: bool,
    /// When a silent client is asked whether it is still there. Not part of the bundle's digest.
    pub keepalive: Keepalive,
}

/// When a client that says nothing is asked by TCP whether it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keepalive {
    /// Never.
    Off,
    /// After this long, and again and again.
    After(Duration),
}
