//! A request to an upstream and its answer, whatever the upstream is.
//!
//! Connections to addresses belong to one loop: they are made, used again and given back there, without a lock that
//! anyone else holds and without a wake of another thread.

mod connect;
mod pool;
mod send;

pub(crate) use pool::{Address, GiveBack, Pool};
pub(crate) use send::{Failure, send};
