//! Checkers: pure judges of what was seen during a run. Each takes observations and returns what is wrong with them.
//!
//! - [`linear`]: a history of operations that overlap in time has an order in which each of them makes sense;
//! - [`acked`]: each acknowledged write is there once, none is lost, none was invented;
//! - [`flow`]: a client got the bytes that one single server would have sent;
//! - [`offsets`]: what is emitted of a flow goes on where it ended;
//! - [`log`]: members agree on the log, what was committed stays, a term has one leader;
//! - [`dedup`]: submissions count once, in order, without gaps, judged by a model of its own.

use std::fmt;

pub mod acked;
pub mod dedup;
pub mod flow;
pub mod linear;
pub mod log;
pub mod offsets;

/// What a checker found; a run with one has failed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The invariant that does not hold, in a few words; the same for the same fault.
    pub broken: &'static str,
    /// What was seen.
    pub seen: String,
}

impl Finding {
    /// A finding about `broken`.
    pub fn new(broken: &'static str, seen: impl Into<String>) -> Self {
        Self { broken, seen: seen.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.broken, self.seen)
    }
}
