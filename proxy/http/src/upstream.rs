//! A request to an upstream and its answer, whatever the upstream is.
//!
//! Connections to addresses belong to one loop: they are made, used again and given back there, without a lock that
//! anyone else holds and without a wake of another thread. Those of HTTP/1.1 wait in `pool` while nobody uses them;
//! an upstream that takes no more is sent a request of one loop on a connection that waits at another. Those of HTTP/2
//! carry many requests at once, see `many`.

mod address;
mod connect;
mod many;
mod pool;
mod send;

pub(crate) use address::Address;
pub(crate) use pool::{GiveBack, Pool, Pools};
pub(crate) use send::{Failure, send};
