//! WASI 0.3 as components import it: the world `wasi:cli/command`, over the kernel.
//!
//! A component of 0.3 does several things at a time: its calls, streams and futures wait beside each other, and wasmtime's
//! event loop goes from one to the next. `waits` says who waits and in which order all are asked again, `command` where a
//! turn ends: when nothing of it can go on. Nothing else wakes a guest, so that a turn is a function of its batch as
//! it is for guests that do one thing at a time (decision record of 2026-11-27).
//!
//! What does not wait is linked as for 0.2 (`crate::preview2::links`), and resources are in the one table of both: a
//! component of 0.3 may import 0.2 too, as standard libraries still do. Rules: the WIT files of WASI 0.3.0.

mod cli;
mod clocks;
mod command;
mod filesystem;
mod links;
mod random;
mod sockets;
mod streams;
mod verdict;
mod waits;
mod wit;

use wasmtime::component::Linker;

use crate::host::Host;
use crate::preview2::links::Links;

pub(crate) use command::run;
pub(crate) use streams::Endings;
pub(crate) use waits::Waits;

/// Counts the changes of what components see, for the compatibility key. 2: reads and writes of nothing wait, accepted
/// sockets have the listener's present options, datagram sockets on loopback say 127.0.0.1.
pub(crate) const BEHAVIOUR: u32 = 2;

/// The version of every interface. A component may import any 0.3.
const VERSION: &str = "0.3.0";

/// Links every function; `traced` ones tell what they are called with.
pub(crate) fn add_to(linker: &mut Linker<Host>, traced: bool) -> wasmtime::Result<()> {
    let links = &mut Links::new(linker, traced, VERSION);
    cli::add_to(links)?;
    clocks::add_to(links)?;
    random::add_to(links)?;
    filesystem::add_to(links)?;
    sockets::add_to(links)
}
