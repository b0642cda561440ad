//! The deterministic simulation: the real crates on a simulated network, disk and clock, under faults, from one seed.
//!
//! - [`dice`]: everything random in a run comes from its seed;
//! - [`plan`]: the faults of a run;
//! - [`net`]: what a host sees of the network, and the gates that faults close;
//! - [`machine`]: disk, flush worker and clocks of a host;
//! - [`hosts`]: the hosts of a run, and what faults do to them;
//! - [`trace`]: everything that happened, as one digest;
//! - [`panics`]: panics of tasks that nobody waits for;
//! - [`check`]: judges of what was seen;
//! - [`order`]: the ordered log under faults;
//! - [`node`]: whole nodes, guests and clients under faults.
//!
//! Leaves to others: real processes, sockets and disks (`tests/tests/e2e_*`).

pub mod check;
pub mod dice;
pub mod hosts;
pub mod machine;
pub mod net;
pub mod node;
pub mod order;
pub mod panics;
pub mod plan;
pub mod trace;
