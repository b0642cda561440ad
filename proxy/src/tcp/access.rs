//! The access log: one event a connection when it is closed, as HAProxy's `tcplog` has one line. A guest's call that
//! failed has one as well.

use std::net::SocketAddr;

use refrain_wire::{Epoch, FlowId, GroupId};

use super::greet::NotGreeted;
use crate::nat::{Client, Closed, Ending};

/// Writes the event. `ending` is one of the words of [`crate::nat::Ending::as_str`]; `failure` says why a call failed.
pub(super) fn log(epoch: Epoch, service: &str, closed: &Closed) {
    let failure = match closed.ending {
        Ending::Failed(failure) => Some(failure),
        _ => None,
    };
    let protocol = if closed.is_local { "unix".to_owned() } else { closed.protocol.to_string() };
    tracing::info!(
        target: "refrain::access",
        flow = %FlowId { epoch, serial: closed.serial },
        direction = closed.direction.as_str(),
        protocol = protocol.as_str(),
        service,
        group = closed.group.0,
        port = closed.port,
        peer = %closed.peer,
        bytes_in = closed.bytes_in,
        bytes_out = closed.bytes_out,
        micros = u64::try_from(closed.lasted.as_micros()).unwrap_or(u64::MAX),
        ending = closed.ending.as_str(),
        failure = failure.map(tracing::field::display),
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

/// Writes the event of a connection that was cut because it did not begin with the header of a proxy.
pub(super) fn log_no_header(service: &str, group: GroupId, port: u16, proxy: Client, failure: &NotGreeted) {
    tracing::info!(
        target: "refrain::access",
        protocol = if proxy == Client::Local { "unix" } else { "tcp" },
        service,
        group = group.0,
        port,
        peer = %proxy.peer(),
        ending = "no-header",
        %failure,
    );
}
