//! `wasi_snapshot_preview1` over the kernel, and the socket extension that `sdk/c` uses.
//!
//! Each function reads its arguments from the guest's memory, asks the kernel, writes the results and returns an
//! errno. Pointers are checked against the memory; nothing is written before a call succeeds. Layouts are those of
//! `wasi_snapshot_preview1.witx`; the extension's are WasmEdge's, version 1.

mod descriptor;
mod memory;
mod path;
mod poll;
mod process;
mod socket;

use refrain_inspect::asyncify::waits;
use wasmtime::{Caller, Linker, WasmTyList};

use crate::host::Host;

pub(crate) const MODULE: &str = "wasi_snapshot_preview1";

pub(crate) fn add_to(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    process::add_to(linker)?;
    descriptor::add_to(linker)?;
    path::add_to(linker)?;
    poll::add_to(linker)?;
    socket::add_to(linker)
}

/// Links a function in which a guest may have to wait.
///
/// # Panics
/// When modules are not instrumented for it: their guests could not be saved while they wait in it.
fn waiting<P: WasmTyList + 'static>(
    linker: &mut Linker<Host>,
    name: &str,
    function: impl for<'a> Fn(Caller<'a, Host>, P) -> Box<dyn Future<Output = i32> + Send + 'a> + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    assert!(waits(MODULE, name), "{name} is not in the inspector's table of functions that may wait");
    linker.func_wrap_async(MODULE, name, function)?;
    Ok(())
}
