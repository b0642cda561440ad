//! Storing a waiting guest's call stack and building it up again, by what Asyncify added to its module.
//!
//! To store it, the host call in which the guest waits sets the state to [`STORING`] and returns; every function of
//! the guest then writes its locals to the memory of the stack and returns too, down to `_start`. To build it up, the
//! state is [`BUILDING`] and `_start` is called: every function takes its locals back and calls on, up to the same
//! host call, which waits as before. The fuel of all that is not the guest's, and nothing is left in the memory of the
//! stack, so that a turn never shows whether there was a checkpoint before it.
//!
//! A module may only pretend to be instrumented. Everything it does meanwhile is bounded by [`CAPTURE_FUEL`]; a host
//! call in between ends it, on every replica alike.

use wasmtime::{AsContextMut, Caller, Global, Memory, Store, Val};

use crate::host::{Host, Shared};
use crate::meter;

/// Asyncify's states.
const NOTHING: i32 = 0;
const STORING: i32 = 1;
const BUILDING: i32 = 2;
/// Where the bounds of the stored stack lie in its memory, and how long they are: next free byte u32, end u32.
const BOUNDS_AT: usize = 0;
const BOUNDS_BYTES: u32 = 8;
/// What storing or building up a stack may cost.
const CAPTURE_FUEL: u64 = 1_000_000_000;

/// What a guest is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It runs or waits.
    Running,
    /// Its stack is being stored.
    Unwinding,
    /// Its stack is being built up.
    Rewinding,
}

/// Asyncify's state in an instance.
#[derive(Clone, Copy)]
pub(crate) struct StackStore {
    pub(crate) state: Global,
    pub(crate) data: Global,
    pub(crate) memory: Memory,
}

/// The stack could not be stored or built up: the guest's own fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StackFault {
    /// The module only looks like an instrumented one.
    #[error("its stack could not be saved: the module is not instrumented as it says")]
    Broken,
}

/// The answer to a host call that an instrumented guest would not make: it traps at its next call, loop or function.
pub(crate) fn stray_call(caller: &mut Caller<'_, Host>) -> i32 {
    meter::exhaust(caller);
    0
}

/// Lets the guest store its stack as soon as this call has returned the result.
pub(crate) fn unwind(caller: &mut Caller<'_, Host>, shared: &mut Shared) -> i32 {
    let stack = caller.data().state.stack.expect("only a guest that can store its stack is asked to");
    let end = u32::try_from(stack.memory.data_size(&*caller)).expect("it was checked when the module was loaded");
    let mut bounds = [0; BOUNDS_BYTES as usize];
    bounds[..4].copy_from_slice(&BOUNDS_BYTES.to_le_bytes());
    bounds[4..].copy_from_slice(&end.to_le_bytes());
    stack.memory.write(&mut *caller, BOUNDS_AT, &bounds).expect("the memory has at least a page");
    set(&mut *caller, stack.data, BOUNDS_AT as i32);
    set(&mut *caller, stack.state, STORING);
    shared.mode = Mode::Unwinding;
    caller.set_fuel(CAPTURE_FUEL).expect("fuel is on for every guest");
    0
}

/// After `_start` has returned: the stack is stored, and building it up is what the next call of `_start` does.
pub(crate) fn unwound(store: &mut Store<Host>) -> Result<(), StackFault> {
    let stack = store.data().state.stack.ok_or(StackFault::Broken)?;
    let bounds = stack.memory.data(&*store)[..4].try_into().expect("the memory has at least a page");
    let next = u32::from_le_bytes(bounds);
    let stored = (BOUNDS_BYTES as usize..=stack.memory.data_size(&*store)).contains(&(next as usize));
    if stack.state.get(&mut *store).i32() != Some(STORING) || !stored {
        return Err(StackFault::Broken);
    }
    set(&mut *store, stack.state, BUILDING);
    rewind(store);
    Ok(())
}

/// Prepares the call of `_start` that builds the stack up; the state is set already.
pub(crate) fn rewind(store: &mut Store<Host>) {
    let polls = {
        let mut shared = store.data().shared.lock();
        shared.mode = Mode::Rewinding;
        shared.polls
    };
    meter::refill(store, CAPTURE_FUEL, polls);
}

/// The stack is built up to the host call that is made now. Returns the turn in which it began to wait.
pub(crate) fn rewound(caller: &mut Caller<'_, Host>) -> u64 {
    let stack = caller.data().state.stack.expect("only a guest that can store its stack is captured");
    set(&mut *caller, stack.state, NOTHING);
    for page in stack.memory.data_mut(&mut *caller).chunks_mut(4096) {
        // Reading a page that was never written costs nothing that stays.
        if page.iter().any(|byte| *byte != 0) {
            page.fill(0);
        }
    }
    let fuel = caller.data().fuel_per_turn;
    let polls = caller.data().shared.lock().polls;
    meter::refill(&mut *caller, fuel, polls);
    let mut shared = caller.data().shared.lock();
    shared.mode = Mode::Running;
    shared.turn
}

fn set(mut store: impl AsContextMut, global: Global, value: i32) {
    global.set(&mut store, Val::I32(value)).expect("the layout names mutable globals of this type");
}
