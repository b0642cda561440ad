//! The engine: runs Wasm guests as deterministic replicas.
//!
//! Guarantees: a turn is a function of the batches a replica was given (invariants 1 and 2 of the design); a guest's
//! fault ends the guest and nothing else; no guest, however it spins, keeps another replica of its worker from its
//! turn for more than a slice of fuel at a time, nor for more than eight a turn.
//!
//! Reading order: [`platform`] (how wasmtime is set up), [`module`] (from bytes to code), `host` and `guest` (one
//! instance and its suspension), [`replica`] (a turn), `stack` and [`checkpoint`] (a replica's whole state, out and
//! in), [`workers`] (threads), `meter` (when a guest yields), `preview1`, `preview2` and `preview3` (the WASI adapters
//! over the kernel, for modules and for components), [`trace`] (the calls that guests make). Leaves to others: ordering, agreement, sockets.

mod blueprint;
pub mod checkpoint;
mod guest;
mod host;
mod links;
mod meter;
pub mod module;
pub mod platform;
mod preview1;
mod preview2;
mod preview3;
pub mod replica;
mod sockets;
mod stack;
pub mod trace;
pub mod workers;

pub use module::{Compiled, LoadError};
pub use platform::Platform;
pub use replica::{GuestView, Replica, ReplicaId, TurnBatch, TurnOutcome, Usage};
pub use workers::{BatchSource, Lasted, Report, Workers};
