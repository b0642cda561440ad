//! An uplink: from every node to that of the leader, for what needs the leader's answer or is not in the log.
//!
//! Whoever accepts an uplink says first whether its member leads, and again whenever that changes. A node that is told
//! `NotLeader` looks elsewhere; what it sent and was not answered may or may not have been ordered, and the log tells.

mod from_leader;
mod preparation;
mod to_leader;

pub use from_leader::{FromLeader, Why};
pub use preparation::Preparation;
pub use to_leader::{MemberChange, Progress, ToLeader};
