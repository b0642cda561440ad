//! The deterministic kernel of one guest: descriptors, sockets, files, clocks, randomness, and the effects of a turn.
//!
//! Guarantees: pure. It does no I/O, reads no clock and starts no thread; everything that a guest can observe is a
//! function of the records, times and entropy it was given, so equal inputs leave equal kernels and equal effects
//! (invariants 1 and 2 of the design). [`Kernel`] is one canonical value that can be encoded and decoded.
//!
//! Leaves to others: running the guest, its linear memory, and the layouts of the WASI interfaces (crate
//! `refrain-engine`); ordering (crate `refrain-sequencer`).

pub mod budget;
pub mod clock;
mod codec;
pub mod config;
pub mod datagram;
pub mod descriptor;
pub mod effects;
pub mod errno;
pub mod files;
pub mod flow;
mod flows;
pub mod fs;
pub mod kernel;
pub mod lookup;
mod loopback;
pub mod outbound;
pub mod outward;
pub mod poll;
pub mod process;
pub mod random;
mod readiness;
pub mod rights;
pub mod slots;
pub mod socket;
pub mod solo;
pub mod stdio;
pub mod turn;
mod upgrade;

pub use codec::{DecodeError, Snapshot};
pub use config::GuestConfig;
pub use errno::Errno;
pub use kernel::Kernel;
pub use outbound::Outbound;
pub use poll::{Event, Subscription};
pub use turn::{ShardEvent, TurnEnd, TurnInput};

/// Counts the changes of what guests see and of the kernel's encoding: kernels of two numbers do not replay one log
/// alike. Part of the compatibility key of engines. 2: outward calls and datagrams. 3: one call moves 64 MiB at most, and
/// more of what calls cost is charged. 4: standard streams go one way, and directories that nothing changes say so. 5: peers of
/// datagrams have no scope. 6: a datagram waits for an owner that has just begun. 7: preview 1's socket calls refuse flags
/// that it does not have. 8: serials of calls go round, and a peer whose newest association ends is answered on another; a
/// port that was passed in is listened on until its last descriptor is closed; rights include others as the witx says.
pub const BEHAVIOUR: u32 = 8;

/// Why a guest's call has no result yet, or none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The call fails with this number.
    Errno(Errno),
    /// The call waits: ask again in the next turn.
    Block,
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}
