//! Which upstream of a release gets a request.
//!
//! `pick`, `ejection` and `retry` are pure; `load` counts what is under way, over all loops; `release` puts them
//! together and lets requests wait, in a queue of bounded length and time, when all upstreams are full; `share` keeps one
//! client from having them all.

mod ejection;
mod load;
mod pick;
mod release;
mod retry;
mod share;

pub(crate) use load::{Lease, ReleaseLoad, Ticket, UpstreamLoad, take_place};
pub(crate) use release::{Here, ReleaseState, UpstreamState};
pub(crate) use retry::{is_idempotent, may_go_elsewhere};
pub(crate) use share::{Share, Shares};
