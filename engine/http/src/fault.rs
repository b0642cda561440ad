//! Why a guest's call ended badly, as the host sees it. Callers see a [`Refusal`] or a [`BodyError`] made of it.
//!
//! [`Refusal`]: crate::Refusal
//! [`BodyError`]: crate::BodyError

use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

/// The guest has used the processor time that its limits allow.
#[derive(Debug, thiserror::Error)]
#[error("the guest has used the processor time of its limits")]
pub(crate) struct CpuSpent;

/// What went wrong, in words that a client may see, and at length for whoever runs the service.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// wasmtime's own account, with the guest's stack.
    pub(crate) detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No instance could be made.
    Instantiate,
    /// The processor time of the limits is used up.
    Cpu,
    /// The guest trapped, or asked to exit; the word says how.
    Trapped(&'static str),
}

impl Fault {
    pub(crate) fn new(error: &wasmtime::Error) -> Self {
        let kind = if error.is::<CpuSpent>() { Kind::Cpu } else { Kind::Trapped(word(error)) };
        Self { kind, detail: format!("{error:?}") }
    }

    pub(crate) fn instantiate(error: &wasmtime::Error) -> Self {
        let kind = match Self::new(error).kind {
            Kind::Trapped("host") => Kind::Instantiate,
            other => other,
        };
        Self { kind, detail: format!("{error:?}") }
    }

    /// A guest that is gone without a word of how: its task was lost with the runtime that ran it.
    pub(crate) fn lost() -> Self {
        Self { kind: Kind::Trapped("lost"), detail: "the instance is gone with the runtime that ran it".into() }
    }
}

fn word(error: &wasmtime::Error) -> &'static str {
    if error.is::<I32Exit>() {
        return "exit";
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => "unreachable",
        Some(Trap::StackOverflow) => "stack overflow",
        Some(Trap::MemoryOutOfBounds | Trap::HeapMisaligned) => "memory out of bounds",
        Some(Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature) => "bad indirect call",
        Some(Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger) => "arithmetic",
        Some(Trap::AsyncDeadlock | Trap::NoAsyncResult) => "deadlock",
        Some(_) => "trap",
        None => "host",
    }
}
