//! One run of a guest as a future: instantiate, call `_start` or a component's `run`, say how it ended.

use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use refrain_inspect::asyncify::Layout;
use refrain_kernel::process::GuestEnd;
use wasmtime::{Extern, GcHeapOutOfMemory, Instance, InstancePre, Store, ThrownException, Trap};

use crate::checkpoint::image::Image;
use crate::checkpoint::restore::{RestoreFault, Restoring};

use crate::host::{ExitCode, GuestFault, GuestState, Host, HostFault, Limits, Shared};
use crate::meter;
use crate::module::{Code, Compiled};
use crate::stack::{self, Mode, StackFault, StackStore};
use crate::{preview2, preview3};

/// How a run ended.
pub(crate) enum RunEnd {
    /// The guest ended, on every replica alike.
    Guest(GuestEnd),
    /// This host failed it: the replica must stop.
    Host(String),
}

/// A guest that runs. One poll is one turn, or a part of one when the guest yields its core.
pub(crate) type Run = Pin<Box<dyn Future<Output = RunEnd> + Send>>;

/// What bounds a guest besides its kernel's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// The most bytes of all memories together, that of the stack aside.
    pub memory_bytes: u64,
    /// The most elements of all tables together.
    pub table_elements: u32,
    /// Fuel a turn; `None` is unlimited.
    pub fuel_per_turn: Option<u64>,
}

/// How a run begins.
pub(crate) enum Beginning {
    /// With `_start`.
    Start,
    /// With `_start`, in the trial of an upgrade: its start has a limit of fuel even where turns have none.
    Trial,
    /// Where the guest of a checkpoint waited.
    Restored(Restoring),
}

/// Fuel of the start of what is tried, where turns have no limit: about 10 s of work.
const TRIAL_FUEL: u64 = 10_000_000_000;

/// Prepares a run of `compiled`; the first poll instantiates it.
pub(crate) fn run(compiled: Arc<Compiled>, shared: Arc<Mutex<Shared>>, limits: RunLimits, beginning: Beginning) -> Run {
    Box::pin(async move {
        let fuel_per_turn = limits.fuel_per_turn.unwrap_or(u64::MAX);
        let memory_bytes = usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX);
        let polls = shared.lock().polls;
        let mut limiter = Limits::new(memory_bytes, limits.table_elements as usize);
        if let Ok(layout) = &compiled.checkpointable {
            limiter.exempt(layout.memory);
        }
        let host = Host::new(shared, limiter, fuel_per_turn);
        let mut store = Store::new(&compiled.platform.engine, host);
        store.limiter(|host| &mut host.limits);
        let (restoring, without_limit) = match beginning {
            Beginning::Start => (None, u64::MAX),
            Beginning::Trial => (None, TRIAL_FUEL),
            Beginning::Restored(restoring) => (Some(restoring), u64::MAX),
        };
        let fuel = limits.fuel_per_turn.unwrap_or(without_limit);
        meter::refill(&mut store, fuel, polls);
        let ended = match &compiled.code {
            Code::Module(pre) => start(&compiled, pre, &mut store, restoring).await,
            Code::Component(pre, command) => preview2::run(pre, command, &mut store).await,
            Code::Concurrent(pre, command) => preview3::run(pre, command, &mut store).await,
        };
        let fuel_left = meter::settle(&mut store);
        let (mode, keeps_fuel) = {
            let mut shared = store.data().shared.lock();
            if shared.mode == Mode::Running {
                shared.fuel_left = fuel_left;
            }
            (std::mem::replace(&mut shared.mode, Mode::Running), shared.keeps_fuel)
        };
        match ended {
            Ok(()) => RunEnd::Guest(GuestEnd::Exit(0)),
            Err(error) if mode != Mode::Running => unsaved(&error),
            Err(error) => classify(&error, &store.data().limits, limits, keeps_fuel),
        }
    })
}

async fn start(
    compiled: &Compiled,
    pre: &InstancePre<Host>,
    store: &mut Store<Host>,
    restoring: Option<Restoring>,
) -> wasmtime::Result<()> {
    let instance = pre.instantiate_async(&mut *store).await?;
    store.data_mut().limits.instantiated();
    store.data_mut().state = state_of(compiled, &instance, store);
    let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
    if let Some(restoring) = restoring {
        restoring.put(store)?;
        stack::rewind(store);
    }
    loop {
        let returned = start.call_async(&mut *store, ()).await;
        if store.data().shared.lock().mode == Mode::Running {
            return returned;
        }
        returned?;
        stack::unwound(store)?;
        let image = Image::capture(&mut *store);
        store.data().shared.lock().image = Some(image);
    }
}

/// Collects what `refrain_inspect::export_state` exported, and the memory under its usual name.
fn state_of(compiled: &Compiled, instance: &Instance, store: &mut Store<Host>) -> GuestState {
    let memory = instance.get_memory(&mut *store, "memory");
    let tracker = compiled.platform.tracker.clone();
    let mut state = GuestState { memory, tracker, ..GuestState::default() };
    let reserved: Vec<Extern> = (instance.exports(&mut *store))
        .filter(|export| export.name().starts_with(refrain_inspect::RESERVED_PREFIX))
        .map(wasmtime::Export::into_extern)
        .collect();
    for item in reserved {
        match item {
            Extern::Global(global) => state.globals.push(global),
            Extern::Table(table) => state.tables.push(table),
            Extern::Memory(memory) => {
                state.memory = state.memory.or(Some(memory));
                state.memories.push(memory);
            }
            _ => {}
        }
    }
    state.stack = compiled.checkpointable.as_ref().ok().and_then(|layout| stack_of(layout, instance, store));
    state
}

fn stack_of(layout: &Layout, instance: &Instance, store: &mut Store<Host>) -> Option<StackStore> {
    let name = |what: &str, index: u32| format!("{}{what}:{index}", refrain_inspect::RESERVED_PREFIX);
    Some(StackStore {
        state: instance.get_global(&mut *store, &name("global", layout.state_global))?,
        data: instance.get_global(&mut *store, &name("global", layout.data_global))?,
        memory: instance.get_memory(&mut *store, &name("memory", layout.memory))?,
    })
}

/// The end of a guest whose stack could not be stored or built up.
fn unsaved(error: &wasmtime::Error) -> RunEnd {
    if let Some(fault) = error.downcast_ref::<HostFault>() {
        return RunEnd::Host(format!("{fault}: {error:#}"));
    }
    if let Some(error) = error.downcast_ref::<RestoreFault>() {
        return RunEnd::Host(error.to_string());
    }
    RunEnd::Guest(GuestEnd::Trap(match error.downcast_ref::<Trap>() {
        Some(Trap::MemoryOutOfBounds) => "its stack is too deep to be saved in a checkpoint".to_owned(),
        Some(Trap::OutOfFuel) | None => StackFault::Broken.to_string(),
        Some(trap) => format!("{} ({trap})", StackFault::Broken),
    }))
}

/// Words for the end that are the same on every replica: no addresses, no host paths.
fn classify(error: &wasmtime::Error, grown: &Limits, limits: RunLimits, keeps_fuel: bool) -> RunEnd {
    if let Some(fault) = error.downcast_ref::<HostFault>() {
        return RunEnd::Host(format!("{fault}: {error:#}"));
    }
    if let Some(ExitCode(code)) = error.downcast_ref::<ExitCode>() {
        return RunEnd::Guest(GuestEnd::Exit(*code));
    }
    if let Some(fault) = error.downcast_ref::<GuestFault>() {
        return RunEnd::Guest(GuestEnd::Trap(format!("trapped: {fault}")));
    }
    let memory = if grown.memory_refused {
        format!(" (its memory limit of {} bytes was reached)", limits.memory_bytes)
    } else {
        String::new()
    };
    if error.is::<ThrownException>() {
        return RunEnd::Guest(GuestEnd::Trap("trapped: threw an exception that nothing catches".to_owned()));
    }
    // Exceptions are on a heap of their own, which counts as the guest's memories do.
    if error.is::<GcHeapOutOfMemory<()>>() {
        let limit = limits.memory_bytes;
        let words = format!("trapped: its exceptions need more than its memory limit of {limit} bytes");
        return RunEnd::Guest(GuestEnd::Trap(words));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => {
            // Without a limit only a trial can use up its fuel.
            let fuel = limits.fuel_per_turn.unwrap_or(TRIAL_FUEL);
            let turn = if keeps_fuel { "" } else { " in one turn without waiting" };
            RunEnd::Guest(GuestEnd::Trap(format!("trapped: used up its fuel of {fuel}{turn}")))
        }
        Some(trap) => RunEnd::Guest(GuestEnd::Trap(format!("trapped: {trap}{memory}"))),
        None if grown.memory_refused => RunEnd::Guest(GuestEnd::Trap(format!("could not be started{memory}"))),
        None if grown.tables_refused => RunEnd::Guest(GuestEnd::Trap(format!(
            "could not be started (its tables have more than {} elements)",
            limits.table_elements
        ))),
        None => RunEnd::Host(format!("{error:#}")),
    }
}
