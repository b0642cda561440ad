//! `wasi_snapshot_preview1` over the kernel, and the socket extension that `sdk/c` uses.
//!
//! Each function reads its arguments from the guest's memory, asks the kernel, writes the results and returns an
//! errno. Pointers are checked against the memory; nothing is written before a call succeeds. Layouts are those of
//! `wasi_snapshot_preview1.witx`; the extension's are WasmEdge's, version 1.

mod descriptor;
mod links;
mod memory;
mod path;
mod poll;
mod process;
mod socket;

use wasmtime::Linker;

use crate::host::Host;
use links::Links;
pub(crate) use memory::slice;

pub(crate) const MODULE: &str = "wasi_snapshot_preview1";

/// Links every function; where `traced`, so that a replica can tell its calls.
pub(crate) fn add_to(linker: &mut Linker<Host>, traced: bool) -> wasmtime::Result<()> {
    let links = &mut Links::new(linker, traced);
    process::add_to(links)?;
    descriptor::add_to(links)?;
    path::add_to(links)?;
    poll::add_to(links)?;
    socket::add_to(links)
}
