//! One simulated machine besides its network: disk, flush worker and clocks, with what may go wrong with each.

pub mod clock;
pub mod disk;
pub mod exec;

pub use clock::{NodeClock, SimTime};
pub use disk::{DiskMutant, NodeDisk};
pub use exec::{Pace, PacedFlush};
