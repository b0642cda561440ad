//! One run of a component: instantiate it, find its state, call `run`.

use wasmtime::component::{InstancePre, TypedFunc};
use wasmtime::{Store, ThrownException, Trap};

use super::resources::{fault, max_handles};
use crate::host::{ExitCode, GuestFault, Host, HostFault};

/// The most bytes that one call brings from the guest: a call with more ends it.
const MAX_CALL_BYTES: usize = 64 << 20;

/// What `run` gives back.
pub(crate) type Status = (Result<(), ()>,);

/// Runs the component by the interface of this name.
pub(crate) async fn run(pre: &InstancePre<Host>, command: &str, store: &mut Store<Host>) -> wasmtime::Result<()> {
    let run = begin(pre, command, store).await?;
    ended(run.call_async(&mut *store, ()).await)
}

/// Instantiates the component and finds its `run`.
pub(crate) async fn begin(
    pre: &InstancePre<Host>,
    command: &str,
    store: &mut Store<Host>,
) -> wasmtime::Result<TypedFunc<(), Status>> {
    store.set_hostcall_fuel(MAX_CALL_BYTES);
    let descriptors = store.data().shared.lock().kernel().config().max_descriptors;
    store.set_max_component_handles(max_handles(descriptors));
    let instance = pre.instantiate_async(&mut *store).await.map_err(of_start)?;
    store.data_mut().limits.instantiated();
    let interface = instance.get_export_index(&mut *store, None, command);
    let run = interface.and_then(|interface| instance.get_export_index(&mut *store, Some(&interface), "run"));
    let run = run.ok_or_else(|| fault("does not export `run`".to_owned()))?;
    let run = instance.get_typed_func::<(), Status>(&mut *store, run);
    run.map_err(|error| fault(format!("its `run` is something else: {error}")))
}

/// What came of `run`.
pub(crate) fn ended(status: wasmtime::Result<Status>) -> wasmtime::Result<()> {
    match status {
        Ok((Ok(()),)) => Ok(()),
        Ok((Err(()),)) => Err(wasmtime::Error::new(ExitCode(1))),
        Err(error) => Err(told(error)),
    }
}

/// What a component breaks while it is instantiated is its own fault where its code ran; else the host's, or that of a
/// limit, which says so by itself.
fn of_start(error: wasmtime::Error) -> wasmtime::Error {
    if error.is::<wasmtime::WasmBacktrace>() { told(error) } else { error }
}

/// What a component breaks of the rules of its interfaces is told as a plain error, which is the guest's fault; what is
/// the host's fault says so itself, or comes from the system.
fn told(error: wasmtime::Error) -> wasmtime::Error {
    let has_kind = error.is::<Trap>() || error.is::<ExitCode>() || error.is::<GuestFault>() || error.is::<HostFault>();
    let is_known = has_kind || error.is::<ThrownException>() || error.is::<wasmtime::GcHeapOutOfMemory<()>>();
    let is_of_system = error.chain().any(|cause| cause.is::<std::io::Error>() || cause.is::<wasmtime::OutOfMemory>());
    if is_known || is_of_system { error } else { fault(error.root_cause().to_string()) }
}
