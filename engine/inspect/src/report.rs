//! What was found in a module, and what follows from it.

use std::fmt;

use serde::Serialize;

use crate::abi::{Family, PREVIEW1_MODULE};
use crate::feature::Feature;
use crate::import::{Import, Missing};
use crate::sentences::MAX_SENTENCES;
use crate::signature::Signature;

/// Bytes of a page.
const PAGE_BYTES: u64 = 65_536;

/// A memory of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Pages of 64 KiB that it has at the start.
    pub min_pages: u64,
    /// Pages that it never grows beyond, if it says so itself.
    pub max_pages: Option<u64>,
    /// Shared between threads.
    pub shared: bool,
    /// Imported instead of defined.
    pub imported: bool,
    /// The end of the data that is put into it before the first instruction, as far as the module says where it goes.
    pub data_end: u64,
}

impl Memory {
    /// Bytes that it has before the first instruction.
    pub fn initial_bytes(&self) -> u64 {
        self.min_pages.saturating_mul(PAGE_BYTES)
    }
}

/// A table of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Elements that it has at the start.
    pub min: u64,
    /// Elements that it never grows beyond, if it says so itself.
    pub max: Option<u64>,
}

/// The export `_start`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartExport {
    /// There, without parameters and results.
    Command,
    /// There, but something else.
    Wrong {
        /// Its type, when it is a function.
        signature: Option<Signature>,
    },
    /// Not there.
    Absent,
}

/// What was found in a valid module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Size of the module.
    pub bytes: u64,
    /// Its imports, in its own order.
    pub imports: Vec<Import>,
    /// Its memories, in index order.
    pub memories: Vec<Memory>,
    /// Its tables, in index order.
    pub tables: Vec<Table>,
    /// Names of its exports, in its own order.
    pub exports: Vec<String>,
    /// The export `_start`.
    pub start: StartExport,
    /// A memory is exported as `memory`.
    pub exports_memory: bool,
    /// Features that it uses, beyond WebAssembly's second edition.
    pub features: Vec<Feature>,
    /// Functions that it defines.
    pub functions: u32,
}

impl Report {
    /// The families of its socket imports; when it has none, of its imports.
    pub fn families(&self) -> Vec<Family> {
        let of = |sockets: bool| {
            let chosen = self.imports.iter().filter(|i| !sockets || i.name.starts_with("sock_"));
            let mut families: Vec<Family> = chosen.filter_map(|i| i.family).collect();
            families.sort_unstable();
            families.dedup();
            families
        };
        let sockets = of(true);
        if sockets.is_empty() { of(false) } else { sockets }
    }

    /// Every import that cannot be satisfied, and why. A name that may have been meant is only looked for with the first
    /// [`MAX_SENTENCES`].
    pub fn missing(&self) -> Vec<Missing> {
        let obstructed = self.imports.iter().filter(|import| !import.is_provided());
        let missing = |(number, import): (usize, &Import)| {
            let (module, name) = (import.module.clone(), import.name.clone());
            import.obstacle(number < MAX_SENTENCES).map(|reason| Missing { module, name, reason })
        };
        obstructed.enumerate().filter_map(missing).collect()
    }

    /// Everything that keeps the engine from running it; empty when it can.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.missing().into_iter().map(Problem::Import).collect();
        match &self.start {
            StartExport::Command => {}
            StartExport::Absent => problems.push(Problem::NoStart),
            StartExport::Wrong { signature } => problems.push(Problem::WrongStart { found: signature.clone() }),
        }
        // The host's functions read and write the memory of this name; a module without imports needs none.
        let uses_memory = self.imports.iter().any(|import| import.family.is_some() || import.module == PREVIEW1_MODULE);
        if uses_memory && !self.exports_memory {
            problems.push(Problem::NoMemory);
        }
        let outside = self.memories.iter().zip(0..).filter(|(memory, _)| memory.data_end > memory.initial_bytes());
        problems.extend(outside.map(|(memory, index)| Problem::Data {
            memory: index,
            end: memory.data_end,
            bytes: memory.initial_bytes(),
        }));
        let blocked = self.features.iter().filter(|feature| feature.obstacle().is_some());
        problems.extend(blocked.map(|feature| Problem::Feature(*feature)));
        problems
    }

    /// Bytes of memory that it has before its first instruction.
    pub fn initial_memory_bytes(&self) -> u64 {
        self.memories.iter().fold(0, |sum, memory| sum.saturating_add(memory.initial_bytes()))
    }

    /// Elements that all its tables have before its first instruction.
    pub fn initial_table_elements(&self) -> u64 {
        self.tables.iter().fold(0, |sum, table| sum.saturating_add(table.min))
    }
}

/// One thing that keeps the engine from running a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// An import cannot be satisfied.
    Import(Missing),
    /// It does not export `_start`.
    NoStart,
    /// Its `_start` is something else.
    WrongStart {
        /// The type of the function; `None` when it is none.
        found: Option<Signature>,
    },
    /// It does not export its memory as `memory`.
    NoMemory,
    /// Its initial data goes beyond the memory that it begins with: it would trap before its first instruction.
    Data {
        /// The index of the memory.
        memory: u32,
        /// Where the data ends.
        end: u64,
        /// What the memory has at the start.
        bytes: u64,
    },
    /// It uses a feature that the engine does not run.
    Feature(Feature),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Import(missing) => write!(f, "{missing}"),
            Self::NoStart => f.write_str("no export `_start`: a library or a reactor, not a command"),
            Self::WrongStart { found: Some(signature) } => write!(f, "`_start` has the type {signature}, expected ()"),
            Self::WrongStart { found: None } => f.write_str("`_start` is not a function"),
            Self::NoMemory => f.write_str("no memory is exported as `memory`, which the host reads and writes"),
            Self::Data { memory, end, bytes } => {
                write!(f, "its data ends at byte {end} of memory {memory}, which has {bytes} bytes at the start")
            }
            Self::Feature(feature) => {
                write!(f, "uses {feature}: {}", feature.obstacle().unwrap_or("not run by this engine"))
            }
        }
    }
}
