//! Whole nodes under faults: three or five hosts that each run what `refrain node` runs (proxy, member of the log,
//! engine, or some of these), real guests, and clients that only know the service.
//!
//! - [`guests`]: the services, compiled once for all runs of a process;
//! - [`host`]: one node's process;
//! - [`store`], [`echo`], [`script`]: clients; [`resp`] is the language of two of them, [`life`] what they share;
//! - [`mod@reference`]: one single server, to compare with;
//! - [`operator`]: looks at nodes, breaks replicas, repairs what only an operator may;
//! - [`observed`]: what is noted while they run, for the checkers;
//! - `run`: one seed, from its plan to its findings.
//!
//! Real here: the loop thread's code of every role, openraft and the log's files, all streams between nodes, wasmtime
//! and the guests, checkpoints and joins, the proxy's front end down to its seam for sockets. Not real: the log's disk,
//! the network, clocks, the engine's threads (turns run inline), sockets, the admin API's HTTP, bundles fetched from
//! other nodes. Checkpoints are in a real folder, which no fault hits.
//!
//! Invariants (design, sections 5, 9, 13 and 15): clients see one server that loses nothing that it acknowledged, does
//! nothing twice and answers each flow as a single server would; replicas at one position are equal; and when the
//! faults are over everybody is served and every replica follows.

pub mod echo;
pub mod guests;
pub mod host;
pub mod life;
pub mod observed;
pub mod operator;
pub mod reference;
pub mod resp;
pub mod run;
pub mod script;
pub mod store;

pub use run::{Options, Outcome, run};

/// Where nodes listen for each other.
pub const NODE_PORT: u16 = 7000;
/// Where the key-value server's clients connect to, as its manifest says.
pub const STORE_PORT: u16 = 6380;
/// Where the echo server's clients connect to, as its manifest says.
pub const ECHO_PORT: u16 = 7007;
