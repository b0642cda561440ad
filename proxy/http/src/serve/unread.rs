//! What the access log and the counters are told of clients whose requests could not be read, or were not: who, and why.

use std::error::Error;
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

use super::drive::Ended;
use super::pulse::{Late, Pulse};
use super::shared::Loop;
use crate::answer::Fault;

/// Tells of a client that is answered so, or would be if it could be answered.
pub(super) fn tell(own: &Loop, client: IpAddr, fault: &Fault, reason: &dyn Display) {
    let gauges = &own.shared.gauges;
    let is_closed = matches!(fault, Fault::ConnectionsFull | Fault::ClientConnections);
    let counter = if is_closed { &gauges.turned_away } else { &gauges.refused };
    counter.fetch_add(1, Relaxed);
    gauges.count_fault(fault.code());
    if own.live().plan.access_log && (!is_closed || own.may_tell()) {
        tracing::info!(
            target: "access",
            %client,
            method = "-",
            host = "-",
            path = "-",
            status = fault.status().as_u16(),
            error = fault.code(),
            %reason,
            "no request"
        );
    }
}

/// Tells of a connection of HTTP/2 that was ended because its client broke the rules, or did what only floods do.
pub(super) fn tell_end_of_http2(own: &Loop, client: IpAddr, ended: &Ended) {
    let Ended::Broken(error) = ended else { return };
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    if let Some(cause) = cause.filter(|cause| cause.is_go_away() && cause.is_library()) {
        tell(own, client, &Fault::Http2Broken, cause);
    }
}

/// Tells of a connection of HTTP/1.1 that ended before a request of it could be read.
pub(super) fn tell_end(own: &Loop, client: IpAddr, ended: &Ended, pulse: &Pulse) {
    match ended {
        Ended::Late(Late::Head) => {
            tell(own, client, &Fault::HeadSlow, &format_args!("{:?} are over", own.shared.limits.head));
        }
        Ended::Broken(error) if error.is_parse_too_large() && error.to_string().contains("URI") => {
            tell(own, client, &Fault::UriTooLong, error);
        }
        Ended::Broken(error) if error.is_parse_too_large() => tell(own, client, &Fault::HeadTooLarge, error),
        Ended::Broken(error) if error.is_parse() => tell(own, client, &Fault::Malformed, error),
        Ended::Broken(error) if error.is_incomplete_message() && pulse.is_in_head() => {
            tell(own, client, &Fault::HeadBroken, error);
        }
        Ended::Over | Ended::Late(_) | Ended::Broken(_) => {}
    }
}
