//! WASI 0.2 as components import it: the world `wasi:cli/command`, over the kernel.
//!
//! Each function reads its arguments, asks the kernel, and gives back what it said in the words of its interface. What
//! the interfaces have besides preview 1 is kept in [`Resources`]: handles of streams, sockets and pollables, in a table
//! whose numbers follow from the guest's calls alone. A call that has to wait suspends the guest as those of preview 1
//! do (`crate::host`), and costs fuel as they do.
//!
//! What an interface forbids, such as the use of a stream that is no one's, ends the guest with words that are the same
//! on every replica. Rules: the WIT files of WASI 0.2.12; a component may ask for any 0.2.

pub(crate) mod cli;
pub(crate) mod clocks;
pub(crate) mod command;
pub(crate) mod filesystem;
pub(crate) mod links;
mod poll;
pub(crate) mod random;
pub(crate) mod resources;
pub(crate) mod sockets;
mod streams;
pub(crate) mod wit;

use wasmtime::component::Linker;

use crate::host::Host;
use links::Links;

pub(crate) use command::run;
pub(crate) use resources::Resources;

/// Counts the changes of what components see, for the compatibility key.
pub(crate) const BEHAVIOUR: u32 = 2;

/// The version of every interface. A component may import any 0.2.
const VERSION: &str = "0.2.12";

/// Links every function; `traced` ones tell what they are called with.
pub(crate) fn add_to(linker: &mut Linker<Host>, traced: bool) -> wasmtime::Result<()> {
    let links = &mut Links::new(linker, traced, VERSION);
    poll::add_to(links)?;
    streams::add_to(links)?;
    cli::add_to(links)?;
    clocks::add_to(links)?;
    random::add_to(links)?;
    filesystem::add_to(links)?;
    sockets::add_to(links)
}
