//! Every host function that a guest may ask for, with its exact type.
//!
//! The tables of the families are the engine's contract: it links exactly these functions, but for those that are
//! refused with a reason and those that are other names. One name can have several types (`sock_accept` has four), and in a RepliCode program even one
//! name and type mean something else: [`find`] tells which function an import asks for, and the engine links each
//! family's under a module of its own ([`Family::link_module`]), to which `link_names` leads a module's imports.

mod preview1;
mod replicode;
mod wasix;
mod wasmedge;

use std::fmt;

use serde::Serialize;

use crate::signature::{Signature, ValType};
use ValType::I32;

pub use preview1::PREVIEW1;
pub use replicode::{MARKS as REPLICODE_MARKS, REPLICODE};
pub use wasix::WASIX;
pub use wasmedge::{WASMEDGE_V1, WASMEDGE_V2};

/// The module of preview 1, and of WasmEdge's extension to it.
pub const PREVIEW1_MODULE: &str = "wasi_snapshot_preview1";
/// The module of WASIX with 32-bit pointers.
pub const WASIX_MODULE: &str = "wasix_32v1";

/// The family that an import belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Standard `wasi_snapshot_preview1`.
    Preview1,
    /// WasmEdge's socket extension, first form.
    WasmedgeV1,
    /// WasmEdge's socket extension, second form (addresses carry their family).
    WasmedgeV2,
    /// WASIX.
    Wasix,
    /// RepliCode's own sockets (`sock_open` with four parameters in preview 1's module).
    Replicode,
}

impl Family {
    /// The module under which the engine links the family's functions. No guest can import from it by itself, but for
    /// preview 1's.
    #[must_use]
    pub fn link_module(self) -> &'static str {
        match self {
            Self::Preview1 => PREVIEW1_MODULE,
            Self::WasmedgeV1 => "refrain:wasmedge-v1",
            Self::WasmedgeV2 => "refrain:wasmedge-v2",
            Self::Wasix => "refrain:wasix",
            Self::Replicode => "refrain:replicode",
        }
    }

    /// All of its functions, refused ones too.
    #[must_use]
    pub fn functions(self) -> &'static [HostFunction] {
        match self {
            Self::Preview1 => PREVIEW1,
            Self::WasmedgeV1 => WASMEDGE_V1,
            Self::WasmedgeV2 => WASMEDGE_V2,
            Self::Wasix => WASIX,
            Self::Replicode => REPLICODE,
        }
    }

    const ALL: [Self; 5] = [Self::Preview1, Self::WasmedgeV1, Self::WasmedgeV2, Self::Wasix, Self::Replicode];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preview1 => "preview 1",
            Self::WasmedgeV1 => "WasmEdge sockets v1",
            Self::WasmedgeV2 => "WasmEdge sockets v2",
            Self::Wasix => "WASIX",
            Self::Replicode => "RepliCode sockets",
        })
    }
}

/// What an import is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Arguments and environment.
    Arguments,
    /// Clocks.
    Clocks,
    /// Files and descriptors.
    Files,
    /// Waiting for descriptors and timers.
    Polling,
    /// Exit, signals, yielding.
    Process,
    /// Random bytes.
    Random,
    /// Sockets.
    Sockets,
    /// Something that the engine does not know.
    Unknown,
}

impl Purpose {
    /// From the name of a function in a known module.
    pub(crate) fn of(name: &str) -> Self {
        match name.split('_').next() {
            _ if name == "__builtin_rt_yield" => Self::Process,
            Some("args" | "environ") => Self::Arguments,
            Some("clock") => Self::Clocks,
            Some("fd" | "path" | "chdir" | "getcwd" | "tty") => Self::Files,
            Some("poll" | "epoll") => Self::Polling,
            Some("proc" | "sched" | "thread" | "futex" | "callback" | "context" | "dlopen" | "dlsym" | "stack") => {
                Self::Process
            }
            Some("random") => Self::Random,
            Some("sock" | "resolve" | "port") => Self::Sockets,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arguments => "arguments and environment",
            Self::Clocks => "clocks",
            Self::Files => "files and descriptors",
            Self::Polling => "waiting",
            Self::Process => "process",
            Self::Random => "random bytes",
            Self::Sockets => "sockets",
            Self::Unknown => "unknown",
        })
    }
}

/// One function of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostFunction {
    /// The import's module.
    pub module: &'static str,
    /// The import's name.
    pub name: &'static str,
    /// Types of the parameters.
    pub params: &'static [ValType],
    /// Types of the results.
    pub results: &'static [ValType],
    /// The family.
    pub family: Family,
    /// Why the engine does not link it; `None` where it does.
    pub refusal: Option<&'static str>,
    /// The function that this one is another name of, if it is.
    pub same_as: Option<(Family, &'static str)>,
}

impl HostFunction {
    /// Its type.
    pub fn signature(&self) -> Signature {
        Signature { params: self.params.to_vec(), results: self.results.to_vec() }
    }

    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        Purpose::of(self.name)
    }

    /// The module and name that the engine links it by.
    pub fn link(&self) -> (&'static str, &'static str) {
        let (family, name) = self.same_as.unwrap_or((self.family, self.name));
        (family.link_module(), name)
    }

    /// Whether the engine links a function of its own for it.
    pub fn is_linked(&self) -> bool {
        self.refusal.is_none() && self.same_as.is_none()
    }

    /// True for this import.
    pub fn is(&self, module: &str, name: &str) -> bool {
        self.module == module && self.name == name
    }
}

/// Every function of every family.
pub fn all() -> impl Iterator<Item = &'static HostFunction> {
    Family::ALL.into_iter().flat_map(Family::functions)
}

/// The functions that an import of this name may mean, one for each type.
pub fn named(module: &str, name: &str, replicode: bool) -> Vec<&'static HostFunction> {
    let of = |functions: &'static [HostFunction]| functions.iter().filter(|function| function.is(module, name));
    if replicode && of(REPLICODE).next().is_some() {
        return of(REPLICODE).collect();
    }
    // A call of RepliCode's in any other program would make it one.
    let others = Family::ALL.into_iter().filter(|family| *family != Family::Replicode);
    let mut found: Vec<_> = others.flat_map(|family| of(family.functions())).collect();
    if module == WASIX_MODULE && found.is_empty() {
        found.extend(PREVIEW1.iter().filter(|function| function.name == name));
    }
    found
}

/// The function that an import asks for, by its name and type; `replicode` in a RepliCode program.
pub fn find(module: &str, name: &str, signature: &Signature, replicode: bool) -> Option<&'static HostFunction> {
    named(module, name, replicode).into_iter().find(|function| function.signature() == *signature)
}

/// Whether this import makes a module a RepliCode program.
pub fn marks_replicode(module: &str, name: &str, signature: &Signature) -> bool {
    let marks = REPLICODE.iter().filter(|function| REPLICODE_MARKS.contains(&function.name));
    marks.into_iter().any(|function| function.is(module, name) && function.signature() == *signature)
}

const fn function(family: Family, name: &'static str, params: &'static [ValType]) -> HostFunction {
    let module = match family {
        Family::Wasix => WASIX_MODULE,
        _ => PREVIEW1_MODULE,
    };
    HostFunction { module, name, params, results: &[I32], family, refusal: None, same_as: None }
}

const fn refused(function: HostFunction, reason: &'static str) -> HostFunction {
    HostFunction { refusal: Some(reason), ..function }
}

/// Another name of a function that has the same parameters.
const fn same(function: HostFunction, family: Family, name: &'static str) -> HostFunction {
    HostFunction { same_as: Some((family, name)), ..function }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preview_1_has_46_functions_and_every_name_and_type_means_one_function() {
        assert_eq!(PREVIEW1.len(), 46);
        let everything: Vec<_> = all().filter(|function| function.family != Family::Replicode).collect();
        for (index, one) in everything.iter().enumerate() {
            let twin = |other: &&&HostFunction| other.is(one.module, one.name) && other.params == one.params;
            assert!(!everything[index + 1..].iter().any(|other| twin(&other)), "{} twice", one.name);
        }
    }

    #[test]
    fn no_family_has_a_name_twice_under_its_link_module() {
        for family in Family::ALL {
            let mut names: Vec<_> = family.functions().iter().map(|function| function.name).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{family}");
        }
    }

    #[test]
    fn only_threads_stacks_and_linking_at_run_time_are_refused() {
        let refused: Vec<_> = all().filter(|f| f.refusal.is_some()).map(|f| f.name).collect();
        let prefixes = ["context_", "dl", "stack_", "thread_spawn"];
        assert!(refused.iter().all(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))), "{refused:?}");
    }

    #[test]
    fn what_preview_1_has_under_another_type_is_found_in_each_module_by_its_type() {
        let three = Signature { params: vec![I32; 3], results: vec![I32] };
        let four = Signature { params: vec![I32; 4], results: vec![I32] };
        let family = |module, name, signature, replicode| find(module, name, signature, replicode).map(|f| f.family);
        assert_eq!(family(PREVIEW1_MODULE, "sock_accept", &three, false), Some(Family::Preview1));
        assert_eq!(family(PREVIEW1_MODULE, "sock_accept", &three, true), Some(Family::Replicode));
        assert_eq!(family(PREVIEW1_MODULE, "sock_accept", &four, false), None);
        assert_eq!(family(WASIX_MODULE, "sock_accept", &four, false), Some(Family::Wasix));
        assert_eq!(family(WASIX_MODULE, "sock_accept", &three, false), None);
        assert_eq!(family(WASIX_MODULE, "fd_write", &four, false), Some(Family::Preview1));
        assert_eq!(family(PREVIEW1_MODULE, "sock_open", &four, true), Some(Family::Replicode));
    }

    #[test]
    fn another_name_of_a_function_has_its_type() {
        for function in all() {
            let Some((family, name)) = function.same_as else { continue };
            let twin = family.functions().iter().find(|other| other.name == name).expect(name);
            assert_eq!(twin.signature(), function.signature(), "{}", function.name);
            assert!(twin.is_linked(), "{name}");
        }
    }

    #[test]
    fn every_known_function_has_a_purpose() {
        for function in all() {
            assert_ne!(function.purpose(), Purpose::Unknown, "{}", function.name);
        }
    }
}
