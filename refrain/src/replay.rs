//! A service's log replayed outside a cluster: what its replicas were given, turn by turn, and what they make of it.
//!
//! - [`folder`]: a data folder that no node uses, read and left as it is
//! - [`track`]: the entries of its log as one service is given them, by the same code as in a node
//! - [`player`]: a real replica that applies them, and tells what its guest does
//! - [`evidence`]: what the folder says of replicas: digests of checkpoints and of those that diverged, and whether the
//!   replay agrees
//! - [`mod@compare`]: two folders side by side, to the first position at which they part
//! - [`words`]: records, effects and differences for people
//!
//! Guarantees: nothing is written; equal folders give equal results, whatever the machine. A replay shows what this
//! build of the engine does: where it differs from what a folder says, either a replica was wrong or its engine was
//! another one, and the engines' keys tell which.

pub mod compare;
pub mod evidence;
pub mod folder;
pub mod player;
pub mod track;
pub mod words;

pub use compare::{Comparison, compare};
pub use evidence::{Evidence, Finding, Verifier};
pub use folder::Folder;
pub use player::{Player, Start, Turn};
pub use track::{Step, Survey, Track};

#[cfg(test)]
mod tests;
