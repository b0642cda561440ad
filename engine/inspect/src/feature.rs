//! Features of WebAssembly beyond its second edition that a module uses, and whether the engine runs them.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use wasmparser::{BinaryReaderError, CompositeInnerType, FunctionBody, MemoryType, Operator, TypeSectionReader};

/// A feature of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// Pages of another size than 64 KiB.
    CustomPageSizes,
    /// Exceptions in their standard form (`try_table`, `exnref`).
    Exceptions,
    /// Typed function references.
    FunctionReferences,
    /// Garbage-collected structures and arrays.
    Gc,
    /// Exceptions in their first form (`try`, `catch`).
    LegacyExceptions,
    /// Memories of more than 4 GiB.
    Memory64,
    /// Several memories.
    MultiMemory,
    /// Vector instructions whose results differ between machines.
    RelaxedSimd,
    /// Vector instructions.
    Simd,
    /// Continuations.
    StackSwitching,
    /// Tail calls.
    TailCall,
    /// Atomic instructions or shared memory.
    Threads,
    /// 128-bit arithmetic.
    WideArithmetic,
    /// Another proposal.
    Unknown,
}

impl Feature {
    /// Why the engine does not run it; `None` when it does.
    pub fn obstacle(self) -> Option<&'static str> {
        match self {
            Self::Exceptions | Self::MultiMemory | Self::RelaxedSimd | Self::Simd | Self::TailCall => None,
            Self::FunctionReferences | Self::Gc => {
                Some("a checkpoint cannot hold references; build for linear memory, with indices of tables")
            }
            Self::CustomPageSizes => Some("memory has pages of 64 KiB here"),
            Self::LegacyExceptions => {
                Some("build with the standard form (clang: -mllvm -wasm-use-legacy-eh=false) or translate to exnref")
            }
            Self::Memory64 => Some("preview 1 has 32-bit pointers; build for wasm32"),
            Self::StackSwitching | Self::WideArithmetic | Self::Unknown => Some("still a proposal"),
            Self::Threads => Some("replicas cannot agree on the timing of threads; build without them (no -pthread)"),
        }
    }

    /// What running it means; empty when there is nothing to say.
    pub fn note(self) -> &'static str {
        match self {
            Self::RelaxedSimd => "run in its deterministic form",
            Self::Exceptions => "switched on for this module alone",
            _ => "",
        }
    }

    fn of_proposal(proposal: &str) -> Option<Self> {
        Some(match proposal {
            "mvp" | "sign_extension" | "saturating_float_to_int" | "bulk_memory" | "reference_types" => return None,
            "exceptions" => Self::Exceptions,
            "function_references" => Self::FunctionReferences,
            "gc" => Self::Gc,
            "legacy_exceptions" => Self::LegacyExceptions,
            "relaxed_simd" => Self::RelaxedSimd,
            "simd" => Self::Simd,
            "stack_switching" => Self::StackSwitching,
            "tail_call" => Self::TailCall,
            "threads" => Self::Threads,
            "wide_arithmetic" => Self::WideArithmetic,
            _ => Self::Unknown,
        })
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CustomPageSizes => "custom page sizes",
            Self::Exceptions => "exceptions",
            Self::FunctionReferences => "function references",
            Self::Gc => "garbage collection",
            Self::LegacyExceptions => "legacy exceptions",
            Self::Memory64 => "64-bit memory",
            Self::MultiMemory => "several memories",
            Self::RelaxedSimd => "relaxed SIMD",
            Self::Simd => "SIMD",
            Self::StackSwitching => "stack switching",
            Self::TailCall => "tail calls",
            Self::Threads => "threads",
            Self::WideArithmetic => "wide arithmetic",
            Self::Unknown => "an unknown proposal",
        })
    }
}

macro_rules! define_proposal {
    ($(@$proposal:ident $op:ident $({ $($payload:tt)* })? => $visit:ident ($($ann:tt)*))*) => {
        /// The proposal that an instruction comes from.
        fn proposal(operator: &Operator<'_>) -> &'static str {
            match operator {
                $(Operator::$op { .. } => stringify!($proposal),)*
                _ => "unknown",
            }
        }
    };
}
wasmparser::for_each_operator!(define_proposal);

/// Adds what a function's instructions use.
pub(crate) fn of_body(body: &FunctionBody<'_>, features: &mut BTreeSet<Feature>) -> Result<(), BinaryReaderError> {
    for operator in body.get_operators_reader()? {
        features.extend(Feature::of_proposal(proposal(&operator?)));
    }
    Ok(())
}

/// Adds what a memory uses by itself.
pub(crate) fn of_memory(ty: &MemoryType, features: &mut BTreeSet<Feature>) {
    let used = [
        (ty.shared, Feature::Threads),
        (ty.memory64, Feature::Memory64),
        (ty.page_size_log2.is_some_and(|log2| log2 != 16), Feature::CustomPageSizes),
    ];
    features.extend(used.iter().filter(|(used, _)| *used).map(|(_, feature)| *feature));
}

/// Adds what the types use.
pub(crate) fn of_types(
    types: TypeSectionReader<'_>,
    features: &mut BTreeSet<Feature>,
) -> Result<(), BinaryReaderError> {
    for group in types {
        for ty in group?.types() {
            if !matches!(ty.composite_type.inner, CompositeInnerType::Func(_)) {
                features.insert(Feature::Gc);
            }
        }
    }
    Ok(())
}
