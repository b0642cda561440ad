//! `wasi_snapshot_preview1` over the kernel, but for its sockets, which are with those of the other families
//! ([`crate::sockets`]).
//!
//! Each function reads its arguments from the guest's memory, asks the kernel, writes the results and returns an
//! errno. Pointers are checked against the memory; nothing is written before a call succeeds. Layouts are those of
//! `wasi_snapshot_preview1.witx`.

mod descriptor;
pub(crate) mod memory;
pub(crate) mod path;
mod poll;
mod process;

pub(crate) use descriptor::fd_flags;
pub(crate) use memory::slice;

use crate::links::Links;

/// Links every function.
pub(crate) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    process::add_to(links)?;
    descriptor::add_to(links)?;
    path::add_to(links)?;
    poll::add_to(links)
}
