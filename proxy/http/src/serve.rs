//! The shell: threads, sockets, connections, and the way of a request through the pure parts.
//!
//! Each loop thread is a tokio `current_thread` runtime with sockets of its own at every address, shared by the kernel
//! (`SO_REUSEPORT`). A connection stays on the loop that accepted it, and so does everything that its requests need: a
//! handler's future, connections to upstreams, timers. Over HTTP/1.1 a request costs no task and no channel of ours.

mod accept;
mod answering;
mod bind;
mod connection;
mod drive;
mod exchange;
mod greet;
mod guard;
mod linger;
mod outgoing;
mod preface;
mod prepare;
mod probe;
mod pulse;
mod shared;
mod stall;
mod stream;
mod threads;
mod tunnel;
mod unix;
mod unread;

pub(crate) use accept::attend;
pub use bind::BindError;
pub(crate) use bind::{Bound, bind};
pub(crate) use prepare::prepare;
pub(crate) use shared::{InnerPlace, Loop, Shared};
pub use threads::SpawnError;
pub(crate) use threads::Threads;
