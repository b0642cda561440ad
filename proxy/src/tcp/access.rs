//! The access log: one event a connection when it is closed, as HAProxy's `tcplog` has one line.

use refrain_wire::FlowId;

use crate::nat::Closed;

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
