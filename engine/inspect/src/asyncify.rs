//! Whether a guest's whole state can be saved while it waits in a host call, and how its module is made so.
//!
//! A waiting guest has state that no host can read: its call stack. Binaryen's Asyncify rewrites a module so that the
//! guest stores the stack in a memory of its own and returns, and builds it up again from there. [`layout`] finds what
//! Asyncify added, [`checkpointable`] decides from the bytes alone whether everything a guest can see can be saved and
//! put back: it trusts no name, it looks at every function on a path to a call that may wait.
//!
//! `wasm-opt.args` is the one table of the functions that may wait and of how `wasm-opt` is called; the engine checks
//! itself against it when it links, and `examples/build` reads it too.

mod reason;
mod scan;

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::Operator;

pub use reason::Reason;
use scan::Scan;

use crate::module::InspectError;

const WASM_OPT_ARGS: &str = include_str!("asyncify/wasm-opt.args");
const IMPORTS_ARG: &str = "--pass-arg=asyncify-imports@";
/// The most bytes of the memory that Asyncify keeps the stack in: it is cleared at each checkpoint.
pub const MAX_STACK_BYTES: u64 = 16 * 1024 * 1024;
/// The most memories of a guest that can be saved, that of its stack included.
pub const MAX_MEMORIES: usize = 16;
const PAGE_BYTES: u64 = 65_536;

/// What `wasm-opt` is called with, besides the names of its files.
pub fn wasm_opt_args() -> impl Iterator<Item = &'static str> {
    WASM_OPT_ARGS.lines()
}

/// The functions in which a guest may have to wait: the module that a guest imports them from, and their names. A name
/// stands for the functions of all types that it has.
pub fn waiting_imports() -> impl Iterator<Item = (&'static str, &'static str)> {
    let list = wasm_opt_args().find_map(|arg| arg.strip_prefix(IMPORTS_ARG)).unwrap_or_default();
    list.split(',').filter_map(|import| import.split_once('.'))
}

/// Whether a guest may have to wait in this function.
pub fn waits(module: &str, name: &str) -> bool {
    waiting_imports().any(|waiting| waiting == (module, name))
}

/// Where Asyncify keeps its state in a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Index of the global that says what goes on: 0 nothing, 1 storing the stack, 2 building it up.
    pub state_global: u32,
    /// Index of the global that holds the address of the stack's bounds.
    pub data_global: u32,
    /// Index of the memory that the stack is stored in.
    pub memory: u32,
    /// How large that memory is, always.
    pub memory_bytes: u64,
}

/// Where Asyncify keeps its state; `None` in a module that is not instrumented, or not in the way that is needed.
pub fn layout(bytes: &[u8]) -> Option<Layout> {
    let scan = Scan::of(bytes).ok()?;
    find(&scan).ok()
}

/// Whether the state of a guest of this module can be saved wherever it may wait, and put back.
///
/// # Errors
/// Everything that is in the way. Such a module runs all the same; its replicas are rebuilt from the log alone.
pub fn checkpointable(bytes: &[u8]) -> Result<Layout, Vec<Reason>> {
    if crate::is_component(bytes) {
        return Err(vec![Reason::Component]);
    }
    let scan = Scan::of(bytes).map_err(|error: InspectError| vec![Reason::Invalid { message: error.to_string() }])?;
    let mut reasons = scan.obstacles.clone();
    match find(&scan) {
        Ok(layout) => {
            reasons.extend(uncovered(&scan, layout.state_global));
            if reasons.is_empty() { Ok(layout) } else { Err(reasons) }
        }
        Err(reason) => {
            reasons.insert(0, reason);
            Err(reasons)
        }
    }
}

fn find(scan: &Scan<'_>) -> Result<Layout, Reason> {
    let body = |name: &str| scan.exported_body(name).ok_or(Reason::NotInstrumented);
    let [Operator::GlobalGet { global_index: state_global }, Operator::End] = body("asyncify_get_state")?[..] else {
        return Err(Reason::UnknownForm);
    };
    let start = body("asyncify_start_unwind")?;
    let [
        Operator::I32Const { value: 1 },
        Operator::GlobalSet { global_index: state },
        Operator::LocalGet { local_index: 0 },
        Operator::GlobalSet { global_index: data_global },
        Operator::GlobalGet { .. },
        Operator::I32Load { memarg },
        ..,
    ] = start[..]
    else {
        return Err(Reason::UnknownForm);
    };
    if state != state_global || !scan.is_mutable_i32(state_global) || !scan.is_mutable_i32(data_global) {
        return Err(Reason::UnknownForm);
    }
    if memarg.memory == 0 {
        return Err(Reason::StackInOwnMemory);
    }
    let Some((min_pages, max_pages)) = scan.memories.get(memarg.memory as usize).copied() else {
        return Err(Reason::UnknownForm);
    };
    let memory_bytes = min_pages.saturating_mul(PAGE_BYTES);
    if Some(min_pages) != max_pages || memory_bytes == 0 || memory_bytes > MAX_STACK_BYTES {
        return Err(Reason::StackMemory { min_pages, max_pages });
    }
    Ok(Layout { state_global, data_global, memory: memarg.memory, memory_bytes })
}

/// Functions on a path to a call that may wait that do not look at Asyncify's state, as an instrumented one must.
fn uncovered(scan: &Scan<'_>, state_global: u32) -> Vec<Reason> {
    if scan.waiting.is_empty() {
        return Vec::new();
    }
    let mut callers: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (index, function) in &scan.functions {
        function.calls.iter().for_each(|callee| callers.entry(*callee).or_default().push(*index));
    }
    let indirect = scan.functions.iter().filter(|(_, function)| function.indirect).map(|(index, _)| *index);
    let mut reaching: BTreeSet<u32> = scan.waiting.iter().copied().chain(indirect).collect();
    let mut open: Vec<u32> = reaching.iter().copied().collect();
    while let Some(callee) = open.pop() {
        let found = callers.remove(&callee).unwrap_or_default();
        open.extend(found.into_iter().filter(|caller| reaching.insert(*caller)));
    }
    let reaching = reaching.iter().filter_map(|index| Some((*index, scan.functions.get(index)?)));
    let plain = reaching.filter(|(_, function)| !function.reads.contains(&state_global));
    plain.map(|(function, _)| Reason::Uncovered { function }).collect()
}
