//! The access log: one event a connection when it is closed, as HAProxy's `tcplog` has one line.

use std::net::SocketAddr;

use refrain_wire::{FlowId, GroupId};

use crate::nat::{Closed, Ending};

/// Writes the event. `ending` is one of the words of [`crate::nat::Ending::as_str`].
pub(super) fn log(flow: FlowId, service: &str, closed: &Closed) {
    tracing::info!(
        target: "refrain::access",
        %flow,
        service,
        group = closed.group.0,
        port = closed.port,
        peer = %closed.peer,
        bytes_in = closed.bytes_in,
        bytes_out = closed.bytes_out,
        micros = u64::try_from(closed.lasted.as_micros()).unwrap_or(u64::MAX),
        ending = closed.ending.as_str(),
    );
}

/// Writes the event of a connection that was refused for want of an epoch: it never was a flow.
pub(super) fn log_not_accepted(service: &str, group: GroupId, port: u16, peer: SocketAddr) {
    tracing::info!(
        target: "refrain::access",
        service,
        group = group.0,
        port,
        %peer,
        ending = Ending::NotAccepted.as_str(),
    );
}
