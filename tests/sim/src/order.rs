//! The ordered log under faults: members with the real log and driver, simulated proxies that submit to whoever leads.
//!
//! - [`member`]: one member's process;
//! - [`proxy`]: one proxy's process: it opens an epoch, submits numbered writes, follows the leader, submits again;
//! - [`frame`]: what they say to each other;
//! - [`observed`]: what is noted while they run, for the checkers;
//! - `run`: one seed, from its plan to its findings.
//!
//! Invariants (design, sections 4, 13 and 15): every accepted submission counts exactly once and in order; nothing
//! acknowledged is lost; members agree on the log and on what it means; a term has one leader; time never goes back;
//! and when the faults are over, everybody is served and all members are equal.

pub mod frame;
pub mod member;
pub mod observed;
pub mod proxy;
pub mod run;

pub use run::{Options, Outcome, run};

use refrain_wire::GroupId;

/// The group that all writes go to.
pub const GROUP: GroupId = GroupId(1);
/// Where members listen for proxies.
pub const PROXY_PORT: u16 = 7001;
/// Where members listen for each other.
pub const RAFT_PORT: u16 = 7002;
