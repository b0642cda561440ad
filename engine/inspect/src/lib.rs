//! What a module is, what it needs, and whether the engine can run it: decided from its bytes alone, without running
//! or compiling it. Depends on wasmparser, never on wasmtime, so that `rctl` stays small.
//!
//! - [`inspect`] -> [`Report`]: imports with their socket family, memories, exports, features; what is missing and why
//! - [`inspect_component`] -> [`Component`]: whether a component is handed HTTP requests or is a program, what it
//!   imports, what is missing
//! - [`abi`]: the table of every host function, with its exact type; a test of the engine compares it with what is
//!   linked
//! - [`asyncify`]: whether a guest's state can be saved while it waits, and how a module is made so
//! - [`link_names()`]: the same module with each import under the name of the function that its type asks for
//! - [`export_state()`]: the same module with its state exported, so that a host can digest all of it
//!
//! Rules: `wasi_snapshot_preview1.witx` for preview 1; WasmEdge's and WASIX's own definitions for their extensions.

pub mod abi;
pub mod asyncify;
mod component;
mod export_state;
mod feature;
mod import;
mod link_names;
mod loops;
mod module;
mod report;
mod sentences;
mod signature;

pub use component::{
    Component, Handler, Interface, MAX_PARTS, Unrunnable, Unservable, inspect_component, is_component,
};
pub use export_state::{ExportStateError, RESERVED_PREFIX, export_state};
pub use feature::Feature;
pub use import::{Import, ImportKind, Missing, Reason};
pub use link_names::link_names;
pub use loops::MAX_LOOP_DEPTH;
pub use module::{InspectError, inspect};
pub use report::{Memory, Problem, Report, StartExport, Table};
pub use sentences::{MAX_SENTENCES, sentences};
pub use signature::{Signature, ValType};
