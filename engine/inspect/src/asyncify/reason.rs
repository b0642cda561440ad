//! Why the state of a guest cannot be saved, in words.

use std::fmt;

use serde::Serialize;

use super::MAX_MEMORIES;

/// One thing that keeps a module's guests from being saved in checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It is no module.
    Invalid {
        /// What is wrong with it.
        message: String,
    },
    /// It is a component, which nobody instruments.
    Component,
    /// It was not rewritten by Asyncify.
    NotInstrumented,
    /// It was, but not in a form that is known here.
    UnknownForm,
    /// Asyncify would store the stack in the guest's own memory.
    StackInOwnMemory,
    /// The memory for the stack may change its size, or is too large.
    StackMemory {
        /// Pages at the start.
        min_pages: u64,
        /// Pages that it may grow to.
        max_pages: Option<u64>,
    },
    /// A function on the way to a call that may wait is as it was before Asyncify.
    Uncovered {
        /// Its index.
        function: u32,
    },
    /// It throws exceptions, which are objects of a heap that no host can read.
    Exceptions,
    /// A function runs whenever the module is instantiated.
    StartFunction,
    /// A table is changed by code.
    ChangesTable {
        /// Its index.
        table: u32,
    },
    /// A mutable global holds a reference.
    ReferenceGlobal {
        /// Its index.
        global: u32,
    },
    /// It has too many memories.
    Memories {
        /// How many.
        count: usize,
    },
    /// Code gives up segments of data or elements, which nobody can see afterwards.
    DropsSegment,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { message } => f.write_str(message),
            Self::Component => f.write_str("it is a component, and only core modules can be instrumented"),
            Self::NotInstrumented => f.write_str("not instrumented: build it with `rctl service build`"),
            Self::UnknownForm => f.write_str("instrumented in a form that is not known; use binaryen 132"),
            Self::StackInOwnMemory => {
                f.write_str("its stack would be stored in its own memory; build it with `rctl service build`")
            }
            Self::StackMemory { min_pages, max_pages } => {
                let max = max_pages.map_or("no maximum".to_owned(), |max| format!("at most {max}"));
                write!(
                    f,
                    "the memory for its stack has {min_pages} pages and {max}; expected one fixed size of up to 256"
                )
            }
            Self::Uncovered { function } => {
                write!(f, "function {function} leads to a call that may wait and is not instrumented")
            }
            Self::Exceptions => f.write_str("it throws exceptions, which cannot be saved"),
            Self::StartFunction => f.write_str("its start function would run again when it is restored"),
            Self::ChangesTable { table } => write!(f, "its code changes table {table}"),
            Self::ReferenceGlobal { global } => write!(f, "its mutable global {global} holds a reference"),
            Self::Memories { count } => write!(f, "it has {count} memories, more than {MAX_MEMORIES}"),
            Self::DropsSegment => f.write_str("its code drops segments of data or elements"),
        }
    }
}
