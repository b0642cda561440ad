//! What a listener's sockets are told.

use std::time::Duration;

/// After so long without a byte the system asks, by default, whether the other side is still there.
pub const KEEPALIVE: Duration = Duration::from_secs(60);

/// Options of a listener and of the connections that it accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketOptions {
    /// Small writes go out at once. Default: yes.
    pub nodelay: bool,
    /// After so long without a byte the system asks whether the client is still there, and goes on asking four times as
    /// often; none never asks. Whole seconds, from 1. Default: 60 s.
    pub keepalive: Option<Duration>,
    /// A listener at an IPv6 address accepts IPv4 as well. Default: no, so that `0.0.0.0` and `[::]` can both be
    /// listened on.
    pub dual_stack: bool,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { nodelay: true, keepalive: Some(KEEPALIVE), dual_stack: false }
    }
}
