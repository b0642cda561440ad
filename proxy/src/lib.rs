//! The proxy: clients' connections in, ordered records out; votes in, agreed bytes out.
//!
//! Guarantees invariant 3 of the design (a byte leaves only after agreement, each once, in order) and the limits of
//! sections 8 and 9. [`nat`], [`votes`] and [`core`] are pure: bytes and time go in, what to do comes out. [`tcp`]
//! drives them from sockets on one loop thread; [`net`] is the seam that simulation replaces.
//!
//! Leaves to others: the order of records (`sequencer`), turns and votes (`engine`), and wiring them (`refrain`).

pub mod core;
pub mod nat;
pub mod net;
pub mod proxy_protocol;
pub mod tcp;
pub mod votes;
