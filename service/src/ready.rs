//! When a service counts as ready: what `rctl status` and `rctl service show` say, and nothing that a guest sees.

use std::time::Duration;

use crate::names::Name;

/// When a service is ready. Not part of the bundle's digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// What makes it ready.
    pub when: ReadyWhen,
    /// How long that may take from the start of the guest before it counts as failed.
    pub timeout: Duration,
}

/// What makes a service ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadyWhen {
    /// The guest listens on every port of the manifest.
    Listen,
    /// It listens, and answers as it should.
    Probe(Probe),
}

/// A client of the node's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The port that it connects to; one of TCP with an address.
    pub port: Name,
    /// What it sends; nothing where the guest speaks first.
    pub send: String,
    /// What must be somewhere in the answer.
    pub expect: String,
}
